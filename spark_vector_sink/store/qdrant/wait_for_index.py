"""Wait until a Qdrant server has indexed what was written: done means searchable. This module sends no requests itself.

What a server does, as measured on 1.18:
* between two optimisations it says green for some milliseconds, so green counts when it is said several times in a row;
* after a restart it says grey and optimises nothing until a client updates the collection;
* after an optimisation that failed it says red and tries nothing, also when the cause is gone, until a client does so;
* such an update breaks off an optimisation that is on its way, and leaves a segment behind, so it is made only where
  no optimisation is on its way.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from qdrant_client import models

from spark_vector_sink.errors import PermanentStoreError, shorten

LOOK_SECONDS = 0.5
"""Seconds between two looks; each costs the server about a millisecond."""

GREEN_LOOKS = 3
"""Number of looks in a row that must be done before the index counts as done."""

RED_LOOKS = 10
"""Number of looks that may still say red after the server was told to try again."""

PROGRESS_SECONDS = 10.0
"""Seconds between two log lines."""

log = logging.getLogger("spark_vector_sink")


@dataclass(frozen=True)
class IndexState:
    """State of a collection's index, as the server reports it."""

    status: str
    """`green`, `yellow` (optimising), `grey` (would optimise after an update) or `red` (an optimisation failed)"""
    points: int
    indexed: int
    """number of vectors in an index"""
    segments: int
    queued: int
    """number of updates not applied, and of points that searches do not find yet"""
    error: str = ""
    """message of the optimizer"""

    @classmethod
    def of(cls, info: models.CollectionInfo) -> IndexState:
        """Read the state from a reply of the server; a server older than 1.17 reports no queue."""
        queue = getattr(info, "update_queue", None)
        queued = (queue.length or 0) + (queue.deferred_points or 0) if queue is not None else 0
        error = getattr(info.optimizer_status, "error", "")
        return cls(
            str(info.status.value),
            info.points_count or 0,
            info.indexed_vectors_count or 0,
            info.segments_count,
            queued,
            error,
        )

    @property
    def is_done(self) -> bool:
        return self.status == "green" and not self.queued

    @property
    def has_failed(self) -> bool:
        return self.status == "red" or bool(self.error)

    def __str__(self) -> str:
        return (
            f"{self.status}, {self.points:,} points, {self.indexed:,} vectors indexed, {self.segments:,} segments, "
            f"{self.queued:,} in the queue"
        )


def wait_until_indexed(
    name: str,
    look: Callable[[], IndexState],
    wake: Callable[[], None],
    most_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until the collection is green and stays green; return the seconds that it took.

    look: asks the server. wake: tells it to optimise, by an update that changes nothing. most_seconds: how long all
    numbers may stay the same. Raises PermanentStoreError where nothing changes for longer, or where the server cannot
    optimise.
    """
    begun = changed = said = clock()
    last: tuple[int, ...] = ()
    greens = reds = 0
    fewest = sys.maxsize
    while True:
        state, now = look(), clock()
        greens = greens + 1 if state.is_done else 0
        if greens == GREEN_LOOKS:
            return now - begun
        if state.has_failed:
            reds += 1
            if reds == 1:
                wake()
            if reds > RED_LOOKS:
                raise PermanentStoreError(
                    f"all points are written to '{name}', but the server cannot index them: "
                    f"{shorten(state.error or 'its status is red', 300)}; remove the cause, then run the job again or "
                    "update the collection's optimizers_config"
                )
        if state.status == "grey":
            wake()
        fewest = min(fewest, state.segments)  # fewer are progress, more may be attempts that fail
        numbers = (state.points, state.indexed, state.queued, fewest)
        if numbers != last:
            last, changed = numbers, now
        elif not greens and now - changed >= most_seconds:
            raise PermanentStoreError(
                f"all points are written to '{name}', but the server still optimises, and nothing has changed for "
                f"{now - changed:.0f} s "
                f"(option 'retry_max_seconds' = {most_seconds:g}): {state}; wait for green, or give the job a longer "
                "retry_max_seconds"
            )
        if now - said >= PROGRESS_SECONDS:
            said = now
            # a warning, since Spark's Python processes show nothing less
            log.warning(f"waiting for the index of '{name}' since {now - begun:.0f} s: {state}")
        sleep(LOOK_SECONDS)
