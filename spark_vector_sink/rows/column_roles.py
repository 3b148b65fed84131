"""Define the parts that columns play in a document, and check that a column has a type that fits its part."""

from __future__ import annotations

from enum import Enum

import pyarrow as pa
import pyarrow.types as pat

from spark_vector_sink.payload_types import is_json, is_list, is_string
from spark_vector_sink.rows import row_version

SPARK_ML = {"type", "size", "indices", "values"}
"""Field names of Spark ML's vectors."""


class Part(Enum):
    """The part (role) that a column plays in a document; the value of a member names the part in messages."""

    TEXT = "text"
    KEY = "key"
    VERSION = "version"
    OPERATION = "op"
    SHARD_KEY = "shard key"
    VECTOR = "vector"


def unfit(part: Part, name: str, field: pa.Field) -> str | None:
    """Return the reason why a column cannot play a part, as a whole sentence with a hint; None where it can. A variant
    can play any part, because its type is known only from its values."""
    kind = field.type
    if is_json(field):
        return None
    if part is Part.TEXT:
        return (
            None
            if is_string(kind)
            else f"text column '{name}' must hold strings, it holds {kind}; {_way_out(part, name, kind)}"
        )
    if part is Part.KEY:
        return _unfit_key(name, kind)
    if part is Part.VERSION:
        reason = row_version.unusable_type(kind)
        return f"version column '{name}' {reason}{_field_of(part, name, kind)}" if reason else None
    if part is Part.OPERATION:
        return (
            None
            if is_string(kind)
            else f"op column '{name}' must hold the words of a change feed, it holds "
            f"{kind}{_field_of(part, name, kind)}"
        )
    if part is Part.SHARD_KEY:
        fits = is_string(kind) or pat.is_integer(kind)
        return (
            None
            if fits
            else f"shard key column '{name}' must hold strings or integers, it holds {kind}; "
            f"{_way_out(part, name, kind)}"
        )
    reason = _no_vectors(name, kind)
    return f"vector column '{name}' {reason}{'' if ';' in reason else _field_of(part, name, kind)}" if reason else None


def _unfit_key(name: str, kind: pa.DataType) -> str | None:
    if pat.is_floating(kind):
        return (
            f"key column '{name}' holds {kind}, and floating-point numbers are no keys; cast it to string or "
            "to an integer"
        )
    if (
        is_string(kind)
        or pat.is_integer(kind)
        or pat.is_boolean(kind)
        or pat.is_decimal(kind)
        or pat.is_date(kind)
        or pat.is_timestamp(kind)
    ):
        return None
    return (
        f"key column '{name}' holds {kind}; a key is made of strings, integers, decimals, booleans, dates or "
        f"timestamps; {_way_out(Part.KEY, name, kind)}"
    )


def _way_out(part: Part, name: str, kind: pa.DataType) -> str:
    """Return a hint how to get a usable value out of a column of this type: a field, an item, a cast."""
    if field := _fitting_field(part, name, kind):
        return f"name the field, as in '{field}'"
    if is_list(kind):
        return f"take an item of it, as in element_at({name}, 1)" + (
            f", or join them: concat_ws(' ', {name})" if part is Part.TEXT else ""
        )
    if pat.is_map(kind):
        return f"take a value of it, as in {name}['…']"
    if pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_fixed_size_binary(kind):
        return f"decode({name}, 'UTF-8') makes strings of bytes that are text, hex({name}) of others"
    return "cast it to string"


def _field_of(part: Part, name: str, kind: pa.DataType) -> str:
    """Return the hint that names a fitting field, or "" where no field fits, for parts that a cast does not help."""
    field = _fitting_field(part, name, kind)
    return f"; name the field, as in '{field}'" if field else ""


def _fitting_field(part: Part, name: str, kind: pa.DataType) -> str | None:
    """Return the path of the first field of a struct that could play the part; None where there is none."""
    fields = [kind.field(i) for i in range(kind.num_fields)] if pat.is_struct(kind) else []
    return next((f"{name}.{field.name}" for field in fields if unfit(part, field.name, field) is None), None)


def _no_vectors(name: str, kind: pa.DataType) -> str | None:
    """Return the reason why a column of this type holds no ready-made vectors, with a hint where a conversion exists;
    None where it holds vectors."""
    if is_list(kind) and _is_number(kind.value_type):
        return None
    way_out = _way_to_vectors(name, kind)
    return f"must hold arrays of numbers, it holds {kind}{f'; {way_out}' if way_out else ''}"


def _way_to_vectors(name: str, kind: pa.DataType) -> str:
    if pat.is_struct(kind) and {field.name for field in kind} == SPARK_ML:
        return "turn it into an array with pyspark.ml.functions.vector_to_array"
    if _is_sparse(kind):
        return "ready-made sparse vectors are not taken, option 'sparse_model' makes them from a text"
    if is_string(kind):
        return f"turn JSON text into an array with from_json({name}, 'array<float>')"
    if pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_fixed_size_binary(kind):
        return "unpack the bytes into an array<float>, as numpy.frombuffer does in a pandas_udf"
    if is_list(kind) and (pat.is_decimal(kind.value_type) or is_string(kind.value_type)):
        return "cast it to array<float>"
    if is_list(kind) and is_list(kind.value_type):
        return (
            "a row has one vector: take one of them with element_at, or explode them into rows with keys of their own"
        )
    return ""


def _is_sparse(kind: pa.DataType) -> bool:
    """Return whether a type looks like a sparse vector: a struct of two lists, a list of pairs, or a map, of indices
    and weights."""
    if pat.is_map(kind):
        return pat.is_integer(kind.key_type) and _is_number(kind.item_type)
    if is_list(kind) and pat.is_struct(kind.value_type):
        return [_is_number(field.type) for field in kind.value_type] == [True, True]
    return pat.is_struct(kind) and [is_list(field.type) and _is_number(field.type.value_type) for field in kind] == [
        True,
        True,
    ]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pat.is_floating(kind) or pat.is_integer(kind))
