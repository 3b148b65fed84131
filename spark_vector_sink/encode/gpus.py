"""Which of several GPUs a process takes where nobody assigned one: the least used, chosen once and kept.

Each GPU has a lock file, and byte n of it is the lock of its n-th user. The system lets go of a lock when a process ends, however
it ends, so nothing is left behind.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

MOST_USERS = 64
"""Processes that are counted on one GPU; more than that share the first one."""

_kept: dict[tuple[int, tuple[str, ...]], tuple[int, IO[bytes]]] = {}
"""The choice of a process (a fork has none yet), and the open file that holds its lock."""


def least_used(names: Sequence[str], folder: Path | None = None) -> int:
    """Index of the GPU that the fewest processes on this machine have taken; the same one for as long as this process lives.

    names: what identifies each GPU on this machine, since processes may see different ones (CUDA_VISIBLE_DEVICES).
    """
    key = (os.getpid(), tuple(names))
    if key not in _kept:
        _kept[key] = _take(names, folder or default_folder())
    return _kept[key][0]


def default_folder() -> Path:
    """One for each user of the machine: lock files that others may write would be a way to get in each other's way."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"spark-vector-sink-gpus-{user}"


def visible_names(count: int) -> list[str]:
    """A name for each of the GPUs that this process sees, the same in every process of the machine."""
    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return listed if len(listed) == count else [str(number) for number in range(count)]


def _take(names: Sequence[str], folder: Path) -> tuple[int, IO[bytes]]:
    folder.mkdir(mode=0o700, exist_ok=True)
    files = [(folder / f"{name.replace(os.sep, '_')}.lock").open("ab") for name in names]
    chosen = next(((user, gpu) for user in range(MOST_USERS) for gpu in range(len(files)) if _locked(files[gpu], user)), (0, 0))[1]
    for gpu, file in enumerate(files):
        if gpu != chosen:
            file.close()
    return chosen, files[chosen]


def _locked(file: IO[bytes], user: int) -> bool:
    """Whether this process now has the lock of the GPU's n-th user."""
    try:
        import fcntl
    except ImportError:  # Windows: every process takes its first GPU
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, user)
    except OSError:
        return False
    return True
