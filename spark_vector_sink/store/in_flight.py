"""Send a bounded number of requests at once, while the next request is being built."""

from __future__ import annotations

from collections.abc import Callable, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from spark_vector_sink.store.in_flight_limit import MOST, Limit
from spark_vector_sink.store.write_batch import PointId

R = TypeVar("R")
T = TypeVar("T")


class InFlight(Generic[R, T]):
    """Sender of requests in threads of its own, never more requests at once than `limit` allows; used by one thread."""

    def __init__(self, send: Callable[[R], T], limit: Limit) -> None:
        self._send = send
        self._limit = limit
        self._threads = ThreadPoolExecutor(int(MOST), thread_name_prefix="vectorsink-send")
        self._pending: dict[Future[T], tuple[Set[PointId], Callable[[T], None], int]] = {}

    def submit(self, request: R, ids: Set[PointId], done: Callable[[T], None]) -> None:
        """Send a request soon.

        Blocks while the limit of requests is reached, or while a request with the same points is on its way, so that
        the last row of a key is the last one written. Raises the first failure of an earlier request. done: called with
        the result of `send`, during this or a later call.
        """
        self._take([future for future in self._pending if future.done()], has_waited=False)
        while len(self._pending) >= self._limit.now:
            self._wait(has_waited=True)
        self.wait_for(ids)
        mark = self._limit.begun()
        self._pending[self._threads.submit(self._send, request)] = ids, done, mark

    def wait_for(self, ids: Set[PointId]) -> None:
        """Wait until no request with any of these points is on its way. Raises the first failure of a request."""
        while any(not ids.isdisjoint(others) for others, _, _ in self._pending.values()):
            self._wait()

    def drain(self) -> None:
        """Wait until no request is on its way. Raises the first failure of a request."""
        while self._pending:
            self._wait()

    def close(self) -> None:
        """Stop sending; requests on their way are completed."""
        # no cancelling: a thread in `submit` would wait for ever for a cancelled request
        self._threads.shutdown(wait=True)

    def _wait(self, has_waited: bool = False) -> None:
        """Wait until a request has ended."""
        done, _ = wait(self._pending, return_when=FIRST_COMPLETED)
        self._take([future for future in self._pending if future in done], has_waited)

    def _take(self, finished: list[Future[T]], has_waited: bool) -> None:
        """Process requests that have ended, in the order in which they were sent. has_waited: True where the task had
        to wait because the limit was reached."""
        ended = [(future, self._pending.pop(future)) for future in finished]
        for future, (_, done, mark) in ended:
            done(future.result())
            self._limit.applied(mark, has_waited)
