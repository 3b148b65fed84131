"""Convert points to their staged form, from a PointBatch to an Arrow record batch, and from there to Qdrant Edge's
`Point`.

Columns: `id_number` or `id_uuid`; `vector` and, as two lists of one length, `sparse_indices` and `sparse_values`, for
the vectors that the store has and the batch writes (for a vector that was added later with its name: `vector:name`);
`version`, where points have versions; and `payload`, an object with the user's columns and `_sink`, so that no name
collides.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink import payload_types
from spark_vector_sink.errors import PermanentStoreError, shorten
from spark_vector_sink.payload_types import SparseVectors
from spark_vector_sink.store.edge.layout import StoreFacts
from spark_vector_sink.store.write_batch import How, PointBatch, PointId

_WITH_VECTORS = (How.REPLACE, How.MERGE)
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def to_record_batch(points: PointBatch, facts: StoreFacts) -> pa.RecordBatch:
    """Convert a batch to its staged form; raise PermanentStoreError for an id or a vector that the index would refuse
    later."""
    columns = {**id_columns(points.ids), **_vector_columns(points, facts)}
    if points.versions is not None:
        columns["version"] = pa.array(points.versions, pa.int64())
    if points.payload.num_columns:
        columns["payload"] = pa.StructArray.from_arrays(points.payload.columns, fields=list(points.payload.schema))
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def id_columns(ids: Sequence[PointId]) -> dict[str, pa.Array]:
    """Build the columns `id_number` and `id_uuid`; raise PermanentStoreError for an invalid id."""
    for id in ids:
        if not (re.fullmatch(UUID, id) if isinstance(id, str) else 0 <= id < 2**64):
            raise PermanentStoreError(
                f"{shorten(str(id))!r} is no point id: an unsigned 64-bit integer or a lower-case UUID is"
            )
    numbers = pa.array([None if isinstance(id, str) else id for id in ids], pa.uint64())
    uuids = pa.array([id if isinstance(id, str) else None for id in ids], pa.string())
    return {"id_number": numbers, "id_uuid": uuids}


def point_ids(batch: pa.RecordBatch) -> list[PointId]:
    """Return the ids of a staged record batch."""
    pairs = zip(batch.column("id_number").to_pylist(), batch.column("id_uuid").to_pylist(), strict=True)
    return [uuid if number is None else number for number, uuid in pairs]


def to_edge_points(edge: Any, batch: pa.RecordBatch, facts: StoreFacts) -> list[Any]:
    """Convert one staged record batch to Qdrant Edge's points; without vectors where it has none."""
    vectors = _vectors(edge, batch, facts)
    return [
        edge.Point(id, vector, payload)
        for id, vector, payload in zip(point_ids(batch), vectors, payloads(batch), strict=True)
    ]


def to_edge_vectors(edge: Any, batch: pa.RecordBatch, facts: StoreFacts) -> list[Any]:
    """Convert one staged record batch to Qdrant Edge's `PointVectors`."""
    return [
        edge.PointVectors(id, vector) for id, vector in zip(point_ids(batch), _vectors(edge, batch, facts), strict=True)
    ]


