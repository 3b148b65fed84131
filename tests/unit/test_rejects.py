"""The file of a task's rejects: rows as they came, in types that Spark reads back; and what is said where it cannot be
written."""

from __future__ import annotations

from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark_vector_sink import rejects
from spark_vector_sink.errors import BadRowError, RejectsError
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.rejects import Rejects
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.rows.bad_rows import BLANK_TEXT, LONG_TEXT, BadRow


def options(place: str | Path | None, **more: Any) -> SinkOptions:
    return SinkOptions.from_mapping({"path": "./a", "rejects_path": place, **more})


def bad(*rows: int, kind: str = BLANK_TEXT) -> dict[int, BadRow]:
    return {row: BadRow(row, str(row), "text", kind, "is null") for row in rows}


def kept(place: Path, batch: pa.RecordBatch, *rows: int) -> pa.Table:
    """The file of these rows, made visible."""
    chosen = options(place)
    file = Rejects(chosen, "run", 3, 1)
    file.add(batch, bad(*rows))
    report = PartitionReport(rejects=file.flush())
    rejects.publish(chosen, "run", [report])
    return pq.read_table(place / report.rejects)


def staged(chosen: SinkOptions, partition: int) -> PartitionReport:
    """What a task says that has rejected a row."""
    file = Rejects(chosen, "run", partition, 0)
    file.add(pa.record_batch({"id": [1]}), bad(0))
    return PartitionReport(rejects=file.flush(), partition=partition)


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}"])
def test_a_place_is_a_path_or_a_url(tmp_path: Path, form: str) -> None:
    """All forms of a local path are the same directory."""
    chosen = options(form.format(tmp_path / "r"))
    file = Rejects(chosen, "run", 3, 1)
    file.add(pa.record_batch({"id": [7, 8]}), bad(1))
    report = PartitionReport(rejects=file.flush())
    rejects.publish(chosen, "run", [report])
    rejects.discard(chosen, "run")
    assert [path.name for path in (tmp_path / "r").iterdir()] == [report.rejects]
    assert report.rejects.startswith("run-3-1-")


def test_rows_are_as_they_came(tmp_path: Path) -> None:
    """Values of all types; those that Spark does not read from Parquet have the type that becomes the same payload."""
    batch = pa.record_batch(
        {
            "id": pa.array([1, 2]),
            "list": pa.array([[1.5, float("nan")], None]),
            "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
            "struct": pa.array([{"a": time(1)}, None], pa.struct([("a", pa.time64("ns"))])),
            "none": pa.nulls(2),
            "nones": pa.array([[None], None], pa.list_(pa.null())),
            "duration": pa.array([timedelta(seconds=1), None], pa.duration("us")),
            "decimal": pa.array([None, None], pa.decimal128(20, 2)),
            "empty": pa.array([{}, None], pa.struct([])),
            "_reject_key": ["old", "old"],
        }
    )
    table = kept(tmp_path, batch, 0)
    assert table.drop_columns(["_reject_reason", "_reject_message"]).to_pylist()[0] | {"list": None} == {
        "id": 1,
        "list": None,
        "map": [("a", 1)],
        "struct": {"a": "01:00:00.000000"},
        "none": None,
        "nones": [None],
        "duration": 1_000_000,
        "decimal": None,
        "empty": [],
        "_reject_key": "0",
    }
    assert (table.schema.field("none").type, table.schema.field("empty").type) == (
        pa.string(),
        pa.map_(pa.string(), pa.string()),
    )


