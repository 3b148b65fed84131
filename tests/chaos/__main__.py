"""A campaign: many runs of jobs under faults, each determined by a seed and its number.

    python -m tests.chaos --runs 20 --seed 1            # or: make chaos RUNS=20 SEED=1
    python -m tests.chaos --seed 1 --only 7             # one of them again

A run is good when its job ended with everything acknowledged and applied, or with one clear error and a state that the
next run completed, and when the store then held exactly the documents: by id, by vector bit by bit, and by payload.
Exit status 1 unless all are good.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.places import FakePlace, Place, RealPlace
from tests.chaos.run import Outcome, Run
from tests.chaos.scenario import Scenario, make
from tests.chaos.sparks import Sparks
from tests.real_server import find_binary

DECK_NAMES = {
    "worker": "Python worker killed",
    "executor": "executor killed",
    "driver": "driver killed",
    "server": "server killed and restarted",
    "outage": "server gone for longer than is retried",
    "reply": "reply lost after the points were applied",
    "cut": "connection cut within a request",
    "stall": "network stalled past the deadline",
    "twin": "speculative twin beside a slow attempt",
    "limit": "rate limit of the real server",
    "refusal": "status that does not heal",
}
"""In the order of the table; statuses of the fake server follow."""


def main() -> None:
    given = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    real = find_binary() is not None and not given.fake
    if shutil.which("ps") is None:
        sys.exit("the campaign finds processes by `ps`, and there is none on PATH")
    spark = importlib.metadata.version("pyspark")
    doors = ("write", "data source") if int(spark.split(".")[0]) >= 4 else ("write",)
    numbers = given.only if given.only else list(range(given.runs))
    servers = (
        "a real Qdrant, and the fake one where statuses are scripted"
        if real
        else "the fake Qdrant only, since there is no `qdrant` binary"
    )
    print(f"{len(numbers)} runs, seed {given.seed}, Spark {spark}, on {servers}", flush=True)
    begun, outcomes = time.monotonic(), []
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        stack.callback(shutil.rmtree, folder)
        sparks = Sparks(folder)
        stack.callback(sparks.end)
        server: Place | None = None
        for number in numbers:
            scenario = make(given.seed, number, real=real, doors=doors)
            started = time.monotonic()
            if scenario.place == "real":
                if server is None:
                    server = RealPlace()
                    stack.callback(server.close)
                outcome = play(scenario, folder, server, sparks, given.limit)
            else:
                fake = FakePlace()
                try:
                    outcome = play(scenario, folder, fake, sparks, given.limit)
                finally:
                    fake.close()
            outcomes.append(outcome)
            print(line(scenario, outcome, time.monotonic() - started), flush=True)
            if not outcome.is_good:
                print(failure(scenario, outcome, given.fake), flush=True)
    print(table(outcomes, time.monotonic() - begun))
    sys.exit(0 if all(outcome.is_good for outcome in outcomes) else 1)


def play(scenario: Scenario, folder: Path, place: Place, sparks: Sparks, seconds: float) -> Outcome:
    """One run, and nothing left of it."""
    run = Run(scenario, folder, place, sparks, seconds)
    outcome = run.play()
    place.heal()
    place.forget(run.name)
    if outcome.is_good:
        shutil.rmtree(folder / run.name)
    return outcome


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--runs", type=int, default=20)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--only", type=int, nargs="+", metavar="N", help="only these runs of the campaign")
    made.add_argument(
        "--limit",
        type=float,
        default=120,
        metavar="SECONDS",
        help="the longest that one job may take; then it counts as hanging",
    )
    made.add_argument(
        "--fake", action="store_true", help="only the fake server, as on a machine without a `qdrant` binary"
    )
    return made


def line(scenario: Scenario, outcome: Outcome, seconds: float) -> str:
    """What happened in a run."""
    hits = ", ".join(f"{kind} ×{times}" for kind, times in outcome.hits.items()) or "no fault hit"
    missed = f" (missed: {', '.join(outcome.missed.elements())})" if outcome.missed else ""
    earlier = f" over {scenario.earlier.count:,} earlier" if scenario.earlier else ""
    what = (
        f"{scenario.documents.count:,} rows{earlier}, keys: {scenario.keys}, {scenario.door}, {scenario.where}, "
        f"{scenario.place}"
    )
    end = outcome.end if outcome.is_good else "FAILED"
    return f"{scenario.seed}/{scenario.number:<4} {end} | {hits}{missed} | {what} | {seconds:.1f} s"


def failure(scenario: Scenario, outcome: Outcome, fake: bool) -> str:
    """What was wrong, and how to see it again."""
    lines = [*outcome.problems, *([] if outcome.verdict.is_clean else [f"the store has {outcome.verdict}"])]
    again = f"python -m tests.chaos --seed {scenario.seed} --only {scenario.number}{' --fake' if fake else ''}"
    planned = ", ".join(f"{fault.kind} at {fault.at:.2f}" for fault in scenario.faults)
    told = [f"     ! {one}" for one in lines] + [
        f"     planned: {planned}",
        f"     options: {dict(scenario.options)}",
        f"     again: {again}",
    ]
    return "\n".join(told + [f"     | {one}" for one in outcome.logs.splitlines()])


def table(outcomes: list[Outcome], seconds: float) -> str:
    """The campaign in numbers, as Markdown."""
    hits: Counter[str] = sum((outcome.hits for outcome in outcomes), Counter())
    missed: Counter[str] = sum((outcome.missed for outcome in outcomes), Counter())
    rows = [("| fault | hit | missed |", ""), ("|---|---|---|", "")]
    lines = ["", *(row for row, _ in rows)]
    for kind, name in DECK_NAMES.items():
        lines.append(f"| {name} | {hits.pop(kind, 0):,} | {missed.pop(kind, 0):,} |")
    lines += [
        f"| the fake server's {kind.replace('status ', '`')}` | {times:,} | |" for kind, times in sorted(hits.items())
    ]
    ends = Counter(outcome.end or "did not end" for outcome in outcomes)
    lines += ["", f"| {len(outcomes)} runs in {seconds / 60:.1f} min | |", "|---|---|"]
    lines += [f"| {end} | {times:,} |" for end, times in ends.most_common()]
    for name in ("lost", "extra", "stale", "wrong"):
        lines.append(
            f"| points {'duplicated' if name == 'extra' else name} | "
            f"{sum(len(getattr(outcome.verdict, name)) for outcome in outcomes):,} |"
        )
    lines.append(f"| other broken promises | {sum(len(outcome.problems) for outcome in outcomes):,} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
