"""Build the requests of a task to a collection, as messages for any part of its points.

A request of several operations is applied in their order, but not as a whole: another writer may come in between, and
the server may stop there. So the first operation settles, point by point, which writer has won; later operations select
the points that it has settled; and all of them can be sent again.

Where a server was stopped while it optimised (every new vector or setting of a collection stops it), other segments
hold older copies of points. An update of points by id removes the copies. An update by a filter (Qdrant 1.18) finds a
point once for each copy, and moves it as often out of a segment that is being optimised: the second time nothing is
left to move, and the point has lost all its vectors and fields. A removal by a filter removes a point of which an older
copy matches. So points are given by id, and where a condition needs a filter, an operation that gives the same ids and
changes nothing stands before it (`_gathered`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, TypeAlias

import numpy as np
from qdrant_client import grpc as messages

from spark_vector_sink.payload_types import RESERVED
from spark_vector_sink.store.collection import FINGERPRINT
from spark_vector_sink.store.qdrant import conditions
from spark_vector_sink.store.qdrant.messages import fill, ordered, set_value, sharded, upsert
from spark_vector_sink.store.write_batch import How, PointBatch, PointId, Removal, ShardKey, Stored

Change: TypeAlias = messages.PointsUpdateOperation

_NOTHING = messages.Value(null_value=messages.NULL_VALUE)
"""Value that removes a field where it is set; without `deleted` a point is no longer a tombstone."""

OPERATIONS_AT_ONCE = 64
"""Maximum number of points of a request that has an operation for each point: the server takes 0.3 to 2 ms for one
operation, and far more while it optimises, however many come together."""


@dataclass(frozen=True)
class Operation:
    """One kind of change to n points.

    method: of the server, see `channels.REPLIES`. ids: length n. make: returns the serialised request for the points
    start … stop-1. nbytes: approximate size of all points. versions: of each point, where they are compared with the
    stored versions; `has_lost` returns whether the change to a stored point was not applied because of its version.
    most_points: maximum for one request, beside the limits of the server. shard_keys: of each point, all the same; None
    where they have none. among: `make` only for the points that exist, where the server refuses any other; None where
    the request creates the points that do not exist.
    """

    method: str
    ids: Sequence[PointId]
    make: Callable[[int, int], bytes]
    nbytes: int
    versions: Sequence[int] | None = None
    has_lost: Callable[[Stored, int], bool] = Stored.is_newer
    most_points: int | None = None
    shard_keys: Sequence[ShardKey] | None = None
    among: Callable[[int, int, Set[PointId]], bytes] | None = None


def writing(collection: str, points: PointBatch, ordering: str, vector_names: Callable[[], Sequence[str]]) -> Operation:
    """Build the operation that writes points as `points.how` says. vector_names: called for the names of all vectors of
    the collection, where needed."""
    versions = None if points.versions is None else points.versions.tolist()
    if points.how is How.REPLACE:

        def replaced(start: int, stop: int) -> bytes:
            part = points.slice(start, stop)
            return upsert(collection, part, ordering, _older(part, "lte"))

        return Operation("Points/Upsert", points.ids, replaced, points.nbytes, versions, shard_keys=points.shard_keys)
    changes = {How.MERGE: _merged, How.PAYLOAD: _overwritten, How.PATCH: _patched}
    names = vector_names() if points.how is How.TOMBSTONE else ()

    def changed(start: int, stop: int, there: Set[PointId] | None = None) -> bytes:
        part = points.slice(start, stop)
        if there is not None:
            part = part.take(
                np.array([place for place, identifier in enumerate(part.ids) if identifier in there], np.int64)
            )
        return _batch(
            collection,
            changes[part.how](part) if part.how in changes else _buried(part, names),
            part.shard_keys,
            ordering,
        )

    if points.how is How.TOMBSTONE:
        return Operation(
            "Points/UpdateBatch",
            points.ids,
            changed,
            points.nbytes,
            versions,
            Stored.outlives,
            shard_keys=points.shard_keys,
        )
    among = None if points.how is How.MERGE else changed
    return Operation(
        "Points/UpdateBatch",
        points.ids,
        changed,
        points.nbytes,
        versions,
        Stored.is_newer,
        OPERATIONS_AT_ONCE,
        points.shard_keys,
        among,
    )


def removing(collection: str, removal: Removal, ordering: str) -> Operation:
    """Build the operation that removes points: by ids without versions, because a filter waits for all before it."""
    versions = None if removal.before is None else removal.before.tolist()

    def named(start: int, stop: int) -> bytes:
        which = _named(removal.ids[start:stop])
        request = sharded(
            messages.DeletePoints(collection_name=collection, wait=True, points=which), removal.shard_keys
        )
        return bytes(ordered(request, ordering).SerializeToString())

    if versions is None:
        return Operation("Points/Delete", removal.ids, named, 16 * len(removal), shard_keys=removal.shard_keys)

    def older(start: int, stop: int, there: Set[PointId] | None = None) -> bytes:
        those = zip(removal.ids[start:stop], versions[start:stop], strict=True)
        ids, before = zip(*(one for one in those if there is None or one[0] in there), strict=True)
        which = messages.PointsSelector(filter=conditions.by_version(ids, before, "lt"))
        return _batch(
            collection, [Change(delete_points=Change.DeletePoints(points=which))], removal.shard_keys, ordering
        )

    def has_lost(there: Stored, before: int) -> bool:
        return there.version is not None and there.version >= before

    return Operation(
        "Points/UpdateBatch",
        removal.ids,
        older,
        16 * len(removal),
        versions,
        has_lost,
        shard_keys=removal.shard_keys,
        among=older,
    )


def touching(
    collection: str,
    ids: Sequence[PointId],
    fields: Mapping[str, str | int],
    ordering: str,
    shard_keys: Sequence[ShardKey] | None = None,
) -> Operation:
    """Build the operation that sets these fields of `_sink`."""

    def make(start: int, stop: int, there: Set[PointId] | None = None) -> bytes:
        named = [identifier for identifier in ids[start:stop] if there is None or identifier in there]
        request = messages.SetPayloadPoints(
            collection_name=collection, wait=True, key=RESERVED, points_selector=_named(named)
        )
        for name, value in fields.items():
            set_value(request.payload[name], value)
        return bytes(ordered(sharded(request, shard_keys), ordering).SerializeToString())

    return Operation("Points/SetPayload", ids, make, 16 * len(ids), shard_keys=shard_keys, among=make)


def _older(points: PointBatch, comparison: Literal["lt", "lte"]) -> messages.Filter | None:
    """Build the filter for the existing points that may be replaced; None: all."""
    return None if points.versions is None else conditions.by_version(points.ids, points.versions.tolist(), comparison)


def _structs(points: PointBatch) -> Sequence[messages.PointStruct]:
    return list(messages.UpsertPoints.FromString(upsert("", points, "weak")).points)


def _named(ids: Sequence[PointId]) -> messages.PointsSelector:
    """Select these points by id. A server that lacks one reports an error, and may have updated others."""
    return messages.PointsSelector(points=messages.PointsIdsList(ids=map(conditions.point_id, ids)))


def _these(
    ids: Sequence[PointId], versions: Sequence[int] | None = None, *, settled: bool = False
) -> messages.PointsSelector:
    """Select these points; with versions, those whose version is not greater; settled: those whose version is equal."""
    if versions is None:
        return _named(ids)
    return messages.PointsSelector(
        filter=conditions.with_version(ids, versions) if settled else conditions.by_version(ids, versions, "lte")
    )


def _batch(collection: str, changes: Iterable[Change], shard_keys: Sequence[ShardKey] | None, ordering: str) -> bytes:
    """Serialise one request for these operations, and for the operations that must stand before some of them."""
    made = [*chain.from_iterable(map(_gathered, changes))]
    for change in made:
        sharded(_inner(change), shard_keys)
    request = messages.UpdateBatchPoints(collection_name=collection, wait=True, operations=made)
    return bytes(ordered(request, ordering).SerializeToString())


def _gathered(change: Change) -> Iterator[Change]:
    """Yield the operation; where it selects among its points by a filter, yield before it an operation that leaves a
    single copy of each point. It is repeated before each operation: with a single one before eight overwrites, a server
    that was stopped in between emptied points. An upsert removes the copies by itself."""
    if ids := _filtered(change):
        yield Change(
            set_payload=Change.SetPayload(
                points_selector=messages.PointsSelector(points=messages.PointsIdsList(ids=ids))
            )
        )
    yield change


def _filtered(change: Change) -> Sequence[messages.PointId]:
    """Return the points among which a filter of the operation selects; empty for an upsert, or without a filter."""
    operation = _inner(change)
    if isinstance(operation, Change.PointStructList):
        return []
    if isinstance(operation, Change.UpdateVectors):
        which = operation.update_filter
    else:
        which = (operation.points if isinstance(operation, Change.DeletePoints) else operation.points_selector).filter
    return conditions.ids_of(which) if which.must else []


def _inner(change: Change) -> Any:
    return getattr(change, str(change.WhichOneof("operation")))


def _buried(points: PointBatch, vector_names: Sequence[str]) -> Iterator[Change]:
    """Yield the upsert of a tombstone without vectors, and then the removal of vectors, because an upsert leaves the
    vectors that it does not name in a segment that the server has optimised."""
    yield Change(upsert=Change.PointStructList(points=_structs(points), update_filter=_older(points, "lt")))
    which = messages.PointsSelector(filter=conditions.tombstones(points.ids))
    yield Change(
        delete_vectors=Change.DeleteVectors(points_selector=which, vectors=messages.VectorsSelector(names=vector_names))
    )


def _overwritten(points: PointBatch) -> Iterator[Change]:
    """Yield one operation for each point, because the server overwrites all points of an operation with one payload."""
    versions = [None] * len(points) if points.versions is None else [[version] for version in points.versions.tolist()]
    made = [
        Change(overwrite_payload=Change.OverwritePayload(points_selector=_these([identifier], version)))
        for identifier, version in zip(points.ids, versions, strict=True)
    ]
    for identifier, change, fingerprint in zip(points.ids, made, points.seen or (), strict=False):
        if fingerprint is not None:
            which = change.overwrite_payload.points_selector.filter
            which.must.extend(
                [
                    *([] if which.must else [conditions.has_id([identifier])]),
                    conditions.matches(conditions.FINGERPRINT, fingerprint),
                ]
            )
    fill([change.overwrite_payload.payload for change in made], points.payload)
    yield from made


def _patched(points: PointBatch) -> Iterator[Change]:
    """Yield the operations of a patch: set the fields of `_sink` with the version, then the user's keys, then the
    fingerprints; points with the same values share an operation."""
    ours, users = _parted(points)
    yield from _set_fields(points, map(_in_doubt, ours))
    yield from _set_keys(points, users)
    yield from _seal(points, ours)


def _merged(points: PointBatch) -> Iterator[Change]:
    """Yield the operations of a merge: insert new points as a whole; on existing points set the fields of `_sink` with
    the version, then the vectors, the user's keys, and the fingerprints."""
    structs = _structs(points)
    ours, users = _parted(points)
    yield Change(upsert=Change.PointStructList(points=structs, update_mode=messages.InsertOnly))
    yield from _set_fields(points, [{**_in_doubt(row), "deleted": _NOTHING} for row in ours])
    if points.vectors:
        moved = [messages.PointVectors(id=struct.id, vectors=struct.vectors) for struct in structs]
        # Leave out points with a greater version, not all points with another version: any older copy of a point has
        # another version.
        yield Change(update_vectors=Change.UpdateVectors(points=moved, update_filter=_older(points, "lte")))
    yield from _set_keys(points, users)
    yield from _seal(points, ours)


