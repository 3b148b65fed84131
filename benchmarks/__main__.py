"""Run parts of the benchmarks and write their sections of RESULTS.md.

    python -m benchmarks [PART …] [--corpus FILE.parquet] [--rows N] [--rounds N] …

Without a PART all of them run, one after the other. A part replaces its own section of RESULTS.md and nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import plot
from benchmarks.common import PARTS, RESULTS, ROOT, Settings, machine, say, write_section


def main() -> None:
    arguments = parser().parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser().error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    prepare_environment()
    missed = 0
    for part in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
            begun = time.time()
            say(f"{part} …")
            settings = settings_of(arguments, part, Path(scratch))
            section = importlib.import_module(f"benchmarks.{part}").run(settings)
        if section is None:
            continue
        text = section.to_markdown(settings.command, machine())
        write_section(settings.results, part, text)
        missed += sum(line.met is False for line in section.lines)
        say(text, f"({part}: {time.time() - begun:.0f} s)", "")
    if arguments.results == RESULTS:
        plot.main()
    if missed:
        say(f"{missed} targets were missed")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    made.add_argument(
        "--corpus", type=Path, help="Parquet file of texts; without it Python's own documentation strings"
    )
    made.add_argument("--text-column", default="text", help="the column of the texts in the Parquet file")
    made.add_argument(
        "--rows", type=int, help="texts, drawn at random with a fixed seed; each part has its own default"
    )
    made.add_argument("--rounds", type=int, help="rounds of the interleaved arms; each part has its own default")
    made.add_argument("--partitions", type=int, default=4, help="Spark partitions")
    made.add_argument("--cores", type=int, default=2, help="cores that every arm may use")
    made.add_argument("--model", help="a folder or a hub name instead of MiniLM (`gpu`: instead of random weights)")
    made.add_argument(
        "--memory-rows",
        type=_numbers,
        default=Settings.memory_rows,
        help="rows of one partition, with a quick encoder: N,N,…",
    )
    made.add_argument(
        "--memory-model-rows", type=_numbers, default=Settings.memory_model_rows, help="the same with the real model"
    )
    made.add_argument(
        "--stall-seconds",
        type=float,
        default=Settings.stall_seconds,
        help="how long the server stands still in the part `stall`",
    )
    made.add_argument(
        "--crowd-tasks", type=_numbers, default=Settings.crowd_tasks, help="numbers of tasks in the part `crowd`: N,N,…"
    )
    made.add_argument("--device", default="auto", help="device of the part `gpu`")
    made.add_argument("--small", action="store_true", help="a small model in the part `gpu`")
    made.add_argument("--results", type=Path, default=RESULTS, help="the file of the sections")
    return made


def settings_of(arguments: argparse.Namespace, part: str, scratch: Path) -> Settings:
    given = {name: value for name, value in vars(arguments).items() if name != "parts"}
    return Settings(scratch=scratch, command=command(arguments, part), **given)


def command(arguments: argparse.Namespace, part: str) -> str:
    """The command that measures this part again: options that were given, and of paths only the last name."""
    words = ["python -m benchmarks", part]
    for name, value in vars(arguments).items():
        if name in ("parts", "results") or value == parser().get_default(name):
            continue
        shown = (
            Path(value).name
            if name in ("corpus", "model")
            else ",".join(map(str, value))
            if isinstance(value, tuple)
            else value
        )
        words.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {shown}"))
    return " ".join(words)


def prepare_environment() -> None:
    """For Spark's workers and for child processes: this Python, this tree before any installed one, and no way to a
    model hub."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part.replace("_", "")) for part in text.split(","))


if __name__ == "__main__":
    main()
