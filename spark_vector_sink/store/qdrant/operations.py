"""What a task asks of a collection, as messages for any part of its points.

A request of several operations is applied in their order, but not as a whole: another writer may come in between, and
the server may stop there. So the first operation settles, point by point, who has won, later ones ask for what it has
left, and all of them can be sent again.

Where a server was stopped while it optimised (every new vector or setting of a collection does that), other segments
hold older copies of points. An update of points that are named removes those. One by a filter (Qdrant 1.18) finds a
point once for each copy, and moves it as often out of a segment that is being optimised: the second time nothing is
left to move, and the point has lost all its vectors and fields. A removal by a filter takes a point of which an older
copy fits. So points are named, and where a condition needs a filter, an operation that names them and changes nothing
stands before it (`_gathered`).
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
"""Takes a field out, where it is set; so a tombstone is one no more."""

OPERATIONS_AT_ONCE = 64
"""Most points of a request that has an operation for each: the server takes 0.3 to 2 ms for one, and far more while it
optimises, however many come together."""


@dataclass(frozen=True)
class Operation:
    """One kind of change to n points.

    method: of the server, see `channels.REPLIES`. ids: length n. make: the serialised request for the points start …
    stop-1. nbytes: about, of all. versions: of each point, where what is there is compared with them; `has_lost` says
    of a point that is there whether ours has lost against it. most_points: of one request, beside the limits of the
    server. shard_keys: of each point, all the same; None where they have none. among: `make` for those points only that
    are there, where the server refuses any other; None where the request brings those that are not.
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
    """As `points.how` says. vector_names: asked for all vectors of the collection, where that is needed."""
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
    """By ids where there is nothing to compare: a filter makes the server apply everything before it first."""
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
    """Set these fields of `_sink`."""

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
    """Which of the points that are there may be replaced; None: all."""
    return None if points.versions is None else conditions.by_version(points.ids, points.versions.tolist(), comparison)


def _structs(points: PointBatch) -> Sequence[messages.PointStruct]:
    return list(messages.UpsertPoints.FromString(upsert("", points, "weak")).points)


def _named(ids: Sequence[PointId]) -> messages.PointsSelector:
    """These points. A server that lacks one of them says so, and may have applied the update to others."""
    return messages.PointsSelector(points=messages.PointsIdsList(ids=map(conditions.point_id, ids)))


def _these(
    ids: Sequence[PointId], versions: Sequence[int] | None = None, *, settled: bool = False
) -> messages.PointsSelector:
    """These points; with versions, those with none that is greater; settled: those with just these."""
    if versions is None:
        return _named(ids)
    return messages.PointsSelector(
        filter=conditions.with_version(ids, versions) if settled else conditions.by_version(ids, versions, "lte")
    )


def _batch(collection: str, changes: Iterable[Change], shard_keys: Sequence[ShardKey] | None, ordering: str) -> bytes:
    """One request for these operations, and for what has to stand before some of them."""
    made = [*chain.from_iterable(map(_gathered, changes))]
    for change in made:
        sharded(_inner(change), shard_keys)
    request = messages.UpdateBatchPoints(collection_name=collection, wait=True, operations=made)
    return bytes(ordered(request, ordering).SerializeToString())


def _gathered(change: Change) -> Iterator[Change]:
    """The operation; where a filter chooses among its points, right after one that leaves a single copy of each: with a
    single one before eight overwrites a server that was stopped in between emptied points. An upsert does that by
    itself."""
    if ids := _filtered(change):
        yield Change(
            set_payload=Change.SetPayload(
                points_selector=messages.PointsSelector(points=messages.PointsIdsList(ids=ids))
            )
        )
    yield change


def _filtered(change: Change) -> Sequence[messages.PointId]:
    """The points among which a filter of the operation chooses; none where it names them, and for an upsert."""
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
    """A point without vectors, and then what an upsert leaves in a segment that the server has optimised: the vectors
    that it does not name."""
    yield Change(upsert=Change.PointStructList(points=_structs(points), update_filter=_older(points, "lt")))
    which = messages.PointsSelector(filter=conditions.tombstones(points.ids))
    yield Change(
        delete_vectors=Change.DeleteVectors(points_selector=which, vectors=messages.VectorsSelector(names=vector_names))
    )


def _overwritten(points: PointBatch) -> Iterator[Change]:
    """One operation for each point, and nothing else would do: the server overwrites with one payload."""
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
    """Our fields, with the version, then the user's keys, then what they are known by; points with the same values in
    one operation."""
    ours, users = _parted(points)
    yield from _set_fields(points, map(_in_doubt, ours))
    yield from _set_keys(points, users)
    yield from _seal(points, ours)


def _merged(points: PointBatch) -> Iterator[Change]:
    """New ids come in whole; of those that are there our fields are set, with the version, then the vectors, the user's
    keys, and what they are known by."""
    structs = _structs(points)
    ours, users = _parted(points)
    yield Change(upsert=Change.PointStructList(points=structs, update_mode=messages.InsertOnly))
    yield from _set_fields(points, [{**_in_doubt(row), "deleted": _NOTHING} for row in ours])
    if points.vectors:
        moved = [messages.PointVectors(id=struct.id, vectors=struct.vectors) for struct in structs]
        # Those with a greater version are left out, and not: those with another one, which any older copy of a point
        # has.
        yield Change(update_vectors=Change.UpdateVectors(points=moved, update_filter=_older(points, "lte")))
    yield from _set_keys(points, users)
    yield from _seal(points, ours)


def _set_fields(points: PointBatch, fields: Iterable[dict[str, messages.Value]]) -> Iterator[Change]:
    """Set fields of `_sink`; this settles which points are ours to write."""
    for values, ids, versions in _alike(points, fields):
        if values:
            yield Change(
                set_payload=Change.SetPayload(payload=values, points_selector=_these(ids, versions), key=RESERVED)
            )


def _in_doubt(fields: dict[str, messages.Value]) -> dict[str, messages.Value]:
    """Without a fingerprint until everything is written: one that the server had before it stopped would be believed by
    the next job."""
    return {name: _NOTHING if name.startswith(FINGERPRINT) else value for name, value in fields.items()}


def _seal(points: PointBatch, ours: Iterable[dict[str, messages.Value]]) -> Iterator[Change]:
    """Set the fingerprints; the last operation."""
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
    """Of each point the fields of `_sink`, always with the version where there is one, and the user's keys."""
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
    """The points in groups of the same values: the values, the ids and the versions."""
    versions: Sequence[int | None] = [None] * len(points) if points.versions is None else points.versions.tolist()
    groups: dict[Any, tuple[dict[str, messages.Value], list[PointId], list[Any]]] = {}
    for identifier, version, row in zip(points.ids, versions, rows, strict=True):
        same = tuple((name, row[name].SerializeToString(deterministic=True)) for name in sorted(row))
        _, ids, theirs = groups.setdefault(same, (row, [], []))
        ids.append(identifier)
        theirs.append(version)
    for row, ids, theirs in groups.values():
        yield row, ids, None if points.versions is None else theirs
