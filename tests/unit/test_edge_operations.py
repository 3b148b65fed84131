"""The embedded store's operations: what each does to the points that are there, under versions, in every order, and
after a kill."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.payload_types import SparseVectors
from spark_vector_sink.store.collection import CollectionSpec, Target
from spark_vector_sink.store.edge import EdgeCollections, EdgeStore, snapshot
from spark_vector_sink.store.edge import index as shard
from spark_vector_sink.store.edge.ingest import Older, ingest
from spark_vector_sink.store.edge.layout import StoreDirectory, read_facts
from spark_vector_sink.store.edge.staged_file import read_operations
from spark_vector_sink.store.edge.staging import begin_run, write_manifest
from spark_vector_sink.store.write_batch import How, PointBatch, PointId, Removal, Stored, plain_id
from tests.jobs import metadata

pytest.importorskip("qdrant_edge")

SPEC = CollectionSpec(vector_name="", dimension=2, distance="dot", metadata=metadata(), reads=True)
SPARSE = CollectionSpec(
    vector_name="d", dimension=2, distance="dot", metadata=metadata("d", "sp"), sparse_vector_name="sp"
)
UUIDS = [str(uuid.UUID(int=number)) for number in (0, 1, 2**64, 2**127, 2**128 - 1)]


def points(
    ids: Sequence[PointId],
    rows: Sequence[Mapping[str, Any]],
    how: How = How.REPLACE,
    *,
    tag: float = 1,
    versions: Any = None,
) -> PointBatch:
    """Points whose vectors are (tag, 1), where they have some."""
    vectors = {"": np.array([[tag, 1]] * len(ids), np.float32)} if how in (How.REPLACE, How.MERGE) else {}
    versions = None if versions is None else np.array(versions, np.int64)
    return PointBatch(ids, vectors, pa.RecordBatch.from_pylist(list(rows)), versions, how)


def document(id: int, version: int | None = None, chunks: int = 1, tag: float = 1) -> PointBatch:
    """A document in so many chunks; its chunk n has the id `100 · id + n`, the first one that of the document."""
    ids = [id, *(100 * id + part for part in range(1, chunks))]
    ours: dict[str, Any] = {} if version is None else {"version": version}
    if chunks == 1:
        rows = [{"tag": tag, "_sink": {**ours, "source": "s"}}]
    else:
        rows = [
            {"tag": tag, "_sink": {**ours, "source": "s", "document": str(id), "chunk": part, "chunks": chunks}}
            for part in range(chunks)
        ]
    return points(ids, rows, tag=tag, versions=None if version is None else [version] * chunks)


def tombstone(id: int, version: int, deleted: int = 7) -> PointBatch:
    return points([id], [{"_sink": {"version": version, "deleted": deleted}}], How.TOMBSTONE, versions=[version])


Write = Callable[[EdgeStore], Any]


class Place:
    """An embedded store, and jobs on it."""

    def __init__(self, root: Path, spec: CollectionSpec = SPEC) -> None:
        self.name, self.spec, self.runs = root / "store", spec, 0
        self.collections = EdgeCollections(5)

    def prepare(self) -> tuple[Target, str]:
        self.runs += 1
        run = f"run{self.runs}"
        return self.collections.prepare(self.collections.resolve(str(self.name), self.spec), self.spec, run), run

    def job(self, *writes: Write) -> int:
        """One task writes; how many documents were older than what is there, and deletions of such."""
        target, run = self.prepare()
        finished = self.collections.finish(target, run, staged(target, run, *writes))
        return finished.older + finished.older_deletions

    def there(self) -> dict[PointId, tuple[Any, dict[str, Any]]]:
        """Of each point the vectors, and the payload."""
        edge = shard.qdrant_edge()
        with shard.opened(self.name / "v1" / "shard", 5) as index:
            records, _ = index.scroll(edge.ScrollRequest(limit=100_000, with_payload=True, with_vector=True))
        return {plain_id(record.id): (record.vector or None, record.payload) for record in records}

    def payloads(self) -> dict[PointId, dict[str, Any]]:
        return {id: payload for id, (_, payload) in self.there().items()}

    def found(self) -> set[PointId]:
        """What a search by vectors finds, after all segments are optimised."""
        with shard.opened(self.name / "v1" / "shard", 5) as index:
            index.optimize()
        return {hit.id for hit in self.collections.search(str(self.name), [1.0, 1.0], 10_000)}


def staged(target: Target, run: str, *writes: Write, partition: int = 0) -> tuple[str, ...]:
    store = EdgeStore(target, run, partition, 0)
    try:
        for write in writes:
            assert write(store).is_done
        return store.flush()
    finally:
        store.close()


def submit(*batches: PointBatch) -> list[Write]:
    return [lambda store, batch=batch: store.submit(batch) for batch in batches]  # type: ignore[misc]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(params=[False, True], ids=["as written", "optimised"])
def indexed(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A store of 3,000 points with a graph, or without one."""
    monkeypatch.setattr(shard, "_INDEXING_THRESHOLD_KB", 1 if request.param else 100_000)
    place = Place(tmp_path, SPARSE)
    place.job(
        *submit(both(range(3000), [{"a": n, "b": 1, "_sink": {"version": 1, "run": "x"}} for n in range(3000)], tag=1))
    )
    edge = shard.qdrant_edge()
    with shard.opened(place.name / "v1" / "shard", 5) as index:
        assert (index.info().indexed_vectors_count > 3000) == request.param
        assert index.count(edge.CountRequest(exact=True)) == 3000
    return place


