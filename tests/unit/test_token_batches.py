"""Token batches: equal lengths together, a bound on tokens, and what happens when memory runs out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_vector_sink.encode.memory import is_lack_of_memory
from spark_vector_sink.encode.token_batches import Rows, TokenBatches
from spark_vector_sink.errors import EncodingError

OUT_OF_MEMORY = RuntimeError(
    "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
)


def batches(tokens: list[int], budget: int) -> list[list[int]]:
    return [
        rows.tolist() for rows, _ in TokenBatches(budget, "cpu").run(np.array(tokens, np.int64), lambda rows: None, {})
    ]


class Memory:
    """A model that has room for so many tokens, padding included, and remembers what it was given."""

    def __init__(self, tokens: list[int], room: int, error: BaseException = OUT_OF_MEMORY) -> None:
        self.tokens, self.room, self.error = np.array(tokens, np.int64), room, error
        self.calls: list[int] = []

    def __call__(self, rows: Rows) -> list[int]:
        used = int(self.tokens[rows].max()) * len(rows)
        self.calls.append(used)
        if used > self.room:
            raise self.error
        made: list[int] = rows.tolist()
        return made


@given(st.lists(st.integers(0, 600), max_size=200), st.integers(1, 5000))
def test_each_text_is_in_one_batch_within_the_budget(tokens: list[int], budget: int) -> None:
    """Padded to its longest, a batch has at most `budget` tokens, unless it is one text."""
    made = batches(tokens, budget)
    assert sorted(row for rows in made for row in rows) == list(range(len(tokens)))
    for rows in made:
        longest = max(1, *(tokens[row] for row in rows))
        assert len(rows) == 1 or longest * len(rows) <= budget


def test_longest_texts_go_first() -> None:
    """A lack of memory shows at once, and equal lengths are together."""
    assert batches([1, 9, 5, 9], 18) == [[1, 3], [2, 0]]


def test_equal_lengths_keep_their_order() -> None:
    """The same window gives the same batches."""
    assert batches([3, 3, 3, 3], 6) == [[0, 1], [2, 3]]


def test_no_texts_are_no_batches() -> None:
    """An empty window calls nothing."""
    assert batches([], 100) == []


def test_a_batch_that_does_not_fit_is_halved() -> None:
    """Only that batch is cut; every text comes out once, and the smaller budget stays for what follows."""
    tokens = [8] * 16
    model = Memory(tokens, room=40)
    made = TokenBatches(128, "cpu")
    failed: dict[int, str] = {}
    rows = [row for _, answer in made.run(model.tokens, model, failed) for row in answer]
    assert (sorted(rows), failed) == (list(range(16)), {})
    assert model.calls[:3] == [128, 64, 32]
    assert (made.budget, max(model.calls[2:])) == (32, 32)


def test_the_smaller_budget_is_remembered() -> None:
    """The next window does not run out of memory again."""
    tokens = [8] * 16
    made = TokenBatches(128, "cpu")
    list(made.run(np.array(tokens, np.int64), Memory(tokens, room=40), {}))
    model = Memory(tokens, room=40)
    list(made.run(model.tokens, model, {}))
    assert max(model.calls) == 32


def test_a_small_batch_is_halved_by_its_own_size() -> None:
    """A budget far above what the batch has would be halved in vain many times."""
    model = Memory([10, 10], room=10)
    made = TokenBatches(1_000_000, "cpu")
    assert [answer for _, answer in made.run(model.tokens, model, {})] == [[0], [1]]
    assert (model.calls, made.budget) == ([20, 10, 10], 10)


def test_a_single_text_that_does_not_fit_is_named() -> None:
    """The others are encoded, and the budget is not to blame."""
    model = Memory([100, 4, 4], room=20)
    made = TokenBatches(64, "cpu")
    failed: dict[int, str] = {}
    answers = [answer for _, answer in made.run(model.tokens, model, failed)]
    assert (answers, list(failed), made.budget) == ([[1, 2]], [0], 64)
    assert failed[0].startswith("has 100 tokens, for which the memory of cpu is not enough ([enforce fail")


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    """It ends the task, in one line that names it."""
    model = Memory([1], room=0, error=RuntimeError("shapes differ\nmore"))
    with pytest.raises(EncodingError) as failed:
        list(TokenBatches(64, "cpu").run(model.tokens, model, {}))
    assert str(failed.value) == "the model failed on 1 texts on cpu: RuntimeError: shapes differ"


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (OUT_OF_MEMORY, True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_a_lack_of_memory_is_told_by_its_words(error: Any, lacks: bool) -> None:
    """CUDA, its libraries, the CPU's allocator and Python say it each in their own way."""
    assert is_lack_of_memory(error) is lacks
