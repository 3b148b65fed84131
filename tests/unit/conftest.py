"""What unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spark_vector_sink.encode import loader


@pytest.fixture(autouse=True)
def _nothing_loaded() -> Iterator[None]:
    """Each test begins and ends without a loaded encoder."""
    loader._loaded = None
    yield
    loader._loaded = None