def both(
    ids: Sequence[int], rows: Sequence[Mapping[str, Any]], how: How = How.REPLACE, *, tag: float, versions: Any = None
) -> PointBatch:
    """Points with a dense and a sparse vector."""
    n = len(ids)
    sparse = SparseVectors(np.arange(n + 1), np.ones(n, np.uint32), np.full(n, tag, np.float32))
    versions = None if versions is None else np.array(versions, np.int64)
    return PointBatch(
        ids,
        {"d": np.full((n, 2), tag, np.float32), "sp": sparse},
        pa.RecordBatch.from_pylist(list(rows)),
        versions,
        how,
    )


def searched(place: Place) -> tuple[set[PointId], set[PointId]]:
    """What the dense vectors find, and what the sparse ones do."""
    name = str(place.name)
    dense = place.collections.search(name, [1.0, 1.0], 10_000)
    return {hit.id for hit in dense}, {
        hit.id for hit in place.collections.search(name, None, 10_000, sparse=([1], [1.0]))
    }


class TestHow:
    def test_replace(self, indexed: Place) -> None:
        """Nothing of the old point is left: no payload key, no field of `_sink`, and no vector of it is found."""
        indexed.job(*submit(both([5], [{"c": 1, "_sink": {"version": 2}}], tag=9)))
        vectors, payload = indexed.there()[5]
        assert payload == {"c": 1, "_sink": {"version": 2}}
        assert (vectors["d"], vectors["sp"].values) == ([9, 9], [9])
        best = indexed.collections.search(str(indexed.name), [1.0, 1.0], 1)
        assert (best[0].id, best[0].score) == (5, 18)

    def test_replace_by_a_point_without_payload(self, indexed: Place) -> None:
        """Nothing of the old payload is left either."""
        indexed.job(*submit(both([5], [{}], tag=9)))
        assert indexed.payloads()[5] == {}

    def test_merge(self, indexed: Place) -> None:
        """Other payload keys, other fields of `_sink` and other vectors stay; a new point is made."""
        batch = both([5, 5000], [{"b": 2, "_sink": {"version": 2}}] * 2, How.MERGE, tag=9)
        indexed.job(*submit(PointBatch(batch.ids, {"d": batch.vectors["d"]}, batch.payload, None, How.MERGE)))
        there = indexed.there()
        assert there[5][1] == {"a": 5, "b": 2, "_sink": {"version": 2, "run": "x"}}
        assert (there[5][0]["d"], there[5][0]["sp"].values) == ([9, 9], [1])
        assert there[5000] == ({"d": [9, 9]}, {"b": 2, "_sink": {"version": 2}})

    def test_payload(self, indexed: Place) -> None:
        """The payload is replaced as a whole, the vectors stay; nothing is made of a point that is not there."""
        indexed.job(*submit(points([5, 5000], [{"c": 1, "_sink": {"version": 2}}] * 2, How.PAYLOAD)))
        there = indexed.there()
        assert there[5][1] == {"c": 1, "_sink": {"version": 2}}
        assert (there[5][0]["d"], there[5][0]["sp"].values) == ([1, 1], [1])
        assert 5000 not in there

    def test_patch(self, indexed: Place) -> None:
        """The given keys and fields are set, one that is null is gone, everything else stays; nothing is made of a
        point that is not there."""
        indexed.job(*submit(points([5, 5000], [{"b": None, "_sink": {"version": 2}}] * 2, How.PATCH)))
        there = indexed.there()
        assert there[5][1] == {"a": 5, "_sink": {"version": 2, "run": "x"}}
        assert (there[5][0]["d"], there[5][0]["sp"].values) == ([1, 1], [1])
        assert 5000 not in there

    def test_tombstone(self, indexed: Place) -> None:
        """No search by dense or by sparse vectors finds it, then and after optimising; it is still there, without a
        vector."""
        indexed.job(*submit(tombstone(5, 2), tombstone(5000, 2)))
        for _ in range(2):
            assert indexed.there()[5] == indexed.there()[5000] == (None, {"_sink": {"version": 2, "deleted": 7}})
            assert all(not {5, 5000} & found and len(found) == 2999 for found in searched(indexed))
            with shard.opened(indexed.name / "v1" / "shard", 5) as index:
                index.optimize()

    def test_a_tombstone_is_no_document(self, place: Place) -> None:
        """A merge makes the document anew, a new payload or a patch do nothing to it, and a document written over it is
        found again."""
        place.job(*submit(tombstone(1, 1), tombstone(2, 1), tombstone(3, 1), tombstone(4, 1)))
        ours = {"_sink": {"version": 2}}
        place.job(
            *submit(
                points([1], [ours], How.MERGE),
                points([2], [ours], How.PAYLOAD),
                points([3], [ours], How.PATCH),
                points([4], [ours]),
            )
        )
        dead = {"_sink": {"version": 1, "deleted": 7}}
        assert place.payloads() == {1: ours, 2: dead, 3: dead, 4: ours}
        assert place.found() == {1, 4}

    def test_delete(self, place: Place) -> None:
        """The points are gone; with `before`, only those of a lesser version or none; what is not there is nobody's
        trouble."""
        place.job(*submit(document(1, 5), document(2, 5), document(3), document(4, 5), document(5, 4)))
        place.job(
            lambda store: store.delete(Removal([1, 99])),
            lambda store: store.delete(Removal([2, 3, 5, 98], np.array([5, 5, 5, 5]))),
        )
        assert set(place.payloads()) == {2, 4}

    def test_touch(self, place: Place) -> None:
        """Those fields of `_sink` are set on the points that are there, also on those without any, and nothing else."""
        place.job(*submit(document(1, 5), points([2], [{"x": 1}])))
        place.job(lambda store: store.touch([1, 2, 3], {"run": "now", "source": "t"}))
        assert place.payloads() == {
            1: {"tag": 1, "_sink": {"version": 5, "source": "t", "run": "now"}},
            2: {"x": 1, "_sink": {"run": "now", "source": "t"}},
        }

    def test_in_order(self, place: Place) -> None:
        """A task's operations are done in the order in which it gave them, whatever kinds they are, over several
        flushes."""
        target, run = place.prepare()
        store = EdgeStore(target, run, 0, 0)
        for _ in range(3):
            store.submit(document(1, tag=1))
            store.delete(Removal([1]))
            store.submit(document(1, tag=2))
            assert len(store.flush()) in (1, 2, 3)
            store.submit(points([1], [{"n": 3}], How.PATCH))
            store.touch([1], {"run": "r"})
        receipts = store.flush()
        assert list(receipts) == sorted(receipts)
        place.collections.finish(target, run, receipts)
        assert place.payloads() == {1: {"tag": 2, "n": 3, "_sink": {"source": "s", "run": "r"}}}

    def test_nothing(self, place: Place) -> None:
        """No points, no ids and no fields stage nothing."""
        target, run = place.prepare()
        store = EdgeStore(target, run, 0, 0)
        for how in How:
            store.submit(points([1], [{"x": 1}], how).slice(0, 0))
        store.delete(Removal([]))
        store.touch([], {"run": "r"})
        store.touch([1], {})
        store.wait_for({1})
        assert store.flush() == ()

    @pytest.mark.parametrize("how", [How.PAYLOAD, How.PATCH, How.TOMBSTONE])
    def test_vectors_where_none_are_written(self, place: Place, how: How) -> None:
        """They are refused in the task."""
        target, run = place.prepare()
        batch = PointBatch([1], {"": np.ones((1, 2), np.float32)}, pa.RecordBatch.from_pylist([{"x": 1}]), None, how)
        with pytest.raises(PermanentStoreError, match="takes the vector none, but got ''"):
            EdgeStore(target, run, 0, 0).submit(batch)

    def test_ids_that_are_none(self, place: Place) -> None:
        """A removal or a touch of what is no id is refused in the task."""
        target, run = place.prepare()
        store = EdgeStore(target, run, 0, 0)
        for write in (lambda: store.delete(Removal(["x"])), lambda: store.touch([-1], {"run": "r"})):
            with pytest.raises(PermanentStoreError, match="no point id"):
                write()
        assert store.flush() == ()

    def test_half_a_file(self, place: Place) -> None:
        """A staged file that was cut is not taken for a whole one."""
        target, run = place.prepare()
        (name,) = staged(target, run, *submit(document(1), document(2, 1)))
        path = place.name / "staging" / run / name
        operations = list(read_operations(path))
        assert [operation.kind for operation in operations] == ["replace", "replace"]
        content = path.read_bytes()
        for size in range(8, len(content) - 8, 8):
            path.write_bytes(content[:size])
            with pytest.raises((PermanentStoreError, pa.ArrowInvalid, OSError)):
                list(read_operations(path))


