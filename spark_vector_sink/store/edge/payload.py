"""The plain Arrow types of a payload: what may be staged.

Whatever passes `check_types` and `check_values` in a task can be brought in on the driver later: one point that the index
refuses would otherwise stand in the way of all further ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.plain import is_json

MOST_LEVELS = 100
"""Qdrant Edge takes deeper values, but at 124 levels it can no longer replay its own log: the whole index is lost."""


def check_types(schema: pa.Schema) -> None:
    """Refuse payload columns that are not of plain types."""
    _check_names("the payload", schema.names)
    for field in schema:
        _check_type(field, field.name, 1)


def check_values(payload: pa.RecordBatch) -> None:
    """Refuse numbers that are not finite, and texts that should be JSON and are not."""
    for field, column in zip(payload.schema, payload.columns, strict=True):
        _check_values(field, column, field.name, 1)


def parse_json(text: str) -> Any:
    """The value of a JSON text; ValueError for what a payload cannot hold (NaN, infinity, half a surrogate pair, too deep)."""
    value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _check_type(field: pa.Field, column: str, level: int) -> None:
    kind = field.type
    if level > MOST_LEVELS:
        raise _refused(column, f"is nested deeper than {MOST_LEVELS} levels")
    if types.is_struct(kind):
        _check_names(f"payload column '{column}'", [child.name for child in kind])
    if types.is_map(kind) and not _is_text(kind.key_type):
        raise _refused(column, f"has type {kind}, but an object's names are texts")
    for child in _children(kind):
        _check_type(child, column, level + 1)
    if not (_children(kind) or _is_leaf(kind) or types.is_struct(kind)):
        raise _refused(column, f"has type {kind}, which an embedded store cannot hold")


def _check_names(owner: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise PermanentStoreError(f"{owner} has two fields of the same name among {', '.join(names)}; rename one of them")


def _check_values(field: pa.Field, values: pa.Array, column: str, level: int) -> None:
    if types.is_floating(field.type):
        if pc.all(pc.is_finite(values)).as_py() is False:
            raise _refused(column, "holds a number that is not finite (NaN or infinity)")
    elif is_json(field):
        _check_json(values, column, level)
    elif types.is_struct(field.type):
        for child, inner in zip(field.type, values.flatten(), strict=True):
            _check_values(child, inner, column, level + 1)
    elif types.is_map(field.type):
        _check_values(field.type.item_field, _map_items(values), column, level + 1)
    elif _is_list(field.type):
        _check_values(field.type.value_field, values.flatten(), column, level + 1)


def _map_items(values: pa.MapArray) -> pa.Array:
    """The values of all objects of a column; `items` itself knows nothing of slices."""
    first, last = values.offsets[0].as_py(), values.offsets[len(values)].as_py()
    return values.items.slice(first, last - first)


def _check_json(texts: pa.Array, column: str, level: int) -> None:
    for text in texts.to_pylist():
        if text is None:
            continue
        try:
            value = parse_json(text)
        except (ValueError, RecursionError) as error:
            raise _refused(column, f"should hold JSON, but {error}") from None
        # counting brackets is cheap, and nearly always enough
        if text.count("[") + text.count("{") > MOST_LEVELS - level and _depth(value) > MOST_LEVELS - level:
            raise _refused(column, f"is nested deeper than {MOST_LEVELS} levels")


def _depth(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _children(kind: pa.DataType) -> list[pa.Field]:
    if types.is_map(kind):
        return [kind.item_field]
    if _is_list(kind):
        return [kind.value_field]
    return list(kind) if types.is_struct(kind) else []


def _is_leaf(kind: pa.DataType) -> bool:
    return types.is_null(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or _is_text(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _refused(column: str, reason: str) -> PermanentStoreError:
    return PermanentStoreError(f"payload column '{column}' {reason}")
