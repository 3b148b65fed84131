"""Define the plain types: payload columns between rows and store, sparse vectors between encoder and store, and the
names of index types.

The plain types of payload columns are Arrow's null, bool, int64, float64, string (or large_string), list, struct, and
map with string keys. A string field that carries `JSON_MARK` holds JSON text, to be stored as the value that the text
stands for. List, struct and map fields nest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from spark_vector_sink.errors import shorten

RESERVED = "_sink"
"""Payload object that holds the sink's own fields: `document, chunk, chunks, span, fingerprint, version, source, run,
deleted`."""

JSON_MARK = {b"vectorsink": b"json"}
"""Field metadata that marks a string field whose text is JSON."""

SPREAD_MARK = {b"vectorsink": b"spread"}
"""Field metadata that marks a string field whose text is a JSON object with further payload keys: `{"a": 1}` is
equivalent to a column `a` in that row."""

INDEX_TYPES = ("keyword", "integer", "float", "bool", "datetime", "text", "uuid", "geo")
"""Types of a payload index, in Qdrant's terms."""

TENANT_INDEXES = {"tenant": "keyword", "integer_tenant": "integer"}
"""Sink's own index types for a tenant field, which keep each tenant's points together, and Qdrant's type for each (with
`is_tenant`, `is_principal`)."""


VARIANT = pa.struct([("vectorsink.json", pa.string()), ("vectorsink.kind", pa.string())])
"""Type of a variant column, in a field that carries `JSON_MARK`: its JSON text, and the kind of its value where JSON
has no type for that kind (`date`, `timestamp`, `timestamp_ntz`, `decimal`, `double`, `binary`, `unknown`), else null. A
string column of JSON text alone is equivalent."""


@dataclass(frozen=True, eq=False)
class SparseVectors:
    """n sparse vectors, row after row: only the entries that are not zero.

    offsets: int64, length n + 1, from 0; row i has the entries offsets[i] … offsets[i + 1] - 1.
    indices, values: uint32 and float32, one for each entry; within a row each index at most once, in any order.
    """

    offsets: npt.NDArray[np.int64]
    indices: npt.NDArray[np.uint32]
    values: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if len(self.offsets) == 0 or self.offsets[0] != 0 or (np.diff(self.offsets) < 0).any():
            raise ValueError("the offsets of sparse vectors must begin with 0 and never fall")
        if not self.offsets[-1] == len(self.indices) == len(self.values):
            raise ValueError(
                f"sparse vectors of {self.offsets[-1]} entries need as many indices and values, got "
                f"{len(self.indices)} and {len(self.values)}"
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slice(self, start: int, stop: int) -> SparseVectors:
        """Return the rows start … stop-1; indices and values are not copied."""
        offsets = self.offsets[start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        return SparseVectors(offsets - first, self.indices[first:last], self.values[first:last])

    def take(self, rows: npt.NDArray[np.int64]) -> SparseVectors:
        """Return the rows at these places, in this order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        entries = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return SparseVectors(offsets, self.indices[entries], self.values[entries])

    @property
    def nbytes(self) -> int:
        return int(self.offsets.nbytes + self.indices.nbytes + self.values.nbytes)


def is_json(field: pa.Field) -> bool:
    """Return whether a field's strings are JSON text."""
    return bool(field.metadata and field.metadata.get(b"vectorsink") in (b"json", b"spread"))


def json_texts(array: pa.Array) -> pa.Array:
    """Return the JSON text of each value in a field that carries `JSON_MARK`."""
    return array.flatten()[0] if pat.is_struct(array.type) else array


def mapped(
    array: pa.Array, field: pa.Field, is_meant: Callable[[pa.Field], bool], made: Callable[[pa.Array], pa.Array]
) -> pa.Array:
    """Replace the arrays of all fields for which `is_meant` holds by `made(array)`, within structs, lists and maps too.
    field: the field of `array`."""
    if is_meant(field):
        return made(array)
    kind, inner = field.type, _inner(field.type)
    if not any(holds(one, is_meant) for one in inner):
        return array
    mask = array.is_null() if array.null_count else None
    if pat.is_struct(kind):
        parts = [mapped(one, of, is_meant, made) for one, of in zip(array.flatten(), inner, strict=True)]
        return pa.StructArray.from_arrays(parts, names=[of.name for of in inner], mask=mask)
    start, length = array.offsets[0].as_py(), array.offsets[-1].as_py() - array.offsets[0].as_py()
    offsets = pc.subtract(array.offsets, array.offsets[0])
    if pat.is_map(kind):
        items = mapped(array.items.slice(start, length), inner[0], is_meant, made)
        return pa.MapArray.from_arrays(offsets, array.keys.slice(start, length), items, mask=mask)
    return pa.ListArray.from_arrays(
        offsets, mapped(array.values.slice(start, length), inner[0], is_meant, made), mask=mask
    )


def holds(field: pa.Field, is_meant: Callable[[pa.Field], bool]) -> bool:
    """Return whether `is_meant` holds for a field or for any field within it."""
    return is_meant(field) or any(holds(one, is_meant) for one in _inner(field.type))


def _inner(kind: pa.DataType) -> list[pa.Field]:
    if pat.is_map(kind):
        return [kind.item_field]
    return [kind.field(i) for i in range(kind.num_fields)] if pat.is_nested(kind) else []


def at(payload: Mapping[str, Any], name: str) -> Any:
    """Return a value of a payload by the name of its column, or by its path into objects (`after.id`); None where the
    payload has no such value."""
    if name in payload:
        return payload[name]
    for root, inner in payload.items():
        if (
            isinstance(inner, Mapping)
            and name.startswith(f"{root}.")
            and (found := at(inner, name[len(root) + 1 :])) is not None
        ):
            return found
    return None


def is_below(name: str, keys: Collection[str]) -> bool:
    """Return whether one of these payload keys is the column `name`, or the object in which the path `name` begins."""
    return name in keys or any(name.startswith(f"{key}.") for key in keys)


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type is any list type that Spark passes to Python."""
    return bool(pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind))


def is_string(kind: pa.DataType) -> bool:
    """Return whether a type is string or large_string."""
    return bool(pat.is_string(kind) or pat.is_large_string(kind))


def is_spread(field: pa.Field) -> bool:
    """Return whether a field's strings are JSON objects that stand for further columns (`SPREAD_MARK`)."""
    return bool(field.metadata and field.metadata.get(b"vectorsink") == b"spread")


def check_json(text: str, levels: int, careful: bool = True) -> Any:
    """Decode JSON text and return its value. Raises ValueError, with the reason, for a value that no payload can hold.

    levels: greatest allowed depth of nesting. careful: False where the text is known not to match `SUSPICIOUS`;
    decoding then takes half the time.
    """
    try:
        value = (_CAREFUL if careful else _QUICK).decode(text)
    except RecursionError:
        raise ValueError(f"holds JSON that is nested deeper than {levels} levels") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"holds text that is no JSON ({error.msg}, at character {error.pos + 1:,})") from None
    if careful:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("holds JSON with half a surrogate pair, which is no character") from None
    if text.count("[") + text.count("{") > levels and _is_deeper(value, levels):
        raise ValueError(f"holds JSON that is nested deeper than {levels} levels")
    return value


EXACT_DIGITS = 15
"""Most decimal digits that every float64 preserves."""


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"holds JSON with the number {text}, which is not finite; make it null")
    if len(text) > EXACT_DIGITS and Decimal(text) != Decimal(repr(number)):
        raise ValueError(
            f"holds JSON with the number {shorten(text)}, of which a payload keeps {number!r}; round it, or cast "
            "it to string"
        )
    return number


def _int64(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise ValueError(
            f"holds JSON with the integer {shorten(digits)}, which has more than 64 bits; cast it to string"
        )
    return int(digits)


_QUICK, _CAREFUL = json.JSONDecoder(), json.JSONDecoder(parse_constant=_finite, parse_float=_finite, parse_int=_int64)
SUSPICIOUS = r"[0-9]{19}|[eE][+-]?[0-9]{3}|NaN|Infinity|\\u"
"""Pattern that matches every JSON text with a number or character that no payload can hold, and few other texts."""


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (levels == 0 or any(_is_deeper(one, levels - 1) for one in inner))


def values(array: pa.Array, field: pa.Field) -> list[Any]:
    """Convert a plain column to Python values: None, bool, int, float, str, list and dict."""
    listed: list[Any] = array.to_pylist()
    return [_value(item, field) for item in listed] if _has_objects(field) else listed


def _value(item: Any, field: pa.Field) -> Any:
    if item is None:
        return None
    if is_json(field):
        return json.loads(item)
    kind = field.type
    if pat.is_map(kind):
        return {key: _value(inner, kind.item_field) for key, inner in item}
    if pat.is_list(kind) or pat.is_large_list(kind):
        return [_value(inner, kind.value_field) for inner in item]
    if pat.is_struct(kind):
        return {child.name: _value(item[child.name], child) for child in kind}
    return item


def _has_objects(field: pa.Field) -> bool:
    """Return whether a column holds maps or JSON text at any depth; the values of other columns need no conversion
    after `to_pylist`."""
    kind = field.type
    if is_json(field) or pat.is_map(kind):
        return True
    return any(_has_objects(kind.field(i)) for i in range(kind.num_fields)) if pat.is_nested(kind) else False
