"""What every store promises of sparse vectors: each scenario runs on the embedded store, on the in-test server and on a
real Qdrant."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from spark_vector_sink.errors import CollectionError, StoreError
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.payload_types import SparseVectors
from spark_vector_sink.store import registry
from spark_vector_sink.store.collection import CollectionSpec, Hit, Target
from spark_vector_sink.store.write_batch import PointBatch
from tests.jobs import metadata

Entries = Mapping[int, float]
DIMENSION = 3


def spec(sparse: str | None = "sp", *, dense: bool = True, name: str = "", **changes: Any) -> CollectionSpec:
    """A collection of dense vectors, sparse ones, or both, which remembers their names."""
    remembered = metadata(name, sparse, dense=dense, model="tiny")
    whole = CollectionSpec(
        name, DIMENSION if dense else None, "dot", remembered, versioned=False, sparse_vector_name=sparse, dense=dense
    )
    return replace(whole, **changes)


def rows_of(vectors: Sequence[Entries]) -> SparseVectors:
    """Sparse vectors of these entries, in the order given."""
    indices = np.array([index for entries in vectors for index in entries], np.uint32)
    values = np.array([value for entries in vectors for value in entries.values()], np.float32)
    return SparseVectors(np.cumsum([0, *map(len, vectors)], dtype=np.int64), indices, values)


@dataclass(frozen=True)
class Place:
    """A store that takes points directly, without a job around it."""

    options: SinkOptions

    def resolve(self, wanted: CollectionSpec) -> Target:
        place, _ = registry.find(self.options)
        with registry.collections(self.options, place) as collections:
            return collections.resolve(place.name(self.options), wanted)

    def write(
        self, wanted: CollectionSpec, vectors: Mapping[int, tuple[Sequence[float] | None, Entries | None]]
    ) -> None:
        """One run: id → dense vector and sparse entries, of which the collection may have only one."""
        place, _ = registry.find(self.options)
        run = uuid.uuid4().hex
        with registry.collections(self.options, place) as collections:
            target = collections.resolve(place.name(self.options), wanted)
            if target.problems:
                raise CollectionError(target.problems)
            target = collections.prepare(target, wanted, run)
            made: dict[str, Any] = {}
            if wanted.dense:
                made[wanted.vector_name] = np.array([dense for dense, _ in vectors.values()], np.float32)
            if wanted.sparse_vector_name:
                made[wanted.sparse_vector_name] = rows_of([entries or {} for _, entries in vectors.values()])
            payload = pa.record_batch({"n": pa.array(list(vectors), pa.int64())})
            with closing(registry.store(self.options, place, target, run, 0, 0)) as store:
                store.submit(PointBatch(list(vectors), made, payload))
                receipts = store.flush()
            collections.finish(target, run, receipts)

    def search(
        self, vector: Sequence[float] | None = None, sparse: Entries | None = None, limit: int = 10
    ) -> list[Hit]:
        place, _ = registry.find(self.options)
        asked = None if sparse is None else (list(sparse), list(sparse.values()))
        with registry.collections(self.options, place) as collections:
            return collections.search(place.name(self.options), vector, limit, sparse=asked)

    def found(
        self, vector: Sequence[float] | None = None, sparse: Entries | None = None, limit: int = 10
    ) -> list[tuple[Any, float]]:
        return [(hit.id, round(hit.score, 5)) for hit in self.search(vector, sparse, limit)]


@pytest.fixture(params=["embedded", "fake", pytest.param("real", marks=pytest.mark.qdrant)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Every store in turn, with a collection of its own."""
    if request.param == "embedded":
        yield Place(SinkOptions.from_mapping({"path": str(tmp_path / "store"), "vector_column": "v"}))
        return
    server = request.getfixturevalue("fake_server" if request.param == "fake" else "qdrant_server")
    options = {
        "url": server.url,
        "grpc_port": server.grpc_port,
        "path": f"c_{uuid.uuid4().hex[:12]}",
        "vector_column": "v",
    }
    yield Place(SinkOptions.from_mapping(options))


BOTH: dict[int, tuple[Sequence[float] | None, Entries | None]] = {
    1: ([1.0, 0.0, 0.0], {7: 0.1}),
    2: ([2.0, 0.0, 0.0], {7: 0.9, 30_521: 0.5}),
    3: ([3.0, 0.0, 0.0], {30_521: 1.0, 7: 0.5}),
    4: ([4.0, 0.0, 0.0], {}),
}
"""By the first axis: 4, 3, 2, 1. By index 7: 2, 3, 1."""


@pytest.mark.parametrize("name", ["", "body"])
def test_three_ways_to_ask(place: Place, name: str) -> None:
    """Points with dense and sparse vectors are found by either, by dot product, and by both, by reciprocal rank fusion,
    payload and all."""
    place.write(spec(name=name), BOTH)
    assert place.found([1.0, 0.0, 0.0], limit=2) == [(4, 4.0), (3, 3.0)]
    assert place.found(sparse={7: 2.0}) == place.found([], {7: 2.0}) == [(2, 1.8), (3, 1.0), (1, 0.2)]
    assert place.found(sparse={30_521: 1.0}, limit=1) == [(3, 1.0)]
    assert place.found([1.0, 0.0, 0.0], {7: 1.0}) == [(2, 0.75), (3, 0.66667), (4, 0.5), (1, 0.45)]
    assert place.found([1.0, 0.0, 0.0], {7: 1.0}, limit=1) == [(2, 0.75)]
    assert place.search([1.0, 0.0, 0.0], {7: 1.0}, 1)[0].payload == {"n": 2}


