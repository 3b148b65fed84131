"""Describe a row that cannot become a point: its place in the window, and the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spark_vector_sink.errors import BadRowError

(
    NULL_KEY,
    BLANK_TEXT,
    BAD_BYTES,
    PAYLOAD_VALUE,
    VECTOR,
    LONG_TEXT,
    MEMORY,
    REFUSED,
    OPERATION,
    VERSION,
    SHARD_KEY,
    VARIANT,
) = (
    "null key",
    "blank text",
    "bad bytes",
    "payload value",
    "vector",
    "long text",
    "memory",
    "refused by the store",
    "operation",
    "version",
    "shard key",
    "variant",
)
"""The kinds of reasons that a row can be bad for."""

SET_ASIDE = "with option 'rejects_path', a directory for them, such rows are put aside"
"""The hint in the error where a bad row ends a job; a long text has an option of its own."""


@dataclass(frozen=True)
class BadRow:
    """A row of a window that cannot become a point.

    row: its place in the window, from 0. key: the text of the key, None where there is none. kind: one of the kinds
    above. reason: the problem with `column`, to complete the sentence "column 'x' …"; a whole sentence where the
    problem concerns no single column, `column` is "" then.
    """

    row: int
    key: str | None
    column: str
    kind: str
    reason: str

    def error(self) -> BadRowError:
        """Return the error that describes this row."""
        return BadRowError(self.key, self.column, self.reason)

    def ending(self) -> BadRowError:
        """Return the error that ends a job at this row, with a hint how the job can go on without the row."""
        return BadRowError(self.key, self.column, self.reason, "" if self.kind == LONG_TEXT else SET_ASIDE)


def each(rows: int, first: Callable[[int], tuple[int, str] | None]) -> dict[int, str]:
    """Return the reason for every bad row, by row, for a check that reports only the first bad row: the check is called
    for each row alone. first: the result of the check for one row."""
    return {row: found[1] for row in range(rows) if (found := first(row)) is not None}
