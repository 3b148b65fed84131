"""What the tests of faults share."""

from __future__ import annotations

import pytest
from tenacity import wait_fixed

from spark_vector_sink.store import retry


@pytest.fixture(autouse=True)
def _little_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are sent again at once: how long a task waits before is what tests/unit/test_retry.py is about. A wait that the server names is kept."""
    monkeypatch.setattr(retry, "BACK_OFF", wait_fixed(0.01))
