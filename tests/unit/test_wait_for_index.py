"""Waiting for the index: when it ends well, when it gives up, and what it says meanwhile. The clock is the tests'
own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path

import pytest
from qdrant_client import models

from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.store import registry
from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.protocols import Collections
from spark_vector_sink.store.qdrant.wait_for_index import LOOK_SECONDS, IndexState, wait_until_indexed
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.fake_server import FakeServer
from tests.jobs import Place, server_place, vectors

YELLOW = IndexState("yellow", points=20_000, indexed=5_000, segments=4, queued=0)
GREEN = replace(YELLOW, status="green", indexed=20_000)
GREY = replace(YELLOW, status="grey")
RED = replace(YELLOW, status="red", error="Service runtime error: Not enough space available\nfor optimization")


@dataclass
class Server:
    """Says one state after the other, the last one for ever; half a second passes between two looks."""

    says: Iterable[IndexState]
    on_wake: Callable[[Server], None] = lambda server: None
    seconds: float = 0.0
    looks: int = 0
    woken: int = 0
    _states: Iterator[IndexState] = field(init=False)

    def __post_init__(self) -> None:
        self.now_says(self.says)

    def now_says(self, states: Iterable[IndexState]) -> None:
        *first, last = states
        self._states = chain(first, repeat(last))

    def look(self) -> IndexState:
        self.looks += 1
        return next(self._states)

    def wake(self) -> None:
        self.woken += 1
        self.on_wake(self)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def wait(self, most_seconds: float = 600.0) -> float:
        return wait_until_indexed(
            "articles", self.look, self.wake, most_seconds, clock=lambda: self.seconds, sleep=self.sleep
        )


def test_an_index_that_is_ready() -> None:
    """A green server is believed when it has said so for a second; nothing is changed on it."""
    server = Server([GREEN])
    assert server.wait() == 1.0
    assert (server.looks, server.woken) == (3, 0)


def test_an_index_that_is_being_made() -> None:
    """It takes as long as the server optimises, and the second in which green stays green."""
    assert Server([YELLOW] * 10 + [GREEN]).wait() == 10 * LOOK_SECONDS + 1.0


@pytest.mark.parametrize("between", [YELLOW, replace(GREEN, queued=1)], ids=["yellow", "updates in the queue"])
def test_a_green_moment_between_two_optimisations_is_not_the_end(between: IndexState) -> None:
    """Green counts when it is said three times in a row, with nothing in the queue."""
    assert Server([GREEN, GREEN, between, GREEN]).wait() == 2.5


def test_grey_is_woken() -> None:
    """A server that was restarted optimises after an update that changes nothing."""
    server = Server([GREY], on_wake=lambda server: server.now_says([YELLOW, GREEN]))
    assert server.wait() == 2.0
    assert server.woken == 1


def test_red_heals_where_the_cause_is_gone() -> None:
    """A server that says red for a reason of yesterday is told to try again."""
    server = Server([RED], on_wake=lambda server: server.now_says([RED, YELLOW, GREEN]))
    assert server.wait() == 2.5
    assert server.woken == 1


def test_work_that_has_begun_is_left_alone() -> None:
    """Being woken breaks off what a server is doing, so that happens once, and not while it works."""
    server = Server([RED], on_wake=lambda server: server.now_says([YELLOW] * 20 + [GREEN]))
    server.wait()
    assert server.woken == 1


def test_red_that_stays_ends_the_job_in_the_optimizer_s_words() -> None:
    """After five seconds; one line says that the points are written, what the optimizer says, and what to do."""
    server = Server([YELLOW, RED])
    with pytest.raises(PermanentStoreError) as error:
        server.wait()
    assert str(error.value) == (
        "all points are written to 'articles', but the server cannot index them: Service runtime error: Not enough "
        "space available for optimization; "
        "remove the cause, then run the job again or update the collection's optimizers_config"
    )
    assert server.seconds <= 6
    assert server.woken == 1


def test_an_optimizer_s_error_counts_under_any_status() -> None:
    """The optimizer's own error is one, whatever the status."""
    with pytest.raises(PermanentStoreError, match=r"cannot index them: Service"):
        Server([replace(RED, status="yellow")]).wait()


def test_no_progress_ends_the_job() -> None:
    """When no number has changed for `retry_max_seconds`, one line says so, with the numbers."""
    server = Server([YELLOW])
    with pytest.raises(PermanentStoreError) as error:
        server.wait(30)
    assert str(error.value) == (
        "all points are written to 'articles', but the server still optimises, and nothing has changed for 30 s "
        "(option 'retry_max_seconds' = 30): "
        "yellow, 20,000 points, 5,000 vectors indexed, 4 segments, 0 in the queue; wait for green, or give the job a "
        "longer retry_max_seconds"
    )
    assert server.seconds == 30.0


@pytest.mark.parametrize("name", ["points", "indexed", "segments", "queued"])
def test_any_number_that_changes_is_progress(name: str) -> None:
    """A slow server is waited for, as long as something happens."""
    steps = range(100, 0, -1) if name == "segments" else range(100)
    slowly = [replace(YELLOW, **{name: n}) for n in steps for _ in range(50)]  # a step every 25 seconds
    assert Server([*slowly, GREEN]).wait(30) == 100 * 25 + 1.0


