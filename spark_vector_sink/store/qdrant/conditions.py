"""Build the filters that select the points of an operation: messages `Filter` by id and by fields of `_sink`, evaluated
on the server, at the moment of writing.

A version is compared as a double, which is exact up to `LARGEST_VERSION`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from qdrant_client import grpc as messages

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.payload_types import RESERVED
from spark_vector_sink.store.write_batch import LARGEST_VERSION, PointId

VERSION, DELETED, SOURCE, RUN, CHUNK, FINGERPRINT = (
    f"{RESERVED}.{name}" for name in ("version", "deleted", "source", "run", "chunk", "fingerprint")
)


def point_id(identifier: PointId) -> messages.PointId:
    return messages.PointId(num=identifier) if isinstance(identifier, int) else messages.PointId(uuid=identifier)


def has_id(ids: Iterable[PointId]) -> messages.Condition:
    return messages.Condition(has_id=messages.HasIdCondition(has_id=[point_id(identifier) for identifier in ids]))


def is_empty(key: str) -> messages.Condition:
    return messages.Condition(is_empty=messages.IsEmptyCondition(key=key))


def matches(key: str, value: str | int) -> messages.Condition:
    match = messages.Match(keyword=value) if isinstance(value, str) else messages.Match(integer=value)
    return messages.Condition(field=messages.FieldCondition(key=key, match=match))


def in_range(key: str, comparison: Literal["lt", "lte"], value: float) -> messages.Condition:
    return messages.Condition(field=messages.FieldCondition(key=key, range=messages.Range(**{comparison: value})))


def ids_of(which: messages.Filter) -> Sequence[messages.PointId]:
    """Return the point ids in a filter of this module."""
    return which.must[0].has_id.has_id  # type: ignore[no-any-return]


def by_version(ids: Sequence[PointId], versions: Sequence[int], comparison: Literal["lt", "lte"]) -> messages.Filter:
    """Build a filter for those of the points that have no version, or a version that compares in this way with the
    given version."""
    groups = (
        (has_id(same), in_range(VERSION, comparison, _exact(version)))
        for version, same in _groups(ids, versions).items()
    )
    return messages.Filter(must=[has_id(ids)], should=[is_empty(VERSION), *map(_all, groups)])


def with_version(ids: Sequence[PointId], versions: Sequence[int]) -> messages.Filter:
    """Build a filter for those of the points whose version is the given version."""
    groups = ((has_id(same), matches(VERSION, version)) for version, same in _groups(ids, versions).items())
    return messages.Filter(must=[has_id(ids)], should=[*map(_all, groups)])


def tombstones(ids: Sequence[PointId]) -> messages.Filter:
    """Build a filter for those of the points that are tombstones."""
    return messages.Filter(must=[has_id(ids)], must_not=[is_empty(DELETED)])


def _all(conditions: tuple[messages.Condition, ...]) -> messages.Condition:
    return messages.Condition(filter=messages.Filter(must=conditions))


def _groups(ids: Sequence[PointId], versions: Sequence[int]) -> dict[int, list[PointId]]:
    """Group the points by version: rows of a feed often share one version."""
    groups: dict[int, list[PointId]] = {}
    for identifier, version in zip(ids, versions, strict=True):
        groups.setdefault(version, []).append(identifier)
    return groups


def _exact(version: int) -> float:
    if abs(version) > LARGEST_VERSION:
        raise PermanentStoreError(
            f"the version {version} is beyond ±{LARGEST_VERSION}, where the server compares exactly; give smaller "
            "ones, of times the microseconds"
        )
    return float(version)
