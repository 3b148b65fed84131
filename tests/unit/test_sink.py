"""The engine from plan to report, on the embedded store: rows in, counts out, and nothing lost on the way."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark_vector_sink.driver import committer
from spark_vector_sink.driver.plan import check, plan
from spark_vector_sink.encode import loader
from spark_vector_sink.encode.encoder import Encoded, Tokenised
from spark_vector_sink.errors import (
    BadRowError,
    CollectionError,
    IncompleteError,
    OptionError,
    RefusedError,
    RejectsError,
    SchemaError,
)
from spark_vector_sink.job import Plan
from spark_vector_sink.report import PartitionReport, WriteReport
from spark_vector_sink.rows.bad_rows import SET_ASIDE
from spark_vector_sink.store.edge import EdgeCollections, EdgeStore
from spark_vector_sink.store.write_batch import Sent
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from spark_vector_sink.task.encoder_runner import EncoderRunner
from tests.unit.fakes import DIMENSION, HashEncoder

pytest.importorskip("qdrant_edge")

ROOT = Path(__file__).parents[2]
ENCODER = "tests.unit.fakes:HashEncoder"
WINDOW = 4


def rows(ids: Sequence[int], **more: Any) -> pa.RecordBatch:
    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.int64()),
        "text": pa.array([f"text {i}" for i in ids], pa.string()),
    }
    return pa.record_batch({**columns, **more})


SCHEMA = rows([]).schema


def options(directory: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(directory), "encoder": ENCODER, "window_rows": WINDOW, **more}


def prepared(directory: Path, schema: pa.Schema = SCHEMA, **more: Any) -> Plan:
    return committer.prepare(plan(options(directory, **more), schema))


def write(
    directory: Path, partitions: Sequence[Sequence[pa.RecordBatch]], schema: pa.Schema = SCHEMA, **more: Any
) -> WriteReport:
    """A whole job; the plan is pickled into each task, as Spark would."""
    made = prepared(directory, schema, **more)
    reports = []
    for number, batches in enumerate(partitions):
        report = partition_writer.write_partition(pickle.loads(pickle.dumps(made)), batches, TaskContext(number))
        reports.append(PartitionReport.from_json(report.to_json()))
    return committer.commit(made, reports)


def stored(directory: Path, dimension: int = DIMENSION) -> dict[int | str, dict[str, Any]]:
    return {hit.id: dict(hit.payload) for hit in EdgeCollections(5).search(str(directory), [1.0] * dimension, 1000)}


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


# --- whole jobs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 2 * WINDOW + 1])
def test_every_row_is_counted_and_stored(tmp_path: Path, count: int) -> None:
    """Whether the partition ends before, at or after a window."""
    report = write(tmp_path / "s", [[rows(range(count))]])
    assert (report.rows, report.written, report.points, report.missing_rows()) == (count, count, count, 0)
    assert report.stored_points == count
    assert stored(tmp_path / "s") == {i: {"id": i, "text": f"text {i}"} for i in range(count)}


def test_partitions_and_batches_do_not_matter(tmp_path: Path) -> None:
    """Cut anywhere, the same points are there."""
    cut = [[rows(range(3)), rows([]), rows(range(3, 9))], [], [rows([9])], [rows(range(10, 13)), rows([13])]]
    report = write(tmp_path / "s", cut)
    assert (report.rows, report.partitions, report.stored_points) == (14, 4, 14)
    assert stored(tmp_path / "s").keys() == set(range(14))


def test_the_vector_is_that_of_the_rows_own_text(tmp_path: Path) -> None:
    """The nearest point to a text's vector is the row with the text."""
    write(tmp_path / "s", [[rows(range(20))]])
    for i in (0, 7, 19):
        vector = HashEncoder().encode([f"text {i}"])[0].tolist()
        (best,) = EdgeCollections(5).search(str(tmp_path / "s"), vector, 1)
        assert (best.id, best.score) == (i, pytest.approx(1, abs=1e-5))


def test_the_same_rows_in_other_tasks_are_the_same_points(tmp_path: Path) -> None:
    """The same rows are the same points."""
    first = write(tmp_path / "s", [[rows(range(6))]])
    before = stored(tmp_path / "s")
    second = write(tmp_path / "s", [[rows(range(3))], [rows(range(3, 6))]])
    assert (first.stored_points, second.stored_points, stored(tmp_path / "s")) == (6, 6, before)


def test_a_second_attempt_of_a_task_changes_nothing(tmp_path: Path) -> None:
    """Only the attempt that Spark reports counts."""
    made = prepared(tmp_path / "s")
    partition_writer.write_partition(made, [rows(range(5))], TaskContext(0, attempt=0))
    winner = partition_writer.write_partition(made, [rows(range(5))], TaskContext(0, attempt=1))
    assert committer.commit(made, [winner]).stored_points == 5


