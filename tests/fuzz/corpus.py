"""What was found before. Each entry is replayed by every run of the campaign and of the tests, on each store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from tests.fuzz.case import Case, Column


@dataclass(frozen=True)
class Past:
    """sentence: what holds now. columns: name → type and raw values (see `values`), beside the keys and vectors that `case` adds."""

    sentence: str
    columns: Mapping[str, tuple[pa.DataType, Sequence[Any]]]
    options: Mapping[str, Any] = field(default_factory=dict)
    json: Sequence[str] = ()
    """columns that are variants"""
    hidden: bool = False
    where: str = ""
    tasks: Sequence[Sequence[int]] = ()

    def on(self, store: str) -> Case:
        """The case. Keys 0, 1, … in `id` and vectors of length 2 in `v` are added where the entry has no such columns, and no texts."""
        rows = max((len(values) for _, values in self.columns.values()), default=1)
        columns = dict(self.columns)
        options = dict(self.options)
        if "id" not in columns and "id_column" not in options:
            columns["id"] = (pa.int64(), list(range(rows)))
        if "encoder" not in options:
            columns.setdefault("v", (pa.list_(pa.float32(), 2), [[1.0, float(row)] for row in range(rows)]))
            options.setdefault("vector_column", "v")
        options.setdefault("distance", "dot")
        made = [Column(name, kind, values, name in self.json, self.hidden) for name, (kind, values) in columns.items()]
        return Case(made, options, self.tasks, where=self.where, store=store, origin=f"python -m tests.fuzz --store {store} --past  # {self.sentence}")


PAST: list[Past] = []
"""Add what a campaign finds, as small as `--shrink` makes it."""

REJECT = {"on_bad_row": "reject", "rejects_path": "<tmp>/rejects"}
__all__ = ["PAST", "REJECT", "Past", "replace"]
