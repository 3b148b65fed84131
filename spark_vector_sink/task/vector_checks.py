"""Check the vectors of a window: find the points that cannot be written, and the reasons."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode.encoder import Encoded
from spark_vector_sink.payload_types import SparseVectors
from spark_vector_sink.rows import bad_rows, vectors
from spark_vector_sink.rows.bad_rows import BadRow
from spark_vector_sink.rows.documents import Documents

Vectors = npt.NDArray[np.float32] | SparseVectors


def unfit(
    points: Documents,
    made: Mapping[str, Vectors],
    datatypes: Mapping[str, str],
    encoded: Encoded | None,
    column: str,
    long_text: str,
) -> list[BadRow]:
    """Return a bad row, with the first reason, for each point that cannot be written: texts that the model did not
    accept, or that are too long where `long_text` does not allow it, and vectors that cannot be compared with others or
    that the collection would store as something else. made, datatypes: by vector name. encoded: None where vectors are
    ready-made."""
    found: dict[int, tuple[str, str]] = {}
    if encoded is not None:
        found |= {point: (bad_rows.MEMORY, reason) for point, reason in encoded.failed.items()}
        for point in np.flatnonzero(encoded.cut).tolist() if long_text in ("fail", "reject") else ():
            found.setdefault(
                point, (bad_rows.LONG_TEXT, f"{too_long(encoded, point)} (option 'long_text' = '{long_text}')")
            )
    for name, vectors_of_one_kind in made.items():
        for point, reason in _unusable(vectors_of_one_kind, datatypes.get(name, vectors.FLOAT32)).items():
            found.setdefault(point, (bad_rows.VECTOR, reason))
    return [BadRow(int(points.rows[point]), points.keys[point], column, *found[point]) for point in sorted(found)]


def _unusable(made: Vectors, datatype: str) -> dict[int, str]:
    """Return the reason for each vector that cannot be compared or stored. Vectors are checked one by one only where at
    least one is unusable."""

    def first(start: int, stop: int) -> tuple[int, str] | None:
        if isinstance(made, SparseVectors):
            some = made.slice(start, stop)
            return vectors.unusable_sparse(some) or vectors.unlike_sparse(some, datatype)
        return vectors.unusable(made[start:stop]) or vectors.unlike(made[start:stop], datatype)

    return {} if first(0, len(made)) is None else bad_rows.each(len(made), lambda row: first(row, row + 1))


def too_long(encoded: Encoded, row: int) -> str:
    return f"has {int(encoded.tokens[row] + encoded.cut[row]):,} tokens, the model reads {int(encoded.tokens[row]):,}"
