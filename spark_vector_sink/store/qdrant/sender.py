"""Send one request until all of its points are applied, or known to be refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, TypeVar

import grpc
from qdrant_client import grpc as messages

from spark_vector_sink.errors import PermanentStoreError, StoreError
from spark_vector_sink.store.collection import FINGERPRINT
from spark_vector_sink.store.in_flight_limit import Limit
from spark_vector_sink.store.qdrant.channels import Nodes
from spark_vector_sink.store.qdrant.grpc_errors import (
    MissingPointError,
    OverloadedError,
    RefusedPointsError,
    TooLargeError,
    store_error,
)
from spark_vector_sink.store.qdrant.requests import Request
from spark_vector_sink.store.qdrant.stored_points import IDS_AT_ONCE, found, names, reading, structure
from spark_vector_sink.store.retry import Trouble, retrying
from spark_vector_sink.store.write_batch import Outcome, PointId, ShardKey, Stored, in_shards

SLOW = 0.5
"""Share of the timeout above which a reply counts as slow: the server has too much to do."""


DOING = {
    "Points/Upsert": "upsert to",
    "Points/UpdateBatch": "update of",
    "Points/SetPayload": "update of",
    "Points/Delete": "delete from",
}
"""Words for each method in messages; every other method reads."""

T = TypeVar("T")


class _SmallerError(StoreError):
    """Error where the limit has sunk since the request was built: its halves are to be sent."""


class Sender:
    """Sender of requests; used by several threads. most_points: maximum for one request. closing: ends the waits
    between retries. fingerprint: the field of `_sink` that `stored` reads as the fingerprint."""

    def __init__(
        self,
        nodes: Nodes,
        collection: str,
        limit: Limit,
        retry_max_seconds: float,
        most_points: int,
        closing: threading.Event,
        fingerprint: str = FINGERPRINT,
    ) -> None:
        self.retries = 0
        self._nodes, self._collection, self._limit = nodes, collection, limit
        self._retry_max_seconds = retry_max_seconds
        self._most_points, self._most_read = most_points, IDS_AT_ONCE
        self._closing = closing
        self._fingerprint = fingerprint
        self._trouble = Trouble(retry_max_seconds)
        self._lock = threading.Lock()

    def points_at_once(self) -> int:
        """Return the number of points that a request should have now: fewer when the server has no time, or has refused
        requests as too large."""
        return max(1, int(self._most_points * self._limit.share))

    def send(self, request: Request) -> Outcome:
        """Send a request until the outcome of each point is known. Raises PermanentStoreError."""
        refused = self._send(request)
        return Outcome(refused, self._older(request, refused)) if request.versions is not None else Outcome(refused)

    def stored(self, ids: Sequence[PointId], shard_keys: Sequence[ShardKey] | None = None) -> dict[PointId, Stored]:
        """Return the stored state of these points, each under its shard key. Raises PermanentStoreError."""
        return self._stored(ids, shard_keys, self._read)

    def _stored(
        self, ids: Sequence[PointId], shard_keys: Sequence[ShardKey] | None, ask: Callable[[str, bytes], Any]
    ) -> dict[PointId, Stored]:
        there: dict[PointId, Stored] = {}
        for places in in_shards(shard_keys, len(ids)):
            those, keys = (
                [ids[place] for place in places.tolist()],
                None if shard_keys is None else [shard_keys[places[0]]],
            )
            start = 0
            while start < len(those):
                part = those[start : start + self._most_read]
                try:
                    there.update(
                        found(
                            ask("Points/Get", reading(self._collection, part, self._fingerprint, keys)),
                            self._fingerprint,
                        )
                    )
                except TooLargeError:  # a limit of reads in a minute counts each point
                    if len(part) == 1:
                        raise
                    with self._lock:
                        self._most_read = min(self._most_read, len(part) // 2)
                else:
                    start += len(part)
        return there

    def vector_names(self) -> list[str]:
        """Return the names of the collection's vectors, dense and sparse; "" is the unnamed vector. Raises
        PermanentStoreError."""
        return names(self._read("Collections/Get", structure(self._collection)))

    def _older(self, request: Request, refused: Mapping[PointId, str]) -> frozenset[PointId]:
        """Return the points that are unchanged because the stored version is greater: the server does not report them,
        so the points are read."""
        ours = {
            point: version
            for point, version in zip(request.ids, request.versions or (), strict=True)
            if point not in refused
        }
        keys = request.operation.shard_keys
        there = self.stored(list(ours), None if keys is None else [keys[0]] * len(ours))
        return frozenset(point for point, stored in there.items() if request.operation.has_lost(stored, ours[point]))

    def _send(self, request: Request) -> dict[PointId, str]:
        """Send a request; return the points that the server refuses, each with its message; all others are applied."""
        had_failed = False
        try:
            self._apply(request)
        except TooLargeError as error:
            if len(request) == 1:
                return {request.ids[0]: str(error)}
            with self._lock:
                self._most_points = min(self._most_points, len(request) // 2)
        except RefusedPointsError as error:
            return self._refused(request, error)
        except _SmallerError:
            had_failed = True
        else:
            return {}
        found = {point: reason for half in request.halves() for point, reason in self._send(half).items()}
        if had_failed:
            self._trouble.over()
        return found

    def _refused(self, request: Request, error: RefusedPointsError) -> dict[PointId, str]:
        """Find the refused points by halving. Where no point is accepted, not even a single one, the points are not the
        cause: the collection has changed."""
        found: dict[PointId, str] = {}
        parts, applied = [(request, error)], 0
        while parts:
            part, reason = parts.pop()
            if len(part) > 1:
                for half in reversed(part.halves()):
                    try:
                        self._apply(half, whole=True)
                        applied += len(half)
                    except RefusedPointsError as again:
                        parts.append((half, again))
            elif applied or len(request) == 1:
                found[part.ids[0]] = str(reason)
            else:
                raise PermanentStoreError(
                    f"{reason}; of {len(request)} points that were sent together none is taken any more: see whether "
                    "the collection was changed, and run the job again"
                )
        return found

    def _apply(self, request: Request, whole: bool = False) -> None:
        """Send until the points are applied. Errors that may heal are retried."""
        tries = 0

        def call() -> None:
            nonlocal tries
            if tries and not whole and 1 < len(request) > self.points_at_once():
                raise _SmallerError
            tries += 1
            try:
                self._call(request.operation.method, request.data)
            except MissingPointError:
                among = request.operation.among
                # None where the request itself creates the point: then another client has removed it between two
                # operations, and the whole request is sent again
                if among is None:
                    raise
                if there := self._there(request):
                    self._call(request.operation.method, among(request.start, request.stop, there))

        self._retrying(call)

    def _there(self, request: Request) -> Set[PointId]:
        """Return the points of the request that exist. Sent once: the caller retries the whole request."""
        keys = request.operation.shard_keys
        return self._stored(request.ids, None if keys is None else [keys[0]] * len(request), self._call).keys()

    def _read(self, method: str, data: bytes) -> Any:
        return self._retrying(lambda: self._call(method, data))

    def _retrying(self, call: Callable[[], T]) -> T:
        return retrying(call, self._retry_max_seconds, self._count_retry, self._closing, self._trouble)

    def _call(self, method: str, data: bytes) -> Any:
        """Send once and return the reply. Halves the limit where the server could not keep up."""
        sent, begun = self._limit.begun(), time.monotonic()
        address = self._nodes.address
        try:
            reply = self._ask(method, data, f"{DOING.get(method, 'reading')} '{self._collection}' on {address}")
        except OverloadedError:
            self._limit.halve(sent)
            raise
        if time.monotonic() - begun > SLOW * address.timeout_seconds:
            self._limit.halve(sent)
        return reply

    def _ask(self, method: str, data: bytes, doing: str) -> Any:
        try:
            reply = self._nodes.call(method, data)
        except grpc.RpcError as error:
            raise store_error(error, doing) from None
        if method not in DOING:
            return reply
        for result in reply.result if method == "Points/UpdateBatch" else (reply.result,):
            if result.status != messages.UpdateStatus.Completed:
                # Acknowledged or WaitTimeout: queued, but not applied; the same points once more are harmless.
                raise OverloadedError(
                    f"{doing} was not applied in time: status {messages.UpdateStatus.Name(result.status)}"
                )
        return reply

    def _count_retry(self) -> None:
        with self._lock:
            self.retries += 1
