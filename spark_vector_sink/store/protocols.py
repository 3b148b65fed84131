"""Define the interface between the engine and a database: the methods that a store must have.

`Collections` is used on the driver, `VectorStore` in a task; the values that are passed are in `collection`,
`write_batch` and `scan`.
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
    """Writer of the points of one task. Created in the task, used by one thread (except for `stored`), closed by the
    task.

    Changes to the same points are applied in the order of the calls.
    """

    @property
    def retries(self) -> int:
        """Return the number of requests sent again so far."""

    def stored(self, ids: Sequence[PointId], shard_keys: Sequence[ShardKey] | None = None) -> Mapping[PointId, Stored]:
        """Return the stored state of these points, each under its shard key; points that do not exist are left out.

        May be called by another thread than the other methods: it sees what is applied; of an embedded store, what was
        applied when the run began.
        """

    def wait_for(self, ids: Set[PointId]) -> None:
        """Wait until no request with any of these points is on its way."""

    def submit(self, points: PointBatch) -> Sent:
        """Send points soon; blocks while too many requests are on their way; raises the first failure of an earlier
        request. The result changes during later calls, and is complete after `flush`."""

    def delete(self, removal: Removal) -> Sent:
        """Remove points soon; the result is as for `submit`."""

    def touch(
        self, ids: Sequence[PointId], fields: Mapping[str, str | int], shard_keys: Sequence[ShardKey] | None = None
    ) -> Sent:
        """Set these fields of `_sink` on the points that exist, soon, and change nothing else."""

    def flush(self) -> tuple[str, ...]:
        """Wait until everything is acknowledged and applied; return the receipts of what the driver must still
        ingest."""

    def close(self) -> None:
        """Close connections and threads. Sends nothing."""


class Collections(Protocol):
    """Manager of collections, on the driver."""

    def resolve(self, name: str, spec: CollectionSpec) -> Target:
        """Look up, without any change, the collection that the name stands for, the collection that would be created,
        and the settings that do not fit."""

    def prepare(self, target: Target, spec: CollectionSpec, run: str) -> Target:
        """Create what `resolve` announced. Calling it again changes nothing more."""

    def finish(self, target: Target, run: str, receipts: Sequence[str]) -> Finished:
        """Ingest what tasks have staged, and return the result of the run."""

    def probe(self, target: Target, most: int) -> Sequence[Probe]:
        """Read up to `most` points back from the version that an overwrite has filled, in no order, and check whether a
        search finds them."""

    def pages(self, target: Target, run: str, size: int) -> Sequence[Page]:
        """Return all points of the version that an overwrite replaces, as pages of at most `size` points for `read`.
        Points that are added later may be missing."""

    def read(self, page: Page) -> Iterator[pa.RecordBatch]:
        """Read the points of a page in batches (schema: `scan.POINTS`); works in any process."""

    def publish(self, target: Target, run: str, keep: int) -> Sequence[str]:
        """Let the name stand for the version of this overwrite, in one step, then drop versions older than the `keep`
        versions before it; return warnings. Calling it again changes nothing more. Raises CollectionError where the
        name no longer stands for `target.replaces`."""

    def rollback(self, name: str) -> tuple[str | None, str]:
        """Let the name stand for the version that served before. Returns the version that the name stood for until now
        (None: nothing), and the version that serves now. Raises CollectionError where there is no earlier version."""

    def count(self, target: Target) -> int | None:
        """Count the points of the collection, including tombstones; None where the store does not report the number."""

    def missing(self, target: Target, source: str, run: str) -> tuple[int, int]:
        """Count the documents of this source that were last seen by another run than `run`, and all documents of this
        source."""

    def purge(self, target: Target, source: str, run: str) -> None:
        """Remove the documents that `missing` counts, with all their chunks."""

    def purge_tombstones(self, target: Target, until: int) -> None:
        """Remove the tombstones of deletions up to this moment, in seconds since 1970 (`_sink.deleted`)."""

    def wait_for_index(self, target: Target) -> float:
        """Wait until everything in the collection is searchable by its index; return the seconds that it took.

        Raises PermanentStoreError, which says that all points are written, where the store is away, or shows no
        progress, for `retry_max_seconds`.
        """

    def abandon(self, target: Target, run: str) -> Left:
        """Clean up after a failed run. Never deletes points: tasks may still be running.

        Returns what an overwrite's name stands for now, where that has changed, and what happened to rows that cannot
        be ingested.
        """

    def metadata(self, name: str) -> CollectionMetadata | None:
        """Return the metadata that the sink has stored in the collection; None where the sink has written nothing."""

    def inspect(self, name: str) -> Inspection:
        """Describe the collection, without any change. Raises CollectionError where it does not exist."""

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
        """Return the nearest points, best first, by the vectors that the metadata names.

        vector_name: the vector to search by, where there are several (see `collection_metadata`); None: the first
        job's. vector: searches the dense vectors; None or empty searches only the sparse vectors, whose score is the
        dot product. sparse: searches the sparse vectors. With both, the first `candidates(limit)` of either ranking are
        fused (see `RRF_K`). among: only points that match this filter are considered.
        """

    def close(self) -> None:
        """Close connections and release locks."""
