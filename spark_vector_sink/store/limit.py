"""How many requests of a task may be on their way at once: more while that helps, fewer when the server cannot keep up."""

from __future__ import annotations

import threading

BEGIN = 2
"""The second request is worth 1.4 times the speed, since the next one is built while the server applies."""

MOST = 8


class Limit:
    """Additive increase, multiplicative decrease, from 2, between 1 and 8:

    an applied request for whose place the task had to wait adds 1 / limit, so that a limit of n grows by 1 in n such requests;
    a request that the server had no time or no rate for halves it, once for all that were on their way together;
    a task that never waits for a place, because encoding takes longer, leaves it where it is.

    fixed: a limit that never moves.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._value = float(BEGIN if fixed is None else fixed)
        self._halvings = 0
        self._lock = threading.Lock()

    @property
    def now(self) -> int:
        return int(self._value)

    def begun(self) -> int:
        """A mark for a request that goes out now, for `halve`."""
        return self._halvings

    def grow(self) -> None:
        """A request was applied, and the task had to wait for its place."""
        with self._lock:
            if self._fixed is None:
                self._value = min(MOST, self._value + 1 / self._value)

    def halve(self, begun: int) -> None:
        """The server could not keep up with a request that went out at `begun`."""
        with self._lock:
            if self._fixed is None and begun == self._halvings:
                self._value = max(1.0, self._value / 2)
                self._halvings += 1
