"""Convert the operation words of change feeds to what a row does: upsert, delete, nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.errors import BadRowError, shorten

UPSERT, DELETE, IGNORE, UNKNOWN = range(4)
"""The operations of a row: write the document; remove the document; ignore the row (an image from before an update); a
word that no change feed has."""

EMPTIED = -1
"""The operation of a word that says that the whole table was emptied; no row has it, because `operations` raises an
error."""

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
"""The words of each operation, by the feeds that use them, without regard to case. A word means the same in every
feed."""

WORDS = {word: what for feed in FEEDS.values() for what, words in feed.items() for word in words.split()}


def operations(column: pa.Array) -> npt.NDArray[np.int8]:
    """Return the operation of each row, one of the four above, as an int8 array. Raises BadRowError where the feed says
    that its table was emptied."""
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
    """Return the reason why a word is not an operation."""
    return (
        f"is {'null' if word is None else repr(shorten(word))}, no word of a change feed: those are insert, "
        "update, delete and the like"
    )


def _meaning(word: str | None) -> int:
    return WORDS.get("" if word is None else word.strip().lower(), UNKNOWN)
