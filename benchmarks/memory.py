"""Peak resident memory of one worker process over partitions of growing length: it must not grow with them.

A fresh process writes one partition, as a task of Spark does; store and driver are other processes. Rows are made while
they are read, in Arrow batches of 10,000. With the real model the same 2,000 texts come again and again, so that the
longest one is in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import texts
from benchmarks.child import Child
from benchmarks.common import Line, Section, Settings, Spread, interleaved
from benchmarks.fake_encoder import FACTORY
from benchmarks.store import Server, server
from benchmarks.work import save_plan

ROUNDS = 3
TEXTS = 2_000
GROWTH = 1.05
"""The most that memory may grow over all lengths."""


def run(settings: Settings) -> Section:
    model = settings.model_folder()
    known = texts.sample(settings, settings.rows or TEXTS)
    file = texts.save(known, settings.scratch / "texts.json")
    with server() as store:
        arms: dict[str, Callable[[], float]] = {}
        quick = {f"{rows:,} short rows, encoder without a model": rows for rows in settings.memory_rows}
        real = {f"{rows:,} texts, {_name(settings)}": rows for rows in settings.memory_model_rows}
        for name, rows in quick.items():
            arms[name] = _arm(settings, store, rows, {"encoder": FACTORY}, None)
        for name, rows in real.items():
            arms[name] = _arm(settings, store, rows, {"model": model, "device": "cpu"}, file)
        measured = interleaved(arms, settings.rounds or ROUNDS)
    lines = [*_growth(measured, list(quick)), *_growth(measured, list(real))]
    note = (
        f"MiB of the task's process at its peak. {len(known):,} {texts.source(settings)} for the real model. "
        f"Store: {store.words}."
    )
    return Section("Peak memory of a worker", lines, [note])


def _arm(
    settings: Settings, store: Server, rows: int, options: Mapping[str, Any], file: str | None
) -> Callable[[], float]:
    """MiB at the peak of a process that writes so many rows into a collection of its own."""

    def write() -> float:
        name = store.new_name()
        plan = save_plan({**options, **store.options(), "path": name}, settings.scratch / "plan")
        with Child("benchmarks.work:task", plan=plan, texts=file, warm=False) as child:
            answer = child.ask(rows=rows)
        points = store.count(name)
        store.drop_all()
        if points != rows:
            raise AssertionError(f"{points:,} points from {rows:,} rows")
        return float(answer["peak_bytes"]) / 2**20

    return write


def _growth(measured: Mapping[str, Sequence[float]], names: Sequence[str]) -> list[Line]:
    """A line for each length; the longest ones against the first."""
    first = Spread.of(measured[names[0]])
    lines = [Line(names[0], "", first.shown(" MiB", 0))]
    for name in names[1:]:
        found = Spread.of(measured[name])
        growth = found.median / first.median
        lines.append(
            Line(name, f"≤ {GROWTH:g}× the first", f"{found.shown(' MiB', 0)}: {growth:.3f}×", growth <= GROWTH)
        )
    return lines


def _name(settings: Settings) -> str:
    return "MiniLM" if settings.model is None else "the model"
