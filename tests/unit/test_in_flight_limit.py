"""How many requests at once: the rules, one by one."""

from __future__ import annotations

import pytest

from spark_vector_sink.store.in_flight_limit import Limit


def grown(limit: Limit, times: int) -> Limit:
    for _ in range(times):
        limit.applied(limit.begun(), has_waited=True)
    return limit


def test_it_begins_small_and_doubles_until_two() -> None:
    """A quarter of a request first, so that a thousand tasks which begin together do not drown a server; three requests
    later it is two."""
    limit = Limit()
    seen = [(limit.now, limit.share)] + [(grown(limit, 1).now, limit.share) for _ in range(3)]
    assert seen == [(1, 0.25), (1, 0.5), (1, 1.0), (2, 1.0)]


def test_it_grows_by_one_in_as_many_requests_as_it_is() -> None:
    """From two on; never more than eight."""
    limit = grown(Limit(), 3)
    steps = []
    for _ in range(60):
        before = limit.now
        limit.applied(limit.begun(), has_waited=True)
        steps.append(limit.now - before)
    assert set(steps) == {0, 1}
    assert limit.now == 8
    assert sum(steps[:3]) <= 1 < sum(steps[:8])


def test_a_task_that_never_waits_stays_at_two() -> None:
    """Encoding takes longer: what the begin needs, and no more."""
    limit = Limit()
    for _ in range(100):
        limit.applied(limit.begun(), has_waited=False)
    assert (limit.now, limit.share) == (2, 1.0)


def test_it_is_halved_once_for_requests_that_were_on_their_way_together() -> None:
    """Eight requests that meet the same rate limit are one sign, and not eight."""
    limit = grown(Limit(), 100)
    marks = [limit.begun() for _ in range(8)]
    for mark in marks:
        limit.halve(mark)
    assert limit.now == 4
    limit.halve(limit.begun())
    assert limit.now == 2


def test_a_request_from_before_a_halving_does_not_raise_it() -> None:
    """It may be the very one whose slow reply has halved it."""
    limit = grown(Limit(), 3)
    mark = limit.begun()
    limit.halve(mark)
    limit.applied(mark, has_waited=True)
    assert (limit.now, limit.share) == (1, 1.0)
    limit.applied(limit.begun(), has_waited=True)
    assert limit.now == 2


def test_below_one_requests_get_smaller() -> None:
    """One request at a time, with a share of the points: down to a sixteenth, and in half steps up again."""
    limit = grown(Limit(), 3)
    for _ in range(10):
        limit.halve(limit.begun())
    assert (limit.now, limit.share) == (1, 1 / 16)
    grown(limit, 1)
    assert (limit.now, limit.share) == (1, 1 / 16 + 1 / 2)
    grown(limit, 1)
    assert (limit.now, limit.share) == (1, 1.0)


def test_after_the_first_halving_it_does_not_double_any_more() -> None:
    """What doubling is for, the begin, is over."""
    limit = Limit()
    limit.halve(limit.begun())
    assert grown(limit, 1).share == 1 / 8 + 1 / 2


@pytest.mark.parametrize("fixed", [1, 3, 8])
def test_a_number_of_the_users_stays(fixed: int) -> None:
    """Neither growing nor halving moves it."""
    limit = grown(Limit(fixed), 20)
    limit.halve(limit.begun())
    assert (limit.now, limit.share) == (fixed, 1.0)
