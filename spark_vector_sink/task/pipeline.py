"""Run the threads of one task: one works ahead of its own thread, one behind, and the first error in any ends all.

    with Pipeline(store.close) as pipeline:
        for window in pipeline.ahead(windows):         # the next window is made in a thread while this one is in use
            made = encode(window)                      # the task's own thread
            pipeline.behind(lambda: deliver(made))     # in another thread, while the next window is encoded

At most one item waits on each side. torch, the tokenizer and the socket release the interpreter's lock, so the threads
run in parallel.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class Pipeline:
    """Two helper threads of the thread that uses the pipeline as a context. No helper thread is left when the context
    ends.

    stop: ends what the helper threads may still wait for, such as requests that are retried for minutes. It is called
    once, in any of the threads: at the first error, so that no thread waits in vain, or else at the end.
    """

    def __init__(self, stop: Callable[[], None] = lambda: None) -> None:
        self._stop: Callable[[], None] | None = stop
        self._before = ThreadPoolExecutor(1, thread_name_prefix="vectorsink-ahead")
        self._after = ThreadPoolExecutor(1, thread_name_prefix="vectorsink-behind")
        self._waiting: Future[None] | None = None
        self._lock = threading.Lock()
        self._first: BaseException | None = None

    def ahead(self, source: Iterator[T]) -> Iterator[T]:
        """Yield the items of `source`. Each item is made in a helper thread while the item before it is in use; the
        first is begun at once."""
        end: Any = object()

        def make() -> Future[Any]:
            return self._before.submit(self._watched, next, source, end)

        def items(coming: Future[Any]) -> Iterator[T]:
            while (item := self._result(coming)) is not end:
                coming = make()
                yield item

        return items(make())

    def until_error(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items until an error has occurred in any of the threads; for a source whose items take long."""
        for item in items:
            if self._first is not None:
                return
            yield item

    def behind(self, work: Callable[[], None]) -> None:
        """Run `work` in the thread behind, in order, while the caller goes on. Waits until the previous work is done.
        Raises the first error."""
        self.wait()
        self._waiting = self._after.submit(self._watched, work)

    def wait(self) -> None:
        """Wait until all given work is done. Raises the first error."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._result(waiting)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the threads. A read that has begun is waited for, because reading Spark's batches cannot be
        interrupted."""
        try:
            self._end(error)
        finally:
            self._before.shutdown(wait=True, cancel_futures=True)
            self._after.shutdown(wait=True, cancel_futures=True)
        if error is not None and self._first is not None and self._first is not error:
            raise self._first

    def _watched(self, work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return work(*arguments)
        except BaseException as error:
            self._end(error)
            raise

    def _end(self, error: BaseException | None) -> None:
        """Remember the first error, and end what the other threads wait for."""
        with self._lock:
            self._first = self._first or error
            stop, self._stop = self._stop, None
        if stop is not None:
            stop()

    def _result(self, future: Future[Any]) -> Any:
        error = future.exception()
        if (
            self._first is not None or error is not None
        ):  # after the first error in any thread, the items may be incomplete
            raise self._first or error  # type: ignore[misc]
        return future.result()
