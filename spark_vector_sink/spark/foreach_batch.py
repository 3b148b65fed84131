"""Offer `df.writeStream.foreachBatch(vector_sink(…))`: a stream that is written with `write()`, on Spark 3.5 too, and
in update mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame

from spark_vector_sink.errors import OptionError
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.report import say
from spark_vector_sink.spark.micro_batch import must_fit_a_stream, numbered
from spark_vector_sink.spark.write import write

HOW = "df.writeStream.foreachBatch(vector_sink('articles', url=…)).start()"


def vector_sink(
    name: str | None = None, *batch: Any, profile: Any = None, **options: Any
) -> Callable[[DataFrame, int], None]:
    """Return a function for `foreachBatch`, as in `foreachBatch(vector_sink("articles", url=…))`. The function writes
    each micro-batch with `write()`, and prints the report with the batch's number.

    name, profile, options: as for `write()`; each batch has its own file for `report_path` (`report.json` →
    `report-17.json`). Output modes append and update. The returned function can be pickled, for Spark Connect. Raises
    OptionError here, before the stream starts, where the options themselves are wrong; errors that only the rows or the
    server can show end the first batch.
    """
    if batch:  # `foreachBatch(vector_sink)`: Spark calls it with a batch and its number
        raise OptionError(
            f"vector_sink(…) is called once, with where to write, and makes what writes each micro-batch: {HOW}"
        )
    named = {**options, "path": name} if name is not None else dict(options)
    must_fit_a_stream(SinkOptions.from_mapping(named))
    return _EachBatch(named, profile)


@dataclass(frozen=True)
class _EachBatch:
    """Callable that writes a micro-batch."""

    options: Mapping[str, Any] = field(repr=False)
    profile: Any = None

    def __call__(self, df: DataFrame, batch_id: int | None = None) -> None:
        if batch_id is None:  # `foreach` and `foreachPartition` have one argument, which is no DataFrame
            raise OptionError(
                f"vector_sink(…) writes whole micro-batches, so it goes to foreachBatch, not to foreach: {HOW}"
            )
        options = {
            name: numbered(str(value), batch_id) if name.lower() == "report_path" else value
            for name, value in self.options.items()
        }
        say(f"batch {batch_id}: {write(df, profile=self.profile, **options)}")
