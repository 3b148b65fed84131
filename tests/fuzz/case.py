"""A job as data: a table, how it is cut into tasks and batches, and its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from spark_vector_sink.payload_types import JSON_MARK
from tests.fuzz import values
from tests.fuzz.values import Raw

STORES = ("embedded", "fake", "real")


@dataclass(frozen=True)
class Column:
    """values: as `values` describes them, one for each row."""

    name: str
    kind: pa.DataType
    values: Sequence[Raw]
    json: bool = False
    """a variant: JSON text under the mark that Spark's room puts on it"""
    hidden: bool = False
    """whether garbage lies under the nulls"""

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.kind, metadata=JSON_MARK if self.json else None)


@dataclass(frozen=True)
class Case:
    """`<tmp>` in an option's value is a folder of the run's own, `<address>` and `<grpc>` are the server's."""

    columns: Sequence[Column]
    options: Mapping[str, Any]
    tasks: Sequence[Sequence[int]] = ()
    """for each task the lengths of its batches; empty: one task with one batch"""
    separate: bool = False
    """each batch is built alone, instead of being a slice of the whole table"""
    where: str = ""
    """a part of the collection's name, or of the directory's"""
    runs: int = 1
    """how often the same job runs"""
    store: str = "embedded"
    origin: str = field(default="", compare=False)
    """the command that makes it again, or the sentence that stands for it"""

    @property
    def rows(self) -> int:
        return len(self.columns[0].values) if self.columns else 0

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([column.field for column in self.columns])

    def cuts(self) -> Sequence[Sequence[int]]:
        return self.tasks or [[self.rows]]

    def partitions(self) -> list[list[pa.RecordBatch]]:
        """The batches of each task."""
        whole = None if self.separate else self._batch(0, self.rows)
        start, made = 0, []
        for lengths in self.cuts():
            batches = []
            for length in lengths:
                batches.append(self._batch(start, length) if whole is None else whole.slice(start, length))
                start += length
            made.append(batches)
        return made

    def _batch(self, start: int, length: int) -> pa.RecordBatch:
        arrays = [
            values.build(column.kind, column.values[start : start + length], hidden=column.hidden)
            for column in self.columns
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def keep_rows(self, kept: Sequence[int]) -> Case:
        """The case with some of its rows, each in its task and batch."""
        wanted, start, tasks = set(kept), 0, []
        for lengths in self.cuts():
            mine = []
            for length in lengths:
                mine.append(sum(row in wanted for row in range(start, start + length)))
                start += length
            tasks.append(mine)
        columns = [replace(column, values=[column.values[row] for row in sorted(wanted)]) for column in self.columns]
        return replace(self, columns=columns, tasks=tasks)
