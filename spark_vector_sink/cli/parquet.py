"""Tell a Parquet dataset's columns as Spark reads them, which is not always as Arrow does, and the types that Spark
refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.types as pat

from spark_vector_sink import files
from spark_vector_sink.errors import SchemaError, first_line, shorten

SPARKS_OWN = b"org.apache.spark.sql.parquet.row.metadata"
"""Metadata key of the schema in a file that Spark has written; Spark uses this schema when it reads the file."""

REFUSED: list[tuple[Callable[[pa.DataType], bool], str]] = [
    (pat.is_float16, "write it as float32"),
    (pat.is_time32, "write it as a string"),
    (pat.is_time64, "read it with spark.sql.timeType.enabled=true, or write it as a string"),
    (lambda kind: pat.is_timestamp(kind) and kind.unit == "ns", "write it in microseconds"),
    (lambda kind: pat.is_decimal(kind) and kind.precision > 38, "write it with at most 38 digits"),
    (lambda kind: getattr(kind, "extension_name", "") == "arrow.uuid", "write it as a string"),
]
"""Types because of which Spark refuses the whole file, and what to do."""

OTHERS: list[tuple[Callable[[pa.DataType], bool], pa.DataType]] = [
    (pat.is_uint8, pa.int16()),
    (pat.is_uint16, pa.int32()),
    (pat.is_uint32, pa.int64()),
    (pat.is_uint64, pa.decimal128(20, 0)),
    (pat.is_duration, pa.int64()),
    (pat.is_null, pa.int32()),
]
"""Types that Spark reads as other types."""

SPARK_TYPES = {
    "string": pa.string(),
    "long": pa.int64(),
    "integer": pa.int32(),
    "short": pa.int16(),
    "byte": pa.int8(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "void": pa.null(),
    "variant": pa.string(),
}
"""Spark's names of its types in JSON, and the Arrow types in which Spark passes them to Python."""
PARAMETRISED: list[tuple[str, Callable[..., pa.DataType]]] = [
    (r"decimal\((\d+),(\d+)\)", lambda digits, scale: pa.decimal128(int(digits), int(scale))),
    (r"time\(\d+\)", lambda: pa.time64("ns")),
    (r"(?:var)?char\(\d+\)", pa.string),
    (r"interval (?:day|hour|minute|second)(?: to (?:hour|minute|second))?", lambda: pa.duration("us")),
]

AS_INT96 = pa.dataset.ParquetReadOptions(coerce_int96_timestamp_unit="us")
"""Read option for INT96 timestamps: Spark reads them in microseconds, and Arrow would read nanoseconds, which Spark
does not read."""


@dataclass
class AsRead:
    """Columns as Spark reads them. schema: the schema that Spark passes to Python. unreadable: the columns that Spark
    does not read, each with a sentence. otherwise: a sentence for each column that Spark reads as another type than the
    file has."""

    schema: pa.Schema
    unreadable: dict[str, str] = field(default_factory=dict)
    otherwise: list[str] = field(default_factory=list)


def of_dataset(place: str) -> AsRead:
    """Return the columns of a Parquet file, or of a directory of such files, including the columns of `name=value`
    folders. Raises SchemaError."""
    try:
        filesystem, path = files.located(place)
        if filesystem.get_file_info(path).type == pa.fs.FileType.NotFound:
            raise SchemaError(f"{files.shown(place)}: there is no such file or directory")
        form = pa.dataset.ParquetFileFormat(read_options=AS_INT96)
        schema = pa.dataset.dataset(
            path, filesystem=filesystem, format=form, partitioning="hive", partition_base_dir=path
        ).schema
    except (OSError, pa.ArrowException) as error:
        raise SchemaError(
            f"{files.shown(place)} cannot be read as Parquet; give Parquet files: {shorten(first_line(error), 200)}"
        ) from None
    return as_read(schema)


