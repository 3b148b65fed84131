"""Limit the number and size of the requests that a task has on their way at once: increase while that helps, decrease
when the server cannot keep up."""

from __future__ import annotations

import threading

BEGIN, SETTLED, MOST = 0.25, 2.0, 8.0
"""First limit, limit at which doubling ends, and greatest limit. The first is a quarter, so that a thousand tasks which
begin together do not overload a server. Two, because the second request makes the task 1.4 times as fast: the next
request is built while the server applies the one before. More than eight have no use."""

LEAST, STEP = 1 / 16, 0.5


class Limit:
    """Limit with additive increase and multiplicative decrease. The value is a number of requests; below 1 it is one
    request with that share of the points.

    The limit begins with 1/4, and doubles with each applied request until it is 2; from there on each applied request
    whose end the task had to wait for, because the limit was reached, adds 1 / limit (1/2 below 1), up to 8. A request
    for which the server had no time, or that was over its rate limit, halves the limit, once for all requests that were
    on their way together, down to 1/16.

    A task that never waits because the limit is reached, since encoding takes longer, leaves the limit unchanged.
    fixed: a limit that never changes.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed is not None
        self._value = BEGIN if fixed is None else float(fixed)
        self._halvings = 0
        self._lock = threading.Lock()

    @property
    def now(self) -> int:
        """Return the number of requests allowed at once."""
        return max(1, int(self._value))

    @property
    def share(self) -> float:
        """Return the share of the maximum number of points that a request should have."""
        return min(1.0, self._value)

    def begun(self) -> int:
        """Return a mark for a request that is sent now, for `applied` and `halve`."""
        return self._halvings

    def applied(self, begun: int, has_waited: bool) -> None:
        """Count a request that was sent at `begun` and is now applied; it is ignored where the limit has been halved
        since. has_waited: True where the task had to wait because the limit was reached."""
        with self._lock:
            if self._fixed or begun != self._halvings:
                return
            if not self._halvings and self._value < SETTLED:
                self._value *= 2
            elif has_waited:
                self._value = min(MOST, self._value + (1 / self._value if self._value >= 1 else STEP))

    def halve(self, begun: int) -> None:
        """Halve the limit because the server could not keep up with a request that was sent at `begun`."""
        with self._lock:
            if not self._fixed and begun == self._halvings:
                self._value = max(LEAST, self._value / 2)
                self._halvings += 1
