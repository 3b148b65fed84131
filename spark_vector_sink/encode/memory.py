"""Manage the memory of a process that encodes: recognise a lack of memory, and give free memory back."""

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
"""Messages of a lack of memory from torch, CUDA's libraries, C++ and, the last two, oneDNN, in lower case."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Return whether a smaller batch may succeed where this error was raised."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


@contextmanager
def without_collections() -> Iterator[None]:
    """Switch the garbage collector off during imports and the loading of models: they create half a million objects,
    which Python searches again and again for cycles that do not exist, a fifth of the time that torch and Sentence
    Transformers take to import."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


def give_back(device: str) -> None:
    """Return free memory to the system, and to other processes on the same GPU. Call this function outside of `except`,
    because a traceback holds tensors."""
    gc.collect()
    if device.startswith("cuda") and "torch" in sys.modules:
        import torch

        torch.cuda.empty_cache()
    trim()


def trim() -> None:
    """Have the C library return free pages, because it keeps the pages of freed activations otherwise: a worker would
    grow from window to window up to twice its size. The call costs milliseconds, once for each window; a lower mmap
    threshold instead costs a fifth of the speed."""
    release = _malloc_trim()
    if release is not None:
        release(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's function; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
