"""The words of change feeds → what a row does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.errors import BadRowError, shorten

UPSERT, DELETE, IGNORE, UNKNOWN = range(4)
"""Write the document · remove it · nothing (how it was before an update) · no word of a change feed."""

EMPTIED = -1
"""The table has no rows any more, which no row stands for."""

FEEDS: dict[str, dict[int, str]] = {
    "plain words, SQL's and Snowflake's": {UPSERT: "upsert insert update", DELETE: "delete", EMPTIED: "truncate drop"},
    "Delta, Databricks": {UPSERT: "insert update_postimage", DELETE: "delete", IGNORE: "update_preimage"},
    "Iceberg": {UPSERT: "insert update_after", DELETE: "delete", IGNORE: "update_before"},
    "Debezium": {UPSERT: "c r u", DELETE: "d", EMPTIED: "t"},
    "AWS DMS, Oracle GoldenGate, Qlik, wal2json": {
        UPSERT: "i u load",
        DELETE: "d",
        IGNORE: "b",
        EMPTIED: "t truncate-table drop-table",
    },
    "Flink, Paimon, Hudi": {UPSERT: "+i +u", DELETE: "-d", IGNORE: "-u"},
    "MongoDB, Cosmos DB": {UPSERT: "create insert update replace", DELETE: "delete", EMPTIED: "drop dropdatabase"},
    "DynamoDB": {UPSERT: "insert modify", DELETE: "remove"},
    "Salesforce": {UPSERT: "create update undelete", DELETE: "delete"},
    "Maxwell": {
        UPSERT: "bootstrap-insert insert update",
        DELETE: "delete",
        IGNORE: "bootstrap-start bootstrap-complete",
        EMPTIED: "table-drop",
    },
}
"""What each word does, by the feeds that say it; capitals do not matter. A word means the same in each of them."""

WORDS = {word: what for feed in FEEDS.values() for what, words in feed.items() for word in words.split()}


def operations(column: pa.Array) -> npt.NDArray[np.int8]:
    """What each row does: one of the four above. Raises BadRowError where the feed says that its table was emptied."""
    words = column.to_pylist()
    known = {word: _meaning(word) for word in set(words)}
    emptied = sorted(word for word, what in known.items() if what == EMPTIED)
    if emptied:
        raise BadRowError(
            None,
            "",
            f"the feed says {emptied[0]!r}: its table was emptied; write the table anew with mode('overwrite'), and "
            "the feed after it",
        )
    return np.array([known[word] for word in words], np.int8)


def unknown(word: str | None) -> str:
    """What is wrong with a word that is none."""
    return (
        f"is {'null' if word is None else repr(shorten(word))}, no word of a change feed: those are insert, "
        "update, delete and the like"
    )


def _meaning(word: str | None) -> int:
    return WORDS.get("" if word is None else word.strip().lower(), UNKNOWN)
