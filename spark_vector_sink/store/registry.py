"""Choose the store that a job writes to: a Qdrant server, or a directory of this machine. No other module chooses."""

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
    """Place of the store: the addresses of a server's nodes, or no addresses for a directory."""

    addresses: tuple[Address, ...] = ()

    def name(self, options: SinkOptions) -> str:
        """Return the collection's name as the store knows it."""
        return str(options.directory) if options.is_embedded else str(options.collection)

    def of_this_process(self, options: SinkOptions) -> Place:
        """Return the same place with the API key that this task's process finds."""
        return Place(tuple(address.with_key_of_this_process(options) for address in self.addresses))


def find(options: SinkOptions) -> tuple[Place, list[str]]:
    """Find the place of the store, and warnings. Raises CollectionError where no server answers."""
    if options.is_embedded:
        return Place(), []
    from spark_vector_sink.store import qdrant

    addresses, warnings = qdrant.find(options)
    return Place(addresses), warnings


@contextmanager
def collections(options: SinkOptions, place: Place, *, patient: bool = False) -> Iterator[Collections]:
    """Open the store's collections, for the driver. patient: True to wait for a server that is away as long as tasks
    wait, which is right when everything is written; otherwise requests are retried for some seconds."""
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
    """Check a filter in Qdrant's JSON, for any store, by the Qdrant client's model. Raises OptionError where it is not
    a valid filter."""
    if given is None:
        return None
    from spark_vector_sink.store import qdrant

    return qdrant.checked_filter(given)


def store(options: SinkOptions, place: Place, target: Target, run: str, partition: int, attempt: int) -> VectorStore:
    """Create the store's writer for a task."""
    if not place.addresses:
        from spark_vector_sink.store import edge

        return edge.EdgeStore(target, run, partition, attempt)
    from spark_vector_sink.store import qdrant

    return qdrant.QdrantStore(place.of_this_process(options).addresses, target, options, partition)
