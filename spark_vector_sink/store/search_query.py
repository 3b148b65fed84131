"""What a search asks of a collection, and how two rankings become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spark_vector_sink.errors import CollectionError

SparseQuery = tuple[Sequence[int], Sequence[float]]
"""Indices, each once, and as many values"""

Filter = Mapping[str, Any]
"""Qdrant's own filter JSON, `{"must": [{"key": "city", "match": {"value": "Oslo"}}]}`, in a form that has been
checked"""

RRF_K = 2
"""The k of reciprocal rank fusion that Qdrant takes where none is given: a point's score is the sum of 1 / (k + its
rank), ranks from 0."""


def candidates(limit: int) -> int:
    """How many points of each ranking are fused: more than are asked for, since one that is fifth in both may be the
    best."""
    return max(limit, 100)


def check_question(
    name: str,
    vector: Sequence[float] | None,
    sparse: SparseQuery | None,
    has_dense: bool,
    has_sparse: bool,
    dimension: int | None = None,
) -> None:
    """CollectionError where the collection cannot be asked this. dimension: the length of its dense vectors, where it
    is known."""
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
