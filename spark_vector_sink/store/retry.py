"""Retry requests with growing waits and a time limit, and log what happens meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential, wait_random
from tenacity.nap import sleep_using_event

from spark_vector_sink.errors import PermanentStoreError, TransientStoreError

T = TypeVar("T")

BACK_OFF = wait_exponential(multiplier=0.1, max=20) + wait_random(0, 1)
"""Wait before a retry: 0.1 s, 0.2 s, … 20 s, and up to a second more, so that tasks which failed together do not come
back together."""

SAY_EVERY = 30.0
"""Seconds between two log lines about a store that fails."""

log = logging.getLogger("spark_vector_sink")


class Trouble:
    """Log of failing requests: a line when they begin to fail, and one when they succeed again; never more often than
    SAY_EVERY. Shared by threads."""

    def __init__(self, most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self._lock = threading.Lock()
        self._since: float | None = None
        self._tries = 0
        self._said: float | None = None
        self._said_this = False

    def failed(self, error: TransientStoreError) -> None:
        """Record that a request failed and will be sent again."""
        now = time.monotonic()
        with self._lock:
            self._tries += 1
            if self._since is None:
                self._since, self._said_this = now, False
            if self._said is None or now - self._said >= SAY_EVERY:
                self._said, self._said_this = now, True
                log.warning(f"{error}; trying again, for up to {self._most_seconds:g} s")

    def over(self) -> None:
        """Record that a request that had failed was applied."""
        with self._lock:
            if self._since is not None and self._said_this:
                tries = "1 retry" if self._tries == 1 else f"{self._tries} retries"
                log.warning(f"the store takes points again, after {time.monotonic() - self._since:.1f} s and {tries}")
            self._since, self._tries = None, 0


def retrying(
    send: Callable[[], T],
    most_seconds: float,
    on_retry: Callable[[], None],
    closing: Event | None = None,
    trouble: Trouble | None = None,
) -> T:
    """Call `send` until it succeeds, with growing waits, for at most `most_seconds`.

    Only TransientStoreError is retried; where it names a wait, that wait is kept, and a wait that would end too late is
    not begun. Other waits end in time for a last attempt. At the end PermanentStoreError says how often and how long it
    was tried, with the last reason. `closing` ends the waiting at once.
    """
    begun = time.monotonic()
    attempts = 0

    def counted() -> T:
        nonlocal attempts
        if attempts:
            on_retry()
        attempts += 1
        return send()

    def waits(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if trouble is not None and isinstance(error, TransientStoreError):
            trouble.failed(error)

    def wait(state: RetryCallState) -> float:
        left = max(0.0, most_seconds - (state.seconds_since_start or 0.0))
        return _wait(state) if _named(state) is not None else min(_wait(state), left)

    def is_over(state: RetryCallState) -> bool:
        seconds = state.seconds_since_start or 0.0
        names_too_long = _named(state) is not None and seconds + state.upcoming_sleep >= most_seconds
        return seconds >= most_seconds or names_too_long or (closing is not None and closing.is_set())

    retries = Retrying(
        retry=retry_if_exception_type(TransientStoreError),
        wait=wait,
        stop=is_over,
        sleep=time.sleep if closing is None else sleep_using_event(closing),
        before_sleep=waits,
        reraise=True,
    )
    try:
        result = retries(counted)
    except TransientStoreError as error:
        seconds = time.monotonic() - begun
        times = "once" if attempts == 1 else f"{attempts} times"
        raise PermanentStoreError(
            f"{error} (tried {times} in {seconds:.0f} s; option 'retry_max_seconds' = {most_seconds:g})"
        ) from error
    if attempts > 1 and trouble is not None:
        trouble.over()
    return result


def _wait(state: RetryCallState) -> float:
    """Return the seconds to wait: the wait that the server named plus a random part of up to a tenth of it, or of up to
    a second where that is more, since other tasks were told the same; otherwise by BACK_OFF."""
    named = _named(state)
    return BACK_OFF(state) if named is None else named + wait_random(0, max(1.0, named / 10))(state)


def _named(state: RetryCallState) -> float | None:
    """Return the wait that the server named, in seconds; None where it named none."""
    error = state.outcome.exception() if state.outcome is not None else None
    named = getattr(error, "retry_after", None)
    return None if named is None else float(named)
