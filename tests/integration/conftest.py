"""What the tests on a real server share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import QdrantClient


@pytest.fixture
def client(qdrant_server: Any) -> Iterator[QdrantClient]:
    """The official client, as a reader has it: to look at what the sink has made."""
    made = client_of(qdrant_server)
    yield made
    made.close()


def client_of(server: Any) -> QdrantClient:
    """Another one, to be closed by the test."""
    return QdrantClient(
        host=server.host, grpc_port=server.grpc_port, prefer_grpc=True, check_compatibility=False, timeout=60
    )
