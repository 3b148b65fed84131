"""Spark's types → Arrow's, and the one adaptation of Spark's Arrow batches: a variant becomes its JSON text, with what
its value is."""

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
"""Types whose columns Spark cannot hand to Python; a batch with one fails before it is ours."""

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
"""Written out, since Spark's own function for it changes its arguments from version to version."""


def schema(struct: StructType) -> pa.Schema:
    """The DataFrame's schema in Arrow. A type without a mapping keeps Spark's name in the field's metadata, for the
    message."""
    return pa.schema([_field(field.name, field.dataType) for field in struct.fields])


def unreadable(struct: StructType) -> dict[str, str]:
    """The columns that Spark cannot hand to Python, each with a sentence."""
    return {
        field.name: f"column '{field.name}' has the type {field.dataType.simpleString()}, which Spark cannot hand to "
        "Python; drop it, or cast it to string"
        for field in struct.fields
        if _contains(field.dataType, UNREADABLE)
    }


def without_variants(batches: Iterable[pa.RecordBatch], declared: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches, with `payload_types.VARIANT` in place of the two binaries of each variant."""
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
    """The type in which Spark hands a column to Python; KeyError where there is none that we know."""
    if isinstance(kind, ArrayType):
        return pa.list_(_known_field("element", kind.elementType))
    if isinstance(kind, MapType):
        # a map of nothing has keys without a type, which Arrow's Python cannot declare; it is empty whatever they are
        # called
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
    """Whether a type is one of `names`, some of which older versions of Spark do not have."""
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
"""What JSON has no word for, by the type in which Spark hands it to Python."""


def _json(column: pa.Array) -> pa.Array:
    """Spark's two binaries of each variant as `payload_types.VARIANT`."""
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
        ):  # of a type that Spark's Python does not know, or a date that Python has not
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
