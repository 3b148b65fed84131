"""Vectors as a float32 matrix, and what no vector may be: a store would take NaN and zero vectors without a word."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from spark_vector_sink.plain import SparseVectors

SPARK_ML = {"type", "size", "indices", "values"}
"""The fields of Spark ML's vectors."""


def no_vectors(name: str, kind: pa.DataType) -> str | None:
    """Why a column of this type holds no ready-made vectors, with what makes some of it; None where it does hold them."""
    if _is_list(kind) and _is_number(kind.value_type):
        return None
    way_out = _way_out(name, kind)
    return f"must hold arrays of numbers, it holds {kind}{f'; {way_out}' if way_out else ''}"


def _way_out(name: str, kind: pa.DataType) -> str:
    if pat.is_struct(kind) and {field.name for field in kind} == SPARK_ML:
        return "turn it into an array with pyspark.ml.functions.vector_to_array"
    if _is_sparse(kind):
        return "ready-made sparse vectors are not taken, option 'sparse_model' makes them from a text"
    if _is_text(kind):
        return f"turn JSON text into an array with from_json({name}, 'array<float>')"
    if pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_fixed_size_binary(kind):
        return "unpack the bytes into an array<float>, as numpy.frombuffer does in a pandas_udf"
    if _is_list(kind) and (pat.is_decimal(kind.value_type) or _is_text(kind.value_type)):
        return "cast it to array<float>"
    if _is_list(kind) and _is_list(kind.value_type):
        return "a row has one vector: take one of them with element_at, or explode them into rows with keys of their own"
    return ""


def _is_sparse(kind: pa.DataType) -> bool:
    """Two lists side by side, a list of pairs, or a map: of places and weights."""
    if pat.is_map(kind):
        return pat.is_integer(kind.key_type) and _is_number(kind.item_type)
    if _is_list(kind) and pat.is_struct(kind.value_type):
        return [_is_number(field.type) for field in kind.value_type] == [True, True]
    return pat.is_struct(kind) and [_is_list(field.type) and _is_number(field.type.value_type) for field in kind] == [True, True]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pat.is_string(kind) or pat.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pat.is_floating(kind) or pat.is_integer(kind))


def matrix(column: pa.Array, dimension: int) -> npt.NDArray[np.float32]:
    """A list column without nulls and of equal lengths (see `misfit`) as float32, shape (rows, dimension); a view where it can be."""
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):  # a double that is no float32 becomes infinite, and is refused as such
        return np.ascontiguousarray(numbers, dtype=np.float32).reshape(len(column), dimension)


def misfit(column: pa.Array, dimension: int) -> tuple[int, str] | None:
    """The first row whose list is no vector of this length that can be compared with others, with the reason."""
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(lengths != dimension)
    if len(wrong):
        row = int(wrong[0])
        return row, "is null" if lengths[row] < 0 else f"holds a vector of length {lengths[row]}, the collection's vectors have {dimension}"
    if column.flatten().null_count:
        row = next(i for i, vector in enumerate(column.to_pylist()) if None in vector)
        return row, "holds a vector with a null in it"
    return unusable(matrix(column, dimension))


def unusable(vectors: npt.NDArray[np.float32]) -> tuple[int, str] | None:
    """The first row whose vector cannot be compared with others, with the reason."""
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        return int(np.argmin(finite)), "gives a vector with NaN or an infinite number"
    zero = ~vectors.any(axis=1)
    if zero.any():
        return int(np.argmax(zero)), "gives a vector of zeros only"
    return None


def unusable_sparse(vectors: SparseVectors) -> tuple[int, str] | None:
    """The first row with a weight that is no number; a vector without weights is found by no question, and does no harm."""
    wrong = np.flatnonzero(~np.isfinite(vectors.values))
    if not len(wrong):
        return None
    return int(np.searchsorted(vectors.offsets, wrong[0], side="right")) - 1, "gives a sparse vector with NaN or an infinite number"


def normalized(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The vectors with length 1; a vector of zeros stays one."""
    wide = vectors.astype(np.float64)  # the square of a large or small float32 is no float32
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    made: npt.NDArray[np.float64] = np.divide(wide, lengths, where=lengths > 0, out=np.zeros_like(wide))
    return made.astype(np.float32)


LEAST_SQUARE, MOST_SQUARE = 1e-6, 1e37
"""Squared lengths between which Qdrant scales a vector by itself, with room to both sides."""


def comparable(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Vectors for a collection that compares by cosine: Qdrant scales them to length 1, but leaves those as they are whose squared length is below
    1.2e-7, so that their scores are next to nothing, and makes zeros of those whose squared length is no float32. These come scaled."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
    odd = ~((squares > LEAST_SQUARE) & (squares < MOST_SQUARE)) & np.isfinite(vectors).all(axis=1)
    if not odd.any():
        return vectors
    made: npt.NDArray[np.float32] = vectors.copy()
    made[odd] = normalized(vectors[odd])
    return made
