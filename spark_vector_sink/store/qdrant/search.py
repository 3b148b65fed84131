"""A search of a Qdrant server: by dense vectors, by sparse ones, or by both in one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_client import models

from spark_vector_sink.store.question import SparseQuery, candidates, check_question


def query(name: str, remembered: Mapping[str, Any], vector: Sequence[float] | None, limit: int, sparse: SparseQuery | None) -> dict[str, Any]:
    """The arguments of `query_points`. remembered: the collection's metadata, which names its vectors."""
    sparse_name = remembered.get("sparse_vector_name")
    check_question(f"'{name}'", vector, sparse, bool(remembered.get("dense", True)), bool(sparse_name))
    asked = []
    if vector is not None and len(vector):
        asked.append({"query": list(vector), "using": remembered.get("vector_name") or None})
    if sparse is not None:
        asked.append({"query": models.SparseVector(indices=list(sparse[0]), values=list(sparse[1])), "using": sparse_name})
    if len(asked) == 1:
        return {**asked[0], "limit": limit}
    both = [models.Prefetch(**one, limit=candidates(limit)) for one in asked]
    return {"prefetch": both, "query": models.FusionQuery(fusion=models.Fusion.RRF), "limit": limit}