def as_read(schema: pa.Schema) -> AsRead:
    """Convert a Parquet schema as Arrow reads it to the schema as Spark reads it."""
    own = json.loads((schema.metadata or {}).get(SPARKS_OWN, b'{"fields": []}'))
    written_by_spark = {each["name"]: each["type"] for each in own["fields"]}
    made, read = list[pa.Field](), AsRead(schema)
    for column in schema:
        if column.name in written_by_spark:
            made.append(_own(column.name, written_by_spark[column.name], read.unreadable))
            continue
        if (found := _refused(column.type)) is not None:
            kind, way_out = found
            read.unreadable[column.name] = (
                f"column '{column.name}' holds {kind}, and Spark refuses a file with such a column; {way_out}"
            )
        made.append(pa.field(column.name, _read(column.type)))
        if _others(column.type):
            read.otherwise.append(f"Spark reads '{column.name}', {column.type}, as {made[-1].type}")
    read.schema = pa.schema(made)
    return read


def _own(name: str, kind: Any, unreadable: dict[str, str]) -> pa.Field:
    """Return the field of a column that Spark has written, by the JSON of its type."""
    try:
        return pa.field(name, _from_json(kind))
    except SchemaError as error:
        unreadable[name] = (
            f"column '{name}' has the type {error}, which Spark cannot hand to Python; drop it, or cast it to string"
        )
        return pa.field(name, pa.month_day_nano_interval(), metadata={b"type": str(error).encode()})


def _from_json(kind: Any) -> pa.DataType:
    """Convert a type from the JSON of a Spark schema. Raises SchemaError with the type that Spark does not hand to
    Python."""
    if isinstance(kind, dict):
        if kind["type"] == "struct":
            return pa.struct([(each["name"], _from_json(each["type"])) for each in kind["fields"]])
        if kind["type"] == "array":
            return pa.list_(_from_json(kind["elementType"]))
        if kind["type"] == "map":
            keys = _from_json(kind["keyType"])
            # Arrow makes no map without a type of keys
            return pa.map_(pa.string() if keys == pa.null() else keys, _from_json(kind["valueType"]))
        return _from_json(kind["sqlType"])  # a user-defined type, such as a vector of Spark ML
    if kind in SPARK_TYPES:
        return SPARK_TYPES[kind]
    for pattern, made in PARAMETRISED:
        if parameters := re.fullmatch(pattern, kind):
            return made(*parameters.groups())
    raise SchemaError(shorten(kind))


def _refused(kind: pa.DataType) -> tuple[pa.DataType, str] | None:
    """Return the type, this one or one within it, because of which Spark refuses the file, and what to do; None where
    there is none."""
    for fits, way_out in REFUSED:
        if fits(kind):
            return kind, way_out
    return next((found for inner in _inner(kind) if (found := _refused(inner.type))), None)


def _others(kind: pa.DataType) -> bool:
    return any(fits(kind) for fits, _ in OTHERS) or any(_others(inner.type) for inner in _inner(kind))


def _inner(kind: pa.DataType) -> list[pa.Field]:
    if pat.is_map(kind):
        return [kind.key_field, kind.item_field]
    if pat.is_dictionary(kind):
        return [pa.field("", kind.value_type)]
    return [kind.field(i) for i in range(kind.num_fields)] if pat.is_nested(kind) else []


def _read(kind: pa.DataType) -> pa.DataType:
    """Return the type in which Spark passes such a column to Python."""
    for fits, other in OTHERS:
        if fits(kind):
            return other
    if isinstance(kind, pa.BaseExtensionType):
        return _read(kind.storage_type)
    if pat.is_dictionary(kind):
        return _read(kind.value_type)
    if pat.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pat.is_decimal(kind) and kind.precision <= 38:
        return pa.decimal128(kind.precision, kind.scale)
    if pat.is_map(kind):
        return pa.map_(_read(kind.key_type), _read(kind.item_type))
    if pat.is_struct(kind):
        return pa.struct([(inner.name, _read(inner.type)) for inner in kind])
    if _inner(kind):
        return pa.list_(_read(kind.value_type))
    if pat.is_large_string(kind) or str(kind) == "string_view":
        return pa.string()
    return pa.binary() if "binary" in str(kind) else kind
