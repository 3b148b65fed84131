"""What is wrong with a request before anybody looks at the collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qdrant_client import grpc as q

from tests.fake_qdrant.values import Message, PointKey, invalid


def limit_of(request: Message) -> int:
    return int(request.limit) if request.HasField("limit") else 10


def check_body(wrong: Sequence[str]) -> None:
    if wrong:
        raise invalid(f"Validation error in body: [{'; '.join(wrong)}]")


def wrong_limit(request: Message) -> list[str]:
    return ["limit: value 0 invalid, must be 1 or larger"] if request.HasField("limit") and not request.limit else []


def wrong_in_query(where: str, request: Message) -> list[str]:
    sparse = request.query.nearest.sparse
    return [f"{where}{wrong}" for wrong in (*wrong_limit(request), *wrong_in_sparse("query.variant.variant", sparse))]


def check_vectors(points: Iterable[Message]) -> None:
    """Sparse vectors in the points of an Upsert or an UpdateVectors; operations of a batch are not looked at in this
    way."""
    wrong = []
    for n, point in enumerate(points):
        where, vectors = f"points[{n}].vectors.vectors_options", point.vectors
        named = [(f"{where}.vectors.[]", vector) for vector in vectors.vectors.vectors.values()] or [
            (where, vectors.vector)
        ]
        wrong += [words for place, vector in named for words in wrong_in_sparse(place, vector.sparse)]
    check_body(wrong)


def wrong_in_sparse(where: str, vector: Message) -> list[str]:
    wrong = (
        []
        if len(set(vector.indices)) == len(vector.indices)
        else [f"{where}.indices: Validation error: must be unique [{{}}]"]
    )
    if len(vector.indices) != len(vector.values):
        wrong.append(f"{where}.values: Validation error: must be the same length as indices [{{}}]")
    return wrong


def wrong_vector_name(request: Message) -> None:
    """What a CreateVectorName cannot ask for."""
    if request.WhichOneof("vector_config") is None:
        raise invalid("vector_config is required (dense_config or sparse_config)")
    if not request.HasField("dense_config"):
        return
    if not 1 <= request.dense_config.size <= 65536:
        check_body([f"vector_config.size: value {request.dense_config.size} invalid, must be from 1 to 65536"])
    if request.dense_config.distance == q.Distance.UnknownDistance:
        raise invalid("Malformed distance parameter: UnknownDistance")


def operations_of(request: Message) -> list[str]:
    """The kinds of a batch's operations, in their order; of other requests none."""
    return [str(operation.WhichOneof("operation")) for operation in getattr(request, "operations", ())]


def named_in(request: Message) -> list[PointKey]:
    """The ids that a request of the Points service, or an operation of a batch, names, as they were sent, also those
    that a selector's filter must have."""
    found: list[Message] = []
    for operation in getattr(request, "operations", ()):
        kind = operation.WhichOneof("operation")
        found += _ids(getattr(operation, kind)) if kind else []
    return [point_id.uuid or point_id.num for point_id in (*found, *_ids(request))]


def _ids(request: Message) -> list[Message]:
    if isinstance(request, q.PointsSelector):
        return [
            *request.points.ids,
            *(point_id for condition in request.filter.must for point_id in condition.has_id.has_id),
        ]
    for name in ("points", "points_selector"):
        points = getattr(request, name, ())
        if isinstance(points, q.PointsSelector):
            return _ids(points)
        if points:
            return [point.id for point in points]
    return list(getattr(request, "ids", ()))
