"""The seam between the engine and a database: what a store must be able to do, and the values that pass.

`Collections` is used on the driver, `VectorStore` in a task. Vectors, ids and payload arrive checked: a store need not look
for nulls, for wrong lengths or for numbers that are not finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.plain import SparseVectors
from spark_vector_sink.store.question import SparseQuery

PointId = int | str
"""An unsigned 64-bit integer, or a canonical lower-case UUID string; nothing else is a point id."""

Distance = str
"""`cosine`, `dot`, `euclid` or `manhattan`"""


INDEX_TYPES = ("keyword", "integer", "float", "bool", "datetime", "text", "uuid", "geo")
"""Types of a payload index, in Qdrant's words; `tenant` is ours, for a keyword index with `is_tenant`."""


@dataclass(frozen=True)
class PointBatch:
    """Points that go out together, with all their vectors: writing a point replaces it.

    ids: length n, each at most once.
    vectors: vector name ("" is the unnamed one) → float32 matrix of shape (n, dimension), C-contiguous, or n sparse vectors.
    payload: n rows of plain types only (see `plain`).
    """

    ids: Sequence[PointId]
    vectors: Mapping[str, npt.NDArray[np.float32] | SparseVectors]
    payload: pa.RecordBatch

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, stop: int) -> PointBatch:
        """The points start … stop-1; nothing is copied."""
        vectors = {name: rows.slice(start, stop) if isinstance(rows, SparseVectors) else rows[start:stop] for name, rows in self.vectors.items()}
        return PointBatch(self.ids[start:stop], vectors, self.payload.slice(start, stop - start))

    @property
    def nbytes(self) -> int:
        """About how many bytes the points take on the way, without ids."""
        return int(sum(rows.nbytes for rows in self.vectors.values()) + self.payload.nbytes)


@dataclass
class Sent:
    """Points that were submitted together. refused: those that the store does not take, each with its reason; complete when `is_done`."""

    refused: dict[PointId, str] = field(default_factory=dict)
    on_their_way: int = 0
    """requests"""

    @property
    def is_done(self) -> bool:
        """Whether it is known of each point what became of it."""
        return self.on_their_way == 0

    def taken(self, refused: Mapping[PointId, str]) -> None:
        """A request has ended."""
        self.on_their_way -= 1
        self.refused |= refused


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
    """field → `keyword`, `integer`, …; `tenant` is a keyword index with `is_tenant`"""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Qdrant's own create-collection body"""
    versioned: bool = True
    create: bool = True
    adopt: bool = False
    sparse_vector_name: str | None = None
    """None: points have no sparse vector"""
    dense: bool = True
    """False: points have the sparse vector only, and `vector_name`, `dimension` and `distance` mean nothing"""


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
    made_by: str | None = None
    """the run that made the collection, where it is known; another one at the end means that it was made anew meanwhile"""


@dataclass(frozen=True)
class Hit:
    """One answer of a search."""

    id: PointId
    score: float
    payload: Mapping[str, Any]


class VectorStore(Protocol):
    """Takes the points of one task. Made in the task, used by one thread, closed by the task."""

    @property
    def retries(self) -> int:
        """Requests sent again so far."""

    def submit(self, points: PointBatch) -> Sent:
        """Send points soon; blocks while too many are on their way; raises the first failure of an earlier one. What it returns changes
        during later calls, and is done after `flush`."""

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

    def finish(self, target: Target, run: str, receipts: Sequence[str]) -> int | None:
        """Bring in what tasks have staged; return how many points the collection holds, where known."""

    def wait_for_index(self, target: Target) -> float:
        """Return when everything in the collection is searchable by its index; the seconds that it took.

        Raises PermanentStoreError, which says that all points are written, where the store is away, or shows no progress, for `retry_max_seconds`.
        """

    def abandon(self, target: Target, run: str) -> None:
        """Clean up after a failed run. Never deletes points: tasks may still be running."""

    def metadata(self, name: str) -> Mapping[str, Any]:
        """What the sink remembers in the collection; empty where it has written nothing."""

    def search(self, name: str, vector: Sequence[float] | None, limit: int, *, sparse: SparseQuery | None = None) -> list[Hit]:
        """The nearest points, best first, by the vectors that the metadata names.

        vector: asks the dense vectors; None or empty asks the sparse ones alone, whose score is the dot product.
        sparse: asks the sparse vectors. Of both, the first `candidates(limit)` of either ranking are fused (see `RRF_K`).
        """

    def close(self) -> None:
        """Let go of connections and locks."""
