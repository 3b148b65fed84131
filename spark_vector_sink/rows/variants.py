"""Take the values out of variants, as if their column had the values' type: to make keys, texts or versions of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from spark_vector_sink.errors import shorten
from spark_vector_sink.payload_types import json_texts
from spark_vector_sink.rows import keys, row_version
from spark_vector_sink.rows.column_roles import Part

_KINDS = {'"': "string", "t": "boolean", "f": "boolean", "n": "null", "[": "array", "{": "object"}
"""Type of a JSON text by its first character; other texts are numbers."""

_WANTED = {
    Part.TEXT: ("a string", ("string",)),
    Part.OPERATION: ("a string", ("string",)),
    Part.SHARD_KEY: ("a string or an integer", ("string", "integer")),
    Part.KEY: (
        "a string, an integer, a decimal, a boolean, a date or a timestamp",
        ("string", "integer", "decimal", "boolean", "date", "timestamp", "timestamp_ntz"),
    ),
    Part.VERSION: ("an integer, a date or a timestamp", ("integer", "decimal", "date", "timestamp", "timestamp_ntz")),
    Part.VECTOR: ("an array of numbers", ("array",)),
}

TYPES = {
    Part.TEXT: pa.string(),
    Part.OPERATION: pa.string(),
    Part.VERSION: pa.int64(),
    Part.VECTOR: pa.list_(pa.float64()),
}
"""Arrow type that a column of variants is read as, by part. Keys and shard keys, whose values may have different types,
are read as JSON text (see `keys.key_values`)."""


def read(array: pa.Array, part: Part) -> tuple[pa.Array, dict[int, str]]:
    """Take the values out of their variants. Also return a reason for each row whose value cannot play the part; the
    value is null there."""
    wanted, kinds = _WANTED[part]
    values, misplaced = list[Any](), dict[int, str]()
    for row, (text, kind) in enumerate(_pairs(array)):
        if kind == "null":
            values.append(None)
            continue
        try:
            if kind not in kinds:
                raise ValueError(f"is a variant that holds {_shown(text, kind)}, and must hold {wanted}")
            values.append(_MADE[part](text, kind))
        except ValueError as error:
            values.append(None)
            misplaced[row] = str(error)
    return pa.array(values, TYPES.get(part, pa.string())), misplaced


def _pairs(array: pa.Array) -> Iterator[tuple[str, str]]:
    """Yield the JSON text of each value, and its type."""
    named = array.flatten()[1].to_pylist() if pat.is_struct(array.type) else [None] * len(array)
    for text, name in zip(json_texts(array).to_pylist(), named, strict=True):
        yield ("null", "null") if text is None else (text, name or _kind(text))


def _kind(text: str) -> str:
    text = text.lstrip()
    return _KINDS.get(text[:1]) or ("integer" if re.fullmatch(r"-?[0-9]+", text) else "number")


def _shown(text: str, kind: str) -> str:
    if kind in ("object", "array", "string"):
        return f"an {kind}" if kind != "string" else "a string"
    return (
        f"the {kind} {shorten(text, 40)}"
        if kind != "unknown"
        else "a value of a type that Spark does not hand to Python"
    )


def _scalar(text: str, kind: str) -> Any:
    """Return a scalar as a Python value. Raises ValueError for a value that Python cannot hold."""
    if kind == "decimal":
        return Decimal(text)
    value = json.loads(text)
    if kind == "date":
        return date.fromisoformat(value)
    return datetime.fromisoformat(value) if kind.startswith("timestamp") else value


def _string(text: str, kind: str) -> str:
    value: str = json.loads(text)
    try:
        value.encode()
    except UnicodeError:
        raise ValueError("is a variant that holds half a character of UTF-16, which is no text") from None
    return value


def _column(text: str, kind: str) -> pa.Array:
    """Return one scalar as a column of the scalar's own type."""
    value = _scalar(text, kind)
    zoned = (
        pa.timestamp("us", "UTC") if kind == "timestamp" else pa.timestamp("us") if kind == "timestamp_ntz" else None
    )
    try:
        return pa.array([value], zoned)
    except (pa.ArrowException, OverflowError):
        raise ValueError(f"is a variant that holds {_shown(text, kind)}, and no column holds that") from None


def _key(text: str, kind: str) -> str:
    value = (
        _string(text, kind)
        if kind == "string"
        else int(text)
        if kind == "integer"
        else keys.key_values(_column(text, kind))[0]
    )
    if isinstance(value, keys.Whole) and 0 <= int(value) <= keys.LARGEST_ID:
        value = int(value)  # an integer, as the JSON of a variant shows it
    return json.dumps(value, ensure_ascii=False)


def _shard_key(text: str, kind: str) -> str:
    return json.dumps(_string(text, kind) if kind == "string" else int(text), ensure_ascii=False)


def _version(text: str, kind: str) -> int:
    column = _column(text, kind)
    if reason := row_version.unusable_type(column.type):
        raise ValueError(f"is a variant that {reason}")
    return int(row_version.versions(column)[0])


def _vector(text: str, kind: str) -> list[float | None]:
    numbers = json.loads(text)
    if not all(
        number is None or (isinstance(number, (int, float)) and not isinstance(number, bool)) for number in numbers
    ):
        raise ValueError("is a variant that holds an array of other things than numbers")
    try:
        return [None if number is None else float(number) for number in numbers]
    except OverflowError:
        raise ValueError("is a variant that holds a number beyond those of 64 bits") from None


_MADE: dict[Part, Callable[[str, str], Any]] = {
    Part.TEXT: _string,
    Part.OPERATION: _string,
    Part.KEY: _key,
    Part.SHARD_KEY: _shard_key,
    Part.VERSION: _version,
    Part.VECTOR: _vector,
}
