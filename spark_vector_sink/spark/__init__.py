"""Offer the Spark interface: `write()`, `check()`, `embed()` and `vector_sink()`, and the data source "vectorsink"
(`data_source`, Spark 4.0 or newer)."""

import importlib.util

from spark_vector_sink.errors import MissingPackageError as _MissingPackageError

if importlib.util.find_spec("pyspark") is None:
    raise _MissingPackageError("pyspark", "spark")

from spark_vector_sink.spark.foreach_batch import vector_sink
from spark_vector_sink.spark.functions import embed
from spark_vector_sink.spark.write import check, write

__all__ = ["check", "embed", "vector_sink", "write"]
