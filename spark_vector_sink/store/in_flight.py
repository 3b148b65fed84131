"""Bounded sending: a few requests on their way at once, while the next one is being built."""

from __future__ import annotations

from collections.abc import Callable, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from spark_vector_sink.store.store import PointId

R = TypeVar("R")


class InFlight(Generic[R]):
    """Sends requests in threads of its own, at most `most` at once; used by one thread."""

    def __init__(self, send: Callable[[R], None], most: int) -> None:
        self._send = send
        self._most = most
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="vectorsink-send")
        self._pending: dict[Future[None], Set[PointId]] = {}

    def submit(self, request: R, ids: Set[PointId]) -> None:
        """Send soon. Blocks while `most` requests are on their way, or one that touches the same points, so that the last
        row of a key is the last one written. Raises the first failure of an earlier request."""
        while len(self._pending) >= self._most or any(not ids.isdisjoint(other) for other in self._pending.values()):
            self._take_finished()
        self._pending[self._threads.submit(self._send, request)] = ids

    def drain(self) -> None:
        """Return when nothing is on its way any more. Raises the first failure."""
        while self._pending:
            self._take_finished()

    def close(self) -> None:
        """Send nothing more; what is on its way comes to its end."""
        self._threads.shutdown(wait=True)  # without cancelling: a thread in `submit` would wait for a cancelled request for ever

    def _take_finished(self) -> None:
        done, _ = wait(self._pending, return_when=FIRST_COMPLETED)
        finished = [future for future in self._pending if future in done]  # in the order in which they were sent
        for future in finished:
            del self._pending[future]
        for future in finished:
            future.result()
