"""Makes a case that surprises smaller, as long as it surprises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.fuzz.case import Case


def shrink(case: Case, still: Callable[[Case], bool], most: int = 300) -> Case:
    """The smallest case that was found. still: whether a case shows what it is about."""
    tried = 0
    while True:
        for smaller in _smaller(case):
            tried += 1
            if tried > most:
                return case
            if still(smaller):
                case = smaller
                break
        else:
            return case


def _smaller(case: Case) -> Iterator[Case]:
    """Cases with one thing less, the greatest steps first."""
    if case.tasks:
        yield replace(case, tasks=())
    if case.runs > 1:
        yield replace(case, runs=1)
    if case.where:
        yield replace(case, where="")
    if case.separate:
        yield replace(case, separate=False)
    size = case.rows // 2
    while size:
        for start in range(0, case.rows, size):
            yield case.keep_rows([row for row in range(case.rows) if not start <= row < start + size])
        size //= 2
    for name in case.options:
        yield replace(case, options={other: value for other, value in case.options.items() if other != name})
    for column in case.columns:
        yield replace(case, columns=[other for other in case.columns if other is not column])
    for column in case.columns:
        if column.hidden:
            yield replace(
                case, columns=[replace(other, hidden=False) if other is column else other for other in case.columns]
            )
