"""Encoders for tests, named by option `encoder`: quick, without a model, and the same in every process."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

HASH = "tests.spark.encoders:HashEncoder"
KILL_ONCE = "tests.spark.encoders:KillOnce"

MARKER = "TEST_KILL_MARKER"
"""Environment variable with the path of the file that says that `KillOnce` has done its work."""


class HashEncoder:
    """Eight numbers made from the text alone, so that a test can compute them again."""

    dimension = 8

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        rows = [np.frombuffer(hashlib.sha256(text.encode()).digest()[: self.dimension], np.uint8) for text in texts]
        return np.array(rows, np.float32).reshape(len(rows), self.dimension) + 1


class KillOnce(HashEncoder):
    """Kills its own process with SIGKILL at the second window, once in a job: a worker that dies with points already sent."""

    def __init__(self) -> None:
        self._windows = 0

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self._windows += 1
        if self._windows == 2:
            try:
                os.close(os.open(Path(os.environ[MARKER]), os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts)
