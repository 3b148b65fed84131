"""The store that all arms write to: a real Qdrant where there is one, else the fake one of the tests; always a process
of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

PREFIX = f"benchmark_{uuid.uuid4().hex[:8]}_"
"""Collections of this run; nothing else on the server is touched."""


@dataclass(frozen=True)
class Server:
    """A running server. words: what it is, for the results. pid: its process, where that was started here."""

    url: str
    grpc_port: int
    words: str
    pid: int | None = None

    def options(self) -> dict[str, Any]:
        """How the sink finds it."""
        return {"url": self.url, "grpc_port": self.grpc_port}

    def client(self) -> Any:
        """The official client, as a careful user makes it: over gRPC, with the key of the environment."""
        return client(self.url, self.grpc_port)

    def new_name(self) -> str:
        """A collection that is not there yet."""
        return f"{PREFIX}{uuid.uuid4().hex[:8]}"

    def count(self, collection: str) -> int:
        with closing(self.client()) as asked:
            return int(asked.count(collection, exact=True).count)

    def drop_all(self) -> None:
        """Delete every collection of this run."""
        with closing(self.client()) as asked:
            for found in asked.get_collections().collections:
                if found.name.startswith(PREFIX):
                    asked.delete_collection(found.name)


def client(url: str, grpc_port: int) -> Any:
    from qdrant_client import QdrantClient

    key = os.environ.get("QDRANT_API_KEY")
    return QdrantClient(
        url=url, grpc_port=grpc_port, prefer_grpc=True, api_key=key, timeout=60, check_compatibility=False
    )


@contextmanager
def server() -> Iterator[Server]:
    """QDRANT_URL, else a `qdrant` binary, else Docker, else the fake server of the tests."""
    from tests.fake_server import FakeServer
    from tests.real_server import NoServerError, RealServer, find_server, wait_until_healthy

    found: Any
    try:
        found = find_server(os.environ.get("QDRANT_API_KEY"))
    except NoServerError:
        if os.environ.get("QDRANT_URL"):
            raise  # it was named, so its silence is an error
        found = FakeServer().start()
        words = "the fake server of the tests (Python), on the same cores"
    else:
        version = wait_until_healthy(found.host, found.grpc_port, tls=found.url.startswith("https"))
        where = "at QDRANT_URL" if os.environ.get("QDRANT_URL") else "on the same cores"
        words = f"Qdrant {version} ({'binary' if isinstance(found, RealServer) else 'server'}), {where}"
    made = Server(found.url, found.grpc_port, words, getattr(found, "pid", None))
    try:
        yield made
    finally:
        try:
            made.drop_all()
        finally:
            found.stop()
