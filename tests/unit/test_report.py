"""Reports: numbers add up, the one line reads as promised, JSON loses nothing."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from spark_vector_sink.report import ROW_COUNTS, Counts, PartitionReport, WriteReport


def job(**values: object) -> WriteReport:
    report = WriteReport(collection="articles", run="r", seconds=302.0)
    for name, value in values.items():
        assert hasattr(report, name)
        setattr(report, name, value)
    return report


def test_the_one_line_is_the_promised_one() -> None:
    """The example of the design, to the letter."""
    report = job(
        rows=63_666, written=63_666, points=63_666, tokens=5_800_000, truncated=1204, tokens_cut=31_022, retries=3
    )
    assert str(report) == (
        "wrote 63,666 points from 63,666 rows to articles in 5 min 2 s: "
        "211 rows/s, 19.2k tokens/s, 0 rejected, 1,204 truncated (31,022 tokens), 3 retries"
    )


def test_one_is_one() -> None:
    """Of points and of rows."""
    assert str(job(points=1, rows=1)).startswith("wrote 1 point from 1 row to ")


def test_the_line_leaves_out_what_there_was_not() -> None:
    """Without a model there are no tokens to speak of, and without truncation no tokens cut."""
    assert (
        str(job(rows=604, written=604, points=604))
        == "wrote 604 points from 604 rows to articles in 5 min 2 s: 2.0 rows/s, 0 rejected, 0 truncated, 0 retries"
    )


def test_the_line_says_where_it_ran() -> None:
    """Device and arithmetic end the line where they are known."""
    assert str(job(rows=1, points=1, device="cpu", dtype="bfloat16")).endswith(", bfloat16 on cpu")


@pytest.mark.parametrize("count", ["unchanged", "older", "superseded", "deleted", "ignored"])
def test_the_line_names_every_end_a_row_had(count: str) -> None:
    """A count that is not zero is said, so that rows and points can be compared."""
    assert f"1,234 {count}" in str(job(rows=2000, **{count: 1234}))


def test_a_failure_has_a_line_of_its_own() -> None:
    """It says how long, where, how much, and why."""
    report = job(
        points=10,
        rows=12,
        error="1 of 4 partitions had ended well; what was written is right; run the job again when the cause is gone, "
        "and it completes it",
    )
    assert str(report) == (
        "failed after 5 min 2 s on articles, with 10 points of 12 rows written by tasks that ended well: "
        "1 of 4 partitions had ended well; what was written is right; run the job again when the cause is gone, and "
        "it completes it"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (0.4, "0.4 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (302, "5 min 2 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (11_051, "3 h 4 min"),
    ],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    """Two units at most, and no decimals that nobody reads."""
    assert f" in {text}: " in str(job(seconds=seconds))


@pytest.mark.parametrize(
    ("rows", "text"),
    [(0, "0.0"), (1, "0.1"), (95, "9.5"), (2110, "211"), (99_990, "9,999"), (192_000, "19.2k"), (13_000_000, "1.3M")],
)
def test_rates_are_readable(rows: int, text: str) -> None:
    """Three digits or so, whatever the speed (here in ten seconds)."""
    assert f": {text} rows/s" in str(job(rows=rows, seconds=10.0))


def test_no_time_at_all_is_no_error() -> None:
    """A job of no measurable length has a rate of zero."""
    assert "0.0 rows/s" in str(job(rows=5, seconds=0.0))


def test_partitions_add_up() -> None:
    """Every number of every task is in the job's."""
    numbers = [f.name for f in fields(Counts)]
    one = PartitionReport(**{name: n for n, name in enumerate(numbers, 1)}, partition=0)  # type: ignore[arg-type]
    two = PartitionReport(**dict.fromkeys(numbers, 100), partition=1)  # type: ignore[arg-type]
    total = WriteReport.of([one, two], collection="c", run="r", seconds=1)
    assert {name: getattr(total, name) for name in numbers} == {name: n + 100 for n, name in enumerate(numbers, 1)}
    assert total.partitions == 2


def test_devices_are_named_once() -> None:
    """Each device once, in order; tasks that had none do not count."""
    parts = [
        PartitionReport(device=device, dtype=dtype)
        for device, dtype in (("cuda:1", "float16"), ("cuda:0", "float16"), ("", ""), ("cuda:1", "float16"))
    ]
    total = WriteReport.of(parts, collection="c", run="r", seconds=1)
    assert (total.device, total.dtype) == ("cuda:0, cuda:1", "float16")


def test_the_peak_is_the_largest() -> None:
    """Memory of several processes is not added up."""
    total = WriteReport.of(
        [PartitionReport(peak_bytes=5), PartitionReport(peak_bytes=7), PartitionReport(peak_bytes=6)],
        collection="c",
        run="r",
        seconds=1,
    )
    assert total.peak_bytes == 7


def test_a_partition_report_travels_as_json() -> None:
    """What a task says arrives as it was said."""
    report = PartitionReport(
        rows=3,
        written=2,
        superseded=1,
        points=2,
        partition=4,
        receipts=("4-0.arrow", "ü"),
        device="cpu",
        reading_seconds=0.25,
    )
    assert PartitionReport.from_json(report.to_json()) == report


def test_the_job_report_is_json() -> None:
    """Every field is in the JSON, under its own name."""
    report = job(rows=3, points=3, warnings=["careful"], error="no", stored_points=7)
    assert json.loads(report.to_json()) == report.to_dict()
    assert {f.name for f in fields(WriteReport)} == set(json.loads(report.to_json()))


@pytest.mark.parametrize("count", ROW_COUNTS)
def test_every_end_of_a_row_counts(count: str) -> None:
    """A row in any one of the counts is not missing, a row in none is."""
    assert Counts(rows=5, **{count: 5}).missing_rows() == 0
    assert Counts(rows=6, **{count: 5}).missing_rows() == 1
