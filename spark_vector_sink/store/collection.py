"""Hold the values that describe a collection: the job's spec of the collection, the target on the store, and a run's
results."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from spark_vector_sink.store.collection_metadata import CollectionMetadata
from spark_vector_sink.store.write_batch import PointId

Distance = str
"""Name of the distance: `cosine`, `dot`, `euclid` or `manhattan`."""


FINGERPRINT = "fingerprint"
"""Name of the `_sink` field with the fingerprint of the vectors of the first job, and of every job that replaces points
as a whole."""


@dataclass(frozen=True)
class CollectionSpec:
    """Specification of the collection that the job needs.

    `metadata` is the metadata that the sink will store in the collection for this job; searches use the vectors that it
    names.
    """

    vector_name: str
    dimension: int | None
    """dimension of the dense vectors; None where vectors are ready-made and only the collection knows their length, and
    where there is no dense vector"""
    distance: Distance
    metadata: CollectionMetadata
    payload_indexes: Mapping[str, str] = field(default_factory=dict)
    """payload field → one of `INDEX_TYPES` or `TENANT_INDEXES`"""
    strict_indexes: Mapping[str, str] = field(default_factory=dict)
    """payload indexes that are needed only on a server in strict mode, which refuses updates that filter by a field
    without an index"""
    config: Mapping[str, Any] = field(default_factory=dict)
    """body of Qdrant's create-collection request"""
    versioned: bool = True
    create: bool = True
    adopt: bool = False
    sparse_vector_name: str | None = None
    """name of the sparse vector; None: points have no sparse vector"""
    dense: bool = True
    """False: points have only the sparse vector, and `vector_name`, `dimension` and `distance` are not used"""
    reads: bool = False
    """True where tasks will read stored points: an embedded store then writes a snapshot of them when the run begins"""
    overwrite: bool = False
    """True where the points go into a new version beside the version that serves; `publish` moves the name"""
    merge: bool = False
    """True where everything else that points have is kept, and a vector that the collection does not have yet is added
    beside the others"""
    owning: tuple[str, ...] = ()
    """options of the job that decide about whole documents: of all jobs that merge, only one may have such options"""
    inherits: bool = False
    """for an overwrite: True where settings that are left open here (`config`, `payload_indexes`) are copied from the
    version that is replaced"""
    sharded: bool = False
    """True where points have shard keys"""
    replace_plain: bool = False
    """True where an overwrite may replace a plain collection (one without versions) by a version"""
    fractions: str = ""
    """description of the source of dense vectors that are fractions around zero; empty where the numbers are known only
    row by row"""


@dataclass(frozen=True)
class Target:
    """Target of the points of one run, resolved once on the driver.

    name: as the user wrote it. physical: the collection, or version directory, that the name stands for now.
    """

    name: str
    physical: str
    exists: bool
    dimension: int | None = None
    """dimension of the dense vectors that are, or will be, in the collection; None also where it has no dense
    vectors"""
    problems: tuple[str, ...] = ()
    """reasons why this collection cannot be written to, one sentence each"""
    plan: tuple[str, ...] = ()
    """steps that `prepare` will do, in words"""
    points: int | None = None
    """number of points before the run, where known"""
    max_batch_points: int | None = None
    """maximum number of points that the server takes in one request (strict mode)"""
    remembered: CollectionMetadata | None = None
    """metadata that the sink has stored in the collection so far; None where there is none yet"""
    made_by: str | None = None
    """run that created the collection, where known; a different run at the end means that the collection was created
    anew in the meantime"""
    overwrites: bool = False
    """True where `physical` is a version of this run alone, which no search sees before `publish`"""
    replaces: str | None = None
    """for an overwrite: the collection or version that the name stood for when the overwrite was planned (the name
    itself: a plain collection); None: there was nothing"""
    warnings: tuple[str, ...] = ()
    """warnings for the user before the job runs"""
    fingerprint: str = FINGERPRINT
    """name of the `_sink` field with the fingerprints of this job's vectors"""
    datatypes: Mapping[str, str] = field(default_factory=dict)
    """the job's vectors whose datatype does not store every float32 number unchanged, as found by `prepare`: vector
    name → `uint8`, `float16`, …"""
    indexes: Mapping[str, str] = field(default_factory=dict)
    """payload indexes that exist already, in the form of `CollectionSpec.payload_indexes`"""

    @property
    def has_chunks(self) -> bool:
        """Return whether earlier jobs may have written documents of several points."""
        return self.remembered is not None and self.remembered.chunked


@dataclass(frozen=True)
class Finished:
    """Result of `finish` at the end of a run. points: number of points in the collection, where known.

    older, older_deletions: number of staged documents, and of staged deletions, that were not applied because the
    stored version is greater; older_points: number of points of these documents. A server reports such points to the
    tasks themselves.
    """

    points: int | None
    older: int = 0
    older_deletions: int = 0
    older_points: int = 0


@dataclass(frozen=True)
class Left:
    """State in which a failed run leaves the store. stands: a sentence about this state, "" where the usual message is
    enough. none_written: True where it is known that the points which the tasks counted as written are not stored."""

    stands: str = ""
    none_written: bool = False


@dataclass(frozen=True)
class Probe:
    """Point that was read back from the store. vectors: vector name → length; 0 where the vector is missing, or holds
    anything but finite numbers. fields: the keys of the payload. found: True where a search by the point's own vector
    returns a result. deleted: True where the point is a tombstone."""

    id: PointId
    vectors: Mapping[str, int]
    fields: Set[str]
    found: bool
    deleted: bool = False


@dataclass(frozen=True)
class Hit:
    """One result of a search."""

    id: PointId
    score: float
    payload: Mapping[str, Any]
