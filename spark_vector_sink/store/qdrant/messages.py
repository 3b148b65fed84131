"""Points → the official messages of `qdrant_client.grpc`, filled column by column.

A setter is chosen once for each column from its Arrow type, and a vector goes in as the bytes that it is: four times as
fast as building `PointStruct` objects, and the serialised request can be sent again as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pat
from qdrant_client import grpc as messages

from spark_vector_sink import plain
from spark_vector_sink.plain import SparseVectors
from spark_vector_sink.store.store import PointBatch

Payload = Any
"""The payload map of one point: name → Value"""

Setter = Callable[[Sequence[Payload], str, list[Any]], None]
"""Sets a column, by its name, on the payloads of all points"""

ORDERINGS = {"weak": messages.WriteOrderingType.Weak, "medium": messages.WriteOrderingType.Medium, "strong": messages.WriteOrderingType.Strong}


def upsert(collection: str, points: PointBatch, ordering: str) -> bytes:
    """A serialised `UpsertPoints` that waits until it is applied."""
    request = messages.UpsertPoints(collection_name=collection, wait=True)
    if ordering != "weak":
        request.ordering.type = ORDERINGS[ordering]
    made = [request.points.add() for _ in points.ids]
    for point, identifier in zip(made, points.ids, strict=True):
        if isinstance(identifier, int):
            point.id.num = identifier
        else:
            point.id.uuid = identifier
    for name, rows in points.vectors.items():
        # a set of one unnamed vector is written as such; in a set with names the unnamed one has the name ""
        vectors = [point.vectors.vectors.vectors[name] if name or len(points.vectors) > 1 else point.vectors.vector for point in made]
        if isinstance(rows, SparseVectors):
            _set_sparse(vectors, rows)
        else:
            _set_dense(vectors, rows)
    payloads = [point.payload for point in made]
    for field, column in zip(points.payload.schema, points.payload.columns, strict=True):
        _setter(field)(payloads, field.name, plain.values(column, field))
    serialised: bytes = request.SerializeToString()
    return serialised


def _set_dense(vectors: Sequence[Any], matrix: npt.NDArray[np.float32]) -> None:
    """Each row as the packed field `DenseVector.data` (number 1): tag, length, little-endian floats."""
    rows = np.ascontiguousarray(matrix, dtype="<f4")
    width = rows.shape[1] * 4
    prefix = b"\x0a" + _varint(width)
    data = rows.tobytes()
    for row, vector in enumerate(vectors):
        vector.dense.MergeFromString(prefix + data[row * width : (row + 1) * width])


def _set_sparse(vectors: Sequence[Any], rows: SparseVectors) -> None:
    """Each row as the packed fields `SparseVector.values` (number 1) and `indices` (2).

    A row without entries is sent as such: a vector that is left out of an upsert keeps, in a segment that the server has optimised, what it was before.
    """
    values = np.ascontiguousarray(rows.values, dtype="<f4").tobytes()
    indices, ends = _varints(rows.indices)
    at, places = rows.offsets.tolist(), ends[rows.offsets].tolist()
    for row, vector in enumerate(vectors):
        mine = values[4 * at[row] : 4 * at[row + 1]]
        places_of_mine = indices[places[row] : places[row + 1]]
        packed = b"\x0a" + _varint(len(mine)) + mine + b"\x12" + _varint(len(places_of_mine)) + places_of_mine if mine else b""
        vector.sparse.SetInParent()
        vector.sparse.MergeFromString(packed)


def _varints(numbers: npt.NDArray[np.uint32]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """All numbers as varints, one after the other, and where each of them begins; the last place is the end."""
    numbers = np.asarray(numbers, dtype=np.uint32)
    most = max(1, -(-int(numbers.max(initial=0)).bit_length() // 7))
    lengths = np.ones(len(numbers), np.uint8)
    for width in range(1, most):
        lengths += numbers >= 1 << 7 * width
    groups = np.empty((len(numbers), most), np.uint8)
    for n in range(most):
        groups[:, n] = (numbers >> np.uint32(7 * n)) & np.uint32(0x7F) | (lengths > n + 1).astype(np.uint8) << 7
    begins = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(lengths, out=begins[1:])
    return groups[np.arange(most) < lengths[:, None]].tobytes(), begins


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _setter(field: pa.Field) -> Setter:
    """How a column of this type is set on all points."""
    kind = field.type
    if plain.is_json(field):
        return _set_any
    if pat.is_string(kind) or pat.is_large_string(kind):
        return _scalars("string_value")
    if pat.is_boolean(kind):
        return _scalars("bool_value")
    if pat.is_integer(kind):
        return _scalars("integer_value")
    if pat.is_floating(kind):
        return _scalars("double_value")
    if pat.is_list(kind) and (pat.is_string(kind.value_type) or pat.is_large_string(kind.value_type)) and not plain.is_json(kind.value_field):
        return _set_string_lists
    return _set_any


def _scalars(attribute: str) -> Setter:
    """The setter of a column whose values all go into this field of `Value`."""

    def set_all(payloads: Sequence[Payload], name: str, values: list[Any]) -> None:
        for payload, value in zip(payloads, values, strict=True):
            if value is None:
                payload[name].null_value = 0
            else:
                setattr(payload[name], attribute, value)

    return set_all


def _set_string_lists(payloads: Sequence[Payload], name: str, values: list[Any]) -> None:
    for payload, value in zip(payloads, values, strict=True):
        if value is None:
            payload[name].null_value = 0
            continue
        target = payload[name].list_value
        target.SetInParent()
        add = target.values.add
        for item in value:
            if item is None:
                add().null_value = 0
            else:
                add().string_value = item


def _set_any(payloads: Sequence[Payload], name: str, values: list[Any]) -> None:
    for payload, value in zip(payloads, values, strict=True):
        set_value(payload[name], value)


def set_value(target: Any, value: Any) -> None:
    """Any plain value into a message `Value`."""
    if value is None:
        target.null_value = 0
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        target.integer_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, list):
        target.list_value.SetInParent()
        for item in value:
            set_value(target.list_value.values.add(), item)
    else:
        target.struct_value.SetInParent()
        for key, item in value.items():
            set_value(target.struct_value.fields[key], item)
