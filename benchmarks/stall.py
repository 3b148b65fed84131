"""Memory of a task while the server stands still in the middle of a long write: what cannot be sent must not pile up.

The server's process is stopped (SIGSTOP): connections stay open, and nothing is read or answered, as when its disk
hangs. Then it goes on, and every row must arrive. The task's process is a fresh one that writes ready-made vectors; its
rows are made while it reads them.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.arrow_rows import ARROW_ROWS
from benchmarks.child import Child
from benchmarks.common import Line, Section, Settings, Spread, interleaved, ratios, say
from benchmarks.points import SCHEMA
from benchmarks.store import Server, server
from benchmarks.work import resident_bytes, save_plan
from benchmarks.write import ready_made

ROWS, ROUNDS, DIMENSION = 500_000, 1, 384
BEFORE = 0.5
"""The share of the rows that the server holds when it is stopped: the task's memory has reached its peak by then."""
GROWTH = 1.05
"""The most that memory may grow over its peak before."""


@dataclass(frozen=True)
class Course:
    """Most resident memory of the task's process, in bytes: until the server was stopped, while it stood still, and
    from then to the end."""

    before: float
    during: float
    after: float
    retries: int


def run(settings: Settings) -> Section | None:
    rows = settings.rows or ROWS
    courses: list[Course] = []
    with server() as store:
        if store.pid is None:
            say("  left out: the server's process is not one that was started here, and cannot be stopped")
            return None
        interleaved(
            {"MiB while the server stood still": _write(settings, store, rows, courses)}, settings.rounds or ROUNDS
        )
    return section(courses, rows, settings.stall_seconds, store.words)


def _write(settings: Settings, store: Server, rows: int, courses: list[Course]) -> Callable[[], float]:
    def write() -> float:
        name = store.new_name()
        plan = save_plan(ready_made(name, store, DIMENSION), settings.scratch / "plan", SCHEMA)
        arguments = {"rows": min(rows, ARROW_ROWS), "dimension": DIMENSION, "repeat": rows}
        with Child("benchmarks.writing:task", **arguments) as child, ThreadPoolExecutor(1) as waiting:
            child.wait()
            child.begin(plan=plan)
            done = waiting.submit(child.result)
            before = _peak(child.pid, lambda: _is_due(store, name, rows, done))
            with stopped(store):
                begun = time.monotonic()
                during = _peak(child.pid, lambda: time.monotonic() - begun > settings.stall_seconds)
            after = _peak(child.pid, done.done)
            retries = done.result()["retries"]
        points = store.count(name)
        store.drop_all()
        if points != rows:
            raise AssertionError(f"{points:,} points from {rows:,} rows")
        courses.append(Course(before, during, after, retries))
        return during / 2**20

    return write


def _is_due(store: Server, collection: str, rows: int, done: Future[Any]) -> bool:
    if done.done():
        raise AssertionError(
            f"all {rows:,} rows were written before the server was stopped; give more of them with --rows"
        )
    return store.count(collection) >= BEFORE * rows


def _peak(pid: int, is_over: Callable[[], bool]) -> float:
    """The most that the process has resident until then, looked at all the while."""
    most = 0.0
    while not is_over():
        most = max(most, resident_bytes(pid))
        time.sleep(0.05)
    return most


@contextmanager
def stopped(store: Server) -> Iterator[None]:
    """The server's process stands still meanwhile."""
    assert store.pid is not None
    os.kill(store.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(store.pid, signal.SIGCONT)


def section(courses: list[Course], rows: int, seconds: float, store: str) -> Section:
    before, during, after = ([getattr(course, name) for course in courses] for name in ("before", "during", "after"))
    mib = {
        name: Spread.of(value / 2**20 for value in values).shown(" MiB", 0)
        for name, values in (("before", before), ("during", during), ("after", after))
    }
    lines = [Line("until the server stops", "", mib["before"])]
    for name, words, values in (
        ("during", f"while it stands still for {seconds:g} s", during),
        ("after", "from then to the end", after),
    ):
        growth = ratios(values, before).median
        lines.append(Line(words, f"≤ {GROWTH:g}× the first", f"{mib[name]}: {growth:.3f}×", growth <= GROWTH))
    retries = Spread.of(course.retries for course in courses)
    note = (
        f"Most resident memory of the task's process. {rows:,} rows with vectors of {DIMENSION} dimensions and six "
        "payload fields, default options; all of "
        f"them arrived. Requests that were sent again: {retries.median:g}. Store: {store}."
    )
    return Section("Memory while the server stands still", lines, [note])