def payloads(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the payload of each point, as plain Python values."""
    if "payload" not in batch.schema.names:
        return [{} for _ in range(batch.num_rows)]
    field = batch.schema.field("payload")
    rows = payload_types.values(batch.column("payload"), field)
    for name in (child.name for child in field.type if payload_types.is_spread(child)):
        for row in rows:
            row.update(row.pop(name))
    return rows


def column_name(kind: str, name: str, facts: StoreFacts) -> str:
    """Return the name of the column of a vector, or of the indices or the values of a sparse vector."""
    return kind if name not in facts.others else f"{kind}:{name}"


def _vectors(edge: Any, batch: pa.RecordBatch, facts: StoreFacts) -> list[Any]:
    vectors: list[Any] = [{} for _ in range(batch.num_rows)]
    there, is_named = set(batch.schema.names), facts.names != {""}
    for name in facts.dense_vectors:
        if (place := column_name("vector", name, facts)) in there:
            column = batch.column(place)
            # as lists, because Qdrant Edge takes twice as long for numpy rows
            rows = column.flatten().to_numpy().reshape(len(column), -1).tolist()
            vectors = [{**named, name: row} for named, row in zip(vectors, rows, strict=True)] if is_named else rows
    for name in facts.sparse_vectors:
        if (place := column_name("sparse_indices", name, facts)) in there:
            # a row without entries has an empty vector, as on a server
            indices, values = (
                _lists(batch.column(place)),
                _lists(batch.column(column_name("sparse_values", name, facts))),
            )
            for named, mine, weights in zip(vectors, indices, values, strict=True):
                named[name] = edge.SparseVector(mine, weights)
    return vectors


def _lists(column: pa.LargeListArray) -> list[list[Any]]:
    """Convert a column of lists of numbers to Python lists, through numpy: fast in every version of Arrow."""
    entries, offsets = column.flatten().to_numpy().tolist(), column.offsets.to_numpy()
    ends = (offsets - offsets[0]).tolist()
    return [entries[start:stop] for start, stop in itertools.pairwise(ends)]


def _vector_columns(points: PointBatch, facts: StoreFacts) -> dict[str, pa.Array]:
    wanted = facts.names if points.how in _WITH_VECTORS else set()
    if (
        points.how is How.MERGE and points.vectors and points.vectors.keys() <= wanted
    ):  # vectors that it does not write stay
        wanted = set(points.vectors)
    if points.vectors.keys() != wanted:
        raise PermanentStoreError(
            f"the embedded store takes the vector {' and '.join(map(repr, sorted(wanted))) or 'none'}, but got "
            f"{', '.join(map(repr, points.vectors)) or 'none'}; "
            "write to another directory"
            + (", or set existing=merge" if points.how is How.REPLACE and facts.others else "")
        )
    columns: dict[str, pa.Array] = {}
    for name in sorted(wanted):
        rows = points.vectors[name]
        if isinstance(rows, SparseVectors) != (name in facts.sparse_vectors):
            raise PermanentStoreError(
                f"the vector {name!r} of the embedded store is of the other kind, dense or sparse; write to "
                "another directory"
            )
        made = (
            _sparse_columns(rows)
            if isinstance(rows, SparseVectors)
            else {"vector": _dense_column(rows, facts.dense_vectors[name][0])}
        )
        columns |= {column_name(kind, name, facts): column for kind, column in made.items()}
    return columns


def _dense_column(matrix: npt.NDArray[np.float32], dimension: int | None) -> pa.Array:
    if matrix.ndim != 2 or matrix.shape[1] != dimension:
        raise PermanentStoreError(
            f"the embedded store takes vectors of {dimension} dimensions, but got {matrix.shape[-1]}; use the model "
            "that made it, or write to another directory"
        )
    flat = pa.array(np.ascontiguousarray(matrix, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, dimension)


def _sparse_columns(rows: SparseVectors) -> dict[str, pa.Array]:
    """Build the two columns of lists, indices and values. Refuses an index that a row has twice, as a server does:
    Qdrant Edge would accept it, and count both."""
    places = np.repeat(np.arange(len(rows)), np.diff(rows.offsets)) << 32 | rows.indices
    if not (places[1:] > places[:-1]).all() and len(np.unique(places)) < len(places):
        raise PermanentStoreError("a sparse vector has one of its indices twice; each index must be in it once")
    offsets = pa.array(rows.offsets, pa.int64())
    entries = {
        "sparse_indices": pa.array(rows.indices, pa.uint32()),
        "sparse_values": pa.array(rows.values, pa.float32()),
    }
    return {name: pa.LargeListArray.from_arrays(offsets, column) for name, column in entries.items()}
