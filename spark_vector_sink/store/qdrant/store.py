"""A task's end of a Qdrant collection: one channel, bounded requests, each applied before it counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import grpc
from qdrant_client import grpc as messages

from spark_vector_sink.errors import TransientStoreError
from spark_vector_sink.options import AUTO, SinkOptions
from spark_vector_sink.store.in_flight import InFlight
from spark_vector_sink.store.qdrant.address import Address, open_channel
from spark_vector_sink.store.qdrant.messages import upsert
from spark_vector_sink.store.qdrant.status import store_error
from spark_vector_sink.store.retry import retrying
from spark_vector_sink.store.store import PointBatch, PointId, Target

AUTO_IN_FLIGHT = 2
"""The second request is worth 1.4 times the speed, since the next one is built while the server applies; more are worth little."""


class QdrantStore:
    """Upserts over gRPC. See `VectorStore` for what each method promises."""

    def __init__(self, address: Address, target: Target, options: SinkOptions) -> None:
        self.retries = 0
        self._address = address
        self._collection = target.physical
        self._options = options
        self._most_points = min(options.batch_points, target.max_batch_points or options.batch_points)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._channel = open_channel(address)
        self._upsert = self._channel.unary_unary("/qdrant.Points/Upsert", response_deserializer=messages.PointsOperationResponse.FromString)
        in_flight = AUTO_IN_FLIGHT if options.max_in_flight == AUTO else int(options.max_in_flight)
        self._in_flight: InFlight[bytes] = InFlight(self._send, in_flight)

    def submit(self, points: PointBatch) -> None:
        for request, ids in _requests(points, self._collection, self._options, self._most_points):
            self._in_flight.submit(request, frozenset(ids))

    def flush(self) -> tuple[str, ...]:
        self._in_flight.drain()
        return ()

    def close(self) -> None:
        self._closing.set()  # ends the waits between retries,
        self._channel.close()  # and this the calls that threads still wait for
        self._in_flight.close()

    def _send(self, request: bytes) -> None:
        retrying(lambda: self._call(request), self._options.retry_max_seconds, self._count_retry, self._closing)

    def _call(self, request: bytes) -> None:
        doing = f"upsert to '{self._collection}' on {self._address}"
        try:
            reply = self._upsert(request, timeout=self._address.timeout_seconds, metadata=self._address.metadata)
        except grpc.RpcError as error:
            raise store_error(error, doing) from None
        if reply.result.status != messages.UpdateStatus.Completed:
            # Acknowledged or WaitTimeout: queued, but not applied; the same points once more are harmless.
            raise TransientStoreError(f"{doing} was not applied in time: status {messages.UpdateStatus.Name(reply.result.status)}")

    def _count_retry(self) -> None:
        with self._lock:
            self.retries += 1


def _requests(points: PointBatch, collection: str, options: SinkOptions, most_points: int) -> Iterator[tuple[bytes, Sequence[PointId]]]:
    """Serialised requests of at most so many points and bytes, with their ids; a single point may be larger."""
    average = max(1, points.nbytes // max(1, len(points)))
    size = max(1, min(most_points, options.batch_bytes // average))
    for start in range(0, len(points), size):
        yield from _halved(points.slice(start, min(start + size, len(points))), collection, options)


def _halved(points: PointBatch, collection: str, options: SinkOptions) -> Iterator[tuple[bytes, Sequence[PointId]]]:
    """One request, or, where some points are far larger than the average, as many halves as the bytes ask for."""
    request = upsert(collection, points, options.ordering)
    if len(request) <= options.batch_bytes or len(points) == 1:
        yield request, points.ids
        return
    middle = len(points) // 2
    yield from _halved(points.slice(0, middle), collection, options)
    yield from _halved(points.slice(middle, len(points)), collection, options)
