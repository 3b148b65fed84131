"""Reads the points of a collection again, in the order of their ids, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pyarrow as pa
from qdrant_client import QdrantClient

from spark_vector_sink.store.pages import Page, batch, order
from spark_vector_sink.store.points import PointId

T = TypeVar("T")

READ_POINTS = 256
"""Most points of one reply that has payloads."""

Ask = Callable[[Callable[[], T]], T]
"""Asks the server, again where that may help"""


def list_pages(client: QdrantClient, collection: str, size: int, ask: Ask[tuple[list[Any], Any]]) -> list[Page]:
    """Pages of `size` points, without a look at the points themselves."""
    firsts = list[PointId]()
    offset: Any = None
    while True:
        records, following = ask(lambda offset=offset: client.scroll(collection, limit=size, offset=offset, with_payload=False, with_vectors=False))  # type: ignore[misc]
        if records:
            firsts.append(as_id(records[0].id))
        if following is None:
            break
        offset = following
    return [Page(collection, first, stop) for first, stop in zip(firsts, [*firsts, None][1:], strict=True)]


def read_page(client: QdrantClient, page: Page, most: int, ask: Ask[tuple[list[Any], Any]]) -> Iterator[pa.RecordBatch]:
    """The points of a page, also those that came into it since."""
    offset: Any = page.first
    while offset is not None and (page.stop is None or order(as_id(offset)) < order(page.stop)):
        records, offset = ask(lambda offset=offset: client.scroll(page.place, limit=min(most, READ_POINTS), offset=offset, with_vectors=False))  # type: ignore[misc]
        within = [(as_id(record.id), record.payload) for record in records]
        yield batch((point, payload) for point, payload in within if page.stop is None or order(point) < order(page.stop))


def as_id(found: Any) -> PointId:
    """The client's id as ours."""
    return found if isinstance(found, int) else str(found)
