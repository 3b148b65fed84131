"""The embedded store: what a search sees, whatever was killed, locked or misplaced before."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from spark_vector_sink.errors import CollectionError, MissingPackageError, PermanentStoreError, TransientStoreError
from spark_vector_sink.payload_types import INDEX_TYPES, TENANT_INDEXES, SparseVectors
from spark_vector_sink.store.collection import CollectionSpec, Target
from spark_vector_sink.store.edge import EdgeCollections, EdgeStore, lock, versions
from spark_vector_sink.store.edge.layout import StoreDirectory, StoreFacts, read_facts
from spark_vector_sink.store.write_batch import PointBatch
from tests.hangs import HANGS_AFTER_SECONDS
from tests.jobs import metadata

pytest.importorskip("qdrant_edge")

DIMENSION = 4
SPEC = CollectionSpec(vector_name="", dimension=DIMENSION, distance="cosine", metadata=metadata(model="tiny"))
UUID = "550e8400-e29b-41d4-a716-446655440000"
JSON = {b"vectorsink": b"json"}
ROOT = Path(__file__).parents[2]


def spec(**changes: Any) -> CollectionSpec:
    return CollectionSpec(**{**SPEC.__dict__, **changes})


def vectors(ids: Sequence[int | str], dimension: int = DIMENSION) -> np.ndarray:
    """A vector for each id, of its own direction."""
    return np.stack(
        [np.random.default_rng(abs(hash(str(id))) % 2**32).standard_normal(dimension) for id in ids]
    ).astype(np.float32)


def batch(
    ids: Sequence[int | str], payload: pa.RecordBatch | None = None, *, name: str = "", dimension: int = DIMENSION
) -> PointBatch:
    if payload is None:
        payload = pa.record_batch({"key": pa.array([str(id) for id in ids])})
    return PointBatch(ids, {name: vectors(ids, dimension)}, payload)


def stage(target: Target, run: str, ids: Sequence[int | str], partition: int = 0, attempt: int = 0) -> tuple[str, ...]:
    store = EdgeStore(target, run, partition, attempt)
    try:
        store.submit(batch(ids))
        return store.flush()
    finally:
        store.close()


def prepare(name: Path, run: str = "run1", wanted: CollectionSpec = SPEC, seconds: float = 5) -> Target:
    collections = EdgeCollections(seconds)
    return collections.prepare(collections.resolve(str(name), wanted), wanted, run)


def finish(target: Target, run: str, receipts: Sequence[str]) -> int | None:
    """How many points there are afterwards."""
    return EdgeCollections(5).finish(target, run, receipts).points


def append(name: Path, ids: Sequence[int | str], run: str = "run1") -> int | None:
    target = prepare(name, run)
    return finish(target, run, stage(target, run, ids))


def found(name: Path, limit: int = 1000, dimension: int = DIMENSION) -> dict[int | str, dict[str, Any]]:
    return {hit.id: dict(hit.payload) for hit in EdgeCollections(5).search(str(name), [1.0] * dimension, limit)}


def in_another_process(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def held_by_another_process(lock: Path) -> Iterator[int]:
    """The store's lock, held and marked as a job would."""
    code = """
        import sys, time
        from pathlib import Path
        from spark_vector_sink.store.edge.layout import StoreDirectory
        from spark_vector_sink.store.edge.lock import locked
        with locked(StoreDirectory(Path(sys.argv[1])), 5, ""):
            print("held", flush=True)
            time.sleep(600)
    """
    process = in_another_process(code, lock.parent)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


