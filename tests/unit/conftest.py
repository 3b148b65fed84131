"""What unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spark_vector_sink.encode import encoder as encoders


@pytest.fixture(autouse=True)
def _nothing_loaded() -> Iterator[None]:
    """Each test begins and ends without a loaded encoder."""
    encoders._loaded = None
    yield
    encoders._loaded = None
