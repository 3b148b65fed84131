"""What a task does behind the model: vectors are checked, points built and sent; and a row counts when it is known what became of its points."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.delivery import rejects
from spark_vector_sink.delivery.rejects import Rejects
from spark_vector_sink.encode.encoder import Encoded, Tokenised
from spark_vector_sink.encoding import Vectors, unfit
from spark_vector_sink.plain import SparseVectors
from spark_vector_sink.plan import Plan
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.rows import vectors
from spark_vector_sink.rows.bad import REFUSED, BadRow
from spark_vector_sink.rows.documents import Documents
from spark_vector_sink.store.points import PointBatch, Sent
from spark_vector_sink.store.store import VectorStore


@dataclass
class Read:
    """Rows that were read together. documents: how many of them may become points. bad: the others, by their place; what the model or the
    store does not take joins them until it is known of the last of their points what became of it."""

    rows: pa.RecordBatch
    superseded: int
    documents: int
    bad: dict[int, BadRow]

    def refuse(self, found: Sequence[BadRow]) -> None:
        """Documents that cannot be written, after all."""
        for one in found:
            self.documents -= one.row not in self.bad
            self.bad.setdefault(one.row, one)


@dataclass(frozen=True)
class Window:
    """Texts that are encoded together. points: one for each document, or for each of its chunks. tokenised: None where there is nothing
    to encode. is_last: whether all points of the rows are on their way with these."""

    read: Read
    points: Documents
    tokenised: Tokenised | None
    is_last: bool = True


class Delivery:
    """One task's windows on their way to the store; used by one thread at a time. Counts into `report`."""

    def __init__(self, plan: Plan, store: VectorStore, rejected: Rejects, report: PartitionReport) -> None:
        self._plan, self._store, self._rejected, self._report = plan, store, rejected, report
        self._sent: deque[tuple[Window, Documents, Sent]] = deque()

    def deliver(self, window: Window, encoded: Encoded | None) -> None:
        """Send the points that can be written. Of a rejected document no chunk is sent from here on."""
        points = window.points
        sent = Sent()
        if len(points):
            made, points = self._fit(window, encoded)
            if len(points):
                begun = time.perf_counter()
                sent = self._store.submit(PointBatch(points.ids, made, points.payload))
                self._report.store_seconds += time.perf_counter() - begun
        self._sent.append((window, points, sent))
        self._settle()

    def finish(self) -> None:
        """Return when everything is acknowledged and applied, and every row is counted."""
        begun = time.perf_counter()
        self._report.receipts = self._store.flush()
        self._settle()
        self._report.rejects = self._rejected.flush()
        self._report.store_seconds += time.perf_counter() - begun
        self._report.retries = self._store.retries

    def _fit(self, window: Window, encoded: Encoded | None) -> tuple[dict[str, Vectors], Documents]:
        """The vectors and the points that can be written; the others join the bad rows, or end the job."""
        plan, read, points, report = self._plan, window.read, window.points, self._report
        made = self._vectors(points, encoded)
        column = str(plan.columns.vector) if encoded is None else ", ".join(plan.columns.text)
        found = unfit(points, made.values(), encoded, column, plan.options.long_text)
        rejects.refuse(plan.options, found)
        read.refuse(found)
        cut = np.zeros(len(points), np.int64) if encoded is None else encoded.cut
        left = np.flatnonzero(~np.isin(points.rows, list(read.bad)))
        if len(left) < len(points):
            points, cut = points.take(left), cut[left]
            made = {name: one.take(left) if isinstance(one, SparseVectors) else one[left] for name, one in made.items()}
        report.tokens_cut += int(cut.sum())
        report.truncated += int(np.count_nonzero(cut))
        return made, points

    def _vectors(self, points: Documents, encoded: Encoded | None) -> dict[str, Vectors]:
        """The vectors of each point, by their names."""
        spec = self._plan.spec
        if encoded is None:
            made = vectors.matrix(points.vectors, spec.dimension or 0)  # known by now: `check` refuses a job where it is not
            return {spec.vector_name: self._scaled(vectors.normalized(made) if self._plan.options.normalize else made)}
        named: dict[str, Vectors] = {spec.vector_name: self._scaled(encoded.vectors)} if spec.dense else {}
        if encoded.sparse is not None and spec.sparse_vector_name is not None:
            named[spec.sparse_vector_name] = encoded.sparse
        return named

    def _scaled(self, made: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return vectors.comparable(made) if self._plan.spec.distance == "cosine" else made

    def _settle(self) -> None:
        """Count the windows, in their order, of which it is known what became of all points."""
        report = self._report
        while self._sent and self._sent[0][2].is_done:
            window, points, sent = self._sent.popleft()
            read = window.read
            if sent.refused:
                found = [
                    BadRow(int(points.rows[n]), points.keys[n], "", REFUSED, sent.refused[point])
                    for n, point in enumerate(points.ids)
                    if point in sent.refused
                ]
                rejects.refuse(self._plan.options, found)
                read.refuse(found)
            report.points += len(points) - len(sent.refused)
            if window.is_last:
                self._rejected.add(read.rows, read.bad)
                report.rows += len(read.rows)
                report.superseded += read.superseded
                report.written += read.documents
                report.rejected += len(read.bad)
