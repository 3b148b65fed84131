"""Points with ready-made vectors into a server, one process: the sink's store against the official client, from the
same Arrow batches.

Every run writes into a new collection, all of the same settings, without an index that would be built meanwhile; its
points are counted. Each arm has a process of its own, which has written all points once before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks.child import Child
from benchmarks.common import Line, Section, Settings, Spread, at_least, at_most, interleaved, rates, ratios
from benchmarks.points import SCHEMA, TEXT
from benchmarks.store import Server, server
from benchmarks.work import save_plan

ROWS, ROUNDS, DIMENSION = 30_000, 5, 768
NO_INDEX = {"optimizers_config": {"indexing_threshold": 0}}

SINK, DEFAULT, UPSERT, UPLOAD = "sink", "sink, default options", "upsert", "upload_collection"
SINK_OPTIONS: dict[str, dict[str, Any]] = {SINK: {"batch_points": 256, "max_in_flight": 2}, DEFAULT: {}}
TARGETS = {UPSERT: 2.5, UPLOAD: 1.6}
"""Of each way by hand, the least gain of the sink."""
CPU_TARGET = 0.25
"""The most of the CPU time of `upsert` that the sink may take for a point."""


@dataclass(frozen=True)
class Answer:
    """A run of an arm, in seconds."""

    wall: float
    cpu: float


def run(settings: Settings) -> Section:
    rows = settings.rows or ROWS
    answers: dict[str, list[Answer]] = {name: [] for name in (*SINK_OPTIONS, *TARGETS)}
    with server() as store, ExitStack() as opened:
        children = {name: opened.enter_context(_child(name, rows, store)) for name in answers}
        arms = {name: _arm(name, child, rows, settings, store, answers[name]) for name, child in children.items()}
        for warm in arms.values():
            warm()
        for each in answers.values():
            each.clear()
        interleaved(arms, settings.rounds or ROUNDS)
    return section(answers, rows, store.words)


def _child(name: str, rows: int, store: Server) -> Child:
    if name in SINK_OPTIONS:
        return Child("benchmarks.writing:store", rows=rows, dimension=DIMENSION)
    return Child(f"benchmarks.writing:{name}", rows=rows, dimension=DIMENSION, **store.options())


def _arm(
    name: str, child: Child, rows: int, settings: Settings, store: Server, answers: list[Answer]
) -> Callable[[], float]:
    """Seconds of a run of this arm, which adds its answer; all collections are made by the same hand."""

    def write() -> float:
        collection = store.new_name()
        plan = save_plan(ready_made(collection, store, **SINK_OPTIONS.get(name, {})), settings.scratch / "plan", SCHEMA)
        told = child.ask(plan=plan) if name in SINK_OPTIONS else child.ask(collection=collection)
        points = store.count(collection)
        store.drop_all()
        if points != rows:
            raise AssertionError(f"{points:,} points of {rows:,}: this arm does not do the work")
        answers.append(Answer(told["seconds"], told["cpu_seconds"]))
        return answers[-1].wall

    return write


def ready_made(collection: str, store: Server, dimension: int = DIMENSION, **options: Any) -> dict[str, Any]:
    """The options of a job that writes points of `points.SCHEMA` into a new collection of this very name, which builds
    no index."""
    made = {
        "path": collection,
        "versioned": False,
        "vector_column": "vector",
        "dimension": dimension,
        "collection_config": NO_INDEX,
    }
    return {**made, **store.options(), **options}


def section(answers: Mapping[str, Sequence[Answer]], rows: int, store: str) -> Section:
    """The gains, and below them what each arm did."""
    wall = {name: [answer.wall for answer in each] for name, each in answers.items()}
    cpu = {name: [1e6 * answer.cpu / rows for answer in each] for name, each in answers.items()}
    lines: list[Line] = [
        at_least(f"`{SINK}` over `{name}`", least, ratios(wall[name], wall[SINK])) for name, least in TARGETS.items()
    ]
    lines.append(
        at_most(f"client CPU of a point, `{SINK}` over `{UPSERT}`", CPU_TARGET, ratios(cpu[SINK], cpu[UPSERT]))
    )
    table = ["| arm | points/s | client CPU, µs a point |", "|---|---|---|"]
    table += [
        f"| `{name}` | {rates(rows, each).shown(digits=0)} | {Spread.of(cpu[name]).shown(digits=1)} |"
        for name, each in wall.items()
    ]
    note = (
        f"{rows:,} points of {DIMENSION} dimensions with six payload fields, one of them a text of {TEXT} characters; "
        f"one client process. `{SINK}` is the "
        f"store of a task with batch_points=256 and max_in_flight=2; `{UPSERT}` (of `PointStruct`) and `{UPLOAD}` (of "
        "a numpy matrix) are QdrantClient's "
        f"over gRPC, 256 points a request, each waited for. Store: {store}."
    )
    return Section("Writing ready-made vectors, against the official client", lines, ["\n".join(table), note])
