"""Trying again: what may heal, for as long as was said, and what it says in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from spark_vector_sink.errors import PermanentStoreError, TransientStoreError
from spark_vector_sink.store.retry import retrying
from tests.hangs import HANGS_AFTER_SECONDS


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "sleep", made.sleep)
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


class Server:
    """Answers with each error in turn, then with "done"."""

    def __init__(self, *errors: Exception) -> None:
        self._errors: Iterator[Exception] = iter(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        error = next(self._errors, None)
        if error is not None:
            raise error
        return "done"


class Never:
    """Fails for ever."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        raise self.error


def counting() -> tuple[list[int], Callable[[], None]]:
    counted: list[int] = []
    return counted, lambda: counted.append(1)


def test_what_heals_is_tried_again(clock: Clock) -> None:
    """Two failures and a success are a success, and two retries."""
    server = Server(TransientStoreError("a"), TransientStoreError("b"))
    counted, count = counting()
    assert retrying(server, 60, count) == "done"
    assert (server.calls, len(counted), len(clock.slept)) == (3, 2, 2)


def test_success_is_not_tried_again(clock: Clock) -> None:
    """One call, no wait, no retry."""
    server = Server()
    counted, count = counting()
    assert retrying(server, 60, count) == "done"
    assert (server.calls, counted, clock.slept) == (1, [], [])


def test_the_wait_that_the_server_names_is_kept(clock: Clock) -> None:
    """Never shorter; up to a second or a tenth longer, because others were told the same."""
    retrying(Server(TransientStoreError("busy", 30.0), TransientStoreError("busy", 0.25)), 60, lambda: None)
    first, second = clock.slept
    assert 30.0 <= first <= 33.0
    assert 0.25 <= second <= 1.25


def test_waits_grow(clock: Clock) -> None:
    """From a tenth of a second, doubling, up to twenty seconds, with up to a second of jitter."""
    retrying(Server(*[TransientStoreError("x")] * 12), 3600, lambda: None)
    for n, slept in enumerate(clock.slept):
        base = 0.1 * 2**n
        assert min(20.0, base) <= slept <= min(20.0, base) + 1.0


def test_what_cannot_heal_is_raised_at_once(clock: Clock) -> None:
    """The error itself, after one call."""
    error = PermanentStoreError("no")
    server = Never(error)
    counted, count = counting()
    with pytest.raises(PermanentStoreError) as raised:
        retrying(server, 60, count)
    assert (raised.value, server.calls, counted, clock.slept) == (error, 1, [], [])


def test_an_unknown_error_is_raised_at_once(clock: Clock) -> None:
    """Only what is known to heal is tried again."""
    server = Never(KeyError("x"))
    with pytest.raises(KeyError):
        retrying(server, 60, lambda: None)
    assert server.calls == 1


def test_it_gives_up_in_words(clock: Clock) -> None:
    """The last reason, how often, how long, and the option that decides; the last try comes when the time is over, and
    not a wait earlier."""
    server = Never(TransientStoreError("upsert failed: UNAVAILABLE"))
    with pytest.raises(PermanentStoreError) as raised:
        retrying(server, 60, lambda: None)
    seconds = clock.now - 1000
    assert (
        str(raised.value) == f"upsert failed: UNAVAILABLE (tried {server.calls} times in {seconds:.0f} s; option "
        "'retry_max_seconds' = 60)"
    )
    assert seconds == pytest.approx(60)
    assert server.calls > 5


def test_a_failure_that_may_not_be_tried_again_is_no_retry(clock: Clock) -> None:
    """What is counted is requests that were sent again, so one less than the calls."""
    server = Never(TransientStoreError("x", 40.0))
    counted, count = counting()
    with pytest.raises(PermanentStoreError):
        retrying(server, 60, count)
    assert len(counted) == server.calls - 1


def test_a_wait_longer_than_what_is_left_is_not_begun(clock: Clock) -> None:
    """A server that says "come back in an hour" ends a job that may wait a minute, and does not hold it for an hour."""
    with pytest.raises(PermanentStoreError):
        retrying(Server(TransientStoreError("busy", 3600.0)), 60, lambda: None)
    assert sum(clock.slept) <= 60


def test_zero_seconds_are_no_retry(clock: Clock) -> None:
    """One call, and an error that says so."""
    server = Never(TransientStoreError("busy", 1.0))
    counted, count = counting()
    with pytest.raises(PermanentStoreError, match=r"^busy \(tried once in 0 s; option 'retry_max_seconds' = 0\)$"):
        retrying(server, 0, count)
    assert (server.calls, counted, clock.slept) == (1, [], [])


def test_closing_ends_the_wait_between_retries() -> None:
    """A task that gives up does not wait for the retries of its requests."""
    closing = threading.Event()
    begun = time.monotonic()
    threading.Timer(0.1, closing.set).start()
    with pytest.raises(PermanentStoreError, match="busy"):
        retrying(Never(TransientStoreError("busy", retry_after=1000)), 3600, lambda: None, closing)
    assert time.monotonic() - begun < HANGS_AFTER_SECONDS
