"""What both doors of a stream say and save for each micro-batch."""

from __future__ import annotations

import sys
from functools import lru_cache


def say(*lines: str) -> None:
    """Print where the user sees it: a data source has no other way to speak at the end of a job that went well, and neither has a stream."""
    for line in lines:
        print(f"vectorsink: {line}", file=sys.stderr, flush=True)


@lru_cache(maxsize=64)
def say_once(line: str) -> None:
    """The same, once in a process: what is true of every micro-batch need not be said with each."""
    say(line)


def numbered(path: str, batch: int) -> str:
    """The report's file of one micro-batch: `out/report.json` → `out/report-17.json`. The query of a URL stays at its end."""
    place, mark, query = path.partition("?") if "://" in path else (path, "", "")
    folder, slash, name = place.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    named = f"{stem}-{batch}{dot}{ending}" if stem else f"{name}-{batch}"
    return f"{folder}{slash}{named}{mark}{query}"