def test_duplicates_in_a_window_are_superseded(tmp_path: Path) -> None:
    """One point for each key, the last row's, and the report adds up."""
    window = pa.record_batch({"id": pa.array([1, 2, 1], pa.int64()), "text": ["old", "b", "new"]})
    report = write(tmp_path / "s", [[window]])
    assert (report.rows, report.written, report.superseded, report.points, report.missing_rows()) == (3, 2, 1, 2, 0)
    assert stored(tmp_path / "s")[1] == {"id": 1, "text": "new"}


def test_a_later_window_wins_over_an_earlier(tmp_path: Path) -> None:
    """The last row of a key wins in the whole task, not only in its window."""
    batch = pa.record_batch({"id": pa.array([1, 2, 3, 4, 1], pa.int64()), "text": ["old", "b", "c", "d", "new"]})
    report = write(tmp_path / "s", [[batch]])
    assert stored(tmp_path / "s")[1] == {"id": 1, "text": "new"}
    assert (report.rows, report.missing_rows(), report.stored_points) == (5, 0, 4)


def test_ready_made_vectors_are_written(tmp_path: Path) -> None:
    """No encoder, the vector as it is, and no text asked for."""
    batch = pa.record_batch(
        {"id": pa.array([1, 2], pa.int64()), "v": pa.array([[1.0, 0.0], [0.0, 1.0]], pa.list_(pa.float64()))}
    )
    report = write(tmp_path / "s", [[batch]], batch.schema, encoder=None, vector_column="v", dimension=2)
    assert (report.rows, report.written, report.tokens, report.device) == (2, 2, 0, "")
    best = EdgeCollections(5).search(str(tmp_path / "s"), [0.0, 1.0], 1)[0]
    assert (best.id, dict(best.payload)) == (2, {"id": 2})


def test_the_report_says_where_time_went(tmp_path: Path) -> None:
    """Reading, and waiting for the store, are not the same."""

    def slow() -> Iterator[pa.RecordBatch]:
        yield rows(range(3))

    made = prepared(tmp_path / "s")
    report = partition_writer.write_partition(made, slow(), TaskContext(3))
    assert report.partition == 3
    assert report.reading_seconds > 0
    assert report.store_seconds > 0
    assert report.peak_bytes > 1_000_000


