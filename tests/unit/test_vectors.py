"""Ready-made vectors: Arrow lists → a float32 matrix, and what no vector may be."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from spark_vector_sink.payload_types import SparseVectors
from spark_vector_sink.rows import vectors

ROWS = [[1.0, 2.0], [3.0, -4.5], [0.1, 1e-30]]
LISTS = [
    pa.list_(pa.float32()),
    pa.list_(pa.float64()),
    pa.large_list(pa.float32()),
    pa.list_(pa.float32(), 2),
    pa.list_(pa.float64(), 2),
]


@pytest.mark.parametrize("kind", LISTS, ids=str)
def test_every_kind_of_list_becomes_a_matrix(kind: pa.DataType) -> None:
    """Variable, large and fixed-size lists of either precision give the same float32 numbers."""
    made = vectors.matrix(pa.array(ROWS, kind), 2)
    assert (made.dtype, made.shape, made.flags.c_contiguous) == (np.float32, (3, 2), True)
    assert np.array_equal(made, np.array(ROWS, np.float32))


@pytest.mark.parametrize("kind", LISTS, ids=str)
def test_a_slice_is_read_where_it_begins(kind: pa.DataType) -> None:
    """The offset of a slice counts."""
    assert np.array_equal(vectors.matrix(pa.array(ROWS, kind).slice(1, 2), 2), np.array(ROWS[1:], np.float32))


def test_integers_are_numbers_too() -> None:
    """A vector of integers is one of floats."""
    assert vectors.matrix(pa.array([[1, 2]], pa.list_(pa.int8())), 2).tolist() == [[1.0, 2.0]]


def test_no_rows_are_a_matrix_of_no_rows() -> None:
    """The shape is right even where there is nothing."""
    assert vectors.matrix(pa.array([], pa.list_(pa.float32())), 4).shape == (0, 4)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 2], [3, 4]], None),
        ([[1, 2], None], (1, "is null")),
        ([[1, 2], [1, 2, 3], None], (1, "holds a vector of length 3, the collection's vectors have 2")),
        ([[]], (0, "holds a vector of length 0, the collection's vectors have 2")),
        ([[1, 2], [None, 2]], (1, "holds a vector with a null in it")),
    ],
)
def test_the_first_misfit_is_found(rows: list[list[float | None] | None], expected: tuple[int, str] | None) -> None:
    """Nulls and wrong lengths are named with their row."""
    assert vectors.misfit(pa.array(rows, pa.list_(pa.float32())), vectors.Wanted(2)) == expected


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 2), pa.large_list(pa.float32())], ids=str)
def test_a_null_among_other_lists_is_found(kind: pa.DataType) -> None:
    """A null is told from a wrong length in fixed-size and large lists too."""
    assert vectors.misfit(pa.array([[1, 2], None], kind), vectors.Wanted(2)) == (1, "is null")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_found(bad: float) -> None:
    """A store would take them without a word."""
    assert vectors.unusable(np.array([[1, 2], [bad, 1]], np.float32)) == (
        1,
        "gives a vector with NaN or an infinite number",
    )


def test_a_double_too_large_for_float32_is_found() -> None:
    """It becomes infinite on the way."""
    with np.errstate(over="ignore"):
        made = vectors.matrix(pa.array([[1e300, 1.0]], pa.list_(pa.float64())), 2)
    assert vectors.unusable(made) == (0, "gives a vector with NaN or an infinite number")


def test_a_vector_of_zeros_is_found() -> None:
    """It has no direction."""
    assert vectors.unusable(np.array([[1, 0], [0, 0]], np.float32)) == (1, "gives a vector of zeros only")


def test_good_vectors_are_usable() -> None:
    """Nothing is found where nothing is wrong, and nothing in nothing."""
    assert vectors.unusable(np.array([[1, 0], [-1e-38, 0]], np.float32)) is None
    assert vectors.unusable(np.empty((0, 3), np.float32)) is None


def test_normalized_vectors_have_length_one() -> None:
    """Direction stays, length becomes one, and zeros stay zeros without a warning."""
    made = vectors.normalized(np.array([[3, 4], [0, 0]], np.float32))
    assert made.dtype == np.float32
    assert np.allclose(made, [[0.6, 0.8], [0, 0]])


def test_vectors_of_any_length_are_scaled() -> None:
    """Also those whose squares are no float32."""
    made = vectors.normalized(np.array([[3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0]], np.float32))
    assert np.abs(made - np.array([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]])).max() < 1e-6


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "infinite"),
        (0.0, "zeros only"),
        (1e300, "infinite"),
        (1e-300, "zeros only"),
    ],
)
def test_a_vector_that_compares_with_none_is_a_misfit(bad: float, words: str) -> None:
    """It is known before any row is left out for it."""
    found = vectors.misfit(pa.array([[1.0, 1.0], [bad, bad]], pa.list_(pa.float64())), vectors.Wanted(2))
    assert found is not None
    assert found[0] == 1
    assert words in found[1]


def test_vectors_that_a_server_does_not_scale_come_scaled() -> None:
    """Short ones and long ones; the others, zeros and NaN stay to the last bit what they are."""
    rows = np.array([[1e-4, 0], [3e19, 4e19], [0.3, 7], [0, 0], [np.nan, 1]], np.float32)
    made = vectors.comparable(rows)
    assert np.abs(made[:2] - [[1, 0], [0.6, 0.8]]).max() < 1e-6
    assert made[2:4].tobytes() == rows[2:4].tobytes()
    assert np.isnan(made[4]).any()


def row_of(numbers: list[float], datatype: str) -> str | None:
    """What is wrong with the second of two vectors."""
    found = vectors.unlike(np.array([[1] * len(numbers), numbers], np.float32), datatype)
    assert found is None or found[0] == 1
    return None if found is None else found[1]


@pytest.mark.parametrize("datatype", ["float32", "float16", "turbo4", "turbo8", "turbo16", "uint8"])
@pytest.mark.parametrize("numbers", [[0, 255], [-0.0, 7]], ids=str)
def test_bytes_are_held_by_every_datatype(numbers: list[float], datatype: str) -> None:
    """And so nothing is said of them."""
    assert row_of(numbers, datatype) is None


@pytest.mark.parametrize(
    ("datatype", "numbers", "words"),
    [
        (
            "uint8",
            [1, 0.5],
            "gives a vector with 0.5 in it, and the collection stores uint8: whole numbers from 0 to 255",
        ),
        (
            "uint8",
            [-1, 0],
            "gives a vector with -1 in it, and the collection stores uint8: whole numbers from 0 to 255",
        ),
        (
            "uint8",
            [0, 256],
            "gives a vector with 256 in it, and the collection stores uint8: whole numbers from 0 to 255",
        ),
        (
            "float16",
            [1, -65520],
            "gives a vector with -65520 in it, and the collection stores float16: numbers up to 65,504",
        ),
        (
            "float16",
            [2e-8, -2e-8],
            "gives a vector of numbers next to 0, and the collection stores float16, where each of them is 0",
        ),
        (
            "turbo16",
            [1e-42, 1e-42],
            "gives a vector of numbers next to 0, and the collection stores turbo16, where each of them is 0",
        ),
        (
            "turbo4",
            [3e38, 3e38],
            "gives a vector with 3e+38 in it, and the collection stores turbo4: vectors of a length up to 3.4e+38",
        ),
    ],
)
def test_a_vector_that_would_be_stored_as_another_is_found(datatype: str, numbers: list[float], words: str) -> None:
    """With one of its numbers, and what would fit."""
    assert row_of(numbers, datatype) == words


@pytest.mark.parametrize(
    ("datatype", "numbers"),
    [("float16", [0.1, 65519]), ("float16", [1e-12, 1]), ("turbo8", [1e-30, 0.3]), ("float32", [1e-38, 3e38])],
)
def test_fewer_digits_are_no_other_vector(datatype: str, numbers: list[float]) -> None:
    """Who asks for such a datatype asks for those."""
    assert row_of(numbers, datatype) is None


def test_a_weight_beyond_float16_is_found() -> None:
    """It would be infinite in the index of sparse vectors; small ones do no harm, and other datatypes have room for
    any."""
    made = SparseVectors(np.array([0, 1, 3]), np.array([4, 1, 2], np.uint32), np.array([1e-9, 2, 7e4], np.float32))
    words = "gives a sparse vector with 70000 in it, and the collection's index stores float16: numbers up to 65,504"
    assert vectors.unlike_sparse(made, "float16") == (1, words)
    assert vectors.unlike_sparse(made.slice(0, 1), "float16") is None
    assert vectors.unlike_sparse(made, "float32") is vectors.unlike_sparse(made, "uint8") is None
