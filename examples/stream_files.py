"""Files that arrive in a folder become documents, each file once: with `foreachBatch`, and with Spark's own
`writeStream.format("vectorsink")`.

For folders that somebody else fills. Each start writes what has arrived since the last one and ends, like a scheduled
job; a stream that keeps running has another trigger. If a start is killed before Spark has noted that a batch is done,
the next one writes that batch again, and nothing is doubled.

    python examples/stream_files.py [FOLDER]        (./demo/stream_files)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import docstrings
import pyspark
from common import MODEL, check, new_folder, start_spark
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import DataStreamWriter

from spark_vector_sink.spark import vector_sink

OPTIONS = {"id_column": "module,name", "model": MODEL}
Door = Callable[[DataFrame, Path], DataStreamWriter]


def by_foreach_batch(df: DataFrame, folder: Path) -> DataStreamWriter:
    """On every Spark. Output mode update is for aggregations, too: a group that has changed replaces its document."""
    each_batch = vector_sink(f"{folder}/store", report_path=f"{folder}/report.json", **OPTIONS)
    return df.writeStream.foreachBatch(each_batch).outputMode("update")


def natively(df: DataFrame, folder: Path) -> DataStreamWriter:
    """On Spark 4.1 and newer."""
    return df.writeStream.format("vectorsink").options(
        path=f"{folder}/store", report_path=f"{folder}/report.json", **OPTIONS
    )


def main() -> None:
    folder = new_folder("stream_files")
    spark = start_spark()
    three_starts(spark, folder / "foreachBatch", by_foreach_batch)
    if tuple(int(part) for part in pyspark.__version__.split(".")[:2]) >= (4, 1):
        three_starts(spark, folder / "native", natively)
    else:
        print(
            f"\nSpark {pyspark.__version__} has no streams of its own into a Python data source, Spark 4.1 has: "
            "foreachBatch it is"
        )
    spark.stop()


def three_starts(spark: SparkSession, folder: Path, door: Door) -> None:
    """Of one stream: over two files, over one more, and over that one again."""
    print(f"\n{folder.name}")
    rows = [row._asdict() for row in docstrings.rows()[:90]]
    arrive(folder / "in", "monday-1", rows[:30])
    arrive(folder / "in", "monday-2", rows[30:60])
    check(start(spark, folder, door) == (60, 60), "the first start wrote the 60 rows of two files")
    arrive(folder / "in", "tuesday", rows[50:])  # ten of its documents are there already
    check(
        start(spark, folder, door) == (40, 90),
        "the second start read the 40 rows of the new file only, and 90 documents are there",
    )
    forget_the_end(folder / "checkpoint")
    check(
        start(spark, folder, door) == (40, 90), "the third start wrote the last batch again, and 90 documents are there"
    )


def start(spark: SparkSession, folder: Path, door: Door) -> tuple[int, int]:
    """Write what is new, and end. Returns the rows that were read, and the documents that are in the store then."""
    files = spark.readStream.schema("module string, name string, kind string, text string").json(f"{folder}/in")
    query = door(files, folder).option("checkpointLocation", f"{folder}/checkpoint").trigger(availableNow=True).start()
    query.awaitTermination()
    report = json.loads((folder / f"report-{query.lastProgress['batchId']}.json").read_text())
    return sum(progress["numInputRows"] for progress in query.recentProgress), report["stored_points"]


def arrive(folder: Path, name: str, rows: list[dict[str, str]]) -> None:
    """A file that is there all at once: Spark does not look at names that begin with a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / f".{name}"
    hidden.write_text("".join(json.dumps(row) + "\n" for row in rows))
    hidden.rename(folder / f"{name}.json")


def forget_the_end(checkpoint: Path) -> None:
    """As if the last start had been killed after its last point, and before Spark's note that the batch is done."""
    last = max(
        (path for path in (checkpoint / "commits").iterdir() if path.name.isdigit()), key=lambda path: int(path.name)
    )
    last.unlink()
    last.with_name(f".{last.name}.crc").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
