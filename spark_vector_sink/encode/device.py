"""Which device, which arithmetic and how many threads this task may use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from spark_vector_sink.errors import EncodingError, MissingPackageError
from spark_vector_sink.options import AUTO

CPU_TOKEN_BUDGET = 4096
"""Tokens in one forward pass on a CPU: the fastest of 1,024 to 16,384, and 8 MB of activations for a small model."""
GPU_TOKEN_BUDGET = 32768
"""Tokens in one forward pass on a GPU; enough to fill one, and far from filling its memory for base-size models."""


def choose(asked: str, gpus: Sequence[str]) -> str:
    """The torch device: what was asked for, else the task's GPU, else any GPU, else Apple's, else the CPU."""
    import_torch()
    import torch

    if asked == "cuda" and gpus:
        return f"cuda:{gpus[0]}"
    if asked != AUTO:
        if asked.startswith("cuda") and not torch.cuda.is_available():
            raise EncodingError(f"option 'device' = {asked!r}, but torch finds no CUDA device on this machine")
        return asked
    if torch.cuda.is_available():
        return f"cuda:{gpus[0]}" if gpus else "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype(asked: str, device: str) -> str:
    """The model's arithmetic: `float32`, `bfloat16` or `float16`. Auto is bfloat16 where it is native, which is three times as fast
    as float32; emulated, as on CPUs without the flags, it would be three times slower."""
    if asked != AUTO:
        return asked
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
    return "bfloat16" if device == "cpu" and _cpu_flags() & {"avx512_bf16", "amx_bf16"} else "float32"


def token_budget(asked: int | str, device: str) -> int:
    """Tokens, padding included, of one forward pass."""
    if isinstance(asked, int):
        return asked
    return CPU_TOKEN_BUDGET if device == "cpu" else GPU_TOKEN_BUDGET


def use_threads(threads: int) -> None:
    """Give torch as many threads as the task has cpus: its own default, all cores in every worker, is three times slower."""
    import_torch()
    import torch

    if threads == 1:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def import_torch() -> None:
    """Raise MissingPackageError where torch or Sentence Transformers is not installed."""
    for package, shown in (("torch", "torch"), ("sentence_transformers", "sentence-transformers")):
        if not _installed(package):
            raise MissingPackageError(shown, "encode")


@cache
def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


@cache
def _cpu_flags() -> frozenset[str]:
    """The CPU's flags as Linux names them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
