"""Write and read staged files: the operations of a task, in the order in which the task submitted them.

A file is a sequence of Arrow streams: a new stream begins where the kind of operation or the schema changes. The last
stream is empty and marks the file as complete.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from spark_vector_sink.errors import PermanentStoreError, StoreError, said, shorten
from spark_vector_sink.store.edge.layout import publish

REMOVE, TOUCH = "remove", "touch"
_END = "end"
_KEY = b"vectorsink"


class UnfitError(PermanentStoreError):
    """Error for staged rows that can never be ingested."""


@dataclass(frozen=True)
class Operation:
    """Operation on one batch of points.

    kind: a value of `How`, or `remove`, or `touch`. fields: the fields of `_sink` that a touch sets. rows: ids, and the
    columns that the kind needs (see `staged_points`).
    """

    kind: str
    rows: pa.RecordBatch
    fields: Mapping[str, Any] = field(default_factory=dict)

    def slices(self, most: int) -> Iterator[Operation]:
        """Yield the operation in parts of at most `most` points."""
        yield from (
            Operation(self.kind, self.rows.slice(start, most), self.fields)
            for start in range(0, self.rows.num_rows, most)
        )


class StagedFile:
    """File under a temporary name, until `publish_as`."""

    def __init__(self, temporary: Path) -> None:
        self._temporary = temporary
        self._file: IO[bytes] = temporary.open("wb")
        self._writer: Any = None
        self._schema: pa.Schema | None = None

    def write(self, operation: Operation) -> None:
        """Append an operation; raises OSError when the disk is full."""
        said = (
            {"kind": operation.kind, "fields": dict(operation.fields)} if operation.fields else {"kind": operation.kind}
        )
        schema = operation.rows.schema.with_metadata({_KEY: json.dumps(said, sort_keys=True).encode()})
        if self._schema is None or not schema.equals(self._schema, check_metadata=True):
            self._begin(schema)
        self._writer.write_batch(operation.rows.replace_schema_metadata(schema.metadata))

    def publish_as(self, path: Path) -> None:
        """Make the file durable, and give it its final name."""
        self._begin(pa.schema([], {_KEY: json.dumps({"kind": _END}).encode()}))
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        publish(self._temporary, path)

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()

    def _begin(self, schema: pa.Schema) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._schema = pa.ipc.new_stream(self._file, schema), schema


def read_operations(path: Path) -> Iterator[Operation]:
    """Yield the operations of a staged file; it is mapped, not read as a whole. Raises UnfitError where it is not a
    valid staged file."""
    with damage(path):
        yield from _operations(path)


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Convert errors of reading a staged file to UnfitError, except for errors of the machine, which may be gone on a
    retry."""
    try:
        yield
    except (StoreError, MemoryError):
        raise
    except Exception as error:
        of_the_system = isinstance(error, OSError) and error.errno is not None  # errors of Arrow have no number
        if of_the_system and path.is_file():
            raise
        raise UnfitError(
            f"{path.name} " + ("is not there" if of_the_system else f"is damaged: {shorten(said(error), 200)}")
        ) from error


def _operations(path: Path) -> Iterator[Operation]:
    if size := path.stat().st_size:
        with pa.memory_map(str(path)) as source:
            while source.tell() < source.size():
                with pa.ipc.open_stream(source) as stream:
                    said = json.loads(stream.schema.metadata[_KEY])
                    if said["kind"] == _END:
                        return
                    for batch in stream:
                        yield Operation(said["kind"], batch, dict(said.get("fields", {})))
    raise UnfitError(f"{path.name} ends too early: {size:,} bytes of it are there")
