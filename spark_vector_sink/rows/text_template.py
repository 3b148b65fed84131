"""Build the text of a row: one column, or several columns joined by a template."""

from __future__ import annotations

from string import Formatter
from typing import Any

from spark_vector_sink.rows.column_roles import Part
from spark_vector_sink.rows.columns import Columns
from spark_vector_sink.rows.row_checks import Left


def texts_of(left: Left) -> list[Any]:
    """Return the text of each row; None where the only text column is null, or where several columns are all null or
    blank. The list is empty where there is no text column."""
    columns = left.columns
    parts = [left.of(Part.TEXT, name).to_pylist() for name in columns.text]
    if not parts:
        return []
    if len(parts) == 1 and columns.text_template is None:
        return parts[0]  # type: ignore[no-any-return]
    pieces = _pieces(columns)
    return [_joined(dict(zip(columns.text, row, strict=True)), pieces) for row in zip(*parts, strict=True)]


def _pieces(columns: Columns) -> list[tuple[str, str | None]]:
    """Return the template as literal texts, each with the column that follows it. Without a template, line breaks
    separate the columns."""
    if columns.text_template is None:
        return [("\n" if i else "", name) for i, name in enumerate(columns.text)]
    return [(literal, name) for literal, name, _, _ in Formatter().parse(columns.text_template)]


def _joined(row: dict[str, str | None], pieces: list[tuple[str, str | None]]) -> str | None:
    """Join several columns to one text; a null counts as empty. Return None where all columns are null or blank."""
    if all(not (part or "").strip() for part in row.values()):
        return None
    return "".join(literal + ((row[name] or "") if name is not None else "") for literal, name in pieces)
