"""A task that fails, wherever it does: the first error is the one that is raised, soon, and neither threads nor files
are left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from spark_vector_sink.driver import committer
from spark_vector_sink.driver.plan import plan
from spark_vector_sink.errors import BadRowError, EncodingError, PermanentStoreError
from spark_vector_sink.job import Plan
from spark_vector_sink.store.edge import EdgeStore
from spark_vector_sink.store.write_batch import Sent
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from spark_vector_sink.task.encoder_runner import EncoderRunner
from tests.fake_server import FakeServer
from tests.hangs import HANGS_AFTER_SECONDS
from tests.unit.fakes import HashEncoder

pytest.importorskip("qdrant_edge")

WINDOW = 4


def rows(start: int, count: int = WINDOW) -> pa.RecordBatch:
    ids = range(start, start + count)
    return pa.record_batch({"id": pa.array(ids, pa.int64()), "text": [f"text {i}" for i in ids]})


class FailsLate(HashEncoder):
    """Encodes one window, and no second one."""

    def __init__(self) -> None:
        self.windows = 0

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.windows += 1
        if self.windows > 1:
            raise ArithmeticError("the model broke")
        return super().encode(texts)


def never_made() -> HashEncoder:
    """A factory that fails."""
    raise LookupError("no weights")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No test ends with a thread of the sink."""
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("vectorsink-")] == []


def prepared(directory: Path, **more: Any) -> Plan:
    options = {"path": str(directory), "encoder": "tests.unit.fakes:HashEncoder", "window_rows": WINDOW, **more}
    return committer.prepare(plan(options, rows(0).schema))


def plan_with(made: Plan, factory: str) -> Plan:
    """The same plan with another factory: one that worked on the driver may fail in a task."""
    assert made.encoder is not None
    return replace(made, encoder=replace(made.encoder, factory=factory))


def staged(directory: Path) -> set[str]:
    """What tasks have left beside the index, hidden files too."""
    return {path.name for path in (directory / "staging").rglob("*") if path.is_file()} - {"RUN"}


def batches(count: int, error: BaseException | None = None) -> Iterator[pa.RecordBatch]:
    """So many windows, then an error."""
    for number in range(count):
        yield rows(number * WINDOW)
    if error is not None:
        raise error


def failing(made: Plan, source: Iterator[pa.RecordBatch]) -> BaseException:
    """What a task raises."""
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        partition_writer.write_partition(made, source, TaskContext())
    return raised.value


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[EdgeStore]:
    """The embedded stores that were closed."""
    stores: list[EdgeStore] = []
    close = EdgeStore.close

    def noting(store: EdgeStore) -> None:
        stores.append(store)
        close(store)

    monkeypatch.setattr(EdgeStore, "close", noting)
    return stores


# --- where it fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1, 2, 3, 7])
def test_an_error_of_the_source(tmp_path: Path, closed: list[EdgeStore], before: int) -> None:
    """Spark's own error comes out as the object that it is, whether it comes before the first row or after many
    windows."""
    error = OSError("the shuffle file is gone")
    assert failing(prepared(tmp_path / "s"), batches(before, error)) is error
    assert staged(tmp_path / "s") == set()
    assert closed


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_an_error_that_is_no_exception(tmp_path: Path, closed: list[EdgeStore], error: BaseException) -> None:
    """Interrupts end the task in the same way."""
    assert failing(prepared(tmp_path / "s"), batches(2, error)) is error
    assert staged(tmp_path / "s") == set()
    assert closed


def test_a_row_that_cannot_be_written(tmp_path: Path, closed: list[EdgeStore]) -> None:
    """In the third window, when points of the first are staged."""

    def source() -> Iterator[pa.RecordBatch]:
        yield from batches(2)
        yield pa.record_batch({"id": pa.array([77], pa.int64()), "text": [" "]})

    error = failing(prepared(tmp_path / "s"), source())
    assert isinstance(error, BadRowError)
    assert error.key == "77"
    assert staged(tmp_path / "s") == set()
    assert closed


def test_an_error_of_the_model(tmp_path: Path, closed: list[EdgeStore]) -> None:
    """In one line, in the second window; nothing more is read then than what was on its way."""
    read: list[int] = []

    def source() -> Iterator[pa.RecordBatch]:
        for number in range(100):
            read.append(number)
            yield rows(number * WINDOW)

    error = failing(prepared(tmp_path / "s", encoder=f"{__name__}:FailsLate"), source())
    assert isinstance(error, EncodingError)
    assert str(error) == f"the encoder '{__name__}:FailsLate' failed on 4 texts: ArithmeticError: the model broke"
    assert staged(tmp_path / "s") == set()
    assert len(read) <= 4
    assert closed


