"""Requests: bounded in points and in bytes, and together all of the operation."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_vector_sink.store.qdrant.operations import Operation
from spark_vector_sink.store.qdrant.requests import requests


def of_sizes(sizes: Sequence[int]) -> Operation:
    """An operation on points numbered from 0, each of so many bytes."""
    return Operation(
        "Points/Upsert",
        range(len(sizes)),
        lambda start, stop: b"".join(bytes([start + i]) * n for i, n in enumerate(sizes[start:stop])),
        sum(sizes),
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 300), max_size=60), most_points=st.integers(1, 20), most_bytes=st.integers(1, 1000)
)
def test_a_request_has_no_more_points_and_bytes_than_allowed(
    sizes: list[int], most_points: int, most_bytes: int
) -> None:
    """Whatever the sizes of the points; one that alone is larger goes alone. Nothing is left out, and the order
    stays."""
    made = list(requests(of_sizes(sizes), lambda: most_points, most_bytes))
    assert [id for request in made for id in request.ids] == list(range(len(sizes)))
    assert b"".join(request.data for request in made) == of_sizes(sizes).make(0, len(sizes))
    assert all(len(request) <= most_points for request in made)
    assert all(len(request.data) <= most_bytes or len(request) == 1 for request in made)


@pytest.mark.parametrize(("size", "wanted"), [(10, [5, 5, 2]), (250, [4, 4, 4])])
def test_requests_are_as_full_as_they_may_be(size: int, wanted: list[int]) -> None:
    """Of equal points as many go together as points, or bytes, allow: 5, or 1,000 bytes, of 12."""
    assert [len(request) for request in requests(of_sizes([size] * 12), lambda: 5, 1000)] == wanted
