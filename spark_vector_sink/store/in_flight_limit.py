"""How many requests of a task may be on their way at once, and how large: more while that helps, less when the server
cannot keep up."""

from __future__ import annotations

import threading

BEGIN, SETTLED, MOST = 0.25, 2.0, 8.0
"""A quarter, so that a thousand tasks which begin together do not drown a server. Two, because the second request is
worth 1.4 times the speed: the next one is built while the server applies. More than eight have no use."""

LEAST, STEP = 1 / 16, 0.5


class Limit:
    """Additive increase, multiplicative decrease. The limit is a number of requests; below 1 it is one, with that share
    of the points:

    it begins with 1/4, and doubles with each applied request until it is 2; from there on an applied request for whose
    place the task had to wait adds 1 / limit (1/2 below 1), up to 8; a request that the server had no time or no rate
    for halves it, once for all that were on their way together, down to 1/16.

    A task that never waits for a place, because encoding takes longer, leaves it where it is. fixed: a limit that never
    moves.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed is not None
        self._value = BEGIN if fixed is None else float(fixed)
        self._halvings = 0
        self._lock = threading.Lock()

    @property
    def now(self) -> int:
        """Requests."""
        return max(1, int(self._value))

    @property
    def share(self) -> float:
        """Of the points that a request may have, those that it should have."""
        return min(1.0, self._value)

    def begun(self) -> int:
        """A mark for a request that goes out now, for `applied` and `halve`."""
        return self._halvings

    def applied(self, begun: int, has_waited: bool) -> None:
        """A request that went out at `begun` was applied; it counts where the limit was not halved since. has_waited:
        whether the task had to wait for its place."""
        with self._lock:
            if self._fixed or begun != self._halvings:
                return
            if not self._halvings and self._value < SETTLED:
                self._value *= 2
            elif has_waited:
                self._value = min(MOST, self._value + (1 / self._value if self._value >= 1 else STEP))

    def halve(self, begun: int) -> None:
        """The server could not keep up with a request that went out at `begun`."""
        with self._lock:
            if not self._fixed and begun == self._halvings:
                self._value = max(LEAST, self._value / 2)
                self._halvings += 1
