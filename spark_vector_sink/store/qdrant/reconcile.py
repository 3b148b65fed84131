"""Find and remove the points of a source that a full load has not seen, and old tombstones; count documents.

A server may hold older copies of points (see operations.py). A filter finds a point by any of its copies, and a removal
by a filter leaves the copies that it does not find: a point that was seen would be removed, and a removed tombstone
would leave the document that it has replaced. So a filter here only proposes points: the payload that is read, which is
the newest copy, decides whether a point is removed, and an operation by id leaves a single copy for the filter to
judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from qdrant_client import QdrantClient, models

from spark_vector_sink.errors import TransientStoreError
from spark_vector_sink.payload_types import RESERVED
from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.qdrant.conditions import CHUNK, DELETED, RUN, SOURCE
from spark_vector_sink.store.qdrant.connection import Connection
from spark_vector_sink.store.qdrant.sharding import is_custom, shard_keys
from spark_vector_sink.store.qdrant.strict_mode import most_named, most_points, most_read

POINTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Which:
    """Selection of points by their `_sink`. proposes: a filter that finds each of them, and maybe others. holds:
    returns whether the `_sink` of a point belongs to the selection."""

    proposes: models.Filter
    holds: Callable[[Mapping[str, Any]], bool]


class Missing(Connection):
    """Count and remove points that no job writes any more."""

    def missing(self, target: Target, source: str, run: str) -> tuple[int, int]:
        """Count the documents of the source that were last seen by another run, and all documents of the source;
        exact."""
        doing, first = (
            f"counting the documents of '{target.name}'",
            models.Filter(should=[_is_empty(CHUNK), _is(CHUNK, 0)]),
        )
        there = models.Filter(must=[_of(source), first])
        unseen = _unseen(source, run)
        missing = self._each_page(
            target,
            Which(models.Filter(must=[unseen.proposes, first]), unseen.holds),
            doing,
            lambda ids, shard_key: None,
        )
        return missing, self._asking_again(
            doing, lambda: int(self._client.count(target.physical, there, exact=True).count)
        )

    def purge(self, target: Target, source: str, run: str) -> None:
        """Remove all points of the documents that `missing` counts, tombstones excepted; applied when this returns."""
        self._remove(target, _unseen(source, run), f"deleting from '{target.name}'")

    def purge_tombstones(self, target: Target, until: int) -> None:
        """Remove the tombstones of deletions up to this moment, in seconds since 1970; applied when this returns."""
        old = models.FieldCondition(key=DELETED, range=models.Range(lte=until))
        which = Which(
            models.Filter(must=[old]),
            lambda fields: isinstance(fields.get("deleted"), int) and fields["deleted"] <= until,
        )
        self._remove(target, which, f"deleting tombstones from '{target.name}'")

    def _remove(self, target: Target, which: Which, doing: str) -> None:
        def remove(ids: list[Any], shard_key: Any) -> None:
            told = self._client.batch_update_points(
                target.physical, _removal(ids, which.proposes, shard_key), wait=True
            )
            if any(result.status != models.UpdateStatus.COMPLETED for result in told):
                raise TransientStoreError(f"{doing} was not applied in time")

        self._each_page(target, which, doing, remove)

    def _each_page(self, target: Target, which: Which, doing: str, do: Callable[[list[Any], Any], None]) -> int:
        """Call `do` with the ids of the points, a page at a time, and their shard key; return the number of points. In
        a retry, the page is read again before `do` is called again. Each shard key is read by itself: a request to all
        would return a point only once where several shard keys have it."""
        info = self._asking_again(doing, lambda: self._client.get_collection(target.physical))
        limit = min(
            limit
            for limit in (POINTS_AT_ONCE, most_read(info), most_points(info), most_named(info))
            if limit is not None
        )
        keys: Sequence[Any] = (
            self._asking_again(doing, lambda: shard_keys(self._client, target.physical)) if is_custom(info) else [None]
        )
        scroll = partial(
            self._client.scroll,
            target.physical,
            which.proposes,
            with_payload=[SOURCE, RUN, DELETED, CHUNK],
            limit=limit,
        )

        def page(shard_key: Any, offset: Any) -> tuple[int, Any]:
            records, following = scroll(offset=offset, shard_key_selector=shard_key)
            ids = [record.id for record in records if which.holds((record.payload or {}).get(RESERVED) or {})]
            if ids:
                do(ids, shard_key)
            return len(ids), following

        count = 0
        for shard_key in keys:
            offset: Any = None
            while True:
                found, offset = self._asking_again(doing, partial(page, shard_key, offset))
                count += found
                if offset is None:
                    break
        return count


def _removal(ids: list[Any], which: models.Filter, shard_key: Any) -> list[Any]:
    """Build the operations of a removal: the first sets nothing, which leaves one copy of each point; the second
    removes the points that still match the filter."""
    those = models.Filter(must=[models.HasIdCondition(has_id=ids), which])
    return [
        models.SetPayloadOperation(set_payload=models.SetPayload(payload={}, points=ids, shard_key=shard_key)),
        models.DeleteOperation(delete=models.FilterSelector(filter=those, shard_key=shard_key)),
    ]


def count_documents(client: QdrantClient, collection: str) -> int:
    """Count all documents, tombstones excepted; exact."""
    first = models.Filter(should=[_is_empty(CHUNK), _is(CHUNK, 0)])
    return int(client.count(collection, models.Filter(must=[first, _is_empty(DELETED)]), exact=True).count)


def _of(source: str) -> models.Filter:
    return models.Filter(must=[_is(SOURCE, source), _is_empty(DELETED)])


def _unseen(source: str, run: str) -> Which:
    def holds(fields: Mapping[str, Any]) -> bool:
        return (
            fields.get("source") == source and not isinstance(fields.get("deleted"), int) and fields.get("run") != run
        )

    return Which(models.Filter(must=[_of(source)], must_not=[_is(RUN, run)]), holds)


def _is(key: str, value: str | int) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _is_empty(key: str) -> models.IsEmptyCondition:
    return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
