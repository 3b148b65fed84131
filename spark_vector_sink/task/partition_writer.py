"""Write one partition: rows → documents → vectors → points, in bounded windows; three threads work on three windows at
once.

The input is an `Iterator[pyarrow.RecordBatch]`, so a partition can be written, tested and profiled without Spark.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from functools import partial

import pyarrow as pa

from spark_vector_sink.job import Plan, target_of
from spark_vector_sink.rejects import Rejects
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.store import registry
from spark_vector_sink.task.context import TaskContext as TaskContext
from spark_vector_sink.task.encoder_runner import EncoderRunner
from spark_vector_sink.task.pipeline import Pipeline
from spark_vector_sink.task.point_writer import PointWriter
from spark_vector_sink.task.progress import Progress
from spark_vector_sink.task.window import ModelWanted, Reader, timed
from spark_vector_sink.task.window_builder import WindowBuilder

log = logging.getLogger("spark_vector_sink")


def write_partition(
    plan: Plan, batches: Iterable[pa.RecordBatch], task: TaskContext, reader: Reader = WindowBuilder
) -> PartitionReport:
    """Write one partition. At return everything is acknowledged and applied, and no request is in flight. reader: makes
    windows from the batches.

    Three threads work on three windows at once: one reads and tokenises, the calling thread encodes, one builds points
    and sends them. Memory depends on the options `window_rows`, `token_budget` and `max_in_flight`, never on the
    partition's length. Raises BadRowError, EncodingError, RejectsError or StoreError.
    """
    begun = time.perf_counter()
    report = PartitionReport(partition=task.partition)
    store = registry.store(plan.options, plan.place, target_of(plan), plan.run, task.partition, task.attempt)
    rejected = Rejects(plan.options, plan.run, task.partition, task.attempt)
    encoder = EncoderRunner(plan.encoder, task, report) if plan.encoder is not None else None

    def stop() -> None:
        """End what the task's threads may wait for: the model, and requests that are retried."""
        if encoder is not None:
            encoder.give_up()
        store.close()

    progress = Progress(
        plan.options.progress_seconds,
        report,
        *((encoder.tokens_done, encoder.is_loading) if encoder is not None else ()),
    )
    with progress, closing(store), closing(rejected), Pipeline(stop) as pipeline:
        delivery = PointWriter(plan, store, rejected, report)
        reading = reader(plan, store, encoder, report)
        ahead = pipeline.ahead(reading.windows(pipeline.until_error(batches)))
        if encoder is not None and not reading.loads_late:
            encoder.load_for_rows()
        for window in timed(ahead, report, "waiting_seconds"):
            if isinstance(window, ModelWanted):
                window.encoder.load()
                continue
            encoded = encoder.encode(window.tokenised) if encoder is not None and window.tokenised is not None else None
            pipeline.behind(partial(delivery.deliver, window, encoded))
        pipeline.wait()
        delivery.finish()
    report.peak_bytes = _peak_bytes()
    report.task_seconds = time.perf_counter() - begun
    return report


def _peak_bytes() -> int:
    """Return the peak resident memory of this process, in bytes; 0 where the system does not tell."""
    if os.name != "posix":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
