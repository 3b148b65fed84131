"""Split operations into requests of bounded size, and a request into its halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from spark_vector_sink.store.qdrant.operations import Operation
from spark_vector_sink.store.write_batch import PointId


@dataclass(frozen=True)
class Request:
    """Serialised operation on its points start … stop-1: it can be sent again as it is."""

    operation: Operation
    start: int
    stop: int
    data: bytes

    @classmethod
    def of(cls, operation: Operation, start: int, stop: int) -> Request:
        return cls(operation, start, stop, operation.make(start, stop))

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def ids(self) -> Sequence[PointId]:
        return self.operation.ids[self.start : self.stop]

    @property
    def versions(self) -> Sequence[int] | None:
        versions = self.operation.versions
        return None if versions is None else versions[self.start : self.stop]

    def halves(self) -> tuple[Request, Request]:
        """Split the points into two requests; needs at least two points."""
        middle = self.start + len(self) // 2
        return Request.of(self.operation, self.start, middle), Request.of(self.operation, middle, self.stop)


def requests(operation: Operation, most_points: Callable[[], int], most_bytes: int) -> Iterator[Request]:
    """Yield requests of at most this number of points and bytes; a single point may be larger. most_points: called
    before each request, since it changes."""
    points = len(operation.ids)
    most = min(operation.most_points or points, most_bytes // max(1, operation.nbytes // max(1, points)))
    start = 0
    while start < points:
        stop = min(start + max(1, min(most_points(), most)), points)
        yield from _bounded(Request.of(operation, start, stop), most_bytes)
        start = stop


def _bounded(request: Request, most_bytes: int) -> Iterator[Request]:
    """Yield the request, or, where some points are far larger than the average, as many parts as the limit of bytes
    needs."""
    if len(request.data) <= most_bytes or len(request) == 1:
        yield request
        return
    for half in request.halves():
        yield from _bounded(half, most_bytes)
