"""Servers that a test kills, restarts or configures must be its own."""

from __future__ import annotations

import pytest

from tests.real_server import find_binary


def must_be_our_own(what: str) -> None:
    """Skip the test where there is no binary to start one with. what: which server, as in `a server that is killed`."""
    if find_binary() is None:
        pytest.skip(f"no qdrant binary on PATH or in QDRANT_BIN: {what} must be our own")
