"""A task's encoder: loaded when the first row is there, while the first window is still being read; one thread tokenises ahead of it.
And `embedded`: a column of texts → a column of vectors, by the same engine without a store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pat

from spark_vector_sink.encode import encoder as encoders
from spark_vector_sink.encode.encoder import Encoded, Encoder, EncoderSpec, Tokenised
from spark_vector_sink.encode.windows import windows
from spark_vector_sink.errors import EncodingError
from spark_vector_sink.pipeline import Pipeline
from spark_vector_sink.plain import SparseVectors
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.rows import bad, vectors
from spark_vector_sink.rows.bad import BadRow
from spark_vector_sink.rows.documents import Documents

Vectors = npt.NDArray[np.float32] | SparseVectors

log = logging.getLogger("spark_vector_sink")


@dataclass(frozen=True)
class Task:
    """What Spark tells a task: which part it is, and what it may use.

    cpus: CPU cores of the task; None leaves torch's threads alone. gpus: addresses of the GPUs that it was given.
    files: the folder of the files that Spark ships to tasks.
    """

    partition: int = 0
    attempt: int = 0
    cpus: int | None = None
    gpus: tuple[str, ...] = ()
    files: str | None = None


class TaskEncoder:
    """The encoder of one task, shared by the thread that tokenises and the thread that encodes; counts into `report`."""

    def __init__(self, spec: EncoderSpec, task: Task, report: PartitionReport) -> None:
        self._spec, self._task, self._report = spec, task, report
        self._begun = time.perf_counter()
        self._wanted = threading.Event()
        self._any_rows = False
        self._done_before = 0
        self._loaded: Future[Encoder] = Future()

    def watched(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches; the first one with rows is the sign to load."""
        try:
            for batch in batches:
                if len(batch):
                    self._any_rows = True
                    self._wanted.set()
                yield batch
        finally:
            self._wanted.set()

    def load_for_rows(self) -> None:
        """Load the model in the calling thread, as soon as `watched` has seen a row; without any row nothing is loaded, nor imported."""
        self._wanted.wait()
        if self._any_rows:
            self.load()

    def load(self) -> None:
        """Load the model in the calling thread."""
        if not self._loaded.set_running_or_notify_cancel():
            raise CancelledError("the task has failed already")
        try:
            encoder = encoders.load(self._spec, gpus=self._task.gpus, threads=self._task.cpus, files=self._task.files)
        except BaseException as error:  # whatever it is, the thread that tokenises waits for it
            self._loaded.set_exception(error)
            raise
        self._report.device, self._report.dtype = encoder.device, encoder.dtype
        self._done_before = encoder.tokens_done  # by tasks before this one, in the same process
        self._loaded.set_result(encoder)

    def give_up(self) -> None:
        """The task has failed: nobody loads the model any more, so nobody shall wait for it."""
        self._loaded.cancel()
        self._wanted.set()

    @property
    def model(self) -> Encoder:
        """The encoder; waits until it is loaded. Raises CancelledError where it was given up."""
        return self._loaded.result()

    def tokens_done(self) -> int:
        """Tokens that have gone through the model for this task, as of now; 0 while it is not loaded, or where it does not tell."""
        loaded = self._loaded
        is_there = loaded.done() and not loaded.cancelled() and loaded.exception() is None
        return self.model.tokens_done - self._done_before if is_there else 0

    def is_loading(self) -> bool:
        """Whether the model is just being loaded, which may take most of a short task."""
        return self._loaded.running()

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        tokenised = self.model.tokenise(texts)
        self._report.tokenising_seconds += tokenised.seconds
        return tokenised

    def encode(self, tokenised: Tokenised) -> Encoded:
        """The window's vectors; counts tokens, seconds and lacks of memory."""
        report = self._report
        encoded = self.model.encode(tokenised)
        report.first_vector_seconds = report.first_vector_seconds or time.perf_counter() - self._begun
        report.encoding_seconds += encoded.seconds
        report.token_budget = self.model.token_budget
        report.halvings += encoded.halvings
        report.tokens += int(encoded.tokens.sum())
        return encoded


