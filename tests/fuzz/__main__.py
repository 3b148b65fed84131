"""`python -m tests.fuzz`: the campaign. Ends with 1 if anything surprises."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from tests.fuzz.arenas import Arena
from tests.fuzz.case import STORES, Case
from tests.fuzz.corpus import PAST
from tests.fuzz.draw import draw_case, sweep
from tests.fuzz.judge import Outcome, judge
from tests.fuzz.shrink import shrink

HUNG_SECONDS = 120


class Tally:
    """The figures of one store."""

    def __init__(self) -> None:
        self.cases = self.rows = self.stored = self.surprises = 0
        self.ends: Counter[str] = Counter()
        self.refused_rows: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        self.cases += 1
        self.rows += outcome.rows
        self.stored += outcome.stored
        self.surprises += bool(outcome.surprises)
        self.ends[outcome.end] += 1
        self.refused_rows.update(outcome.rejected)
        if outcome.end != "stored":
            self.refused_rows[f"in a job that ended with {outcome.end}"] += outcome.rows

    def __str__(self) -> str:
        share = 100 * self.stored / max(1, self.rows)
        ends = ", ".join(f"{count:,} {end}" for end, count in self.ends.most_common())
        rows = ", ".join(f"{count:,} {kind}" for kind, count in self.refused_rows.most_common())
        return (
            f"{self.cases:,} cases ({ends}), {self.rows:,} rows, {self.stored:,} stored ({share:.0f} %), "
            f"{self.surprises:,} surprises; "
            f"rows not stored: {rows or 'none'}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=500, help="random cases on each store (500)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=STORES, action="append", help="only this one; may be given again")
    parser.add_argument("--only", type=int, help="only the case of this number")
    parser.add_argument("--past", action="store_true", help="only what was found before")
    parser.add_argument(
        "--sweep", action="store_true", help="only each right and wrong value of each option, one by one"
    )
    parser.add_argument("--shrink", action="store_true", help="make each case that surprises smaller, and show it")
    given = parser.parse_args(arguments)
    total = 0
    for store in given.store or STORES:
        with ExitStack() as open_now:
            arena = open_now.enter_context(Arena(store))
            begun, tally = time.monotonic(), Tally()
            for case in _cases(given, store):
                faulthandler.dump_traceback_later(HUNG_SECONDS, exit=True)
                outcome = judge(case, arena)
                tally.add(outcome)
                if outcome.surprises:
                    _tell(case, outcome)
                    if given.shrink:
                        print(shown(shrink(case, lambda smaller: _is_like(outcome, smaller, arena))), flush=True)  # noqa: B023
                elif given.only is not None:
                    print(outcome)
            faulthandler.cancel_dump_traceback_later()
            print(f"{store}: {tally}; {time.monotonic() - begun:.0f} s", flush=True)
            total += tally.surprises
    return 1 if total else 0


def _cases(given: argparse.Namespace, store: str) -> Iterator[Case]:
    if given.only is not None:
        yield draw_case(given.seed, given.only, store)
        return
    if not given.sweep:
        yield from (past.on(store) for past in PAST)
    if not given.past:
        yield from sweep(store)
    if not (given.past or given.sweep):
        yield from (draw_case(given.seed, number, store) for number in range(given.cases))


def _tell(case: Case, outcome: Outcome) -> None:
    print(f"\nSURPRISE: {case.origin}")
    for surprise in outcome.surprises[:6]:
        print(f"  {surprise[:1500]!a}" if not surprise.isprintable() else f"  {surprise[:1500]}")
    sys.stdout.flush()


def _is_like(outcome: Outcome, smaller: Case, arena: Arena) -> bool:
    """Whether a smaller case shows a surprise that begins like the first one of the outcome."""
    try:
        return any(surprise[:25] == outcome.surprises[0][:25] for surprise in judge(smaller, arena).surprises)
    except Exception:  # without that column or option it is no case any more
        return False


def shown(case: Case) -> str:
    """The case as Python, for the corpus."""
    columns = "\n".join(
        f"    {column.name!a}: {column.kind} {list(column.values)!a}{' json' * column.json}{' hidden' * column.hidden}"
        for column in case.columns
    )
    return (
        f"  smaller: options {dict(case.options)!a}, tasks {case.tasks}, where {case.where!a}, runs {case.runs}, "
        f"separate {case.separate}\n{columns}"
    )


if __name__ == "__main__":
    sys.exit(main())
