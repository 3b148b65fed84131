"""Embedded store: a directory with one Qdrant Edge index. Tasks stage files in it; the driver ingests them."""

from spark_vector_sink.store.edge.collections import EdgeCollections
from spark_vector_sink.store.edge.writer import EdgeStore

__all__ = ["EdgeCollections", "EdgeStore"]