def test_rows_are_read_window_by_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not depend on the partition: when a window is read, all but the three before it are with the store
    already."""
    made = prepared(tmp_path / "s")
    read, submitted = 0, 0
    ahead: list[int] = []
    submit = EdgeStore.submit

    def counting(store: EdgeStore, points: Any) -> Sent:
        nonlocal submitted
        sent = submit(store, points)
        submitted += 1
        return sent

    def source() -> Iterator[pa.RecordBatch]:
        nonlocal read
        for i in range(0, 20 * WINDOW, WINDOW):
            ahead.append(read - submitted)
            read += 1
            yield rows(range(i, i + WINDOW))

    monkeypatch.setattr(EdgeStore, "submit", counting)
    report = partition_writer.write_partition(made, source(), TaskContext())
    assert (read, submitted, report.rows) == (20, 20, 20 * WINDOW)
    assert max(ahead) <= 3


# --- long text --------------------------------------------------------------------------------------------------------

TINY = {"encoder": None, "device": "cpu", "dtype": "float32"}


def long_rows() -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array([1, 2, 3], pa.int64()), "text": ["dog", "dog " * 70, "dog " * 62]})


def test_truncation_is_counted(tmp_path: Path, tiny_model: Path) -> None:
    """In rows and in tokens."""
    report = write(tmp_path / "s", [[long_rows()]], model=tiny_model, **TINY)
    assert (report.tokens, report.truncated, report.tokens_cut) == (3 + 64 + 64, 1, 8)
    assert (report.device, report.dtype) == ("cpu", "float32")
    assert "1 truncated (8 tokens)" in str(report)


def test_a_long_text_can_end_the_job(tmp_path: Path, tiny_model: Path) -> None:
    """long_text=fail names the row, its tokens and the limit."""
    made = prepared(tmp_path / "s", model=tiny_model, long_text="fail", **TINY)
    with pytest.raises(BadRowError) as refused:
        partition_writer.write_partition(made, [long_rows()], TaskContext())
    assert str(refused.value) == (
        "the row with key '2' cannot be written: column 'text' has 72 tokens, the model reads 64 (option "
        "'long_text' = 'fail')"
    )


# --- bad rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "texts", "message"),
    [
        ([1, None], ["a", "b"], "a row cannot be written: column 'id' is null (row 2 of 2 in its window)"),
        (
            [1, 2],
            ["a", None],
            "the row with key '2' cannot be written: column 'text' is null; there is no text to encode",
        ),
        (
            [1, 2],
            ["a", " "],
            "the row with key '2' cannot be written: column 'text' holds only blanks; there is no text to encode",
        ),
    ],
)
def test_a_bad_row_ends_the_task(tmp_path: Path, ids: list[int | None], texts: list[str | None], message: str) -> None:
    """In one line, and nothing of the task is staged."""
    batch = pa.record_batch({"id": pa.array(ids, pa.int64()), "text": pa.array(texts, pa.string())})
    made = prepared(tmp_path / "s")
    with pytest.raises(BadRowError) as refused:
        partition_writer.write_partition(made, [rows(range(10, 10 + WINDOW)), batch], TaskContext())
    assert str(refused.value) == f"{message}; {SET_ASIDE}"
    assert {path.name for path in (tmp_path / "s" / "staging").rglob("*") if path.is_file()} <= {"RUN"}


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        (None, "is null"),
        ([1.0], "holds a vector of length 1, the collection's vectors have 2"),
        ([1.0, None], "holds a vector with a null in it"),
        ([1.0, float("nan")], "gives a vector with NaN or an infinite number"),
        ([0.0, 0.0], "gives a vector of zeros only"),
    ],
)
def test_a_bad_vector_ends_the_task(tmp_path: Path, vector: Any, reason: str) -> None:
    """A store would take some of them without a word."""
    batch = pa.record_batch(
        {"id": pa.array([1, 2], pa.int64()), "v": pa.array([[1.0, 2.0], vector], pa.list_(pa.float32()))}
    )
    made = prepared(tmp_path / "s", batch.schema, encoder=None, vector_column="v", dimension=2)
    with pytest.raises(BadRowError) as refused:
        partition_writer.write_partition(made, [batch], TaskContext())
    assert str(refused.value) == f"the row with key '2' cannot be written: column 'v' {reason}; {SET_ASIDE}"


def test_a_model_that_makes_no_direction_ends_the_task(tmp_path: Path) -> None:
    """Its vectors are looked at like those of users."""
    made = prepared(tmp_path / "s", encoder="tests.unit.fakes:ZeroEncoder")
    with pytest.raises(BadRowError, match=r"key '0' .* column 'text' gives a vector of zeros only"):
        partition_writer.write_partition(made, [rows(range(2))], TaskContext())


# --- rejected rows ----------------------------------------------------------------------------------------------------


def mixed(ids: Sequence[int | None], texts: Sequence[str | None]) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(ids, pa.int64()), "text": pa.array(texts, pa.string())})


def rejecting(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"rejects_path": tmp_path / "rejects", **more}


def rejected(tmp_path: Path) -> list[dict[str, Any]]:
    """What Spark would see of the rejects."""
    visible = [file for file in sorted((tmp_path / "rejects").glob("*")) if not file.name.startswith(("_", "."))]
    return [row for file in visible for row in pq.read_table(file).to_pylist()]


def test_a_bad_row_is_rejected_and_the_others_are_written(tmp_path: Path) -> None:
    """Each row is in one count, and the rejects say what is wrong, beside the row as it came."""
    batch = mixed([1, 2, None, 1, 4, 5], ["old", None, "c", "a", "e", " "])
    report = write(tmp_path / "s", [[batch], [rows([7])]], **rejecting(tmp_path))
    assert (report.rows, report.written, report.superseded, report.rejected, report.points, report.missing_rows()) == (
        7,
        3,
        1,
        3,
        3,
        0,
    )
    assert stored(tmp_path / "s") == {
        1: {"id": 1, "text": "a"},
        4: {"id": 4, "text": "e"},
        7: {"id": 7, "text": "text 7"},
    }
    assert [tuple(row.values()) for row in rejected(tmp_path)] == [
        (
            2,
            None,
            "2",
            "blank text",
            "the row with key '2' cannot be written: column 'text' is null; there is no text to encode",
        ),
        (None, "c", None, "null key", "a row cannot be written: column 'id' is null (row 3 of 4 in its window)"),
        (
            5,
            " ",
            "5",
            "blank text",
            "the row with key '5' cannot be written: column 'text' holds only blanks; there is no text to encode",
        ),
    ]
    assert report.warnings == [f"3 rows were rejected; they are in '{tmp_path}/rejects', each with its reason"]
    assert {path.suffix for path in (tmp_path / "rejects").iterdir()} == {".parquet"}


def test_a_window_of_nothing_but_rejects(tmp_path: Path) -> None:
    """There is nothing to encode and nothing to send; each window is a row group of its own."""
    report = write(tmp_path / "s", [[mixed(range(2 * WINDOW), [""] * 2 * WINDOW)]], **rejecting(tmp_path))
    assert (report.rows, report.written, report.rejected, report.points) == (8, 0, 8, 0)
    (file,) = (tmp_path / "rejects").iterdir()
    assert pq.ParquetFile(file).num_row_groups == 2


def test_a_window_of_vectors_that_are_all_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found bad only behind the model; no store is asked to write nothing."""
    submitted: list[int] = []
    monkeypatch.setattr(EdgeStore, "submit", lambda store, points: submitted.append(len(points)))
    report = write(
        tmp_path / "s", [[rows(range(WINDOW + 1))]], **rejecting(tmp_path, encoder="tests.unit.fakes:ZeroEncoder")
    )
    assert (report.rejected, report.written, report.points, submitted) == (WINDOW + 1, 0, 0, [])
    assert {row["_reject_reason"] for row in rejected(tmp_path)} == {"vector"}


