"""Token batches: every text once, longest first, within the budget."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_vector_sink.encode.token_batches import token_batches

CHEAP = settings(max_examples=80, deadline=None, derandomize=True)
COUNTS = st.lists(st.integers(0, 300), max_size=80)
BUDGETS = st.integers(1, 1000)


@CHEAP
@given(COUNTS, BUDGETS)
def test_each_text_is_in_one_batch(counts: list[int], budget: int) -> None:
    """No index is lost and none comes twice."""
    batches = list(token_batches(np.array(counts, np.int64), budget))
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(counts)))


@CHEAP
@given(COUNTS, BUDGETS)
def test_the_budget_is_kept(counts: list[int], budget: int) -> None:
    """Rows times the longest of a batch fit, except for one text that alone is longer."""
    tokens = np.array(counts, np.int64)
    for batch in token_batches(tokens, budget):
        assert len(batch) == 1 or len(batch) * int(tokens[batch].max()) <= budget


@CHEAP
@given(COUNTS, BUDGETS)
def test_the_longest_come_first(counts: list[int], budget: int) -> None:
    """A lack of memory shows in the first batch, not in the last."""
    tokens = np.array(counts, np.int64)
    order = [int(tokens[i]) for batch in token_batches(tokens, budget) for i in batch]
    assert order == sorted(counts, reverse=True)


def test_no_batch_is_smaller_than_it_must_be() -> None:
    """Equal texts fill the budget: 10 texts of 5 tokens in a budget of 20 are three batches."""
    assert [len(batch) for batch in token_batches(np.full(10, 5, np.int64), 20)] == [4, 4, 2]


def test_nothing_gives_nothing() -> None:
    """An empty window has no batch."""
    assert list(token_batches(np.array([], np.int64), 10)) == []