def test_any_type_is_kept_or_left_out(tmp_path: Path) -> None:
    """A dictionary as what it stands for, a decimal before its point as one that Parquet knows; what neither Arrow nor
    Parquet takes is not there."""
    words = pa.array([b"a", b"a\xff"], pa.binary()).view(pa.string())
    small = pa.Array.from_buffers(pa.decimal128(2, 5), 1, [None, pa.py_buffer((12).to_bytes(16, "little"))])
    batch = pa.record_batch(
        {
            "words": pa.DictionaryArray.from_arrays([1, None], words),
            "lists": pa.DictionaryArray.from_arrays([0, None], pa.array([["x"]])),
            "decimal": pa.array([Decimal("1.2E+3"), None], pa.decimal128(5, -2)),
            "small": pa.LargeListArray.from_arrays([0, 1, 1], small),
            "view": pa.array(["x", None], pa.string_view()),
            "runs": pa.RunEndEncodedArray.from_arrays([2], ["x"]),
        }
    )
    table = kept(tmp_path, batch, 0)
    assert table.column_names == [
        "words",
        "lists",
        "decimal",
        "small",
        "_reject_key",
        "_reject_reason",
        "_reject_message",
    ]
    assert table.column("words").cast(pa.binary()).to_pylist() == [b"a\xff"]
    assert table.select(["lists", "decimal", "small"]).to_pylist() == [
        {"lists": ["x"], "decimal": Decimal(1200), "small": [Decimal("0.00012")]}
    ]


def test_types_that_spark_does_not_have(tmp_path: Path) -> None:
    """They are kept as the text of their payload, or in the next type that Spark has; a value that a payload refuses
    can be seen in it."""
    batch = pa.record_batch(
        {
            "nanos": pa.array([1, None], pa.timestamp("ns", "UTC")),
            "time": pa.array([1, 86_400], pa.time32("s")),
            "exact": pa.array([1, 1000], pa.time64("ns")),
            "wide": pa.array([Decimal("12345678901234567890123456789012345678901.50"), None], pa.decimal256(60, 2)),
            "half": pa.array([np.float16(0.5), None], pa.float16()),
            "map": pa.array([[("a", None)], None], pa.map_(pa.string(), pa.null())),
            "times": pa.array(
                [[(time(1), [{"a": {}}])], None], pa.map_(pa.time64("us"), pa.list_(pa.struct([("a", pa.struct([]))])))
            ),
            "fixed": pa.array([[time(1), None], None], pa.list_(pa.time64("us"), 2)),
        }
    )
    table = kept(tmp_path, batch, 0, 1)
    assert table.drop_columns(["_reject_key", "_reject_reason", "_reject_message"]).to_pylist() == [
        {
            "nanos": "1970-01-01T00:00:00.000000001Z",
            "time": "00:00:01.000000",
            "exact": "1",
            "wide": "12345678901234567890123456789012345678901.50",
            "half": 0.5,
            "map": [("a", None)],
            "times": [("01:00:00.000000", [{"a": []}])],
            "fixed": ["01:00:00.000000", None],
        },
        {
            "nanos": None,
            "time": "86400",
            "exact": "00:00:00.000001",
            "wide": None,
            "half": None,
            "map": None,
            "times": None,
            "fixed": None,
        },
    ]
    assert table.schema.field("half").type == pa.float32()


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    """The first one stays, a later one gets a number that no other column has; those of an earlier reject give way to
    the new ones."""
    names = ["a", "A", "a_2", "A_3", "_Reject_Key", "_reject_key", "s"]
    struct = pa.array([("x", "y", "z")], pa.struct([("b", pa.string()), ("B", pa.string()), ("b", pa.string())]))
    table = kept(
        tmp_path, pa.RecordBatch.from_arrays([pa.array([name]) for name in names[:-1]] + [struct], names=names), 0
    )
    assert table.column_names == [
        "a",
        "A_4",
        "a_2",
        "A_3",
        "_Reject_Key_2",
        "s",
        "_reject_key",
        "_reject_reason",
        "_reject_message",
    ]
    assert table.column("s").to_pylist() == [{"b": "x", "B_2": "y", "b_3": "z"}]


def test_rows_without_columns(tmp_path: Path) -> None:
    """What is said of them is kept."""
    assert (
        kept(tmp_path, pa.RecordBatch.from_struct_array(pa.array([{}] * 2, pa.struct([]))), 1).to_pylist()[0][
            "_reject_key"
        ]
        == "1"
    )


def test_bytes_that_are_no_text_are_kept(tmp_path: Path) -> None:
    """Whoever knows their charset can still decode them."""
    text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")])
    table = kept(tmp_path, pa.record_batch([text], names=["text"]), 0)
    assert table.column("text").cast(pa.binary()).to_pylist() == [b"a\xff"]


