"""Hold a window of rows on its way through a task: the rows, the points to write, and the other work for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.encode.encoder import Tokenised
from spark_vector_sink.job import Plan
from spark_vector_sink.report import ROW_COUNTS, PartitionReport
from spark_vector_sink.rows.bad_rows import BadRow
from spark_vector_sink.rows.documents import Documents, Sifted
from spark_vector_sink.store.protocols import VectorStore
from spark_vector_sink.store.write_batch import PointId, ShardKey, Stored
from spark_vector_sink.task.encoder_runner import EncoderRunner

T = TypeVar("T")


WRITTEN, UNCHANGED, OLDER, SUPERSEDED, DELETED, IGNORED, REJECTED = (
    ROW_COUNTS.index(name) for name in ("written", "unchanged", "older", "superseded", "deleted", "ignored", "rejected")
)


@dataclass
class Read:
    """Rows that were read together. ends: the outcome of each row (an index of ROW_COUNTS), as far as it is known; -1
    would be a forgotten row. bad: the rejected rows, by their place."""

    rows: pa.RecordBatch
    ends: npt.NDArray[np.int8]
    bad: dict[int, BadRow] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pa.RecordBatch, sifted: Sifted) -> Read:
        read = cls(rows, np.full(len(rows), -1, np.int8))
        ends = (
            (sifted.superseded, SUPERSEDED),
            (sifted.ignored, IGNORED),
            (sifted.documents.rows, WRITTEN),
            (sifted.deletions.rows, DELETED),
        )
        for places, end in ends:
            read.ends[places] = end
        read.refuse(sifted.bad)
        return read

    def refuse(self, found: Sequence[BadRow]) -> None:
        """Mark rows as rejected, whatever their outcome was before."""
        for one in found:
            self.ends[one.row] = REJECTED
            self.bad.setdefault(one.row, one)

    def are_older(self, rows: npt.NDArray[np.int64]) -> None:
        """Mark rows as older, except rejected rows, because something newer is stored of their documents."""
        self.ends[rows[self.ends[rows] != REJECTED]] = OLDER


@dataclass(frozen=True)
class Beside:
    """Work of a window that needs no model: documents whose payload alone is written, documents to delete, and
    documents that are only marked as seen.

    stored: what is known to be stored of the documents. seen: documents to be marked as seen (option `delete_missing`),
    though nothing of them is written. older: documents that stay unchanged, because the stored ones are newer. Both
    come with their shard keys. tombstones: points to be written unchanged, without vectors; they count as points.
    """

    payload: Documents
    deletions: Documents
    seen: Mapping[PointId, ShardKey | None]
    older: Mapping[PointId, ShardKey | None]
    stored: Mapping[PointId, Stored]
    tombstones: Documents | None = None


@dataclass(frozen=True)
class Window:
    """Texts that are encoded together. points: one for each document, or for each of its chunks. tokenised: None where
    there is nothing to encode. is_last: whether this is the last window of the rows in `read`, so that all their points
    have been sent."""

    read: Read
    points: Documents
    tokenised: Tokenised | None
    beside: Beside | None = None
    is_last: bool = True


@dataclass(frozen=True)
class ModelWanted:
    """Marker among the windows at the place where the model is needed for the first time; the task's own thread then
    loads it."""

    encoder: EncoderRunner


class Windows(Protocol):
    """Reader that does a task's work before the model."""

    @property
    def loads_late(self) -> bool:
        """Return whether the model is loaded only when there is something to encode, which `ModelWanted` signals; else
        it is loaded with the first row."""

    def windows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Window | ModelWanted]:
        """Yield the windows: documents, chunks, tokens."""


Reader: TypeAlias = Callable[[Plan, VectorStore, EncoderRunner | None, PartitionReport], Windows]


def timed(source: Iterator[T], report: PartitionReport, field: str) -> Iterator[T]:
    """Yield the items of `source`, and add the seconds spent waiting for each to this field of the report."""
    while True:
        begun = time.perf_counter()
        item = next(source, None)
        setattr(report, field, getattr(report, field) + time.perf_counter() - begun)
        if item is None:
            return
        yield item
