"""Which store a job writes to: a Qdrant server, or a directory of this machine. The one place that chooses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spark_vector_sink.options import SinkOptions
from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.protocols import Collections, VectorStore
from spark_vector_sink.store.search_query import Filter

if TYPE_CHECKING:
    from spark_vector_sink.store.qdrant import Address


@dataclass(frozen=True)
class Place:
    """Where the store is: the addresses of a server's nodes, or none for a directory."""

    addresses: tuple[Address, ...] = ()

    def name(self, options: SinkOptions) -> str:
        """The collection as the store knows it."""
        return str(options.directory) if options.is_embedded else str(options.collection)

    def of_this_process(self, options: SinkOptions) -> Place:
        """The same with the API key that a task finds."""
        return Place(tuple(address.with_key_of_this_process(options) for address in self.addresses))


def find(options: SinkOptions) -> tuple[Place, list[str]]:
    """The place, and warnings. Raises CollectionError where no server answers."""
    if options.is_embedded:
        return Place(), []
    from spark_vector_sink.store import qdrant

    addresses, warnings = qdrant.find(options)
    return Place(addresses), warnings


@contextmanager
def collections(options: SinkOptions, place: Place, *, patient: bool = False) -> Iterator[Collections]:
    """The store's collections, for the driver. patient: whether a server that is away is waited for as long as tasks
    wait, as is right when everything is written; else it is asked again for some seconds."""
    made: Any
    if not place.addresses:
        from spark_vector_sink.store import edge

        made = edge.EdgeCollections(options.timeout_seconds)
    else:
        from spark_vector_sink.store import qdrant

        made = qdrant.QdrantCollections(place.addresses, *([options.retry_max_seconds] if patient else []))
    try:
        yield made
    finally:
        made.close()


def checked_filter(given: Mapping[str, Any] | None) -> Filter | None:
    """A filter in Qdrant's JSON, for any store, by the client's model of it; OptionError where it is none."""
    if given is None:
        return None
    from spark_vector_sink.store import qdrant

    return qdrant.checked_filter(given)


def store(options: SinkOptions, place: Place, target: Target, run: str, partition: int, attempt: int) -> VectorStore:
    """A task's end of the store."""
    if not place.addresses:
        from spark_vector_sink.store import edge

        return edge.EdgeStore(target, run, partition, attempt)
    from spark_vector_sink.store import qdrant

    return qdrant.QdrantStore(place.of_this_process(options).addresses, target, options, partition)
