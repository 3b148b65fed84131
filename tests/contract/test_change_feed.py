"""A change feed that comes shuffled, in part again, in several jobs at once: the end state is the feed sorted by version, on every store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.feeds import OPTIONS, deliveries, feed, judge, sorted_by_version
from tests.jobs import Place, place

__all__ = ["place"]

EVENTS, KEYS, WRITERS = 2_000, 400, 3


@pytest.mark.parametrize("options", [{}, {"unchanged": "skip"}, {"window_rows": 50}], ids=["plainly", "skip", "small windows"])
def test_the_end_state_is_the_feed_sorted_by_version(place: Place, options: dict[str, Any]) -> None:
    """Each document of the version, with the vector of the text, and none that was deleted; a second delivery of everything changes nothing."""
    without_vectors = Place({name: value for name, value in place.options.items() if name != "vector_column"} | OPTIONS | options)
    table = feed(EVENTS, KEYS)
    wanted = sorted_by_version(table)
    shares = deliveries(table, WRITERS, jobs=2)

    def write(share: Any) -> int:
        return sum(without_vectors.write(*parts).rows for parts in share)

    without_vectors.write(table.slice(0, 0))
    for _ in range(2):
        with ThreadPoolExecutor(WRITERS) as threads:
            assert sum(threads.map(write, shares)) > EVENTS
        verdict = judge(without_vectors, wanted, KEYS)
        assert verdict.is_right, verdict
    assert 0 < len(wanted) < KEYS