def unfit(
    points: Documents, made: Mapping[str, Vectors], datatypes: Mapping[str, str], encoded: Encoded | None, column: str, long_text: str
) -> list[BadRow]:
    """What of the points cannot be written, the first reason of each: texts that the model did not take, or that are too long where
    `long_text` does not take them, and vectors that cannot be compared with others, or that the collection would store as something else.
    made, datatypes: by the vectors' names. encoded: None where vectors are ready-made."""
    found: dict[int, tuple[str, str]] = {}
    if encoded is not None:
        found |= {point: (bad.MEMORY, reason) for point, reason in encoded.failed.items()}
        for point in np.flatnonzero(encoded.cut).tolist() if long_text in ("fail", "reject") else ():
            found.setdefault(point, (bad.LONG_TEXT, f"{_too_long(encoded, point)} (option 'long_text' = '{long_text}')"))
    for name, vectors_of_one_kind in made.items():
        for point, reason in _unusable(vectors_of_one_kind, datatypes.get(name, vectors.FLOAT32)).items():
            found.setdefault(point, (bad.VECTOR, reason))
    return [BadRow(int(points.rows[point]), points.keys[point], column, *found[point]) for point in sorted(found)]


def _unusable(made: Vectors, datatype: str) -> dict[int, str]:
    """The reason of each vector that cannot be compared, or stored; one by one only where there is any."""

    def first(start: int, stop: int) -> tuple[int, str] | None:
        if isinstance(made, SparseVectors):
            some = made.slice(start, stop)
            return vectors.unusable_sparse(some) or vectors.unlike_sparse(some, datatype)
        return vectors.unusable(made[start:stop]) or vectors.unlike(made[start:stop], datatype)

    return {} if first(0, len(made)) is None else bad.each(len(made), lambda row: first(row, row + 1))


def _too_long(encoded: Encoded, row: int) -> str:
    return f"has {int(encoded.tokens[row] + encoded.cut[row]):,} tokens, the model reads {int(encoded.tokens[row]):,}"


def embedded(spec: EncoderSpec, texts: Iterable[pa.Array], task: Task, *, window_rows: int, fail_on_long: bool = False) -> Iterator[pa.Array]:
    """Columns of texts → columns of vectors: list<float>, in the same order and of the same total length, cut anywhere. A null or blank
    text has no vector: null. Raises EncodingError."""
    report = PartitionReport(partition=task.partition)
    encoder = TaskEncoder(spec, task, report)
    with Pipeline(encoder.give_up) as pipeline:
        batches = (pa.RecordBatch.from_arrays([array], names=["text"]) for array in pipeline.until_error(texts))
        ahead = pipeline.ahead(_tokenised(windows(encoder.watched(batches), window_rows), encoder))
        encoder.load_for_rows()
        for there, tokenised in ahead:
            encoded = encoder.encode(tokenised)
            _refuse(encoded, fail_on_long)
            report.truncated += int(np.count_nonzero(encoded.cut))
            report.tokens_cut += int(encoded.cut.sum())
            yield _column(encoded, there)
    if report.truncated:
        log.warning(f"embed(): {report.truncated:,} texts are longer than the model reads; {report.tokens_cut:,} tokens of them were cut")


def _tokenised(rows: Iterator[pa.RecordBatch], encoder: TaskEncoder) -> Iterator[tuple[list[bool], Tokenised]]:
    """For each window: which rows have a text, and those texts."""
    for window in rows:
        column = window.column(0)
        if not (pat.is_string(column.type) or pat.is_large_string(column.type) or pat.is_null(column.type)):
            raise EncodingError(f"embed() encodes texts, and its column holds values of type {column.type}; cast it to string")
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raise EncodingError("a text holds bytes that are no UTF-8; decode the column first") from None
        texts = column.to_pylist()
        there = [text is not None and not text.isspace() and text != "" for text in texts]
        yield there, encoder.tokenise([text for text, is_there in zip(texts, there, strict=True) if is_there])


def _refuse(encoded: Encoded, fail_on_long: bool) -> None:
    for reason in encoded.failed.values():
        raise EncodingError(f"a text cannot be encoded: it {reason}")
    if fail_on_long and encoded.cut.any():
        raise EncodingError(f"a text {_too_long(encoded, int(np.argmax(encoded.cut > 0)))} (option 'long_text' = 'fail')")
    unusable = vectors.unusable(encoded.vectors)
    if unusable is not None:
        raise EncodingError(f"the model {unusable[1]} for a text of {int(encoded.tokens[unusable[0]]):,} tokens")


def _column(encoded: Encoded, there: Sequence[bool]) -> pa.Array:
    lengths = np.where(there, encoded.vectors.shape[1], 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = pa.array(encoded.vectors.ravel(), pa.float32())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=pa.array(~np.asarray(there, bool)))
