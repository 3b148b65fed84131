"""Write a Spark DataFrame's text to Qdrant as vectors: `df.write.format("vectorsink")`.

Importing this package imports neither pyspark nor torch. `spark_vector_sink.spark` holds `write()` and `check()`.
"""

from spark_vector_sink.admin import Answer, rollback, search
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

__all__ = [
    "Answer",
    "BadRowError",
    "CollectionError",
    "EncodingError",
    "IncompleteError",
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
    "reembed",
    "rollback",
    "search",
]
