"""A task's end of a Qdrant collection: one channel, bounded requests, each applied before it counts."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from spark_vector_sink.options import AUTO, SinkOptions
from spark_vector_sink.store.in_flight import InFlight
from spark_vector_sink.store.limit import Limit
from spark_vector_sink.store.pace import Pace
from spark_vector_sink.store.points import Outcome, PointBatch, Sent
from spark_vector_sink.store.qdrant.address import Address
from spark_vector_sink.store.qdrant.heart import Heart
from spark_vector_sink.store.qdrant.nodes import Nodes
from spark_vector_sink.store.qdrant.requests import Request, requests
from spark_vector_sink.store.qdrant.sender import Sender
from spark_vector_sink.store.store import Target


class QdrantStore:
    """Upserts over gRPC. See `VectorStore` for what each method promises."""

    def __init__(self, addresses: Sequence[Address], target: Target, options: SinkOptions, partition: int = 0) -> None:
        self._collection = target.physical
        self._options = options
        self._closing = threading.Event()
        self._heart = Heart(addresses, target, partition)
        self._nodes = Nodes(addresses, first=partition)
        limit = Limit(None if options.max_in_flight == AUTO else int(options.max_in_flight))
        self._pace = Pace(options.max_points_per_second, self._closing)
        most_points = self._pace.most_points(min(options.batch_points, target.max_batch_points or options.batch_points))
        self._sender = Sender(self._nodes, self._collection, limit, options.retry_max_seconds, most_points, self._closing)
        self._in_flight: InFlight[Request, Outcome] = InFlight(self._sender.send, limit)

    @property
    def retries(self) -> int:
        return self._sender.retries

    def submit(self, points: PointBatch) -> Sent:
        self._heart.beat()
        sent = Sent()
        options = self._options
        for request in requests(points, self._collection, options.ordering, self._sender.points_at_once, options.batch_bytes):
            self._pace.wait(len(request))
            sent.on_their_way += 1
            self._in_flight.submit(request, frozenset(request.ids), sent.taken)
        return sent

    def flush(self) -> tuple[str, ...]:
        self._in_flight.drain()
        return ()

    def close(self) -> None:
        self._closing.set()  # ends the waits between tries,
        self._nodes.close()  # and this the calls that threads still wait for
        self._in_flight.close()