class TestRoundTrip:
    def test_the_nearest_point_comes_first_with_its_payload(self, tmp_path: Path) -> None:
        """A search after `finish` gives the nearest point first, with id, score and payload; metadata is remembered."""
        name = tmp_path / "new" / "store"
        assert append(name, [1, 2, 3]) == 3
        hits = EdgeCollections(5).search(str(name), vectors([2])[0].tolist(), 2)
        assert hits[0].id == 2
        assert len(hits) == 2
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)
        assert hits[0].payload == {"key": "2"}
        assert EdgeCollections(5).metadata(str(name)) == SPEC.metadata

    def test_nothing_is_left_over(self, tmp_path: Path) -> None:
        """After `finish` neither staged files nor a manifest remain."""
        append(tmp_path / "s", [1])
        assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
            "CURRENT",
            "LOCK",
            "pending",
            "staging",
            "v1",
        ]
        assert not list((tmp_path / "s" / "staging").iterdir())
        assert not list((tmp_path / "s" / "pending").iterdir())

    def test_every_plain_type(self, tmp_path: Path) -> None:
        """Each plain Arrow type is read back as the same Python value, of the same type."""
        columns = {
            "null": (pa.null(), None, [None, None]),
            "bool": (pa.bool_(), None, [True, None]),
            "int": (pa.int64(), None, [2**63 - 1, -(2**63)]),
            "float": (pa.float64(), None, [2.0, None]),
            "text": (pa.string(), None, ["ü\n\u2028😀", ""]),
            "large": (pa.large_string(), None, ["x", None]),
            "list": (pa.list_(pa.string()), None, [["a", None], []]),
            "struct": (
                pa.struct([("a", pa.int64()), ("b", pa.list_(pa.float64()))]),
                None,
                [{"a": 1, "b": [0.5]}, None],
            ),
            "map": (pa.map_(pa.string(), pa.list_(pa.int64())), None, [[("k", [1]), ("l", None)], []]),
            "json": (pa.string(), JSON, ['{"a": [1, 2.0, null, "\\u00fc"], "b": {}}', None]),
            "json_list": (pa.list_(pa.field("item", pa.string(), metadata=JSON)), None, [["1", None, '"x"'], None]),
            "json_in": (
                pa.struct([pa.field("j", pa.string(), metadata=JSON), pa.field("m", pa.map_(pa.string(), pa.int64()))]),
                None,
                [{"j": "[true]", "m": [("a", 1)]}, {"j": None, "m": None}],
            ),
            "id_uuid": (pa.string(), None, ["not mine", "yours"]),
        }
        schema = pa.schema([pa.field(name, kind, metadata=metadata) for name, (kind, metadata, _) in columns.items()])
        payload = pa.RecordBatch.from_arrays(
            [pa.array(values, kind) for kind, _, values in columns.values()], schema=schema
        )
        target = prepare(tmp_path / "s")
        store = EdgeStore(target, "run1", 0, 0)
        store.submit(batch([1, 2], payload))
        EdgeCollections(5).finish(target, "run1", store.flush())
        expected = {name: values for name, (_, _, values) in columns.items()} | {
            "map": [{"k": [1], "l": None}, {}],
            "json": [{"a": [1, 2.0, None, "ü"], "b": {}}, None],
            "json_list": [[1, None, "x"], None],
            "json_in": [{"j": [True], "m": {"a": 1}}, {"j": None, "m": None}],
        }
        answers = found(tmp_path / "s")
        for row, id in enumerate([1, 2]):
            assert answers[id] == {name: values[row] for name, values in expected.items()}
            assert {name: type(value) for name, value in answers[id].items()} == {
                name: type(values[row]) for name, values in expected.items()
            }

    def test_a_slice_stages_its_own_rows_only(self, tmp_path: Path) -> None:
        """A slice of a batch stages its own rows only, nested columns included."""
        ids = list(range(2000))
        payload = pa.record_batch(
            {
                "l": pa.array([[i] for i in ids]),
                "m": pa.array([[(str(i), i)] for i in ids], pa.map_(pa.string(), pa.int64())),
                "s": pa.array([{"x": i / 2} for i in ids]),
            }
        )
        target = prepare(tmp_path / "s")
        store = EdgeStore(target, "run1", 0, 0)
        store.submit(batch(ids, payload).slice(3, 1207))
        store.submit(batch(ids, payload).slice(1500, 1502))
        assert finish(target, "run1", store.flush()) == 1206
        answers = found(tmp_path / "s", 3000)
        assert set(answers) == {*range(3, 1207), 1500, 1501}
        assert all(
            answer == {"l": [id], "m": {str(id): id}, "s": {"x": id / 2}}
            for id, answer in answers.items()
            if isinstance(id, int)
        )

    def test_ids_of_both_kinds(self, tmp_path: Path) -> None:
        """Integers and UUIDs mix in one batch, and come back as int and as canonical text."""
        append(tmp_path / "s", [0, UUID, 2**64 - 1])
        assert found(tmp_path / "s") == {0: {"key": "0"}, UUID: {"key": UUID}, 2**64 - 1: {"key": str(2**64 - 1)}}

    def test_payload_without_columns(self, tmp_path: Path) -> None:
        """Points without any payload are points too."""
        target = prepare(tmp_path / "s")
        store = EdgeStore(target, "run1", 0, 0)
        store.submit(batch([1, 2], pa.RecordBatch.from_pylist([{}, {}])))
        EdgeCollections(5).finish(target, "run1", store.flush())
        assert found(tmp_path / "s") == {1: {}, 2: {}}

    @pytest.mark.parametrize("distance", ["cosine", "dot", "euclid", "manhattan"])
    def test_named_vector_and_distances(self, tmp_path: Path, distance: str) -> None:
        """A named vector is found by its name, under every distance."""
        wanted = spec(vector_name="body", distance=distance)
        target = prepare(tmp_path / "s", wanted=wanted)
        store = EdgeStore(target, "run1", 0, 0)
        store.submit(batch([1, 2, 3], name="body"))
        EdgeCollections(5).finish(target, "run1", store.flush())
        assert set(found(tmp_path / "s")) == {1, 2, 3}

    def test_same_rows_again(self, tmp_path: Path) -> None:
        """A re-run leaves the same number of points, with the newer payload."""
        append(tmp_path / "s", range(700), "a")
        assert append(tmp_path / "s", range(500, 900), "b") == 900
        target = EdgeCollections(5).resolve(str(tmp_path / "s"), SPEC)
        assert (target.exists, target.points, target.problems, target.plan[1:]) == (True, 900, (), ())

    def test_tasks_with_other_schemas(self, tmp_path: Path) -> None:
        """Each file is read with its own schema."""
        target = prepare(tmp_path / "s")
        receipts: list[str] = []
        for partition, column in enumerate([pa.array([1]), pa.array(["one"])]):
            store = EdgeStore(target, "run1", partition, 0)
            store.submit(batch([partition], pa.record_batch({"x": column})))
            receipts += store.flush()
        assert finish(target, "run1", receipts) == 2
        assert found(tmp_path / "s") == {0: {"x": 1}, 1: {"x": "one"}}

    def test_every_type_of_payload_index_can_be_made(self, tmp_path: Path) -> None:
        """Every type of payload index can be made, at the start and later, and making it again is no error."""
        wanted = spec(payload_indexes={f"f_{kind}": kind for kind in (*INDEX_TYPES, *TENANT_INDEXES)})
        prepare(tmp_path / "s")
        plan = EdgeCollections(5).resolve(str(tmp_path / "s"), wanted).plan
        assert len(plan) == 1 + len(INDEX_TYPES) + len(TENANT_INDEXES)
        for run in ("a", "b"):
            prepare(tmp_path / "s", run, wanted)
        assert EdgeCollections(5).resolve(str(tmp_path / "s"), wanted).plan[1:] == ()
        prepare(tmp_path / "new", wanted=wanted)
        assert EdgeCollections(5).resolve(str(tmp_path / "new"), wanted).plan[1:] == ()

    def test_attempts_of_the_same_number(self, tmp_path: Path) -> None:
        """A stage that runs again counts its attempts anew: what one of before still writes does not take the place of
        what was reported."""
        target = prepare(tmp_path / "s")
        early, late = EdgeStore(target, "run1", 0, 0), EdgeStore(target, "run1", 0, 0)
        early.submit(batch([1]))
        late.submit(batch([2]))
        receipts = late.flush()
        assert not set(receipts) & set(early.flush())
        assert finish(target, "run1", receipts) == 1
        assert set(found(tmp_path / "s")) == {2}

    def test_unknown_index_type(self, tmp_path: Path) -> None:
        """A type of index that does not exist is refused, and the store remembers none."""
        with pytest.raises(PermanentStoreError, match="'banana'"):
            prepare(tmp_path / "s", wanted=spec(payload_indexes={"x": "banana"}))
        assert EdgeCollections(5).resolve(str(tmp_path / "s"), spec(payload_indexes={"x": "text"})).problems == ()

    def test_flush(self, tmp_path: Path) -> None:
        """Flush without points gives no receipt; points after a flush go into a file of their own."""
        target = prepare(tmp_path / "s")
        store = EdgeStore(target, "run1", 7, 3)
        assert store.flush() == ()
        store.submit(batch([1]))
        (first,) = store.flush()
        assert re.fullmatch("000007-3-[0-9a-f]{8}-000000.arrow", first)
        assert store.flush() == (first,)
        store.submit(batch([2]))
        receipts = store.flush()
        assert len(receipts) == 2
        assert finish(target, "run1", receipts) == 2


