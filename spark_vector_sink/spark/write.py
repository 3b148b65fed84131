"""Write a DataFrame with `write(df, name, …) → WriteReport`, on Spark 3.5 too."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from spark_vector_sink import job
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import OptionError
from spark_vector_sink.job import Plan
from spark_vector_sink.report import PartitionReport, WriteReport
from spark_vector_sink.spark import arrow
from spark_vector_sink.spark.task import current_task, shipped_files
from spark_vector_sink.task import partition_writer

MAKES_A_DATAFRAME = {
    "pyspark.pandas.series.": ".to_frame().to_spark()",
    "pyspark.pandas.": ".to_spark()",
    "polars.": "spark.createDataFrame(frame.to_pandas())",
    "pyarrow.": "spark.createDataFrame(table.to_pandas())",
}
"""Code that makes a Spark DataFrame of another kind of table, by the beginning of the table's type name."""

REPORTS = pa.schema([("report", pa.string())])


def check(df: DataFrame, name: str | None = None, *, mode: str = job.APPEND, **options: Any) -> Plan:
    """Return the plan of what `write` would do (columns, key, model, collection), with every problem, and write
    nothing. `print` it."""
    _must_be_spark(df)
    return planning.check(_named(name, options), arrow.schema(df.schema), shipped=shipped_files(), mode=mode)


def write(
    df: DataFrame, name: str | None = None, *, mode: str = job.APPEND, profile: Any = None, **options: Any
) -> WriteReport:
    """Write a DataFrame and return the report.

    name: the collection, or the directory of an embedded store. mode: `append` updates documents by their key,
    `overwrite` replaces all of them at once. options: as for `format("vectorsink")`, as Python values or text. profile:
    a `pyspark.resource.ResourceProfile` for the tasks that encode, e.g. one GPU each (Spark 4.0 or newer). Raises
    RefusedError before anything is written, else the error that Spark raises for a failed job.
    """
    _must_be_spark(df)
    if profile is not None and "profile" not in inspect.signature(df.mapInArrow).parameters:
        raise OptionError("a resource profile needs Spark 4.0 or newer")
    if df.isStreaming:
        raise OptionError(
            "write() is for one table, and this DataFrame is a stream; "
            "df.writeStream.foreachBatch(vector_sink('articles', url=…)).start() writes it"
        )
    checked = check(df, name, mode=mode, **options).accepted()
    rows, declared = _columns_in_use(checked, df)

    def tasks(plan: Plan) -> list[PartitionReport]:
        told = rows.mapInArrow(
            _writer(plan, declared), "report string", **({} if profile is None else {"profile": profile})
        ).collect()
        return [PartitionReport.from_json(row.report) for row in told]

    return committer.run(checked, tasks)


def _must_be_spark(df: Any) -> None:
    """Raise OptionError for a table that is not a Spark DataFrame. The check is not by class, because Connect's
    DataFrame is not a subclass of the classic one in every version of Spark."""
    if not hasattr(df, "mapInArrow"):
        kind = f"{type(df).__module__}.{type(df).__qualname__}"
        way_out = next(
            (words for start, words in MAKES_A_DATAFRAME.items() if kind.startswith(start)), "spark.createDataFrame(…)"
        )
        raise OptionError(f"the rows must be a Spark DataFrame, not a {kind}; {way_out} makes one")


def _named(name: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    return {**options, "path": name} if name is not None else dict(options)


def _columns_in_use(plan: Plan, df: DataFrame) -> tuple[DataFrame, pa.Schema]:
    """Return the columns that are read, and their schema; the other columns need not travel to Python.

    The columns are named by numbers until the task, because Spark looks columns up by name for `mapInArrow`, and fails
    at a dot, a backtick, or two names that differ only in case.
    """
    places = [i for i, name in enumerate(df.columns) if name in plan.columns.read]
    numbered = df.toDF(*(f"c{i}" for i in range(len(df.columns))))
    declared = arrow.schema(df.schema)
    return numbered.select(*(f"c{i}" for i in places)), pa.schema([declared.field(i) for i in places])


def _writer(plan: Plan, declared: pa.Schema) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def write_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        named = (pa.RecordBatch.from_arrays(batch.columns, names=declared.names) for batch in batches)
        report = partition_writer.write_partition(plan, arrow.without_variants(named, declared), current_task())
        yield pa.RecordBatch.from_pydict({"report": [report.to_json()]}, schema=REPORTS)

    return write_partition
