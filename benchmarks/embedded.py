"""Points with ready-made vectors into an embedded store, against the official client's local mode: both need no server.

The sink's run is a whole job of one task: rows → staged file → index. Each arm has a process of its own, which has run
once before.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import pyarrow as pa

from benchmarks.child import Child
from benchmarks.common import Section, Settings, Spread, at_least, interleaved, ratios
from benchmarks.points import SCHEMA
from benchmarks.work import save_plan

ROWS, ROUNDS, DIMENSION = 20_000, 3, 384
FIELDS = ("text", "number", "code")
"""The payload."""
SINK, PATH, MEMORY = "sink", "QdrantClient(path=…)", "QdrantClient(':memory:')"
TARGETS = {PATH: 20.0, MEMORY: 1.5}
"""Of each, the least gain of the sink in rows/s."""
SHARE = {SINK: 1.0, PATH: 0.05, MEMORY: 1.0}
"""Of the rows; the client's store on a disk takes about 400 a second."""


def run(settings: Settings) -> Section:
    rows = {name: max(1, round((settings.rows or ROWS) * share)) for name, share in SHARE.items()}
    with ExitStack() as opened:
        arms: dict[str, Callable[[], float]] = {}
        for name, function in ((SINK, "task"), (PATH, "local"), (MEMORY, "local")):
            child = opened.enter_context(
                Child(f"benchmarks.writing:{function}", rows=rows[name], dimension=DIMENSION, fields=FIELDS)
            )
            arms[name] = _arm(name, child, rows[name], settings)
        for warm in arms.values():
            warm()
        measured = interleaved(arms, settings.rounds or ROUNDS)
    return section(measured, rows)


def _arm(name: str, child: Child, rows: int, settings: Settings) -> Callable[[], float]:
    """Rows for each second of a run into a new store, whose points are counted."""

    def write() -> float:
        path = settings.scratch / uuid.uuid4().hex
        if name == SINK:
            schema = pa.schema([field for field in SCHEMA if field.name in ("id", "vector", *FIELDS)])
            options = {"path": str(path), "vector_column": "vector", "dimension": DIMENSION}
            told = child.ask(plan=save_plan(options, settings.scratch / "plan", schema))
        else:
            told = child.ask(path=str(path) if name == PATH else ":memory:")
        shutil.rmtree(path, ignore_errors=True)
        if told["points"] != rows:
            raise AssertionError(f"{told['points']:,} points of {rows:,}: this arm does not do the work")
        return rows / float(told["seconds"])

    return write


def section(measured: Mapping[str, Sequence[float]], rows: Mapping[str, int]) -> Section:
    """measured: rows for each second."""
    lines = [
        at_least(f"`{SINK}` over `{name}`", least, ratios(measured[SINK], measured[name]))
        for name, least in TARGETS.items()
    ]
    table = ["| arm | rows | rows/s |", "|---|---|---|"]
    table += [f"| `{name}` | {rows[name]:,} | {Spread.of(each).shown(digits=0)} |" for name, each in measured.items()]
    note = (
        f"{DIMENSION} dimensions, {len(FIELDS)} payload fields. `{SINK}` is a whole job of one task with default "
        "options, to the last byte in the index; "
        "the client upserts `PointStruct`s, 256 at a time, into a new collection."
    )
    return Section("The embedded store, against the official client's local mode", lines, ["\n".join(table), note])
