"""A Qdrant for tests: the official gRPC services on a real port in a process of its own, over a small store in memory,
with scripted faults.

Spark's workers are processes, so a fake has to be reached over the network. In a test:

    with FakeServer() as server:
        server.fault("Points/Upsert", "applied_then_unavailable", times=2)
        ...                                         # url=server.url, grpc_port=server.grpc_port
        assert server.points("articles").keys() == {1, 2, 3}
        assert server.stats().calls["Points/Upsert"] == 3

By hand: `python -m tests.fake_server --port 0 [--api-key KEY] [--script faults.json]` prints the port; the script is a
JSON list of faults.

This is the test's side; the server's is tests/fake_qdrant. It answers what Qdrant 1.18.2 answers, with the same status
codes and words (`tests/contract/test_servers_agree.py` holds it to that), except that vectors are kept as they were
sent (Qdrant scales them to length 1 where the distance is cosine), that an unknown vector name or a vector of the wrong
kind refuses the whole request (Qdrant writes some of the other points, whichever come first in its hash table), that a
batch is done under one lock, that no optimiser runs (`optimise` does to the points what it would), and that what is not
there is UNIMPLEMENTED rather than half right: payload paths into lists, conditions on text, places and dates,
prefetches other than for reciprocal rank fusion.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import numpy as np

if (
    __name__ == "__main__"
):  # the server needs the client's messages, not the client: it starts in 0.4 s instead of 1.8 s
    _package = types.ModuleType("qdrant_client")
    _package.__path__ = list(importlib.util.find_spec("qdrant_client").submodule_search_locations)  # type: ignore[union-attr, arg-type]
    sys.modules["qdrant_client"] = _package

from qdrant_client import grpc as q

from tests.fake_qdrant.faults import FAULTS, Fault
from tests.fake_qdrant.seen import Seen, Stats
from tests.fake_qdrant.values import Matrix, Message, PointKey, key_of, plain
from tests.hangs import HANGS_AFTER_SECONDS

__all__ = ["FAULTS", "FakeServer", "Fault", "Seen", "Stats", "StoredPoint", "plain", "read_points"]


@dataclass(frozen=True)
class StoredPoint:
    """A point read back: its dense vectors, and `sparse`, name → index → value.
    `message` is the server's own RetrievedPoint, where plain values are not exact enough."""

    vectors: dict[str, Matrix]
    payload: dict[str, Any]
    message: Message = field(repr=False)
    sparse: dict[str, dict[int, float]] = field(default_factory=dict)


def read_points(channel: grpc.Channel, collection: str, api_key: str | None = None) -> dict[PointKey, StoredPoint]:
    """All points of a collection, from any server, fake or real, in the order of their ids."""
    stub, found, offset = q.PointsStub(channel), {}, None
    metadata = [("api-key", api_key)] if api_key else []
    everything = {
        "with_payload": q.WithPayloadSelector(enable=True),
        "with_vectors": q.WithVectorsSelector(enable=True),
    }
    while True:
        request = q.ScrollPoints(collection_name=collection, limit=1000, offset=offset, **everything)
        page = stub.Scroll(request, metadata=metadata, timeout=HANGS_AFTER_SECONDS, wait_for_ready=True)
        for point in page.result:
            named = (
                point.vectors.vectors.vectors.items()
                if point.vectors.HasField("vectors")
                else [("", point.vectors.vector)]
            )
            vectors = {
                name: np.array(vector.dense.data, np.float32) for name, vector in named if not vector.HasField("sparse")
            }
            sparse = {
                name: dict(zip(v.sparse.indices, v.sparse.values, strict=True))
                for name, v in named
                if v.HasField("sparse")
            }
            payload = {name: plain(value) for name, value in point.payload.items()}
            found[key_of(point.id)] = StoredPoint(vectors, payload, point, sparse)
        if not page.HasField("next_page_offset"):
            return found
        offset = page.next_page_offset


