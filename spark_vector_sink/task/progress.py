"""Log the progress of a long task: a line from time to time, in the log of its process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from spark_vector_sink.report import PartitionReport, duration, rate, say

log = logging.getLogger("spark_vector_sink")


class Progress:
    """Context that logs a line every `every_seconds` seconds; with 0 it logs nothing.

        vectorsink: partition 3, after 2 min 30 s: 28,672 rows done (191 rows/s), 2,880,000 tokens encoded (19.2k
        tokens/s), 3 rejected

    report: the task's counts, which do not yet include rows that are still being read, encoded or sent. tokens: the
    number of tokens that the model has encoded until now, including the current window, so that a slow model is not
    taken for one that hangs. is_loading: whether the model is being loaded.
    """

    def __init__(
        self,
        every_seconds: float,
        report: PartitionReport,
        tokens: Callable[[], int] = lambda: 0,
        is_loading: Callable[[], bool] = lambda: False,
    ) -> None:
        self._every, self._report, self._tokens, self._is_loading = every_seconds, report, tokens, is_loading
        self._begun = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._speak, name="vectorsink-progress", daemon=True)

    def __enter__(self) -> Progress:
        if self._every > 0:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def line(self) -> str:
        """Return the progress line of this moment."""
        report, seconds = self._report, time.monotonic() - self._begun
        parts = [f"{report.rows:,} rows done ({rate(report.rows, seconds)} rows/s)"]
        if tokens := self._tokens():
            parts.append(f"{tokens:,} tokens encoded ({rate(tokens, seconds)} tokens/s)")
        if self._is_loading():
            parts.append("the model is being loaded")
        parts.append(f"{report.rejected:,} rejected")
        return f"partition {report.partition}, after {duration(seconds)}: {', '.join(parts)}"

    def _speak(self) -> None:
        while not self._ended.wait(self._every):
            if log.isEnabledFor(
                logging.INFO
            ):  # logging is set up; Spark's workers have no logging set up, and would drop the line
                log.info(self.line())
            else:
                say(self.line())