def test_without_bad_rows_nothing_is_made(tmp_path: Path) -> None:
    """Neither a file nor the directory."""
    report = write(tmp_path / "s", [[rows(range(3))]], **rejecting(tmp_path))
    assert (report.rejected, report.warnings, (tmp_path / "rejects").exists()) == (0, [], False)


def test_a_bad_vector_is_rejected(tmp_path: Path) -> None:
    """What does not fit, and what cannot be compared."""
    made = [[1.0, 2.0], None, [1.0], [1.0, None], [1.0, float("nan")], [0.0, 0.0], [3.0, 4.0]]
    batch = pa.record_batch({"id": pa.array(range(7), pa.int64()), "v": pa.array(made, pa.list_(pa.float32()))})
    options = {"encoder": None, "vector_column": "v", "dimension": 2, "window_rows": 7}
    report = write(tmp_path / "s", [[batch]], batch.schema, **rejecting(tmp_path, **options))
    assert (report.written, report.rejected, report.missing_rows()) == (2, 5, 0)
    assert stored(tmp_path / "s", 2).keys() == {0, 6}
    assert [(row["id"], row["_reject_reason"]) for row in rejected(tmp_path)] == [
        (i, "vector") for i in (1, 2, 3, 4, 5)
    ]


def test_a_long_text_is_rejected(tmp_path: Path, tiny_model: Path) -> None:
    """With long_text=reject, into the same place as all other bad rows; it does not count as truncated."""
    options = {"long_text": "reject", "rejects_path": tmp_path / "rejects", "model": tiny_model, **TINY}
    report = write(tmp_path / "s", [[long_rows(), mixed([9], [None])]], **options)
    assert (report.written, report.rejected, report.truncated, report.tokens_cut, report.missing_rows()) == (
        2,
        2,
        0,
        0,
        0,
    )
    found = {row["id"]: row for row in rejected(tmp_path)}
    assert {key: row["_reject_reason"] for key, row in found.items()} == {2: "long text", 9: "blank text"}
    assert found[2]["_reject_message"].endswith(
        "column 'text' has 72 tokens, the model reads 64 (option 'long_text' = 'reject')"
    )


def test_a_long_text_still_ends_a_job_that_rejects_others(tmp_path: Path, tiny_model: Path) -> None:
    """long_text=fail means what it says beside rejects_path."""
    made = prepared(tmp_path / "s", **rejecting(tmp_path, long_text="fail", model=tiny_model, **TINY))
    with pytest.raises(BadRowError, match="has 72 tokens") as ended:
        partition_writer.write_partition(made, [long_rows()], TaskContext())
    assert SET_ASIDE not in str(ended.value)  # which would not help


def without_memory(encoder: EncoderRunner, tokenised: Tokenised, encode: Any = EncoderRunner.encode) -> Encoded:
    """No memory for a text that has the word `bread`."""
    made: Encoded = encode(encoder, tokenised)
    failed = {
        i: "has 5 tokens, for which the memory of cpu is not enough"
        for i, text in enumerate(tokenised.texts)
        if "bread" in text
    }
    return replace(
        made,
        failed=failed,
        vectors=np.where([[i in failed] for i in range(len(tokenised.texts))], np.nan, made.vectors),
    )


