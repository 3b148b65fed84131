"""Export the points of an index to a file, which can be read without the index: the index is closed before anything is
encoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from spark_vector_sink.store.edge.index import qdrant_edge
from spark_vector_sink.store.edge.layout import publish
from spark_vector_sink.store.scan import POINTS, Page, batch
from spark_vector_sink.store.write_batch import plain_id

_POINTS = 1000
"""points of one record batch: what the driver holds in memory at a time"""


def export(shard: Any, path: Path, size: int) -> list[Page]:
    """Write ids and payloads of all points to a file; return pages of at most `size` points."""
    edge, temporary = qdrant_edge(), path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pages = list[Page]()
    with temporary.open("wb") as file:
        with pa.ipc.new_file(file, POINTS) as writer:
            offset, more = None, True
            while more:
                wanted = edge.ScrollRequest(
                    offset=offset, limit=min(size, _POINTS), with_payload=True, with_vector=False
                )
                records, offset = shard.scroll(wanted)
                if records:
                    writer.write_batch(batch((plain_id(record.id), record.payload, None) for record in records))
                    pages.append(Page(str(path), len(pages)))
                more = offset is not None
        file.flush()
        os.fsync(file.fileno())
    publish(temporary, path)
    return pages


def read(page: Page) -> Iterator[pa.RecordBatch]:
    """Read the points of a page."""
    with pa.memory_map(page.place) as source:
        yield pa.ipc.open_file(source).get_batch(page.first)
