"""Lock an embedded store, so that one process at a time opens it; the others wait, but not for ever."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from spark_vector_sink.errors import PermanentStoreError, TransientStoreError, shorten
from spark_vector_sink.store.edge.layout import LOCK_MARK, StoreDirectory

_PAUSE_SECONDS = 0.05


@contextmanager
def locked(directory: StoreDirectory, seconds: float, advice: str) -> Iterator[float]:
    """Hold the store's lock; yield the deadline (`time.monotonic()`) of all waiting.

    The lock belongs to the open file, so it ends with the process, however the process ends. `advice` ends the message
    when another process keeps the lock for longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    descriptor = _open(directory)
    try:
        while not _try_lock(descriptor, directory):
            if time.monotonic() >= deadline:
                raise busy(directory, _holder(descriptor), seconds, advice)
            time.sleep(_PAUSE_SECONDS)
        _say(
            descriptor,
            f"held by process {os.getpid()} on {socket.gethostname()} since "
            f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S} UTC",
        )
        try:
            yield deadline
        finally:
            _say(descriptor, "free")
            _unlock(descriptor)
    finally:
        os.close(descriptor)


def busy(directory: StoreDirectory, holder: str, seconds: float, advice: str) -> TransientStoreError:
    return TransientStoreError(
        f"the embedded store {directory.root} is {holder}; waited {seconds:g} s (option 'timeout_seconds'); {advice}"
    )


def _open(directory: StoreDirectory) -> int:
    try:
        return os.open(directory.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise PermanentStoreError(
            f"the embedded store {directory.root} cannot be opened: {directory.lock}: {error.strerror}"
        ) from error


def _try_lock(descriptor: int, directory: StoreDirectory) -> bool:
    import fcntl  # not on Windows, where importing the sink must still work

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise PermanentStoreError(
            f"the filesystem of {directory.root} has no file locks ({error.strerror}), which an embedded store needs; "
            "use another filesystem, or a Qdrant server (option 'url')"
        ) from error
    return True


def _unlock(descriptor: int) -> None:
    """Release the lock explicitly, because a child forked meanwhile holds the same open file."""
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _say(descriptor: int, state: str) -> None:
    line = f"{LOCK_MARK}{state}\n".encode()
    os.pwrite(descriptor, line, 0)
    os.ftruncate(descriptor, len(line))


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 300, 0).decode(errors="replace")
    state = shorten(text.removeprefix(LOCK_MARK), 200)
    return state if state.startswith("held by ") else "held by another process"
