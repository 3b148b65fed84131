"""Offer `embed(column, model=…)`: encode texts as a column function, for vectors that are needed in a table first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F  # noqa: N812

from spark_vector_sink.driver import model_spec
from spark_vector_sink.errors import OptionError
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.spark.task import current_task, shipped_files
from spark_vector_sink.task import embed_column

VECTORS = "array<float>"


def embed(column: Column | str, model: str | None = None, **options: Any) -> Column:
    """Return a column with the vector of each text, `array<float>`; null where the text is null or blank.

    column: texts. model, options: the options of `write()` that say how to encode: `model`, `encoder`, `device`,
    `dtype`, `max_tokens`, `long_text` (truncate or fail), … Rows are read ahead into windows, so Spark's Arrow batch
    size does not matter, and one model is loaded for each Python worker. No text is encoded twice, even where rows are
    filtered by their vectors; for that reason Spark does not move later filters before the encoding, so filter first.
    The column can be written with `vector_column` later. Raises OptionError or EncodingError here where the options or
    the model are wrong.
    """
    parsed = SinkOptions.of_model({**options, **({} if model is None else {"model": model})})
    if parsed.long_text == "chunk" or parsed.sparse_model is not None:
        raise OptionError(
            "embed() makes one dense vector for each row; long_text=chunk and 'sparse_model' are for write()"
        )
    if parsed.long_text == "reject":
        raise OptionError(
            "embed() writes nothing, so there is no place for rejected rows; long_text=reject is for write()"
        )
    spec, _ = model_spec.spec(parsed, shipped_files())
    work = partial(
        embed_column.embed_column, spec, window_rows=parsed.window_rows, fail_on_long=parsed.long_text == "fail"
    )
    # Spark computes a deterministic function again for each filter on its result, which would nearly double a job's
    # time
    once = _function(work).asNondeterministic()
    return once(F.col(column) if isinstance(column, str) else column)


def _function(work: Callable[..., Iterator[pa.Array]]) -> Any:
    """Return the Spark function: on Arrow arrays where Spark supports them (4.1 or newer), else through pandas."""
    if hasattr(F, "arrow_udf"):

        def on_arrow(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
            yield from work(batches, current_task())

        # Spark reads the annotations, which are only names here
        on_arrow.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
        return F.arrow_udf(on_arrow, VECTORS)
    import pandas as pd

    def on_pandas(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        texts = (_texts(batch) for batch in batches)
        for vectors in work(texts, current_task()):
            yield pd.Series(vectors.to_numpy(zero_copy_only=False))

    on_pandas.__annotations__ = {"batches": Iterator[pd.Series], "return": Iterator[pd.Series]}
    return F.pandas_udf(on_pandas, VECTORS)


def _texts(batch: Any) -> pa.Array:
    """Convert a batch of pandas to Arrow strings; values of another kind keep their type, so that they are refused by
    their type."""
    try:
        return pa.Array.from_pandas(batch, type=pa.string())
    except pa.ArrowException:
        return pa.Array.from_pandas(batch)
