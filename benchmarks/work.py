"""What child processes do: a task of the sink, and bare encoding. Each function prepares and returns what a run
does."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

from spark_vector_sink.encode import loader
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext

WARM_ROWS = 64

Run = Callable[..., dict[str, Any]]


def bare(model: str, dtype: str, texts: str, warm: bool = True) -> Run:
    """`SentenceTransformer.encode` of texts[start:stop], in batches of 32, as the library does it by itself."""
    from benchmarks.texts import load

    loaded = load_model(model, dtype)
    known = load(texts)
    if warm:
        loaded.encode(known[:WARM_ROWS], show_progress_bar=False)

    def run(start: int = 0, stop: int | None = None) -> dict[str, Any]:
        begun = time.perf_counter()
        loaded.encode(known[start:stop], batch_size=32, show_progress_bar=False)
        return {"seconds": time.perf_counter() - begun}

    return run


def load_model(model: str, dtype: str) -> Any:
    """A Sentence Transformers model on the CPU, in the arithmetic that was asked for, as one does it by hand."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
    loaded = SentenceTransformer(model, device="cpu")
    if dtype == "float32":
        return loaded
    import torch

    return loaded.to(getattr(torch, dtype))


def task(plan: str, texts: str | None = None, warm: bool = True, timed: bool = False) -> Run:
    """`write_partition` of texts[start:stop], or of so many made rows. timed: tell the time inside the model's forward
    pass, too."""
    from benchmarks import arrow_rows
    from benchmarks.texts import load, short

    known = load(texts) if texts is not None else None
    planned = pickle.loads(Path(plan).read_bytes())
    if warm and known is not None:
        partition_writer.write_partition(planned, arrow_rows.batches(iter(known[:WARM_ROWS])), TaskContext(cpus=1))
    timer = _timer(planned) if timed else None

    def run(
        start: int = 0, stop: int | None = None, rows: int | None = None, partition: int = 0, attempt: int = 0
    ) -> dict[str, Any]:
        before = timer.seconds if timer else 0.0
        found: Iterator[str] = short(rows or 0) if known is None else iter(known[start:stop])
        if known is not None and rows is not None:
            found = islice(chain.from_iterable(repeat(known)), rows)
        begun = time.perf_counter()
        report = partition_writer.write_partition(
            planned, arrow_rows.batches(found, start), TaskContext(partition, attempt, cpus=1)
        )
        seconds = time.perf_counter() - begun
        return {
            "seconds": seconds,
            "rows": report.rows,
            "points": report.points,
            "dtype": report.dtype,
            "first_vector_seconds": getattr(report, "first_vector_seconds", None),
            "forward_seconds": timer.seconds - before if timer else None,
            "peak_bytes": peak_bytes(),
        }

    return run


def _timer(plan: Any) -> Any:
    from benchmarks.encoding import ForwardTimer, model_of

    return ForwardTimer(model_of(loader.load(plan.encoder, threads=1)))


def peak_bytes() -> int:
    """Most memory that this process has had resident, in bytes. Linux's ru_maxrss counts the parent too, until the
    child's exec; VmHWM does not."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def resident_bytes(pid: int) -> int:
    """What a process has resident now, in bytes; 0 where it has ended."""
    status = Path(f"/proc/{pid}/status")
    if Path("/proc/self/status").exists():
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)
    told = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], check=False, capture_output=True, text=True
    ).stdout.strip()
    return int(told or 0) * 1024


def cpu_seconds(*pids: int | None) -> float | None:
    """CPU time so far of these processes and all below them; None where the system does not tell, or a process is not
    known."""
    if not Path("/proc/self/stat").exists() or None in pids:
        return None
    times, below = {}, dict[int, list[int]]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = path.read_text().rpartition(")")[2].split()  # the name before may hold blanks
            # with its children that have ended
            times[int(path.parent.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
            below.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid for pid in pids if pid is not None]
    for pid in found:
        found += below.get(pid, [])
    return sum(times.get(pid, 0.0) for pid in found)


def save_plan(options: Mapping[str, Any], path: Path, schema: Any = None) -> str:
    """On the driver: check and prepare a job over rows of this schema, by default `id` and `text`, and put the plan
    where tasks find it."""
    from benchmarks import arrow_rows
    from spark_vector_sink.driver import committer
    from spark_vector_sink.driver import plan as planning

    path.write_bytes(pickle.dumps(committer.prepare(planning.plan(options, schema or arrow_rows.SCHEMA))))
    return str(path)
