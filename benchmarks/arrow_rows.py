"""Texts → what Spark hands to a Python worker: Arrow batches of the columns `id` and `text`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pyarrow as pa

ARROW_ROWS = 10_000
"""Rows of a batch, as Spark cuts them by default."""
SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])


def batches(texts: Iterator[str], first_id: int = 0) -> Iterator[pa.RecordBatch]:
    """Batches that are made when they are asked for; ids count up from `first_id`."""
    while some := list(islice(texts, ARROW_ROWS)):
        yield pa.RecordBatch.from_arrays(
            [pa.array(range(first_id, first_id + len(some)), pa.int64()), pa.array(some, pa.string())], schema=SCHEMA
        )
        first_id += len(some)
