"""The messages of Debezium as they come from Kafka: inserts, updates and deletes of a database's table, without a step
before the sink.

A message tells how a row was before and how it is after. Key and text are named by their paths, `after.id` and
`after.body`; of a row that was deleted the key is found under `before`. The messages here are texts in a list; with
Kafka they come from `spark.readStream.format("kafka")…select(F.col("value").cast("string"))`, and `vector_sink(…)` with
the same options writes them in `foreachBatch`.

    python examples/debezium.py [FOLDER]        (./demo/debezium)
"""

from __future__ import annotations

import json

from common import MODEL, check, new_folder, start_spark
from pyspark.sql import functions as F  # noqa: N812

import spark_vector_sink
from spark_vector_sink.spark import write

ROW = "struct<id: bigint, title: string, body: string, lang: string>"
ENVELOPE = f"before {ROW}, after {ROW}, op string, ts_ms bigint"

BREAD = {"id": 1, "title": "Bread", "body": "Bread needs flour, water, salt and time.", "lang": "en"}
SOURDOUGH = {
    "id": 1,
    "title": "Sourdough",
    "body": "Sourdough bread needs a starter that is fed each day.",
    "lang": "en",
}
CHAIN = {"id": 2, "title": "Chain", "body": "A bicycle chain is cleaned with a dry brush.", "lang": "en"}
TOMATO = {"id": 3, "title": "Tomatoes", "body": "Tomato plants want sun and little wind.", "lang": "en"}
MESSAGES = {
    "the snapshot": [
        {"before": None, "after": BREAD, "op": "r", "ts_ms": 1_700_000_000_000},
        {"before": None, "after": CHAIN, "op": "r", "ts_ms": 1_700_000_000_000},
    ],
    "what happened since": [
        {"before": None, "after": TOMATO, "op": "c", "ts_ms": 1_700_000_001_000},
        {"before": BREAD, "after": SOURDOUGH, "op": "u", "ts_ms": 1_700_000_002_000},
        {"before": CHAIN, "after": None, "op": "d", "ts_ms": 1_700_000_003_000},
        None,  # the tombstone that Kafka compacts by; it says nothing
    ],
}


def main() -> None:
    store = str(new_folder("debezium") / "store")
    spark = start_spark()
    everything = [message for messages in MESSAGES.values() for message in messages]
    for title, messages in {**MESSAGES, "everything once more": everything}.items():
        values = spark.createDataFrame(
            [(None if message is None else json.dumps(message),) for message in messages], "value string"
        )
        report = write(
            values.where("value IS NOT NULL").select(F.from_json("value", ENVELOPE).alias("it")).select("it.*"),
            store,
            model=MODEL,
            id_column="after.id",
            text_column="after.title,after.body",
            op_column="op",
            version_column="ts_ms",
            unchanged="skip",  # a replay encodes nothing
        )
        ends = {name: getattr(report, name) for name in ("written", "deleted", "older", "unchanged", "superseded")}
        print(f"{title}: {', '.join(f'{count} {name}' for name, count in ends.items() if count)}")
    spark.stop()

    print("\nthe documents, by how well they answer 'how do I bake?':")
    hits = spark_vector_sink.search(store, "how do I bake?")
    for hit in hits:
        print(f"  {hit.key}: {hit.payload['after']['body']}")
    check(
        [(hit.key, hit.payload["after"]["title"]) for hit in hits] == [(1, "Sourdough"), (3, "Tomatoes")],
        "the store holds the table as it is now",
    )


if __name__ == "__main__":
    main()
