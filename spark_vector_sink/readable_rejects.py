"""Convert rows to a form that Spark with default settings reads back from Parquet and writes to the same payload.

| column | kept as |
|---|---|
| a name that differs from another one in case only | with a number behind it: `Name_2` |
| time; timestamp of nanoseconds; decimal of more than 38 digits | the text that a payload has of it |
| interval day to second | integer, microseconds |
| void | string, all null |
| struct without fields | map without entries |
| variant | its JSON text |
| everything else that Parquet holds | the same |

Columns of calendar intervals, and of Arrow types that Spark does not have, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.types as pat

from spark_vector_sink.payload_types import VARIANT, json_texts
from spark_vector_sink.rows import times

METADATA = {b"org.apache.spark.version": b"4.0.0"}
"""Metadata of the Parquet file. Without this key Spark 3 refuses dates before 1582, because they might be dates of
another calendar."""

MOST_DIGITS = 38
"""Most digits of a Spark decimal."""

_OUTSIDE = (
    "RUN_END_ENCODED",
    "SPARSE_UNION",
    "DENSE_UNION",
    "STRING_VIEW",
    "BINARY_VIEW",
    "LIST_VIEW",
    "LARGE_LIST_VIEW",
    "INTERVAL_MONTH_DAY_NANO",
)
"""Arrow types that Spark never passes to Python, and whose rows Arrow cannot take or Parquet cannot hold; not every
version of Arrow has all of them."""


def readable(rows: pa.RecordBatch, places: pa.Array, reserved: Iterable[str]) -> tuple[list[str], list[pa.Array]]:
    """Return names and columns of the rows at `places`. reserved: names that no column may have."""
    chosen = [place for place, field in enumerate(rows.schema) if _is_kept(field.type) and field.name not in reserved]
    columns = [_readable(rows.column(place).take(places)) for place in chosen]
    return _distinct([rows.schema.field(place).name for place in chosen], reserved), columns


def _distinct(names: Sequence[str], reserved: Iterable[str] = ()) -> list[str]:
    """Return the names, made unique for a Spark that ignores case; the first of equal names stays unchanged."""
    taken, found = {name.lower() for name in reserved}, list[str]()
    others = taken | {name.lower() for name in names}
    for name in names:
        one, number = name, 1
        while one.lower() in (taken if number == 1 else others):
            number += 1
            one = f"{name}_{number}"
        taken.add(one.lower())
        others.add(one.lower())
        found.append(one)
    return found


def _is_kept(kind: pa.DataType) -> bool:
    if pat.is_dictionary(kind):
        return _is_kept(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _is_kept(kind.storage_type)
    inner = [kind.field(place).type for place in range(kind.num_fields)] if pat.is_nested(kind) else []
    return kind.id not in _IDS and all(map(_is_kept, inner)) and not _has_no_entries(kind)


_IDS = {getattr(pa.lib, f"Type_{name}", None) for name in _OUTSIDE}


def _has_no_entries(kind: pa.DataType) -> bool:
    """Return whether a type is a list of fixed length 0, which Arrow has and Parquet does not."""
    return bool(pat.is_fixed_size_list(kind) and kind.list_size == 0)


def _readable(array: pa.Array) -> pa.Array:
    """Return a column in its readable form. The column must be fresh from `take`, so that the values under its nulls
    are empty and every buffer begins with the column."""
    kind = array.type
    if kind == VARIANT:
        return json_texts(array)
    if pat.is_dictionary(kind):
        return _readable(array.dictionary.take(array.indices))
    if isinstance(kind, pa.BaseExtensionType):
        return _readable(array.storage)
    if pat.is_null(kind):
        return pa.nulls(len(array), pa.string())
    if pat.is_time(kind) or (pat.is_timestamp(kind) and kind.unit == "ns"):
        return _text(array)
    if pat.is_duration(kind) and kind.unit == "us":
        return array.cast(pa.int64())
    if pat.is_float16(kind):
        return array.cast(pa.float32())
    if pat.is_decimal(kind):
        return _decimal(array)
    if pat.is_struct(kind):
        return _struct(array)
    if pat.is_map(kind):
        keys, items = _readable(array.keys), _readable(array.items)
        whole = pa.map_(keys.type, items.type)
        return _around(
            array,
            whole,
            pa.StructArray.from_arrays(
                [keys, items], fields=[pa.field("key", keys.type, nullable=False), whole.item_field]
            ),
        )
    if pat.is_fixed_size_list(kind):
        inner = _readable(array.values)
        return _around(array, pa.list_(inner.type, kind.list_size), inner)
    if pat.is_list(kind) or pat.is_large_list(kind):
        inner = _readable(array.values)
        return _around(array, (pa.list_ if pat.is_list(kind) else pa.large_list)(inner.type), inner)
    return array


def _around(array: pa.Array, kind: pa.DataType, inner: pa.Array) -> pa.Array:
    """Return a list or map column with the same offsets and nulls around other values."""
    buffers = array.buffers()[: 1 if pat.is_fixed_size_list(kind) else 2]
    return pa.Array.from_buffers(kind, len(array), buffers, offset=array.offset, children=[inner])


def _struct(array: pa.Array) -> pa.Array:
    kind, mask = array.type, array.is_null()
    if not kind.num_fields:
        return pa.array([None if is_null else {} for is_null in mask.to_pylist()], pa.map_(pa.string(), pa.string()))
    names = _distinct([field.name for field in kind])
    children = [_readable(child) for child in array.flatten()]  # what a null struct holds is null in its children, too
    return pa.StructArray.from_arrays(
        children, fields=[pa.field(name, of.type) for name, of in zip(names, children, strict=True)], mask=mask
    )


def _decimal(array: pa.Array) -> pa.Array:
    """Convert a decimal column to a scale that Parquet knows, or to text where it has more digits than Spark's
    decimals."""
    kind = array.type
    scale = max(kind.scale, 0)
    digits = max(kind.precision - min(kind.scale, 0), scale)
    if digits > MOST_DIGITS:
        return pa.array([None if value is None else format(value, "f") for value in array.to_pylist()], pa.string())
    # safe=False, because values under nulls need not fit
    return (
        array
        if (digits, scale) == (kind.precision, kind.scale)
        else array.cast(pa.decimal128(digits, scale), safe=False)
    )


def _text(array: pa.Array) -> pa.Array:
    """Convert times and timestamps to the text that a payload has; a value that a payload refuses becomes its number of
    ticks, which shows what is wrong."""
    try:
        return times.written(array)
    except ValueError:
        ticks = array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64()).cast(pa.string())
        each = (array.slice(place, 1) for place in range(len(array)))
        return pa.concat_arrays([_written_or(one, ticks.slice(place, 1)) for place, one in enumerate(each)])


def _written_or(one: pa.Array, otherwise: pa.Array) -> pa.Array:
    try:
        return times.written(one)
    except ValueError:
        return otherwise
