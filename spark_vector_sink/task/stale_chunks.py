"""Find the stored chunks of documents, and remove those that a document no longer has.

Chunks are found by their ids: the id of chunk n is a function of its document's id and n.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from spark_vector_sink.rows import keys
from spark_vector_sink.rows.documents import Documents
from spark_vector_sink.store.protocols import VectorStore
from spark_vector_sink.store.write_batch import PointId, Removal, ShardKey, Stored, shard_keys

Shards: TypeAlias = Mapping[PointId, ShardKey | None]
"""Ids of points or documents, each with its shard key; None where there is none."""


class StaleChunks:
    """Finder and remover of the chunks of one task's documents. Used by one thread at a time."""

    def __init__(self, store: VectorStore, namespace: uuid.UUID) -> None:
        self._store, self._namespace = store, namespace

    def points(self, documents: Shards, stored: Mapping[PointId, Stored] | None = None) -> Shards:
        """Return every stored point of these documents, as far as the first point of each says. stored: what is known
        of the documents; used where it has all of them, else they are read."""
        known = stored if stored is not None and all(head in stored for head in documents) else self._stored(documents)
        counts = {head: known[head].chunks if head in known else 1 for head in documents}
        return {
            point: documents[head]
            for head, count in counts.items()
            for point in (head, *(self.chunk(head, n) for n in range(1, count)))
        }

    def chunk(self, document: PointId, number: int) -> PointId:
        return keys.chunk_id(document, number, self._namespace)

    def shorten(self, points: Documents) -> None:
        """Remove the chunks that documents no longer have. Call it before a document's first chunk is written, because
        the first chunk says how many chunks there are: the chunks of a task that is killed in between are then found
        again."""
        first = points if points.heads is None else points.take(np.flatnonzero(points.are_first))
        counts = np.ones(len(first), np.int64) if first.heads is None else first.ours["chunks"].to_numpy()
        self._remove(first.shards, counts, None if first.versions is None else first.versions + 1)

    def remove(self, documents: Documents) -> None:
        """Remove all chunks of deleted documents except their first points."""
        self._remove(documents.shards, np.ones(len(documents), np.int64), documents.versions)

    def sweep(self, documents: Shards) -> None:
        """Remove chunks that are older than their document, which another writer, or a killed one, has written
        meanwhile.

        Every writer calls this after its own points are applied. Of two concurrent writers, the one whose points are
        applied last therefore sees what both have left.
        """
        stored = {head: there for head, there in self._stored(documents).items() if there.version is not None}
        ends = self._ends({head: documents[head] for head in stored}, stored)
        chunks = {self.chunk(head, number): head for head, end in ends.items() for number in range(1, end)}
        found = self._stored({chunk: documents[head] for chunk, head in chunks.items()})
        ids, before = list[PointId](), list[int]()
        for chunk, there in found.items():
            newest = stored[chunks[chunk]].version or 0
            if there.version is None or there.version < newest:
                ids.append(chunk)
                before.append(newest)
        if ids:
            heads = [chunks[chunk] for chunk in ids]
            self._store.delete(
                Removal(ids, np.array(before, np.int64), list(dict.fromkeys(heads)), shard_keys(documents, heads))
            )

    def _remove(self, heads: Shards, counts: npt.NDArray[np.int64], before: npt.NDArray[np.int64] | None) -> None:
        """Remove the stored chunks beyond the first `counts` chunks of each document. before: for each document, only
        chunks with a lesser version are removed; None removes all."""
        if not heads:
            return
        self._store.wait_for(set(heads))
        ends = self._ends(heads, self._stored(heads))
        ids, owners, places = list[PointId](), list[PointId](), list[int]()
        for place, head in enumerate(heads):
            mine = [self.chunk(head, number) for number in range(int(counts[place]), ends[head])]
            ids += mine
            owners += [head] * len(mine)
            places += [place] * len(mine)
        if ids:
            self._store.delete(
                Removal(ids, None if before is None else before[places], list(heads), shard_keys(heads, owners))
            )

    def _ends(self, heads: Shards, stored: Mapping[PointId, Stored]) -> dict[PointId, int]:
        """Return for each document the number after its last stored chunk. There may be more chunks than the document's
        first point says, because another writer has written them in the meantime, or a killed one has left them. Each
        chunk says how many its writer wrote."""
        ends = {head: stored[head].chunks if head in stored else 1 for head in heads}
        asked = {self.chunk(head, end): head for head, end in ends.items()}
        while asked and (there := self._stored({chunk: heads[head] for chunk, head in asked.items()})):
            for chunk, found in there.items():
                ends[asked[chunk]] = max(ends[asked[chunk]] + 1, found.chunks)
            asked = {self.chunk(head, ends[head]): head for head in (asked[chunk] for chunk in there)}
        return ends

    def _stored(self, points: Shards) -> Mapping[PointId, Stored]:
        return self._store.stored(list(points), shard_keys(points, points)) if points else {}