def test_a_text_without_memory_is_rejected(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its vector means nothing, and is not what is said of it."""
    monkeypatch.setattr(EncoderRunner, "encode", without_memory)
    report = write(
        tmp_path / "s", [[mixed([1, 2, 3], ["cat", "bread", "dog"])]], **rejecting(tmp_path, model=tiny_model, **TINY)
    )
    assert (report.written, report.rejected) == (2, 1)
    assert [(row["id"], row["_reject_reason"]) for row in rejected(tmp_path)] == [(2, "memory")]


@pytest.mark.parametrize("window", [1, 2, 3, 5, 50])
def test_a_document_is_rejected_once_whatever_its_chunks(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """Chunks that come after the first bad one are not sent; the row is in one count, wherever windows of chunks
    end."""
    monkeypatch.setattr(EncoderRunner, "encode", without_memory)
    batch = mixed([1, 2, 3, 4], ["cat " * 90, "bread " + "cat " * 90 + "bread", "dog " * 90, None])
    options = {"model": tiny_model, "long_text": "chunk", "chunk_tokens": 40, "window_rows": window, **TINY}
    report = write(tmp_path / "s", [[batch]], **rejecting(tmp_path, **options))
    assert (report.rows, report.written, report.rejected, report.missing_rows()) == (4, 2, 2, 0)
    points = stored(tmp_path / "s", 32)
    assert {row["id"] for row in points.values()} == {1, 3}
    assert report.points == len(points)
    assert sorted((row["id"], row["_reject_reason"]) for row in rejected(tmp_path)) == [
        (2, "memory"),
        (4, "blank text"),
    ]


def test_only_the_attempt_that_is_reported_shows_its_rejects(tmp_path: Path) -> None:
    """Another attempt, complete or not, leaves nothing behind."""
    made = prepared(tmp_path / "s", **rejecting(tmp_path))
    batch = mixed([1, 2], ["a", None])

    def dies() -> Iterator[pa.RecordBatch]:
        yield from [batch] * 3 * WINDOW
        raise RuntimeError("killed")

    partition_writer.write_partition(made, [batch], TaskContext(0, attempt=0))
    with pytest.raises(RuntimeError):
        partition_writer.write_partition(made, dies(), TaskContext(0, attempt=1))
    winner = partition_writer.write_partition(made, [batch], TaskContext(0, attempt=2))
    assert rejected(tmp_path) == []
    assert len(list((tmp_path / "rejects").rglob("*.parquet"))) == 3
    committer.commit(made, [winner])
    assert [row["id"] for row in rejected(tmp_path)] == [2]
    assert {path.name for path in (tmp_path / "rejects").rglob("*")} == {winner.rejects}


def test_a_failed_job_has_rejected_nothing(tmp_path: Path) -> None:
    """Its rows will be read again."""
    made = prepared(tmp_path / "s", **rejecting(tmp_path))
    done = partition_writer.write_partition(made, [mixed([1, 2], ["a", None])], TaskContext(0))
    committer.abort(made, [done], 2)
    assert list((tmp_path / "rejects").rglob("*")) == []


@pytest.mark.parametrize(
    ("mode", "step"), [("append", "wait_for_index"), ("overwrite", "wait_for_index"), ("overwrite", "publish")]
)
def test_a_job_that_fails_at_its_end_has_rejected_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, step: str
) -> None:
    """Whatever its last step is: the rows are rejected again by the next run, and must not be there twice."""

    def fails(*_: Any) -> None:
        raise CollectionError("not now")

    made = committer.prepare(plan(options(tmp_path / "s", **rejecting(tmp_path), wait_for_index=True), SCHEMA, mode))
    reports = [partition_writer.write_partition(made, [mixed([1, 2], ["a", None])], TaskContext(0))]
    monkeypatch.setattr(EdgeCollections, step, fails)
    with pytest.raises(CollectionError, match=r"^not now$"):
        committer.commit(made, reports)
    committer.abort(made, reports, 1)
    assert list((tmp_path / "rejects").rglob("*.parquet")) == []


def test_an_overwrite_says_that_rejected_rows_are_in_it_no_more(tmp_path: Path) -> None:
    """Whatever the version before had of them."""
    write(tmp_path / "s", [[rows([1, 2])]])
    made = committer.prepare(plan(options(tmp_path / "s", **rejecting(tmp_path)), SCHEMA, "overwrite"))
    report = committer.commit(
        made, [partition_writer.write_partition(made, [mixed([1, 2], ["a", None])], TaskContext(0))]
    )
    assert report.warnings == [
        f"1 row was rejected; it is in '{tmp_path / 'rejects'}', with its reason; the new version of "
        f"'{tmp_path / 's'}' has no points of such rows"
    ]


@pytest.mark.parametrize(
    ("most", "is_too_many"), [("2", True), ("3", False), ("29%", True), ("30%", False), (None, False)]
)
def test_too_many_rejects_fail_the_job(tmp_path: Path, most: str | None, is_too_many: bool) -> None:
    """Counted exactly over all tasks; the rejects are put aside for people, and nothing of the job is visible."""
    made = prepared(tmp_path / "s", **rejecting(tmp_path, max_rejects=most))
    tasks = [mixed([1, 2, 3, 4, 5], ["a", None, "c", "", "e"]), mixed([6, 7, 8, 9, 10], ["a", None, "c", "d", "e"])]
    reports = [partition_writer.write_partition(made, [batch], TaskContext(i)) for i, batch in enumerate(tasks)]
    if not is_too_many:
        assert committer.commit(made, reports).rejected == len(rejected(tmp_path)) == 3
        return
    with pytest.raises(RejectsError) as failed:
        committer.commit(made, reports)
    committer.abort(made, reports, 2, str(failed.value))
    folder = tmp_path / "rejects" / "_failed" / made.run
    assert str(failed.value) == (
        f"3 of 10 rows are rejected, and option 'max_rejects' = '{most}' allows 2; they are in '{folder}', each with "
        "its reason; "
        "mend such rows, or allow more, and run the job again"
    )
    assert (len(pq.read_table(folder)), rejected(tmp_path), stored(tmp_path / "s")) == (3, [], {})
    assert not (tmp_path / "rejects" / f"_staging-{made.run}").exists()


def test_a_task_that_rejects_too_many_ends_at_once(tmp_path: Path) -> None:
    """It does not read to its end."""
    made = prepared(tmp_path / "s", **rejecting(tmp_path, max_rejects=5))
    read = 0

    def source() -> Iterator[pa.RecordBatch]:
        nonlocal read
        for i in range(100):
            read += 1
            yield mixed(range(i * WINDOW, (i + 1) * WINDOW), ["a", None, "c", ""])

    with pytest.raises(RejectsError) as failed:
        partition_writer.write_partition(made, source(), TaskContext())
    assert str(failed.value) == (
        "6 rows of one partition are rejected, and option 'max_rejects' = '5' allows 5 in all; the last: the row with "
        "key '11' cannot be written: "
        "column 'text' holds only blanks; there is no text to encode; mend such rows, or allow more, and run "
        "the job again"
    )
    assert read < 20


def test_mended_rejects_are_written_again(tmp_path: Path) -> None:
    """As they are read, without a word on their own columns, and rejected again where they are still bad."""
    write(tmp_path / "s", [[mixed([1, 2, 3], ["a", None, ""])]], **rejecting(tmp_path))
    (file,) = (tmp_path / "rejects").iterdir()
    (batch,) = pq.read_table(file).to_batches()
    mended = batch.set_column(1, "text", pa.array(["b", " "], pa.string()))
    report = write(tmp_path / "s", [[mended]], mended.schema, **rejecting(tmp_path))
    assert (report.written, report.rejected) == (1, 1)
    assert stored(tmp_path / "s") == {1: {"id": 1, "text": "a"}, 2: {"id": 2, "text": "b"}}
    again = rejected(tmp_path)
    assert {tuple(row) for row in again} == {("id", "text", "_reject_key", "_reject_reason", "_reject_message")}
    assert (
        sorted(row["_reject_message"].partition("column")[2] for row in again if row["id"] == 3)
        == [" 'text' holds only blanks; there is no text to encode"] * 2
    )


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("partitions", "shown"), [([0, 2], r"\[0, 2\]"), ([1], r"\[1\]"), ([0, 1, 1], r"\[0, 1, 1\]")])
def test_a_partition_that_did_not_report_is_missed(tmp_path: Path, partitions: list[int], shown: str) -> None:
    """Each of them once, or the job is not complete."""
    made = prepared(tmp_path / "s")
    reports = [PartitionReport(partition=number) for number in partitions]
    with pytest.raises(IncompleteError, match=shown):
        committer.commit(made, reports)


def test_a_row_in_no_count_is_missed(tmp_path: Path) -> None:
    """It would be the sink's own mistake, and it says so."""
    made = prepared(tmp_path / "s")
    with pytest.raises(IncompleteError, match=r"^2 rows were read and are in none of the report's counts"):
        committer.commit(made, [PartitionReport(rows=5, written=3)])


def test_rows_missing_here_do_not_make_up_for_rows_too_many_there(tmp_path: Path) -> None:
    """Each task's numbers have to add up, not only their sum."""
    made = prepared(tmp_path / "s")
    with pytest.raises(IncompleteError):
        committer.commit(made, [PartitionReport(rows=5, written=3), PartitionReport(rows=1, written=3, partition=1)])


def test_no_partitions_are_a_job_too(tmp_path: Path) -> None:
    """A DataFrame may have none."""
    assert write(tmp_path / "s", []).stored_points == 0


def test_the_report_is_written_as_json(tmp_path: Path) -> None:
    """Every number of the report that is returned."""
    report = write(tmp_path / "s", [[rows(range(3))]], report_path=tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == report.to_dict()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("report")] == ["report.json"]


def test_the_report_is_written_after_a_failure(tmp_path: Path) -> None:
    """How far it came, and why it ended; nothing of the run is left."""
    made = prepared(tmp_path / "s", report_path=tmp_path / "report.json")
    done = partition_writer.write_partition(made, [rows(range(3))], TaskContext(0))
    report = committer.abort(made, [done], 4, "a task failed")
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved == report.to_dict()
    assert (saved["rows"], saved["partitions"]) == (3, 1)
    assert (
        saved["error"]
        == "a task failed; 1 of 4 partitions had ended well; what was written is right; run the job again when the "
        "cause is gone, and it completes it"
    )
    assert stored(tmp_path / "s") == {}


def test_the_report_is_written_though_the_store_is_gone(tmp_path: Path) -> None:
    """What broke the job must not break its report."""
    made = prepared(tmp_path / "s", report_path=tmp_path / "report.json")
    assert made.target is not None
    (tmp_path / "s").rename(tmp_path / "gone")
    committer.abort(made, [], None, "the disk went away")
    assert "the disk went away" in json.loads((tmp_path / "report.json").read_text())["error"]


def test_remains_that_cannot_be_removed_do_not_hide_why_the_job_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are said, the reason first."""

    def fails(*_: Any) -> None:
        raise OSError("the disk is away")

    made = committer.prepare(plan(options(tmp_path / "s"), SCHEMA, "overwrite"))
    monkeypatch.setattr(EdgeCollections, "abandon", fails)
    assert committer.abort(made, [], None, "a task failed").error == (
        f"a task failed; '{tmp_path / 's'}' is as it was; run the job again; what it has left there was not removed: "
        "OSError: the disk is away"
    )


def test_the_report_is_written_where_the_job_ended_before_its_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as on a server that goes away between the plan and the first step."""

    def fails(*_: Any) -> None:
        raise CollectionError("the server is away")

    monkeypatch.setattr(EdgeCollections, "prepare", fails)
    with pytest.raises(CollectionError, match=r"^the server is away$"):
        prepared(tmp_path / "s", report_path=tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["error"] == "the server is away; nothing was written"


def test_a_report_that_cannot_be_written_does_not_fail_the_job(tmp_path: Path) -> None:
    """The rows are there; the warning says what is not."""
    (tmp_path / "there").mkdir()
    made = prepared(tmp_path / "s", report_path=tmp_path / "there" / "report.json")
    reports = [partition_writer.write_partition(made, [rows(range(3))], TaskContext(0))]
    (tmp_path / "there").rmdir()
    report = committer.commit(made, reports)
    assert report.stored_points == 3
    (warning,) = report.warnings
    assert warning.startswith("the report could not be written to option 'report_path' = '/")
    assert warning.endswith(": FileNotFoundError")


def test_a_report_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """What can be seen before the job is said before the job."""
    assert "is no file that can be written" in check(options(tmp_path / "s", report_path=tmp_path), SCHEMA).problems[0]
    for wrong in (f"{tmp_path}/r/", f"{tmp_path}/\0"):
        assert "is no file that can be written" in check(options(tmp_path / "s", report_path=wrong), SCHEMA).problems[0]
    for missing in (tmp_path / "no" / "r.json", "~nobody_of_that_name/r.json"):
        assert (
            "the directory does not exist, or cannot be seen"
            in check(options(tmp_path / "s", report_path=missing), SCHEMA).problems[0]
        )
    assert check(options(tmp_path / "s", report_path=f"file:{tmp_path}/r.json"), SCHEMA).problems == ()


def test_a_report_path_that_arrow_does_not_know_is_refused(tmp_path: Path) -> None:
    """Before the job, and without a word of its password."""
    (problem,) = check(options(tmp_path / "s", report_path="nosuch://KEY:HUSH@bucket/report.json"), SCHEMA).problems
    assert problem.startswith(
        "option 'report_path' = 'bucket/report.json' is no place that Arrow can write to (ArrowInvalid); name a "
        "file, or a URL"
    )


def test_rejects_do_not_go_into_the_store_itself(tmp_path: Path) -> None:
    """Its directory holds nothing but the store."""
    for place in (tmp_path / "s", tmp_path / "s" / "rejects"):
        (problem,) = check(options(tmp_path / "s", rejects_path=place), SCHEMA).problems
        assert (
            problem
            == f"option 'rejects_path' = '{place}' is within the embedded store itself; name a directory beside it"
        )


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_a_check_writes_no_file(tmp_path: Path) -> None:
    """A plan is looked at as often as one likes."""
    checked = check(options(tmp_path / "s"), SCHEMA)
    assert checked.problems == ()
    assert files(tmp_path) == set()


def test_check_says_every_problem_at_once(tmp_path: Path) -> None:
    """Options, columns, place and report, each in its own words, and nothing is made."""
    wrong = options(
        tmp_path / "s",
        batch_point="5",
        window_rows="many",
        text_column="body",
        tenant_column="price",
        create_collection="false",
        payload_indexes="size:number",
        report_path=tmp_path / "none" / "report.json",
    )
    checked = check(
        wrong, pa.schema([("id", pa.int64()), ("price", pa.float64())]), unreadable={"x": "column 'x' cannot be read"}
    )
    expected = [
        "batch_point",
        "window_rows",
        "report_path",
        "payload_indexes",
        "column 'x' cannot be read",
        "'body'",
        "'price' holds double",
        "create_collection",
    ]
    for words in expected:
        assert any(words in problem for problem in checked.problems), words
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"window_rows": "x"}, OptionError),
        ({"text_column": "nope"}, SchemaError),
        ({"create_collection": "false"}, CollectionError),
        ({"window_rows": "x", "text_column": "nope"}, RefusedError),
    ],
)
def test_a_plan_with_problems_is_refused(tmp_path: Path, more: dict[str, Any], kind: type[RefusedError]) -> None:
    """By the error that fits; by their common parent where several do."""
    with pytest.raises(RefusedError) as refused:
        plan(options(tmp_path / "s", **more), SCHEMA)
    assert type(refused.value) is kind
    assert files(tmp_path) == set()


