"""The plain types: what payload columns are made of between the rows and a store, and sparse vectors between encoder and store.

They are Arrow's null, bool, int64, float64, string (or large_string), list, struct, and map with string keys; a string field
that carries `JSON_MARK` holds JSON text, to be stored as the value that it stands for. List, struct and map fields nest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pat

RESERVED = "_sink"
"""The payload object that holds everything of ours: `document, chunk, chunks, span, fingerprint, version, source, run, deleted`."""

JSON_MARK = {b"vectorsink": b"json"}
"""Metadata of a string field whose text is JSON."""

SPREAD_MARK = {b"vectorsink": b"spread"}
"""Metadata of a string field whose text is a JSON object with the names beside it: `{"a": 1}` is as good as a column `a`, in rows that have it."""


@dataclass(frozen=True, eq=False)
class SparseVectors:
    """n sparse vectors, row after row: those entries that are not zero.

    offsets: int64, length n + 1, from 0; row i has the entries offsets[i] … offsets[i + 1] - 1.
    indices, values: uint32 and float32, one for each entry; within a row each index at most once, in any order.
    """

    offsets: npt.NDArray[np.int64]
    indices: npt.NDArray[np.uint32]
    values: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if len(self.offsets) == 0 or self.offsets[0] != 0 or (np.diff(self.offsets) < 0).any():
            raise ValueError("the offsets of sparse vectors must begin with 0 and never fall")
        if not self.offsets[-1] == len(self.indices) == len(self.values):
            raise ValueError(
                f"sparse vectors of {self.offsets[-1]} entries need as many indices and values, got {len(self.indices)} and {len(self.values)}"
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slice(self, start: int, stop: int) -> SparseVectors:
        """The rows start … stop-1; no index and no value is copied."""
        offsets = self.offsets[start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        return SparseVectors(offsets - first, self.indices[first:last], self.values[first:last])

    def take(self, rows: npt.NDArray[np.int64]) -> SparseVectors:
        """Some of the rows, in this order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        entries = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return SparseVectors(offsets, self.indices[entries], self.values[entries])

    @property
    def nbytes(self) -> int:
        return int(self.offsets.nbytes + self.indices.nbytes + self.values.nbytes)


def is_json(field: pa.Field) -> bool:
    """Whether the field's strings are JSON text."""
    return bool(field.metadata and field.metadata.get(b"vectorsink") in (b"json", b"spread"))


def is_spread(field: pa.Field) -> bool:
    """Whether the field's strings are JSON objects that stand for columns of their own."""
    return bool(field.metadata and field.metadata.get(b"vectorsink") == b"spread")


def values(array: pa.Array, field: pa.Field) -> list[Any]:
    """A plain column as Python values: None, bool, int, float, str, list and dict."""
    listed: list[Any] = array.to_pylist()
    return [_value(item, field) for item in listed] if _has_objects(field) else listed


def _value(item: Any, field: pa.Field) -> Any:
    if item is None:
        return None
    if is_json(field):
        return json.loads(item)
    kind = field.type
    if pat.is_map(kind):
        return {key: _value(inner, kind.item_field) for key, inner in item}
    if pat.is_list(kind) or pat.is_large_list(kind):
        return [_value(inner, kind.value_field) for inner in item]
    if pat.is_struct(kind):
        return {child.name: _value(item[child.name], child) for child in kind}
    return item


def _has_objects(field: pa.Field) -> bool:
    """Whether the column holds maps or JSON text, at any depth; the others are Python values as Arrow gives them."""
    kind = field.type
    if is_json(field) or pat.is_map(kind):
        return True
    return any(_has_objects(kind.field(i)) for i in range(kind.num_fields)) if pat.is_nested(kind) else False
