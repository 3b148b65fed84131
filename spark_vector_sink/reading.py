"""What a task does before the model: rows → documents → what is to be done with each → windows of texts, tokenised."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.delivery import deciding
from spark_vector_sink.delivery.deciding import Changed, constant
from spark_vector_sink.delivery.fingerprint import Fingerprints
from spark_vector_sink.encode.encoder import Tokenised
from spark_vector_sink.encode.windows import windows
from spark_vector_sink.encoding import TaskEncoder
from spark_vector_sink.plan import Plan
from spark_vector_sink.report import ROW_COUNTS, PartitionReport
from spark_vector_sink.rows import keys, pieces, sifting
from spark_vector_sink.rows.bad import BadRow
from spark_vector_sink.rows.documents import Documents, Sifted
from spark_vector_sink.store.points import PointId, ShardKey, Stored, shard_keys
from spark_vector_sink.store.store import FINGERPRINT, VectorStore

T = TypeVar("T")

WRITTEN, UNCHANGED, OLDER, SUPERSEDED, DELETED, IGNORED, REJECTED = (
    ROW_COUNTS.index(name) for name in ("written", "unchanged", "older", "superseded", "deleted", "ignored", "rejected")
)


@dataclass
class Read:
    """Rows that were read together. ends: what becomes of each (an index of ROW_COUNTS), as far as it is known; -1 would be a row that was
    forgotten. bad: the rejected ones, by their place."""

    rows: pa.RecordBatch
    ends: npt.NDArray[np.int8]
    bad: dict[int, BadRow] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pa.RecordBatch, sifted: Sifted) -> Read:
        read = cls(rows, np.full(len(rows), -1, np.int8))
        ends = (sifted.superseded, SUPERSEDED), (sifted.ignored, IGNORED), (sifted.documents.rows, WRITTEN), (sifted.deletions.rows, DELETED)
        for places, end in ends:
            read.ends[places] = end
        read.refuse(sifted.bad)
        return read

    def refuse(self, found: Sequence[BadRow]) -> None:
        """Rows that are rejected, whatever else was known of them."""
        for one in found:
            self.ends[one.row] = REJECTED
            self.bad.setdefault(one.row, one)

    def are_older(self, rows: npt.NDArray[np.int64]) -> None:
        """Rows of whose documents something newer is there."""
        self.ends[rows[self.ends[rows] != REJECTED]] = OLDER


@dataclass(frozen=True)
class Beside:
    """What is to be done beside the model: documents of which the payload alone is written, those to be deleted, and those that are only seen.

    stored: what is known to be there of them. seen: documents to be marked as such (option `delete_missing`), though nothing of them is written.
    seen, older: with their shard keys. older: documents that are left as they are, because what is there is newer.
    tombstones: points to be written as they are, without vectors; they count as points.
    """

    payload: Documents
    deletions: Documents
    seen: Mapping[PointId, ShardKey | None]
    older: Mapping[PointId, ShardKey | None]
    stored: Mapping[PointId, Stored]
    tombstones: Documents | None = None


@dataclass(frozen=True)
class Window:
    """Texts that are encoded together. points: one for each document, or for each of its chunks. tokenised: None where there is nothing
    to encode. is_last: whether all points of the rows are on their way with these."""

    read: Read
    points: Documents
    tokenised: Tokenised | None
    beside: Beside | None = None
    is_last: bool = True


@dataclass(frozen=True)
class ModelWanted:
    """Stands among the windows where the model is needed for the first time; the task's own thread loads it."""

    encoder: TaskEncoder


class Windows(Protocol):
    """What a task does before the model."""

    @property
    def loads_late(self) -> bool:
        """Whether the model is loaded only when there is something to encode: `ModelWanted` says when. Else with the first row."""

    def windows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Window | ModelWanted]:
        """What there is to do before the model: documents, chunks, tokens."""


Reader: TypeAlias = Callable[[Plan, VectorStore, TaskEncoder | None, PartitionReport], Windows]