def test_an_error_while_loading(tmp_path: Path, closed: list[EdgeStore]) -> None:
    """The thread that waits for the model to tokenise with is not left waiting."""
    error = failing(plan_with(prepared(tmp_path / "s"), f"{__name__}:never_made"), batches(9))
    assert isinstance(error, EncodingError)
    assert str(error) == f"option 'encoder' = '{__name__}:never_made' failed: LookupError: no weights"
    assert staged(tmp_path / "s") == set()
    assert closed


def test_an_interrupt_while_waiting_for_the_first_row(
    tmp_path: Path, closed: list[EdgeStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the thread, too, that waits for the model."""

    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            super().wait(timeout)
            raise KeyboardInterrupt

    made = EncoderRunner.__init__

    def interrupted(self: EncoderRunner, *arguments: Any) -> None:
        made(self, *arguments)
        self._wanted = Interrupted()

    monkeypatch.setattr(EncoderRunner, "__init__", interrupted)
    assert isinstance(failing(prepared(tmp_path / "s"), batches(3)), KeyboardInterrupt)
    assert closed


def test_an_interrupt_just_before_the_model_is_loaded(
    tmp_path: Path, closed: list[EdgeStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the model is loaded only when there is something to encode, the thread that waits for it is let go, too."""

    def interrupted(self: EncoderRunner) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(EncoderRunner, "load", interrupted)
    assert isinstance(failing(prepared(tmp_path / "s", unchanged="skip"), batches(3)), KeyboardInterrupt)
    assert closed


@pytest.mark.parametrize("window", [0, 1, 5])
def test_an_error_of_the_store(
    tmp_path: Path, closed: list[EdgeStore], monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    """It comes out of the thread that sends, and no window is encoded for long after it."""
    submit, submitted, read = EdgeStore.submit, 0, 0

    def failing_submit(store: EdgeStore, points: Any) -> Sent:
        nonlocal submitted
        if submitted == window:
            raise PermanentStoreError("the disk is full")
        submitted += 1
        return submit(store, points)

    def source() -> Iterator[pa.RecordBatch]:
        nonlocal read
        for number in range(100):
            read += 1
            yield rows(number * WINDOW)

    monkeypatch.setattr(EdgeStore, "submit", failing_submit)
    error = failing(prepared(tmp_path / "s"), source())
    assert str(error) == "the disk is full"
    assert staged(tmp_path / "s") == set()
    assert read <= window + 5
    assert closed


def test_an_error_of_the_last_window(tmp_path: Path, closed: list[EdgeStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no next one at whose turn it would show."""

    def fail(store: EdgeStore, points: Any) -> None:
        raise PermanentStoreError("the disk is full")

    monkeypatch.setattr(EdgeStore, "submit", fail)
    assert str(failing(prepared(tmp_path / "s"), batches(1))) == "the disk is full"
    assert closed


def test_an_error_while_flushing(tmp_path: Path, closed: list[EdgeStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is staged and not durable is dropped."""

    def fail(store: EdgeStore) -> tuple[str, ...]:
        raise PermanentStoreError("the disk is full")

    monkeypatch.setattr(EdgeStore, "flush", fail)
    assert str(failing(prepared(tmp_path / "s"), batches(3))) == "the disk is full"
    assert staged(tmp_path / "s") == set()
    assert closed


# --- a store that is tried again for long -----------------------------------------------------------------------------


def waiting_for_the_store(server: FakeServer) -> Plan:
    """A plan for a server that cannot be reached for upserts, and is tried again for an hour."""
    options = {
        "url": server.url,
        "grpc_port": server.grpc_port,
        "path": "articles",
        "encoder": "tests.unit.fakes:HashEncoder",
        "window_rows": WINDOW,
        "max_in_flight": 1,
        "retry_max_seconds": 3_600,
    }
    made = committer.prepare(plan(options, rows(0).schema))
    server.fault("Points/Upsert", "unavailable", times=None)
    return made


def refused_upserts(server: FakeServer) -> None:
    """Return when the store has been tried."""
    server.wait_for(faults={"unavailable": 1})


def test_an_error_of_the_source_ends_the_retries(fake_server: FakeServer) -> None:
    """While the sender waits for the server, and the task for the sender: the error does not have to wait until they
    give up."""
    begun: list[float] = []

    def source() -> Iterator[pa.RecordBatch]:
        yield from batches(3)  # one is being sent, one waits for that, one for the thread that sends
        refused_upserts(fake_server)
        begun.append(time.monotonic())
        raise OSError("the shuffle file is gone")

    error = failing(waiting_for_the_store(fake_server), source())
    assert str(error) == "the shuffle file is gone"
    assert time.monotonic() - begun[0] < HANGS_AFTER_SECONDS


def test_an_error_of_the_model_ends_the_retries(fake_server: FakeServer) -> None:
    """The same, when the task's own thread fails."""
    made = plan_with(waiting_for_the_store(fake_server), f"{__name__}:FailsLate")
    begun = time.monotonic()
    error = failing(made, batches(9))
    assert str(error).endswith("ArithmeticError: the model broke")
    assert time.monotonic() - begun < HANGS_AFTER_SECONDS
