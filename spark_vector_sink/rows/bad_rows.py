"""A row that cannot become a point, as data: where it is, and why."""

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
"""The kinds of reasons."""

SET_ASIDE = "with option 'rejects_path', a directory for them, such rows are put aside"
"""The way out where a bad row ends a job; a long text has an option of its own."""


@dataclass(frozen=True)
class BadRow:
    """row: its place in the window, from 0. key: the key's text, None where there is none. kind: one of the kinds
    above. reason: what is wrong with `column`, to complete the sentence "column 'x' …"; a sentence of its own where it
    is no matter of one column, which is "" then."""

    row: int
    key: str | None
    column: str
    kind: str
    reason: str

    def error(self) -> BadRowError:
        """What is wrong with this row."""
        return BadRowError(self.key, self.column, self.reason)

    def ending(self) -> BadRowError:
        """The error that ends a job at this row, with what would let the job go on without it."""
        return BadRowError(self.key, self.column, self.reason, "" if self.kind == LONG_TEXT else SET_ASIDE)


def each(rows: int, first: Callable[[int], tuple[int, str] | None]) -> dict[int, str]:
    """The reason of every bad row, for a check that tells only the first: it is asked about each row alone. first: the
    answer for one row."""
    return {row: found[1] for row in range(rows) if (found := first(row)) is not None}