class TestVersions:
    @pytest.mark.parametrize("how", [How.REPLACE, How.MERGE, How.PAYLOAD, How.PATCH])
    def test_writes(self, place: Place, how: How) -> None:
        """A point of a lesser version changes nothing and is counted; one of the same version, or over none, is
        written."""
        place.job(*submit(document(1, 5), document(2, 5), document(3, 5), document(4)))
        versions = [4, 5, 6, 1]
        batch = points(
            [1, 2, 3, 4], [{"new": 1, "_sink": {"version": version}} for version in versions], how, versions=versions
        )
        assert place.job(*submit(batch)) == 1
        assert {id for id, payload in place.payloads().items() if "new" in payload} == {2, 3, 4}

    def test_a_tombstone_yields_to_its_equal(self, place: Place) -> None:
        """A tombstone yields to its equal; a document yields to a tombstone that is greater."""
        place.job(*submit(document(1, 5), document(2, 5), document(3, 5), document(4)))
        assert place.job(*submit(tombstone(1, 4), tombstone(2, 5), tombstone(3, 6), tombstone(4, 1))) == 2
        assert place.found() == {1, 2}
        assert place.job(*submit(document(3, 5), document(4, 1))) == 1
        assert place.found() == {1, 2, 4}

    def test_greater_ones_than_a_float_holds(self, place: Place) -> None:
        """Versions are compared as integers."""
        place.job(*submit(document(1, 2**62 + 1)))
        assert place.job(*submit(document(1, 2**62, tag=2))) == 1
        assert place.job(*submit(document(1, 2**62 + 2, tag=3))) == 0
        assert place.payloads()[1]["tag"] == 3

    def test_over_batches(self, place: Place) -> None:
        """What the same run has written counts, also in another partition and in another of the parts in which it comes
        in."""
        ids = list(range(1200))
        target, run = place.prepare()
        receipts: list[str] = []
        for partition, version in enumerate((2, 1, 3, 2)):
            batch = points(
                ids, [{"v": version, "_sink": {"version": version}}] * len(ids), versions=[version] * len(ids)
            )
            receipts += staged(target, run, *submit(batch), partition=partition)
        assert place.collections.finish(target, run, receipts).older == 2400
        assert place.payloads() == {id: {"v": 3, "_sink": {"version": 3}} for id in ids}


