"""A window of rows on its way through a task: what is known of its rows, what is to be written of them, and what
beside."""

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
    """Rows that were read together. ends: what becomes of each (an index of ROW_COUNTS), as far as it is known; -1
    would be a row that was forgotten. bad: the rejected ones, by their place."""

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
        """Rows that are rejected, whatever else was known of them."""
        for one in found:
            self.ends[one.row] = REJECTED
            self.bad.setdefault(one.row, one)

    def are_older(self, rows: npt.NDArray[np.int64]) -> None:
        """Rows of whose documents something newer is there."""
        self.ends[rows[self.ends[rows] != REJECTED]] = OLDER


@dataclass(frozen=True)
class Beside:
    """What is to be done beside the model: documents of which the payload alone is written, those to be deleted, and
    those that are only seen.

    stored: what is known to be there of them. seen: documents to be marked as such (option `delete_missing`), though
    nothing of them is written. seen, older: with their shard keys. older: documents that are left as they are, because
    what is there is newer. tombstones: points to be written as they are, without vectors; they count as points.
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
    there is nothing to encode. is_last: whether all points of the rows are on their way with these."""

    read: Read
    points: Documents
    tokenised: Tokenised | None
    beside: Beside | None = None
    is_last: bool = True


@dataclass(frozen=True)
class ModelWanted:
    """Stands among the windows where the model is needed for the first time; the task's own thread loads it."""

    encoder: EncoderRunner


class Windows(Protocol):
    """What a task does before the model."""

    @property
    def loads_late(self) -> bool:
        """Whether the model is loaded only when there is something to encode: `ModelWanted` says when. Else with the
        first row."""

    def windows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Window | ModelWanted]:
        """What there is to do before the model: documents, chunks, tokens."""


Reader: TypeAlias = Callable[[Plan, VectorStore, EncoderRunner | None, PartitionReport], Windows]


def timed(source: Iterator[T], report: PartitionReport, field: str) -> Iterator[T]:
    """The items of `source`; the time to get them is added to this field of the report."""
    while True:
        begun = time.perf_counter()
        item = next(source, None)
        setattr(report, field, getattr(report, field) + time.perf_counter() - begun)
        if item is None:
            return
        yield item
