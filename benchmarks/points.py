"""Rows with ready-made vectors, as a Spark user has them: payload columns in Arrow, vectors as a float32 matrix. The
same on every machine."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.arrow_rows import ARROW_ROWS

SEED = 7
TEXT = 300
"""Characters of a text."""

PAYLOAD = pa.schema([
    ("text", pa.string()),
    ("number", pa.int64()),
    ("weight", pa.float64()),
    ("flag", pa.bool_()),
    ("tags", pa.list_(pa.string())),
    ("code", pa.string()),
])  # fmt: skip
"""Six fields: a text, four kinds of values beside it, and a string like an id."""


@dataclass(frozen=True)
class Points:
    """Points that one Arrow batch of Spark's holds. ids: UUIDs. vectors: shape (n, dimension). payload: see PAYLOAD."""

    ids: list[str]
    vectors: npt.NDArray[np.float32]
    payload: pa.RecordBatch

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, fields: Sequence[str]) -> Points:
        """The same points with some of the payload."""
        return Points(self.ids, self.vectors, self.payload.select(list(fields)))

    def rows(self) -> pa.RecordBatch:
        """What Spark hands to a task: the columns `id`, the payload's, and `vector`, a list of floats."""
        n, dimension = self.vectors.shape
        offsets = pa.array(np.arange(n + 1, dtype=np.int32) * np.int32(dimension))
        vectors = pa.ListArray.from_arrays(offsets, pa.array(self.vectors.reshape(-1)))
        return pa.RecordBatch.from_arrays(
            [pa.array(self.ids), *self.payload.columns, vectors], names=["id", *self.payload.schema.names, "vector"]
        )


SCHEMA = pa.schema([("id", pa.string()), *PAYLOAD, ("vector", pa.list_(pa.float32()))])
"""Of `Points.rows`."""


def made(rows: int, dimension: int) -> Iterator[Points]:
    """So many points in batches of Spark's default size; each batch is made when it is asked for."""
    chosen, numbers = random.Random(SEED), np.random.default_rng(SEED)
    words = ["".join(chosen.choices("abcdefghiklmnoprstuvw", k=chosen.randint(2, 10))) for _ in range(2_000)]
    for start in range(0, rows, ARROW_ROWS):
        count = range(start, min(start + ARROW_ROWS, rows))
        columns = [
            [" ".join(chosen.choices(words, k=60))[:TEXT] for _ in count],
            list(count),
            [chosen.random() for _ in count],
            [number % 3 == 0 for number in count],
            [chosen.sample(words, 3) for _ in count],
            [f"article-{number:09d}" for number in count],
        ]
        ids = [str(uuid.UUID(int=chosen.getrandbits(128), version=4)) for _ in count]
        yield Points(
            ids,
            numbers.standard_normal((len(count), dimension), dtype=np.float32),
            pa.RecordBatch.from_arrays(
                [pa.array(column, field.type) for column, field in zip(columns, PAYLOAD, strict=True)], schema=PAYLOAD
            ),
        )


def repeated(points: Points, rows: int) -> Iterator[Points]:
    """So many points: these again and again, each time copied and under new ids, so that every batch has memory of its
    own at little cost."""
    for start in range(0, rows, len(points)):
        left = min(len(points), rows - start)
        ids = [str(uuid.UUID(int=number, version=4)) for number in range(start, start + left)]
        yield Points(ids, points.vectors[:left].copy(), points.payload.take(pa.array(range(left))))
