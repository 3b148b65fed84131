"""Rows that cannot be written: set aside with their reasons, fixed, and written again.

For tables that other people fill.

    python examples/fix_rejects.py [FOLDER]        (./demo/fix_rejects)
"""

from __future__ import annotations

from common import MODEL, check, new_folder, start_spark
from pyspark.sql.functions import coalesce, col, lit, nanvl, trim, when

from spark_vector_sink.spark import write

ROWS = [
    (1, "Bread", "Bread needs flour, water, salt and time.", 4.5),
    (2, "Bicycle chains", None, 3.0),
    (3, "Tomatoes", "   ", 4.0),
    (4, "Rain", "Rain falls where warm air rises.", float("nan")),
]


def main() -> None:
    folder = new_folder("fix_rejects")
    spark = start_spark()
    options = {"model": MODEL, "rejects_path": str(folder / "rejects")}
    store = str(folder / "store")

    first = write(
        spark.createDataFrame(ROWS, "id long, title string, text string, stars double"),
        store,
        max_rejects="80%",
        **options,
    )
    print(f"{first.written} of {first.rows} rows were written, {first.rejected} rejected")

    rejects = spark.read.parquet(options["rejects_path"]).cache()
    for row in rejects.orderBy("id").collect():
        print(f"  {row['_reject_key']}: {row['_reject_reason']}: {row['_reject_message']}")

    mended = rejects.withColumn("text", when(trim("text") == "", None).otherwise(col("text")))
    mended = mended.withColumn("text", coalesce("text", "title")).withColumn(
        "stars", nanvl("stars", lit(None).cast("double"))
    )
    again = write(mended, store, max_rejects=0, **options)
    print(f"mended, {again.written} of {again.rows} rows were written, {again.rejected} rejected")
    check(again.stored_points == len(ROWS), "the store holds all four documents")
    spark.stop()


if __name__ == "__main__":
    main()
