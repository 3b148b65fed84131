"""One task against two at once on two cores: how much of the gain that two bare processes have do two tasks of the sink
keep?

Task and bare process have one thread each and the same arithmetic. The tasks write to an embedded store, which is a
file for each task, so that no server takes the cores that are being measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from benchmarks import encoding, texts
from benchmarks.child import Child
from benchmarks.common import Line, Section, Settings, at_least, interleaved, rates, ratios
from benchmarks.work import save_plan

ROWS, ROUNDS = 1_000, 3
KEPT = 0.95


def run(settings: Settings) -> Section:
    model, dtype = settings.model_folder(), encoding.default_dtype()
    known = texts.sample(settings, settings.rows or ROWS)
    file = texts.save(known, settings.scratch / "texts.json")
    plan = save_plan(
        {"path": str(settings.scratch / "store"), "model": model, "device": "cpu", "dtype": dtype},
        settings.scratch / "plan",
    )
    bare = [Child("benchmarks.work:bare", model=model, dtype=dtype, texts=file) for _ in range(2)]
    sink = [Child("benchmarks.work:task", plan=plan, texts=file) for _ in range(2)]
    try:
        arms = {
            "sink, one task": _at_once(sink[:1], len(known)),
            "sink, two tasks": _at_once(sink, len(known)),
            "bare, one process": _at_once(bare[:1], len(known)),
            "bare, two processes": _at_once(bare, len(known)),
        }
        measured = interleaved(arms, settings.rounds or ROUNDS)
    finally:
        for child in (*bare, *sink):
            child.close()
    gain = ratios(measured["sink, one task"], measured["sink, two tasks"])
    bare_gain = ratios(measured["bare, one process"], measured["bare, two processes"])
    kept = ratios(
        [one / two for one, two in zip(measured["sink, one task"], measured["sink, two tasks"], strict=True)],
        [one / two for one, two in zip(measured["bare, one process"], measured["bare, two processes"], strict=True)],
    )
    lines = [
        Line("gain of two tasks over one", "", gain.shown("×")),
        Line("gain of two bare processes over one", "", bare_gain.shown("×")),
        at_least("first over second", KEPT, kept, ""),
    ]
    rate = "; ".join(f"{name}: {rates(len(known), each).shown(digits=1)} rows/s" for name, each in measured.items())
    return Section(
        "Two tasks on two cores", lines, [f"{len(known):,} {texts.source(settings)}, {dtype}, embedded store. {rate}."]
    )


def _at_once(children: Sequence[Child], rows: int) -> Callable[[], float]:
    """Seconds until all of these processes have done their share of the rows, begun together and warm."""
    starts = [rows * n // len(children) for n in range(len(children) + 1)]

    def share() -> float:
        for child in children:
            child.wait()
        begun = time.perf_counter()
        for number, child in enumerate(children):
            child.begin(
                start=starts[number],
                stop=starts[number + 1],
                **({"partition": number} if child.target.endswith("task") else {}),
            )
        for child in children:
            child.result()
        return time.perf_counter() - begun

    return share
