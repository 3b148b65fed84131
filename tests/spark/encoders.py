"""Encoders for tests, named by option `encoder`: quick, without a model, and the same in every process."""

from __future__ import annotations

import hashlib
import os
import signal
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

HASH = "tests.spark.encoders:HashEncoder"
KILLERS = [f"tests.spark.encoders:{name}" for name in ("KillOnce", "KillOnceMore", "KillOnceAgain")]
"""Each kills one worker."""

GATED = "tests.spark.encoders:Gated"
GATE = "TEST_GATE"
"""Environment variable with the folder in which `Gated` leaves a file for each window that waits, while the file
`closed` is there."""

ON_DEVICE = "tests.spark.encoders:OnDevice"
FAKE_GPUS = "TEST_FAKE_GPUS"
"""Environment variable with the number of GPUs that torch says it has, in a process that imports this module."""

MARKERS = "TEST_KILL_MARKERS"
"""Environment variable with the folder of the files that say which of `KILLERS` have done their work."""


class HashEncoder:
    """Eight numbers made from the text alone, so that a test can compute them again."""

    dimension = 8

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = [np.frombuffer(hashlib.sha256(text.encode()).digest()[: self.dimension], np.uint8) for text in texts]
        return np.array(rows, np.float32).reshape(len(rows), self.dimension) + 1


class KillOnce(HashEncoder):
    """Kills its own process with SIGKILL at the second window, once: a worker that dies with points already sent."""

    def __init__(self) -> None:
        self._windows = 0

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self._windows += 1
        if self._windows == 2:
            try:
                os.close(os.open(Path(os.environ[MARKERS], type(self).__name__), os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts)


class KillOnceMore(KillOnce):
    """For a second job."""


class KillOnceAgain(KillOnce):
    """For a third job."""


class Gated(HashEncoder):
    """Stops at texts that begin with "gated" until somebody opens the gate: so a test can act between two steps of a
    job."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        gate = Path(os.environ[GATE])
        if any(text.startswith("gated") for text in texts) and (gate / "closed").exists():
            (gate / f"waits-{uuid.uuid4().hex}").touch()
            while (gate / "closed").exists():
                time.sleep(0.01)
        return super().encode(texts)


class OnDevice(HashEncoder):
    """Says which device it was made for, which process it is in, and how many it has been there, in its vectors."""

    dimension = 4
    made = 0

    def __init__(self, device: str) -> None:
        type(self).made += 1
        self.device = device

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        index = float(self.device.partition(":")[2] or -1)
        return np.array([[index, os.getpid(), type(self).made, given_by_spark()]] * len(texts), np.float32) + 1


def given_by_spark() -> float:
    """The address of the GPU that Spark gave to this task, -1 where it gave none."""
    from pyspark import TaskContext

    context = TaskContext.get()
    gpu = context.resources().get("gpu") if context is not None else None
    return float(gpu.addresses[0]) if gpu is not None else -1.0


if os.environ.get(FAKE_GPUS):
    import torch

    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: int(os.environ[FAKE_GPUS])
