"""A window of Arrow rows → documents: key, id, text and payload of each, checked, each key once; and the rows that cannot be documents."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from string import Formatter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.rows import bad, keys, payload, vectors
from spark_vector_sink.rows.bad import BadRow
from spark_vector_sink.rows.columns import Columns

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Documents:
    """Documents of one window; everything has the same length.

    keys: the key's text, for messages. ids: see `keys`. texts: empty where vectors exist already, then `vectors` is the column.
    rows: the place of each in its window.
    """

    keys: list[str]
    ids: list[int | str]
    texts: list[str]
    payload: pa.RecordBatch
    vectors: pa.Array | None
    rows: Integers
    superseded: int
    """rows left out because a later row of the window has the same key"""

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, stop: int) -> Documents:
        """The documents start … stop-1, without the superseded rows."""
        vectors = None if self.vectors is None else self.vectors.slice(start, stop - start)
        payload = self.payload.slice(start, stop - start)
        return Documents(self.keys[start:stop], self.ids[start:stop], self.texts[start:stop], payload, vectors, self.rows[start:stop], 0)

    def take(self, places: Integers) -> Documents:
        """Some of the documents, in this order, without the superseded rows."""
        keys, ids, texts = ([of[i] for i in places] if of else [] for of in (self.keys, self.ids, self.texts))
        taken = pa.array(places)
        made = self.payload.take(taken) if self.payload.num_columns else _no_columns(len(places))
        return Documents(keys, ids, texts, made, None if self.vectors is None else self.vectors.take(taken), self.rows[places], 0)


def read(rows: pa.RecordBatch, columns: Columns, namespace: uuid.UUID, dimension: int | None = None) -> Documents:
    """The documents of a window. Raises BadRowError for the first row that cannot become a point. dimension: as for `sift`."""
    made = _documents(_all(rows, columns), namespace, dimension)
    if isinstance(made, Documents):
        return made
    raise min(made, key=lambda found: found.row).error()


def sift(rows: pa.RecordBatch, columns: Columns, namespace: uuid.UUID, dimension: int | None = None) -> tuple[Documents, list[BadRow]]:
    """The documents of a window as if the rows that cannot become points were not in it; and those rows.

    dimension: the length that ready-made vectors must have; None where they are not to be looked at.
    """
    left = _all(rows, columns)
    rows, refused = left.rows, list[BadRow]()
    while not isinstance(made := _documents(left, namespace, dimension), Documents):
        refused += made  # one row at least, so this ends; a window without bad rows is gone through once
        places = np.setdiff1d(left.places, [found.row for found in made])
        left = _Left(rows.take(pa.array(places)), columns, places, len(rows))
    return made, refused


@dataclass(frozen=True)
class _Left:
    """The rows of a window that nothing was found against so far. places: where each was in the window. total: rows of the window."""

    rows: pa.RecordBatch
    columns: Columns
    places: Integers
    total: int

    def bad(self, row: int, key: str | None, column: str, kind: str, reason: str) -> BadRow:
        return BadRow(int(self.places[row]), key, column, kind, reason)


def _all(rows: pa.RecordBatch, columns: Columns) -> _Left:
    """All rows of a window, with the columns that are read: of the others Arrow may not even be able to take some rows."""
    read = dict.fromkeys((*columns.key, *columns.text, *(column for column, _ in columns.payload), *([columns.vector] if columns.vector else [])))
    return _Left(rows.select(list(read)), columns, np.arange(len(rows)), len(rows))


def _documents(left: _Left, namespace: uuid.UUID, dimension: int | None) -> Documents | list[BadRow]:
    """The documents; or all rows that do not pass the first check that any of them does not pass."""
    rows, columns = left.rows, left.columns
    if found := _bad_bytes(left):
        return found
    try:
        key_columns = [keys.key_values(rows.column(name)) for name in columns.key]
    except ValueError:
        return _unwritten_keys(left)
    if found := _null_keys(left, key_columns):
        return found
    texts = _texts(rows, columns)
    if columns.content_key:
        key_columns.append([text if text is not None else "" for text in texts])
    tuples = list(zip(*key_columns, strict=True))
    shown = [keys.key_text(key) for key in tuples]
    if found := _blank_texts(left, texts, shown) or _misfits(left, shown, dimension):
        return found

    ids = keys.point_ids(tuples, namespace)
    last = {point: row for row, point in enumerate(ids)}
    superseded = len(ids) - len(last)
    if superseded:
        kept = sorted(last.values())
        left = _Left(rows.take(pa.array(kept, pa.int64())), columns, left.places[kept], left.total)
        ids, shown, texts = [ids[i] for i in kept], [shown[i] for i in kept], [texts[i] for i in kept] if texts else []
    made = _payload(left, shown)
    if isinstance(made, list):
        return made
    return Documents(shown, ids, texts, made, left.rows.column(columns.vector) if columns.vector else None, left.places, superseded)


def _bad_bytes(left: _Left) -> list[BadRow]:
    """Spark lets a string hold any bytes; whatever is no UTF-8 would fail only in the store."""
    columns, found = left.columns, dict[int, BadRow]()
    for name in dict.fromkeys((*columns.key, *columns.text, *(column for column, _ in columns.payload))):
        column = left.rows.column(name)
        if payload.is_text(column):
            continue
        for row in range(len(column)):
            if row not in found and not payload.is_text(column.slice(row, 1)):
                key = None if name in columns.key or columns.content_key else _key(left, row)
                found[row] = left.bad(row, key, name, bad.BAD_BYTES, "holds bytes that are no UTF-8")
    return list(found.values())


def _key(left: _Left, row: int) -> str | None:
    """The key of one row, as text; None where a part of it is null, or has no text."""
    try:
        values = [keys.key_values(left.rows.column(name).slice(row, 1))[0] for name in left.columns.key]
    except ValueError:
        return None
    return None if None in values else keys.key_text(values)


def _unwritten_keys(left: _Left) -> list[BadRow]:
    """Dates and timestamps that have no text."""
    found: dict[int, BadRow] = {}
    for name in left.columns.key:
        column = left.rows.column(name)
        for row in range(len(column)):
            try:
                keys.key_values(column.slice(row, 1))
            except ValueError as error:
                found.setdefault(row, left.bad(row, None, name, bad.PAYLOAD_VALUE, str(error)))
    return list(found.values())


def _null_keys(left: _Left, key_columns: list[list[Any]]) -> list[BadRow]:
    found: dict[int, BadRow] = {}
    for name, column in zip(left.columns.key, key_columns, strict=True):
        if None in column:
            for row, value in enumerate(column):
                if value is None and row not in found:
                    reason = f"is null (row {left.places[row] + 1:,} of {left.total:,} in its window)"
                    found[row] = left.bad(row, None, name, bad.NULL_KEY, reason)
    return list(found.values())


def _blank_texts(left: _Left, texts: list[Any], shown: list[str]) -> list[BadRow]:
    found, column = [], ", ".join(left.columns.text)
    for row, text in enumerate(texts):
        if text is None or not text.strip():
            reason = "is null" if text is None else "holds only blanks"
            key = None if left.columns.content_key else shown[row]
            found.append(left.bad(row, key, column, bad.BLANK_TEXT, reason + "; there is no text to encode"))
    return found


def _misfits(left: _Left, shown: list[str], dimension: int | None) -> list[BadRow]:
    """Ready-made vectors of another length, or with nulls."""
    name = left.columns.vector
    if name is None or dimension is None:
        return []
    column = left.rows.column(name)
    if vectors.misfit(column, dimension) is None:
        return []
    reasons = bad.each(len(column), lambda row: vectors.misfit(column.slice(row, 1), dimension))
    return [left.bad(row, shown[row], name, bad.VECTOR, reason) for row, reason in reasons.items()]


def _texts(rows: pa.RecordBatch, columns: Columns) -> list[Any]:
    """The text of each row; None where every text column is null."""
    parts = [rows.column(name).to_pylist() for name in columns.text]
    if not parts:
        return []
    if len(parts) == 1 and columns.text_template is None:
        return parts[0]  # type: ignore[no-any-return]
    pieces = _pieces(columns)
    return [_joined(dict(zip(columns.text, row, strict=True)), pieces) for row in zip(*parts, strict=True)]


def _pieces(columns: Columns) -> list[tuple[str, str | None]]:
    """The template as literal texts, each with the column that follows it. Without one, line breaks part the columns."""
    if columns.text_template is None:
        return [("\n" if i else "", name) for i, name in enumerate(columns.text)]
    return [(literal, name) for literal, name, _, _ in Formatter().parse(columns.text_template)]


def _joined(row: dict[str, str | None], pieces: list[tuple[str, str | None]]) -> str | None:
    """One text of several columns; a null counts as empty, and None comes out where nothing but blanks would be left of them."""
    if all(not (part or "").strip() for part in row.values()):
        return None
    return "".join(literal + ((row[name] or "") if name is not None else "") for literal, name in pieces)


def _payload(left: _Left, shown: list[str]) -> pa.RecordBatch | list[BadRow]:
    """The payload of each row, as plain types under the payload's names; or the rows that have a value without a plain form."""
    arrays, fields = [], []
    found: dict[int, BadRow] = {}
    for (column, name), field in zip(left.columns.payload, left.columns.fields, strict=True):
        plain = payload.plain_field(field)
        fields.append(pa.field(name, plain.type, metadata=plain.metadata))
        try:
            arrays.append(payload.to_plain(left.rows.column(column), field))
        except ValueError:
            found = {**_unmapped(left, field, shown), **found}
    if found:
        return list(found.values())
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)) if arrays else _no_columns(len(left.rows))


def _unmapped(left: _Left, field: pa.Field, shown: list[str]) -> dict[int, BadRow]:
    """The rows whose value in a column has no plain form."""
    array, found = left.rows.column(field.name), dict[int, BadRow]()
    for row in range(len(array)):
        try:
            payload.to_plain(array.slice(row, 1), field)
        except ValueError as error:
            found[row] = left.bad(row, shown[row], field.name, bad.PAYLOAD_VALUE, str(error))
    if not found:
        raise AssertionError("a column that fails as a whole has a row that fails")
    return found


def _no_columns(rows: int) -> pa.RecordBatch:
    """A batch of `rows` rows without columns; Arrow keeps the length only through a struct."""
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
