"""Write a Spark DataFrame's text to Qdrant as vectors: `df.write.format("vectorsink")`.

Importing this package imports neither pyspark nor torch, and of itself only what is asked for. `spark_vector_sink.spark` holds `write()` and `check()`.
"""

import importlib

TYPE_CHECKING = False  # type checkers take it for true; the module `typing` takes longer to import than all that is here
if TYPE_CHECKING:
    from spark_vector_sink.admin import Answer, inspect, rollback, search
    from spark_vector_sink.errors import (
        BadRowError,
        CollectionError,
        EncodingError,
        IncompleteError,
        MissingPackageError,
        OptionError,
        PermanentStoreError,
        RefusedError,
        RejectsError,
        SchemaError,
        StoreError,
        TransientStoreError,
        VectorSinkError,
    )
    from spark_vector_sink.options import SinkOptions
    from spark_vector_sink.reembedding import reembed
    from spark_vector_sink.report import PartitionReport, WriteReport
    from spark_vector_sink.store.inspection import InspectedVector, InspectedVersion, Inspection

del TYPE_CHECKING

__all__ = [
    "Answer",
    "BadRowError",
    "CollectionError",
    "EncodingError",
    "IncompleteError",
    "InspectedVector",
    "InspectedVersion",
    "Inspection",
    "MissingPackageError",
    "OptionError",
    "PartitionReport",
    "PermanentStoreError",
    "RefusedError",
    "RejectsError",
    "SchemaError",
    "SinkOptions",
    "StoreError",
    "TransientStoreError",
    "VectorSinkError",
    "WriteReport",
    "inspect",
    "reembed",
    "rollback",
    "search",
]

_ROOMS = {
    "admin": (
        "Answer",
        "inspect",
        "rollback",
        "search",
    ),
    "options": ("SinkOptions",),
    "reembedding": ("reembed",),
    "report": (
        "PartitionReport",
        "WriteReport",
    ),
    "store.inspection": (
        "InspectedVector",
        "InspectedVersion",
        "Inspection",
    ),
}
"""Where each name lives that is no error. They are imported when they are first asked for: numpy and pyarrow alone take longer than all else."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = next((room for room, names in _ROOMS.items() if name in names), "errors")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{room}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