def _set_fields(points: PointBatch, fields: Iterable[dict[str, messages.Value]]) -> Iterator[Change]:
    """Set fields of `_sink`; this settles which points this request may write."""
    for values, ids, versions in _alike(points, fields):
        if values:
            yield Change(
                set_payload=Change.SetPayload(payload=values, points_selector=_these(ids, versions), key=RESERVED)
            )


def _in_doubt(fields: dict[str, messages.Value]) -> dict[str, messages.Value]:
    """Remove the fingerprint until all is written: the next job would trust one that a stopped server has left."""
    return {name: _NOTHING if name.startswith(FINGERPRINT) else value for name, value in fields.items()}


def _seal(points: PointBatch, ours: Iterable[dict[str, messages.Value]]) -> Iterator[Change]:
    """Set the fingerprints, in the last operation."""
    fields = [{name: value for name, value in row.items() if name.startswith(FINGERPRINT)} for row in ours]
    for values, ids, versions in _alike(points, fields):
        if values:
            yield Change(
                set_payload=Change.SetPayload(
                    payload=values, points_selector=_these(ids, versions, settled=True), key=RESERVED
                )
            )


def _set_keys(points: PointBatch, keys: Iterable[dict[str, messages.Value]]) -> Iterator[Change]:
    for values, ids, versions in _alike(points, keys):
        if values:
            yield Change(
                set_payload=Change.SetPayload(payload=values, points_selector=_these(ids, versions, settled=True))
            )


