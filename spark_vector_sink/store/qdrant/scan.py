"""Read the points of a collection again, in the order of their ids, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.qdrant.connection import Connection
from spark_vector_sink.store.qdrant.strict_mode import most_read
from spark_vector_sink.store.scan import Page, batch, order
from spark_vector_sink.store.write_batch import PointId, plain_id

READ_POINTS = 256
"""Maximum number of points of one reply with payloads."""


class Pages(Connection):
    """Pages of the points of the collection that an overwrite replaces."""

    def pages(self, target: Target, run: str, size: int) -> Sequence[Page]:
        """List the pages by their first ids, without reading the points themselves."""
        collection, firsts, offset, more = target.replaces or target.name, list[PointId](), None, True
        limit = min(size, self._most_read(collection))
        while more:
            records, offset = self._scrolled(collection, limit, offset, with_payload=False)
            firsts += [plain_id(record.id) for record in records[:1]]
            more = offset is not None
        return [Page(collection, first, stop) for first, stop in zip(firsts, [*firsts, None][1:], strict=True)]

    def read(self, page: Page) -> Iterator[pa.RecordBatch]:
        """Read the points of a page, also points that were added to it since."""
        limit = min(READ_POINTS, self._most_read(page.place))
        offset: Any = page.first
        while offset is not None and _is_within(page, plain_id(offset)):
            records, offset = self._scrolled(page.place, limit, offset, with_payload=True)
            points = [(plain_id(record.id), record.payload, record.shard_key) for record in records]
            yield batch(point for point in points if _is_within(page, point[0]))

    def _scrolled(self, collection: str, limit: int, offset: Any, with_payload: bool) -> tuple[list[Any], Any]:
        """Read neighbours in the order of ids, beginning at `offset`; return them and the id that follows."""

        def ask() -> tuple[list[Any], Any]:
            records, following = self._client.scroll(
                collection, limit=limit, offset=offset, with_payload=with_payload, with_vectors=False
            )
            return records, following

        return self._asking_again(f"reading points of '{collection}'", ask)

    def _most_read(self, collection: str) -> int:
        """Return the maximum number of points that the server gives in one reply (strict mode)."""
        info = self._info(collection)
        most = most_read(info) if info is not None else None
        return 2**31 if most is None else most


def _is_within(page: Page, point: PointId) -> bool:
    return page.stop is None or order(point) < order(page.stop)
