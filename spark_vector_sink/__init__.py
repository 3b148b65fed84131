"""Write a Spark DataFrame's text to Qdrant as vectors: `df.write.format("vectorsink")`.

Importing this package imports neither pyspark nor torch; each public name is imported when it is first used.
`spark_vector_sink.spark` holds `write()` and `check()`.
"""

import importlib

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` takes longer than all that is here
if TYPE_CHECKING:
    from spark_vector_sink.admin import Answer, inspect, reembed, rollback, search
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

_LIGHTEST_FIRST = ("errors", "report", "options", "store.inspection", "admin")
"""Modules that define the public names, lightest first. A module is imported when one of its names is first used,
because numpy and pyarrow alone take longer to import than everything else."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _LIGHTEST_FIRST:
        has = importlib.import_module(f"{__name__}.{module}")
        if hasattr(has, name):
            value = globals()[name] = getattr(has, name)
            return value
    raise AssertionError(f"{name} is public and nowhere to be found")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
