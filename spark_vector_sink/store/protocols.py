"""The seam between the engine and a database: what a store must be able to do.

`Collections` is used on the driver, `VectorStore` in a task; the values that pass are in `collection`, `write_batch`
and `scan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Protocol

import pyarrow as pa

from spark_vector_sink.store.collection import CollectionSpec, Finished, Hit, Left, Probe, Target
from spark_vector_sink.store.collection_metadata import CollectionMetadata
from spark_vector_sink.store.inspection import Inspection
from spark_vector_sink.store.scan import Page
from spark_vector_sink.store.search_query import Filter, SparseQuery
from spark_vector_sink.store.write_batch import PointBatch, PointId, Removal, Sent, ShardKey, Stored


class VectorStore(Protocol):
    """Takes the points of one task. Made in the task, used by one thread (but for `stored`), closed by the task.

    What touches the same points is applied in the order of the calls.
    """

    @property
    def retries(self) -> int:
        """Requests sent again so far."""

    def stored(self, ids: Sequence[PointId], shard_keys: Sequence[ShardKey] | None = None) -> Mapping[PointId, Stored]:
        """What is there of these points, each under its shard key; those that are not there are left out. May be called
        by another thread than the rest: it sees what is applied, of an embedded store what was applied when the run
        began."""

    def wait_for(self, ids: Set[PointId]) -> None:
        """Return when nothing that touches these points is on its way."""

    def submit(self, points: PointBatch) -> Sent:
        """Send points soon; blocks while too many are on their way; raises the first failure of an earlier one. What it
        returns changes during later calls, and is done after `flush`."""

    def delete(self, removal: Removal) -> Sent:
        """Remove points soon, as `submit` writes them."""

    def touch(
        self, ids: Sequence[PointId], fields: Mapping[str, str | int], shard_keys: Sequence[ShardKey] | None = None
    ) -> Sent:
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
        """Up to `most` points read back from the version that an overwrite has filled, in no order, and whether a
        search finds them."""

    def pages(self, target: Target, run: str, size: int) -> Sequence[Page]:
        """All points of the version that an overwrite replaces, as pages of at most `size` points for `read`. Points
        that come in later may be in none."""

    def read(self, page: Page) -> Iterator[pa.RecordBatch]:
        """The points of a page (see `scan.POINTS`), some at a time; in any process."""

    def publish(self, target: Target, run: str, keep: int) -> Sequence[str]:
        """Let the name stand for the version of this overwrite, in one step, then drop what is older than the `keep`
        versions before it; warnings. Calling it again changes nothing more. Raises CollectionError where the name no
        longer stands for `target.replaces`."""

    def rollback(self, name: str) -> tuple[str | None, str]:
        """Let the name stand for the version that served before; what it stood for until now (None: nothing), and that
        version. Raises CollectionError where there is none."""

    def count(self, target: Target) -> int | None:
        """How many points the collection holds, tombstones too; None where the store does not tell."""

    def missing(self, target: Target, source: str, run: str) -> tuple[int, int]:
        """How many documents of this source another run than `run` was the last to see; and how many documents of it
        there are."""

    def purge(self, target: Target, source: str, run: str) -> None:
        """Remove the documents that `missing` counts, with all their chunks."""

    def purge_tombstones(self, target: Target, until: int) -> None:
        """Remove the tombstones of deletions up to this moment, in seconds since 1970 (`_sink.deleted`)."""

    def wait_for_index(self, target: Target) -> float:
        """Return when everything in the collection is searchable by its index; the seconds that it took.

        Raises PermanentStoreError, which says that all points are written, where the store is away, or shows no
        progress, for `retry_max_seconds`.
        """

    def abandon(self, target: Target, run: str) -> Left:
        """Clean up after a failed run. Never deletes points: tasks may still be running.

        Returns what an overwrite's name stands for now, where that is not what it was, and what became of rows that
        cannot be brought in.
        """

    def metadata(self, name: str) -> CollectionMetadata | None:
        """What the sink remembers in the collection; None where it has written nothing."""

    def inspect(self, name: str) -> Inspection:
        """What is there, and nothing changed. Raises CollectionError where there is nothing."""

    def search(
        self,
        name: str,
        vector: Sequence[float] | None,
        limit: int,
        *,
        sparse: SparseQuery | None = None,
        vector_name: str | None = None,
        among: Filter | None = None,
    ) -> list[Hit]:
        """The nearest points, best first, by the vectors that the metadata names.

        vector_name: that of several (see `collection_metadata`) which is asked; None: the first job's. vector: asks the
        dense vectors; None or empty asks the sparse ones alone, whose score is the dot product. sparse: asks the sparse
        vectors. Of both, the first `candidates(limit)` of either ranking are fused (see `RRF_K`). among: only points
        that match are looked at.
        """

    def close(self) -> None:
        """Let go of connections and locks."""