class TestChunks:
    @pytest.mark.parametrize("version", [None, 5])
    @pytest.mark.parametrize("chunks", [1, 2, 4])
    def test_those_that_vanish(self, place: Place, chunks: int, version: int | None) -> None:
        """A document that shrank, or became one piece, leaves none behind; that of another document stays."""
        place.job(*submit(document(1, version, 3), document(2, version, 3)))
        place.job(*submit(document(1, version, chunks, tag=2)))
        there = place.payloads()
        assert {id for id, payload in there.items() if payload["tag"] == 2} == {
            1,
            *(100 + part for part in range(1, chunks)),
        }
        assert {id for id, payload in there.items() if payload["tag"] == 1} == {2, 201, 202}

    def test_many_documents_at_once(self, place: Place) -> None:
        """Each loses those that it no longer has, and no other."""
        place.job(*submit(*(document(id, 1, 4) for id in range(1, 90))))
        place.job(*submit(*(document(id, 2, 1 + id % 4) for id in range(1, 90))))
        assert set(place.payloads()) == {
            id if part == 0 else 100 * id + part for id in range(1, 90) for part in range(1 + id % 4)
        }

    @pytest.mark.parametrize(
        "write", [lambda store: store.submit(tombstone(1, 6)), lambda store: store.delete(Removal([1], np.array([6])))]
    )
    def test_of_a_document_that_is_deleted(self, place: Place, write: Write) -> None:
        """They go with it."""
        place.job(*submit(document(1, 5, 3), document(2, 5, 3)))
        place.job(write)
        assert place.found() == {2, 201, 202}

    def test_of_an_older_version(self, place: Place) -> None:
        """They never come in beside a newer document, of however many chunks, in one request with it or in another; nor
        beside a tombstone."""
        place.job(*submit(document(1, 5, 2), tombstone(2, 5)))
        older = document(1, 4, 4)
        assert place.job(*submit(older, document(2, 4, 2))) == 2
        assert place.job(*submit(older.slice(2, 4))) == 0, "documents are counted, by their first chunks"
        assert set(place.payloads()) == {1, 101, 2}
        newer = document(1, 6, 3, tag=2)
        assert place.job(*submit(newer.slice(1, 3), newer.slice(0, 1))) == 0
        assert {id: payload["tag"] for id, payload in place.payloads().items() if id != 2} == {1: 2, 101: 2, 102: 2}

    def test_a_patch_of_a_chunk(self, place: Place) -> None:
        """It stays the chunk that it is, and its document's version decides."""
        place.job(*submit(document(1, 5, 3)))
        assert (
            place.job(*submit(points([1, 101], [{"x": 1, "_sink": {"version": 6}}] * 2, How.PATCH, versions=[6, 6])))
            == 0
        )
        assert place.job(*submit(points([102], [{"x": 1, "_sink": {"version": 5}}], How.PATCH, versions=[5]))) == 0
        assert place.payloads()[101] == {
            "tag": 1,
            "x": 1,
            "_sink": {"version": 6, "source": "s", "document": "1", "chunk": 1, "chunks": 3},
        }

    def test_documents_with_uuids(self, place: Place) -> None:
        """They are found by the text of their first chunk's id, too."""
        ids = [UUIDS[3], UUIDS[1], UUIDS[4]]
        rows = [{"_sink": {"document": ids[0], "chunk": part, "chunks": 3}} for part in range(3)]
        place.job(*submit(points(ids, rows)))
        place.job(*submit(points(ids[:1], [{"x": 1}])))
        assert place.payloads() == {ids[0]: {"x": 1}}


