"""Vectors as a column of a table, and the same column written to a store, without losing a row.

For those who encode by hand in Spark today. It replaces two guides that many jobs are copied from:

- One cuts batches inside `mapPartitions` with `itertools.islice(rows, start, end)`. Those numbers count from the
  beginning, but the iterator has
  moved on: from the second batch on, rows are lost without an error. And every partition loads the model.
- One broadcasts the model to a pandas UDF: the driver loads it and sends all of it, and a call gets whatever an Arrow
  batch holds.

Here no loop can lose a row, the driver needs no model, and batches take care of themselves: `embed()` is one
expression, each Python worker loads the model once, and texts of similar length are encoded together.

    python examples/seed_column.py [FOLDER]        (./demo/seed_column)
"""

from __future__ import annotations

import docstrings
from common import MODEL, check, new_folder, start_spark
from pyspark.sql import functions as F  # noqa: N812

from spark_vector_sink.spark import embed, write

PARTITIONS = 3  # of 33 rows each: the last batch of 32 is a batch of one


def main() -> None:
    folder = new_folder("seed_column")
    vectors, store = str(folder / "vectors"), str(folder / "store")
    spark = start_spark()
    rows = docstrings.rows()[:99]
    df = spark.createDataFrame(rows, "module string, name string, kind string, text string").repartition(PARTITIONS)

    df.withColumn("vector", embed("text", model=MODEL)).write.parquet(vectors)

    table = spark.read.parquet(vectors)
    table.groupBy("kind").agg(F.count("*").alias("rows"), F.count("vector").alias("vectors")).orderBy("kind").show()
    lengths = {
        row["dimension"]: row["count"] for row in table.groupBy(F.size("vector").alias("dimension")).count().collect()
    }
    check(lengths == {384: len(rows)}, f"{len(rows)} rows in, {len(rows)} vectors of 384 numbers out")
    check(table.drop("vector").exceptAll(df).isEmpty(), "every row is the row that it was")

    # no model: nothing is encoded again
    report = write(table, store, id_column="module,name", vector_column="vector", dimension=384)
    print(
        f"into the store: {report.rows} rows read, {report.written} written, {report.tokens} tokens encoded, "
        f"{report.seconds:.1f} s"
    )
    check(report.written == report.stored_points == len(rows), f"{len(rows)} rows in, {len(rows)} points out")
    spark.stop()


if __name__ == "__main__":
    main()