def test_sparse_vectors_alone(place: Place) -> None:
    """A collection needs no dense vector; what is announced says so, and a question for dense vectors is refused."""
    wanted = spec(dense=False)
    announced = place.resolve(wanted)
    assert (announced.problems, announced.dimension) == ((), None)
    assert announced.plan[0].endswith(": sparse vector 'sp'")
    place.write(wanted, {id: (None, entries) for id, (_, entries) in BOTH.items()})
    assert place.found(sparse={7: 1.0}) == [(2, 0.9), (3, 0.5), (1, 0.1)]
    assert (place.resolve(wanted).problems, place.resolve(wanted).dimension) == ((), None)
    with pytest.raises(CollectionError, match="has no dense vectors; give a sparse one"):
        place.search([1.0, 0.0, 0.0])


def test_no_entries_are_a_vector_too(place: Place) -> None:
    """A row that has lost all its weights is no longer found by those that it had, and its point is still there."""
    place.write(spec(), BOTH)
    place.write(spec(), {2: ([5.0, 0.0, 0.0], {})})
    assert place.found(sparse={7: 1.0}) == [(3, 0.5), (1, 0.1)]
    assert place.found([1.0, 0.0, 0.0], limit=1) == [(2, 5.0)]


def test_a_question_without_entries(place: Place) -> None:
    """It finds nothing by itself, and beside a dense vector it takes nothing away."""
    place.write(spec(), BOTH)
    assert place.found(sparse={}) == []
    assert [id for id, _ in place.found([1.0, 0.0, 0.0], {}, limit=2)] == [4, 3]


def test_the_largest_index(place: Place) -> None:
    """Indices are whole numbers of 32 bits."""
    place.write(spec(), {1: ([1.0, 0.0, 0.0], {2**32 - 1: 0.5, 0: 0.25})})
    assert place.found(sparse={2**32 - 1: 2.0, 0: 2.0}) == [(1, 1.5)]


def test_an_index_twice_is_refused(place: Place) -> None:
    """Neither points nor questions may have an index twice: a server names the point, and takes the other one; an
    embedded store takes nothing."""
    wanted = spec()
    place.write(wanted, {})
    opened, _ = registry.find(place.options)
    twice = SparseVectors(np.array([0, 1, 3], np.int64), np.array([2, 7, 7], np.uint32), np.ones(3, np.float32))
    with registry.collections(place.options, opened) as collections:
        name = opened.name(place.options)
        target = collections.prepare(collections.resolve(name, wanted), wanted, "run")
        points = PointBatch(
            [1, 2], {"": np.ones((2, DIMENSION), np.float32), "sp": twice}, pa.record_batch({"n": [1, 2]})
        )
        with closing(registry.store(place.options, opened, target, "run", 0, 0)) as store:
            if place.options.is_embedded:
                with pytest.raises(StoreError, match=r"unique|twice"):
                    store.submit(points)
            else:
                sent = store.submit(points)
                store.flush()
                assert sent.is_done
                assert sent.refused.keys() == {2}
                assert "unique" in sent.refused[2]
        with pytest.raises(CollectionError, match="each index once"):
            collections.search(name, None, 1, sparse=([7, 7], [1.0, 1.0]))
    assert {point for point, _ in place.found([1.0, 1.0, 1.0])} == (set() if place.options.is_embedded else {1})


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (spec(None), spec(), "has no sparse vector"),
        (spec("old"), spec(), "'old'"),
        (spec(dense=False), spec(), "has no dense vectors"),
        (spec(), spec(None), "sparse_vector_name=sp|have the vector 'sp' too"),
        (spec(), spec(dense=False), "have the vector that has no name too|has dense vectors|have dense vectors"),
    ],
    ids=["no sparse", "another name", "no dense", "sparse left out", "dense left out"],
)
def test_a_collection_that_does_not_fit(
    place: Place, first: CollectionSpec, second: CollectionSpec, words: str
) -> None:
    """A job that makes other vectors than the points have is refused in one line that names what there is."""
    place.write(first, {1: ([1.0, 0.0, 0.0] if first.dense else None, {1: 1.0} if first.sparse_vector_name else None)})
    problems = place.resolve(second).problems
    assert re.search(words, " / ".join(problems))
    assert not any("\n" in problem for problem in problems)
    with pytest.raises(CollectionError):
        place.write(second, BOTH)


def test_questions_that_cannot_be_asked(place: Place) -> None:
    """Nothing to search for, or sparse vectors where there are none: said in one line."""
    place.write(spec(None), {1: ([1.0, 0.0, 0.0], None)})
    assert place.found([1.0, 0.0, 0.0]) == [(1, 1.0)]
    with pytest.raises(CollectionError, match="nothing to search"):
        place.search()
    with pytest.raises(CollectionError, match="has no sparse vectors"):
        place.search([1.0, 0.0, 0.0], {1: 1.0})
