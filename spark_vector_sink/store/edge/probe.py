"""Read some points of an index back, and check that a search finds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from spark_vector_sink.store.collection import Probe
from spark_vector_sink.store.edge.index import qdrant_edge
from spark_vector_sink.store.write_batch import is_tombstone, plain_id


def probe(shard: Any, most: int) -> Sequence[Probe]:
    """Read up to `most` points, with one search for each of them that has a vector."""
    edge = qdrant_edge()
    records, _ = shard.scroll(edge.ScrollRequest(limit=most, with_payload=True, with_vector=True))
    probes = []
    for record in records:
        vectors = (
            record.vector
            if isinstance(record.vector, dict)
            else {"": record.vector}
            if record.vector is not None
            else {}
        )
        lengths = {name: _length(_numbers(vector)) for name, vector in vectors.items()}
        asked = next(((name, vector) for name, vector in vectors.items() if lengths[name]), None)
        found = asked is None or bool(
            shard.query(edge.QueryRequest(limit=1, query=edge.Query.Nearest(asked[1], using=asked[0] or None)))
        )
        probes.append(
            Probe(
                plain_id(record.id),
                lengths,
                frozenset(record.payload or {}),
                found,
                is_tombstone(record.payload),
            )
        )
    return probes


def _numbers(vector: Any) -> Sequence[Any]:
    """Return the numbers of a dense vector, or the values of a sparse vector."""
    return list(vector.values if hasattr(vector, "values") else vector)


def _length(numbers: Sequence[Any]) -> int:
    return len(numbers) if all(math.isfinite(number) for number in numbers) else 0
