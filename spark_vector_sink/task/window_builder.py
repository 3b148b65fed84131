"""Build windows, in the thread before the model: rows → documents → decisions → tokenised texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pyarrow as pa

from spark_vector_sink.job import Plan
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.rows import chunk_points, converter, keys
from spark_vector_sink.rows.documents import Documents, Sifted
from spark_vector_sink.store.collection import FINGERPRINT
from spark_vector_sink.store.protocols import VectorStore
from spark_vector_sink.store.write_batch import PointId, ShardKey, Stored, shard_keys
from spark_vector_sink.task import change_detection
from spark_vector_sink.task.change_detection import Changed, constant
from spark_vector_sink.task.encoder_runner import EncoderRunner
from spark_vector_sink.task.fingerprint import Fingerprints, what_decides
from spark_vector_sink.task.window import OLDER, UNCHANGED, Beside, ModelWanted, Read, Window, timed
from spark_vector_sink.task.windows import windows

T = TypeVar("T")


class WindowBuilder:
    """Reader that makes windows from one task's rows. Used by one thread at a time."""

    def __init__(self, plan: Plan, store: VectorStore, encoder: EncoderRunner | None, report: PartitionReport) -> None:
        self._plan, self._store, self._encoder, self._report = plan, store, encoder, report
        self._skip = plan.options.unchanged == "skip"
        self._merge = plan.options.existing == "merge"
        # a text that is a field within a column makes the column differ between chunks: it cannot be written for all
        self._payload_alone = not (plan.options.long_text == "chunk" and len(plan.columns.text_path or ()) > 1)
        self._field = plan.target.fingerprint if plan.target is not None else FINGERPRINT
        self._changed = Changed()
        self._fingerprints = Fingerprints(*what_decides(plan))
        self._is_wanted = not self.loads_late

    @property
    def loads_late(self) -> bool:
        """Return whether the model is loaded only when there is something to encode, which `ModelWanted` signals; else
        it is loaded with the first row."""
        return self._skip

    def windows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Window | ModelWanted]:
        """Yield the windows: documents, chunks, tokens."""
        source = batches if self._encoder is None or self.loads_late else self._encoder.watched(batches)
        for rows in timed(windows(source, self._plan.options.window_rows), self._report, "reading_seconds"):
            sifted = self._sifted(rows)
            read = Read.of(rows, sifted)
            found, beside = self._decided(read, sifted)
            if self._encoder is None or not len(found):
                yield Window(read, found, None, beside)
                continue
            if not self._is_wanted:
                self._is_wanted = True
                yield ModelWanted(self._encoder)
            if self._plan.options.long_text != "chunk":
                yield Window(read, found, self._encoder.tokenise(found.texts), beside)
            else:
                yield from self._windows_of_chunks(read, found, beside, self._encoder)

    def _sifted(self, rows: pa.RecordBatch) -> Sifted:
        plan = self._plan
        what = (rows, plan.columns, plan.options.id_namespace, plan.ready_made)
        return converter.sift(*what) if plan.options.rejects else converter.read(*what)

    def _decided(self, read: Read, sifted: Sifted) -> tuple[Documents, Beside | None]:
        """Return the documents to write with their vectors, and the other work; record which rows are unchanged or
        older."""
        options = self._plan.options
        found, deletions = self._stamped(sifted.documents), sifted.deletions
        if not (self._skip or options.version_column or options.op_column or options.delete_missing):
            return found, None
        stored = self._stored({**found.shards, **deletions.shards}) if self._skip or options.version_column else {}
        decided = change_detection.decide(
            found, stored, self._field if self._skip else None, self._merge, self._payload_alone
        )
        late = change_detection.older_deletions(deletions, stored)
        read.ends[decided.unchanged.rows] = UNCHANGED
        read.ends[decided.older.rows] = OLDER
        read.ends[deletions.rows[late]] = OLDER
        too_late = deletions.take(np.flatnonzero(late)).shards
        deletions = deletions.take(np.flatnonzero(~late))
        self._changed.add([*decided.write.ids, *decided.payload.ids, *deletions.ids])
        seen: dict[PointId, ShardKey | None] = {}
        if options.delete_missing:
            rejected = read.rows.take(pa.array(sorted(read.bad), pa.int64()))
            known = converter.known_ids(rejected, self._plan.columns, options.id_namespace)
            seen = {**decided.unchanged.shards, **decided.older.shards, **known}
        return decided.write, Beside(decided.payload, deletions, seen, {**decided.older.shards, **too_late}, stored)

    def _stored(self, documents: Mapping[PointId, ShardKey | None]) -> Mapping[PointId, Stored]:
        """Return what is stored of the documents that this task has not changed. With `unchanged=skip`, the fingerprint
        of a chunked document is kept only where every chunk has the same fingerprint and there is no extra chunk.
        documents: ids with their shard keys."""
        ids = list(documents)
        unchanged = [
            point for point, changed in zip(ids, self._changed.may_have(ids).tolist(), strict=True) if not changed
        ]
        stored = dict(self._store.stored(unchanged, shard_keys(documents, unchanged)))
        if not self._skip:
            return stored
        known = {point: there for point, there in stored.items() if there.fingerprint} if self._plan.has_chunks else {}
        chunks = {point: self._chunks(point, there.chunks + 1) for point, there in known.items()}
        pairs = [(chunk, point) for point, ids_of_one in chunks.items() for chunk in ids_of_one]
        others = (
            self._store.stored([chunk for chunk, _ in pairs], shard_keys(documents, [point for _, point in pairs]))
            if pairs
            else {}
        )
        for point, (*ids_of_one, beyond) in chunks.items():
            is_whole = all(
                (other := others.get(chunk)) is not None and other.fingerprint == known[point].fingerprint
                for chunk in ids_of_one
            )
            if not is_whole or beyond in others:
                stored[point] = replace(stored[point], fingerprint=None)
        return stored

    def _chunks(self, document: PointId, count: int) -> list[PointId]:
        return [keys.chunk_id(document, number, self._plan.options.id_namespace) for number in range(1, count)]

    def _stamped(self, found: Documents) -> Documents:
        """Return the documents with the fields of `_sink`, except those about chunks."""
        options, ours = self._plan.options, dict[str, pa.Array]()
        if (
            self._skip or self._merge
        ):  # a merge keeps the fields of `_sink` that it does not set, and an outdated fingerprint would be trusted
            ours[self._field] = pa.array(self._fingerprints.of(found), pa.string())
        if found.versions is not None:
            ours["version"] = pa.array(found.versions)
        if options.source is not None:
            ours |= {"source": constant(options.source, len(found)), "run": constant(self._plan.run, len(found))}
        return found.stamped(**ours) if ours else found

    def _windows_of_chunks(
        self, read: Read, found: Documents, beside: Beside | None, encoder: EncoderRunner
    ) -> Iterator[Window]:
        """Yield the chunks of documents in several windows, because long documents give more points than a window has
        rows."""
        plan = self._plan
        chunks = encoder.model.chunk(found.texts, plan.options.chunk_tokens, plan.options.chunk_overlap_tokens)
        counts = np.bincount(chunks.document, minlength=len(found))[chunks.document]
        size = chunk_points.at_once(found, plan.columns.text_path, plan.options.window_rows)
        for start in range(0, len(chunks.texts), size):
            part = slice(start, start + size)
            points = chunk_points.chunked(
                found,
                chunks.texts[part],
                chunks.document[part],
                chunks.number[part],
                counts[part],
                chunks.start[part],
                chunks.stop[part],
                namespace=plan.options.id_namespace,
                text_path=plan.columns.text_path,
            )
            yield Window(
                read,
                points,
                encoder.tokenise(points.texts),
                beside if start == 0 else None,
                start + size >= len(chunks.texts),
            )
