"""Spark's types → Arrow's, and the one adaptation of Spark's Arrow batches: a variant becomes its JSON text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import types as t
from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from spark_vector_sink.plain import JSON_MARK

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
    """The DataFrame's schema in Arrow. A type without a mapping keeps Spark's name in the field's metadata, for the message."""
    return pa.schema([_field(field.name, field.dataType) for field in struct.fields])


def unreadable(struct: StructType) -> dict[str, str]:
    """The columns that Spark cannot hand to Python, each with a sentence."""
    return {
        field.name: f"column '{field.name}' has the type {field.dataType.simpleString()}, which Spark cannot hand to Python; drop it, or cast it to string"
        for field in struct.fields
        if _contains(field.dataType, UNREADABLE)
    }


def without_variants(batches: Iterable[pa.RecordBatch], declared: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches, with the JSON text of each variant in place of its two binaries."""
    variants = [i for i, field in enumerate(declared) if field.metadata == JSON_MARK]
    for batch in batches:
        for i in variants:
            batch = batch.set_column(i, declared.field(i), _json(batch.column(i)))
        yield batch


def _field(name: str, kind: DataType) -> pa.Field:
    if _is(kind, ("VariantType",)):
        return pa.field(name, pa.string(), metadata=JSON_MARK)
    try:
        return pa.field(name, _arrow_type(kind))
    except KeyError:
        return pa.field(name, pa.month_day_nano_interval(), metadata={b"type": kind.simpleString().encode()})


def _arrow_type(kind: DataType) -> pa.DataType:
    """The type in which Spark hands a column to Python; KeyError where there is none that we know."""
    if isinstance(kind, ArrayType):
        return pa.list_(_arrow_type(kind.elementType))
    if isinstance(kind, MapType):
        return pa.map_(_arrow_type(kind.keyType), _arrow_type(kind.valueType))
    if isinstance(kind, StructType):
        return pa.struct([(field.name, _arrow_type(field.dataType)) for field in kind.fields])
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


def _json(column: pa.Array) -> pa.Array:
    from pyspark.sql.types import VariantVal  # Spark >= 4.0, as are variants

    to_json: Callable[[Any], str] = lambda item: VariantVal(item["value"], item["metadata"]).toJson()  # noqa: E731
    return pa.array([None if item is None else to_json(item) for item in column.to_pylist()], pa.string())
