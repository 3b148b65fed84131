"""The staged form of points: a PointBatch as an Arrow record batch, and from there to Qdrant Edge's `Point`.

Four columns: `id_number` or `id_uuid`, `vector`, and `payload`, an object with the user's columns, so that no name collides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink import plain
from spark_vector_sink.errors import PermanentStoreError, shorten
from spark_vector_sink.store.store import PointBatch, PointId

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def to_record_batch(points: PointBatch, vector_name: str, dimension: int) -> pa.RecordBatch:
    """The staged form of a batch; PermanentStoreError for an id or a vector that the index would refuse later."""
    numbers, uuids = _id_columns(points.ids)
    columns = {"id_number": numbers, "id_uuid": uuids, "vector": _vector_column(points.vectors, vector_name, dimension)}
    if points.payload.num_columns:
        columns["payload"] = pa.StructArray.from_arrays(points.payload.columns, fields=list(points.payload.schema))
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def read_batches(path: Path, dimension: int, most: int) -> Iterator[pa.RecordBatch]:
    """The points of a staged file, at most `most` at a time; the file is mapped, not read as a whole."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        vector = file.schema.field("vector").type
        if vector.list_size != dimension:
            raise PermanentStoreError(f"staged file {path} holds vectors of {vector.list_size} dimensions, but the store those of {dimension}")
        for index in range(file.num_record_batches):
            batch = file.get_batch(index)
            for start in range(0, batch.num_rows, most):
                yield batch.slice(start, most)


def to_edge_points(edge: Any, batch: pa.RecordBatch, vector_name: str) -> list[Any]:
    """Qdrant Edge's points of one staged record batch."""
    vectors = batch.column("vector")
    # lists: given numpy rows, Qdrant Edge takes twice as long
    rows = vectors.flatten().to_numpy().reshape(len(vectors), -1).tolist()
    named = [{vector_name: row} for row in rows] if vector_name else rows
    return [edge.Point(id, vector, payload) for id, vector, payload in zip(_ids(batch), named, payloads(batch), strict=True)]


def payloads(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The payload of each point, as plain Python values."""
    if "payload" not in batch.schema.names:
        return [{} for _ in range(batch.num_rows)]
    return plain.values(batch.column("payload"), batch.schema.field("payload"))


def _ids(batch: pa.RecordBatch) -> list[PointId]:
    pairs = zip(batch.column("id_number").to_pylist(), batch.column("id_uuid").to_pylist(), strict=True)
    return [uuid if number is None else number for number, uuid in pairs]


def _id_columns(ids: Sequence[PointId]) -> tuple[pa.Array, pa.Array]:
    for id in ids:
        if not (_UUID.fullmatch(id) if isinstance(id, str) else 0 <= id < 2**64):
            raise PermanentStoreError(f"{shorten(str(id))!r} is no point id: an unsigned 64-bit integer or a lower-case UUID is")
    numbers = pa.array([None if isinstance(id, str) else id for id in ids], pa.uint64())
    uuids = pa.array([id if isinstance(id, str) else None for id in ids], pa.string())
    return numbers, uuids


def _vector_column(vectors: Mapping[str, npt.NDArray[np.float32]], name: str, dimension: int) -> pa.Array:
    if set(vectors) != {name}:
        raise PermanentStoreError(
            f"the embedded store takes the vector {name!r}, but got {', '.join(map(repr, vectors)) or 'none'}; write to another directory"
        )
    matrix = vectors[name]
    if matrix.ndim != 2 or matrix.shape[1] != dimension:
        raise PermanentStoreError(
            f"the embedded store takes vectors of {dimension} dimensions, but got {matrix.shape[-1]}; use the model that made it, or write to another directory"
        )
    flat = pa.array(np.ascontiguousarray(matrix, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, dimension)
