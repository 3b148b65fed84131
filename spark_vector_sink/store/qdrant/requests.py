"""Points → requests of bounded size, and a request → its halves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qdrant_client import grpc as messages

from spark_vector_sink.store.qdrant.messages import upsert
from spark_vector_sink.store.store import PointBatch, PointId


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


def requests(points: PointBatch, collection: str, ordering: str, most_points: int, most_bytes: int) -> Iterator[Request]:
    """Requests of at most so many points and bytes; a single point may be larger."""
    average = max(1, points.nbytes // max(1, len(points)))
    size = max(1, min(most_points, most_bytes // average))
    for start in range(0, len(points), size):
        part = points.slice(start, min(start + size, len(points)))
        yield from _bounded(Request(upsert(collection, part, ordering), part.ids), most_bytes)


def _bounded(request: Request, most_bytes: int) -> Iterator[Request]:
    """The request, or, where some points are far larger than the average, as many parts as the bytes ask for."""
    if len(request.data) <= most_bytes or len(request) == 1:
        yield request
        return
    for half in request.halves():
        yield from _bounded(half, most_bytes)
