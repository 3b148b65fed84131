"""What the contract's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spark_vector_sink.encode import encoder as encoders


@pytest.fixture(autouse=True, scope="module")
def _nothing_loaded() -> Iterator[None]:
    """A module leaves no model behind."""
    yield
    encoders._loaded = None