class Reading:
    """One task's rows on their way to the model; used by one thread at a time."""

    def __init__(self, plan: Plan, store: VectorStore, encoder: TaskEncoder | None, report: PartitionReport) -> None:
        self._plan, self._store, self._encoder, self._report = plan, store, encoder, report
        self._skip = plan.options.unchanged == "skip"
        self._merge = plan.options.existing == "merge"
        # a chunk's text within a column of other values: that column cannot be written for all chunks at once
        self._payload_alone = not (plan.options.long_text == "chunk" and len(plan.columns.text_path or ()) > 1)
        self._field = plan.target.fingerprint if plan.target is not None else FINGERPRINT
        self._changed = Changed()
        self._fingerprints = Fingerprints(*what_decides(plan))
        self._is_wanted = not self.loads_late

    @property
    def loads_late(self) -> bool:
        """Whether the model is loaded only when there is something to encode: `ModelWanted` says when. Else with the first row."""
        return self._skip

    def windows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Window | ModelWanted]:
        """What there is to do before the model: documents, chunks, tokens."""
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
        return sifting.sift(*what) if plan.options.rejects else sifting.read(*what)

    def _decided(self, read: Read, sifted: Sifted) -> tuple[Documents, Beside | None]:
        """What is to be written with its vectors, and what else is to be done. Counts what is as it should be."""
        options = self._plan.options
        found, deletions = self._stamped(sifted.documents), sifted.deletions
        if not (self._skip or options.version_column or options.op_column or options.delete_missing):
            return found, None
        stored = self._stored({**found.shards, **deletions.shards}) if self._skip or options.version_column else {}
        decided = deciding.decide(found, stored, self._field if self._skip else None, self._merge, self._payload_alone)
        late = deciding.older_deletions(deletions, stored)
        read.ends[decided.unchanged.rows] = UNCHANGED
        read.ends[decided.older.rows] = OLDER
        read.ends[deletions.rows[late]] = OLDER
        too_late = deletions.take(np.flatnonzero(late)).shards
        deletions = deletions.take(np.flatnonzero(~late))
        self._changed.add([*decided.write.ids, *decided.payload.ids, *deletions.ids])
        seen: dict[PointId, ShardKey | None] = {}
        if options.delete_missing:
            rejected = read.rows.take(pa.array(sorted(read.bad), pa.int64()))
            known = sifting.known_ids(rejected, self._plan.columns, options.id_namespace)
            seen = {**decided.unchanged.shards, **decided.older.shards, **known}
        return decided.write, Beside(decided.payload, deletions, seen, {**decided.older.shards, **too_late}, stored)

    def _stored(self, documents: Mapping[PointId, ShardKey | None]) -> Mapping[PointId, Stored]:
        """What is there of documents that this task has not changed; of chunked ones the fingerprint only where each chunk has the same, and where
        there is no chunk too many. documents: with their shard keys."""
        ids = list(documents)
        unchanged = [point for point, changed in zip(ids, self._changed.may_have(ids).tolist(), strict=True) if not changed]
        stored = dict(self._store.stored(unchanged, shard_keys(documents, unchanged)))
        if not self._skip:
            return stored
        known = {point: there for point, there in stored.items() if there.fingerprint} if self._plan.has_chunks else {}
        chunks = {point: self._chunks(point, there.chunks + 1) for point, there in known.items()}
        pairs = [(chunk, point) for point, ids_of_one in chunks.items() for chunk in ids_of_one]
        others = self._store.stored([chunk for chunk, _ in pairs], shard_keys(documents, [point for _, point in pairs])) if pairs else {}
        for point, (*ids_of_one, beyond) in chunks.items():
            is_whole = all((other := others.get(chunk)) is not None and other.fingerprint == known[point].fingerprint for chunk in ids_of_one)
            if not is_whole or beyond in others:
                stored[point] = replace(stored[point], fingerprint=None)
        return stored

    def _chunks(self, document: PointId, count: int) -> list[PointId]:
        return [keys.chunk_id(document, number, self._plan.options.id_namespace) for number in range(1, count)]

    def _stamped(self, found: Documents) -> Documents:
        """The documents with what `_sink` says of them, besides their chunks."""
        options, ours = self._plan.options, dict[str, pa.Array]()
        if self._skip or self._merge:  # a merge leaves the fields of `_sink` that it does not set: one of an earlier text would be believed
            ours[self._field] = pa.array(self._fingerprints.of(found), pa.string())
        if found.versions is not None:
            ours["version"] = pa.array(found.versions)
        if options.source is not None:
            ours |= {"source": constant(options.source, len(found)), "run": constant(self._plan.run, len(found))}
        return found.stamped(**ours) if ours else found

    def _windows_of_chunks(self, read: Read, found: Documents, beside: Beside | None, encoder: TaskEncoder) -> Iterator[Window]:
        """Long documents give more points than a window has rows, so they are spread."""
        plan = self._plan
        chunks = encoder.model.chunk(found.texts, plan.options.chunk_tokens, plan.options.chunk_overlap_tokens)
        counts = np.bincount(chunks.document, minlength=len(found))[chunks.document]
        size = pieces.at_once(found, plan.columns.text_path, plan.options.window_rows)
        for start in range(0, len(chunks.texts), size):
            part = slice(start, start + size)
            points = pieces.chunked(
                found, chunks.texts[part], chunks.document[part], chunks.number[part], counts[part], chunks.start[part], chunks.stop[part],
                namespace=plan.options.id_namespace, text_path=plan.columns.text_path,
            )  # fmt: skip
            yield Window(read, points, encoder.tokenise(points.texts), beside if start == 0 else None, start + size >= len(chunks.texts))


def what_decides(plan: Plan) -> tuple[object, object]:
    """Whatever decides the vector besides the text, and the payload besides its values."""
    options = plan.options
    names = (
        "vector_name",
        "sparse_vector_name",
        "distance",
        "dtype",
        "normalize",
        "long_text",
        "chunk_tokens",
        "chunk_overlap_tokens",
        "id_namespace",
    )
    vector = {name: str(getattr(options, name)) for name in names} | {"model": plan.encoder.full_identity if plan.encoder else None}
    if options.long_text == "chunk":  # a chunk's payload is changed name by name, so the names must stay
        vector["payload"] = str(plan.columns.payload)
    return vector, {"source": options.source}


def timed(source: Iterator[T], report: PartitionReport, field: str) -> Iterator[T]:
    """The items of `source`; the time to get them is added to this field of the report."""
    while True:
        begun = time.perf_counter()
        item = next(source, None)
        setattr(report, field, getattr(report, field) + time.perf_counter() - begun)
        if item is None:
            return
        yield item
