"""Points → requests of bounded size, and a request → its halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from qdrant_client import grpc as messages

from spark_vector_sink.store.points import PointBatch, PointId
from spark_vector_sink.store.qdrant.messages import upsert


@dataclass(frozen=True)
class Request:
    """A serialised `UpsertPoints`, which can be sent again as it is, and the ids of its points."""

    data: bytes
    ids: Sequence[PointId]

    def __len__(self) -> int:
        return len(self.ids)

    def halves(self) -> tuple[Request, Request]:
        """The points in two requests; of two points at least."""
        middle = len(self) // 2
        first, second = (messages.UpsertPoints.FromString(self.data) for _ in range(2))
        del first.points[middle:], second.points[:middle]
        return Request(first.SerializeToString(), self.ids[:middle]), Request(second.SerializeToString(), self.ids[middle:])


def requests(points: PointBatch, collection: str, ordering: str, most_points: Callable[[], int], most_bytes: int) -> Iterator[Request]:
    """Requests of at most so many points and bytes; a single point may be larger. most_points: asked before each, since it changes."""
    average = max(1, points.nbytes // max(1, len(points)))
    start = 0
    while start < len(points):
        part = points.slice(start, min(start + max(1, min(most_points(), most_bytes // average)), len(points)))
        start += len(part)
        yield from _bounded(Request(upsert(collection, part, ordering), part.ids), most_bytes)


def _bounded(request: Request, most_bytes: int) -> Iterator[Request]:
    """The request, or, where some points are far larger than the average, as many parts as the bytes ask for."""
    if len(request.data) <= most_bytes or len(request) == 1:
        yield request
        return
    for half in request.halves():
        yield from _bounded(half, most_bytes)
