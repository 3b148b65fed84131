"""Run a task's encoder: load it when the first row arrives, while the first window is still being read; one thread
tokenises while another encodes."""

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
    """Encoder of one task, shared by the thread that tokenises and the thread that encodes. Counts into `report`."""

    def __init__(self, spec: EncoderSpec, task: TaskContext, report: PartitionReport) -> None:
        self._spec, self._task, self._report = spec, task, report
        self._begun = time.perf_counter()
        self._wanted = threading.Event()
        self._any_rows = False
        self._done_before = 0
        self._loaded: Future[Encoder] = Future()

    def watched(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches; the first batch with rows signals that the encoder is needed."""
        try:
            for batch in batches:
                if len(batch):
                    self._any_rows = True
                    self._wanted.set()
                yield batch
        finally:
            self._wanted.set()

    def load_for_rows(self) -> None:
        """Load the model in the calling thread, as soon as `watched` has seen a row. Without any row nothing is loaded
        or imported."""
        self._wanted.wait()
        if self._any_rows:
            self.load()

    def load(self) -> None:
        """Load the model in the calling thread."""
        if not self._loaded.set_running_or_notify_cancel():
            raise CancelledError("the task has failed already")
        try:
            encoder = loader.load(self._spec, gpus=self._task.gpus, threads=self._task.cpus, files=self._task.files)
        except BaseException as error:  # any error, because the thread that tokenises waits for the result
            self._loaded.set_exception(error)
            raise
        self._report.device, self._report.dtype = encoder.device, encoder.dtype
        self._done_before = encoder.tokens_done  # by earlier tasks in the same process
        self._loaded.set_result(encoder)

    def give_up(self) -> None:
        """Give up after the task has failed: the model will not be loaded any more, so nothing may wait for it."""
        self._loaded.cancel()
        self._wanted.set()

    @property
    def model(self) -> Encoder:
        """Return the encoder; wait until it is loaded. Raises CancelledError where `give_up` was called."""
        return self._loaded.result()

    def tokens_done(self) -> int:
        """Return the number of tokens that the model has encoded for this task until now; 0 before the model is loaded,
        or where the model does not count tokens."""
        loaded = self._loaded
        is_there = loaded.done() and not loaded.cancelled() and loaded.exception() is None
        return self.model.tokens_done - self._done_before if is_there else 0

    def is_loading(self) -> bool:
        """Return whether the model is being loaded, which may take most of a short task."""
        return self._loaded.running()

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        tokenised = self.model.tokenise(texts)
        self._report.tokenising_seconds += tokenised.seconds
        return tokenised

    def encode(self, tokenised: Tokenised) -> Encoded:
        """Encode a window and return its vectors; count tokens, seconds and halvings of the token budget."""
        report = self._report
        encoded = self.model.encode(tokenised)
        report.first_vector_seconds = report.first_vector_seconds or time.perf_counter() - self._begun
        report.encoding_seconds += encoded.seconds
        report.token_budget = self.model.token_budget
        report.halvings += encoded.halvings
        report.tokens += int(encoded.tokens.sum())
        return encoded
