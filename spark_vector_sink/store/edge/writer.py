"""Stage the points of a task in a file beside the index. This module does not need Qdrant Edge."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from spark_vector_sink.errors import PermanentStoreError, shorten
from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.edge import staged_checks
from spark_vector_sink.store.edge.layout import StoreDirectory, read_facts
from spark_vector_sink.store.edge.snapshot import State
from spark_vector_sink.store.edge.staged_file import REMOVE, TOUCH, Operation, StagedFile
from spark_vector_sink.store.edge.staged_points import id_columns, to_record_batch
from spark_vector_sink.store.edge.staging import sees_run
from spark_vector_sink.store.write_batch import PointBatch, PointId, Removal, Sent, ShardKey, Stored


class EdgeStore:
    """Writer that stages the points of one attempt of one task, in order; the driver ingests the files of the attempts
    that succeeded."""

    retries = 0

    def __init__(self, target: Target, run: str, partition: int, attempt: int) -> None:
        directory = StoreDirectory(Path(target.name))
        if not sees_run(directory, run):
            raise PermanentStoreError(
                f"{directory.root} is not visible to the executor on host {socket.gethostname()}: an embedded store "
                "needs a directory that all executors see; "
                "use a shared filesystem, or a Qdrant server (option 'url')"
            )
        self._facts = read_facts(directory, target.physical)
        self._folder = directory.staging(run)
        self._state_file = directory.state_file(run)
        self._state: State | None = None
        self._name = (
            f"{partition:06d}-{attempt}-{uuid.uuid4().hex[:8]}"  # a stage that runs again counts its attempts anew
        )
        self._receipts: list[str] = []
        self._file: StagedFile | None = None
        self._lock = threading.Lock()  # a task that fails closes the store while another of its threads may be writing

    def stored(self, ids: Sequence[PointId], shard_keys: Sequence[ShardKey] | None = None) -> Mapping[PointId, Stored]:
        """Return the stored state of these points when the run began. Only in a job that has announced it
        (`CollectionSpec.reads`)."""
        with self._disk_errors("read"):
            state = self._state or State(self._state_file)
        self._state = state
        return state.of(ids)

    def wait_for(self, ids: Set[PointId]) -> None:
        """Return at once: the driver ingests the staged points in this order."""

    def submit(self, points: PointBatch) -> Sent:
        """Append the points to the task's file; points that the index would not accept are refused."""
        if not len(points):
            return Sent()
        operation = Operation(points.how.value, to_record_batch(points, self._facts))
        if wrong := staged_checks.form_fault(operation, self._facts):
            raise PermanentStoreError(
                f"the embedded store does not take these points: {wrong}; this is a defect of the sink, "
                "please report it"
            )
        refused = staged_checks.unreadable_rows(operation.rows) or staged_checks.unfit_rows(operation)
        if not refused:
            self._stage(operation)
            return Sent()
        others = self.submit(points.take(np.delete(np.arange(len(points)), list(refused))))
        return Sent({points.ids[row]: reason for row, reason in refused.items()} | others.refused)

    def delete(self, removal: Removal) -> Sent:
        """Append the removal to the task's file."""
        if len(removal):
            columns = id_columns(removal.ids)
            if removal.before is not None:
                columns["version"] = pa.array(removal.before, pa.int64())
            self._stage(Operation(REMOVE, pa.record_batch(columns)))
        return Sent()

    def touch(
        self, ids: Sequence[PointId], fields: Mapping[str, str | int], shard_keys: Sequence[ShardKey] | None = None
    ) -> Sent:
        """Append the touch to the task's file."""
        if len(ids) and fields:
            self._stage(Operation(TOUCH, pa.record_batch(id_columns(ids)), fields))
        return Sent()

    def flush(self) -> tuple[str, ...]:
        """Make durable what was submitted; return the names of all files of this task so far, in order."""
        if self._file is not None:
            name = f"{self._name}-{len(self._receipts):06d}.arrow"
            with self._disk_errors("staged"):
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

    def _stage(self, operation: Operation) -> None:
        with self._lock, self._disk_errors("staged"):
            if self._file is None:
                self._file = StagedFile(self._folder / f".{self._name}.tmp")
            self._file.write(operation)

    @contextmanager
    def _disk_errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or shorten(str(error))
            raise PermanentStoreError(
                f"points cannot be {done} in {self._folder} on host {socket.gethostname()}: {reason}"
            ) from error
