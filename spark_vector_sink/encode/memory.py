"""Memory of a process that encodes: what a lack of it looks like, and how to give back what is free."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

_SIGNS = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "alloc_failed",
    "could not create a primitive", "could not create a memory",
)  # fmt: skip
"""How torch, CUDA's libraries, C++ and, in the last two, oneDNN say it, in lower case."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may succeed where this error was raised."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


@contextmanager
def without_collections() -> Iterator[None]:
    """For imports and models: as their half a million objects come, Python looks through them again and again for
    cycles that are none, a fifth of the time that torch and Sentence Transformers take to import."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


def give_back(device: str) -> None:
    """Return what is free to the system, and to other processes on the same GPU. Call it outside of `except`: a
    traceback holds tensors."""
    gc.collect()
    if device.startswith("cuda") and "torch" in sys.modules:
        import torch

        torch.cuda.empty_cache()
    trim()


def trim() -> None:
    """Have the C library return free pages. It keeps those of freed activations else: a worker would grow from window
    to window up to twice its size. Costs milliseconds, once for each window; a lower mmap threshold instead costs a
    fifth of the speed."""
    release = _malloc_trim()
    if release is not None:
        release(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """glibc's function; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
