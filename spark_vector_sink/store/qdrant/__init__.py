"""Store for a Qdrant server, over gRPC."""

from spark_vector_sink.store.qdrant.address import Address, find, find_key
from spark_vector_sink.store.qdrant.collections import QdrantCollections
from spark_vector_sink.store.qdrant.queries import checked_filter
from spark_vector_sink.store.qdrant.writer import QdrantStore

__all__ = ["Address", "QdrantCollections", "QdrantStore", "checked_filter", "find", "find_key"]
