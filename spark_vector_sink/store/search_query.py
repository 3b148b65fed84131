"""Define the values of a search and of the fusion of two rankings, and check that a collection can answer a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spark_vector_sink.errors import CollectionError

SparseQuery = tuple[Sequence[int], Sequence[float]]
"""Indices, each at most once, and the same number of values."""

Filter = Mapping[str, Any]
"""Checked filter in Qdrant's own JSON, e.g. `{"must": [{"key": "city", "match": {"value": "Oslo"}}]}`."""

RRF_K = 2
"""The k of reciprocal rank fusion that Qdrant uses where none is given: a point's score is the sum of 1 / (k + its
rank), ranks from 0."""


def candidates(limit: int) -> int:
    """Return the number of points of each ranking that are fused: more than `limit`, since a point that is fifth in
    both rankings may be the best."""
    return max(limit, 100)


def check_question(
    name: str,
    vector: Sequence[float] | None,
    sparse: SparseQuery | None,
    has_dense: bool,
    has_sparse: bool,
    dimension: int | None = None,
) -> None:
    """Check that the collection can answer this search; raise CollectionError if not. dimension: the length of its
    dense vectors, where known."""
    asks_dense = vector is not None and len(vector) > 0
    if not asks_dense and sparse is None:
        raise CollectionError(f"there is nothing to search {name} for; give a dense vector, a sparse one, or both")
    if asks_dense and not has_dense:
        raise CollectionError(f"{name} has no dense vectors; give a sparse one to search for")
    if vector is not None and asks_dense and dimension not in (None, len(vector)):
        raise CollectionError(
            f"{name} holds vectors of {dimension} dimensions, but the one to search for has {len(vector)}; ask with "
            "one of the model that made them"
        )
    if sparse is None:
        return
    if not has_sparse:
        raise CollectionError(f"{name} has no sparse vectors that this sink remembers; give a dense one to search for")
    indices, values = sparse
    if not len(set(indices)) == len(indices) == len(values):
        raise CollectionError(f"the sparse vector to search {name} for must have each index once, and as many values")
