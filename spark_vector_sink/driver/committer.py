"""Prepare, commit and abort a job on the driver.

run()      do a whole job whose tasks are run by a call; Spark, which runs the tasks itself, calls the steps:
prepare()  create what the plan announced
commit()   bring everything in, check that nothing is missing, report
abort()    clean up after a failed job, report how far the job came

`plan.plan()` comes first, and `task.partition_writer` writes each partition in between.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa

from spark_vector_sink import rejects
from spark_vector_sink.driver import overwrite as replacing
from spark_vector_sink.driver import reconcile as missing_documents
from spark_vector_sink.driver.overwrite import Ended
from spark_vector_sink.errors import CollectionError, IncompleteError, RejectsError, said, shorten
from spark_vector_sink.files import shown, write_whole
from spark_vector_sink.job import Plan, target_of
from spark_vector_sink.report import PartitionReport, WriteReport
from spark_vector_sink.rows import unindexed_values
from spark_vector_sink.store import registry
from spark_vector_sink.store.model_guard import other_model
from spark_vector_sink.store.protocols import Collections

T = TypeVar("T")

log = logging.getLogger("spark_vector_sink")


def run(checked: Plan, tasks: Callable[[Plan], Sequence[PartitionReport]]) -> WriteReport:
    """Run a planned job, and log how it ended. tasks: writes all partitions and returns their reports.

    Raises the error that ended the job, after the error is in the log and in the report's file.
    """
    plan = prepare(checked)
    reports: Sequence[PartitionReport] = ()
    try:
        reports = tasks(plan)
        report = commit(plan, reports)
    except BaseException as error:
        log.error(str(abort(plan, reports, None, said(error))))
        raise
    for warning in report.warnings:
        log.warning(warning)
    log.info(str(report))
    return report


def prepare(plan: Plan) -> Plan:
    """Create what the plan announced, and return the plan for the tasks."""
    try:
        with registry.collections(plan.options, plan.place) as collections:
            return replace(plan, target=collections.prepare(target_of(plan), plan.spec, plan.run))
    except BaseException as error:
        _failed(plan, (), f"{said(error)}; nothing was written")
        raise


def commit(plan: Plan, reports: Sequence[PartitionReport], partitions: int | None = None) -> WriteReport:
    """Bring in what tasks have staged, check that nothing is missing, and return the report.

    partitions: the number of partitions, where Spark tells it. Raises IncompleteError where a partition did not report
    or a row is in none of the counts; RejectsError where too many rows were rejected.
    """
    reported = sorted(report.partition for report in reports)
    expected = max(reported, default=-1) + 1 if partitions is None else partitions
    if reported != list(range(expected)):
        raise IncompleteError(
            f"not each of {expected} partitions reported once, but {shorten(str(reported))}; run the job again"
        )
    missing = sum(abs(report.missing_rows()) for report in reports)
    if missing:
        raise IncompleteError(
            f"{missing} rows were read and are in none of the report's counts; this is a defect of the sink, "
            "please report it"
        )
    rejects.check(plan.options, plan.run, reports)
    with registry.collections(plan.options, plan.place, patient=True) as collections:
        ended = _replace(plan, collections, reports) if plan.spec.overwrite else _append(plan, collections, reports)
    total = _report(plan, reports)
    total.stored_points, total.index_seconds = ended.finished.points, ended.waited
    total.written, total.deleted = total.written - ended.finished.older, total.deleted - ended.finished.older_deletions
    total.older += ended.finished.older + ended.finished.older_deletions
    total.points -= ended.finished.older_points
    total.missing_deleted = ended.missing_deleted
    total.warnings += [
        *ended.warnings,
        *(unindexed_values.said(name, left, total.points) for name, left in total.unindexed.items()),
    ]
    if total.rejected:
        what, each = (
            ("1 row was rejected; it is", "")
            if total.rejected == 1
            else (f"{total.rejected:,} rows were rejected; they are", "each ")
        )
        gone = f"; the new version of '{total.collection}' has no points of such rows" if plan.spec.overwrite else ""
        total.warnings.append(f"{what} in {shown(plan.options.rejects_path or '')}, {each}with its reason{gone}")
    _discard_rejects(plan, total)
    if ended.finished.points is None:
        total.warnings.append("the store did not tell how many points it holds")
    _save(total, plan.options.report_path)
    return total


def _append(plan: Plan, collections: Collections, reports: Sequence[PartitionReport]) -> Ended:
    target = target_of(plan)
    wrong = other_model(target.name, collections.metadata(_metadata_name(plan)), plan.spec)
    if wrong is not None:
        raise CollectionError(wrong)
    finished = collections.finish(target, plan.run, [receipt for report in reports for receipt in report.receipts])
    unseen = missing_documents.delete(plan.options, collections, target, plan.run)
    has_tombstones = bool(plan.options.version_column and plan.options.op_column)
    if has_tombstones:
        collections.purge_tombstones(target, int(plan.started - plan.options.tombstone_days * 86_400))
    if has_tombstones or unseen.deleted:
        finished = replace(finished, points=collections.count(target))
    waited = collections.wait_for_index(target) if plan.options.wait_for_index else 0.0
    rejects.publish(plan.options, plan.run, reports)  # last: a job that fails before it rejects the same rows again
    return Ended(finished, waited, unseen.warnings, unseen.deleted)


def _replace(plan: Plan, collections: Collections, reports: Sequence[PartitionReport]) -> Ended:
    visible = rejects.published(plan.options, plan.run, reports)
    return replacing.replace(
        collections, target_of(plan), plan.spec, plan.run, reports, plan.options.keep_versions, visible
    )


def abort(plan: Plan, reports: Sequence[PartitionReport], partitions: int | None, error: str = "") -> WriteReport:
    """Clean up after a failed job and report how far the job came. No point is deleted, because other tasks may still
    be writing.

    partitions: the number of partitions, where Spark tells it.
    """
    parts = [error] if error else []
    if partitions is not None:
        parts.append(f"{len(reports)} of {partitions} partitions had ended well")
    stands = (
        f"'{target_of(plan).name}' is as it was; run the job again"
        if plan.spec.overwrite
        else "what was written is right; run the job again when the cause is gone, and it completes it"
    )
    none_written = False
    try:
        with registry.collections(plan.options, plan.place) as collections:
            found = collections.abandon(target_of(plan), plan.run)
        stands, none_written = found.stands or stands, found.none_written
    except Exception as left:  # users must see why the job failed, even where the clean-up fails too
        stands += f"; what it has left there was not removed: {said(left)}"
    parts.append(stands)
    return _failed(plan, reports, "; ".join(parts), none_written)


def _failed(plan: Plan, reports: Sequence[PartitionReport], error: str, none_written: bool = False) -> WriteReport:
    total = _report(plan, reports)
    total.error = error
    if none_written:
        total.written = total.points = total.deleted = 0
    _discard_rejects(plan, total)
    _save(total, plan.options.report_path)
    return total


def _metadata_name(plan: Plan) -> str:
    """Return the name under which the collection's metadata is stored: the directory of an embedded store, or the
    collection behind the alias."""
    target = target_of(plan)
    return target.name if plan.options.is_embedded else target.physical


def _report(plan: Plan, reports: Sequence[PartitionReport]) -> WriteReport:
    total = WriteReport.of(reports, collection=target_of(plan).name, run=plan.run, seconds=time.time() - plan.started)
    total.warnings = list(plan.warnings)
    return total


def _discard_rejects(plan: Plan, report: WriteReport) -> None:
    """Remove the staged rejects of other attempts. A failure to remove them is only a warning, because Spark does not
    read staged files."""
    try:
        rejects.discard(plan.options, plan.run)
    except RejectsError as error:
        report.warnings.append(f"what the job has staged of rejected rows was not removed: {error}")


def _save(report: WriteReport, path: str | None) -> None:
    """Write the report as JSON. A failure to write it becomes a warning, because it is no reason to lose a finished
    job."""
    if path is None:
        return
    try:
        write_whole(path, report.to_json().encode())
    except (OSError, pa.ArrowException) as error:
        report.warnings.append(
            f"the report could not be written to option 'report_path' = {shorten(path.rpartition('@')[2])!r}: "
            f"{type(error).__name__}"
        )
