"""Sparse vectors on their way to a store, and the questions that are asked of them."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_vector_sink.errors import CollectionError
from spark_vector_sink.payload_types import SparseVectors
from spark_vector_sink.store.search_query import SparseQuery, candidates, check_question
from spark_vector_sink.store.write_batch import PointBatch

ROWS = st.lists(
    st.dictionaries(st.integers(0, 2**32 - 1), st.floats(width=32, allow_nan=False), max_size=5), max_size=6
)


def sparse(rows: Sequence[dict[int, float]]) -> SparseVectors:
    indices = np.array([index for row in rows for index in row], np.uint32)
    values = np.array([value for row in rows for value in row.values()], np.float32)
    return SparseVectors(np.cumsum([0, *map(len, rows)], dtype=np.int64), indices, values)


def entries(vectors: SparseVectors) -> list[dict[int, float]]:
    ends = vectors.offsets.tolist()
    indices, values = vectors.indices.tolist(), vectors.values.tolist()
    return [dict(zip(indices[a:b], values[a:b], strict=True)) for a, b in itertools.pairwise(ends)]


@given(rows=ROWS, data=st.data())
def test_a_slice_has_its_own_rows(rows: list[dict[int, float]], data: st.DataObject) -> None:
    """A slice, and a slice of a slice, is what slicing the list of rows gives; it copies no index and no value."""
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    whole = sparse(rows)
    part = whole.slice(start, stop)
    assert (len(whole), len(part)) == (len(rows), stop - start)
    assert entries(part) == rows[start:stop]
    assert entries(part.slice(1, len(part))) == rows[start + 1 : stop] if len(part) else True
    assert all(
        np.shares_memory(mine, theirs)
        for mine, theirs in ((part.indices, whole.indices), (part.values, whole.values))
        if len(mine)
    )


@given(rows=ROWS, data=st.data())
def test_some_rows_are_taken(rows: list[dict[int, float]], data: st.DataObject) -> None:
    """In the order that is asked for, each with its own entries."""
    chosen = data.draw(st.lists(st.sampled_from(range(len(rows))), max_size=8)) if rows else []
    assert entries(sparse(rows).take(np.array(chosen, np.int64))) == [rows[row] for row in chosen]


def test_a_batch_is_sliced_with_all_its_vectors() -> None:
    """Dense and sparse vectors of a batch stay with their points, and both count as bytes."""
    vectors = {"": np.arange(6, dtype=np.float32).reshape(3, 2), "sp": sparse([{1: 1.0}, {2: 2.0, 3: 3.0}, {}])}
    batch = PointBatch([7, 8, 9], vectors, pa.record_batch({"n": [7, 8, 9]}))
    part = batch.slice(1, 3)
    assert entries(part.vectors["sp"]) == [{2: 2.0, 3: 3.0}, {}]  # type: ignore[arg-type]
    assert part.nbytes == 2 * 2 * 4 + (3 * 8 + 2 * 4 + 2 * 4) + part.payload.nbytes
    assert entries(pickle.loads(pickle.dumps(batch)).vectors["sp"]) == [{1: 1.0}, {2: 2.0, 3: 3.0}, {}]


@pytest.mark.parametrize(
    ("offsets", "indices", "values", "words"),
    [
        ([], 0, 0, "begin with 0"),
        ([1, 2], 2, 2, "begin with 0"),
        ([0, 2, 1], 1, 1, "never fall"),
        ([0, 2], 1, 2, "2 entries need as many indices and values, got 1 and 2"),
        ([0, 2], 2, 3, "got 2 and 3"),
    ],
)
def test_parts_that_do_not_fit_together(offsets: list[int], indices: int, values: int, words: str) -> None:
    """Offsets, indices and values that are no rows are refused where they are put together."""
    with pytest.raises(ValueError, match=words):
        SparseVectors(np.array(offsets, np.int64), np.zeros(indices, np.uint32), np.zeros(values, np.float32))


@pytest.mark.parametrize(
    ("vector", "question"), [([1.0], None), (None, ([1], [0.5])), ([], ([], [])), ([1.0], ([2, 1], [1.0, 1.0]))]
)
def test_questions(vector: list[float] | None, question: SparseQuery | None) -> None:
    """Dense, sparse, or both; indices may be in any order, and may be none."""
    check_question("c", vector, question, True, True)


@pytest.mark.parametrize(
    ("vector", "question", "dense", "has_sparse", "words"),
    [
        (None, None, True, True, "nothing to search c for"),
        ([], None, True, True, "nothing to search c for"),
        ([1.0], None, False, True, "no dense vectors; give a sparse one"),
        (None, ([1], [1.0]), True, False, "no sparse vectors .* give a dense one"),
        (None, ([1, 1], [1.0, 1.0]), True, True, "each index once"),
        (None, ([1, 2], [1.0]), True, True, "as many values"),
    ],
)
def test_a_question_is_refused_before_the_store_is_asked(
    vector: list[float] | None, question: SparseQuery | None, dense: bool, has_sparse: bool, words: str
) -> None:
    """Each is refused before the store is asked, in one line that says what to give."""
    with pytest.raises(CollectionError, match=words):
        check_question("c", vector, question, dense, has_sparse)


def test_more_candidates_than_answers() -> None:
    """Fusion looks at no fewer points of each ranking than are asked for, and at 100 at least."""
    assert [candidates(limit) for limit in (1, 100, 10_000)] == [100, 100, 10_000]
