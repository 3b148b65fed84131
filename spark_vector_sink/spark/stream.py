"""Write a stream with `df.writeStream.format("vectorsink")` (Spark 4.1 or newer): one job for each micro-batch.

Spark makes a writer twice for each batch: where the batch is planned, and again, from a pickled data source, where the
batch is committed or aborted. So there are two classes. The plan of the batch travels to the tasks inside the first
writer, and to the second in the messages of the tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import pyarrow as pa
from pyspark.sql.datasource import DataSourceStreamArrowWriter, WriterCommitMessage

from spark_vector_sink.driver import committer
from spark_vector_sink.errors import said
from spark_vector_sink.job import Plan
from spark_vector_sink.report import PartitionReport, say
from spark_vector_sink.spark import arrow
from spark_vector_sink.spark.micro_batch import SPARK_KNOWS, numbered
from spark_vector_sink.spark.task import current_task
from spark_vector_sink.task import partition_writer


@dataclass
class WrittenOfBatch(WriterCommitMessage):  # type: ignore[misc]
    """Message of a task to the committer, which knows only the options, so the message has the plan too."""

    report: PartitionReport
    plan: Plan


class StreamWriter(DataSourceStreamArrowWriter):  # type: ignore[misc]
    """Writer in the process that plans a micro-batch, and in its tasks. All its attributes can be pickled."""

    def __init__(self, plan: Plan, schema: pa.Schema) -> None:
        self.plan = plan
        self.schema = schema

    def write(self, iterator: Iterator[pa.RecordBatch]) -> WrittenOfBatch:
        return WrittenOfBatch(
            partition_writer.write_partition(self.plan, arrow.without_variants(iterator, self.schema), current_task()),
            self.plan,
        )


class StreamCommitter(DataSourceStreamArrowWriter):  # type: ignore[misc]
    """Writer in the process that commits a micro-batch. It prepares nothing, because the batch was prepared where it
    was planned."""

    def write(self, iterator: Iterator[pa.RecordBatch]) -> NoReturn:
        raise TypeError(
            "this version of Spark plans a micro-batch with a data source that has travelled; write the stream with "
            "foreachBatch instead"
        )

    def commit(self, messages: Sequence[WrittenOfBatch | None], batchId: int) -> None:  # noqa: N803 - Spark's name
        reports, plan = _told(messages, batchId)
        if plan is None:
            return  # a batch without a single task
        try:
            report = committer.commit(plan, reports, len(messages))
        except Exception as error:
            # Spark calls `abort` next, without the reason
            say(f"batch {batchId}: {committer.abort(plan, reports, len(messages), said(error))}")
            raise
        say(*(warning for warning in report.warnings if warning not in plan.warnings), f"batch {batchId}: {report}")

    def abort(self, messages: Sequence[WrittenOfBatch | None], batchId: int) -> None:  # noqa: N803 - Spark's name
        reports, plan = _told(messages, batchId)
        if plan is None:  # what the batch has staged is unknown here; a later batch removes it
            say(
                f"batch {batchId}: failed before any of its tasks had ended; start the query again, it writes "
                "the same points"
            )
        elif len(reports) < len(messages):  # else all tasks ended well, and `commit` has reported the failure
            say(f"batch {batchId}: {committer.abort(plan, reports, len(messages), SPARK_KNOWS)}")


def _told(messages: Sequence[WrittenOfBatch | None], batch: int) -> tuple[list[PartitionReport], Plan | None]:
    """Return the reports of the tasks that ended, and the plan of their batch, with the batch's own `report_path`; no
    plan where no task ended."""
    told = [message for message in messages if message is not None]
    if not told:
        return [], None
    plan = told[0].plan
    if plan.options.report_path is not None:
        plan = replace(plan, options=replace(plan.options, report_path=numbered(plan.options.report_path, batch)))
    return [message.report for message in told], plan
