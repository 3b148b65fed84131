"""Vectors as a column of a table, and the same column in a store: not a row less than there were.

For those who encode by hand in Spark today. It stands in the place of two guides that many jobs are copied from:

- One makes batches inside `mapPartitions` with `itertools.islice(rows, start, end)`. These count from the beginning, but the iterator has moved
  on: from the second batch on rows are lost, without an error. And each partition loads the model.
- One broadcasts a model to a pandas UDF: the driver loads it and sends it whole, and a call gets what an Arrow batch happens to hold.

Here is no loop that can lose a row and no model in the driver, and the batches are nobody's affair: `embed()` is one expression, each Python worker
loads the model once, and texts of equal length are encoded together.

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
    lengths = {row["dimension"]: row["count"] for row in table.groupBy(F.size("vector").alias("dimension")).count().collect()}
    check(lengths == {384: len(rows)}, f"{len(rows)} rows in, {len(rows)} vectors of 384 numbers out")
    check(table.drop("vector").exceptAll(df).isEmpty(), "every row is the row that it was")

    report = write(table, store, id_column="module,name", vector_column="vector", dimension=384)  # no model: nothing is encoded again
    print(f"into the store: {report.rows} rows read, {report.written} written, {report.tokens} tokens encoded, {report.seconds:.1f} s")
    check(report.written == report.stored_points == len(rows), f"{len(rows)} rows in, {len(rows)} points out")
    spark.stop()


if __name__ == "__main__":
    main()
