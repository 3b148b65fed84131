"""A task's end of a Qdrant collection: one channel, bounded requests, each applied before it counts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence, Set

from spark_vector_sink.options import AUTO, SinkOptions
from spark_vector_sink.store.in_flight import InFlight
from spark_vector_sink.store.limit import Limit
from spark_vector_sink.store.pace import Pace
from spark_vector_sink.store.points import Outcome, PointBatch, PointId, Removal, Sent, Stored
from spark_vector_sink.store.qdrant.address import Address
from spark_vector_sink.store.qdrant.heart import Heart
from spark_vector_sink.store.qdrant.nodes import Nodes
from spark_vector_sink.store.qdrant.operations import Operation, removing, touching, writing
from spark_vector_sink.store.qdrant.requests import Request, requests
from spark_vector_sink.store.qdrant.sender import Sender
from spark_vector_sink.store.store import Target


class QdrantStore:
    """Writes over gRPC. See `VectorStore` for what each method promises."""

    def __init__(self, addresses: Sequence[Address], target: Target, options: SinkOptions, partition: int = 0) -> None:
        self._collection = target.physical
        self._options = options
        self._closing = threading.Event()
        self._heart = Heart(addresses, target, partition)
        self._nodes = Nodes(addresses, first=partition)
        limit = Limit(None if options.max_in_flight == AUTO else int(options.max_in_flight))
        self._pace = Pace(options.max_points_per_second, self._closing)
        most_points = self._pace.most_points(min(options.batch_points, target.max_batch_points or options.batch_points))
        self._sender = Sender(self._nodes, self._collection, limit, options.retry_max_seconds, most_points, self._closing, target.fingerprint)
        self._in_flight: InFlight[Request, Outcome] = InFlight(self._sender.send, limit)
        self._vector_names: list[str] | None = None

    @property
    def retries(self) -> int:
        return self._sender.retries

    def stored(self, ids: Sequence[PointId]) -> Mapping[PointId, Stored]:
        return self._sender.stored(ids)

    def wait_for(self, ids: Set[PointId]) -> None:
        self._in_flight.wait_for(ids)

    def submit(self, points: PointBatch) -> Sent:
        return self._soon(writing(self._collection, points, self._options.ordering, self._names))

    def delete(self, removal: Removal) -> Sent:
        return self._soon(removing(self._collection, removal, self._options.ordering), frozenset(removal.documents))

    def touch(self, ids: Sequence[PointId], fields: Mapping[str, str | int]) -> Sent:
        return self._soon(touching(self._collection, ids, fields, self._options.ordering))

    def flush(self) -> tuple[str, ...]:
        self._in_flight.drain()
        return ()

    def close(self) -> None:
        self._closing.set()  # ends the waits between tries,
        self._nodes.close()  # and this the calls that threads still wait for
        self._in_flight.close()

    def _soon(self, operation: Operation, others: frozenset[PointId] = frozenset()) -> Sent:
        """others: points beside those of a request for which later requests wait, too."""
        self._heart.beat()
        sent = Sent()
        for request in requests(operation, self._sender.points_at_once, self._options.batch_bytes):
            self._pace.wait(len(request))
            sent.on_their_way += 1
            self._in_flight.submit(request, others.union(request.ids), sent.taken)
        return sent

    def _names(self) -> list[str]:
        """The collection's vectors, asked once."""
        if self._vector_names is None:
            self._vector_names = self._sender.vector_names()
        return self._vector_names
