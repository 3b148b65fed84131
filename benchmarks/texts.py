"""The texts that are measured with: rows of a Parquet file, or Python's own documentation strings."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from benchmarks.common import Settings, say

SEED = 7


def sample(settings: Settings, rows: int) -> list[str]:
    """So many different texts, drawn at random with a fixed seed; all there are where there are fewer, and it says
    so."""
    found = sorted({text for text in every(settings) if text and text.strip()})
    if len(found) < rows:
        say(f"  there are only {len(found):,} texts, not {rows:,}")
    return random.Random(SEED).sample(found, min(rows, len(found)))


def repeated(settings: Settings, rows: int) -> list[str]:
    """So many texts; where there are fewer different ones, they come again in the same order."""
    return list(islice(cycle(sample(settings, rows)), rows))


def source(settings: Settings) -> str:
    """Where the texts come from, in words."""
    return "texts of a Parquet file" if settings.corpus else "documentation strings of Python's standard library"


def every(settings: Settings) -> list[str]:
    """All that there are, as they come."""
    if settings.corpus is None:
        from examples import docstrings

        return [row.text for row in docstrings.rows()]
    import pyarrow.parquet as pq

    texts: list[str] = pq.read_table(settings.corpus, columns=[settings.text_column]).column(0).to_pylist()
    return texts


def save(texts: Sequence[str], path: Path) -> str:
    """Write texts where a child process finds them; JSON, so that it need not import Arrow for them."""
    path.write_text(json.dumps(list(texts)), encoding="utf-8")
    return str(path)


def load(path: str) -> list[str]:
    texts: list[str] = json.loads(Path(path).read_text(encoding="utf-8"))
    return texts


def short(rows: int) -> Iterator[str]:
    """Texts of about 60 characters, made one after the other."""
    return (f"row {row} of a table of {rows} rows, each with a short text in it" for row in range(rows))
