"""Regroup Arrow batches into windows: rows that are read ahead and encoded together. The size of Spark's batches does
not matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

WINDOW_BYTES = 64 * 1024 * 1024
"""Approximate size at which a window is cut short, so that memory is bounded for huge texts too."""


def windows(batches: Iterable[pa.RecordBatch], rows: int, most_bytes: int = WINDOW_BYTES) -> Iterator[pa.RecordBatch]:
    """Regroup batches, in order, into batches of `rows` rows; shorter ones at the end and where `most_bytes` is
    reached."""
    waiting: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        start = 0
        while start < len(batch):
            piece = batch.slice(start, min(rows - count, _rows_within(batch, most_bytes)))
            waiting.append(piece)
            start += len(piece)
            count += len(piece)
            size += piece.nbytes
            if count >= rows or size >= most_bytes:
                yield from _joined(waiting)
                waiting, count, size = [], 0, 0
    if waiting:
        yield from _joined(waiting)


def _rows_within(batch: pa.RecordBatch, most_bytes: int) -> int:
    """Return about how many rows of this batch take `most_bytes`, at least one."""
    return max(1, most_bytes * len(batch) // max(1, int(batch.nbytes)))


def _joined(pieces: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Join batches into one; into several where a column has more text than one Arrow array holds (2 GiB)."""
    return pieces if len(pieces) == 1 else list(pa.Table.from_batches(pieces).combine_chunks().to_batches())
