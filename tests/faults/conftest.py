"""What the tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tenacity import wait_fixed

from spark_vector_sink.store import retry
from tests.fake_server import FakeServer


@pytest.fixture(scope="module")
def started() -> Iterator[FakeServer]:
    """A start takes as long as most tests here."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def fake_server(started: FakeServer) -> FakeServer:
    """An empty fake Qdrant without faults. No test here leaves anybody behind who would write to that of the next
    one."""
    started.empty()
    return started


@pytest.fixture(autouse=True)
def _little_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are sent again at once: how long a task waits before is what tests/unit/test_retry.py is about. A wait
    that the server names is kept."""
    monkeypatch.setattr(retry, "BACK_OFF", wait_fixed(0.01))
