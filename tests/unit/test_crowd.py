"""The model of many tasks at one server (part `crowd` of the benchmarks): its server, its clients, and what it
counts."""

from __future__ import annotations

import pytest

from benchmarks import crowd
from benchmarks.crowd_model import DEADLINE, POINTS, Crowd, Outcome, Request, Server, wait_after
from spark_vector_sink.store.in_flight_limit import LEAST


def test_the_server_applies_one_request_after_the_other() -> None:
    """The second of two that arrive together is applied when both have been; one that comes later, at once."""
    server = Server(rate=100, overhead=0.5, latency=0.25)
    assert [server.applied_at(0.0, 100), server.applied_at(0.0, 50), server.applied_at(10.0, 100)] == [
        1.75,
        2.75,
        11.75,
    ]


def test_the_rate_limit_is_a_bucket_of_a_minute() -> None:
    """A refusal takes no tokens and tells whole seconds; the bucket fills as time goes by, and holds no more than a
    minute's."""
    server = Server(rate=1_000, per_minute=600)
    assert server.refusal(10.0, 101) == 1.0
    assert server.refusal(10.0, 100) is None
    assert server.refusal(10.0, 25) == 3.0
    assert server.refusal(1_000.0, 600) is None
    assert server.refusal(1_000.0, 1) == 1.0


@pytest.mark.parametrize("per_minute", [None, 60_000])
def test_a_task_alone_gets_nearly_all_of_the_server(per_minute: float | None) -> None:
    told = Crowd(1, Server(5_000, per_minute, overhead=0.0), seconds=120).run()
    assert told.useful == pytest.approx(1.0, abs=0.05)
    assert told.shares == [1.0]
    assert (told.missed, told.given_up) == (0, 0)
    assert (told.refused > 0) == (per_minute is not None)


def test_the_same_seed_tells_the_same() -> None:
    """Whatever was drawn before; another seed tells something else."""
    assert _small(seed=1) == _small(seed=1)
    assert _small(seed=1) != _small(seed=2)


def test_what_the_server_did_for_nobody_is_not_counted_as_useful() -> None:
    """Two tasks at a server that takes longer than the deadline for the smallest request: it never stops working, and
    nobody gets an answer."""
    slow = Server(rate=LEAST * POINTS[0] / (2 * DEADLINE), overhead=0.0)
    told = Crowd(2, slow, seconds=300).run()
    assert (told.points, told.useful) == (0, 0.0)
    assert told.missed >= 2
    assert told.shares == [0.0, 0.0]


def test_a_request_that_is_tried_for_too_long_is_given_up() -> None:
    """As the sink does after `retry_max_seconds`; its task then goes on with the next one."""
    told = Crowd(1, Server(rate=LEAST), seconds=5_000).run()
    assert told.given_up >= 2


def test_a_request_is_cut_for_a_limit_that_has_sunk() -> None:
    """No point of it is lost: the parts go one after the other, the second as soon as the first is applied."""
    request = Request(7, begun=0.0)
    request.halve()
    request.halve()
    assert (request.points, request.rest) == (1, [4, 2])


def test_waits_are_the_sinks_own() -> None:
    """They double from 0.1 s to 20 s, with up to a second more; what the server has said is kept, and up to a tenth or
    a second added."""
    assert 0.1 <= wait_after(1) <= 1.1
    assert 3.2 <= wait_after(6) <= 4.2
    assert 20.0 <= wait_after(30) <= 21.0
    assert 5.0 <= wait_after(30, told=5.0) <= 6.0
    assert 50.0 <= wait_after(1, told=50.0) <= 55.0


def test_the_section_tells_the_worst_of_each_server() -> None:
    """One crowd that fares badly is a target that was missed."""
    good = Outcome(1, 10.0, useful=0.99, shares=[1.0])
    bad = Outcome(10, 10.0, useful=0.5, shares=[0.1, 1.0], given_up=3)
    lines = crowd.section({"a": [good], "b": [good, bad]}).lines
    assert [line.met for line in lines] == [True, True, True, False, False, False]
    assert [line.measured for line in lines[3:]] == ["50.0%", "0.10", "3"]


def _small(seed: int) -> Outcome:
    return Crowd(5, Server(2_000, 100_000), seconds=60, seed=seed).run()
