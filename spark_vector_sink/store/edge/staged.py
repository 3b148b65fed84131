"""A staged file: what a task wants done, in the order in which it said so.

It is a row of Arrow streams, one after the other: a new one begins where the kind of operation or the schema changes. The last one, which is empty,
says that the file is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.store.edge.layout import publish

REMOVE, TOUCH = "remove", "touch"
_END = "end"
_KEY = b"vectorsink"


@dataclass(frozen=True)
class Operation:
    """One batch of points, and what is to be done with them.

    kind: a value of `How`, or `remove`, or `touch`. fields: those of `_sink` that a touch sets. rows: ids, and what the kind needs (see `points`).
    """

    kind: str
    rows: pa.RecordBatch
    fields: Mapping[str, Any] = field(default_factory=dict)


class StagedFile:
    """A file under a temporary name, until `publish_as`."""

    def __init__(self, temporary: Path) -> None:
        self._temporary = temporary
        self._file: IO[bytes] = temporary.open("wb")
        self._writer: Any = None
        self._schema: pa.Schema | None = None

    def write(self, operation: Operation) -> None:
        """Append it; OSError when the disk is full."""
        said = {"kind": operation.kind, "fields": dict(operation.fields)} if operation.fields else {"kind": operation.kind}
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


def read_operations(path: Path, dimensions: Mapping[str, int], most: int) -> Iterator[Operation]:
    """What a staged file holds, at most `most` points at a time; the file is mapped, not read as a whole. dimensions: of each column of dense vectors."""
    with pa.memory_map(str(path)) as source:
        while source.tell() < source.size():
            with pa.ipc.open_stream(source) as stream:
                said = json.loads(stream.schema.metadata[_KEY])
                if said["kind"] == _END:
                    return
                _check_dimensions(path, stream.schema, dimensions)
                for batch in stream:
                    for start in range(0, batch.num_rows, most):
                        yield Operation(said["kind"], batch.slice(start, most), said.get("fields", {}))
    raise PermanentStoreError(f"staged file {path} ends too early: {path.stat().st_size:,} bytes of it are there")


def _check_dimensions(path: Path, schema: pa.Schema, dimensions: Mapping[str, int]) -> None:
    for column in schema:
        if column.name.partition(":")[0] == "vector" and column.type.list_size != dimensions.get(column.name):
            stored = dimensions.get(column.name, "none")
            raise PermanentStoreError(f"staged file {path} holds vectors of {column.type.list_size} dimensions, but the store those of {stored}")
