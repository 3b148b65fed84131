"""Share what both stream interfaces print, save and check for each micro-batch."""

from __future__ import annotations

from functools import lru_cache

from spark_vector_sink.errors import OptionError
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.report import say

SPARK_KNOWS = "not all of its tasks ended well, and Spark's error says why"
"""Reason in a report where Spark does not tell the data source why a job failed."""


@lru_cache(maxsize=64)
def say_once(line: str) -> None:
    """Print a line only once in a process, because what is true of every micro-batch need not be printed with each."""
    say(line)


def numbered(path: str, batch: int) -> str:
    """Return the path of one micro-batch's report: `out/report.json` → `out/report-17.json`. The query of a URL stays
    at its end."""
    place, mark, query = path.partition("?") if "://" in path else (path, "", "")
    folder, slash, name = place.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    named = f"{stem}-{batch}{dot}{ending}" if stem else f"{name}-{batch}"
    return f"{folder}{slash}{named}{mark}{query}"


def must_fit_a_stream(options: SinkOptions) -> None:
    """Raise OptionError where an option needs the whole table, which a micro-batch never is."""
    for name, refused in options.not_in("stream"):
        raise OptionError(f"option '{name}' {refused.why}")
