"""Re-embed with Spark (`reembed(…, spark=…)`): Spark tasks read, encode and write pages of points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from spark_vector_sink.driver import reembed
from spark_vector_sink.job import Plan
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.spark.task import current_task, shipped_files
from spark_vector_sink.spark.write import REPORTS
from spark_vector_sink.store.scan import Page
from spark_vector_sink.task import stored_windows

__all__ = ["shipped_files", "writing"]


def writing(spark: Any) -> reembed.Write:
    """Return a function that writes pages in a job of this SparkSession; each task gets a contiguous share of the
    pages."""

    def write(plan: Plan, pages: Sequence[Page]) -> Sequence[PartitionReport]:
        def write_share(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            mine = (pages[number] for batch in batches for number in batch.column(0).to_pylist())
            report = stored_windows.write_pages(plan, mine, current_task())
            yield pa.RecordBatch.from_pydict({"report": [report.to_json()]}, schema=REPORTS)

        told = spark.range(len(pages)).mapInArrow(write_share, "report string").collect()
        return [PartitionReport.from_json(row.report) for row in told]

    return write