def sparse(*rows: dict[int, float]) -> SparseVectors:
    indices = np.array([index for row in rows for index in row], np.uint32)
    values = np.array([value for row in rows for value in row.values()], np.float32)
    return SparseVectors(np.cumsum([0, *map(len, rows)], dtype=np.int64), indices, values)


def with_sparse(ids: Sequence[int], *rows: dict[int, float], dense: bool = True) -> PointBatch:
    return PointBatch(
        ids, {**({"": vectors(ids)} if dense else {}), "sp": sparse(*rows)}, pa.record_batch({"n": list(ids)})
    )


class TestSparse:
    BOTH = spec(sparse_vector_name="sp")
    ALONE = spec(sparse_vector_name="sp", dense=False, dimension=None)

    @pytest.mark.parametrize("dense", [True, False])
    def test_a_slice_stages_its_own_entries_only(self, tmp_path: Path, dense: bool) -> None:
        """A slice of a batch stages its own entries only, over more points than are brought in at once; unsorted ones
        too."""
        ids = list(range(2000))
        rows = [{2 * n + 1: 1.0, n: n / 2} if n % 3 else {} for n in ids]
        target = prepare(tmp_path / "s", wanted=self.BOTH if dense else self.ALONE)
        store = EdgeStore(target, "run1", 0, 0)
        store.submit(with_sparse(ids, *rows, dense=dense).slice(4, 1207))
        store.submit(with_sparse(ids, *rows, dense=dense).slice(1500, 1502))
        assert finish(target, "run1", store.flush()) == 1205
        for id in (4, 1001, 1501):
            own = EdgeCollections(5).search(str(tmp_path / "s"), None, 5, sparse=([2 * id + 1], [2.0]))
            assert [(hit.id, hit.score) for hit in own if hit.score == 2.0] == ([(id, 2.0)] if id % 3 else [])

    @pytest.mark.parametrize(
        ("points", "words"),
        [
            (with_sparse([1, 2], {3: 1.0}, {4: 1.0}).slice(0, 0), None),
            (batch([1]), "takes the vector '' and 'sp', but got ''"),
            (with_sparse([1], {3: 1.0}, dense=False), "but got 'sp'"),
            (
                PointBatch([1], {"": sparse({1: 1.0}), "sp": vectors([1])}, pa.record_batch({"n": [1]})),
                "dense or sparse",
            ),
            (
                PointBatch(
                    [1],
                    {"": vectors([1]), "sp": SparseVectors(*map(np.array, ([0, 3], [5, 4, 5], [1, 1, 1])))},
                    pa.record_batch({"n": [1]}),
                ),
                "twice",
            ),
        ],
        ids=["empty", "no sparse", "no dense", "kinds", "twice"],
    )
    def test_sparse_vectors_that_the_index_could_not_take_are_refused(
        self, tmp_path: Path, points: PointBatch, words: str | None
    ) -> None:
        """What the index could not take is refused in the task, and nothing of it is staged."""
        store = EdgeStore(prepare(tmp_path / "s", wanted=self.BOTH), "run1", 0, 0)
        if words is None:
            store.submit(points)
        else:
            with pytest.raises(PermanentStoreError, match=words):
                store.submit(points)
        assert store.flush() == ()

    def test_the_same_index_in_two_rows(self, tmp_path: Path) -> None:
        """Only within a row is an index there once."""
        store = EdgeStore(prepare(tmp_path / "s", wanted=self.ALONE), "run1", 0, 0)
        store.submit(with_sparse([1, 2], {5: 1.0, 2: 1.0}, {5: 1.0, 2: 1.0}, dense=False))
        assert len(store.flush()) == 1

    def test_a_store_of_before(self, tmp_path: Path) -> None:
        """A store that was made when there were no sparse vectors is one without them."""
        append(tmp_path / "s", [1])
        facts = tmp_path / "s" / "v1" / "sink.json"
        facts.write_text(
            json.dumps(
                {name: value for name, value in json.loads(facts.read_text()).items() if name != "sparse_vector_name"}
            )
        )
        assert set(found(tmp_path / "s")) == {1}
        problems = EdgeCollections(5).resolve(str(tmp_path / "s"), self.BOTH).problems
        assert problems == (
            f"{tmp_path / 's'} has no sparse vector, but this job makes 'sp'; write to another directory",
        )


