"""Which GPU: the one that Spark assigned, else the one that the fewest processes have taken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from spark_vector_sink.encode import device as devices
from spark_vector_sink.encode import device as gpus
from spark_vector_sink.errors import EncodingError

ROOT = Path(__file__).parents[2]
PROCESS = """
import sys
from pathlib import Path
from spark_vector_sink.encode import device as gpus
print(gpus.least_used(sys.argv[2].split(","), Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@contextmanager
def process(folder: Path, names: str = "0,1") -> Iterator[int]:
    """Another process that takes a GPU and keeps it until the end of the context; gives its choice."""
    command = [sys.executable, "-c", PROCESS, str(folder), names]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        yield int(other.stdout.readline())
        other.kill()


def test_processes_spread_over_the_gpus(tmp_path: Path) -> None:
    """Each takes the least used one: two models on each of two GPUs, for four workers."""
    with ExitStack() as stack:
        assert sorted(stack.enter_context(process(tmp_path)) for _ in range(4)) == [0, 0, 1, 1]


def test_a_killed_process_leaves_its_gpu(tmp_path: Path) -> None:
    """The system lets go of its lock; nothing has to be cleaned up."""
    with process(tmp_path) as first:
        with process(tmp_path) as second:
            assert (first, second) == (0, 1)
        with process(tmp_path) as third:
            assert third == 1


def test_gpus_are_told_apart_by_their_name_on_the_machine(tmp_path: Path) -> None:
    """Two processes that see different GPUs both call theirs number 0, and do not get in each other's way."""
    with process(tmp_path, "GPU-aa"), process(tmp_path, "GPU-aa,GPU-bb") as chosen:
        assert chosen == 1


def test_a_choice_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is not moved from one GPU to another in the middle of its work."""
    monkeypatch.setattr(gpus, "_kept", {})
    first = gpus.least_used(["0", "1"], tmp_path)
    with process(tmp_path):
        assert gpus.least_used(["0", "1"], tmp_path) == first


@pytest.mark.parametrize(
    ("variable", "count", "names"),
    [
        ("", 2, ["0", "1"]),
        ("3,5", 2, ["3", "5"]),
        ("GPU-aa, GPU-bb", 2, ["GPU-aa", "GPU-bb"]),
        ("0,1,2", 2, ["0", "1"]),
    ],
)
def test_names_are_those_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, variable: str, count: int, names: list[str]
) -> None:
    """As CUDA_VISIBLE_DEVICES gives them, where it says something that fits."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert gpus.visible_names(count) == names


@pytest.mark.parametrize(
    ("address", "visible", "index"),
    [
        ("1", ["0", "1"], 1),
        ("5", ["3", "5"], 1),  # the process sees only two of the machine's GPUs
        ("5", ["0"], 0),  # a container lets one in, and calls it 0
        ("GPU-bb", ["GPU-aa", "GPU-bb"], 1),
        ("1", ["GPU-aa", "GPU-bb"], 1),
    ],
)
def test_sparks_address_is_found_among_the_visible_ones(address: str, visible: list[str], index: int) -> None:
    """Spark counts the machine's GPUs, torch those that a process sees."""
    assert devices.assigned(address, visible) == index


@pytest.mark.parametrize(
    ("address", "visible", "message"),
    [
        (
            "0",
            [],
            "Spark gave GPU 0 to this task, but torch finds no CUDA device; install a torch with CUDA on the "
            "executors, or set option 'device' = 'cpu'",
        ),
        ("7", ["0", "1"], "Spark gave GPU 7 to this task, which sees only 0, 1; give option 'device', such as cuda:0"),
    ],
)
def test_a_gpu_that_is_not_there_is_said(address: str, visible: list[str], message: str) -> None:
    """Going on with the CPU in silence would take fifty times as long."""
    with pytest.raises(EncodingError) as failed:
        devices.assigned(address, visible)
    assert str(failed.value) == message


class Machine:
    """What torch tells of a machine."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        count: int,
        free: int = 2**34,
        capability: tuple[int, int] = (9, 0),
        mps: bool = False,
    ) -> None:
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("asked", "given", "count", "mps", "chosen"),
    [
        ("auto", ("1",), 2, False, "cuda:1"),
        ("auto", (), 2, False, "cuda:1"),
        ("cuda", ("0",), 2, False, "cuda:0"),
        ("cuda", (), 2, False, "cuda:1"),
        ("cuda:0", ("1",), 2, False, "cuda:0"),
        ("cpu", ("1",), 2, False, "cpu"),
        ("auto", (), 0, True, "mps"),
        ("auto", (), 0, False, "cpu"),
    ],
)
def test_the_device_is_chosen(
    monkeypatch: pytest.MonkeyPatch, asked: str, given: Any, count: int, mps: bool, chosen: str
) -> None:
    """What was asked for, else Spark's, else the least used one, else Apple's, else the CPU."""
    Machine(monkeypatch, count, mps=mps)
    monkeypatch.setattr(gpus, "least_used", lambda names: names.index("1"))
    assert devices.choose(asked, given) == chosen


@pytest.mark.parametrize("asked", ["cuda", "cuda:1"])
def test_a_gpu_that_was_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    """It says which option, and what is missing."""
    Machine(monkeypatch, 0)
    with pytest.raises(
        EncodingError, match=f"^option 'device' = '{asked}', but torch finds no CUDA device on this machine$"
    ):
        devices.choose(asked, ())


@pytest.mark.parametrize(("capability", "expected"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float32")])
def test_half_precision_where_the_gpu_has_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    """From compute capability 8.0 on."""
    Machine(monkeypatch, 1, capability=capability)
    assert devices.dtype("auto", "cuda:0") == expected


@pytest.mark.parametrize(
    ("free", "width", "expected"),
    [
        (80 * 2**30, 768, 32768),  # more would fill it no better
        (2 * 2**30, 1024, 16384),
        (2**20, 1024, 2048),
    ],
)
def test_a_gpus_budget_fits_into_its_free_memory(
    monkeypatch: pytest.MonkeyPatch, free: int, width: int, expected: int
) -> None:
    """Half of it, at 64 bytes of activations for each unit of a model's width; where that is wrong, it is halved on the
    way."""
    Machine(monkeypatch, 1, free=free)
    assert devices.token_budget("auto", "cuda:0", width) == expected
    assert devices.token_budget(777, "cuda:0", width) == 777
    assert devices.token_budget("auto", "cpu", width) == 4096
