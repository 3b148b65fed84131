"""Define the values that are passed to a store and returned by it: points, removals, the stored state of points, and
the outcome of requests.

Vectors, ids and payload are already checked: a store need not look for nulls, for wrong lengths or for numbers that are
not finite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.payload_types import RESERVED, SparseVectors

PointId = int | str
"""Point id: an unsigned 64-bit integer, or a canonical lower-case UUID string; nothing else is a point id."""


ShardKey = int | str
"""Shard key: in a collection with custom sharding, the name of the shards that a point is in: a text, or an unsigned
64-bit integer."""


def plain_id(found: Any) -> PointId:
    """Convert an id that a store returned to a PointId: some stores return UUIDs as objects."""
    return found if isinstance(found, int) else str(found)


def id_of_text(text: str) -> PointId:
    """Convert the text of an id back to a PointId."""
    return int(text) if text.isdigit() else text


LARGEST_VERSION = 2**53
"""Greatest absolute value of a version: a server compares versions as doubles. Microseconds since 1970 reach it in the
year 2255."""


class How(Enum):
    """Effect of writing a point on the stored point."""

    REPLACE = "replace"
    """nothing of the stored point is left"""
    MERGE = "merge"
    """other payload keys, other fields of `_sink` and other named vectors of the stored point stay; a point that does
    not exist is created"""
    PAYLOAD = "payload"
    """the payload is replaced as a whole, the vectors stay; a point that does not exist is not created"""
    PATCH = "patch"
    """the given payload keys and fields of `_sink` are set, everything else stays; a point that does not exist is not
    created"""
    TOMBSTONE = "tombstone"
    """nothing of the stored point is left, and the new point has no vector, so that no search by vectors finds it"""


@dataclass(frozen=True)
class PointBatch:
    """Batch of points that are written together.

    ids: length n, each at most once. vectors: vector name ("" is the unnamed vector) → float32 matrix of shape (n,
    dimension), C-contiguous, or n sparse vectors; empty where `how` writes no vectors. payload: n rows of plain types
    only (see `payload_types`); a struct `_sink` holds the sink's own fields. versions: of each point; the point is
    written only where the stored point has no version, or a version that is not greater; a tombstone only where the
    stored version is neither greater nor equal. None: written in any case. shard_keys: of each point; None where the
    server finds the shard by itself. seen: the fingerprint that each point had when the task decided to write only its
    payload (`How.PAYLOAD`): nothing is written where the point has another fingerprint by now, because another task or
    job has written it since.
    """

    ids: Sequence[PointId]
    vectors: Mapping[str, npt.NDArray[np.float32] | SparseVectors]
    payload: pa.RecordBatch
    versions: npt.NDArray[np.int64] | None = None
    how: How = How.REPLACE
    shard_keys: Sequence[ShardKey] | None = None
    seen: Sequence[str | None] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, stop: int) -> PointBatch:
        """Return the points start … stop-1; nothing is copied."""
        vectors = {
            name: rows.slice(start, stop) if isinstance(rows, SparseVectors) else rows[start:stop]
            for name, rows in self.vectors.items()
        }
        versions = None if self.versions is None else self.versions[start:stop]
        shard_keys = None if self.shard_keys is None else self.shard_keys[start:stop]
        seen = None if self.seen is None else self.seen[start:stop]
        return PointBatch(
            self.ids[start:stop], vectors, self.payload.slice(start, stop - start), versions, self.how, shard_keys, seen
        )

    def take(self, places: npt.NDArray[np.int64]) -> PointBatch:
        """Return the points at these places."""
        vectors = {
            name: rows.take(places) if isinstance(rows, SparseVectors) else rows[places]
            for name, rows in self.vectors.items()
        }
        versions = None if self.versions is None else self.versions[places]
        shard_keys = None if self.shard_keys is None else [self.shard_keys[place] for place in places.tolist()]
        payload = (
            self.payload.take(pa.array(places)) if self.payload.num_columns else self.payload.slice(0, len(places))
        )
        seen = None if self.seen is None else [self.seen[place] for place in places.tolist()]
        return PointBatch(
            [self.ids[place] for place in places.tolist()], vectors, payload, versions, self.how, shard_keys, seen
        )

    def by_shard(self) -> Iterator[PointBatch]:
        """Yield the points of each shard key as a batch, in their order; all points in one batch where they have no
        shard keys."""
        for places in in_shards(self.shard_keys, len(self)):
            yield self if len(places) == len(self) else self.take(places)

    @property
    def nbytes(self) -> int:
        """Return about how many bytes the points take in a request, without ids."""
        return int(sum(rows.nbytes for rows in self.vectors.values()) + self.payload.nbytes)


@dataclass(frozen=True)
class Removal:
    """Points to be removed.

    ids: length n. before: of each point; the point is removed only if its version is less, or it has none; None: in any
    case. documents: the points of the documents that the removed points belong to, where these are other points: later
    writes to them wait. shard_keys: of each point; None where the server finds the shard by itself.
    """

    ids: Sequence[PointId]
    before: npt.NDArray[np.int64] | None = None
    documents: Sequence[PointId] = ()
    shard_keys: Sequence[ShardKey] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def by_shard(self) -> Iterator[Removal]:
        """Yield the points of each shard key as a removal, in their order; all points in one removal where they have no
        shard keys."""
        for places in in_shards(self.shard_keys, len(self)):
            if len(places) == len(self) or self.shard_keys is None:
                yield self
                continue
            before, chosen = None if self.before is None else self.before[places], places.tolist()
            yield Removal(
                [self.ids[place] for place in chosen],
                before,
                self.documents,
                [self.shard_keys[place] for place in chosen],
            )


def shard_keys(documents: Mapping[PointId, ShardKey | None], points: Iterable[PointId]) -> list[ShardKey] | None:
    """Return the shard keys of some of these documents; None where they have none."""
    found = [key for point in points if (key := documents[point]) is not None]
    return found or None


def in_shards(shard_keys: Sequence[ShardKey] | None, points: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the places of each shard key among this number of points; all places at once where there are no shard
    keys."""
    if shard_keys is None:
        yield np.arange(points)
        return
    groups: dict[ShardKey, list[int]] = {}
    for place, key in enumerate(shard_keys):
        groups.setdefault(key, []).append(place)
    yield from (np.array(places, np.int64) for places in groups.values())