def test_the_first_row_that_may_not_be_rejected_ends_the_job() -> None:
    """long_text decides over long texts, and whether there is a place for rejects over all others."""
    both = [*bad(5).values(), *bad(4, kind=LONG_TEXT).values()]
    rejects.refuse(options("r"), bad(5).values())  # type: ignore[arg-type]
    rejects.refuse(options("r", long_text="reject"), both)
    for chosen, key in ((options("r", long_text="fail"), "4"), (options(None), "5")):
        with pytest.raises(BadRowError) as first:
            rejects.refuse(chosen, both)
        assert first.value.key == key


def test_a_file_that_nobody_reported_is_dropped(tmp_path: Path) -> None:
    """An attempt that lost or was killed has rejected nothing."""
    chosen = options(tmp_path / "r")
    for name in ("killed", "lost"):
        file = Rejects(chosen, "run", 0, 0)
        file.add(pa.record_batch({"id": [1]}), bad(0))
        assert file.flush() if name == "lost" else True
    rejects.publish(chosen, "run", [PartitionReport()])
    rejects.discard(chosen, "run")
    assert list((tmp_path / "r").iterdir()) == []


def test_a_file_that_the_driver_does_not_see_is_missed(tmp_path: Path) -> None:
    """A directory of each executor is no shared place, and no file becomes visible."""
    chosen = options(tmp_path / "r")
    reports = [staged(chosen, 0), PartitionReport(rejects="elsewhere.parquet", partition=1)]
    with pytest.raises(RejectsError) as failed:
        rejects.publish(chosen, "run", reports)
    assert str(failed.value) == (
        f"1 of 2 files with rejected rows are not visible to the driver; option 'rejects_path' = '{tmp_path}/r' must "
        "be a place that all machines see: "
        "name another, and run the job again"
    )
    assert list((tmp_path / "r").glob("*.parquet")) == []


def test_files_become_visible_together_or_not_at_all(tmp_path: Path) -> None:
    """One that cannot be moved takes back those that were."""
    chosen = options(tmp_path / "r")
    reports = [staged(chosen, partition) for partition in range(2)]
    (tmp_path / "r" / reports[1].rejects / "in the way").mkdir(parents=True)
    with pytest.raises(RejectsError, match=r"^rejected rows cannot be kept at option 'rejects_path' = '.*/r' \("):
        rejects.publish(chosen, "run", reports)
    assert not (tmp_path / "r" / reports[0].rejects).exists()


def test_files_are_hidden_again_where_the_job_fails_after_all(tmp_path: Path) -> None:
    """The error of the job is the one that is heard, and its rows are rejected again when it runs again."""
    chosen = options(tmp_path / "r")
    reports = [staged(chosen, partition) for partition in range(2)]

    def fail() -> None:
        with rejects.published(chosen, "run", reports):
            assert len(list((tmp_path / "r").glob("*.parquet"))) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list((tmp_path / "r").rglob("*.parquet")) == []


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Before the job where it shows, else in one line; what may be a password is not in it."""
    (tmp_path / "file").touch()
    for place, words in (
        (
            str(tmp_path / "file"),
            f"option 'rejects_path' = '{tmp_path}/file' is a file; rejected rows go to a directory",
        ),
        (
            str(tmp_path / "file" / "r"),
            f"option 'rejects_path' = '{tmp_path}/file/r' cannot be written; name a directory that you may write to",
        ),
        (
            "nosuch://KEY:HUSH@bucket/r",
            "option 'rejects_path' = 'bucket/r' is no place that Arrow can write to (ArrowInvalid); name a directory, "
            "or a URL such as s3://bucket/folder",
        ),
    ):
        assert list(rejects.problems(options(place))) == [words]
    assert list(rejects.problems(options(tmp_path / "a" / "b"))) == []
    with pytest.raises(RejectsError) as failed:
        Rejects(options(tmp_path / "file" / "r"), "run", 0, 0).add(pa.record_batch({"id": [1]}), bad(0))
    assert str(failed.value) == (
        f"rejected rows cannot be kept at option 'rejects_path' = '{tmp_path}/file/r' (Not a directory); "
        "name a place that every task may write to, and run the job again"
    )
