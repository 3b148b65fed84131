"""What the server writes down of its callers."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import grpc

from tests.fake_qdrant.faults import Fault
from tests.fake_qdrant.requests import named_in, operations_of
from tests.fake_qdrant.values import Message


@dataclass
class Seen:
    """One request of the Points service, whatever became of it."""

    method: str
    """`Points/Upsert`, …"""
    collection: str
    points: int
    """that the request names: those of an upsert, the ids of a Get, a Delete, …; of a batch in all its operations. A
    filter names none"""
    operations: list[str]
    """of a batch in their order: `upsert`, `delete_points`, `set_payload`, …"""
    conditional: bool
    """whether it is an upsert with a filter or a mode, or a batch with one"""
    bytes: int
    peer: str
    """the client's address: one for each connection"""
    start: float
    """seconds since the server's start"""
    seconds: float = 0.0
    """until the reply"""
    outcome: str = "running"
    """`OK` or the name of a status code"""


@dataclass
class Stats:
    """What a fake server has seen."""

    calls: dict[str, int] = field(default_factory=dict)
    """method → calls, those with a fault too, refused keys not"""
    faults: dict[str, int] = field(default_factory=dict)
    """kind → how often it was played"""
    requests: list[Seen] = field(default_factory=list)
    """of the Points service, in the order of arrival"""
    most_concurrent_upserts: int = 0

    def of(self, method: str) -> list[Seen]:
        """Requests of one method: `stats.of("Points/Get")`."""
        return [seen for seen in self.requests if seen.method == method]

    @property
    def upserts(self) -> list[Seen]:
        return self.of("Points/Upsert")

    @property
    def batch_sizes(self) -> list[int]:
        """Points of each Upsert request, in the order of arrival."""
        return [upsert.points for upsert in self.upserts]

    @property
    def peers(self) -> set[str]:
        """Connections that upserts came over."""
        return {upsert.peer for upsert in self.upserts}


class Recorder:
    """Keeps the Stats."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._on_their_way = 0
        self._started = time.monotonic()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._calls: Counter[str] = Counter()
            self._faults: Counter[str] = Counter()
            self._requests: list[Seen] = []
            self._running = self._most = 0

    def wait_until_idle(self, seconds: float) -> bool:
        """Return when no call is on its way. False where that takes longer."""
        with self._lock:
            return self._lock.wait_for(lambda: self._on_their_way == 0, seconds)

    def wait_for(self, calls: Mapping[str, int], faults: Mapping[str, int], seconds: float) -> bool:
        """Return when so many calls of each method have arrived, and so many faults of each kind were played. False
        where that takes longer."""
        with self._lock:
            return self._lock.wait_for(
                lambda: self._calls >= Counter(calls) and self._faults >= Counter(faults), seconds
            )

    def to_json(self) -> bytes:
        with self._lock:
            stats = Stats(dict(self._calls), dict(self._faults), self._requests, self._most)
            return json.dumps(asdict(stats)).encode()

    def played(self, fault: Fault) -> None:
        with self._lock:
            self._faults[fault.kind] += 1
            self._lock.notify_all()

    @contextmanager
    def call(self, method: str, request: Message, context: grpc.ServicerContext) -> Iterator[None]:
        """Around one call, from its arrival to its reply."""
        start, seen = time.monotonic(), None
        with self._lock:
            self._calls[method] += 1
            if method.startswith("Points/"):
                seen = _seen(method, request, context.peer(), start - self._started)
                self._requests.append(seen)
            if method == "Points/Upsert":
                self._running += 1
                self._most = max(self._most, self._running)
            self._on_their_way += 1
            self._lock.notify_all()
        try:
            yield
        finally:
            with self._lock:
                self._on_their_way -= 1
                self._lock.notify_all()
                if seen is not None:
                    self._running = max(0, self._running - (method == "Points/Upsert"))
                    seen.seconds = time.monotonic() - start
                    seen.outcome = (context.code() or grpc.StatusCode.OK).name


def _seen(method: str, request: Message, peer: str, start: float) -> Seen:
    upserts = (
        [request]
        if method == "Points/Upsert"
        else [operation.upsert for operation in getattr(request, "operations", ())]
    )
    conditional = any(upsert.HasField("update_filter") or upsert.update_mode for upsert in upserts)
    return Seen(
        method,
        request.collection_name,
        len(named_in(request)),
        operations_of(request),
        conditional,
        request.ByteSize(),
        peer,
        start,
    )
