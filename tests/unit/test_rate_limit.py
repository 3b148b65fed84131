"""No more points in a second than allowed. The clock is the tests' own."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from spark_vector_sink.store import rate_limit
from spark_vector_sink.store.rate_limit import Pace


class Clock(threading.Event):
    """Time that passes only while somebody waits for this event; its user takes it for `time`, too."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        if not self.is_set():
            self.now += timeout
        return self.is_set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(rate_limit, "time", made)
    return made


def begins(clock: Clock, per_second: int | None, sizes: Sequence[int], takes: float = 0.0) -> list[float]:
    """When requests of these sizes may go; whoever sends them needs so many seconds for each."""
    made, found = Pace(per_second, clock), []
    for size in sizes:
        made.wait(size)
        found.append(round(clock.now - 1000.0, 6))
        clock.now += takes
    return found


def test_each_request_waits_for_the_points_before_it(clock: Clock) -> None:
    """The first goes at once, the others as late as the points of all before them need."""
    assert begins(clock, 100, [40, 40, 20, 100, 1]) == [0.0, 0.4, 0.8, 1.0, 2.0]


def test_a_task_that_is_slower_by_itself_does_not_wait(clock: Clock) -> None:
    """And what it has not used is not made up for later."""
    assert begins(clock, 100, [10, 10, 10], takes=0.5) == [0.0, 0.5, 1.0]
    made = Pace(100, clock)
    made.wait(10)
    clock.now += 50.0
    begun = clock.now
    made.wait(100)
    made.wait(100)
    assert clock.now - begun == 1.0


def test_without_a_rate_nothing_waits(clock: Clock) -> None:
    """However many points there are, in one request too."""
    assert begins(clock, None, [1_000_000, 1_000_000]) == [0.0, 0.0]
    assert Pace(None, clock).most_points(1_000_000) == 1_000_000


def test_a_request_is_cut_to_the_points_of_a_second(clock: Clock) -> None:
    """So that the rate holds over short times, too."""
    assert [Pace(5, clock).most_points(points) for points in (3, 5, 512)] == [3, 5, 5]


def test_closing_ends_the_wait_for_a_turn(clock: Clock) -> None:
    """A task that gives up does not wait for its turn."""
    made = Pace(1, clock)
    made.wait(3_600)
    clock.set()
    made.wait(1)
    assert clock.now == 1000.0
