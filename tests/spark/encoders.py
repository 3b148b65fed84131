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
KILLERS = [f"tests.spark.encoders:{name}" for name in ("KillOnce", "KillOnceMore", "KillOnceAgain")]
"""Each kills one worker."""

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
