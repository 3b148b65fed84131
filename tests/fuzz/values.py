"""Values of any Arrow type as plain Python, arrays made of them byte by byte, and values read out of arrays again.

A value, called raw here, is None for a null, else:

bool → bool · integer, date, time, timestamp, duration → int, in the type's own unit · float → float · decimal → int,
without the point · string, binary → bytes · interval → (months, days, nanoseconds) · list → list · struct → tuple · map
→ list of (key, value) · dictionary, extension → raw value of what it stands for

so that nothing here depends on how Arrow shows a value, and values that are none (bytes that are no UTF-8, times after
midnight) can be made.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

Raw: TypeAlias = Any


def build(kind: pa.DataType, raws: Sequence[Raw], *, hidden: bool = False) -> pa.Array:
    """The array of these values. hidden: under a null lies garbage, as Arrow allows."""
    if pat.is_null(kind):
        return pa.nulls(len(raws))
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, build(kind.storage_type, raws, hidden=hidden))
    if is_exotic(kind):
        return pa.nulls(len(raws), kind)
    if pat.is_dictionary(kind):
        return _dictionary(kind, raws, hidden)
    if pat.is_string_view(kind) or pat.is_binary_view(kind):
        plain = pa.string() if pat.is_string_view(kind) else pa.binary()
        return build(plain, raws).cast(kind)
    if is_list_view(kind):
        made = build(pa.large_list(kind.value_field), raws, hidden=hidden)
        places, sizes = made.offsets.to_numpy()[:-1], [0 if raw is None else len(raw) for raw in raws]
        buffers = [pa.py_buffer(np.array(numbers, f"<i{_offset_width(kind)}").tobytes()) for numbers in (places, sizes)]
        return pa.Array.from_buffers(kind, len(raws), [_validity(raws), *buffers], children=[made.values])
    filled = [_under_null(kind, hidden) if raw is None else raw for raw in raws]
    validity = _validity(raws)
    if pat.is_boolean(kind):
        return _of(kind, raws, [validity, pa.py_buffer(np.packbits(filled or [False], bitorder="little").tobytes())])
    if is_bytes(kind) and not pat.is_fixed_size_binary(kind):
        offsets = np.cumsum([0, *map(len, filled)]).astype(f"<i{_offset_width(kind)}")
        return _of(kind, raws, [validity, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(filled))])
    if pat.is_map(kind):
        entries = [entry for raw in filled for entry in raw]
        keys, items = (
            build(kind.key_type, [key for key, _ in entries]),
            build(kind.item_type, [item for _, item in entries], hidden=hidden),
        )
        pairs = pa.StructArray.from_arrays([keys, items], fields=[kind.key_field, kind.item_field])
        return pa.Array.from_buffers(kind, len(raws), [validity, _offsets(filled, 4)], children=[pairs])
    if pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind):
        items = build(kind.value_type, [item for raw in filled for item in raw], hidden=hidden)
        places = [] if pat.is_fixed_size_list(kind) else [_offsets(filled, _offset_width(kind))]
        return pa.Array.from_buffers(kind, len(raws), [validity, *places], children=[items])
    if pat.is_struct(kind):
        children = [
            build(kind.field(i).type, [raw[i] for raw in filled], hidden=hidden) for i in range(kind.num_fields)
        ]
        return pa.Array.from_buffers(kind, len(raws), [validity], children=children)
    return _of(kind, raws, [validity, pa.py_buffer(b"".join(_packed(kind, raw) for raw in filled))])


def raws(array: pa.Array) -> list[Raw]:
    """The values of an array; the inverse of `build`, for every type that a Parquet file gives back."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return raws(array.storage)
    if pat.is_null(kind) or is_exotic(kind):
        return [None] * len(array)
    if pat.is_dictionary(kind):
        words, places = raws(array.dictionary), array.indices.to_pylist()
        return [None if place is None else words[place] for place in places]
    if pat.is_string_view(kind) or pat.is_binary_view(kind):
        return raws(array.cast(pa.large_binary()))
    if is_list_view(kind):
        return [raws(item.values) if item.is_valid else None for item in array]
    there = array.is_valid().to_pylist()
    if pat.is_struct(kind):
        children = [raws(array.field(i)) for i in range(kind.num_fields)]
        return [tuple(child[row] for child in children) if is_there else None for row, is_there in enumerate(there)]
    if pat.is_map(kind):
        keys, items = raws(array.keys), raws(array.items)
        pairs, places = list(zip(keys, items, strict=True)), array.offsets.to_pylist()
        return [pairs[places[row] : places[row + 1]] if is_there else None for row, is_there in enumerate(there)]
    if pat.is_fixed_size_list(kind):
        items, size = raws(array.values), kind.list_size
        return [
            items[(array.offset + row) * size : (array.offset + row + 1) * size] if is_there else None
            for row, is_there in enumerate(there)
        ]
    if pat.is_list(kind) or pat.is_large_list(kind):
        items, places = raws(array.values), array.offsets.to_pylist()
        return [items[places[row] : places[row + 1]] if is_there else None for row, is_there in enumerate(there)]
    if is_bytes(kind):
        # not by way of Python strings: the bytes may be no UTF-8
        return (
            array.view(pa.large_binary() if _offset_width(kind) == 8 else pa.binary()).to_pylist()
            if is_text(kind)
            else array.to_pylist()
        )
    if pat.is_boolean(kind):
        return array.to_pylist()
    if kind == pa.month_day_nano_interval():
        return [None if item is None else (item.months, item.days, item.nanoseconds) for item in array.to_pylist()]
    width = kind.bit_width // 8
    data = array.buffers()[1].to_pybytes() if len(array) else b""
    read = [
        _unpacked(kind, data[(array.offset + row) * width : (array.offset + row + 1) * width])
        for row in range(len(array))
    ]
    return [value if is_there else None for value, is_there in zip(read, there, strict=True)]


