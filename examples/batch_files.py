"""Batch from Parquet and CSV files: filter rows, choose and index metadata, then search only part of the documents.

For anyone whose texts lie in files, and whose searches are narrowed down by what else is known about a text.

    python examples/batch_files.py [FOLDER]        (./demo/batch_files)
"""

from __future__ import annotations

import csv
from pathlib import Path

import docstrings
import pyarrow as pa
import pyarrow.parquet as pq
from common import MODEL, check, new_folder, start_spark
from pyspark.sql.functions import col, lit, size, split

import spark_vector_sink

QUESTION = "wait until something has happened"
SHORT_METHODS = {
    "must": [{"key": "type", "match": {"value": "method"}}, {"key": "words", "range": {"lte": 20}}],
    "must_not": [{"key": "origin", "match": {"value": "csv"}}],
}
"""A filter in Qdrant's own JSON: methods that are explained in few words, of the Parquet file alone"""


def make_files(folder: Path) -> None:
    """What two teams deliver: one Parquet, the other CSV, with other names for the columns."""
    rows = docstrings.rows()[:200]
    half = {name: [getattr(row, name) for row in rows[:100]] for name in ("module", "name", "kind", "text")}
    pq.write_table(pa.table(half), folder / "docs.parquet")
    with (folder / "docs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("package", "object", "kind", "documentation"), *rows[100:]])


def main() -> None:
    folder = new_folder("batch_files")
    make_files(folder)
    store, spark = str(folder / "store"), start_spark()

    parquet = spark.read.parquet(str(folder / "docs.parquet")).withColumn("origin", lit("parquet"))
    # the texts have line breaks and quotes in them: without these two options Spark takes one such row for several
    lines = spark.read.csv(str(folder / "docs.csv"), header=True, multiLine=True, escape='"')
    lines = lines.withColumnsRenamed({"package": "module", "object": "name", "documentation": "text"}).withColumn(
        "origin", lit("csv")
    )
    df = parquet.unionByName(lines).where(col("kind") != "module").withColumn("words", size(split("text", r"\s+")))
    (
        df.write.format("vectorsink")
        .option("model", MODEL)
        .option("id_column", "module,name")
        .option("payload_columns", "kind,words,origin")  # besides key and text
        .option("payload_rename", "kind:type")
        .option("payload_indexes", "type:keyword,words:integer,origin:keyword")  # made before the load, for the filters
        .mode("append")
        .save(store)
    )
    print(f"{df.count()} rows of both files are in the store")
    spark.stop()

    for title, asked in (("all of it", None), ("short methods of the Parquet file", SHORT_METHODS)):
        hits = spark_vector_sink.search(store, QUESTION, filter=asked)
        print(f"\n{QUESTION!r}, among {title}:")
        for hit in hits:
            where, what = (
                f"{hit.payload['origin']}: {'.'.join(hit.key)}",
                f"a {hit.payload['type']}, {hit.payload['words']} words",
            )
            print(f"  {hit.score:.3f}  {where:52}  {what}")
    found = {(hit.payload["type"], hit.payload["words"] <= 20, hit.payload["origin"]) for hit in hits}
    check(found == {("method", True, "parquet")}, "the filtered answers are short methods of the Parquet file")


if __name__ == "__main__":
    main()
