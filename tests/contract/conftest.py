"""What the contract's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spark_vector_sink.encode import loader
from tests.contract.raw import Qdrant

SERVERS = [pytest.param("shared_fake", id="fake"), pytest.param("qdrant_server", id="real", marks=pytest.mark.qdrant)]


@pytest.fixture(autouse=True, scope="module")
def _nothing_loaded() -> Iterator[None]:
    """A module leaves no model behind."""
    yield
    loader._loaded = None


@pytest.fixture(params=SERVERS)
def qdrant(request: pytest.FixtureRequest) -> Iterator[Qdrant]:
    """The fake server, then a real one."""
    opened = Qdrant(request.getfixturevalue(request.param))
    yield opened
    opened.clean()
