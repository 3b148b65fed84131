"""The seam between the engine and a database: what a store must be able to do, and the values that pass.

`Collections` is used on the driver, `VectorStore` in a task; what passes between them and the engine is in `points`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from spark_vector_sink.store.inspection import Inspection
from spark_vector_sink.store.pages import Page
from spark_vector_sink.store.points import PointBatch, PointId, Removal, Sent, ShardKey, Stored
from spark_vector_sink.store.question import Filter, SparseQuery

Distance = str
"""`cosine`, `dot`, `euclid` or `manhattan`"""


FINGERPRINT = "fingerprint"
"""The field of `_sink` with the fingerprint of the first job's vectors, and of what replaces points as a whole."""


@dataclass(frozen=True)
class CollectionSpec:
    """What the job needs the collection to be. `metadata` is what the sink remembers in it: the model, the key columns.

    Searches go by `metadata`: it repeats `vector_name`, `sparse_vector_name` and `dense`, which are taken as "", None and True where it does not.
    """

    vector_name: str
    dimension: int | None
    """None where vectors are ready-made and only the collection knows their length, and where there is no dense one"""
    distance: Distance
    metadata: Mapping[str, Any]
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
    """what makes the dense vectors fractions around zero, in words; empty where their numbers are only known row by row"""


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
    remembered: Mapping[str, Any] = field(default_factory=dict)
    """what the sink remembers in it, as of now; empty where there is nothing yet"""
    made_by: str | None = None
    """the run that made the collection, where it is known; another one at the end means that it was made anew meanwhile"""
    overwrites: bool = False
    """`physical` is a version of this run alone, and no search sees it before `publish`"""
    replaces: str | None = None
    """of an overwrite: what the name stood for when it was planned (its own name: a plain collection); None: there was nothing"""
    warnings: tuple[str, ...] = ()
    """what the user should know before the job runs"""
    fingerprint: str = FINGERPRINT
    """the field of `_sink` with the fingerprints of this job's vectors"""
    datatypes: Mapping[str, str] = field(default_factory=dict)
    """of the job's vectors those that store some float32 numbers as others, as `prepare` has found them: name → `uint8`, `float16`, …"""
    indexes: Mapping[str, str] = field(default_factory=dict)
    """payload indexes that are there already, as `CollectionSpec` has them"""


@dataclass(frozen=True)
class Finished:
    """What a store knows at the end of a run. points: how many the collection holds, where known.

    older, older_deletions: staged documents, and staged deletions, that were left out because what is there has a greater version; older_points: the
    points of those documents. A server tells that to the tasks themselves.
    """

    points: int | None
    older: int = 0
    older_deletions: int = 0
    older_points: int = 0


@dataclass(frozen=True)
class Left:
    """How a failed run leaves things. stands: a sentence about that, "" where nothing is to be said beside the usual. none_written: whether it is known
    that what its tasks have counted as written is not there."""

    stands: str = ""
    none_written: bool = False


@dataclass(frozen=True)
class Probe:
    """A point as the store gives it back. vectors: the length of each, by name; 0 where it holds none, or something else than finite numbers.
    fields: the keys of its payload. found: whether a search by its own vector answers. deleted: whether it is a tombstone."""

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


class VectorStore(Protocol):
    """Takes the points of one task. Made in the task, used by one thread (but for `stored`), closed by the task.

    What touches the same points is applied in the order of the calls.
    """

    @property
    def retries(self) -> int:
        """Requests sent again so far."""

    def stored(self, ids: Sequence[PointId], shard_keys: Sequence[ShardKey] | None = None) -> Mapping[PointId, Stored]:
        """What is there of these points, each under its shard key; those that are not there are left out. May be called by another thread than the rest: it sees what is
        applied, of an embedded store what was applied when the run began."""

    def wait_for(self, ids: Set[PointId]) -> None:
        """Return when nothing that touches these points is on its way."""

    def submit(self, points: PointBatch) -> Sent:
        """Send points soon; blocks while too many are on their way; raises the first failure of an earlier one. What it returns changes
        during later calls, and is done after `flush`."""

    def delete(self, removal: Removal) -> Sent:
        """Remove points soon, as `submit` writes them."""

    def touch(self, ids: Sequence[PointId], fields: Mapping[str, str | int], shard_keys: Sequence[ShardKey] | None = None) -> Sent:
        """Set these fields of `_sink` on the points that are there, and nothing else, soon."""

    def flush(self) -> tuple[str, ...]:
        """Return when everything is acknowledged and applied, with what the driver must still bring in (receipts)."""

    def close(self) -> None:
        """Let go of connections and threads. Sends nothing."""


