"""Convert Spark's types to Arrow's, and each variant in Spark's Arrow batches to its JSON text with the kind of its
value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyspark.sql import types as t
from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from spark_vector_sink.payload_types import JSON_MARK, VARIANT, holds, is_json, mapped

UNREADABLE = ("YearMonthIntervalType", "CalendarIntervalType")
"""Types whose columns Spark cannot pass to Python; a batch with such a column fails before the sink gets it."""

SIMPLE: dict[str, pa.DataType] = {
    "NullType": pa.null(),
    "BooleanType": pa.bool_(),
    "ByteType": pa.int8(),
    "ShortType": pa.int16(),
    "IntegerType": pa.int32(),
    "LongType": pa.int64(),
    "FloatType": pa.float32(),
    "DoubleType": pa.float64(),
    "StringType": pa.string(),
    "CharType": pa.string(),
    "VarcharType": pa.string(),
    "BinaryType": pa.binary(),
    "DateType": pa.date32(),
    "TimestampType": pa.timestamp("us", "UTC"),
    "TimestampNTZType": pa.timestamp("us"),
    "TimeType": pa.time64("ns"),
    "DayTimeIntervalType": pa.duration("us"),
}
"""Spark's simple types and their Arrow types. The table is written out, because the arguments of Spark's own conversion
function differ between versions."""


def schema(struct: StructType) -> pa.Schema:
    """Convert a DataFrame's schema to Arrow. A type without a mapping keeps Spark's name in the field's metadata, for
    the error message."""
    return pa.schema([_field(field.name, field.dataType) for field in struct.fields])


def unreadable(struct: StructType) -> dict[str, str]:
    """Return the columns that Spark cannot pass to Python, each with a sentence."""
    return {
        field.name: f"column '{field.name}' has the type {field.dataType.simpleString()}, which Spark cannot hand to "
        "Python; drop it, or cast it to string"
        for field in struct.fields
        if _contains(field.dataType, UNREADABLE)
    }


def without_variants(batches: Iterable[pa.RecordBatch], declared: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the batches with `payload_types.VARIANT` in place of the two binaries of each variant."""
    variants = [i for i, field in enumerate(declared) if holds(field, is_json)]
    for batch in batches:
        for i in variants:
            batch = batch.set_column(
                i, batch.schema.names[i], mapped(batch.column(i), declared.field(i), is_json, _json)
            )
        yield batch


def _field(name: str, kind: DataType) -> pa.Field:
    try:
        return _known_field(name, kind)
    except KeyError:
        return pa.field(name, pa.month_day_nano_interval(), metadata={b"type": kind.simpleString().encode()})


def _known_field(name: str, kind: DataType) -> pa.Field:
    if _is(kind, ("VariantType",)):
        return pa.field(name, pa.string(), metadata=JSON_MARK)
    return pa.field(name, _arrow_type(kind))


def _arrow_type(kind: DataType) -> pa.DataType:
    """Return the type in which Spark passes a column to Python. Raises KeyError for an unknown type."""
    if isinstance(kind, ArrayType):
        return pa.list_(_known_field("element", kind.elementType))
    if isinstance(kind, MapType):
        # an untyped empty map has keys without a type, which pyarrow cannot declare; any key type fits an empty map
        keys = pa.string() if _is(kind.keyType, ("NullType",)) else _arrow_type(kind.keyType)
        return pa.map_(keys, _known_field("value", kind.valueType))
    if isinstance(kind, StructType):
        return pa.struct([_known_field(field.name, field.dataType) for field in kind.fields])
    if isinstance(kind, t.UserDefinedType):
        return _arrow_type(kind.sqlType())
    if isinstance(kind, t.DecimalType):
        return pa.decimal128(kind.precision, kind.scale)
    for parent in type(kind).__mro__:
        if parent.__name__ in SIMPLE:
            return SIMPLE[parent.__name__]
    raise KeyError(kind.simpleString())


def _is(kind: DataType, names: tuple[str, ...]) -> bool:
    """Return whether a type is one of `names`, some of which older versions of Spark do not have."""
    return any(parent.__name__ in names for parent in type(kind).__mro__)


def _contains(kind: DataType, names: tuple[str, ...]) -> bool:
    if isinstance(kind, ArrayType):
        return _contains(kind.elementType, names)
    if isinstance(kind, MapType):
        return _contains(kind.keyType, names) or _contains(kind.valueType, names)
    if isinstance(kind, StructType):
        return any(_contains(field.dataType, names) for field in kind.fields)
    return _is(kind, names)


_KINDS = {Decimal: "decimal", float: "double", bytes: "binary", bytearray: "binary", date: "date"}
"""Kinds of values that JSON has no type for, by the Python type in which Spark gives them."""


def _json(column: pa.Array) -> pa.Array:
    """Convert Spark's two binaries of each variant to `payload_types.VARIANT`."""
    from pyspark.errors import PySparkException
    from pyspark.sql.types import VariantVal  # Spark >= 4.0, as are variants

    made = list[Any]()
    for item in column.to_pylist():
        if item is None:
            made.append(None)
            continue
        variant = VariantVal(item["value"], item["metadata"])
        try:
            made.append((variant.toJson(), _kind(item["value"], variant)))
        except (
            PySparkException,
            ValueError,
            ArithmeticError,
        ):  # a type that PySpark does not know, or a date outside Python's range
            made.append(("a value that Python has not", "unknown"))
    return pa.array(
        [None if one is None else dict(zip((field.name for field in VARIANT), one, strict=True)) for one in made],
        VARIANT,
    )


def _kind(value: bytes, variant: Any) -> str | None:
    if value[0] & 3 in (2, 3):  # an object or an array: the two low bits of a variant's first byte
        return None
    scalar = variant.toPython()
    if isinstance(scalar, datetime):
        return "timestamp_ntz" if scalar.tzinfo is None else "timestamp"
    return _KINDS.get(type(scalar))
