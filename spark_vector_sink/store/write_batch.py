"""What goes to a store and comes back from it: points, removals, what is there, and what became of them.

Vectors, ids and payload arrive checked: a store need not look for nulls, for wrong lengths or for numbers that are not
finite.
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
"""An unsigned 64-bit integer, or a canonical lower-case UUID string; nothing else is a point id."""


ShardKey = int | str
"""In a collection with custom sharding, the name of the shards that a point is in: a text, or an unsigned 64-bit
integer."""


def plain_id(found: Any) -> PointId:
    """An id as ours that a store has told: some give UUIDs as objects."""
    return found if isinstance(found, int) else str(found)


def id_of_text(text: str) -> PointId:
    """An id as it was before it was written as text."""
    return int(text) if text.isdigit() else text


LARGEST_VERSION = 2**53
"""No version is greater, or less than its negative: a server compares them as doubles. Microseconds since 1970 get
there in the year 2255."""


class How(Enum):
    """What writing a point does to the one that is there."""

    REPLACE = "replace"
    """nothing of it is left"""
    MERGE = "merge"
    """its other payload keys, other fields of `_sink` and other named vectors stay; a point that is not there is
    made"""
    PAYLOAD = "payload"
    """its payload is replaced as a whole, its vectors stay; without a point nothing happens"""
    PATCH = "patch"
    """the given payload keys and fields of `_sink` are set, everything else stays; without a point nothing happens"""
    TOMBSTONE = "tombstone"
    """nothing of it is left, and what remains has no vector, so that no search by vectors finds it"""


@dataclass(frozen=True)
class PointBatch:
    """Points that go out together.

    ids: length n, each at most once. vectors: vector name ("" is the unnamed one) → float32 matrix of shape (n,
    dimension), C-contiguous, or n sparse vectors; empty where `how` writes none. payload: n rows of plain types only
    (see `payload_types`); a struct `_sink` holds the fields of ours. versions: of each point; it is written only where
    the one that is there has no version, or none that is greater: a tombstone only where it has none that is greater or
    equal. None: written in any case. shard_keys: of each point; None where the server finds the shard by itself. seen:
    the fingerprint that each point had when it was decided to write its payload alone (`How.PAYLOAD`): nothing is
    written where it has another one by now, because somebody has written it since.
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
        """The points start … stop-1; nothing is copied."""
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
        """The points at these places."""
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
        """The points of each shard key, in their order; all of them where they have none."""
        for places in in_shards(self.shard_keys, len(self)):
            yield self if len(places) == len(self) else self.take(places)

    @property
    def nbytes(self) -> int:
        """About how many bytes the points take on the way, without ids."""
        return int(sum(rows.nbytes for rows in self.vectors.values()) + self.payload.nbytes)


@dataclass(frozen=True)
class Removal:
    """Points that go.

    ids: length n. before: of each; it goes only if its version is less, or it has none; None: in any case.
    documents: the points of the documents they belong to, where those are others: what is written to them later waits.
    shard_keys: of each; None where the server finds the shard by itself.
    """

    ids: Sequence[PointId]
    before: npt.NDArray[np.int64] | None = None
    documents: Sequence[PointId] = ()
    shard_keys: Sequence[ShardKey] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def by_shard(self) -> Iterator[Removal]:
        """The points of each shard key, in their order; all of them where they have none."""
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
    """The shard keys of some of these documents; None where they have none."""
    found = [key for point in points if (key := documents[point]) is not None]
    return found or None


def in_shards(shard_keys: Sequence[ShardKey] | None, points: int) -> Iterator[npt.NDArray[np.int64]]:
    """The places of each shard key among so many points; all of them where there are no keys."""
    if shard_keys is None:
        yield np.arange(points)
        return
    groups: dict[ShardKey, list[int]] = {}
    for place, key in enumerate(shard_keys):
        groups.setdefault(key, []).append(place)
    yield from (np.array(places, np.int64) for places in groups.values())


@dataclass(frozen=True)
class Stored:
    """What the `_sink` of a point says. chunks: how many points its document has. deleted: whether it is a
    tombstone."""

    fingerprint: str | None = None
    version: int | None = None
    chunks: int = 1
    deleted: bool = False

    def is_newer(self, version: int) -> bool:
        """Whether a document of this version comes too late."""
        return self.version is not None and self.version > version

    def outlives(self, version: int) -> bool:
        """Whether a deletion of this version comes too late: at one version the document is there, and a tombstone is
        the one that was written."""
        return self.is_newer(version) or (self.version == version and not self.deleted)


def is_tombstone(payload: Mapping[str, Any] | None) -> bool:
    """Whether a payload is what is left of a deleted document."""
    ours = (payload or {}).get(RESERVED)
    return isinstance(ours, dict) and ours.get("deleted") is not None


@dataclass(frozen=True)
class Outcome:
    """What became of a request that came to its end: every other point of it is applied.

    refused: points that the store does not take, each with its reason. older: points that are as they were, because
    what is there has a greater version.
    """

    refused: Mapping[PointId, str] = field(default_factory=dict)
    older: Set[PointId] = frozenset()


@dataclass
class Sent:
    """Points that were submitted together, and what became of them (see `Outcome`); complete when `is_done`."""

    refused: dict[PointId, str] = field(default_factory=dict)
    older: set[PointId] = field(default_factory=set)
    on_their_way: int = 0
    """requests"""

    @property
    def is_done(self) -> bool:
        """Whether it is known of each point what became of it."""
        return self.on_their_way == 0

    def taken(self, outcome: Outcome) -> None:
        """A request has ended."""
        self.on_their_way -= 1
        self.refused |= outcome.refused
        self.older |= outcome.older