def is_text(kind: pa.DataType) -> bool:
    return bool(pat.is_string(kind) or pat.is_large_string(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a raw value is bytes."""
    return bool(is_text(kind) or pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_fixed_size_binary(kind))


def is_list_view(kind: pa.DataType) -> bool:
    return bool(pat.is_list_view(kind) or pat.is_large_list_view(kind))


def is_exotic(kind: pa.DataType) -> bool:
    """Types that only nulls are made of here: no row of them ever gets anywhere."""
    return bool(pat.is_union(kind) or pat.is_run_end_encoded(kind))


def _dictionary(kind: pa.DataType, raws: Sequence[Raw], hidden: bool) -> pa.Array:
    """One word for each distinct value, and one that nobody uses."""
    words: list[Raw] = [_under_null(kind.value_type, hidden)]
    places = []
    for raw in raws:
        key = repr(raw)
        found = next((place for place, word in enumerate(words[1:], 1) if repr(word) == key), None)
        if raw is not None and found is None:
            words.append(raw)
            found = len(words) - 1
        places.append(None if raw is None else found)
    return pa.DictionaryArray.from_arrays(
        pa.array(places, kind.index_type), build(kind.value_type, words, hidden=hidden), ordered=kind.ordered
    )


def _of(kind: pa.DataType, raws: Sequence[Raw], buffers: list[Any]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(raws), buffers)


def _validity(raws: Sequence[Raw]) -> Any:
    there = [raw is not None for raw in raws]
    return None if all(there) else pa.py_buffer(np.packbits(there, bitorder="little").tobytes())


def _offsets(filled: Sequence[Any], width: int) -> Any:
    return pa.py_buffer(np.cumsum([0, *map(len, filled)]).astype(f"<i{width}").tobytes())


def _offset_width(kind: pa.DataType) -> int:
    return (
        8
        if pat.is_large_string(kind)
        or pat.is_large_binary(kind)
        or pat.is_large_list(kind)
        or pat.is_large_list_view(kind)
        else 4
    )


def _under_null(kind: pa.DataType, hidden: bool) -> Raw:
    """What lies where a null is: zeros, or what would not pass if anybody looked."""
    if pat.is_struct(kind):
        return tuple(_under_null(kind.field(i).type, hidden) for i in range(kind.num_fields))
    if pat.is_fixed_size_list(kind):
        return [_under_null(kind.value_type, hidden)] * kind.list_size
    if pat.is_list(kind) or pat.is_large_list(kind):
        return [_under_null(kind.value_type, hidden)] * hidden
    if pat.is_map(kind):
        return [(_under_null(kind.key_type, hidden), _under_null(kind.item_type, hidden))] * hidden
    if pat.is_fixed_size_binary(kind):
        return b"\xff" * kind.byte_width
    if is_bytes(kind):
        return b"\xff" * hidden
    if pat.is_floating(kind):
        return float("nan") if hidden else 0.0
    if kind == pa.month_day_nano_interval():
        return (0, 0, 0)
    if pat.is_null(kind) or is_exotic(kind) or pat.is_dictionary(kind):
        return None
    return int(hidden)


def _packed(kind: pa.DataType, raw: Raw) -> bytes:
    if pat.is_fixed_size_binary(kind):
        return bytes(raw)
    if pat.is_floating(kind):
        return np.array(raw, f"<f{kind.bit_width // 8}").tobytes()
    if kind == pa.month_day_nano_interval():
        return struct.pack("<iiq", *raw)
    return int(raw).to_bytes(kind.bit_width // 8, "little", signed=not pat.is_unsigned_integer(kind))


def _unpacked(kind: pa.DataType, data: bytes) -> Raw:
    if pat.is_floating(kind):
        return float(np.frombuffer(data, f"<f{kind.bit_width // 8}")[0])
    return int.from_bytes(data, "little", signed=not pat.is_unsigned_integer(kind))
