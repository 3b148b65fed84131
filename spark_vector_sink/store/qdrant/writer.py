"""Write the points of one task to a Qdrant collection: one channel, bounded requests, each applied before it counts."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from spark_vector_sink.options import AUTO, SinkOptions
from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.in_flight import InFlight
from spark_vector_sink.store.in_flight_limit import Limit
from spark_vector_sink.store.qdrant.address import Address
from spark_vector_sink.store.qdrant.channels import Nodes
from spark_vector_sink.store.qdrant.heartbeat import Heart
from spark_vector_sink.store.qdrant.operations import Operation, removing, touching, writing
from spark_vector_sink.store.qdrant.requests import Request, requests
from spark_vector_sink.store.qdrant.sender import Sender
from spark_vector_sink.store.rate_limit import Pace
from spark_vector_sink.store.write_batch import Outcome, PointBatch, PointId, Removal, Sent, ShardKey, Stored, in_shards


class QdrantStore:
    """Writer over gRPC. `VectorStore` describes the methods."""

    def __init__(self, addresses: Sequence[Address], target: Target, options: SinkOptions, partition: int = 0) -> None:
        self._collection = target.physical
        self._options = options
        self._closing = threading.Event()
        self._heart = Heart(addresses, target, partition)
        self._nodes = Nodes(addresses, first=partition)
        limit = Limit(None if options.max_in_flight == AUTO else int(options.max_in_flight))
        self._pace = Pace(options.max_points_per_second, self._closing)
        most_points = self._pace.most_points(min(options.batch_points, target.max_batch_points or options.batch_points))
        self._sender = Sender(
            self._nodes,
            self._collection,
            limit,
            options.retry_max_seconds,
            most_points,
            self._closing,
            target.fingerprint,
        )
        self._in_flight: InFlight[Request, Outcome] = InFlight(self._sender.send, limit)
        self._vector_names: list[str] | None = None

    @property
    def retries(self) -> int:
        return self._sender.retries

    def stored(self, ids: Sequence[PointId], shard_keys: Sequence[ShardKey] | None = None) -> Mapping[PointId, Stored]:
        return self._sender.stored(ids, shard_keys)

    def wait_for(self, ids: Set[PointId]) -> None:
        self._in_flight.wait_for(ids)

    def submit(self, points: PointBatch) -> Sent:
        return self._soon(
            writing(self._collection, part, self._options.ordering, self._names) for part in points.by_shard()
        )

    def delete(self, removal: Removal) -> Sent:
        operations = (removing(self._collection, part, self._options.ordering) for part in removal.by_shard())
        return self._soon(operations, frozenset(removal.documents))

    def touch(
        self, ids: Sequence[PointId], fields: Mapping[str, str | int], shard_keys: Sequence[ShardKey] | None = None
    ) -> Sent:
        def operations() -> Iterator[Operation]:
            for places in in_shards(shard_keys, len(ids)):
                keys = None if shard_keys is None else [shard_keys[place] for place in places.tolist()]
                yield touching(
                    self._collection, [ids[place] for place in places.tolist()], fields, self._options.ordering, keys
                )

        return self._soon(operations())

    def flush(self) -> tuple[str, ...]:
        self._in_flight.drain()
        return ()

    def close(self) -> None:
        self._closing.set()  # ends the waits between retries
        self._nodes.close()  # ends the calls that threads still wait for
        self._in_flight.close()

    def _soon(self, operations: Iterable[Operation], others: frozenset[PointId] = frozenset()) -> Sent:
        """Submit the requests of each operation, soon. others: points beside the points of a request for which later
        requests wait, too."""
        self._heart.beat()
        sent = Sent()
        for operation in operations:
            for request in requests(operation, self._sender.points_at_once, self._options.batch_bytes):
                self._pace.wait(len(request))
                sent.on_their_way += 1
                self._in_flight.submit(request, others.union(request.ids), sent.taken)
        return sent

    def _names(self) -> list[str]:
        """Return the names of the collection's vectors, asked once."""
        if self._vector_names is None:
            self._vector_names = self._sender.vector_names()
        return self._vector_names
