"""Windows: every row once and in order, wherever the batches were cut."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_vector_sink.task.windows import windows

CHEAP = settings(max_examples=80, deadline=None, derandomize=True)


def batches(sizes: list[int], width: int = 3) -> list[pa.RecordBatch]:
    """Batches of these sizes with rows numbered through; a number and a text of `width` characters."""
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [
        pa.record_batch(
            {
                "n": pa.array(range(start, start + size), pa.int64()),
                "text": pa.array([f"{i:0{width}}" for i in range(start, start + size)], pa.string()),
            }
        )
        for start, size in zip(starts, sizes, strict=True)
    ]


def rows(made: list[pa.RecordBatch]) -> list[tuple[int, str]]:
    return [(row["n"], row["text"]) for batch in made for row in batch.to_pylist()]


@CHEAP
@given(sizes=st.lists(st.integers(0, 25), max_size=8), size=st.integers(1, 20))
def test_no_row_is_lost_or_moved(sizes: list[int], size: int) -> None:
    """The rows come out as they came in, in windows of exactly the size but for the last."""
    given_batches = batches(sizes)
    made = list(windows(given_batches, size))
    assert rows(made) == rows(given_batches)
    total = sum(sizes)
    assert [len(window) for window in made] == [size] * (total // size) + [total % size] * (total % size > 0)


@CHEAP
@given(sizes=st.lists(st.integers(0, 40), max_size=6), most_bytes=st.integers(1, 2000), width=st.integers(1, 50))
def test_no_window_is_much_larger_than_the_bound(sizes: list[int], most_bytes: int, width: int) -> None:
    """Bytes bound a window too: less than twice the limit, or a single row; and still no row is lost."""
    given_batches = batches(sizes, width)
    made = list(windows(given_batches, 1000, most_bytes))
    assert rows(made) == rows(given_batches)
    per_row = width + 8 + 4 + 8
    assert all(window.nbytes <= 2 * most_bytes + 2 * per_row for window in made)


@pytest.mark.parametrize("size", [4095, 4096, 4097, 8192])
def test_sizes_around_the_window(size: int) -> None:
    """A batch just as long as the window, and one row more or less."""
    made = list(windows(batches([size]), 4096))
    assert [len(window) for window in made] == {4095: [4095], 4096: [4096], 4097: [4096, 1], 8192: [4096, 4096]}[size]


def test_a_huge_row_is_a_window_of_its_own() -> None:
    """One row above the limit is passed on, alone."""
    huge = pa.record_batch({"n": pa.array([0, 1], pa.int64()), "text": ["x" * 1000, "y" * 1000]})
    assert [len(window) for window in windows([huge], 10, most_bytes=500)] == [1, 1]


def test_windows_are_made_as_they_are_asked_for() -> None:
    """Reading ahead stops at the window: memory does not grow with the partition."""
    taken = []

    def source() -> object:
        for batch in batches([2] * 100):
            taken.append(batch)
            yield batch

    next(iter(windows(source(), 4)))  # type: ignore[arg-type]
    assert len(taken) == 2


def test_no_rows_give_no_window() -> None:
    """Neither no batches nor empty ones make an empty window."""
    assert list(windows([], 10)) == []
    assert list(windows(batches([0, 0]), 10)) == []


def test_one_batch_is_passed_on_without_a_copy() -> None:
    """Where a batch is a window already, its buffers are the same."""
    (given_batch,) = batches([10])
    (made,) = windows([given_batch], 10)
    assert made.column(0).buffers()[1].address == given_batch.column(0).buffers()[1].address