@dataclass(frozen=True)
class Stored:
    """Values from the `_sink` of a stored point. chunks: number of points of its document. deleted: True where it is a
    tombstone."""

    fingerprint: str | None = None
    version: int | None = None
    chunks: int = 1
    deleted: bool = False

    def is_newer(self, version: int) -> bool:
        """Return whether a document of this version comes too late."""
        return self.version is not None and self.version > version

    def outlives(self, version: int) -> bool:
        """Return whether a deletion of this version comes too late: where a document and a deletion have the same
        version, the document is kept, unless the stored point is a tombstone."""
        return self.is_newer(version) or (self.version == version and not self.deleted)


def is_tombstone(payload: Mapping[str, Any] | None) -> bool:
    """Return whether a payload is that of a tombstone."""
    ours = (payload or {}).get(RESERVED)
    return isinstance(ours, dict) and ours.get("deleted") is not None


@dataclass(frozen=True)
class Outcome:
    """Outcome of a request that has ended: every other point of the request is applied.

    refused: points that the store does not take, each with its reason. older: points that are unchanged, because the
    stored version is greater.
    """

    refused: Mapping[PointId, str] = field(default_factory=dict)
    older: Set[PointId] = frozenset()


@dataclass
class Sent:
    """Points that were submitted together, and their outcome (see `Outcome`); complete when `is_done`."""

    refused: dict[PointId, str] = field(default_factory=dict)
    older: set[PointId] = field(default_factory=set)
    on_their_way: int = 0
    """number of requests on their way"""

    @property
    def is_done(self) -> bool:
        """Return whether the outcome of every point is known."""
        return self.on_their_way == 0

    def taken(self, outcome: Outcome) -> None:
        """Add the outcome of a request that has ended."""
        self.on_their_way -= 1
        self.refused |= outcome.refused
        self.older |= outcome.older
