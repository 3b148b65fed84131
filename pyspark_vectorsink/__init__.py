"""Spark looks for data sources in modules called `pyspark_*`; this is where it finds "vectorsink"."""

from spark_vector_sink.spark.data_source import VectorSinkDataSource as DefaultSource

__all__ = ["DefaultSource"]
