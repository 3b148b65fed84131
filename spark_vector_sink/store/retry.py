"""How often, and how long, a request is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay, stop_when_event_set, wait_exponential, wait_random
from tenacity.nap import sleep_using_event

from spark_vector_sink.errors import PermanentStoreError, TransientStoreError

T = TypeVar("T")

BACK_OFF = wait_exponential(multiplier=0.1, max=20) + wait_random(0, 1)
"""0.1 s, 0.2 s, … 20 s, and up to a second more, so that tasks which failed together do not come back together."""


def retrying(send: Callable[[], T], most_seconds: float, on_retry: Callable[[], None], closing: Event | None = None) -> T:
    """Call `send` until it succeeds, with growing waits, for at most `most_seconds`.

    Only TransientStoreError is tried again; where it names a wait, that wait is kept, and one that would end too late is not begun.
    At the end PermanentStoreError says how often and how long it was tried, with the last reason. `closing` ends the waiting at once.
    """
    begun = time.monotonic()
    attempts = 0

    def counted() -> T:
        nonlocal attempts
        if attempts:
            on_retry()
        attempts += 1
        return send()

    stop = stop_before_delay(most_seconds)
    retries = Retrying(
        retry=retry_if_exception_type(TransientStoreError),
        wait=_wait,
        stop=stop if closing is None else stop | stop_when_event_set(closing),
        sleep=time.sleep if closing is None else sleep_using_event(closing),
        reraise=True,
    )
    try:
        return retries(counted)
    except TransientStoreError as error:
        seconds = time.monotonic() - begun
        times = "once" if attempts == 1 else f"{attempts} times"
        raise PermanentStoreError(f"{error} (tried {times} in {seconds:.0f} s; option 'retry_max_seconds' = {most_seconds:g})") from error


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    named = getattr(error, "retry_after", None)
    return BACK_OFF(state) if named is None else float(named)
