"""An encoder without a model, as slow as a run wants it, that notes how far each attempt of each task has come.

`encoder=tests.chaos.encoder:run_17` belongs to run 17, whose folder `$CHAOS_FOLDER/run_17` holds its pace. The notes
are the clock by which faults fall, and the evidence that they hit: they come from the tasks themselves, in whatever
process these run.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = "CHAOS_FOLDER"
"""Environment variable with the folder of the campaign, in every process of it."""

DIMENSION = 24


@dataclass(frozen=True)
class Pace:
    """How slow, and where to note it. Read again for each window, because Spark keeps its workers and they keep their
    encoder."""

    notes: str
    """a file in the run's folder"""
    seconds: float = 0.0
    """for each text"""
    slow_partition: int | None = None
    """whose first attempt takes so many times as long"""
    times: float = 1.0

    def save(self, folder: Path) -> None:
        (folder / "pace.new").write_text(json.dumps(asdict(self)), encoding="utf-8")
        (folder / "pace.new").replace(folder / "pace.json")


@dataclass(frozen=True)
class Note:
    """A window that is being encoded: in which process, of which task."""

    pid: int
    partition: int
    attempt: int
    texts: int


def vectors(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Numbers from -1 to 1 made from the text alone, shape (len(texts), DIMENSION): all 24 bits of a float32 are in
    use."""
    found = [np.frombuffer(hashlib.shake_128(text.encode()).digest(4 * DIMENSION), "<u4") for text in texts]
    return (np.array(found, np.float64).reshape(len(texts), DIMENSION) / 2**31 - 1).astype(np.float32)


def notes(path: Path) -> list[Note]:
    """What tasks have noted so far, in the order of time."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return []
    return [Note(*map(int, line.split())) for line in lines]


class PacedEncoder:
    """See above. folder: the run's."""

    dimension = DIMENSION

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        from pyspark import TaskContext

        pace = Pace(**json.loads((self._folder / "pace.json").read_text(encoding="utf-8")))
        task = TaskContext.get()
        partition, attempt = (task.partitionId(), task.attemptNumber()) if task is not None else (0, 0)
        with (self._folder / pace.notes).open(
            "a", encoding="ascii", buffering=1
        ) as file:  # one line is one write: lines of processes do not mix
            file.write(f"{os.getpid()} {partition} {attempt} {len(texts)}\n")
        is_slow = partition == pace.slow_partition and attempt == 0
        time.sleep(pace.seconds * len(texts) * (pace.times if is_slow else 1))
        return vectors(texts)


def __getattr__(name: str) -> Callable[[], PacedEncoder]:
    """The factory of a run, by its name."""
    if not name.startswith("run_"):
        raise AttributeError(name)
    return partial(PacedEncoder, Path(os.environ[FOLDER]) / name)