def test_ready_made_vectors_need_a_dimension(tmp_path: Path) -> None:
    """Where neither the collection nor the column's type tells it."""
    schema = pa.schema([("id", pa.int64()), ("v", pa.list_(pa.float32()))])
    (problem,) = check({"path": str(tmp_path / "s"), "vector_column": "v"}, schema).problems
    assert problem.endswith("give option 'dimension'")
    sized = pa.schema([("id", pa.int64()), ("v", pa.list_(pa.float32(), 3))])
    assert check({"path": str(tmp_path / "s"), "vector_column": "v"}, sized).spec.dimension == 3


def test_another_model_is_refused_before_the_first_row(tmp_path: Path) -> None:
    """Vectors of two models in one collection mean nothing together."""
    write(tmp_path / "s", [[rows(range(3))]])
    (problem,) = check(options(tmp_path / "s", encoder="tests.unit.fakes:ZeroEncoder"), SCHEMA).problems
    assert problem.endswith(
        "was filled with the model encoder tests.unit.fakes:HashEncoder, this job would write vectors of encoder "
        "tests.unit.fakes:ZeroEncoder, "
        "and no search can compare them; use that model, mode('overwrite'), another collection, or a vector of its "
        "own beside it (existing=merge with another vector_name)"
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"prompt_name": "nope"}, "option 'prompt_name' = 'nope' is no prompt of the model; it has: document, query"),
        ({"truncate_dim": 33}, "option 'truncate_dim' = 33 is more than the model's 32 dimensions"),
        (
            {"model": "./no-such-model"},
            "the model folder './no-such-model' does not exist on this machine; correct option 'model'",
        ),
    ],
)
def test_a_model_is_checked_by_its_files(tmp_path: Path, tiny_model: Path, more: dict[str, Any], words: str) -> None:
    """Before a task starts, and without loading it."""
    checked = check(options(tmp_path / "s", **{"encoder": None, "model": tiny_model, **more}), SCHEMA)
    assert checked.problems == (words,)
    assert loader._loaded is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("prompt", "p"), ("prompt_name", "query"), ("normalize", False), ("truncate_dim", 8), ("max_tokens", 9)],
)
def test_what_changes_the_vectors_changes_the_models_identity(
    tmp_path: Path, tiny_model: Path, name: str, value: Any
) -> None:
    """The guard compares it; device and arithmetic are not part of it."""
    plain = check(options(tmp_path / "s", encoder=None, model=tiny_model), SCHEMA).encoder
    changed = check(options(tmp_path / "s", encoder=None, model=tiny_model, **{name: value}), SCHEMA).encoder
    same = check(
        options(tmp_path / "s", encoder=None, model=tiny_model, device="cpu", dtype="float16", token_budget=5), SCHEMA
    ).encoder
    assert plain is not None
    assert changed is not None
    assert same is not None
    assert changed.identity != plain.identity == same.identity


