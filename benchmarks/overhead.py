"""A warm task's time outside the model's forward pass: reading, tokenising, copying, building messages, waiting for the
store."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import encoding, texts
from benchmarks.child import Child
from benchmarks.common import Section, Settings, Spread, at_most, interleaved
from benchmarks.store import server
from benchmarks.work import save_plan

ROWS, ROUNDS = 1_000, 3
TARGETS = {"float32": 5.0, "bfloat16": 10.0}
"""Of each arithmetic, the most percent of the time that may pass outside."""


def run(settings: Settings) -> Section:
    known = texts.sample(settings, settings.rows or ROWS)
    file = texts.save(known, settings.scratch / "texts.json")
    children: dict[str, Child] = {}
    with server() as store:
        try:
            for dtype in TARGETS:
                options = {
                    "path": store.new_name(),
                    "model": settings.model_folder(),
                    "device": "cpu",
                    "dtype": dtype,
                    **store.options(),
                }
                children[dtype] = Child(
                    "benchmarks.work:task", plan=save_plan(options, settings.scratch / dtype), texts=file, timed=True
                )
            measured = interleaved(
                {dtype: _outside(child) for dtype, child in children.items()}, settings.rounds or ROUNDS
            )
        finally:
            for child in children.values():
                child.close()
    lines = [
        at_most(f"time outside the forward pass, {dtype}", target, Spread.of(measured[dtype]), " %")
        for dtype, target in TARGETS.items()
    ]
    emulated = (
        ""
        if encoding.default_dtype() == "bfloat16"
        else " bfloat16 is emulated on this machine, so its forward pass is a slow one."
    )
    note = f"One warm task with one thread, {len(known):,} {texts.source(settings)}. Store: {store.words}.{emulated}"
    return Section("A task's time outside the forward pass", lines, [note])


def _outside(child: Child) -> Callable[[], float]:
    def share() -> float:
        answer = child.ask()
        if not answer["forward_seconds"]:
            raise AssertionError("the model's forward pass was never timed: the encoder calls it by another way")
        return float(100 * (1 - answer["forward_seconds"] / answer["seconds"]))

    return share
