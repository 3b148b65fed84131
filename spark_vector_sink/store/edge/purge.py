"""What leaves the index at the end of a run: documents that a full load no longer has, and tombstones that are old enough."""

from __future__ import annotations

from typing import Any

from spark_vector_sink.plain import RESERVED
from spark_vector_sink.store.edge.chunks import CHUNK, pages, remove_chunks
from spark_vector_sink.store.edge.shard import qdrant_edge

SOURCE, RUN, DELETED = (f"{RESERVED}.{name}" for name in ("source", "run", "deleted"))


def missing(shard: Any, source: str, run: str) -> tuple[int, int]:
    """How many documents of this source another run than `run` was the last to see; and how many documents of it there are."""
    edge = qdrant_edge()
    gone, all_of_it = (edge.CountRequest(exact=True, filter=_documents(edge, source, but)) for but in (run, None))
    return int(shard.count(gone)), int(shard.count(all_of_it))


def count_documents(shard: Any) -> int:
    """All documents, tombstones excepted; exact."""
    edge = qdrant_edge()
    return int(shard.count(edge.CountRequest(exact=True, filter=_documents(edge))))


def purge(shard: Any, source: str, run: str) -> None:
    """Remove the documents that `missing` counts, durably. Their chunks go first: killed in between, the document is still there to be counted."""
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
    """Documents, which are neither later chunks nor tombstones: of a source, without those that the run `but` was the last to see, where these are given."""
    wanted = [edge.IsEmptyCondition(DELETED)]
    wanted += [edge.FieldCondition(SOURCE, edge.MatchValue(source))] if source is not None else []
    unwanted = [edge.FieldCondition(CHUNK, range=edge.RangeFloat(gte=1))]
    unwanted += [edge.FieldCondition(RUN, edge.MatchValue(but))] if but is not None else []
    return edge.Filter(must=wanted, must_not=unwanted)
