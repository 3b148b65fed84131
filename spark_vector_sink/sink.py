"""The engine: the only place where rows, encoder and store meet.

prepare()          on the driver: the collection is there
write_partition()  in a task: rows → documents → vectors → points, in bounded windows
finish()           on the driver: everything is in; the report
abandon()          on the driver: the job failed; the report says how far it came

`plan.plan()` comes first. Everything works on `Iterator[pyarrow.RecordBatch]`, so it runs, is tested and is profiled
without Spark.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs

from spark_vector_sink import stores
from spark_vector_sink.encode import encoder as encoders
from spark_vector_sink.encode.encoder import EncoderSpec
from spark_vector_sink.encode.windows import windows
from spark_vector_sink.errors import BadRowError, CollectionError, IncompleteError, shorten
from spark_vector_sink.plan import Plan
from spark_vector_sink.report import PartitionReport, WriteReport
from spark_vector_sink.rows import documents, vectors
from spark_vector_sink.rows.documents import Documents
from spark_vector_sink.store.guard import other_model
from spark_vector_sink.store.store import PointBatch, Target

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """What Spark tells a task: which part it is, and what it may use.

    cpus: CPU cores of the task; None leaves torch's threads alone. gpus: addresses of the GPUs that it was given.
    """

    partition: int = 0
    attempt: int = 0
    cpus: int | None = None
    gpus: tuple[str, ...] = ()


def prepare(plan: Plan) -> Plan:
    """Create what the plan announced; the plan that tasks get."""
    with stores.collections(plan.options, plan.place) as collections:
        return replace(plan, target=collections.prepare(_target(plan), plan.spec, plan.run))


def write_partition(plan: Plan, batches: Iterable[pa.RecordBatch], task: Task) -> PartitionReport:
    """Write one partition. When it returns, everything was acknowledged and applied, and nothing is in flight.

    Memory depends on the options `window_rows`, `token_budget` and `max_in_flight`, never on the partition's length.
    Raises BadRowError, EncodingError or StoreError.
    """
    report = PartitionReport(partition=task.partition)
    store = stores.store(plan.options, plan.place, _target(plan), plan.run, task.partition, task.attempt)
    try:
        for rows in _timed(windows(batches, plan.options.window_rows), report):
            found = documents.read(rows, plan.columns, plan.options.id_namespace)
            made = _vectors(plan, found, task, report)
            begun = time.perf_counter()
            store.submit(PointBatch(found.ids, {plan.spec.vector_name: made}, found.payload))
            report.store_seconds += time.perf_counter() - begun
            report.rows += len(rows)
            report.superseded += found.superseded
            report.written += len(found)
            report.points += len(found)
        begun = time.perf_counter()
        report.receipts = store.flush()
        report.store_seconds += time.perf_counter() - begun
        report.retries = store.retries
    finally:
        store.close()
    report.peak_bytes = _peak_bytes()
    return report


def finish(plan: Plan, reports: Sequence[PartitionReport], partitions: int | None = None) -> WriteReport:
    """Bring in what tasks have staged, check that nothing is missing, and report.

    partitions: how many there were, where Spark tells.
    Raises IncompleteError where a partition did not report, or a row is in none of the counts.
    """
    reported = sorted(report.partition for report in reports)
    expected = max(reported, default=-1) + 1 if partitions is None else partitions
    if reported != list(range(expected)):
        raise IncompleteError(f"not each of {expected} partitions reported once, but {shorten(str(reported))}; run the job again")
    missing = sum(abs(report.missing_rows()) for report in reports)
    if missing:
        raise IncompleteError(f"{missing} rows were read and are in none of the report's counts; this is a defect of the sink, please report it")
    with stores.collections(plan.options, plan.place) as collections:
        wrong = other_model(_target(plan).name, collections.metadata(_metadata_name(plan)), plan.spec.metadata)
        if wrong is not None:
            raise CollectionError(wrong)
        receipts = [receipt for report in reports for receipt in report.receipts]
        stored = collections.finish(_target(plan), plan.run, receipts)
    total = _report(plan, reports)
    total.stored_points = stored
    if stored is None:
        total.warnings.append("the store did not tell how many points it holds")
    _save(total, plan.options.report_path)
    return total


def abandon(plan: Plan, reports: Sequence[PartitionReport], partitions: int | None, error: str = "") -> WriteReport:
    """Clean up after a failed job and report how far it came. No point is deleted: other tasks may still be writing.

    partitions: how many there were, where Spark tells.
    """
    with stores.collections(plan.options, plan.place) as collections:
        collections.abandon(_target(plan), plan.run)
    total = _report(plan, reports)
    done = f"{len(reports)} of {partitions} partitions had ended well; " if partitions is not None else ""
    total.error = f"{error + '; ' if error else ''}{done}run the job again, it writes the same points"
    _save(total, plan.options.report_path)
    return total


def _target(plan: Plan) -> Target:
    if plan.target is None:
        raise ValueError("a plan with problems cannot run")
    return plan.target


def _metadata_name(plan: Plan) -> str:
    """What the collection is called where its metadata is: the directory, or the collection that the alias stood for."""
    target = _target(plan)
    return target.name if plan.options.is_embedded else target.physical


def _vectors(plan: Plan, found: Documents, task: Task, report: PartitionReport) -> npt.NDArray[np.float32]:
    """The vector of each document: encoded, or ready-made; fit to be compared with others."""
    if plan.encoder is not None:
        made = _encoded(plan, plan.encoder, found, task, report)
        column = ", ".join(plan.columns.text)
    else:
        made = _ready(plan, found)
        column = str(plan.columns.vector)
    unusable = vectors.unusable(made)
    if unusable is not None:
        raise BadRowError(found.keys[unusable[0]], column, unusable[1])
    return made


def _encoded(plan: Plan, spec: EncoderSpec, found: Documents, task: Task, report: PartitionReport) -> npt.NDArray[np.float32]:
    encoder = encoders.load(spec, gpus=task.gpus, threads=task.cpus)
    encoded = encoder.encode(found.texts)
    report.device, report.dtype = encoder.device, encoder.dtype
    report.tokens += int(encoded.tokens.sum())
    report.tokens_cut += int(encoded.cut.sum())
    report.truncated += int(np.count_nonzero(encoded.cut))
    report.tokenising_seconds += encoded.tokenising_seconds
    report.encoding_seconds += encoded.encoding_seconds
    if plan.options.long_text == "fail" and encoded.cut.any():
        row = int(np.argmax(encoded.cut > 0))
        total = int(encoded.tokens[row] + encoded.cut[row])
        reason = f"has {total:,} tokens, the model reads {int(encoded.tokens[row]):,} (option 'long_text' = 'fail')"
        raise BadRowError(found.keys[row], ", ".join(plan.columns.text), reason)
    return encoded.vectors


def _ready(plan: Plan, found: Documents) -> npt.NDArray[np.float32]:
    dimension = plan.spec.dimension or 0  # known by now: `check` refuses a job where it is not
    misfit = vectors.misfit(found.vectors, dimension)
    if misfit is not None:
        raise BadRowError(found.keys[misfit[0]], str(plan.columns.vector), misfit[1])
    made = vectors.matrix(found.vectors, dimension)
    return vectors.normalized(made) if plan.options.normalize else made


def _report(plan: Plan, reports: Sequence[PartitionReport]) -> WriteReport:
    total = WriteReport.of(reports, collection=_target(plan).name, run=plan.run, seconds=time.time() - plan.started)
    total.warnings = list(plan.warnings)
    return total


def _save(report: WriteReport, path: str | None) -> None:
    """Write the report as JSON. A report that cannot be written is no reason to lose a job that is done: it is said instead."""
    if path is None:
        return
    try:
        if "://" in path:
            filesystem, name = pyarrow.fs.FileSystem.from_uri(path)
        else:
            filesystem, name = pyarrow.fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
        with filesystem.open_output_stream(name) as file:
            file.write(report.to_json().encode())
    except (OSError, pa.ArrowException) as error:
        report.warnings.append(
            f"the report could not be written to option 'report_path' = {shorten(path.rpartition('@')[2])!r}: {type(error).__name__}"
        )


def _timed(source: Iterator[T], report: PartitionReport) -> Iterator[T]:
    """The items of `source`; the time to get them is the time of reading."""
    while True:
        begun = time.perf_counter()
        item = next(source, None)
        report.reading_seconds += time.perf_counter() - begun
        if item is None:
            return
        yield item


def _peak_bytes() -> int:
    """Most memory this process has had resident, in bytes; 0 where the system does not tell."""
    if os.name != "posix":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
