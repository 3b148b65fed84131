"""A window of Arrow rows → documents: key, id, text and payload of each, checked, each key once."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from string import Formatter
from typing import Any

import pyarrow as pa

from spark_vector_sink.errors import BadRowError
from spark_vector_sink.rows import keys, payload
from spark_vector_sink.rows.columns import Columns


@dataclass(frozen=True)
class Documents:
    """Documents of one window; everything has the same length.

    keys: the key's text, for messages. ids: see `keys`. texts: empty where vectors exist already, then `vectors` is the column.
    """

    keys: list[str]
    ids: list[int | str]
    texts: list[str]
    payload: pa.RecordBatch
    vectors: pa.Array | None
    superseded: int
    """rows left out because a later row of the window has the same key"""

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, stop: int) -> Documents:
        """The documents start … stop-1, without the superseded rows."""
        vectors = None if self.vectors is None else self.vectors.slice(start, stop - start)
        payload = self.payload.slice(start, stop - start)
        return Documents(self.keys[start:stop], self.ids[start:stop], self.texts[start:stop], payload, vectors, 0)


def read(rows: pa.RecordBatch, columns: Columns, namespace: uuid.UUID) -> Documents:
    """The documents of a window. Raises BadRowError for the first row that cannot become a point."""
    for name in dict.fromkeys((*columns.key, *columns.text, *(column for column, _ in columns.payload))):
        _refuse_bad_bytes(rows, name, columns)
    key_columns = [keys.key_values(rows.column(name)) for name in columns.key]
    for name, column in zip(columns.key, key_columns, strict=True):
        if None in column:
            raise BadRowError(None, name, f"is null (row {column.index(None) + 1:,} of {len(column):,} in its window)")
    texts = _texts(rows, columns)
    if columns.content_key:
        key_columns.append([text if text is not None else "" for text in texts])
    tuples = list(zip(*key_columns, strict=True))
    shown = [keys.key_text(key) for key in tuples]
    _refuse_blank(texts, shown, columns)

    ids = keys.point_ids(tuples, namespace)
    last = {point: row for row, point in enumerate(ids)}
    superseded = len(ids) - len(last)
    if superseded:
        kept = sorted(last.values())
        rows = rows.take(pa.array(kept, pa.int64()))
        ids, shown, texts = [ids[i] for i in kept], [shown[i] for i in kept], [texts[i] for i in kept] if texts else []
    vectors = rows.column(columns.vector) if columns.vector else None
    return Documents(shown, ids, texts, _payload(rows, columns, shown), vectors, superseded)


def _refuse_bad_bytes(rows: pa.RecordBatch, name: str, columns: Columns) -> None:
    """Spark lets a string hold any bytes; whatever is no UTF-8 would fail only in the store."""
    column = rows.column(name)
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        row = next(i for i in range(len(column)) if not _is_valid(column.slice(i, 1)))
        shown = (
            None
            if name in columns.key or columns.content_key
            else keys.key_text([keys.key_values(rows.column(key).slice(row, 1))[0] for key in columns.key])
        )
        raise BadRowError(shown, name, "holds bytes that are no UTF-8") from None


def _is_valid(array: pa.Array) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


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


def _refuse_blank(texts: list[Any], shown: list[str], columns: Columns) -> None:
    for row, text in enumerate(texts):
        if text is None or not text.strip():
            reason = "is null" if text is None else "holds only blanks"
            raise BadRowError(None if columns.content_key else shown[row], ", ".join(columns.text), reason + "; there is no text to encode")


def _payload(rows: pa.RecordBatch, columns: Columns, shown: list[str]) -> pa.RecordBatch:
    """The payload of each row, as plain types under the payload's names."""
    arrays, fields = [], []
    for (column, name), field in zip(columns.payload, columns.fields, strict=True):
        try:
            array = payload.to_plain(rows.column(column), field)
        except ValueError:
            raise _first_bad(rows.column(column), field, shown) from None
        plain = payload.plain_field(field)
        arrays.append(array)
        fields.append(pa.field(name, plain.type, metadata=plain.metadata))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)) if arrays else _no_columns(len(rows))


def _first_bad(array: pa.Array, field: pa.Field, shown: list[str]) -> BadRowError:
    """The first row whose value has no plain form; looked for one by one, since the job ends here."""
    for row in range(len(array)):
        try:
            payload.to_plain(array.slice(row, 1), field)
        except ValueError as error:
            return BadRowError(shown[row], field.name, str(error))
    raise AssertionError("a column that fails as a whole has a row that fails")


def _no_columns(rows: int) -> pa.RecordBatch:
    """A batch of `rows` rows without columns; Arrow keeps the length only through a struct."""
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