def _parted(points: PointBatch) -> tuple[list[dict[str, messages.Value]], list[dict[str, messages.Value]]]:
    """Return for each point the fields of `_sink`, always with the version where there is one, and the user's keys."""
    holders = [messages.PointStruct() for _ in points.ids]
    fill([holder.payload for holder in holders], points.payload)
    users = [dict(holder.payload) for holder in holders]
    ours = [dict(row.pop(RESERVED).struct_value.fields) if RESERVED in row else {} for row in users]
    if points.versions is not None:
        for row, version in zip(ours, points.versions.tolist(), strict=True):
            row["version"] = messages.Value(integer_value=version)
    return ours, users


def _alike(
    points: PointBatch, rows: Iterable[dict[str, messages.Value]]
) -> Iterator[tuple[dict[str, messages.Value], list[PointId], list[int] | None]]:
    """Yield the points in groups of the same values: the values, the ids and the versions."""
    versions: Sequence[int | None] = [None] * len(points) if points.versions is None else points.versions.tolist()
    groups: dict[Any, tuple[dict[str, messages.Value], list[PointId], list[Any]]] = {}
    for identifier, version, row in zip(points.ids, versions, rows, strict=True):
        same = tuple((name, row[name].SerializeToString(deterministic=True)) for name in sorted(row))
        _, ids, theirs = groups.setdefault(same, (row, [], []))
        ids.append(identifier)
        theirs.append(version)
    for row, ids, theirs in groups.values():
        yield row, ids, None if points.versions is None else theirs
