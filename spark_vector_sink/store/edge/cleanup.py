"""Remove points from the index that no longer belong there: chunks of documents, documents that a full load no longer
has, old tombstones.

A chunk is found by `_sink.document`, the id of the document's first point, and `_sink.chunk`, its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from spark_vector_sink.payload_types import RESERVED
from spark_vector_sink.store.edge.index import qdrant_edge
from spark_vector_sink.store.write_batch import PointId, plain_id

DOCUMENT, CHUNK = f"{RESERVED}.document", f"{RESERVED}.chunk"
_AT_ONCE = 1000


def remove_chunks(edge: Any, shard: Any, documents: Iterable[tuple[PointId, int]]) -> None:
    """Remove the chunks of each document whose number is at least the given number."""
    for least, group in groupby(sorted(documents, key=lambda one: one[1]), key=lambda one: one[1]):
        ids = [str(id) for id, _ in group]
        index_documents(edge, shard)
        for start in range(0, len(ids), _AT_ONCE):
            these = edge.FieldCondition(DOCUMENT, edge.MatchAny(ids[start : start + _AT_ONCE]))
            later = edge.FieldCondition(CHUNK, range=edge.RangeFloat(gte=least))
            for found in pages(edge, shard, edge.Filter(must=[these, later])):
                shard.update(edge.UpdateOperation.delete_points(found))


def index_documents(edge: Any, shard: Any) -> None:
    """Create the payload index by which chunks are found, unless it exists. Without it, each search for chunks would
    read the payload of all points."""
    if DOCUMENT not in shard.info().payload_schema:
        shard.update(edge.UpdateOperation.create_field_index(DOCUMENT, edge.PayloadSchemaType.Keyword))


def pages(edge: Any, shard: Any, condition: Any) -> Iterator[Sequence[PointId]]:
    """Yield the ids of the points that meet a condition, in batches; the points may be removed meanwhile."""
    offset, more = None, True
    while more:
        records, offset = shard.scroll(
            edge.ScrollRequest(offset=offset, limit=_AT_ONCE, filter=condition, with_payload=False, with_vector=False)
        )
        if records:
            yield [plain_id(record.id) for record in records]
        more = offset is not None


SOURCE, RUN, DELETED = (f"{RESERVED}.{name}" for name in ("source", "run", "deleted"))


def missing(shard: Any, source: str, run: str) -> tuple[int, int]:
    """Count the documents of this source that were last seen by another run than `run`, and all documents of this
    source."""
    edge = qdrant_edge()
    gone, all_of_it = (edge.CountRequest(exact=True, filter=_documents(edge, source, but)) for but in (run, None))
    return int(shard.count(gone)), int(shard.count(all_of_it))


def count_documents(shard: Any) -> int:
    """Count all documents, tombstones excepted; exact."""
    edge = qdrant_edge()
    return int(shard.count(edge.CountRequest(exact=True, filter=_documents(edge))))


def purge(shard: Any, source: str, run: str) -> None:
    """Remove the documents that `missing` counts, durably. Their chunks are removed first: where the process is killed
    in between, the document still exists and is counted again."""
    edge = qdrant_edge()
    for documents in pages(edge, shard, _documents(edge, source, run)):
        remove_chunks(edge, shard, [(id, 1) for id in documents])
        shard.update(edge.UpdateOperation.delete_points(list(documents)))
        shard.flush()


def purge_tombstones(shard: Any, until: int) -> None:
    """Remove the tombstones of deletions up to this moment (seconds since 1970), durably."""
    edge = qdrant_edge()
    old = edge.Filter(must=[edge.FieldCondition(DELETED, range=edge.RangeFloat(lte=until))])
    for tombstones in pages(edge, shard, old):
        shard.update(edge.UpdateOperation.delete_points(list(tombstones)))
        shard.flush()


def _documents(edge: Any, source: str | None = None, but: str | None = None) -> Any:
    """Build a filter for documents, which are neither later chunks nor tombstones: of a source, without documents that
    were last seen by the run `but`, where these are given."""
    wanted = [edge.IsEmptyCondition(DELETED)]
    wanted += [edge.FieldCondition(SOURCE, edge.MatchValue(source))] if source is not None else []
    unwanted = [edge.FieldCondition(CHUNK, range=edge.RangeFloat(gte=1))]
    unwanted += [edge.FieldCondition(RUN, edge.MatchValue(but))] if but is not None else []
    return edge.Filter(must=wanted, must_not=unwanted)
