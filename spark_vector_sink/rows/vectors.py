"""Convert vectors to a float32 matrix, and check them: a store would accept NaN and zero vectors without an error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from spark_vector_sink.payload_types import SparseVectors

FLOAT32, FLOAT16, UINT8 = "float32", "float16", "uint8"
"""Datatypes, as Qdrant names them; its other datatypes keep a few bits of each number, and the vector's length."""


def matrix(column: pa.Array, dimension: int) -> npt.NDArray[np.float32]:
    """Return a list column without nulls and of equal lengths (see `misfit`) as float32, shape (rows, dimension); a
    view where possible."""
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and `unusable` finds it
        return np.ascontiguousarray(numbers, dtype=np.float32).reshape(len(column), dimension)


@dataclass(frozen=True)
class Wanted:
    """The requirements on ready-made vectors, and their conversion before they are sent.

    normalize: scale each vector to length 1. is_scaled: scale the vectors that Qdrant would not scale well (see
    `comparable`). datatype: the datatype that they are stored as (see `unlike`).
    """

    dimension: int
    normalize: bool = False
    is_scaled: bool = False
    datatype: str = FLOAT32

    def sent(self, column: pa.Array) -> npt.NDArray[np.float32]:
        """Return the vectors as they are sent."""
        made = matrix(column, self.dimension)
        made = normalized(made) if self.normalize else made
        return comparable(made) if self.is_scaled else made


def misfit(column: pa.Array, wanted: Wanted) -> tuple[int, str] | None:
    """Return the first row whose list is not a vector of this length that can be compared and stored, with the reason;
    None where all are."""
    dimension = wanted.dimension
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(lengths != dimension)
    if len(wrong):
        row = int(wrong[0])
        return row, "is null" if lengths[
            row
        ] < 0 else f"holds a vector of length {lengths[row]}, the collection's vectors have {dimension}"
    if column.flatten().null_count:
        row = next(i for i, vector in enumerate(column.to_pylist()) if None in vector)
        return row, "holds a vector with a null in it"
    found = unusable(matrix(column, dimension))
    return found if found is not None or wanted.datatype == FLOAT32 else unlike(wanted.sent(column), wanted.datatype)


def unusable(vectors: npt.NDArray[np.float32]) -> tuple[int, str] | None:
    """Return the first row whose vector cannot be compared with others, with the reason; None where all can."""
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        return int(np.argmin(finite)), "gives a vector with NaN or an infinite number"
    zero = ~vectors.any(axis=1)
    if zero.any():
        return int(np.argmax(zero)), "gives a vector of zeros only"
    return None


def unusable_sparse(vectors: SparseVectors) -> tuple[int, str] | None:
    """Return the first row with a weight that is NaN or infinite, with the reason. A vector without weights passes: no
    query finds it, and it does no harm."""
    wrong = np.flatnonzero(~np.isfinite(vectors.values))
    if not len(wrong):
        return None
    return int(
        np.searchsorted(vectors.offsets, wrong[0], side="right")
    ) - 1, "gives a sparse vector with NaN or an infinite number"


def unlike(vectors: npt.NDArray[np.float32], datatype: str) -> tuple[int, str] | None:
    """Return the first row whose vector, of finite numbers and not only zeros, would be stored with other values, with
    the reason; None where there is none. A loss of digits does not count, because the user asks for it with the
    datatype. Datatypes other than `uint8` and `float16` keep a vector's length as a float32, and a few bits of each
    number."""
    if datatype == FLOAT32:
        return None
    lost: npt.NDArray[np.bool_] = np.zeros(len(vectors), np.bool_)
    if datatype == UINT8:
        fits, kept = (vectors >= 0) & (vectors <= 255) & (vectors == np.trunc(vectors)), "whole numbers from 0 to 255"
    elif datatype == FLOAT16:
        with np.errstate(over="ignore"):
            half = vectors.astype(np.float16)
        lost, fits, kept = np.asarray(~half.any(axis=1)), np.isfinite(half), "numbers up to 65,504"
    else:
        lengths, bounds = np.linalg.norm(vectors.astype(np.float64), axis=1), np.finfo(np.float32)
        lost, fits, kept = (
            np.asarray(lengths < bounds.tiny),
            (lengths <= bounds.max)[:, np.newaxis] | (vectors == 0),
            "vectors of a length up to 3.4e+38",
        )
    good = fits.all(axis=1) & ~lost
    if good.all():
        return None
    row = int(np.argmin(good))
    if lost[row]:
        return (
            row,
            f"gives a vector of numbers next to 0, and the collection stores {datatype}, where each of them is 0",
        )
    return (
        row,
        f"gives a vector with {vectors[row][~fits[row]][0]:g} in it, and the collection stores {datatype}: {kept}",
    )


def unlike_sparse(vectors: SparseVectors, datatype: str) -> tuple[int, str] | None:
    """Return the first row with a weight that the index of sparse vectors would store as infinite, with the reason;
    None where there is none."""
    if datatype != FLOAT16:
        return None
    with np.errstate(over="ignore"):
        wrong = np.flatnonzero(np.isinf(vectors.values.astype(np.float16)))
    if not len(wrong):
        return None
    row = int(np.searchsorted(vectors.offsets, wrong[0], side="right")) - 1
    return (
        row,
        f"gives a sparse vector with {vectors.values[wrong[0]]:g} in it, and the collection's index stores "
        f"{datatype}: numbers up to 65,504",
    )


def normalized(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scale vectors to length 1; a vector of zeros stays a vector of zeros."""
    wide = vectors.astype(np.float64)  # the square of a large or small float32 does not fit into a float32
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    made: npt.NDArray[np.float64] = np.divide(wide, lengths, where=lengths > 0, out=np.zeros_like(wide))
    return made.astype(np.float32)


LEAST_SQUARE, MOST_SQUARE = 1e-6, 1e37
"""Limits of the squared length between which Qdrant itself scales a vector well, with a margin at both ends."""


def comparable(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scale the vectors that Qdrant would not scale to length 1 in a collection that compares by cosine.

    Qdrant leaves a vector as it is where its squared length is below 1.2e-7, so that its scores are almost 0, and turns
    a vector into zeros where its squared length does not fit into a float32.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
    odd = ~((squares > LEAST_SQUARE) & (squares < MOST_SQUARE)) & np.isfinite(vectors).all(axis=1)
    if not odd.any():
        return vectors
    made: npt.NDArray[np.float32] = vectors.copy()
    made[odd] = normalized(vectors[odd])
    return made
