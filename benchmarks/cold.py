"""A cold worker: seconds from the start of a process to its first vector, against importing, loading and encoding by
hand.

Both encode the same few texts in the same arithmetic; interpreter and imports are in both times, connecting to the
store and planning the window in the sink's alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks import encoding, texts
from benchmarks.child import Child
from benchmarks.common import Line, Section, Settings, Spread, at_most, interleaved, ratios
from benchmarks.store import server
from benchmarks.work import save_plan

ROWS, ROUNDS = 64, 5
TARGET = 1.05


def run(settings: Settings) -> Section:
    model, dtype = settings.model_folder(), encoding.default_dtype()
    known = texts.sample(settings, settings.rows or ROWS)
    file = texts.save(known, settings.scratch / "texts.json")
    told: set[bool] = set()
    with server() as store:
        options = {"path": store.new_name(), "model": model, "device": "cpu", "dtype": dtype, **store.options()}
        plan = save_plan(options, settings.scratch / "plan")
        arms: dict[str, Callable[[], float]] = {
            "sink": lambda: _cold(told, "benchmarks.work:task", plan=plan, texts=file, warm=False),
            "bare": lambda: _cold(set(), "benchmarks.work:bare", model=model, dtype=dtype, texts=file, warm=False),
        }
        for arm in arms.values():
            arm()  # files come from the disk once, for whichever arm is first
        told.clear()
        measured = interleaved(arms, settings.rounds or ROUNDS)
    until = (
        "its first vector"
        if told == {True}
        else "the end of its small partition, since the report does not tell the first vector"
    )
    lines = [
        Line(f"sink, from the start of the process to {until}", "", Spread.of(measured["sink"]).shown(" s")),
        Line("import sentence_transformers, load, encode", "", Spread.of(measured["bare"]).shown(" s")),
        at_most("first over second", TARGET, ratios(measured["sink"], measured["bare"])),
    ]
    return Section("A cold worker", lines, [f"{len(known):,} {texts.source(settings)}, {dtype}. Store: {store.words}."])


def _cold(told: set[bool], target: str, **arguments: Any) -> float:
    """Seconds from the start of a new process to its first vector, or where it does not tell, to the end of its run."""
    begun = time.perf_counter()
    with Child(target, **arguments) as child:
        answer = child.ask()
        taken = time.perf_counter() - begun
    first = answer.get("first_vector_seconds")
    told.add(bool(first))
    return taken - (answer["seconds"] - first) if first else taken