def test_a_plan_reads_like_a_plan(tmp_path: Path) -> None:
    """What is read, what the key is, what is kept, and what will be made."""
    text = str(check(options(tmp_path / "s", payload_rename="id:key", id_column="id"), SCHEMA))
    assert "reads    text of text" in text
    assert "key      id" in text
    assert "payload  id as key, text" in text
    assert f"model    encoder {ENCODER}, {DIMENSION} dimensions" in text


def test_a_plan_with_problems_cannot_run() -> None:
    """Not even by mistake."""
    checked = check({"path": "articles"}, SCHEMA)
    assert checked.target is None
    with pytest.raises(ValueError, match="problems"):
        committer.prepare(checked)


def test_ready_made_vectors_need_no_torch(tmp_path: Path) -> None:
    """A whole job in a process of its own never imports it, nor any model library."""
    script = textwrap.dedent(
        """
        import sys
        import pyarrow as pa
        from spark_vector_sink.driver import committer
        from spark_vector_sink.driver.plan import plan
        from spark_vector_sink.task.context import TaskContext
        from spark_vector_sink.task.partition_writer import write_partition
        batch = pa.record_batch({"id": [1, 2], "v": [[1.0, 0.0], [0.0, 1.0]]})
        made = committer.prepare(plan({"path": sys.argv[1], "vector_column": "v", "dimension": 2}, batch.schema))
        print(committer.commit(made, [write_partition(made, [batch], TaskContext())]).stored_points)
        print({"torch", "sentence_transformers", "transformers", "tokenizers", "pyspark"} & set(sys.modules))
        """
    )
    printed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "s")], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert printed.split("\n")[:2] == ["2", "set()"]
