"""Questions by vector: every point is compared."""

from __future__ import annotations

import numpy as np
from qdrant_client import grpc as q

from tests.fake_qdrant.collection import Collection
from tests.fake_qdrant.filters import judge_of
from tests.fake_qdrant.requests import limit_of
from tests.fake_qdrant.values import (
    Matrix,
    Message,
    PointKey,
    id_of,
    invalid,
    key_of,
    not_found,
    unimplemented,
    vector_output,
)


def answer(collection: Collection, request: Message) -> Message:
    """The answer to a question by vector, or to the fusion of several."""
    hits = (
        _fused(collection, request)
        if request.query.WhichOneof("variant") == "fusion"
        else _nearest(collection, request)
    )
    reply = q.QueryResponse()
    for key, score in hits[request.offset : request.offset + limit_of(request)]:
        point = collection.points[key]
        hit = reply.result.add(id=id_of(key), score=score, version=point.version)
        point.fill(hit, request.with_payload, request.with_vectors)
    return reply


def _fused(collection: Collection, request: Message) -> list[tuple[PointKey, float]]:
    """Reciprocal rank fusion: 1 / (2 + rank), ranks from 0, summed over the prefetches that have the point."""
    if not request.prefetch:
        raise invalid("Wrong input: Validation failed: cannot apply Fusion without prefetches")
    scores: dict[PointKey, float] = {}
    for prefetch in request.prefetch:
        for rank, (key, _) in enumerate(_nearest(collection, prefetch)[: limit_of(prefetch)]):
            scores[key] = scores.get(key, 0.0) + 1 / (2 + rank)
    least = request.score_threshold if request.HasField("score_threshold") else 0.0
    return sorted(((key, score) for key, score in scores.items() if score >= least), key=lambda hit: -hit[1])


def _nearest(collection: Collection, request: Message) -> list[tuple[PointKey, float]]:
    """Every point compared with the query, best first: a QueryPoints, or a PrefetchQuery, which has the same fields."""
    name, wanted = request.using, request.query.nearest
    kind = wanted.WhichOneof("variant")
    if kind not in ("dense", "sparse", "id"):
        raise unimplemented(f"query by {kind}")
    own = key_of(wanted.id) if kind == "id" else None
    if own is not None and own not in collection.points:
        raise not_found(f"No point with id {own} found")
    if (
        own is not None
        and (name in collection.params or name in collection.sparse)
        and name not in collection.points[own].vectors
    ):
        raise not_found(f'Vector with name "{name}" for point not found')
    vector = (
        collection.points[own].vectors.get(name, q.VectorOutput())
        if own is not None
        else vector_output(q.Vector(**{kind: getattr(wanted, kind)}))
    )
    if words := collection.misfit(name, vector):
        raise invalid(words)
    collection.check_dimension(name, vector)
    fits = judge_of(request.filter)
    keys = [
        key for key, point in collection.points.items() if name in point.vectors and key != own and fits(key, point)
    ]
    if not keys:
        return []
    if name in collection.sparse:
        keys, scores = _sparse_scores({key: collection.points[key].vectors[name].sparse for key in keys}, vector.sparse)
        sign = -1
    else:
        matrix = np.array([collection.points[key].vectors[name].dense.data for key in keys], np.float32)
        scores, sign = _scores(collection.params[name].distance, matrix, np.array(vector.dense.data, np.float32))
    ranking = np.argsort(sign * scores, kind="stable")
    if request.HasField("score_threshold"):
        ranking = ranking[sign * scores[ranking] <= sign * request.score_threshold]
    return [(keys[n], float(scores[n])) for n in ranking]


def _sparse_scores(vectors: dict[PointKey, Message], query: Message) -> tuple[list[PointKey], Matrix]:
    """The dot product with each vector that has an index of the query; a product of 0 is no hit."""
    wanted = dict(zip(query.indices, query.values, strict=True))
    found: dict[PointKey, float] = {}
    for key, vector in vectors.items():
        products = [
            value * wanted[index] for index, value in zip(vector.indices, vector.values, strict=True) if index in wanted
        ]
        if sum(products):
            found[key] = sum(products)
    return list(found), np.array(list(found.values()), np.float32)


def _scores(distance: int, matrix: Matrix, query: Matrix) -> tuple[Matrix, int]:
    """The score of each row, and 1 where the least is best, -1 where the greatest is."""
    if distance == q.Distance.Euclid:
        return np.sqrt(np.square(matrix - query).sum(axis=1)), 1
    if distance == q.Distance.Manhattan:
        return np.abs(matrix - query).sum(axis=1), 1
    if distance == q.Distance.Cosine:
        lengths = np.sqrt(np.square(matrix).sum(axis=1) * np.square(query).sum())
        return (matrix @ query) / np.where(lengths > 0, lengths, np.float32(1)), -1
    return matrix @ query, -1
