"""Which points of a source a full load has not seen, which tombstones are old enough to go, and which points are documents: filters, and the questions about them."""

from __future__ import annotations

from qdrant_client import QdrantClient, models

from spark_vector_sink.store.qdrant.filters import CHUNK, DELETED, RUN, SOURCE
from spark_vector_sink.store.qdrant.sharding import selector

INDEXES = {SOURCE: "keyword", RUN: "keyword", DELETED: "integer", CHUNK: "integer"}
"""What makes these filters fast, and lets a server in strict mode take them."""


def count_missing(client: QdrantClient, collection: str, source: str, run: str) -> tuple[int, int]:
    """Documents of the source that another run was the last to see, and all of them; exact."""
    first = models.Filter(should=[_is_empty(CHUNK), _is(CHUNK, 0)])
    unseen = models.Filter(must=[_unseen(source, run), first])
    there = models.Filter(must=[_of(source), first])
    return client.count(collection, unseen, exact=True).count, client.count(collection, there, exact=True).count


def count_documents(client: QdrantClient, collection: str) -> int:
    """All documents, tombstones excepted; exact."""
    first = models.Filter(should=[_is_empty(CHUNK), _is(CHUNK, 0)])
    return int(client.count(collection, models.Filter(must=[first, _is_empty(DELETED)]), exact=True).count)


def delete_missing(client: QdrantClient, collection: str, source: str, run: str) -> None:
    """All points of those documents, tombstones excepted; applied when this returns."""
    _delete(client, collection, _unseen(source, run))


def delete_tombstones(client: QdrantClient, collection: str, until: int) -> None:
    """Those of deletions up to this moment, in seconds since 1970; applied when this returns."""
    old = models.FieldCondition(key=DELETED, range=models.Range(lte=until))
    _delete(client, collection, models.Filter(must=[old]))


def _delete(client: QdrantClient, collection: str, which: models.Filter) -> None:
    shards = selector(client, collection)
    if shards is not None:
        client.delete(collection, models.FilterSelector(filter=which), wait=True, **shards)


def _of(source: str) -> models.Filter:
    return models.Filter(must=[_is(SOURCE, source), _is_empty(DELETED)])


def _unseen(source: str, run: str) -> models.Filter:
    return models.Filter(must=[_of(source)], must_not=[_is(RUN, run)])


def _is(key: str, value: str | int) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _is_empty(key: str) -> models.IsEmptyCondition:
    return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
