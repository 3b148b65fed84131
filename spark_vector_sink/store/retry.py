"""How often, and how long, a request is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import stamina

from spark_vector_sink.errors import PermanentStoreError, TransientStoreError

T = TypeVar("T")


def retrying(send: Callable[[], T], most_seconds: float, on_retry: Callable[[], None]) -> T:
    """Call `send` until it succeeds, with jittered exponential waits of up to 20 seconds, for at most `most_seconds`.

    Only TransientStoreError is tried again; where it names a wait, that wait is kept. At the end PermanentStoreError says how
    often and how long it was tried, with the last reason.
    """
    begun = time.monotonic()
    attempts = 0

    def wait(error: Exception) -> bool | float:
        if not isinstance(error, TransientStoreError) or most_seconds <= 0:
            return False
        if error.retry_after is None:
            return True
        fits = time.monotonic() - begun + error.retry_after <= most_seconds
        return error.retry_after if fits else False  # to sleep past the end, only to give up, helps nobody

    try:
        for attempt in stamina.retry_context(on=wait, attempts=None, timeout=most_seconds or None, wait_initial=0.1, wait_max=20.0, wait_jitter=1.0):
            with attempt:
                if attempts:
                    on_retry()
                attempts += 1
                return send()
    except TransientStoreError as error:
        seconds = time.monotonic() - begun
        raise PermanentStoreError(
            f"{error} (tried {attempts} {'time' if attempts == 1 else 'times'} in {seconds:.0f} s; option 'retry_max_seconds' = {most_seconds:g})"
        ) from error
    raise AssertionError("a retry loop ends by a result or an error")