@pytest.mark.parametrize(
    "states",
    [[replace(YELLOW, segments=n) for n in range(1000)], [YELLOW, replace(YELLOW, status="green")] * 500],
    ids=["segments", "status"],
)
def test_what_only_goes_round_is_no_progress(states: list[IndexState]) -> None:
    """Attempts that fail leave segments behind, and a status may change for ever: neither is waited for longer than
    `retry_max_seconds`."""
    with pytest.raises(PermanentStoreError, match=r"nothing has changed for 30 s"):
        Server(states).wait(30)


def test_green_is_never_given_up() -> None:
    """Where nothing has changed for `retry_max_seconds`, a server that has just become green is still believed."""
    assert Server([YELLOW, GREEN]).wait(0.5) == 1.5


def test_the_log_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """A line every ten seconds, with points, vectors, segments and queue."""
    with caplog.at_level(logging.WARNING, "spark_vector_sink"):
        Server([YELLOW] * 50 + [GREEN]).wait()
    assert [record.getMessage() for record in caplog.records] == [
        f"waiting for the index of 'articles' since {seconds} s: yellow, 20,000 points, 5,000 vectors indexed, 4 "
        "segments, 0 in the queue"
        for seconds in (10, 20)
    ]


def test_what_a_server_says_is_read() -> None:
    """Queue and deferred points are one number; a server that tells of no queue has none; the optimizer's error is its
    text."""
    info = models.CollectionInfo.model_construct(
        status=models.CollectionStatus.YELLOW, points_count=7, indexed_vectors_count=None, segments_count=2,
        optimizer_status=models.OptimizersStatusOneOf1(error="no space"), update_queue=None,
    )  # fmt: skip
    assert IndexState.of(info) == IndexState("yellow", 7, 0, 2, 0, "no space")
    queue = models.UpdateQueueInfo(length=3, deferred_points=4)
    fine = info.model_copy(update={"optimizer_status": models.OptimizersStatusOneOf.OK, "update_queue": queue})
    assert IndexState.of(fine) == IndexState("yellow", 7, 0, 2, 7, "")


@contextmanager
def written(place: Place) -> Iterator[tuple[Collections, Target]]:
    """A job's collection when everything is written, as the job's end looks at it."""
    plan = committer.prepare(planning.plan(place.options, vectors(3).schema))
    committer.commit(plan, [partition_writer.write_partition(plan, vectors(3).to_batches(), TaskContext())])
    assert plan.target is not None
    with registry.collections(plan.options, plan.place, patient=True) as collections:
        yield collections, plan.target


class TestJobs:
    """Whole jobs, on a server that answers as it is told."""

    def test_a_job_waits(self, fake_server: FakeServer) -> None:
        """The report says how long the end of the job has waited for the index."""
        report = server_place(fake_server, vector_column="v", wait_for_index=True).write(vectors(3))
        assert report.index_seconds >= 1.0
        assert f"waited {report.index_seconds:.1f} s for the index" in str(report)

    def test_a_job_does_not_wait_by_itself(self, fake_server: FakeServer) -> None:
        """Without the option nothing is waited for, and nothing is said of it."""
        report = server_place(fake_server, vector_column="v").write(vectors(3))
        assert report.index_seconds == 0.0
        assert "index" not in str(report)

    def test_a_server_that_comes_back_meanwhile(self, fake_server: FakeServer) -> None:
        """The points are written by then, so a server that does not answer is asked again."""
        with written(server_place(fake_server, vector_column="v")) as (collections, target):
            fake_server.fault("Collections/Get", "unavailable", skip=1, times=2)
            assert collections.wait_for_index(target) > 1.0
        assert fake_server.stats().faults == {"unavailable": 2}

    @pytest.mark.parametrize(
        ("kind", "words"),
        [("unavailable", r"UNAVAILABLE.*\(tried (?:once|\d+ times) in \d+ s"), ("invalid", "INVALID_ARGUMENT")],
    )
    def test_a_server_that_stays_away_meanwhile(self, fake_server: FakeServer, kind: str, words: str) -> None:
        """After `retry_max_seconds`, or when asking again is of no use: one line says that the points are written, and
        why nobody waits for the index."""
        with written(server_place(fake_server, vector_column="v", retry_max_seconds=2)) as (collections, target):
            fake_server.fault("Collections/Get", kind, skip=1, times=None)
            with pytest.raises(
                PermanentStoreError,
                match=rf"^all points are written to '.*', but its index cannot be waited for: reading '.*{words}",
            ):
                collections.wait_for_index(target)

    def test_an_embedded_store_is_ready_when_it_is_written(self, tmp_path: Path) -> None:
        """There the job's end builds the index anyway."""
        report = Place({"path": f"{tmp_path}/store", "vector_column": "v"}).write(vectors(3), wait_for_index=True)
        assert (report.stored_points, report.index_seconds) == (3, 0.0)
