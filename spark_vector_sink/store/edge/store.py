"""EdgeStore: a task's points become one file beside the index. Nothing here needs Qdrant Edge."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.store.edge.layout import StoreDirectory, publish, read_facts
from spark_vector_sink.store.edge.points import to_record_batch
from spark_vector_sink.store.edge.staging import sees_run
from spark_vector_sink.store.points import PointBatch, Sent
from spark_vector_sink.store.store import Target


class EdgeStore:
    """Stages the points of one attempt of one task; the driver brings in the files of the attempts that won."""

    retries = 0

    def __init__(self, target: Target, run: str, partition: int, attempt: int) -> None:
        directory = StoreDirectory(Path(target.name))
        if not sees_run(directory, run):
            raise PermanentStoreError(
                f"{directory.root} is not visible to the executor on host {socket.gethostname()}: an embedded store needs a directory that all executors see; "
                "use a shared filesystem, or a Qdrant server (option 'url')"
            )
        self._facts = read_facts(directory, target.physical)
        self._folder = directory.staging(run)
        self._name = f"{partition}-{attempt}"
        self._receipts: list[str] = []
        self._file: _StageFile | None = None
        self._lock = threading.Lock()  # a task that fails closes the store while another of its threads may be writing

    def submit(self, points: PointBatch) -> Sent:
        """Append the points to the task's file, after a look at ids and lengths: one point that the index refuses would stand in the way of every later run."""
        if len(points) == 0:
            return Sent()
        batch = to_record_batch(points, self._facts)
        with self._lock, self._disk_errors():
            if self._file is None:
                self._file = _StageFile(self._folder / f".{self._name}.{os.getpid()}.tmp", batch.schema)
            self._file.write(batch)
        return Sent()

    def flush(self) -> tuple[str, ...]:
        """Make durable what was submitted; the names of all files of this task so far."""
        if self._file is not None:
            more = f".{len(self._receipts)}" if self._receipts else ""
            name = f"{self._name}{more}.arrow"
            with self._disk_errors():
                self._file.publish_as(self._folder / name)
            self._file = None
            self._receipts.append(name)
        return tuple(self._receipts)

    def close(self) -> None:
        """Drop what was submitted and not flushed."""
        with self._lock:
            if self._file is not None:
                self._file.drop()
                self._file = None

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PermanentStoreError(
                f"points cannot be staged in {self._folder} on host {socket.gethostname()}: {error.strerror or error}"
            ) from error


class _StageFile:
    """An Arrow file under a temporary name."""

    def __init__(self, temporary: Path, schema: pa.Schema) -> None:
        self._temporary = temporary
        self._file: IO[bytes] = temporary.open("wb")
        self._writer: Any = pa.ipc.new_file(self._file, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def publish_as(self, path: Path) -> None:
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        publish(self._temporary, path)

    def drop(self) -> None:
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()