class TestPurge:
    def full(self, place: Place) -> tuple[Target, str]:
        """A source of four documents, of which run `now` has seen two; another source; a tombstone; a document of no
        source."""
        place.job(*submit(document(1, 1, 3), document(2, 1), document(3, 1, 2), document(4, 1)))
        place.job(
            lambda store: store.touch([1, 101, 102, 2], {"run": "before"}),
            lambda store: store.touch([3, 201, 4], {"run": "now"}),
        )
        others = [
            {"_sink": {"source": "other", "run": "before"}},
            {"_sink": {"source": "s", "run": "before", "deleted": 7}},
            {"x": 1},
        ]
        place.job(*submit(points([50], others[:1]), points([51], others[1:2], How.TOMBSTONE), points([52], others[2:])))
        return place.collections.resolve(str(place.name), SPEC), "now"

    def test_documents_are_counted_and_not_their_chunks(self, place: Place) -> None:
        """Documents are counted, not their chunks, and neither tombstones nor those of other sources; another run's are
        those that are missing."""
        target, run = self.full(place)
        assert place.collections.missing(target, "s", run) == (2, 4)
        assert place.collections.missing(target, "s", "later") == (4, 4)
        assert place.collections.missing(target, "other", run) == (1, 1)
        assert place.collections.missing(target, "none", run) == (0, 0)

    def test_purge(self, place: Place) -> None:
        """They go with their chunks; those of a document that was seen stay, whether they were touched or not; the
        count is remembered."""
        target, run = self.full(place)
        place.collections.purge(target, "s", run)
        assert set(place.payloads()) == {3, 301, 4, 50, 51, 52}
        assert place.collections.missing(target, "s", run) == (0, 2)
        assert place.collections.resolve(str(place.name), SPEC).points == 6
        place.collections.purge(target, "s", run)
        assert len(place.payloads()) == 6

    def test_many(self, place: Place) -> None:
        """More than are looked at at a time."""
        ids = range(5000)
        place.job(
            *submit(points(ids, [{"_sink": {"source": "s", "run": "now" if id % 5 == 0 else "before"}} for id in ids]))
        )
        target = place.collections.resolve(str(place.name), SPEC)
        assert place.collections.missing(target, "s", "now") == (4000, 5000)
        place.collections.purge(target, "s", "now")
        assert set(place.payloads()) == set(range(0, 5000, 5))

    def test_tombstones_up_to_the_moment_go(self, place: Place) -> None:
        """Those up to the moment go, and nothing else."""
        rows = [{"_sink": {"version": 1, "deleted": id}} for id in range(2, 2500)]
        place.job(*submit(document(1, 1), points(range(2, 2500), rows, How.TOMBSTONE, versions=[1] * 2498)))
        target = place.collections.resolve(str(place.name), SPEC)
        place.collections.purge_tombstones(target, 2400)
        assert set(place.payloads()) == {1, *range(2401, 2500)}
        assert place.collections.resolve(str(place.name), SPEC).points == 100

    def test_of_an_empty_store(self, place: Place) -> None:
        """There is nothing to count and nothing to remove."""
        target, run = place.prepare()
        assert place.collections.missing(target, "s", run) == (0, 0)
        place.collections.purge(target, "s", run)
        place.collections.purge_tombstones(target, 10)


