"""The lines that a long task says of itself."""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from spark_vector_sink.driver import committer
from spark_vector_sink.driver.plan import plan
from spark_vector_sink.encode.token_batches import TokenBatches
from spark_vector_sink.errors import BadRowError
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from spark_vector_sink.task.progress import Progress
from tests.hangs import HANGS_AFTER_SECONDS
from tests.unit.fakes import HashEncoder

A_LINE = threading.Event()
"""Set when a line was said."""


class Heard(logging.Handler):
    """Keeps the lines of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        A_LINE.set()


class WaitsForALine(HashEncoder):
    """A model that is slower than the lines are apart."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        assert A_LINE.wait(HANGS_AFTER_SECONDS)
        return super().encode(texts)


def test_a_line_says_rows_tokens_and_rejects(monkeypatch: pytest.MonkeyPatch) -> None:
    """With their rates since the task began."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    progress = Progress(30, PartitionReport(partition=3, rows=28_672, rejected=3), lambda: 2_880_000)
    now += 150
    assert (
        progress.line()
        == "partition 3, after 2 min 30 s: 28,672 rows done (191 rows/s), 2,880,000 tokens encoded (19.2k "
        "tokens/s), 3 rejected"
    )


def test_an_encoder_that_does_not_tell_has_no_rate_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of one of 0."""
    assert "tokens" not in Progress(30, PartitionReport(), lambda: 0).line()


def test_a_line_says_that_the_model_is_being_loaded() -> None:
    """Which is most of what a small job does, and no reason to think that it stands still."""
    line = Progress(30, PartitionReport(), is_loading=lambda: True).line()
    assert line.endswith("0 rows done (0.0 rows/s), the model is being loaded, 0 rejected")


def test_a_task_says_lines_while_its_model_works(tmp_path: Path) -> None:
    """Also while it is within one window; and none after its end."""
    log, heard = logging.getLogger("spark_vector_sink"), Heard()
    A_LINE.clear()
    log.addHandler(heard)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        rows = pa.record_batch({"id": pa.array([1, 2], pa.int64()), "text": ["one", "two"]})
        options = {"path": f"{tmp_path}/store", "encoder": f"{__name__}:WaitsForALine", "progress_seconds": "0.01"}
        A_LINE.set()  # the driver asks the model too
        made = committer.prepare(plan(options, rows.schema))
        A_LINE.clear()
        partition_writer.write_partition(made, [rows], TaskContext())
    finally:
        log.removeHandler(heard)
        log.setLevel(level)
    assert re.fullmatch(r"partition 0, after [\d.]+ s: 0 rows done \(0\.0 rows/s\), 0 rejected", heard.lines[0])
    assert not any(thread.name == "vectorsink-progress" for thread in threading.enumerate())


def test_a_task_that_fails_says_no_more_lines(tmp_path: Path) -> None:
    """Its worker lives on, and has other tasks."""
    rows = pa.record_batch({"id": pa.array([1], pa.int64()), "text": pa.array([None], pa.string())})
    made = committer.prepare(
        plan({"path": f"{tmp_path}/store", "encoder": "tests.fakes:Four", "progress_seconds": "3600"}, rows.schema)
    )
    with pytest.raises(BadRowError):
        partition_writer.write_partition(made, [rows], TaskContext())
    assert not any(thread.name == "vectorsink-progress" for thread in threading.enumerate())


def test_without_logging_the_lines_are_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python worker of Spark has none set up, and would say only warnings."""

    class Stream(io.StringIO):
        def flush(self) -> None:
            said.set()

    said, stream = threading.Event(), Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(0.001, PartitionReport(partition=7), lambda: 0):
        assert said.wait(HANGS_AFTER_SECONDS)
    assert re.match(r"vectorsink: partition 7, after [\d.]+ s: 0 rows done", stream.getvalue())


def test_nothing_is_said_with_0_seconds() -> None:
    """There is not even a thread."""
    with Progress(0, PartitionReport(), lambda: 0):
        assert not any(thread.name == "vectorsink-progress" for thread in threading.enumerate())


def test_tokens_count_as_soon_as_a_batch_is_through() -> None:
    """Not only at the end of a window, which may take minutes."""
    batches = TokenBatches(10, "cpu")
    running = batches.run(np.array([5, 5, 4, 4]), len, {})
    next(running)
    assert batches.done == 10
    next(running)
    assert batches.done == 18
