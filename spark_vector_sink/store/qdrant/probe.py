"""Read some points of a collection back, and check that a search finds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qdrant_client import QdrantClient, models

from spark_vector_sink.store.collection import Probe
from spark_vector_sink.store.write_batch import is_tombstone, plain_id


def probe(client: QdrantClient, collection: str, most: int) -> Sequence[Probe]:
    """Read up to `most` points, and search for each of them that has a vector, all searches in one request."""
    records, _ = client.scroll(collection, limit=most, with_payload=True, with_vectors=True)
    asked = [(record.id, request) for record in records if (request := _search(record.vector)) is not None]
    answers = client.query_batch_points(collection, [request for _, request in asked]) if asked else []
    silent = {point for (point, _), answer in zip(asked, answers, strict=True) if not answer.points}
    return [
        Probe(
            plain_id(record.id),
            {name: _length(vector) for name, vector in _named(record.vector).items()},
            frozenset(record.payload or {}),
            record.id not in silent,
            is_tombstone(record.payload),
        )
        for record in records
    ]


def _named(vectors: Any) -> dict[str, Any]:
    """Return the vectors by name; "" is the unnamed vector."""
    return vectors if isinstance(vectors, dict) else {"": vectors} if vectors is not None else {}


def _length(vector: Any) -> int:
    numbers = vector.values if isinstance(vector, models.SparseVector) else vector
    return len(numbers) if all(isinstance(number, float | int) and math.isfinite(number) for number in numbers) else 0


def _search(vectors: Any) -> models.QueryRequest | None:
    """Build a search by a vector of the point; None where no vector has finite numbers."""
    for name, vector in _named(vectors).items():
        if _length(vector):
            return models.QueryRequest(query=vector, using=name or None, limit=1)
    return None