class Collections(Protocol):
    """Looks after collections, on the driver."""

    def resolve(self, name: str, spec: CollectionSpec) -> Target:
        """Look, change nothing: what the name stands for, what would be created, and what does not fit."""

    def prepare(self, target: Target, spec: CollectionSpec, run: str) -> Target:
        """Create what `resolve` announced. Calling it again changes nothing more."""

    def finish(self, target: Target, run: str, receipts: Sequence[str]) -> Finished:
        """Bring in what tasks have staged."""

    def probe(self, target: Target, most: int) -> Sequence[Probe]:
        """Up to `most` points read back from the version that an overwrite has filled, in no order, and whether a search finds them."""

    def pages(self, target: Target, run: str, size: int) -> Sequence[Page]:
        """All points of the version that an overwrite replaces, as pages of at most `size` points for `read`. Points that come in later may be in none."""

    def read(self, page: Page) -> Iterator[pa.RecordBatch]:
        """The points of a page (see `pages.POINTS`), some at a time; in any process."""

    def publish(self, target: Target, run: str, keep: int) -> Sequence[str]:
        """Let the name stand for the version of this overwrite, in one step, then drop what is older than the `keep` versions before it;
        warnings. Calling it again changes nothing more. Raises CollectionError where the name no longer stands for `target.replaces`."""

    def rollback(self, name: str) -> tuple[str | None, str]:
        """Let the name stand for the version that served before; what it stood for until now (None: nothing), and that version. Raises CollectionError where there is none."""

    def count(self, target: Target) -> int | None:
        """How many points the collection holds, tombstones too; None where the store does not tell."""

    def missing(self, target: Target, source: str, run: str) -> tuple[int, int]:
        """How many documents of this source another run than `run` was the last to see; and how many documents of it there are."""

    def purge(self, target: Target, source: str, run: str) -> None:
        """Remove the documents that `missing` counts, with all their chunks."""

    def purge_tombstones(self, target: Target, until: int) -> None:
        """Remove the tombstones of deletions up to this moment, in seconds since 1970 (`_sink.deleted`)."""

    def wait_for_index(self, target: Target) -> float:
        """Return when everything in the collection is searchable by its index; the seconds that it took.

        Raises PermanentStoreError, which says that all points are written, where the store is away, or shows no progress, for `retry_max_seconds`.
        """

    def abandon(self, target: Target, run: str) -> Left:
        """Clean up after a failed run. Never deletes points: tasks may still be running.

        Returns what an overwrite's name stands for now, where that is not what it was, and what became of rows that cannot be brought in.
        """

    def metadata(self, name: str) -> Mapping[str, Any]:
        """What the sink remembers in the collection; empty where it has written nothing."""

    def inspect(self, name: str) -> Inspection:
        """What is there, and nothing changed. Raises CollectionError where there is nothing."""

    def search(
        self, name: str, vector: Sequence[float] | None, limit: int, *, sparse: SparseQuery | None = None, vector_name: str | None = None,
        among: Filter | None = None,
    ) -> list[Hit]:  # fmt: skip
        """The nearest points, best first, by the vectors that the metadata names.

        vector_name: that of several (see `remembered`) which is asked; None: the first job's.
        vector: asks the dense vectors; None or empty asks the sparse ones alone, whose score is the dot product.
        sparse: asks the sparse vectors. Of both, the first `candidates(limit)` of either ranking are fused (see `RRF_K`).
        among: only points that match are looked at.
        """

    def close(self) -> None:
        """Let go of connections and locks."""
