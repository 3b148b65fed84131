"""A change feed that arrives late, twice and out of order: the documents come out right all the same.

For tables with a change feed from Delta or Debezium. The rows here are those of Delta's change data feed
(`table_changes(…)`, or `readChangeFeed`). A late event loses against a newer one, and against a newer deletion; an
event that comes twice changes nothing.

    python examples/change_feed.py [FOLDER]        (./demo/change_feed)
"""

from __future__ import annotations

from common import MODEL, check, new_folder, start_spark

import spark_vector_sink
from spark_vector_sink.spark import write

SCHEMA = "id long, text string, _change_type string, _commit_version long"
DELIVERIES = {
    "the first commits": [
        (1, "Bread needs flour, water, salt and time.", "insert", 1),
        (2, "A bicycle chain is cleaned with a dry brush.", "insert", 1),
        (3, "Tomato plants want sun and little wind.", "insert", 2),
    ],
    "one day later": [
        (1, "Bread needs flour, water, salt and time.", "update_preimage", 5),
        (1, "Sourdough bread needs a starter that is fed each day.", "update_postimage", 5),
        (2, None, "delete", 6),
    ],
    "late events: an update of 1 and one of 2, both overtaken": [
        (2, "A bicycle chain is cleaned with warm water.", "update_postimage", 4),
        (1, "Bread needs flour and water.", "update_postimage", 3),
    ],
}


def main() -> None:
    store = str(new_folder("change_feed") / "store")
    spark = start_spark()
    everything = [row for rows in DELIVERIES.values() for row in rows]
    for title, rows in {**DELIVERIES, "everything once more, backwards": everything[::-1]}.items():
        report = write(
            spark.createDataFrame(rows, SCHEMA),
            store,
            model=MODEL,
            op_column="_change_type",
            version_column="_commit_version",
            unchanged="skip",  # a replay encodes nothing
            payload_exclude="_change_type",
        )
        ends = {
            name: getattr(report, name)
            for name in ("written", "deleted", "older", "unchanged", "superseded", "ignored")
        }
        print(f"{title}: {', '.join(f'{count} {name}' for name, count in ends.items() if count)}")
    spark.stop()

    print("\nthe documents, by how well they answer 'how do I bake?':")
    hits = spark_vector_sink.search(store, "how do I bake?")
    for hit in hits:
        print(f"  {hit.key}, of commit {hit.payload['_commit_version']}: {hit.payload['text']}")
    check(
        [(hit.key, hit.payload["_commit_version"]) for hit in hits] == [(1, 5), (3, 2)],
        "each document is as its last commit left it",
    )


if __name__ == "__main__":
    main()
