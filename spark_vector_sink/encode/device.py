"""Choose the device, the arithmetic and the number of threads of a task."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO

from spark_vector_sink.errors import EncodingError, MissingPackageError
from spark_vector_sink.options import AUTO

CPU_TOKEN_BUDGET = 4096
"""Tokens in one forward pass on a CPU: the fastest of 1,024 to 16,384, and 8 MB of activations for a small model."""
GPU_TOKEN_BUDGET = 32768
"""Tokens in one forward pass on a GPU: enough to use all of it."""
LEAST_GPU_TOKEN_BUDGET = 2048
GPU_BYTES_PER_TOKEN = 64
"""Bytes of activations of one token for each unit of a model's width, a generous estimate (a base-size model: 48 KiB a
token); more where attention is not fused, and the budget is halved when memory runs out."""
GPU_SHARE = 0.5
"""Share of a GPU's free memory, when the model is loaded, that the token budget may use: another process may load its
own model right after."""


def choose(asked: str, gpus: Sequence[str]) -> str:
    """Return the torch device: the one asked for, else the GPU that Spark gave to the task, else the least used GPU,
    else Apple's, else the CPU.

    gpus: addresses from Spark, each a number, or an entry of CUDA_VISIBLE_DEVICES. Raises EncodingError where a CUDA
    device is asked for or assigned, and torch finds none.
    """
    if asked != AUTO and not asked.startswith("cuda"):
        return asked
    import_torch("torch")
    import torch

    visible = visible_names(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    if asked in (AUTO, "cuda") and gpus:
        return f"cuda:{assigned(gpus[0], visible)}"
    if visible:
        return f"cuda:{least_used(visible)}" if asked in (AUTO, "cuda") else asked
    if asked != AUTO:
        raise EncodingError(f"option 'device' = {asked!r}, but torch finds no CUDA device on this machine")
    return "mps" if torch.backends.mps.is_available() else "cpu"


def assigned(address: str, visible: Sequence[str]) -> int:
    """Return the index of a GPU that Spark has assigned, among the GPUs that this process sees. visible: their names as
    in CUDA_VISIBLE_DEVICES. Raises EncodingError where the GPU is not among them."""
    if not visible:
        raise EncodingError(
            f"Spark gave GPU {address} to this task, but torch finds no CUDA device; install a torch with CUDA on the "
            "executors, or set option 'device' = 'cpu'"
        )
    if address in visible:
        return list(visible).index(address)
    if len(visible) == 1:  # the only one that a container lets in, whatever it is called outside
        return 0
    if address.isdecimal() and int(address) < len(visible):
        return int(address)
    raise EncodingError(
        f"Spark gave GPU {address} to this task, which sees only {', '.join(visible)}; give option 'device', "
        "such as cuda:0"
    )


def dtype(asked: str, device: str) -> str:
    """Return the model's arithmetic: `float32`, `bfloat16` or `float16`. Auto is bfloat16 where it is native, which is
    two to three times as fast as float32; emulated, as on CPUs without the flags, it would be three times slower."""
    if asked != AUTO:
        return asked
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
    return "bfloat16" if device == "cpu" and _cpu_flags() & {"avx512_bf16", "amx_bf16"} else "float32"


def token_budget(asked: int | str, device: str, width: int) -> int:
    """Return the limit of tokens, padding included, in one forward pass. width: length of a token's vector inside the
    model."""
    if isinstance(asked, int):
        return asked
    if device == "cpu":
        return CPU_TOKEN_BUDGET
    if not device.startswith("cuda"):
        return GPU_TOKEN_BUDGET
    import torch

    free = torch.cuda.mem_get_info(device)[0]
    return max(LEAST_GPU_TOKEN_BUDGET, min(GPU_TOKEN_BUDGET, int(free * GPU_SHARE) // (GPU_BYTES_PER_TOKEN * width)))


def use_threads(threads: int) -> None:
    """Give torch and the tokenizer as many threads as the task has cpus: torch's own default, all cores in every
    worker, is three times slower. The tokenizer's environment variables are left alone where they are set already."""
    import_torch()
    import torch

    if threads == 1:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def import_torch(*packages: str) -> None:
    """Raise MissingPackageError where one of these packages is not installed: torch and Sentence Transformers, unless
    others are named."""
    for package in packages or ("torch", "sentence_transformers"):
        if not _installed(package):
            raise MissingPackageError(package.replace("_", "-"), "encode")


@cache
def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


@cache
def _cpu_flags() -> frozenset[str]:
    """Return the CPU's flags as Linux names them; an empty set elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


MOST_USERS = 64
"""Limit of the processes that are counted on each GPU; any further process uses the first GPU."""


_kept: dict[tuple[int, tuple[str, ...]], tuple[int, IO[bytes]]] = {}
"""Index of the GPU that this process has chosen, by process id (a fork has no choice yet) and GPU names, and the open
file that holds its lock."""


def least_used(names: Sequence[str], folder: Path | None = None) -> int:
    """Return the index of the GPU that the fewest processes on this machine have taken; the same GPU for as long as
    this process lives.

    names: identifiers of the GPUs on this machine, since processes may see different GPUs (CUDA_VISIBLE_DEVICES).
    """
    key = (os.getpid(), tuple(names))
    if key not in _kept:
        _kept[key] = _take(names, folder or default_folder())
    return _kept[key][0]


def default_folder() -> Path:
    """Return the folder of lock files, one for each user of the machine, because users could block each other with
    shared lock files."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"spark-vector-sink-gpus-{user}"


def visible_names(count: int) -> list[str]:
    """Return a name for each GPU that this process sees: its entry in CUDA_VISIBLE_DEVICES, else its index."""
    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return listed if len(listed) == count else [str(number) for number in range(count)]


def _take(names: Sequence[str], folder: Path) -> tuple[int, IO[bytes]]:
    folder.mkdir(mode=0o700, exist_ok=True)
    files = [(folder / f"{name.replace(os.sep, '_')}.lock").open("ab") for name in names]
    chosen = next(
        ((user, gpu) for user in range(MOST_USERS) for gpu in range(len(files)) if _locked(files[gpu], user)), (0, 0)
    )[1]
    for gpu, file in enumerate(files):
        if gpu != chosen:
            file.close()
    return chosen, files[chosen]


def _locked(file: IO[bytes], user: int) -> bool:
    """Try to lock the GPU's n-th user slot; return whether this process now has the lock."""
    try:
        import fcntl
    except ImportError:  # Windows: every process takes its first GPU
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, user)
    except OSError:
        return False
    return True
