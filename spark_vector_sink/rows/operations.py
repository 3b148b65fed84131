"""The words of change feeds → what a row does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.errors import BadRowError, shorten

UPSERT, DELETE, IGNORE, UNKNOWN = range(4)
"""Write the document · remove it · nothing (how it was before an update) · no word of a change feed."""

WORDS = {
    **dict.fromkeys(("upsert", "insert", "update", "update_postimage", "c", "r", "u"), UPSERT),
    **dict.fromkeys(("delete", "d"), DELETE),
    "update_preimage": IGNORE,
}
"""Delta's change data feed, Debezium's `op`, and plain words; capitals do not matter."""

TRUNCATES = ("t", "truncate")


def operations(column: pa.Array) -> npt.NDArray[np.int8]:
    """What each row does: one of the four above. Raises BadRowError where the feed says that its table was emptied, which no row stands for."""
    words = column.to_pylist()
    known = {word: _meaning(word) for word in set(words)}
    if None in known.values():
        raise BadRowError(
            None,
            "",
            f"the feed says {next(word for word, what in known.items() if what is None)!r}: its table was emptied; write the table anew with mode('overwrite'), and the feed after it",
        )
    return np.array([known[word] for word in words], np.int8)


def unknown(word: str | None) -> str:
    """What is wrong with a word that is none."""
    return f"is {'null' if word is None else repr(shorten(word))}, no word of a change feed ({', '.join(WORDS)})"


def _meaning(word: str | None) -> int | None:
    """None where the table was emptied."""
    plain = "" if word is None else word.strip().lower()
    return None if plain in TRUNCATES else WORDS.get(plain, UNKNOWN)