class TestState:
    def test_what_is_there(self, place: Place) -> None:
        """A task is told what `_sink` says of the points that were there when the run began, and nothing of others."""
        rows = [{"_sink": {"fingerprint": "f", "version": 3, "chunks": 2, "chunk": 0, "document": "1"}}, {"x": 1}]
        place.job(*submit(points([1, 2], rows), tombstone(3, 4)))
        target, run = place.prepare()
        store = EdgeStore(target, run, 0, 0)
        place.job(*submit(document(4)))
        assert store.stored([3, 1, 2, 4, 5]) == {1: Stored("f", 3, 2), 2: Stored(), 3: Stored(None, 4, 1, deleted=True)}
        assert store.stored([]) == {}

    def test_an_empty_store(self, place: Place) -> None:
        """Nothing is there."""
        target, run = place.prepare()
        assert EdgeStore(target, run, 0, 0).stored([1, UUIDS[0]]) == {}

    def test_pending_rows_are_there(self, place: Place) -> None:
        """What an earlier run has left pending is brought in before it is written down what there is."""
        target, run = place.prepare()
        write_manifest(StoreDirectory(place.name), run, "v1", staged(target, run, *submit(document(1, 8))))
        target, run = place.prepare()
        assert EdgeStore(target, run, 0, 0).stored([1]) == {1: Stored(None, 8)}

    def test_a_job_that_does_not_read(self, tmp_path: Path) -> None:
        """It writes no such file."""
        place = Place(tmp_path, CollectionSpec(**{**SPEC.__dict__, "reads": False}))
        _, run = place.prepare()
        assert [path.name for path in (place.name / "staging" / run).iterdir()] == ["RUN"]

    @settings(max_examples=100, deadline=None)
    @given(
        st.sets(st.integers(0, 2**64 - 1) | st.integers(0, 300), max_size=60),
        st.sets(st.uuids() | st.sampled_from(UUIDS).map(uuid.UUID), max_size=60),
        st.integers(1, 7),
    )
    def test_every_id_is_found(
        self, tmp_path_factory: pytest.TempPathFactory, numbers: set[int], uuids: set[uuid.UUID], size: int
    ) -> None:
        """Of both kinds, wherever they stand in the file; and no other."""
        ids: list[PointId] = [*sorted(numbers), *map(str, sorted(uuids))]
        inside, path = ids[::2], tmp_path_factory.mktemp("state") / "STATE"
        state_of = {id: Stored(str(id), place) for place, id in enumerate(inside)}
        batches = [inside[start : start + size] for start in range(0, len(inside), size)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapshot, "_POINTS", size)
            snapshot.export(shard.qdrant_edge(), _Scrolled(batches), path)
        told = snapshot.State(path).of(ids)
        assert told == state_of

    def test_threads(self, place: Place) -> None:
        """Several threads may ask at once, beside the one that writes."""
        place.job(*submit(*(document(id, id) for id in range(300))))
        target, run = place.prepare()
        store, wrong = EdgeStore(target, run, 0, 0), []

        def ask() -> None:
            for id in range(300):
                if store.stored([id, id + 1000]) != {id: Stored(None, id)}:
                    wrong.append(id)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for id in range(50):
            store.submit(document(id, 1000))
        for thread in threads:
            thread.join()
        assert not wrong


@dataclass
class _Record:
    id: int | uuid.UUID
    payload: dict[str, Any]


class _Scrolled:
    """An index that gives these points, in the order in which Qdrant Edge would."""

    def __init__(self, batches: list[list[PointId]]) -> None:
        self._batches, self._number = batches, 0

    def scroll(self, _: object) -> tuple[list[_Record], int | None]:
        before = self._number
        batch = self._batches.pop(0) if self._batches else []
        self._number += len(batch)
        records = [
            _Record(
                id if isinstance(id, int) else uuid.UUID(id),
                {"_sink": {"fingerprint": str(id), "version": before + place}},
            )
            for place, id in enumerate(batch)
        ]
        return records, 1 if self._batches else None


