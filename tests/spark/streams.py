"""Streams for tests: folders that rows are put into, and queries that run to their end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import DataStreamWriter

from tests.spark.encoders import HASH
from tests.spark.places import Place


def put_rows(folder: Path, name: str, keys: Iterable[int], word: str = "text") -> None:
    """A new file of rows for a stream, there all at once: for each key its text, `text 7`."""
    folder.mkdir(exist_ok=True)
    hidden = folder / f".{name}"
    hidden.write_text(
        "".join(json.dumps({"id": key, "text": f"{word} {key}"}) + "\n" for key in keys), encoding="utf-8"
    )
    hidden.rename(folder / f"{name}.json")


def rows_of(spark: SparkSession, folder: Path) -> DataFrame:
    """A stream of the files of a folder, the oldest first, one file for each micro-batch."""
    return spark.readStream.schema("id bigint, text string").option("maxFilesPerTrigger", 1).json(str(folder))


def to_place(df: DataFrame, place: Place, checkpoint: Path, **options: Any) -> DataStreamWriter:
    """The user's lines: `df.writeStream.format("vectorsink")…`, with the hash encoder; `.start(place.name)` begins
    it."""
    return df.writeStream.format("vectorsink").options(
        **{**place.options, "encoder": HASH, "checkpointLocation": str(checkpoint), **options}
    )


def run_to_end(writer: DataStreamWriter, name: str | None = None) -> Any:
    """Run a query over all that is there, and return it. Raises what ends it."""
    query = writer.trigger(availableNow=True).start(name)
    try:
        assert query.awaitTermination(500), "the stream does not end"
    finally:
        query.stop()
    return query
