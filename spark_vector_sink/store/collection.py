"""A collection in values: what a job needs of it, what is there, and what a run has come to."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from spark_vector_sink.store.collection_metadata import CollectionMetadata
from spark_vector_sink.store.write_batch import PointId

Distance = str
"""`cosine`, `dot`, `euclid` or `manhattan`"""


FINGERPRINT = "fingerprint"
"""The field of `_sink` with the fingerprint of the first job's vectors, and of what replaces points as a whole."""


@dataclass(frozen=True)
class CollectionSpec:
    """What the job needs the collection to be. `metadata` is what the sink will remember in it of the job; searches go
    by its vectors."""

    vector_name: str
    dimension: int | None
    """None where vectors are ready-made and only the collection knows their length, and where there is no dense one"""
    distance: Distance
    metadata: CollectionMetadata
    payload_indexes: Mapping[str, str] = field(default_factory=dict)
    """field → one of `INDEX_TYPES` or `TENANT_INDEXES`"""
    strict_indexes: Mapping[str, str] = field(default_factory=dict)
    """those that only a server needs which refuses updates by fields without an index (strict mode)"""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Qdrant's own create-collection body"""
    versioned: bool = True
    create: bool = True
    adopt: bool = False
    sparse_vector_name: str | None = None
    """None: points have no sparse vector"""
    dense: bool = True
    """False: points have the sparse vector only, and `vector_name`, `dimension` and `distance` mean nothing"""
    reads: bool = False
    """whether tasks will ask what is stored: an embedded store writes that down for them when the run begins"""
    overwrite: bool = False
    """the points go into a fresh version beside what the name stands for; `publish` moves the name"""
    merge: bool = False
    """what points have besides stays, and a vector that the collection does not have yet moves in beside the others"""
    owning: tuple[str, ...] = ()
    """options of the job that decide about whole documents: one job of all that merge may"""
    inherits: bool = False
    """of an overwrite: what is left open here (`config`, `payload_indexes`) is as in the version that it replaces"""
    sharded: bool = False
    """points come with shard keys"""
    replace_plain: bool = False
    """an overwrite may put a version in the place of a collection that has no versions"""
    fractions: str = ""
    """what makes the dense vectors fractions around zero, in words; empty where their numbers are only known row by
    row"""


@dataclass(frozen=True)
class Target:
    """Where the points of one run go, resolved once on the driver.

    name: as the user wrote it. physical: the collection, or version directory, that it stands for now.
    """

    name: str
    physical: str
    exists: bool
    dimension: int | None = None
    """length of the dense vectors that are, or will be, in it; None also where it has none"""
    problems: tuple[str, ...] = ()
    """why this collection cannot be written to, one sentence each"""
    plan: tuple[str, ...] = ()
    """what `prepare` will do, in words"""
    points: int | None = None
    """points in it before the run, where known"""
    max_batch_points: int | None = None
    """most points the server takes in one request (strict mode)"""
    remembered: CollectionMetadata | None = None
    """what the sink remembers in it, as of now; None where there is nothing yet"""
    made_by: str | None = None
    """the run that made the collection, where it is known; another one at the end means that it was made anew
    meanwhile"""
    overwrites: bool = False
    """`physical` is a version of this run alone, and no search sees it before `publish`"""
    replaces: str | None = None
    """of an overwrite: what the name stood for when it was planned (its own name: a plain collection); None: there was
    nothing"""
    warnings: tuple[str, ...] = ()
    """what the user should know before the job runs"""
    fingerprint: str = FINGERPRINT
    """the field of `_sink` with the fingerprints of this job's vectors"""
    datatypes: Mapping[str, str] = field(default_factory=dict)
    """of the job's vectors those that store some float32 numbers as others, as `prepare` has found them: name →
    `uint8`, `float16`, …"""
    indexes: Mapping[str, str] = field(default_factory=dict)
    """payload indexes that are there already, as `CollectionSpec` has them"""

    @property
    def has_chunks(self) -> bool:
        """Whether earlier jobs may have left documents of several points."""
        return self.remembered is not None and self.remembered.chunked


@dataclass(frozen=True)
class Finished:
    """What a store knows at the end of a run. points: how many the collection holds, where known.

    older, older_deletions: staged documents, and staged deletions, that were left out because what is there has a
    greater version; older_points: the points of those documents. A server tells that to the tasks themselves.
    """

    points: int | None
    older: int = 0
    older_deletions: int = 0
    older_points: int = 0


@dataclass(frozen=True)
class Left:
    """How a failed run leaves things. stands: a sentence about that, "" where nothing is to be said beside the usual.
    none_written: whether it is known that what its tasks have counted as written is not there."""

    stands: str = ""
    none_written: bool = False


@dataclass(frozen=True)
class Probe:
    """A point as the store gives it back. vectors: the length of each, by name; 0 where it holds none, or something
    else than finite numbers. fields: the keys of its payload. found: whether a search by its own vector answers.
    deleted: whether it is a tombstone."""

    id: PointId
    vectors: Mapping[str, int]
    fields: Set[str]
    found: bool
    deleted: bool = False


@dataclass(frozen=True)
class Hit:
    """One answer of a search."""

    id: PointId
    score: float
    payload: Mapping[str, Any]
