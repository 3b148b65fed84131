"""Offer `df.write.format("vectorsink")`, a Python data source of Spark (Spark 4.0 or newer).

The planner, the tasks and the committer are separate processes: only the plan and the messages travel, both pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyspark
from pyspark.sql import datasource
from pyspark.sql.datasource import (
    DataSource,
    DataSourceArrowWriter,
    DataSourceReader,
    DataSourceStreamReader,
    WriterCommitMessage,
)
from pyspark.sql.types import StructType

from spark_vector_sink import job
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import OptionError, said
from spark_vector_sink.job import Plan
from spark_vector_sink.options import SPARK_KEYS
from spark_vector_sink.report import PartitionReport, say
from spark_vector_sink.spark import arrow
from spark_vector_sink.spark.micro_batch import SPARK_KNOWS, must_fit_a_stream, say_once
from spark_vector_sink.spark.task import current_task, shipped_files
from spark_vector_sink.task import partition_writer

if TYPE_CHECKING:
    from spark_vector_sink.spark.stream import StreamCommitter, StreamWriter

NAME = "vectorsink"
ONLY_WRITES = "the format 'vectorsink' only writes; spark_vector_sink.search() asks a collection a question"


class VectorSinkDataSource(DataSource):  # type: ignore[misc]
    """Data source of the format "vectorsink". Write-only."""

    def __init__(self, options: Mapping[str, str]) -> None:  # Spark calls it with this name
        self.options = dict(options)

    @classmethod
    def name(cls) -> str:
        return NAME

    def schema(self) -> StructType:
        """Raise OptionError, because Spark asks for a schema only when a user reads, or makes a view or table without
        columns, and does not say which."""
        raise OptionError(
            f"{ONLY_WRITES}, and a view or table to write to must name its columns: CREATE TEMPORARY VIEW v (id "
            "BIGINT, text STRING) USING vectorsink OPTIONS (…)"
        )

    def reader(self, schema: StructType) -> DataSourceReader:
        raise OptionError(ONLY_WRITES)

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802
        raise OptionError(ONLY_WRITES)

    def writer(self, schema: StructType, overwrite: bool) -> VectorSinkWriter:
        """Check the job and create the collection, on the driver, before any task."""
        _must_have_options(self.options)
        mode = job.OVERWRITE if overwrite else job.APPEND
        declared = arrow.schema(schema)
        checked = planning.check(self.options, declared, arrow.unreadable(schema), shipped_files(), mode).accepted()
        say(*checked.warnings)
        return VectorSinkWriter(committer.prepare(checked), declared)

    def streamWriter(self, schema: StructType, overwrite: bool) -> StreamWriter:  # noqa: N802
        """Check a micro-batch and create the collection, on the driver, before any task of the batch."""
        _must_have_options(self.options)
        if not hasattr(datasource, "DataSourceStreamArrowWriter"):
            raise OptionError(
                f"a stream to format('vectorsink') needs Spark 4.1 or newer, and this is Spark {pyspark.__version__}; "
                f"{_foreach_batch()}"
            )
        if overwrite:
            raise OptionError(
                "outputMode('complete') would replace the whole collection with each micro-batch; use "
                "outputMode('append'), or for an aggregation "
                f"outputMode('update'), which hands over the rows that have changed: {_foreach_batch('update')}"
            )
        from spark_vector_sink.spark.stream import StreamWriter

        declared = arrow.schema(schema)
        checked = planning.check(self.options, declared, arrow.unreadable(schema), shipped_files()).accepted()
        must_fit_a_stream(checked.options)
        for warning in checked.warnings:
            say_once(warning)
        return StreamWriter(committer.prepare(checked), declared)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Pickle as `CommittingDataSource`. To plan a write, Spark makes the data source from its class; the pickled
        one is kept to commit micro-batches."""
        return CommittingDataSource, (self.options,)


class CommittingDataSource(VectorSinkDataSource):
    """Data source in the process that commits a micro-batch, where nothing must be prepared again."""

    def streamWriter(self, schema: StructType, overwrite: bool) -> StreamCommitter:  # noqa: N802
        from spark_vector_sink.spark.stream import StreamCommitter

        return StreamCommitter()


def _must_have_options(options: Mapping[str, str]) -> None:
    """Raise OptionError for a write without any option of the sink, such as a write into a catalog's table, because its
    defaults cannot be intended."""
    if options.keys() <= SPARK_KEYS - {"path"}:
        raise OptionError(
            "no collection is named, and no option has come with this write: Spark does not hand on the options of a "
            "catalog's table (CREATE TABLE, "
            "saveAsTable, insertInto, toTable); write with .format('vectorsink').option('url', …).save('articles') "
            "or, in SQL, CREATE TEMPORARY VIEW v "
            "(id BIGINT, text STRING) USING vectorsink OPTIONS (url '…', collection 'articles') and INSERT "
            "INTO v SELECT …"
        )


def _foreach_batch(mode: str = "append") -> str:
    """Return the line of code that writes a stream on every Spark version, and in update mode."""
    how = "" if mode == "append" else f".outputMode('{mode}')"
    return (
        f"from spark_vector_sink.spark import vector_sink; df.writeStream{how}.foreachBatch(vector_sink(url=…, "
        "collection=…)).start()"
    )


@dataclass
class Written(WriterCommitMessage):  # type: ignore[misc]
    """Message of a task to the committer."""

    report: PartitionReport


class VectorSinkWriter(DataSourceArrowWriter):  # type: ignore[misc]
    """Writer that writes a partition in each task, and commits on the driver. All its attributes can be pickled."""

    def __init__(self, plan: Plan, schema: pa.Schema) -> None:
        self.plan = plan
        self.schema = schema

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        return Written(
            partition_writer.write_partition(self.plan, arrow.without_variants(iterator, self.schema), current_task())
        )

    def commit(self, messages: Sequence[Written | None]) -> None:
        reports = [message.report for message in messages if message is not None]
        try:
            report = committer.commit(self.plan, reports, len(messages))
        except Exception as error:
            # Spark calls `abort` next, without the reason
            say(str(committer.abort(self.plan, reports, len(messages), said(error))))
            raise
        say(*(warning for warning in report.warnings if warning not in self.plan.warnings), str(report))

    def abort(self, messages: Sequence[Written | None]) -> None:
        reports = [message.report for message in messages if message is not None]
        if len(reports) < len(messages):  # else all tasks ended well, and `commit` has reported the failure
            say(str(committer.abort(self.plan, reports, len(messages), SPARK_KNOWS)))
