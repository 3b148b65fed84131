"""Convert any Arrow column to the plain types that a store knows. The mapping of types is only here.

| Spark | Arrow | payload |
|---|---|---|
| boolean, string, char, varchar, void | bool, string, null | the same |
| byte, short, int, long | int8 … int64 | integer |
| float, double | float, double | number; NaN and infinities are refused, JSON has none |
| decimal(p ≤ 18, 0) | decimal | integer |
| other decimals | decimal | string in plain notation, exact: `12.50` |
| date | date32 | string `2024-02-29`; the years 1 to 9999 |
| timestamp | timestamp with a zone | string, RFC 3339 in UTC: `2024-02-29T12:30:00.000000Z` |
| timestamp_ntz | timestamp without a zone | string without a zone: `2024-02-29T12:30:00.000000` |
| time | time64 | string `12:30:00.000000` |
| interval day to second | duration | integer, microseconds |
| binary | binary | string, base64 |
| array | list | list |
| struct | struct | object |
| map with string or integer keys | map | object; an integer key as its decimal text; a key twice is refused |
| variant | JSON text | its value |
| interval year to month, calendar interval, geometry, map with other keys | | refused by name |

A null stays a null.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from spark_vector_sink.errors import shorten
from spark_vector_sink.payload_types import JSON_MARK, check_json, is_json, is_list, json_texts
from spark_vector_sink.rows import times

MOST_LEVELS = 30
"""Limit of a value's nesting. A server takes deeper objects, but from 33 levels on it can no longer return them over
gRPC; an embedded store cannot replay its log from 124 levels on."""

INTEGER_DIGITS = 18
"""Greatest count of decimal digits with which every integer fits into an int64."""


def unmappable(field: pa.Field) -> str | None:
    """Return the reason why a column of this type cannot become payload; None where it can."""
    try:
        plain = plain_field(field)
    except TypeError as reason:
        return str(reason)
    return f"it is nested deeper than {MOST_LEVELS} levels" if _levels(plain.type) > MOST_LEVELS else None


def plain_field(field: pa.Field) -> pa.Field:
    """Return the field after the mapping. Raises TypeError with the reason where its type has no mapping."""
    return pa.field(field.name, _plain_type(field), metadata=JSON_MARK if is_json(field) else None)


def to_plain(array: pa.Array, field: pa.Field) -> pa.Array:
    """Convert the column's values to plain types; return a view where they are plain already. Raises ValueError for a
    value that has no plain form."""
    kind = array.type
    if is_json(field):
        return _checked_json(json_texts(array))
    plain = _plain_type(field)
    if pat.is_dictionary(kind):
        return to_plain(array.dictionary.take(array.indices), pa.field(field.name, kind.value_type))
    if pat.is_floating(kind):
        return _finite(array.cast(plain))
    if pat.is_decimal(kind) and pat.is_string(plain):
        return pa.array([None if v is None else format(v, "f") for v in array.to_pylist()], plain)
    if pat.is_decimal(kind):
        # through 128 bits, because Arrow reports decimals of 32 bits as out of bounds
        return array.cast(pa.decimal128(INTEGER_DIGITS, 0)).cast(plain)
    if pat.is_date(kind) or pat.is_timestamp(kind) or pat.is_time(kind):
        return times.written(array).cast(plain)
    if pat.is_duration(kind):
        return times.microseconds(array)
    if _is_binary(kind):
        return pa.array([None if v is None else base64.b64encode(v).decode("ascii") for v in array.to_pylist()], plain)
    if is_list(kind):
        # without a cast: Arrow's cast of a slice of fixed-size lists crashes the process
        return _list(array, field.type.value_field, plain)
    if pat.is_map(kind):
        return _map(array, field.type, plain)
    if pat.is_unsigned_integer(kind):
        return _signed(array)
    if pat.is_struct(kind):
        children = [to_plain(child, field.type.field(i)) for i, child in enumerate(array.flatten())]
        mask = array.is_null() if array.null_count else None
        return pa.StructArray.from_arrays(children, fields=list(plain), mask=mask) if children else array
    return array if kind == plain else array.cast(plain)


def is_text(array: pa.Array) -> bool:
    """Return whether all strings in a column are valid UTF-8, at any depth. Values hidden by a null or outside this
    slice are not checked."""
    kind = array.type
    if pat.is_string(kind) or pat.is_large_string(kind):
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            return False
        return True
    if not (pat.is_nested(kind) or pat.is_dictionary(kind)):
        return True
    if pat.is_dictionary(kind):
        return is_text(array.dictionary.take(array.indices))
    if is_list(kind):
        return is_text(array.flatten())
    if pat.is_map(kind):
        return is_text(_pairs(array).flatten())
    return all(map(is_text, array.flatten())) if pat.is_struct(kind) else True


def _plain_type(field: pa.Field) -> pa.DataType:
    kind = field.type
    if pat.is_null(kind) or pat.is_boolean(kind) or pat.is_string(kind) or pat.is_large_string(kind):
        return kind
    if pat.is_integer(kind) or pat.is_duration(kind):
        return pa.int64()
    if pat.is_floating(kind):
        return pa.float64()
    if pat.is_decimal(kind):
        return pa.int64() if kind.scale == 0 and kind.precision <= INTEGER_DIGITS else pa.string()
    if pat.is_date(kind) or pat.is_timestamp(kind) or pat.is_time(kind):
        return pa.string()
    if _is_binary(kind):
        return pa.string()
    if pat.is_dictionary(kind):
        return _plain_type(pa.field(field.name, kind.value_type))
    if is_list(kind):
        return pa.list_(plain_field(kind.value_field))
    if pat.is_struct(kind):
        names = [child.name for child in kind]
        if len(set(names)) < len(names):
            raise TypeError("it is a struct with two fields of the same name")
        return pa.struct([plain_field(child) for child in kind])
    if pat.is_map(kind):
        if not (pat.is_string(kind.key_type) or pat.is_large_string(kind.key_type) or pat.is_integer(kind.key_type)):
            raise TypeError(f"it is a map with keys of type {kind.key_type}, and an object's keys are strings")
        return pa.map_(pa.string(), plain_field(kind.item_field))
    # Spark's name of the type, where Arrow has no such type
    named = (field.metadata or {}).get(b"type", str(kind).encode()).decode()
    raise TypeError(f"its type {named} has no mapping")


def _levels(kind: pa.DataType) -> int:
    if not pat.is_nested(kind):
        return 0
    inner = [kind.item_type] if pat.is_map(kind) else [kind.field(i).type for i in range(kind.num_fields)]
    return 1 + max(map(_levels, inner), default=0)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_fixed_size_binary(kind))


def _finite(array: pa.Array) -> pa.Array:
    if pc.all(pc.is_finite(array)).as_py() is False:
        bad = next(v for v in array.to_pylist() if v is not None and not math.isfinite(v))
        raise ValueError(f"holds {bad}, which a payload cannot; make it null")
    return array


def _signed(array: pa.Array) -> pa.Array:
    try:
        return array.cast(pa.int64())
    except pa.ArrowInvalid:
        raise ValueError(
            f"holds {pc.max(array)}, and a payload's integers end at {2**63 - 1}; cast it to string"
        ) from None


def _checked_json(array: pa.Array) -> pa.Array:
    for text in array.to_pylist():
        if text is not None:
            check_json(text, MOST_LEVELS)
    return array


def _list(array: pa.Array, inner: pa.Field, plain: pa.DataType) -> pa.Array:
    items = to_plain(array.flatten(), inner)
    return pa.ListArray.from_arrays(_offsets(array, pc.list_value_length(array)), items, type=plain)


def _map(array: pa.Array, declared: pa.DataType, plain: pa.DataType) -> pa.Array:
    pairs = _pairs(array)
    lengths = pc.list_value_length(pairs)
    keys, items = pairs.flatten().flatten()
    keys = keys.cast(pa.string())
    _check_keys(keys, lengths)
    return pa.MapArray.from_arrays(_offsets(array, lengths), keys, to_plain(items, declared.item_field), type=plain)


def _pairs(array: pa.Array) -> pa.Array:
    """Return the entries of a map as a list of structs, which Arrow can flatten without the values under nulls."""
    entries = pa.StructArray.from_arrays([array.keys, array.items], names=["key", "value"])
    return pa.Array.from_buffers(
        pa.list_(entries.type), len(array), array.buffers()[:2], offset=array.offset, children=[entries]
    )


def _check_keys(keys: pa.Array, lengths: pa.Array) -> None:
    """Raise ValueError where a map has a key twice, because an object would lose one of the two values."""
    words = keys.dictionary_encode()
    rows = np.repeat(np.arange(len(lengths)), pc.fill_null(lengths, 0))
    places = rows * max(1, len(words.dictionary)) + words.indices.to_numpy(zero_copy_only=False)
    found, first = np.unique(places, return_index=True)
    if len(found) < len(places):
        twice = np.setdiff1d(np.arange(len(places)), first)[0]
        raise ValueError(
            f"holds a map with the key {shorten(keys[int(twice)].as_py())!r} twice, and an object has each key once"
        )


def _offsets(array: pa.Array, lengths: pa.Array) -> pa.Array:
    """Convert lengths to list offsets; a null at a position makes the list there null, as Arrow defines it."""
    ends: Sequence[int] = pc.cumulative_sum(pc.fill_null(lengths, 0)).to_pylist()
    offsets = [0, *ends]
    for row, is_null in enumerate(array.is_null().to_pylist() if array.null_count else ()):
        if is_null:
            offsets[row] = None  # type: ignore[call-overload]
    return pa.array(offsets, pa.int32())
