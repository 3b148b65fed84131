"""Write a snapshot of the store when a run begins, for its tasks, which cannot open the index: a file with the `_sink`
of every point.

It is an Arrow file of record batches, sorted by `key`: a byte 0 and the number of a point, or a byte 1 and its UUID, 17
bytes in all, the greatest byte first. This is the order in which Qdrant Edge returns its points. A task maps the file
into memory and searches in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.payload_types import RESERVED
from spark_vector_sink.store.collection import FINGERPRINT
from spark_vector_sink.store.edge.index import opened, qdrant_edge
from spark_vector_sink.store.edge.layout import StoreDirectory, publish, read_facts
from spark_vector_sink.store.write_batch import PointId, Stored, plain_id

_POINTS = 10_000
"""points of one record batch: what the driver holds in memory at a time"""

_KEY_BYTES = 17
_SCHEMA = pa.schema(
    [
        ("key", pa.binary(_KEY_BYTES)),
        ("fingerprint", pa.string()),
        ("version", pa.int64()),
        ("chunks", pa.int64()),
        ("deleted", pa.bool_()),
    ]
)

Keys = npt.NDArray[np.bytes_]


def sink_fields(payload: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the object `_sink` of a payload; empty where there is none from this sink."""
    fields = (payload or {}).get(RESERVED)
    return fields if isinstance(fields, dict) else {}


def stored(fields: Mapping[str, Any], fingerprint: str = FINGERPRINT) -> Stored:
    """Convert the fields of `_sink` to a Stored. fingerprint: the name of the field with the fingerprint."""
    return Stored(
        fields.get(fingerprint), fields.get("version"), fields.get("chunks") or 1, fields.get("deleted") is not None
    )


def export_for(directory: StoreDirectory, physical: str, run: str, deadline: float, fingerprint: str) -> None:
    """Write the snapshot for the tasks of the run. fingerprint: see `stored`."""
    path = directory.state_file(run)
    if read_facts(directory, physical).points == 0:
        export(qdrant_edge(), None, path, fingerprint)
    else:
        with opened(directory.shard(physical), deadline) as shard:
            export(qdrant_edge(), shard, path, fingerprint)


def export(edge: Any, shard: Any | None, path: Path, fingerprint: str = FINGERPRINT) -> None:
    """Write the file; it is empty where the store has no points yet. shard: an open index, or None. fingerprint: see
    `stored`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        with pa.ipc.new_file(file, _SCHEMA) as writer:
            offset, more = None, shard is not None
            while more and shard is not None:
                wanted = edge.ScrollRequest(offset=offset, limit=_POINTS, with_payload=[RESERVED], with_vector=False)
                records, offset = shard.scroll(wanted)
                writer.write_batch(_batch(records, fingerprint))
                more = offset is not None
        file.flush()
        os.fsync(file.fileno())
    publish(temporary, path)


class State:
    """Snapshot file, mapped into memory. May be used by any thread."""

    def __init__(self, path: Path) -> None:
        self._source = pa.memory_map(str(path))
        self._batches = [batch for batch in _batches(pa.ipc.open_file(self._source)) if batch.num_rows]
        self._keys = [_keys_of(batch) for batch in self._batches]
        self._first = np.array([keys[0] for keys in self._keys], f"S{_KEY_BYTES}")

    def of(self, ids: Sequence[PointId]) -> dict[PointId, Stored]:
        """Return the stored state of these points; points that do not exist are left out."""
        if not self._batches or not ids:
            return {}
        asked = np.array([_key(id) for id in ids], f"S{_KEY_BYTES}")
        places = np.searchsorted(self._first, asked, side="right") - 1
        found: dict[PointId, Stored] = {}
        for number in np.unique(places[places >= 0]).tolist():
            found |= self._of_batch(number, ids, asked, np.flatnonzero(places == number))
        return found

    def _of_batch(
        self, number: int, ids: Sequence[PointId], asked: Keys, which: npt.NDArray[np.intp]
    ) -> dict[PointId, Stored]:
        keys, batch = self._keys[number], self._batches[number]
        rows = np.minimum(np.searchsorted(keys, asked[which]), len(keys) - 1)
        there = keys[rows] == asked[which]
        taken = [
            batch.column(name).take(pa.array(rows[there])).to_pylist()
            for name in ("fingerprint", "version", "chunks", "deleted")
        ]
        return {ids[place]: Stored(*fields) for place, *fields in zip(which[there].tolist(), *taken, strict=True)}


def _batches(file: Any) -> list[pa.RecordBatch]:
    return [file.get_batch(number) for number in range(file.num_record_batches)]


def _keys_of(batch: pa.RecordBatch) -> Keys:
    column = batch.column("key")
    return np.frombuffer(column.buffers()[1], f"S{_KEY_BYTES}", count=len(column), offset=column.offset * _KEY_BYTES)


def _key(id: PointId) -> bytes:
    return b"\1" + bytes.fromhex(id.replace("-", "")) if isinstance(id, str) else b"\0" + id.to_bytes(16, "big")


def _batch(records: Sequence[Any], fingerprint: str) -> pa.RecordBatch:
    rows = [stored(sink_fields(record.payload), fingerprint) for record in records]
    columns = [
        [_key(plain_id(record.id)) for record in records],
        [row.fingerprint for row in rows],
        [row.version for row in rows],
        [row.chunks for row in rows],
        [row.deleted for row in rows],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(column, kind.type) for column, kind in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )
