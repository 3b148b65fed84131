"""Check the rows of a window before they become documents: each check finds all rows that fail it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.payload_types import is_json
from spark_vector_sink.rows import bad_rows, change_feed, keys, payload, row_version, vectors
from spark_vector_sink.rows.bad_rows import BadRow
from spark_vector_sink.rows.column_paths import label
from spark_vector_sink.rows.column_roles import Part
from spark_vector_sink.rows.columns import Columns

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Left:
    """The rows of a window that have passed every check so far.

    rows: the values of the parts, by their labels. payload: the columns of the payload. places: the place of each row
    in the window. total: count of the window's rows. operations: the operation of each row (see `change_feed`).
    """

    rows: pa.RecordBatch
    payload: pa.RecordBatch
    columns: Columns
    places: Integers
    total: int
    operations: npt.NDArray[np.int8]

    def where(self, mask: npt.NDArray[np.bool_]) -> Left:
        return self if mask.all() else self.take(np.flatnonzero(mask))

    def take(self, chosen: Integers) -> Left:
        rows = pa.array(chosen, pa.int64())
        payload = self.payload.take(rows) if self.payload.num_columns else self.payload
        return Left(
            self.rows.take(rows), payload, self.columns, self.places[chosen], self.total, self.operations[chosen]
        )

    def of(self, part: Part, name: str) -> pa.Array:
        """Return the values of a part."""
        return self.rows.column(label(part, name))

    def key_values(self, name: str, row: int | None = None, part: Part = Part.KEY) -> list[Any]:
        """Return the values of a key column, or of one row of it, as `keys.key_values` does."""
        place = self.rows.schema.get_field_index(label(part, name))
        column = self.rows.column(place)
        return keys.key_values(column if row is None else column.slice(row, 1), is_json(self.rows.schema.field(place)))

    def bad(self, row: int, key: str | None, column: str, kind: str, reason: str) -> BadRow:
        return BadRow(int(self.places[row]), key, column, kind, reason)


def unknown_words(left: Left) -> list[BadRow]:
    """Find rows with an operation word that no change feed has."""
    column = left.columns.operation
    rows = np.flatnonzero(left.operations == change_feed.UNKNOWN).tolist()
    if column is None or not rows:
        return []
    words = left.of(Part.OPERATION, column).to_pylist()
    return [
        left.bad(row, key_of(left, row), column, bad_rows.OPERATION, change_feed.unknown(words[row])) for row in rows
    ]


def unversioned(left: Left, shown: list[str]) -> list[BadRow]:
    """Find rows without a version, or with a version that cannot be compared."""
    name = left.columns.version
    if name is None:
        return []
    column, found = left.of(Part.VERSION, name), []
    try:
        row_version.versions(column)
    except ValueError:
        for row in range(len(column)):
            try:
                row_version.versions(column.slice(row, 1))
            except ValueError as error:
                found.append(left.bad(row, shown[row], name, bad_rows.VERSION, str(error)))
    return found


def unsharded(left: Left, shown: list[str]) -> list[BadRow]:
    """Find rows without a shard key, or with a negative number as shard key."""
    name = left.columns.shard_key
    if name is None:
        return []
    reasons = (
        (
            row,
            "is null; a point of this collection needs a shard key"
            if key is None
            else f"is {key}; a shard key is a text or an integer from 0 on",
        )
        for row, key in enumerate(left.key_values(name, part=Part.SHARD_KEY))
        if key is None or (isinstance(key, int) and key < 0)
    )
    return [left.bad(row, shown[row], name, bad_rows.SHARD_KEY, reason) for row, reason in reasons]


def bad_bytes(left: Left, columns: Iterable[tuple[str, pa.Array]]) -> list[BadRow]:
    """Find rows with a string that is not valid UTF-8: Spark lets a string hold any bytes, and the write would fail
    only in the store. columns: each with its name."""
    found = dict[int, BadRow]()
    for name, column in columns:
        if payload.is_text(column):
            continue
        for row in range(len(column)):
            if row not in found and not payload.is_text(column.slice(row, 1)):
                key = None if left.columns.content_key else key_of(left, row)
                found[row] = left.bad(row, key, name, bad_rows.BAD_BYTES, "holds bytes that are no UTF-8")
    return list(found.values())


def key_of(left: Left, row: int) -> str | None:
    """Return the key of one row as text; None where a part of the key is null, or has no text."""
    try:
        values = [left.key_values(name, row)[0] for name in left.columns.key]
    except ValueError:  # also for bytes that are not UTF-8
        return None
    return None if None in values else keys.key_text(values)


def unwritten_keys(left: Left) -> list[BadRow]:
    """Find rows with a key value that has no text, such as a date outside of the years 1 to 9999."""
    found: dict[int, BadRow] = {}
    for name in left.columns.key:
        for row in range(len(left.places)):
            try:
                left.key_values(name, row)
            except ValueError as error:
                found.setdefault(row, left.bad(row, None, name, bad_rows.PAYLOAD_VALUE, str(error)))
    return list(found.values())


def null_keys(left: Left, key_columns: list[list[Any]]) -> list[BadRow]:
    found: dict[int, BadRow] = {}
    for name, column in zip(left.columns.key, key_columns, strict=True):
        if None in column:
            for row, value in enumerate(column):
                if value is None and row not in found:
                    reason = f"is null (row {left.places[row] + 1:,} of {left.total:,} in its window)"
                    found[row] = left.bad(row, None, name, bad_rows.NULL_KEY, reason)
    return list(found.values())


def blank_texts(left: Left, texts: list[Any], shown: list[str]) -> list[BadRow]:
    found, column = [], ", ".join(left.columns.text)
    for row, text in enumerate(texts):
        if text is None or not text.strip():
            reason = "is null" if text is None else "holds only blanks"
            key = None if left.columns.content_key else shown[row]
            found.append(left.bad(row, key, column, bad_rows.BLANK_TEXT, reason + "; there is no text to encode"))
    return found


def misfits(left: Left, shown: list[str], wanted: vectors.Wanted | None) -> list[BadRow]:
    """Find rows whose ready-made vector cannot be used (see `vectors.misfit`): it has another length, holds a null, has
    NaN, infinite numbers or only zeros, or would be stored with other values."""
    name = left.columns.vector
    if name is None or wanted is None:
        return []
    column = left.of(Part.VECTOR, name)
    if vectors.misfit(column, wanted) is None:
        return []
    reasons = bad_rows.each(len(column), lambda row: vectors.misfit(column.slice(row, 1), wanted))
    return [left.bad(row, shown[row], name, bad_rows.VECTOR, reason) for row, reason in reasons.items()]


def one_id_of_two_keys(
    left: Left, tuples: list[tuple[Any, ...]], ids: list[int | str], shown: list[str]
) -> list[BadRow]:
    """Find rows whose key has the text, and so the id, of another key: variants may hold `-5` and `"-5"` in one
    column."""
    if not any(source.part is Part.KEY and is_json(source.field) for source in left.columns.sources):
        return []
    first: dict[int | str, tuple[Any, ...]] = {}
    found = []
    for row, (point, key) in enumerate(zip(ids, tuples, strict=True)):
        other = first.setdefault(point, key)
        if [*map(type, other)] != [*map(type, key)]:
            reason = (
                f"holds {json.dumps(key[-1])}, and another row {json.dumps(other[-1])}: both would be one point; "
                "cast the column to one type"
            )
            found.append(left.bad(row, shown[row], ", ".join(left.columns.key), bad_rows.VARIANT, reason))
    return found


def unmapped(left: Left, array: pa.Array, field: pa.Field, shown: list[str]) -> dict[int, BadRow]:
    """Find the rows whose value in a column has no plain form. Raises AssertionError where there is none, because the
    whole column has failed before."""
    found = dict[int, BadRow]()
    for row in range(len(array)):
        try:
            payload.to_plain(array.slice(row, 1), field)
        except ValueError as error:
            found[row] = left.bad(row, shown[row], field.name, bad_rows.PAYLOAD_VALUE, str(error))
    if not found:
        raise AssertionError("a column that fails as a whole has a row that fails")
    return found
