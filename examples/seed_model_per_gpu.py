"""Your own model on each GPU, between two Python steps; a step that returns None drops the row, and column types are
kept.

For those who spread a model over M GPUs × N workers by hand. It replaces a guide that makes as many partitions as
models, finds each a GPU by its number, and wraps each model in a pre-processor and a post-processor; all its columns
come out as strings. Here the steps are ordinary columns before and after `embed()`, and `encoder` brings in any model.
Spark says which task has which GPU; without GPUs the same script runs on the CPU:

    spark-submit --conf spark.executor.resource.gpu.amount=4 --conf spark.task.resource.gpu.amount=0.5 …    (two models on each GPU)

    python examples/seed_model_per_gpu.py [FOLDER]        (./demo/seed_model_per_gpu)
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import own_encoder
from common import check, new_folder, start_spark
from pyspark.sql.functions import udf

from spark_vector_sink.spark import embed

SCHEMA = "id int, text string, tags array<string>, published timestamp, stars double"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
ROWS = [
    (1, "<p>Bread dough wants <b>flour, water and time</b>, and a hot oven.</p>", ["food", "slow"], NOON, 4.5),
    (2, "Clean the bicycle chain with a brush and oil.", [], NOON, 3.0),
    (3, "<img src='oven.png'/>", ["picture"], NOON, 1.0),
    (4, "The weather will be fine until Sunday.", ["noise"], NOON, 2.0),
    (5, "The oven is hot; the dough is flour, water and salt.", ["food"], None, None),
]
SHELVES = {"baking": "bread dough flour water oven", "cycling": "bicycle chain brake tyre oil"}
MARKS = np.array(own_encoder.make("cpu").encode(list(SHELVES.values())))


def without_markup(text: str) -> str | None:
    """Before: a text without its tags; None where nothing is left."""
    return re.sub(r"<[^>]*>", " ", text).strip() or None


def shelf(vector: list[float]) -> str | None:
    """After: the subject that a vector is nearest to; None where it is near to neither."""
    near = MARKS @ np.array(vector) / np.linalg.norm(MARKS, axis=1) / np.linalg.norm(vector)
    return list(SHELVES)[near.argmax()] if near.max() > 0.3 else None


def main() -> None:
    folder = new_folder("seed_model_per_gpu")
    spark = start_spark()
    # to where the tasks are; or --py-files
    spark.sparkContext.addPyFile(str(Path(__file__).with_name("own_encoder.py")))

    df = spark.createDataFrame(ROWS, SCHEMA).coalesce(2)  # two tasks, so two models
    df = df.withColumn("text", udf(without_markup, useArrow=False)("text")).where("text IS NOT NULL")  # row 3 goes
    df = df.withColumn("vector", embed("text", encoder="own_encoder:make"))
    df = df.withColumn("shelf", udf(shelf, useArrow=False)("vector")).where("shelf IS NOT NULL")  # row 4 goes
    df.select("id", "shelf", "tags", "published", "stars", "vector").write.parquet(str(folder / "shelves"))

    made = spark.read.parquet(str(folder / "shelves")).orderBy("id").cache()
    made.drop("vector").show(truncate=False)
    print(", ".join(f"{name} {kind}" for name, kind in made.dtypes))
    check(
        [(row.id, row.shelf) for row in made.collect()] == [(1, "baking"), (2, "cycling"), (5, "baking")],
        "two rows of five were dropped",
    )
    kept = ["id", "tags", "published", "stars"]
    before = spark.createDataFrame(ROWS, SCHEMA).where("id NOT IN (3, 4)").select(kept)
    check(
        made.select(kept).schema == before.schema and made.select(kept).collect() == before.orderBy("id").collect(),
        "types and values are kept",
    )
    spark.stop()


if __name__ == "__main__":
    main()
