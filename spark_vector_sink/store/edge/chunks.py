"""Chunks of documents in the index: found by `_sink.document`, which names the point of the first one, and `_sink.chunk`, their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from spark_vector_sink.plain import RESERVED
from spark_vector_sink.store.points import PointId, plain_id

DOCUMENT, CHUNK = f"{RESERVED}.document", f"{RESERVED}.chunk"
_AT_ONCE = 1000


def remove_chunks(edge: Any, shard: Any, documents: Iterable[tuple[PointId, int]]) -> None:
    """Remove those chunks of each document whose number is the given one or greater."""
    for least, group in groupby(sorted(documents, key=lambda one: one[1]), key=lambda one: one[1]):
        ids = [str(id) for id, _ in group]
        index_documents(edge, shard)
        for start in range(0, len(ids), _AT_ONCE):
            these = edge.FieldCondition(DOCUMENT, edge.MatchAny(ids[start : start + _AT_ONCE]))
            later = edge.FieldCondition(CHUNK, range=edge.RangeFloat(gte=least))
            for found in pages(edge, shard, edge.Filter(must=[these, later])):
                shard.update(edge.UpdateOperation.delete_points(found))


def index_documents(edge: Any, shard: Any) -> None:
    """Make the index by which chunks are found, unless it is there. Without one, each look for chunks would read the payload of all points."""
    if DOCUMENT not in shard.info().payload_schema:
        shard.update(edge.UpdateOperation.create_field_index(DOCUMENT, edge.PayloadSchemaType.Keyword))


def pages(edge: Any, shard: Any, condition: Any) -> Iterator[Sequence[PointId]]:
    """The ids of the points that meet a condition, some at a time; they may be removed meanwhile."""
    offset, more = None, True
    while more:
        records, offset = shard.scroll(edge.ScrollRequest(offset=offset, limit=_AT_ONCE, filter=condition, with_payload=False, with_vector=False))
        if records:
            yield [plain_id(record.id) for record in records]
        more = offset is not None
