"""`write(df, name, …) → WriteReport`: the second door to the same engine. Runs on Spark 3.5 too."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from spark_vector_sink import plan as planning
from spark_vector_sink import sink
from spark_vector_sink.errors import OptionError
from spark_vector_sink.plan import Plan
from spark_vector_sink.report import PartitionReport, WriteReport
from spark_vector_sink.spark import arrow
from spark_vector_sink.spark.task import current_task

REPORTS = pa.schema([("report", pa.string())])

log = logging.getLogger("spark_vector_sink")


def check(df: DataFrame, name: str | None = None, **options: Any) -> Plan:
    """What `write` would do, with every problem, and nothing done: columns, key, model, collection. `print` it."""
    return planning.check(_named(name, options), arrow.schema(df.schema))


def write(df: DataFrame, name: str | None = None, *, profile: Any = None, **options: Any) -> WriteReport:
    """Write a DataFrame and return the report.

    name: the collection, or the directory of an embedded store. options: as for `format("vectorsink")`, as Python values or text.
    profile: a `pyspark.resource.ResourceProfile` for the tasks that encode, e.g. one GPU each (Spark 4.0 or newer).
    Raises RefusedError before anything is written, else what Spark raises for a failed job.
    """
    checked = check(df, name, **options)
    if checked.problems:
        raise checked.refusal(checked.problems)
    plan = sink.prepare(checked)
    columns = _columns_in_use(plan, df.columns)
    declared = arrow.schema(df.select(*columns).schema)
    try:
        rows = _map_in_arrow(df.select(*columns), _writer(plan, declared), profile).collect()
    except BaseException as error:
        log.error(str(sink.abandon(plan, [], None, f"{type(error).__name__} in a task")))
        raise
    report = sink.finish(plan, [PartitionReport.from_json(row.report) for row in rows])
    for warning in report.warnings:
        log.warning(warning)
    log.info(str(report))
    return report


def _named(name: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    return {**options, "path": name} if name is not None else dict(options)


def _columns_in_use(plan: Plan, names: list[str]) -> list[str]:
    """The columns that are read, quoted for Spark; the others need not travel to Python."""
    used = {*plan.columns.text, *plan.columns.key, plan.columns.vector, *(column for column, _ in plan.columns.payload)}
    return ["`{}`".format(name.replace("`", "``")) for name in names if name in used]


def _writer(plan: Plan, declared: pa.Schema) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def write_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        report = sink.write_partition(plan, arrow.without_variants(batches, declared), current_task())
        yield pa.RecordBatch.from_pydict({"report": [report.to_json()]}, schema=REPORTS)

    return write_partition


def _map_in_arrow(df: DataFrame, function: Callable[..., Any], profile: Any) -> DataFrame:
    if profile is None:
        return df.mapInArrow(function, "report string")
    if "profile" not in inspect.signature(df.mapInArrow).parameters:
        raise OptionError("a resource profile needs Spark 4.0 or newer")
    return df.mapInArrow(function, "report string", profile=profile)
