"""A change feed that comes shuffled, in part again, in several jobs at once: the end state is the feed sorted by
version, on every store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink.task import change_detection
from tests.feeds import OPTIONS, SCHEMA, Verdict, deliveries, feed, judge, sorted_by_version
from tests.jobs import Place, place

__all__ = ["place"]

EVENTS, KEYS, WRITERS = 1_000, 200, 3


@pytest.mark.parametrize(
    "options", [{}, {"unchanged": "skip"}, {"window_rows": 50}], ids=["plainly", "skip", "small windows"]
)
def test_the_end_state_is_the_feed_sorted_by_version(place: Place, options: dict[str, Any]) -> None:
    """Each document of the version, with the vector of the text, and none that was deleted; a second delivery of
    everything changes nothing."""
    without_vectors = Place(
        {name: value for name, value in place.options.items() if name != "vector_column"} | OPTIONS | options
    )
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


def test_what_another_job_writes_meanwhile_does_not_mix_with_ours(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a document and its write, another job deletes it, or gives it another text: of the newer row
    both text and vector arrive."""
    without_vectors = Place(
        {name: value for name, value in place.options.items() if name != "vector_column"}
        | OPTIONS
        | {"unchanged": "skip"}
    )

    def rows(*events: tuple[int, str | None, int, str, int]) -> pa.Table:
        return pa.Table.from_pydict(dict(zip(SCHEMA.names, zip(*events, strict=True), strict=True)), schema=SCHEMA)

    without_vectors.write(rows((1, "one", 1, "insert", 1), (2, "two", 1, "insert", 1)))
    between = [rows((1, None, 0, "delete", 2), (2, "another", 2, "update_postimage", 2))]
    decide = change_detection.decide

    def interrupted(*arguments: Any) -> change_detection.Decided:
        decided = decide(*arguments)
        while between:
            without_vectors.write(between.pop())
        return decided

    monkeypatch.setattr(change_detection, "decide", interrupted)
    last = rows((1, "one", 3, "insert", 3), (2, "two", 3, "update_postimage", 3))
    without_vectors.write(last)
    assert judge(without_vectors, sorted_by_version(last), 10) == Verdict(
        documents=2, missing=0, resurrected=0, wrong=0, misplaced=0
    )
