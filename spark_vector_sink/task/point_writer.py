"""Write the points of a window, in the thread behind the model: check vectors, build points, send them, and count each
row when the outcome of its points is known."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink import rejects
from spark_vector_sink.encode.encoder import Encoded
from spark_vector_sink.job import Plan
from spark_vector_sink.payload_types import SparseVectors
from spark_vector_sink.rejects import Rejects
from spark_vector_sink.report import ROW_COUNTS, PartitionReport
from spark_vector_sink.rows import keys, vectors
from spark_vector_sink.rows.bad_rows import REFUSED, BadRow
from spark_vector_sink.rows.documents import Documents
from spark_vector_sink.rows.unindexed_values import Unindexed
from spark_vector_sink.store.protocols import VectorStore
from spark_vector_sink.store.write_batch import How, PointBatch, PointId, Removal, Sent, ShardKey, Stored, shard_keys
from spark_vector_sink.task.change_detection import constant
from spark_vector_sink.task.stale_chunks import StaleChunks
from spark_vector_sink.task.vector_checks import Vectors, unfit
from spark_vector_sink.task.window import Beside, Window

MOST_WINDOWS = 8
"""Most windows that are kept while a request of the first of them is still in flight. A window may wait for one request
that is retried for minutes, while the requests of later windows complete."""


@dataclass(frozen=True)
class Part:
    """Points of a window that were submitted together. counts: whether they count as written points; False for
    deletions and the tombstones that they leave."""

    points: Documents
    sent: Sent
    counts: bool = True


class PointWriter:
    """Writer of one task's windows to the store. Used by one thread at a time. Counts into `report`."""

    def __init__(self, plan: Plan, store: VectorStore, rejected: Rejects, report: PartitionReport) -> None:
        self._plan, self._store, self._rejected, self._report = plan, store, rejected, report
        self._sent: deque[tuple[Window, list[Part]]] = deque()
        self._ready_made = plan.ready_made
        self._stale_chunks = StaleChunks(store, plan.options.id_namespace) if plan.has_chunks else None
        self._unindexed = Unindexed(
            plan.columns, {**plan.spec.payload_indexes, **(plan.target.indexes if plan.target else {})}
        )

    def deliver(self, window: Window, encoded: Encoded | None) -> None:
        """Send the points and deletions of a window. From here on no chunk of a rejected document is sent."""
        points = window.points
        made: dict[str, Vectors] = {}
        if len(points):
            made, points = self._fit(window, encoded)
        begun = time.perf_counter()
        parts = self._beside(window.beside) if window.beside is not None else []
        if len(points):
            if self._stale_chunks is not None:
                self._stale_chunks.shorten(points)
            parts += self._written(points, made)
        self._report.store_seconds += time.perf_counter() - begun
        self._sent.append((window, parts))
        self._settle()
        if len(self._sent) > MOST_WINDOWS:
            self._store.wait_for(
                {point for part in self._sent[0][1] if not part.sent.is_done for point in part.points.ids}
            )
            self._settle()

    def finish(self) -> None:
        """Wait until everything is acknowledged and applied, and every row is counted."""
        begun = time.perf_counter()
        self._store.flush()
        self._settle()
        self._report.receipts = self._store.flush()  # counting may have found stale chunks to remove
        self._report.rejects = self._rejected.flush()
        self._report.store_seconds += time.perf_counter() - begun
        self._report.retries = self._store.retries

    def _fit(self, window: Window, encoded: Encoded | None) -> tuple[dict[str, Vectors], Documents]:
        """Return the vectors and the points that can be written; the other points become bad rows, or end the job."""
        plan, read, points, report = self._plan, window.read, window.points, self._report
        made = self._vectors(points, encoded)
        column = str(plan.columns.vector) if encoded is None else ", ".join(plan.columns.text)
        found = unfit(points, made, plan.datatypes, encoded, column, plan.options.long_text)
        rejects.refuse(plan.options, found)
        read.refuse(found)
        self._touch(points.take(np.flatnonzero(np.isin(points.rows, [one.row for one in found]))).shards_of_heads)
        cut = np.zeros(len(points), np.int64) if encoded is None else encoded.cut
        left = np.flatnonzero(~np.isin(points.rows, list(read.bad)))
        if len(left) < len(points):
            points, cut = points.take(left), cut[left]
            made = _taken(made, left)
        report.tokens_cut += int(cut.sum())
        report.truncated += int(np.count_nonzero(cut))
        return made, points

    def _written(self, points: Documents, made: Mapping[str, Vectors]) -> list[Part]:
        """Send points. The first chunk of a document is applied before any other chunk is sent, because it says how
        many chunks there are, so that the chunks of a task that is killed in between are found again. Where the first
        chunk is refused, no other is sent."""
        how = How.MERGE if self._plan.options.existing == "merge" else How.REPLACE
        if points.heads is None:
            return [self._submitted(points, how, made)]
        is_first = points.are_first
        first = np.flatnonzero(is_first)
        parts = [self._submitted(points.take(first), how, _taken(made, first))] if len(first) else []
        self._store.wait_for(set(points.heads))
        refused = {
            point
            for sent in (parts, *(parts for _, parts in self._sent))
            for part in sent
            for point in part.sent.refused
        }
        others = np.flatnonzero(~is_first & [head not in refused for head in points.heads])
        return [*parts, *([self._submitted(points.take(others), how, _taken(made, others))] if len(others) else [])]

    def _submitted(
        self, points: Documents, how: How, made: Mapping[str, Vectors] = MappingProxyType({}), *, counts: bool = True,
        seen: Sequence[str | None] | None = None,
    ) -> Part:  # fmt: skip
        batch = PointBatch(points.ids, made, points.whole_payload, points.versions, how, points.shard_keys, seen)
        return Part(points, self._store.submit(batch), counts)

    def _vectors(self, points: Documents, encoded: Encoded | None) -> dict[str, Vectors]:
        """Return the vectors of the points, by vector name."""
        spec = self._plan.spec
        if encoded is None:
            return {} if self._ready_made is None else {spec.vector_name: self._ready_made.sent(points.vectors)}
        dense = vectors.comparable(encoded.vectors) if spec.dense and self._plan.is_scaled else encoded.vectors
        named: dict[str, Vectors] = {spec.vector_name: dense} if spec.dense else {}
        if encoded.sparse is not None and spec.sparse_vector_name is not None:
            named[spec.sparse_vector_name] = encoded.sparse
        return named

    def _beside(self, beside: Beside) -> list[Part]:
        """Send what needs no vector: payloads, deletions, tombstones and marks of seen documents."""
        self._touch(beside.seen, beside.stored)
        if beside.older and self._stale_chunks is not None:
            # a killed attempt may have written some older chunks beside the newer document
            self._stale_chunks.sweep(beside.older)
        return [
            *self._payloads(beside.payload, beside.stored),
            *self._deletions(beside.deletions),
            *self._tombstones(beside.tombstones),
        ]

    def _tombstones(self, points: Documents | None) -> list[Part]:
        """Write tombstones that were read from another version of the collection."""
        if points is None or not len(points):
            return []
        return [self._submitted(points, How.TOMBSTONE)]

    def _payloads(self, documents: Documents, stored: Mapping[PointId, Stored]) -> list[Part]:
        """Write payloads without vectors. All chunks of a document get the same payload, except that each keeps its own
        text and position."""
        if not len(documents):
            return []
        plan = self._plan
        if plan.options.long_text != "chunk":
            how = How.PATCH if plan.options.existing == "merge" else How.PAYLOAD
            return [self._submitted(documents, how, seen=[stored[point].fingerprint for point in documents.ids])]
        counts = [stored[point].chunks for point in documents.ids]
        points = documents.take(np.repeat(np.arange(len(documents)), counts))
        numbers = np.concatenate([np.arange(count) for count in counts]).tolist()
        ids = [
            keys.chunk_id(head, number, plan.options.id_namespace)
            for head, number in zip(points.ids, numbers, strict=True)
        ]
        text = plan.columns.text_path  # one column: with a text within a column no payload is written alone
        payload = points.payload.drop_columns([text[0]]) if text is not None else points.payload
        return [self._submitted(replace(points, ids=ids, heads=points.ids, payload=payload), How.PATCH)]

    def _deletions(self, documents: Documents) -> list[Part]:
        """Delete documents with all their chunks. With versions a tombstone is left, so that a late row cannot bring
        the document back."""
        if not len(documents):
            return []
        if self._stale_chunks is not None:
            self._stale_chunks.remove(documents)
        if documents.versions is None:
            return [
                Part(
                    documents, self._store.delete(Removal(documents.ids, shard_keys=documents.shard_keys)), counts=False
                )
            ]
        left = documents.stamped(
            version=pa.array(documents.versions, pa.int64()), deleted=constant(int(self._plan.started), len(documents))
        )
        return [self._submitted(left, How.TOMBSTONE, counts=False)]

    def _touch(self, heads: Mapping[PointId, ShardKey | None], stored: Mapping[PointId, Stored] | None = None) -> None:
        """Mark documents as seen by this run, for `delete_missing`; their source stays unchanged. heads: the documents
        with their shard keys."""
        options = self._plan.options
        if not (heads and options.delete_missing and options.source):
            return
        points = dict(heads) if self._stale_chunks is None else self._stale_chunks.points(heads, stored)
        self._store.touch(list(points), {"run": self._plan.run}, shard_keys(points, points))

    def _settle(self) -> None:
        """Count the windows, in order, up to the first that has a point whose outcome is not yet known."""
        while self._sent and all(part.sent.is_done for part in self._sent[0][1]):
            window, parts = self._sent.popleft()
            for part in parts:
                self._count(window, part)
            if self._stale_chunks is not None:
                heads = [part.points.shards_of_heads for part in parts if part.points.versions is not None]
                self._stale_chunks.sweep({head: shard for one in heads for head, shard in one.items()})
            read, report = window.read, self._report
            if window.is_last:
                self._rejected.add(read.rows, read.bad)
                report.rows += len(read.rows)
                for end, name in enumerate(ROW_COUNTS):
                    setattr(report, name, getattr(report, name) + int(np.count_nonzero(read.ends == end)))

    def _count(self, window: Window, part: Part) -> None:
        points, sent, read = part.points, part.sent, window.read
        refused = (
            np.array([point in sent.refused for point in points.ids], np.bool_)
            if sent.refused
            else np.zeros(len(points), np.bool_)
        )
        older = (
            np.array([point in sent.older for point in points.ids], np.bool_)
            if sent.older
            else np.zeros(len(points), np.bool_)
        )
        if refused.any():
            places = np.flatnonzero(refused)
            found = [
                BadRow(int(points.rows[n]), points.keys[n], "", REFUSED, sent.refused[points.ids[n]]) for n in places
            ]
            rejects.refuse(self._plan.options, found)
            read.refuse(found)
        read.are_older(points.rows[older])
        if part.counts:
            written = points.take(np.flatnonzero(~(refused | older)))
            self._report.points += len(written)
            self._report.add_unindexed(self._unindexed.count(written.payload))
        left_as_they_were = np.flatnonzero(refused | older)
        if len(left_as_they_were):
            self._touch(points.take(left_as_they_were).shards_of_heads)


def _taken(made: Mapping[str, Vectors], places: npt.NDArray[np.int64]) -> dict[str, Vectors]:
    """Return the vectors of some of the points."""
    return {
        name: one if len(places) == len(one) else one.take(places) if isinstance(one, SparseVectors) else one[places]
        for name, one in made.items()
    }
