"""A staged file: what a task wants done, in the order in which it said so.

It is a row of Arrow streams, one after the other: a new one begins where the kind of operation or the schema changes.
The last one, which is empty, says that the file is whole.
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
    """Staged rows that can never be brought in, whoever tries."""


@dataclass(frozen=True)
class Operation:
    """One batch of points, and what is to be done with them.

    kind: a value of `How`, or `remove`, or `touch`. fields: those of `_sink` that a touch sets. rows: ids, and what the
    kind needs (see `staged_points`).
    """

    kind: str
    rows: pa.RecordBatch
    fields: Mapping[str, Any] = field(default_factory=dict)

    def slices(self, most: int) -> Iterator[Operation]:
        """The same, at most `most` points at a time."""
        yield from (
            Operation(self.kind, self.rows.slice(start, most), self.fields)
            for start in range(0, self.rows.num_rows, most)
        )


class StagedFile:
    """A file under a temporary name, until `publish_as`."""

    def __init__(self, temporary: Path) -> None:
        self._temporary = temporary
        self._file: IO[bytes] = temporary.open("wb")
        self._writer: Any = None
        self._schema: pa.Schema | None = None

    def write(self, operation: Operation) -> None:
        """Append it; OSError when the disk is full."""
        said = (
            {"kind": operation.kind, "fields": dict(operation.fields)} if operation.fields else {"kind": operation.kind}
        )
        schema = operation.rows.schema.with_metadata({_KEY: json.dumps(said, sort_keys=True).encode()})
        if self._schema is None or not schema.equals(self._schema, check_metadata=True):
            self._begin(schema)
        self._writer.write_batch(operation.rows.replace_schema_metadata(schema.metadata))

    def publish_as(self, path: Path) -> None:
        """Make it durable, and give it its name."""
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
    """What a staged file holds; it is mapped, not read as a whole. UnfitError where it is none."""
    with damage(path):
        yield from _operations(path)


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Whatever goes wrong with reading a staged file is said as an UnfitError, but for what is the machine's fault:
    that may be gone the next time."""
    try:
        yield
    except (StoreError, MemoryError):
        raise
    except Exception as error:
        of_the_system = isinstance(error, OSError) and error.errno is not None  # Arrow's own have no number
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