class FakeServer:
    """A fake server in a process of its own, as a context manager. `url` and `grpc_port` name the same port: it has no
    REST."""

    host = "127.0.0.1"

    def __init__(self, *, api_key: str | None = None, faults: Iterable[Fault] = ()) -> None:
        self.api_key = api_key
        self.grpc_port = 0
        self._faults = list(faults)
        self._process: subprocess.Popen[str] | None = None
        self._channel: grpc.Channel | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.grpc_port}"

    @property
    def pid(self) -> int | None:
        """The server's process; None while it does not run."""
        return self._process.pid if self._process is not None else None

    @property
    def channel(self) -> grpc.Channel:
        """A channel of the test's own, with no limit on the size of messages."""
        assert self._channel is not None, "the server is not running"
        return self._channel

    def start(self) -> FakeServer:
        """Return when the server answers. Started again after `stop()` it has the same port and holds nothing."""
        command = [sys.executable, "-m", "tests.fake_server", "--stop-at-eof", "--port", str(self.grpc_port)]
        if self.api_key:
            command += ["--api-key", self.api_key]
        root = Path(__file__).resolve().parents[1]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip():
            self.stop()
            raise RuntimeError("the fake server did not start; its standard error says why")
        self.grpc_port = int(line)
        self._channel = grpc.insecure_channel(
            f"{self.host}:{self.grpc_port}", [("grpc.max_receive_message_length", -1)]
        )
        q.QdrantStub(self._channel).HealthCheck(
            q.HealthCheckRequest(), timeout=HANGS_AFTER_SECONDS, wait_for_ready=True
        )
        if self._faults:
            self.add_faults(self._faults)
        return self

    def stop(self) -> None:
        """End the process at once; connections break."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> FakeServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def empty(self) -> None:
        """Forget everything, when no call is on its way any more: as good as a new start, and sooner there."""
        self._control("Empty")

    def fault(self, method: str, kind: str, **rest: Any) -> None:
        """Script a fault, in one line: `server.fault("Points/Upsert", "rate_limit", times=2, retry_after=1)`; see
        Fault."""
        self.add_faults([Fault(method, kind, **rest)])

    def add_faults(self, faults: Iterable[Fault]) -> None:
        self._control("Faults", json.dumps([asdict(fault) for fault in faults]).encode())

    def wait_for(
        self, *, calls: Mapping[str, int] = MappingProxyType({}), faults: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        """Return when so many calls of each method have arrived, and so many faults of each kind were played."""
        self._control("WaitFor", json.dumps({"calls": dict(calls), "faults": dict(faults)}).encode())

    def let_one_go(self, of: int) -> None:
        """When so many calls are held by the fault `held`: one of them comes to its end."""
        self._control("LetOneGo", str(of).encode())

    def clear_faults(self) -> None:
        """Forget the faults that are still to come."""
        self._control("ClearFaults")

    def stats(self) -> Stats:
        """What the server has seen since its start or the last `reset_stats()`."""
        seen = json.loads(self._control("Stats"))
        return Stats(
            seen["calls"],
            seen["faults"],
            [Seen(**request) for request in seen["requests"]],
            seen["most_concurrent_upserts"],
        )

    def reset_stats(self) -> None:
        self._control("ResetStats")

    def optimise(self, collection: str) -> None:
        """Points that are there now behave as those in a segment that a real server's optimiser has built: an upsert
        leaves the vectors that it does not name, and the payload if it has none; after any change they behave as fresh
        ones."""
        self._control("Optimise", collection.encode())

    def points(self, collection: str) -> dict[PointKey, StoredPoint]:
        """All points of a collection (or alias), as any client would read them; counts as calls of Points/Scroll."""
        return read_points(self.channel, collection, self.api_key)

    def _control(self, method: str, request: bytes = b"") -> bytes:
        reply: bytes = self.channel.unary_unary(f"/test.Control/{method}")(request, timeout=HANGS_AFTER_SECONDS)
        return reply


if __name__ == "__main__":
    from tests.fake_qdrant.server import main

    main()
