"""`df.write.format("vectorsink")`: Spark's Python data source (Spark 4.0 or newer) on the engine.

The planner, the tasks and the committer are separate processes: only the plan and the messages travel, both pickled.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, WriterCommitMessage
from pyspark.sql.types import StructType

from spark_vector_sink import plan as planning
from spark_vector_sink import sink
from spark_vector_sink.errors import OptionError, VectorSinkError
from spark_vector_sink.plan import Plan
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.spark import arrow
from spark_vector_sink.spark.task import current_task, shipped_files

NAME = "vectorsink"


class VectorSinkDataSource(DataSource):  # type: ignore[misc]
    """The format "vectorsink". Write-only."""

    def __init__(self, options: Mapping[str, str]) -> None:  # Spark calls it with this name
        self.options = dict(options)

    @classmethod
    def name(cls) -> str:
        return NAME

    def schema(self) -> StructType:
        raise OptionError("the format 'vectorsink' only writes; spark_vector_sink.search() asks a collection a question")

    def writer(self, schema: StructType, overwrite: bool) -> VectorSinkWriter:
        """Checks the job and creates the collection, on the driver, before any task."""
        mode = planning.OVERWRITE if overwrite else planning.APPEND
        declared = arrow.schema(schema)
        checked = planning.check(self.options, declared, arrow.unreadable(schema), shipped_files(), mode).accepted()
        _say(*checked.warnings)
        return VectorSinkWriter(sink.prepare(checked), declared)

    def streamWriter(self, schema: StructType, overwrite: bool) -> VectorSinkWriter:  # noqa: N802
        raise OptionError(
            "streaming is not available in this version; write each micro-batch with foreachBatch and df.write.format('vectorsink').mode('append')"
        )


@dataclass
class Written(WriterCommitMessage):  # type: ignore[misc]
    """What a task says to the committer."""

    report: PartitionReport


class VectorSinkWriter(DataSourceArrowWriter):  # type: ignore[misc]
    """Runs the engine in each task, and finishes on the driver. Holds nothing but what pickles."""

    def __init__(self, plan: Plan, schema: pa.Schema) -> None:
        self.plan = plan
        self.schema = schema

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        return Written(sink.write_partition(self.plan, arrow.without_variants(iterator, self.schema), current_task()))

    def commit(self, messages: Sequence[Written | None]) -> None:
        reports = [message.report for message in messages if message is not None]
        try:
            report = sink.finish(self.plan, reports, len(messages))
        except VectorSinkError as error:
            # Spark calls `abort` next, in which nobody knows the reason
            _say(str(sink.abandon(self.plan, reports, len(messages), str(error))))
            raise
        _say(*(warning for warning in report.warnings if warning not in self.plan.warnings), str(report))

    def abort(self, messages: Sequence[Written | None]) -> None:
        reports = [message.report for message in messages if message is not None]
        if len(reports) < len(messages):  # else all tasks ended well, and `commit` has said what then failed
            _say(str(sink.abandon(self.plan, reports, len(messages))))


def _say(*lines: str) -> None:
    """Print where the user sees it: a data source has no other way to speak at the end of a job that went well."""
    for line in lines:
        print(f"vectorsink: {line}", file=sys.stderr, flush=True)
