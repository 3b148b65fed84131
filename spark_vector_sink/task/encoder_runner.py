"""Run a task's encoder: loaded when the first row is there, while the first window is still being read; one thread
tokenises ahead of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future

import pyarrow as pa

from spark_vector_sink.encode import loader
from spark_vector_sink.encode.encoder import Encoded, Encoder, EncoderSpec, Tokenised
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.task.context import TaskContext

log = logging.getLogger("spark_vector_sink")


class EncoderRunner:
    """The encoder of one task, shared by the thread that tokenises and the thread that encodes; counts into
    `report`."""

    def __init__(self, spec: EncoderSpec, task: TaskContext, report: PartitionReport) -> None:
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
        """Load the model in the calling thread, as soon as `watched` has seen a row; without any row nothing is loaded,
        nor imported."""
        self._wanted.wait()
        if self._any_rows:
            self.load()

    def load(self) -> None:
        """Load the model in the calling thread."""
        if not self._loaded.set_running_or_notify_cancel():
            raise CancelledError("the task has failed already")
        try:
            encoder = loader.load(self._spec, gpus=self._task.gpus, threads=self._task.cpus, files=self._task.files)
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
        """Tokens that have gone through the model for this task, as of now; 0 while it is not loaded, or where it does
        not tell."""
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