@dataclass(frozen=True)
class Step:
    """Something that a task does to one document. chunks: of what it writes; split: whether in two requests."""

    what: str
    id: int
    version: int | None = None
    chunks: int = 1
    tag: int = 1
    split: bool = False

    def writes(self) -> list[Write]:
        versions = None if self.version is None else [self.version]
        row: dict[str, Any] = {"tag": self.tag, f"k{self.tag}": 1, "_sink": {f"s{self.tag}": 1}}
        if self.version is not None:
            row["_sink"]["version"] = self.version
        if self.what == "replace":
            batch = document(self.id, self.version, self.chunks, self.tag)
            return submit(batch.slice(0, 1), batch.slice(1, self.chunks)) if self.split else submit(batch)
        if self.what == "tombstone":
            return submit(tombstone(self.id, self.version or 0))
        if self.what == "remove":
            return [lambda store: store.delete(Removal([self.id], None if versions is None else np.array(versions)))]
        if self.what == "touch":
            return [lambda store: store.touch([self.id], {"run": str(self.tag)})]
        return submit(points([self.id], [row], How(self.what), tag=self.tag, versions=versions))


@dataclass
class Model:
    """What the seam says of documents, as a dict: point → vector and payload."""

    there: dict[int, tuple[Any, dict[str, Any]]] = field(default_factory=dict)
    older: int = 0

    def do(self, step: Step) -> None:
        vector, payload = self.there.get(step.id, (None, {}))
        ours = payload.get("_sink", {})
        alive, known = step.id in self.there and "deleted" not in ours, ours.get("version")
        if (step.what in ("payload", "patch") and not alive) or (
            step.what in ("remove", "touch") and step.id not in self.there
        ):
            return
        version = step.version or 0 if step.what == "tombstone" else step.version
        if (
            step.what != "touch"
            and None not in (known, version)
            and (known > version or (known == version and step.what in ("tombstone", "remove")))
        ):
            self.older += step.what != "remove"
            return
        mine = {f"s{step.tag}": 1} | ({} if version is None else {"version": version})
        keys = {"tag": step.tag, f"k{step.tag}": 1}
        if step.what == "touch":
            self.there[step.id] = vector, payload | {"_sink": ours | {"run": str(step.tag)}}
        elif step.what == "patch" or (step.what == "merge" and alive):
            self.there[step.id] = (
                [step.tag, 1] if step.what == "merge" else vector,
                payload | keys | {"_sink": ours | mine},
            )
        else:
            self.there = {id: point for id, point in self.there.items() if id != step.id and id // 100 != step.id}
            if step.what == "replace":
                batch = document(step.id, step.version, step.chunks, step.tag)
                self.there |= {
                    id: ([step.tag, 1], row) for id, row in zip(batch.ids, batch.payload.to_pylist(), strict=True)
                }  # type: ignore[misc]
            elif step.what == "tombstone":
                self.there[step.id] = None, {"_sink": {"version": version, "deleted": 7}}
            elif step.what != "remove":
                self.there[step.id] = vector if step.what == "payload" else [step.tag, 1], keys | {"_sink": mine}


class KilledError(BaseException):
    pass


class Dying:
    """An index whose process ends at a write. It does not flush, which takes long."""

    def __init__(self, index: Any, writes: int = -1) -> None:
        self._index, self._writes = index, writes

    def flush(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def update(self, operation: Any) -> None:
        if self._writes == 0:
            raise KilledError
        self._writes -= 1
        self._index.update(operation)


STEPS = st.builds(
    Step,
    what=st.sampled_from(["replace", "replace", "merge", "payload", "patch", "tombstone", "remove", "touch"]),
    id=st.integers(1, 2),
    version=st.none() | st.integers(1, 4),
    chunks=st.integers(1, 3),
    tag=st.integers(1, 3),
    split=st.booleans(),
)
VERSIONED = st.builds(
    Step,
    what=st.sampled_from(["replace", "tombstone"]),
    id=st.integers(1, 2),
    version=st.integers(1, 4),
    chunks=st.integers(1, 3),
    split=st.booleans(),
)
MANY = settings(max_examples=60, deadline=None)


class Index:
    """An index that stays open, and is emptied before each example: making one takes long."""

    def __init__(self, root: Path) -> None:
        self.target, _ = Place(root).prepare()
        self.directory, self.runs = StoreDirectory(root / "store"), 0
        self.facts = read_facts(self.directory, "v1")

    def open(self) -> Any:
        return shard.opened(self.directory.shard("v1"), 5)

    def emptied(self, index: Any) -> None:
        edge = shard.qdrant_edge()
        index.update(edge.UpdateOperation.delete_points(list(self.there(index))))

    def job(self, index: Any, steps: Sequence[Step], deaths: Sequence[int] = ()) -> int:
        """Bring in what a task does, after processes that did so were killed at a write; how many documents and
        deletions were older."""
        self.runs += 1
        run = f"any{self.runs}"
        begin_run(self.directory, run)
        names = staged(self.target, run, *(write for step in steps for write in step.writes()))
        files, log = [self.directory.staging(run) / name for name in names], self.directory.decisions_file(run)
        for writes in deaths:
            with contextlib.suppress(KilledError):
                return _sum(ingest(Dying(index, writes), files, self.facts, log))
        return _sum(ingest(Dying(index), files, self.facts, log))

    def there(self, index: Any) -> dict[PointId, tuple[Any, dict[str, Any]]]:
        records, _ = index.scroll(shard.qdrant_edge().ScrollRequest(limit=1000, with_payload=True, with_vector=True))
        return {plain_id(record.id): (record.vector or None, record.payload) for record in records}


def _sum(older: Older) -> int:
    return older.documents + older.deletions


class TestAnySequence:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No power is lost here."""
        monkeypatch.setattr("os.fsync", lambda _: None)

    def test_as_the_model_says(self, tmp_path: Path) -> None:
        """Two runs of any operations end as they should, wherever the bringing in of the second one was killed, and
        what was older is counted once."""
        mine = Index(tmp_path)
        with mine.open() as index:

            @MANY
            @given(
                first=st.lists(STEPS, max_size=6),
                second=st.lists(STEPS, min_size=1, max_size=8),
                deaths=st.lists(st.integers(0, 12), max_size=2),
            )
            def holds(first: list[Step], second: list[Step], deaths: list[int]) -> None:
                mine.emptied(index)
                model, older = Model(), 0
                for steps, killed in ((first, []), (second, deaths)):
                    model.older, older = 0, mine.job(index, steps, killed)
                    for step in steps:
                        model.do(step)
                assert mine.there(index) == model.there
                assert older == model.older

            holds()

    @pytest.mark.parametrize(
        "steps",
        [
            [Step("replace", 1, chunks=1, tag=2)],
            [Step("tombstone", 1, 9)],
            [Step("remove", 1)],
            [
                Step("merge", 1),
                Step("payload", 1),
                Step("patch", 1, tag=2),
                Step("touch", 1),
                Step("remove", 1),
                Step("merge", 1, tag=3),
            ],
            [
                Step("patch", 2),
                Step("payload", 2),
                Step("touch", 2),
                Step("merge", 2, 3, tag=2),
                Step("merge", 2, 4, tag=3),
            ],
            [
                Step("patch", 2, 9),
                Step("replace", 2, 3, 3),
                Step("replace", 2, 4, 2),
                Step("tombstone", 2, 5),
                Step("remove", 2, 6),
                Step("replace", 2, 1),
            ],
        ],
        ids=lambda steps: " ".join(step.what for step in steps),
    )
    def test_killed_at_each_write(self, tmp_path: Path, steps: list[Step]) -> None:
        """A run that was killed at its first, second, … write ends as one that was not."""
        mine, before = Index(tmp_path), [Step("replace", 1, chunks=3)]
        with mine.open() as index:
            for deaths in range(12):
                mine.emptied(index)
                model = Model()
                for step in (*before, *steps):
                    model.do(step)
                mine.job(index, before)
                assert mine.job(index, steps, [deaths]) == model.older
                assert mine.there(index) == model.there

    def test_in_any_order(self, tmp_path: Path) -> None:
        """Under versions, two runs in any order end with the greatest version of each document, which stands before a
        tombstone of the same one."""
        mine = Index(tmp_path)
        with mine.open() as index:

            @MANY
            @given(steps=st.lists(VERSIONED, min_size=1, max_size=8), cut=st.integers(0, 8))
            def holds(steps: list[Step], cut: int) -> None:
                mine.emptied(index)
                best: dict[int, tuple[int, bool]] = {}
                for step in steps:
                    best[step.id] = max(best.get(step.id, (0, False)), (step.version or 0, step.what == "replace"))
                mine.job(index, steps[:cut])
                mine.job(index, steps[cut:])
                ours = {id: payload["_sink"] for id, (_, payload) in mine.there(index).items()}
                heads = {id: fields for id, fields in ours.items() if isinstance(id, int) and id < 100}
                assert {id: (fields["version"], "deleted" not in fields) for id, fields in heads.items()} == best
                for id, fields in ours.items():
                    head = heads[int(fields.get("document", id))]
                    assert (fields["version"], fields.get("chunks", 1)) == (head["version"], head.get("chunks", 1))
                assert len(ours) == sum(fields.get("chunks", 1) for fields in heads.values())

            holds()