class TestResolve:
    def test_a_store_that_does_not_exist_is_announced_and_not_made(self, tmp_path: Path) -> None:
        """A store that does not exist is announced and not made."""
        for name in (tmp_path / "a" / "b", tmp_path):
            target = EdgeCollections(5).resolve(str(name), spec(payload_indexes={"lang": "keyword"}))
            assert (target.exists, target.physical, target.problems) == (False, "v1", ())
            assert target.plan == (
                f"create the embedded store {name}: vectors of 4 dimensions, cosine",
                "create the payload index lang:keyword",
            )
        assert not list(tmp_path.iterdir())

    def test_not_to_be_created(self, tmp_path: Path) -> None:
        """With create_collection=false a missing store is a problem."""
        assert (
            "create_collection=true" in EdgeCollections(5).resolve(str(tmp_path / "s"), spec(create=False)).problems[0]
        )

    def test_misfits(self, tmp_path: Path) -> None:
        """Each thing in which an existing store differs is one problem, and `prepare` refuses all of them."""
        prepare(tmp_path / "s", wanted=spec(payload_indexes={"lang": "keyword"}))
        wanted = spec(dimension=8, distance="dot", vector_name="v", payload_indexes={"lang": "text"})
        target = EdgeCollections(5).resolve(str(tmp_path / "s"), wanted)
        for problem, words in zip(
            target.problems, ("4 dimensions", "distance=cosine", "unnamed", "'lang'"), strict=True
        ):
            assert words in problem
            assert "\n" not in problem
        with pytest.raises(CollectionError, match="4 problems"):
            EdgeCollections(5).prepare(target, wanted, "run2")

    def test_foreign_directory(self, tmp_path: Path) -> None:
        """Nothing is ever written into a folder that holds other things."""
        for name, content in (("notes.txt", "mine"), ("LOCK", "pid 12")):
            folder = tmp_path / name / "folder"
            folder.mkdir(parents=True)
            (folder / name).write_text(content)
            target = EdgeCollections(5).resolve(str(folder), SPEC)
            assert "holds no embedded store" in target.problems[0]
            with pytest.raises(CollectionError):
                EdgeCollections(5).prepare(Target(str(folder), "v1", exists=False), SPEC, "run1")
            assert [path.name for path in folder.iterdir()] == [name]

    def test_a_look_while_an_overwrite_switches(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is told is told of one version, and not of two."""
        append(tmp_path / "s", [1, 2])

        def then_switched(directory: StoreDirectory, physical: str) -> StoreFacts:
            facts = read_facts(directory, physical)
            directory.current_file.write_text("v2\n")
            return facts

        monkeypatch.setattr(versions, "read_facts", then_switched)
        told = EdgeCollections(5).inspect(str(tmp_path / "s"))
        assert (told.physical, told.points) == ("v1", 2)

    def test_lost_current(self, tmp_path: Path) -> None:
        """A store that lost its file CURRENT is not taken for an unfinished one: its points stay, and the way back is
        said."""
        target = prepare(tmp_path / "s")
        store = EdgeStore(target, "run1", 0, 0)
        store.submit(batch([1, 2]))
        EdgeCollections(5).finish(target, "run1", store.flush())
        (tmp_path / "s" / "CURRENT").unlink()
        with pytest.raises(
            CollectionError, match="holds 2 points but no file CURRENT; write a file CURRENT with the line v1"
        ):
            prepare(tmp_path / "s", "run2")
        (tmp_path / "s" / "CURRENT").write_text("v1\n")
        assert len(found(tmp_path / "s")) == 2

    def test_file(self, tmp_path: Path) -> None:
        """A file, or a path below one, is no place for a store."""
        (tmp_path / "f").write_text("x")
        for name in (tmp_path / "f", tmp_path / "f" / "s"):
            assert "is a file" in EdgeCollections(5).resolve(str(name), SPEC).problems[0]

    def test_not_writable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A parent that cannot be written to is a problem before the job."""
        monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
        assert "not writable" in EdgeCollections(5).resolve(str(tmp_path / "s"), SPEC).problems[0]

    def test_unknown_dimension(self, tmp_path: Path) -> None:
        """A job that does not know the length of its vectors takes the store's; without a store it cannot begin."""
        wanted = spec(dimension=None)
        with pytest.raises(CollectionError, match="'dimension'"):
            prepare(tmp_path / "s", wanted=wanted)
        prepare(tmp_path / "s")
        assert EdgeCollections(5).resolve(str(tmp_path / "s"), wanted).dimension == DIMENSION
        assert prepare(tmp_path / "s", wanted=wanted).dimension == DIMENSION

    def test_metadata(self, tmp_path: Path) -> None:
        """Metadata of an empty store is the next job's; that of one with points stays; a missing store has none."""
        one, two = metadata(model="one"), metadata(model="two")
        assert EdgeCollections(5).metadata(str(tmp_path / "s")) is None
        for latest in (one, two):
            target = prepare(tmp_path / "s", wanted=spec(metadata=latest))
            assert EdgeCollections(5).metadata(str(tmp_path / "s")) == latest
        EdgeCollections(5).finish(target, "run1", stage(target, "run1", [1]))
        prepare(tmp_path / "s", wanted=spec(metadata=metadata(model="two", library="another")))
        assert EdgeCollections(5).metadata(str(tmp_path / "s")) == two

    def test_search_of_nothing(self, tmp_path: Path) -> None:
        """Searching where there is no store, or with a vector of another length, says so."""
        with pytest.raises(CollectionError, match="no embedded store"):
            EdgeCollections(5).search(str(tmp_path / "s"), [1.0], 1)
        append(tmp_path / "s", [1])
        with pytest.raises(CollectionError, match="4 dimensions"):
            EdgeCollections(5).search(str(tmp_path / "s"), [1.0], 1)

    def test_without_qdrant_edge(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the package the driver says what to install, before anything is made."""
        monkeypatch.setitem(sys.modules, "qdrant_edge", None)
        with pytest.raises(MissingPackageError, match=r"spark-vector-sink\[edge\]"):
            EdgeCollections(5).resolve(str(tmp_path / "s"), SPEC)


class TestRefusals:
    """What a task refuses, because one bad point would stand in the way of every later run."""

    @pytest.mark.parametrize(
        ("points", "words"),
        [
            (batch([1], dimension=5), "4 dimensions, but got 5"),
            (batch([1], name="other"), "'other'"),
            (batch(["NOT-A-UUID"]), "no point id"),
            (batch([-1]), "no point id"),
            (batch([2**64]), "no point id"),
        ],
    )
    def test_points_that_the_index_could_not_take_are_refused(
        self, tmp_path: Path, points: PointBatch, words: str
    ) -> None:
        """A point that the index could not take is refused in the task, and nothing of the batch is staged."""
        target = prepare(tmp_path / "s")
        store = EdgeStore(target, "run1", 0, 0)
        with pytest.raises(PermanentStoreError, match=words):
            store.submit(points)
        assert store.flush() == ()

    def test_directory_not_visible(self, tmp_path: Path) -> None:
        """A task that does not see the driver's directory says on which host, and what to do."""
        with pytest.raises(
            PermanentStoreError, match=r"not visible to the executor on host .*shared filesystem.*'url'"
        ):
            EdgeStore(Target(str(tmp_path / "s"), "v1", exists=True), "run1", 0, 0)
        prepare(tmp_path / "s", "another")
        with pytest.raises(PermanentStoreError, match="not visible"):
            EdgeStore(Target(str(tmp_path / "s"), "v1", exists=True), "run1", 0, 0)

    def test_lost_staged_file(self, tmp_path: Path) -> None:
        """A receipt whose file the driver does not see fails the run before anything is pending."""
        target = prepare(tmp_path / "s")
        with pytest.raises(PermanentStoreError, match=r"1 of 1 staged files.*9-9\.arrow"):
            EdgeCollections(5).finish(target, "run1", ["9-9.arrow"])
        assert found(tmp_path / "s") == {}


class TestCrashes:
    def test_staged_only(self, tmp_path: Path) -> None:
        """Without a manifest a run never happened; what it left is swept a day later."""
        target = prepare(tmp_path / "s")
        stage(target, "run1", [1, 2])
        assert found(tmp_path / "s") == {}
        folder = tmp_path / "s" / "staging" / "run1"
        prepare(tmp_path / "s", "run2")
        assert folder.exists()
        long_ago = time.time() - 25 * 3600
        for path in (*folder.iterdir(), folder):
            os.utime(path, (long_ago, long_ago))
        prepare(tmp_path / "s", "run3")
        assert not folder.exists()

    @pytest.mark.parametrize("opener", ["search", "finish", "prepare"])
    def test_manifest_only(self, tmp_path: Path, opener: str) -> None:
        """Once the manifest is written, the next one to open the store brings the rows in."""
        from spark_vector_sink.store.edge.layout import StoreDirectory
        from spark_vector_sink.store.edge.staging import write_manifest

        target = prepare(tmp_path / "s")
        write_manifest(StoreDirectory(tmp_path / "s"), "run1", "v1", stage(target, "run1", [1, 2]))
        EdgeCollections(5).abandon(target, "run1")
        resolved = EdgeCollections(5).resolve(str(tmp_path / "s"), SPEC)
        assert (resolved.points, resolved.plan[1:]) == (None, ("bring in the rows of 1 earlier run",))
        if opener == "finish":
            assert append(tmp_path / "s", [3], "run2") == 3
        elif opener == "prepare":
            assert prepare(tmp_path / "s", "run2").points == 2
        assert {1, 2} <= set(found(tmp_path / "s"))
        assert not list((tmp_path / "s" / "pending").iterdir())

    def test_killed_while_ingesting(self, tmp_path: Path) -> None:
        """kill -9 in the middle of bringing in: the next search has every point once, with its own payload."""
        target = prepare(tmp_path / "s")
        receipts = [
            name
            for partition in range(3)
            for name in stage(target, "run1", range(partition * 1000, partition * 1000 + 1500), partition)
        ]
        code = """
            import os, signal, sys
            from spark_vector_sink.store.edge import EdgeCollections, ingest
            from spark_vector_sink.store.collection import Target
            calls, convert = [], ingest.to_edge_points
            def killed_at_the_fifth(*arguments):
                calls.append(1)
                if len(calls) == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
                return convert(*arguments)
            ingest.to_edge_points = killed_at_the_fifth
            EdgeCollections(5).finish(Target(sys.argv[1], "v1", exists=True), "run1", sys.argv[2:])
        """
        process = in_another_process(code, tmp_path / "s", *receipts)
        _, errors = process.communicate(timeout=HANGS_AFTER_SECONDS)
        assert process.returncode == -signal.SIGKILL, errors
        assert EdgeCollections(5).resolve(str(tmp_path / "s"), SPEC).points is None
        answers = found(tmp_path / "s", 10_000)
        assert answers == {id: {"key": str(id)} for id in range(3500)}
        assert EdgeCollections(5).resolve(str(tmp_path / "s"), SPEC).points == 3500

    def test_killed_while_making_the_store(self, tmp_path: Path) -> None:
        """A store whose making was cut short is made anew."""
        prepare(tmp_path / "s")
        (tmp_path / "s" / "CURRENT").unlink()
        target = EdgeCollections(5).resolve(str(tmp_path / "s"), SPEC)
        assert (target.exists, target.problems) == (False, ())
        assert append(tmp_path / "s", [1], "run2") == 1

    def test_unfinished_files(self, tmp_path: Path) -> None:
        """A task's file counts only under its final name; closing the task without flush leaves none."""
        target = prepare(tmp_path / "s")
        store = EdgeStore(target, "run1", 0, 0)
        store.submit(batch([1]))
        folder = tmp_path / "s" / "staging" / "run1"
        assert not list(folder.glob("*.arrow"))
        store.close()
        assert [path.name for path in folder.iterdir()] == ["RUN"]

    def test_abandon(self, tmp_path: Path) -> None:
        """An abandoned run leaves nothing behind, and abandoning twice, or a store that never was, is no error."""
        target = prepare(tmp_path / "s")
        stage(target, "run1", [1])
        for _ in range(2):
            EdgeCollections(5).abandon(target, "run1")
        EdgeCollections(5).abandon(Target(str(tmp_path / "never"), "v1", exists=False), "run1")
        assert not (tmp_path / "s" / "staging" / "run1").exists()
        assert found(tmp_path / "s") == {}

    def test_losing_attempt(self, tmp_path: Path) -> None:
        """Only the files that the driver names are brought in."""
        target = prepare(tmp_path / "s")
        stage(target, "run1", [1], attempt=0)
        EdgeCollections(5).finish(target, "run1", stage(target, "run1", [2], attempt=1))
        assert set(found(tmp_path / "s")) == {2}

    def test_two_runs_at_once(self, tmp_path: Path) -> None:
        """Runs that stage at the same time both come in, whichever ends first; for the same id the later one to end
        wins."""
        first, second = prepare(tmp_path / "s", "a"), prepare(tmp_path / "s", "b")
        receipts = {run: stage(target, run, ids) for run, target, ids in (("a", first, [1, 2]), ("b", second, [2, 3]))}
        assert finish(second, "b", receipts["b"]) == 2
        assert finish(first, "a", receipts["a"]) == 3

    def test_order_of_pending_runs(self, tmp_path: Path) -> None:
        """Pending runs come in in the order in which they ended, also when the clock went backwards."""
        from spark_vector_sink.store.edge.layout import StoreDirectory
        from spark_vector_sink.store.edge.staging import write_manifest

        for run in ("z", "a"):
            target = prepare(tmp_path / "s", run)
        for run in ("z", "a"):
            store = EdgeStore(target, run, 0, 0)
            store.submit(batch([1], pa.record_batch({"run": pa.array([run])})))
            write_manifest(StoreDirectory(tmp_path / "s"), run, "v1", store.flush())
            if run == "z":
                path = tmp_path / "s" / "pending" / "z.json"
                path.write_text(json.dumps({**json.loads(path.read_text()), "created": time.time_ns() + 10**12}))
        assert found(tmp_path / "s") == {1: {"run": "a"}}

    def test_finish_twice(self, tmp_path: Path) -> None:
        """`finish` for a run that is already pending is no error with the same files, and refused with others."""
        from spark_vector_sink.store.edge.layout import StoreDirectory
        from spark_vector_sink.store.edge.staging import write_manifest

        target = prepare(tmp_path / "s")
        receipts = stage(target, "run1", [1])
        write_manifest(StoreDirectory(tmp_path / "s"), "run1", "v1", receipts)
        with pytest.raises(PermanentStoreError, match="already waits"):
            EdgeCollections(5).finish(target, "run1", (*receipts, "9-9.arrow"))
        assert finish(target, "run1", receipts) == 1


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class TestLocks:
    def test_lock_held(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A held lock is waited for no longer than agreed; the message names the holder; the rows come in later."""
        clock = Clock()
        monkeypatch.setattr(lock, "time", clock)
        target = prepare(tmp_path / "s")
        receipts = stage(target, "run1", [1, 2])
        with held_by_another_process(tmp_path / "s" / "LOCK") as pid:
            with pytest.raises(
                TransientStoreError, match=rf"held by process {pid} on .*rows of this run are safe"
            ) as caught:
                EdgeCollections(0.3).finish(target, "run1", receipts)
            assert 0.3 <= clock.now < 0.4
            assert "\n" not in str(caught.value)
            EdgeCollections(0.1).abandon(target, "run1")
            with pytest.raises(TransientStoreError, match="try again"):
                EdgeCollections(0.1).search(str(tmp_path / "s"), [1.0] * 4, 1)
        assert set(found(tmp_path / "s")) == {1, 2}

    def test_index_open_elsewhere(self, tmp_path: Path) -> None:
        """An index that another program has open without our lock gives the same clear error."""
        target = prepare(tmp_path / "s")
        receipts = stage(target, "run1", [1])
        code = (
            "import qdrant_edge, sys, time; s = qdrant_edge.EdgeShard.load(sys.argv[1]); print('open', "
            "flush=True); time.sleep(600)"
        )
        process = in_another_process(code, tmp_path / "s" / "v1" / "shard")
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            with pytest.raises(TransientStoreError, match=r"open in a program.*rows of this run are safe"):
                EdgeCollections(0.3).finish(target, "run1", receipts)
        finally:
            process.kill()
            process.communicate()
        assert set(found(tmp_path / "s")) == {1}

    def test_lock_is_let_go(self, tmp_path: Path) -> None:
        """After every call, failed ones too, the lock is free and says so."""
        append(tmp_path / "s", [1])
        with pytest.raises(CollectionError):
            EdgeCollections(5).prepare(Target(str(tmp_path / "s"), "v1", exists=True), spec(dimension=9), "x")
        with (tmp_path / "s" / "LOCK").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert file.read() == "spark_vector_sink: free\n"

    def test_after_a_fork(self, tmp_path: Path) -> None:
        """A child forked after a search can search too: nothing stays open between calls."""
        append(tmp_path / "s", [1])
        code = """
            import os, signal, sys
            from spark_vector_sink.store.edge import EdgeCollections
            search = lambda: EdgeCollections(5).search(sys.argv[1], [1.0] * 4, 1)
            search()
            child = os.fork()
            if child == 0:
                signal.alarm(200)
                os._exit(0 if search()[0].id == 1 else 1)
            sys.exit(os.waitpid(child, 0)[1])
        """
        process = in_another_process(code, tmp_path / "s")
        _, errors = process.communicate(timeout=HANGS_AFTER_SECONDS)
        assert process.returncode == 0, errors
