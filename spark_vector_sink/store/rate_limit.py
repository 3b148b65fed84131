"""Limit the rate of points (`max_points_per_second`) by waiting before a request."""

from __future__ import annotations

import time
from threading import Event


class Pace:
    """Rate limiter that spreads points over time: after n points the next ones may be sent n / per_second seconds
    later. Used by one thread.

    per_second: None for no limit. closing: ends the wait at once.
    """

    def __init__(self, per_second: int | None, closing: Event) -> None:
        self._per_second = per_second
        self._closing = closing
        self._next = 0.0

    def most_points(self, points: int) -> int:
        """Return the maximum number of points of one request: at most the points of one second, so that the rate also
        holds over short times."""
        return points if self._per_second is None else min(points, self._per_second)

    def wait(self, points: int) -> None:
        """Wait until this number of points may be sent."""
        if self._per_second is None:
            return
        now = time.monotonic()
        begin = max(now, self._next)
        self._next = begin + points / self._per_second
        if begin > now:
            self._closing.wait(begin - now)
