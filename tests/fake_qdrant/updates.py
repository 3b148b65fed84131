"""What changes points: each kind of update, as a call of its own or as an operation of a batch (their messages have the
same fields).

Each function reads the request, finds the collection, and applies the change; returns the UpdateResult. The order
decides which error comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from qdrant_client import grpc as q

from tests.fake_qdrant.collection import Collection
from tests.fake_qdrant.filters import chosen, judge_of
from tests.fake_qdrant.payload import merge, steps
from tests.fake_qdrant.points import Point
from tests.fake_qdrant.requests import wrong_in_sparse
from tests.fake_qdrant.values import (
    Message,
    PointKey,
    UnheardError,
    check_payload,
    invalid,
    key_of,
    not_found,
    vectors_by_name,
)

Find: TypeAlias = Callable[[], Collection]


def upsert(request: Message, find: Find, wait: bool) -> Message:
    """All of the points or none, but for those that the condition leaves alone."""
    if not all(point.HasField("id") for point in request.points):
        raise invalid("Empty ID is not allowed")
    points = {key_of(point.id): Point.of(point) for point in request.points}
    for n, point in enumerate(request.points):
        for vector in vectors_by_name(point.vectors).values():
            place = f"points[{n}].vector" + ".?" * point.vectors.HasField("vectors")
            for wrong in wrong_in_sparse(place, vector.sparse):
                raise invalid(f"Wrong input: {wrong}")
            if vector.HasField("dense") and not vector.dense.data:
                raise invalid(f"Wrong input: {place}.vector: dense vector must not be empty")
    matches = judge_of(request.update_filter)
    collection = find()
    collection.check_batch_size(len(request.points))
    collection.check_dimensions(point.vectors for point in points.values())
    if not points:
        raise invalid("Bad request: Empty update request")

    def wanted(key: PointKey) -> bool:
        there = collection.points.get(key)
        if there is None:
            return bool(request.update_mode != q.UpdateMode.UpdateOnly)
        return request.update_mode != q.UpdateMode.InsertOnly and matches(key, there)

    def write(number: int) -> None:
        written = {key: point for key, point in points.items() if wanted(key)}
        collection.check_fit(point.vectors for point in written.values())
        for key, point in written.items():
            point.vectors = collection.kept(point.vectors)
            point = collection.points[key].replaced_by(point) if key in collection.points else point
            point.version = number
            collection.points[key] = point

    return collection.apply(wait, write)


def delete(request: Message, find: Find, wait: bool) -> Message:
    """Ids that are not there are no error."""
    keys = _selection(request.points, "PointSelector is missing")
    collection = find()
    _not_nothing(request.points)

    def remove(number: int) -> None:
        for key in keys(collection):
            collection.points.pop(key, None)

    return collection.apply(wait, remove)


def set_payload(request: Message, find: Find, wait: bool) -> Message:
    """The given keys, at the top or in the object `key`; a null takes its key out."""
    check_payload(request.payload)
    way = steps(request.key) if request.HasField("key") else []
    return _on_payload(request, find, wait, lambda payload: merge(payload, way, request.payload))


def overwrite_payload(request: Message, find: Find, wait: bool) -> Message:
    """Nothing else is left of the payload; a real server takes no notice of `key` here."""
    check_payload(request.payload)

    def overwrite(payload: Message) -> None:
        for name in list(payload):
            del payload[name]
        for name, value in request.payload.items():
            payload[name].CopyFrom(value)

    return _on_payload(request, find, wait, overwrite)


def update_vectors(request: Message, find: Find, wait: bool) -> Message:
    """The named vectors of points that are there; the filter is for these: a point that is not there is an error all
    the same."""
    for given in request.points:
        if not given.HasField("id"):
            raise invalid("id is expected")
        if not given.HasField("vectors"):
            raise invalid("vectors is expected")
    vectors: dict[PointKey, dict[str, Message]] = {}
    for given in request.points:
        vectors.setdefault(key_of(given.id), {}).update(vectors_by_name(given.vectors))
    matches = judge_of(request.update_filter)
    collection = find()
    collection.check_dimensions(vectors.values(), with_name=False)
    if not vectors:
        raise invalid("Bad request: Empty update request")

    def change(number: int) -> None:
        collection.check_fit(vectors.values())
        for key, point in _those_there(collection, vectors):
            if matches(key, point):
                _touched(point, number).vectors.update(collection.kept(vectors[key]))

    return collection.apply(wait, change)


def delete_vectors(request: Message, find: Find, wait: bool) -> Message:
    """A vector that a point does not have is no error, a name that the collection does not have is one."""
    keys = _selection(
        request.points_selector if request.HasField("points_selector") else None, "points_selector is expected"
    )
    if not request.HasField("vectors"):
        raise invalid("vectors is expected")
    collection = find()
    _not_nothing(request.points_selector)

    def remove(number: int) -> None:
        for name in request.vectors.names:
            collection.check_name(name)
        for _, point in _those_there(collection, keys(collection)):
            for name in request.vectors.names:
                _touched(point, number).vectors.pop(name, None)

    return collection.apply(wait, remove)


UPDATES = {
    "upsert": upsert,
    "delete_points": delete,
    "set_payload": set_payload,
    "overwrite_payload": overwrite_payload,
    "update_vectors": update_vectors,
    "delete_vectors": delete_vectors,
}
"""By the names that a batch has for them."""


def _on_payload(request: Message, find: Find, wait: bool, change: Callable[[Message], None]) -> Message:
    keys = _selection(
        request.points_selector if request.HasField("points_selector") else None, "points_selector is expected"
    )
    collection = find()
    _not_nothing(request.points_selector)

    def apply(number: int) -> None:
        for _, point in _those_there(collection, keys(collection)):
            change(_touched(point, number).payload.payload)

    return collection.apply(wait, apply)


def _selection(selector: Message | None, words_without: str) -> Callable[[Collection], list[PointKey]]:
    """The points that a PointsSelector means: ids as they are, whether they are there or not."""
    kind = selector.WhichOneof("points_selector_one_of") if selector is not None else None
    if selector is None or kind is None:
        raise invalid(
            words_without if selector is None or words_without.startswith("PointS") else "Malformed PointsSelector type"
        )
    if kind == "filter":
        judge_of(selector.filter)
        return lambda collection: chosen(selector.filter, collection.points)
    keys = [key_of(point_id) for point_id in selector.points.ids]
    return lambda collection: keys


def _not_nothing(selector: Message) -> None:
    if selector.HasField("points") and not selector.points.ids:
        raise invalid("Bad request: Empty update request")


def _those_there(collection: Collection, keys: Iterable[PointKey]) -> Iterable[tuple[PointKey, Point]]:
    """The points that are there; then an error, if one is not: the others are changed all the same."""
    missing = []
    for key in keys:
        if key in collection.points:
            yield key, collection.points[key]
        else:
            missing.append(key)
    if missing:
        refusal = not_found(f"No point with id {missing[0]} found")
        raise UnheardError(refusal.code, refusal.words)


def _touched(point: Point, number: int) -> Point:
    """Every change moves a point to where the optimiser has not been."""
    point.version, point.optimised = number, False
    return point
