"""Read the points of a collection again: the driver lists pages, and any process reads a page, as ids and payloads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from spark_vector_sink.store.write_batch import PointId, ShardKey

POINTS = pa.schema([("id", pa.string()), ("payload", pa.string()), ("shard_key", pa.string())])
"""Schema of points that are read: the id as text, the payload as JSON, and the shard key as JSON, or null."""


@dataclass(frozen=True)
class Page:
    """Range of points that are neighbours in the order of ids, in which numbers come before UUIDs.

    place: the collection that holds the points, or the file. first: the least id, or the number of the record batch.
    stop: the first id of the next page; None where there is no next page.
    """

    place: str
    first: PointId
    stop: PointId | None = None


def order(point: PointId) -> tuple[bool, PointId]:
    """Return a sort key that orders ids as stores do."""
    return isinstance(point, str), point


def batch(points: Iterable[tuple[PointId, Mapping[str, Any] | None, ShardKey | None]]) -> pa.RecordBatch:
    """Build a record batch of points with their payloads and shard keys, with the schema `POINTS`."""
    there = list(points)
    columns = (
        [str(point) for point, _, _ in there],
        [json.dumps(payload or {}, ensure_ascii=False) for _, payload, _ in there],
        [None if key is None else json.dumps(key, ensure_ascii=False) for _, _, key in there],
    )
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=POINTS)


def shard_keys(rows: pa.RecordBatch) -> list[ShardKey] | None:
    """Return the shard keys of points that were read; None where they have none."""
    column = rows.column("shard_key")
    return None if column.null_count else [json.loads(text) for text in column.to_pylist()]
