"""Convert points to the official messages of `qdrant_client.grpc`, column by column.

A setter is chosen once for each column from its Arrow type. The bytes of the vectors are inserted between the
serialised rest of the points as they are in memory, because data that goes through a message is copied four times. The
serialised request can be sent again as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pat
from qdrant_client import grpc as messages

from spark_vector_sink import payload_types
from spark_vector_sink.payload_types import SparseVectors
from spark_vector_sink.store.write_batch import PointBatch, ShardKey

Payload = Any
"""Payload map of one point: name → Value"""

R = TypeVar("R")
"""Request with a write ordering"""

Buffer = bytes | memoryview
"""Bytes that are joined in the end."""

Setter = Callable[[Sequence[Payload], str, list[Any]], None]
"""Function that sets a column, by its name, on the payloads of all points"""

ORDERINGS = {
    "weak": messages.WriteOrderingType.Weak,
    "medium": messages.WriteOrderingType.Medium,
    "strong": messages.WriteOrderingType.Strong,
}


def ordered(request: R, ordering: str) -> R:
    """Set the write ordering of a request and return the request; `weak` is the server's default."""
    if ordering != "weak":
        request.ordering.type = ORDERINGS[ordering]  # type: ignore[attr-defined]
    return request


def sharded(request: R, shard_keys: Sequence[ShardKey] | None) -> R:
    """Set the shard key of a request and return the request; all points of a request have the same shard key."""
    if shard_keys:
        key = shard_keys[0]
        request.shard_key_selector.shard_keys.append(  # type: ignore[attr-defined]
            messages.ShardKey(keyword=key) if isinstance(key, str) else messages.ShardKey(number=key)
        )
    return request


def upsert(collection: str, points: PointBatch, ordering: str, update_filter: messages.Filter | None = None) -> bytes:
    """Serialise an `UpsertPoints` that waits until it is applied. update_filter: selects the existing points that may
    be replaced."""
    request = ordered(
        messages.UpsertPoints(collection_name=collection, wait=True, update_filter=update_filter), ordering
    )
    sharded(request, points.shard_keys)
    made = [messages.PointStruct() for _ in points.ids]
    for point, identifier in zip(made, points.ids, strict=True):
        if isinstance(identifier, int):
            point.id.num = identifier
        else:
            point.id.uuid = identifier
    fill([point.payload for point in made], points.payload)
    pieces: list[Buffer] = [request.SerializeToString()]
    for point, vectors in zip(made, _vectors(points.vectors, len(made)), strict=True):
        rest: bytes = point.SerializeToString()
        pieces += (_begin(POINT, len(rest) + sum(map(len, vectors))), rest, *vectors)
    return b"".join(pieces)


def fill(payloads: Sequence[Payload], rows: pa.RecordBatch) -> None:
    """Set the columns on the payloads, one row for each payload."""
    for field, column in zip(rows.schema, rows.columns, strict=True):
        set_all = _set_objects if payload_types.is_spread(field) else _setter(field)
        set_all(payloads, field.name, payload_types.values(column, field))


def _vectors(named: Mapping[str, npt.NDArray[np.float32] | SparseVectors], points: int) -> Iterator[Sequence[Buffer]]:
    """Yield for each point the field `PointStruct.vectors`, in pieces, with the numbers as they are in memory.

    A set of one unnamed vector is written as such; in a set with names the unnamed vector has the name "". An empty set
    is written too: servers need one.
    """
    if not named:
        yield from [(_begin(NAMED, 0),)] * points
        return
    columns = [_sparse(rows) if isinstance(rows, SparseVectors) else _dense(rows) for rows in named.values()]
    if set(named) == {""}:
        for vector, data in columns[0]:
            size = len(vector) + len(data)
            yield _begin(UNNAMED, size), vector, data
        return
    keys = [_begin(KEY, len(name.encode())) + name.encode() for name in named]
    for vectors in zip(*columns, strict=True):
        pieces: list[Buffer] = []
        for key, (vector, data) in zip(keys, vectors, strict=True):
            value = _begin(VALUE, len(vector) + len(data))
            pieces += (_begin(ENTRY, len(key) + len(value) + len(vector) + len(data)), key, value, vector, data)
        yield _begin(NAMED, sum(map(len, pieces))), *pieces


def _dense(matrix: npt.NDArray[np.float32]) -> Iterator[tuple[bytes, Buffer]]:
    """Yield for each row the message `Vector`: its beginning, and the little-endian floats."""
    rows = np.ascontiguousarray(matrix, dtype="<f4")
    width = rows.shape[1] * 4
    data, begin = rows.reshape(-1).view(np.uint8).data, _begin(DENSE, width)
    for start in range(0, len(rows) * width, width):
        yield begin, data[start : start + width]


def _sparse(rows: SparseVectors) -> Iterator[tuple[bytes, Buffer]]:
    """Yield for each row the message `Vector`: its beginning, and the packed values and indices.

    A row without entries is sent as such: a vector that is left out of an upsert keeps its old value in a segment that
    the server has optimised.
    """
    values = np.ascontiguousarray(rows.values, dtype="<f4").tobytes()
    indices, ends = _varints(rows.indices)
    at, places = rows.offsets.tolist(), ends[rows.offsets].tolist()
    for row in range(len(rows)):
        mine = values[4 * at[row] : 4 * at[row + 1]]
        places_of_mine = indices[places[row] : places[row + 1]]
        packed = (
            _begin(VALUES, len(mine)) + mine + _begin(INDICES, len(places_of_mine)) + places_of_mine if mine else b""
        )
        yield _begin(SPARSE, len(packed)), packed


@lru_cache(maxsize=4096)
def _begin(tags: tuple[bytes, ...], size: int) -> bytes:
    """Return the bytes before `size` bytes of data: the tag and the length of the field that holds the data, and of
    each message around it. tags: the outermost first."""
    begin = b""
    for tag in reversed(tags):
        begin = tag + _varint(len(begin) + size) + begin
    return begin


def _varints(numbers: npt.NDArray[np.uint32]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Encode all numbers as varints, one after the other; also return the place where each of them begins, and the end
    as the last place."""
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


def _tags(*path: tuple[Any, str]) -> tuple[bytes, ...]:
    """Return the tags of fields of variable length, each given by its message and its name."""
    return tuple(_varint(descriptor.fields_by_name[name].number << 3 | 2) for descriptor, name in path)


_ENTRY = messages.NamedVectors.DESCRIPTOR.fields_by_name["vectors"].message_type

POINT = _tags((messages.UpsertPoints.DESCRIPTOR, "points"))
UNNAMED = _tags((messages.PointStruct.DESCRIPTOR, "vectors"), (messages.Vectors.DESCRIPTOR, "vector"))
NAMED = _tags((messages.PointStruct.DESCRIPTOR, "vectors"), (messages.Vectors.DESCRIPTOR, "vectors"))
ENTRY = _tags((messages.NamedVectors.DESCRIPTOR, "vectors"))
KEY, VALUE = _tags((_ENTRY, "key")), _tags((_ENTRY, "value"))
DENSE = _tags((messages.Vector.DESCRIPTOR, "dense"), (messages.DenseVector.DESCRIPTOR, "data"))
SPARSE = _tags((messages.Vector.DESCRIPTOR, "sparse"))
VALUES, INDICES = (
    _tags((messages.SparseVector.DESCRIPTOR, "values")),
    _tags((messages.SparseVector.DESCRIPTOR, "indices")),
)


def _setter(field: pa.Field) -> Setter:
    """Return the setter for a column of this type."""
    kind = field.type
    if payload_types.is_json(field):
        return _set_any
    if pat.is_string(kind) or pat.is_large_string(kind):
        return _scalars("string_value")
    if pat.is_boolean(kind):
        return _scalars("bool_value")
    if pat.is_integer(kind):
        return _scalars("integer_value")
    if pat.is_floating(kind):
        return _scalars("double_value")
    if (
        pat.is_list(kind)
        and (pat.is_string(kind.value_type) or pat.is_large_string(kind.value_type))
        and not payload_types.is_json(kind.value_field)
    ):
        return _set_string_lists
    return _set_any


def _scalars(attribute: str) -> Setter:
    """Return the setter of a column whose values all go into this field of `Value`."""

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


def _set_objects(payloads: Sequence[Payload], name: str, values: list[Any]) -> None:
    """Set the own keys of each object directly on the payload."""
    for payload, value in zip(payloads, values, strict=True):
        for own, item in value.items():
            set_value(payload[own], item)


def set_value(target: Any, value: Any) -> None:
    """Convert any plain value into a message `Value`."""
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
