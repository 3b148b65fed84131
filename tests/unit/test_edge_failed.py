"""An embedded store and rows that its index would not take: refused by the task, and set aside whole where they got
further."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import PermanentStoreError, TransientStoreError
from spark_vector_sink.payload_types import JSON_MARK, SPREAD_MARK, SparseVectors
from spark_vector_sink.rows import payload
from spark_vector_sink.store.collection import CollectionSpec, Target
from spark_vector_sink.store.edge import EdgeCollections, EdgeStore, ingest, staging
from spark_vector_sink.store.edge import index as shard
from spark_vector_sink.store.edge.layout import StoreDirectory, read_facts
from spark_vector_sink.store.edge.staged_file import Operation, StagedFile, UnfitError, read_operations
from spark_vector_sink.store.edge.staged_points import to_record_batch
from spark_vector_sink.store.edge.staging import begin_run, write_manifest
from spark_vector_sink.store.write_batch import How, PointBatch, PointId, Removal
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.jobs import Place, metadata, vectors

pytest.importorskip("qdrant_edge")

SPEC = CollectionSpec("d", 2, "dot", metadata("d", "sp"), sparse_vector_name="sp", reads=True)
SEVERAL = 3


class Store:
    """An embedded store with a dense and a sparse vector, and runs on it."""

    def __init__(self, root: Path) -> None:
        self.name, self.directory = root / "store", StoreDirectory(root / "store")
        self.collections = EdgeCollections(5)

    def prepare(self, run: str) -> Target:
        return self.collections.prepare(self.collections.resolve(str(self.name), SPEC), SPEC, run)

    def task(self, run: str) -> EdgeStore:
        return EdgeStore(self.prepare(run), run, 0, 0)

    def pending(self, run: str, operation: Operation | None = None) -> Path:
        """A run whose manifest is written; its staged file, of this operation or of good points."""
        begin_run(self.directory, run)
        file = self.directory.staging(run) / "000000-0-0-000000.arrow"
        staged = StagedFile(file.with_suffix(".tmp"))
        staged.write(operation or Operation("replace", rows(self, points([1, 2, 3], {"run": [run] * 3}))))
        staged.publish_as(file)
        write_manifest(self.directory, run, "v1", [file.name])
        return file

    def job(self, run: str, batch: PointBatch) -> int | None:
        store = self.task(run)
        store.submit(batch)
        return self.collections.finish(self.prepare(run), run, store.flush()).points

    def there(self) -> dict[PointId, dict[str, Any]]:
        return {hit.id: dict(hit.payload) for hit in self.collections.search(str(self.name), [1.0, 1.0], 1000)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.prepare("first")
    return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A store in which tasks of run1 stage rows that nobody brings in."""
    return Store(tmp_path_factory.mktemp("shared")).prepare("run1")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was logged since the last call."""
    caplog.set_level(logging.WARNING, "spark_vector_sink")

    def messages() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return messages


def points(ids: list[Any], columns: Mapping[str, Any], how: How = How.REPLACE, versions: Any = None) -> PointBatch:
    """columns: values, or an array with its field."""
    made = {name: of if isinstance(of, tuple) else (pa.array(of), None) for name, of in columns.items()}
    fields = [pa.field(name, array.type, metadata=mark) for name, (array, mark) in made.items()]
    n = len(ids)
    sparse = SparseVectors(np.arange(n + 1), np.ones(n, np.uint32), np.ones(n, np.float32))
    both = {"d": np.ones((n, 2), np.float32), "sp": sparse} if how in (How.REPLACE, How.MERGE) else {}
    return PointBatch(
        ids,
        both,
        pa.RecordBatch.from_arrays([array for array, _ in made.values()], schema=pa.schema(fields)),
        versions,
        how,
    )


def rows(store: Store, batch: PointBatch) -> pa.RecordBatch:
    return to_record_batch(batch, read_facts(store.directory, "v1"))


def json_column(*texts: str, mark: Mapping[bytes, bytes] = JSON_MARK) -> tuple[pa.Array, Any]:
    return pa.array(texts, pa.string()), mark


def unreadable() -> pa.Array:
    """Texts, of which the second is no UTF-8."""
    return pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(np.array([0, 1, 2, 3], np.int32)), pa.py_buffer(b"a\xffc")]
    )


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


OURS = {"document": "1", "chunk": 0, "chunks": 1}
BAD_SECOND_ROWS: dict[str, tuple[Any, str]] = {
    "no JSON": (json_column("1", "words", "2"), "'x' holds text that is no JSON"),
    "empty JSON": (json_column("1", "", "2"), "no JSON"),
    "JSON with NaN": (json_column("1", '{"a": NaN}', "2"), "NaN, which is not finite"),
    "JSON beyond floats": (json_column("1", "[1e999]", "2"), "1e999, which is not finite"),
    "JSON beyond int64": (json_column("1", "[9223372036854775808]", "2"), "more than 64 bits"),
    "JSON beyond all integers": (json_column("1", "1" * 5000, "2"), "more than 64 bits"),
    "half a character": (json_column("1", '"\\ud800"', "2"), "surrogate"),
    "half a name": (json_column("1", '{"\\udc00": 1}', "2"), "surrogate"),
    "deep JSON": (json_column("1", nested(123), "2"), "nested deeper than"),
    "very deep JSON": (json_column("1", nested(100_000), "2"), "nested deeper than"),
    "deep JSON in lists": (
        (pa.array([["1"], [nested(99)], []]).cast(pa.list_(pa.field("item", pa.string(), metadata=JSON_MARK))), None),
        "nested deeper than",
    ),
    "no object to spread": (json_column("{}", "[1]", "{}", mark=SPREAD_MARK), "no JSON object"),
    "a document that is none": (
        json_column("{}", '{"_sink": {"document": "²"}}', "{}", mark=SPREAD_MARK),
        "'_sink.document'",
    ),
    "chunks that are words": (
        json_column("{}", '{"_sink": {"chunks": "two"}}', "{}", mark=SPREAD_MARK),
        "'_sink.chunks'",
    ),
    "a number that is none": ([1.0, float("nan"), 2.0], "not finite"),
    "one in a list": ([[1.0], [2.0, float("inf")], None], "not finite"),
    "one in a map": (
        (pa.array([[], [("a", float("inf"))], None], pa.map_(pa.string(), pa.float64())), None),
        "not finite",
    ),
    "one in a struct": ([{"a": 1.0}, {"a": float("nan")}, None], "not finite"),
    "bytes": ((unreadable(), None), "UTF8"),
}
FORMS: dict[str, tuple[Mapping[str, Any], str]] = {
    "bytes": ({"x": [b"x"]}, "'x' is of type binary"),
    "a moment": ({"x": pa.array([1], pa.timestamp("us")).to_pylist()}, "'x' is of type timestamp"),
    "a decimal in a list": ({"x": (pa.array([[1]], pa.list_(pa.decimal128(5))), None)}, "of type decimal128"),
    "numbers as names": (
        {"x": (pa.array([[(1, 2)]], pa.map_(pa.int64(), pa.int64())), None)},
        "'x' has keys that are no texts",
    ),
    "JSON that is no text": ({"x": (pa.array([1]), JSON_MARK)}, "marked as JSON"),
    "_sink that is a text": ({"_sink": ["x"]}, "'_sink' is no object"),
    "chunks that are a text": ({"_sink": [{"chunks": "1"}]}, r"'_sink\.chunks' is of type string"),
    "a type that is deep": (
        {"x": (pa.nulls(1, eval("pa.list_(" * 101 + "pa.int64()" + ")" * 101)), None)},
        "nested deeper than 100",
    ),
}


class TestStaging:
    @pytest.mark.parametrize(("column", "reason"), BAD_SECOND_ROWS.values(), ids=BAD_SECOND_ROWS)
    def test_a_row_that_is_refused(self, shared: Target, column: Any, reason: str) -> None:
        """A task refuses the one row that the index would not take, with the reason, and stages the others."""
        task = EdgeStore(shared, "run1", 0, 0)
        sent = task.submit(points([1, 2, 3], {"x": column}))
        assert list(sent.refused) == [2]
        assert reason in sent.refused[2]
        assert "\n" not in sent.refused[2]
        assert sent.is_done
        (name,) = task.flush()
        (operation,) = read_operations(StoreDirectory(Path(shared.name)).staging("run1") / name)
        assert operation.rows.column("id_number").to_pylist() == [1, 3]

    @pytest.mark.parametrize("how", list(How))
    def test_whatever_is_done_with_it(self, store: Store, how: How) -> None:
        """The same, whatever the row does to the point that is there; also in two columns at once."""
        task = store.task("run1")
        columns = {"x": json_column("1", "]", "2"), "y": [1.0, 2.0, float("nan")], "_sink": [OURS, OURS, OURS]}
        assert set(task.submit(points([1, 2, 3], columns, how)).refused) == {2, 3}
        assert task.submit(points([2], {"x": json_column("]")}, how)).refused.keys() == {2}
        store.collections.finish(store.prepare("run1"), "run1", task.flush())

    @pytest.mark.parametrize(("columns", "words"), FORMS.values(), ids=FORMS)
    def test_a_type_that_is_refused(self, shared: Target, columns: Mapping[str, Any], words: str) -> None:
        """A column that no payload can hold is refused as a whole, by name, before anything is staged."""
        task = EdgeStore(shared, "run1", 0, 0)
        with pytest.raises(PermanentStoreError, match=words):
            task.submit(points([1], columns))
        assert task.flush() == ()

    def test_a_name_twice(self, store: Store) -> None:
        """Of two columns of one name a payload could hold one."""
        batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
        with pytest.raises(PermanentStoreError, match="'x' is twice"):
            store.task("run1").submit(PointBatch([1], points([1], {}).vectors, batch))

    def test_a_vector_that_is_not_finite(self, store: Store) -> None:
        """Numbers that are none are refused in vectors of both kinds."""
        good = points([1, 2], {})
        dense = np.array([[1, 1], [1, np.nan]], np.float32)
        sparse = SparseVectors(np.arange(3), np.ones(2, np.uint32), np.array([np.inf, 1], np.float32))
        task = store.task("run1")
        assert task.submit(PointBatch([1, 2], {**good.vectors, "d": dense}, good.payload)).refused.keys() == {2}
        assert task.submit(PointBatch([1, 2], {**good.vectors, "sp": sparse}, good.payload)).refused.keys() == {1}

    @pytest.mark.parametrize("how", list(How))
    def test_what_is_deep_and_allowed(self, store: Store, how: How) -> None:
        """The deepest value that a task takes is there again after the log was replayed, whichever way it was
        written."""
        store.job("run1", points([1], {"x": [0]}))
        batch = points([1], {"x": json_column(nested(99))}, how)
        assert not store.task("run2").submit(batch).refused
        file = store.pending("run3", Operation(how.value, rows(store, batch)))
        facts = read_facts(store.directory, "v1")
        with shard.opened(store.directory.shard("v1"), 5) as index:
            ingest.ingest(_Unflushed(index), [file], facts, store.directory.decisions_file("run3"))
        with shard.opened(store.directory.shard("v1"), 5) as index:
            (record,) = index.retrieve([1], True, False)
        assert json.dumps(record.payload["x"]) == nested(99)

    def test_a_row_that_the_checks_of_rows_let_through(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What only the store finds is a bad row with its key, and the others are written."""
        monkeypatch.setattr(payload, "_checked_json", lambda array: array)
        place = Place({"path": str(tmp_path / "s"), "vector_column": "v", "rejects_path": str(tmp_path / "rejects")})
        table = vectors(3)
        table = table.append_column(pa.field("j", pa.string(), metadata=JSON_MARK), pa.array(["{}", "{", "1"]))
        report = place.write(table)
        assert (report.points, report.rejected) == (2, 1)
        (rejected,) = pq.read_table(tmp_path / "rejects").to_pylist()
        assert (rejected["_reject_key"], rejected["_reject_reason"]) == ("1", "refused by the store")
        assert "the row with key '1' cannot be written: 'j' holds text that is no JSON" in rejected["_reject_message"]
        assert place.stored().keys() == {0, 2}


class _Unflushed:
    """An index whose log is not cut, as if the process ended before."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def flush(self) -> None:
        pass


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def flipped(path: Path) -> None:
    """The lengths of all lists and texts are nonsense."""
    content = path.read_bytes()
    path.write_bytes(content.replace(np.arange(4, dtype=np.int64).tobytes(), np.array([0, 2**40, 1, 3]).tobytes()))


def forged(kind: str, **columns: Any) -> Callable[[Store], Operation]:
    """A staged operation that no task makes: of three good points, but for these columns."""

    def make(store: Store) -> Operation:
        good = rows(
            store, points([1, 2, 3], {"n": [1, 2, 3]}, How(kind) if kind in {how.value for how in How} else How.REPLACE)
        )
        made = {name: good.column(name) for name in good.schema.names} | columns
        return Operation(kind, pa.record_batch({name: column for name, column in made.items() if column is not None}))

    return make


def texts(*values: Any) -> pa.Array:
    return pa.array(values, pa.string())


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "garbage": (garbage, "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "ends too early: 0 bytes"),
    "cut": (cut, "is damaged|ends too early"),
    "gone": (Path.unlink, "is not there"),
    "lengths": (flipped, "is damaged from row 1 on"),
}
OPERATIONS: dict[str, tuple[Callable[[Store], Operation], str]] = {
    "a kind that is none": (forged("upsert"), "no operation 'upsert'"),
    "another dimension": (
        forged("replace", vector=pa.array([[1.0] * 3] * 3, pa.list_(pa.float32(), 3))),
        "'vector' is of type",
    ),
    "other numbers": (
        forged("replace", vector=pa.array([[1.0] * 2] * 3, pa.list_(pa.float64(), 2))),
        "'vector' is of type",
    ),
    "a vector that is null": (
        forged("replace", vector=pa.array([[1.0] * 2, None, [1.0] * 2], pa.list_(pa.float32(), 2))),
        "row 4 .* is null",
    ),
    "another vector": (forged("replace", **{"vector:b": pa.array([[1.0]] * 3)}), "'vector:b'"),
    "half a sparse vector": (forged("replace", sparse_values=None), "0 columns 'sparse_values'"),
    "a longer half": (
        forged("replace", sparse_values=pa.array([[1], [1, 2], [1]], pa.large_list(pa.float32()))),
        "row 4 .*, point 2: .* more indices",
    ),
    "no id": (
        forged("replace", id_number=pa.array([1, None, 3], pa.uint64())),
        "row 4 .*, point without an id: it needs one id",
    ),
    "two ids": (forged("replace", id_uuid=texts(None, "x", None)), "row 4 .*, point 2: it needs one id"),
    "an id that is none": (
        forged("replace", id_number=pa.array([1, None, 3], pa.uint64()), id_uuid=texts(None, "x", None)),
        "row 4 .*, point x: its id is no point id",
    ),
    "ids of another type": (forged("remove", id_number=texts("1", "2", "3")), "'id_number' is of type string"),
    "a version that is a text": (forged("replace", version=texts("1", "2", "3")), "'version' is of type string"),
    "a payload that is a text": (forged("patch", payload=texts("1", "2", "3")), "'payload' is of type string"),
    "bad JSON": (
        lambda store: Operation("replace", rows(store, points([1, 2, 3], {"x": json_column("1", "words", "2")}))),
        "row 4 of 000000-0-0-000000.arrow, point 2: 'x' holds text that is no JSON",
    ),
    "a touch of nothing that is": (
        lambda store: Operation(
            "touch", rows(store, points([1], {}, How.PATCH)).select(["id_number", "id_uuid"]), {"run": [1]}
        ),
        "a touch sets texts",
    ),
}
MANIFESTS: dict[str, tuple[str | dict[str, Any], str]] = {
    "empty": ("", "JSONDecodeError"),
    "garbage": ("\x00\x01", "JSONDecodeError"),
    "a list": ("[]", "TypeError"),
    "without files": ({"files": None}, "TypeError"),
    "without any file": ({"files": []}, "does not say which files"),
    "without a version": ({"version": None}, "TypeError"),
    "another run": ({"run": "run9"}, "another run, 'run9'"),
    "a file elsewhere": ({"files": ["../../CURRENT"]}, "is no staged file"),
}


class TestSetAside:
    """Damage comes as runs whose manifest is written, and whoever opens the store next finds it."""

    def is_set_aside(self, store: Store, run: str, words: str, line: str) -> None:
        """That is what was said of it, and the run is there as a whole."""
        folder = store.directory.failed(run)
        assert f"the rows of run {run} cannot be brought into {store.name}: " in line
        assert f"the run is set aside in {folder}: write its rows again, then remove that folder" in line
        assert pc.match_substring_regex(line, words).as_py(), f"{words!r} in {line!r}"
        assert "\n" not in line
        assert {"REASON", "MANIFEST"} <= {path.name for path in folder.iterdir()}
        assert not store.directory.manifest(run).exists()
        assert not store.directory.staging(run).exists()

    def are_set_aside(self, store: Store, words: Mapping[str, str], messages: list[str]) -> None:
        assert len(messages) == len(words)
        for (run, expected), line in zip(words.items(), messages, strict=True):
            self.is_set_aside(store, run, expected, line)

    def test_damaged_files(self, store: Store, said: Callable[[], list[str]]) -> None:
        """A search sets each run aside whose file is damaged, says so once, and finds everything else, runs that came
        later too."""
        store.job("good", points([7], {"run": ["good"]}))
        for number, (damage, _) in enumerate(FILES.values()):
            damage(store.pending(f"run{number}"))
        store.pending("late")
        assert store.there() == {7: {"run": "good"}} | {id: {"run": "late"} for id in (1, 2, 3)}
        self.are_set_aside(store, {f"run{number}": words for number, (_, words) in enumerate(FILES.values())}, said())
        assert len(store.there()) == 4
        assert said() == []

    def test_rows_that_cannot_be_brought_in(self, store: Store, said: Callable[[], list[str]]) -> None:
        """The next job sets each run aside that holds what no task writes, names the row, and nothing of those runs is
        in the store."""
        for number, (make, _) in enumerate(OPERATIONS.values()):
            file = store.pending(f"run{number}")
            other = StagedFile(file.with_suffix(".tmp"))
            other.write(Operation("replace", rows(store, points([1, 2], {"n": [1, 2]}))))
            other.write(make(store))
            other.publish_as(file)
        assert store.job("good", points([7], {"n": [7]})) == 1
        self.are_set_aside(
            store, {f"run{number}": words for number, (_, words) in enumerate(OPERATIONS.values())}, said()
        )
        assert store.there() == {7: {"n": 7}}

    def test_damaged_manifests(self, store: Store, said: Callable[[], list[str]]) -> None:
        """A manifest that cannot be understood is set aside with the run's files; a look at the store and a plan are
        not disturbed by it."""
        files = []
        for number, (text, _) in enumerate(MANIFESTS.values()):
            files.append(store.pending(f"run{number}"))
            path = store.directory.manifest(f"run{number}")
            path.write_text(text if isinstance(text, str) else json.dumps({**json.loads(path.read_text()), **text}))
        assert store.collections.inspect(str(store.name)).pending_runs == len(MANIFESTS)
        assert store.collections.resolve(str(store.name), SPEC).problems == ()
        assert store.there() == {}
        expected = {
            f"run{number}": f"its manifest is damaged: .*{words}"
            for number, (_, words) in enumerate(MANIFESTS.values())
        }
        self.are_set_aside(store, expected, said())
        assert all((store.directory.failed(file.parent.name) / file.name).exists() for file in files)
        told = store.collections.inspect(str(store.name))
        assert (told.pending_runs, told.failed_runs) == (0, len(MANIFESTS))
        assert f"failed    rows of {len(MANIFESTS)} runs, set aside in {store.name}/failed" in str(told)

    @pytest.mark.parametrize("how", ["versions", "chunks", "merge"])
    def test_whatever_the_run_does(self, store: Store, said: Callable[[], list[str]], how: str) -> None:
        """A run with versions, with chunks, or that merges is looked at as a whole before anything of it is done,
        too."""
        store.job("run1", points([1, 2], {"n": [0, 0], "_sink": [{"chunks": 1, "version": 1}] * 2}))
        before = store.there()
        ours = {
            "versions": [{"version": 5}] * 2,
            "chunks": [{"document": "1", "chunk": 0, "chunks": 2}, {"document": "1", "chunk": 1, "chunks": 2}],
        }
        columns = {"n": [1, 1], "_sink": ours.get(how, [{"chunks": 1}] * 2)}
        batch = points(
            [1, 2],
            columns,
            How.MERGE if how == "merge" else How.REPLACE,
            np.array([5, 5]) if how == "versions" else None,
        )
        file = store.pending("run2", Operation(batch.how.value, rows(store, batch)))
        with file.open("r+b") as opened:
            opened.truncate(file.stat().st_size - 100)
        assert store.there() == before
        self.are_set_aside(store, {"run2": "damaged|too early"}, said())
        store.job("run3", batch)
        assert {row["n"] for row in store.there().values()} == {1}

    def test_the_job_itself_hears_of_it(
        self, tmp_path: Path, said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A job whose own rows cannot be brought in fails with that line, also in its report; the next job is not
        disturbed."""
        place = Place({"path": str(tmp_path / "s"), "vector_column": "v"})
        monkeypatch.setattr(ingest, "check_file", _always("a fault"))
        plan = planning.plan({**place.options, "report_path": str(tmp_path / "report.json")}, vectors(3).schema)
        with pytest.raises(
            PermanentStoreError,
            match=rf"the rows of run {plan.run} cannot be brought into .*: a fault; the run is set aside in",
        ):
            committer.run(
                plan,
                lambda plan: [
                    partition_writer.write_partition(plan, vectors(3).to_batches(), TaskContext(partition=0))
                ],
            )
        (line,) = said()
        assert line.startswith("failed after")
        assert "with 0 points of 3 rows written" in line
        report = json.loads((tmp_path / "report.json").read_text())
        assert (report["written"], report["points"]) == (0, 0)
        assert "a fault; the run is set aside in" in report["error"]
        assert report["error"].endswith("; run the job again")
        monkeypatch.undo()
        assert place.write(vectors(2)).stored_points == 2
        assert said() == []

    def test_another_process_was_first(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """A job whose run a search has set aside hears the same, however often it asks."""
        task = store.task("run1")
        task.submit(points([1], {"n": [1]}))
        (name,) = task.flush()
        target = store.prepare("run1")

        def searched_at_once(*arguments: Any) -> None:
            write_manifest(*arguments)
            garbage(store.directory.staging("run1") / name)
            assert store.there() == {}

        monkeypatch.setattr(staging, "write_manifest", searched_at_once)
        for _ in range(2):
            with pytest.raises(PermanentStoreError, match=rf"{name} is damaged.*the run is set aside"):
                store.collections.finish(target, "run1", [name])

    def test_an_overwrite(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An overwrite with such rows fails and leaves what serves as it was; nothing is set aside, because nobody
        waits for its rows."""
        place = Place({"path": str(tmp_path / "s"), "vector_column": "v"})
        place.write(vectors(2))
        monkeypatch.setattr(ingest, "check_file", _always("row 3 of x.arrow, point 3: a fault"))
        with pytest.raises(
            PermanentStoreError, match=r"cannot be brought into .*/v2: row 3 of x\.arrow, point 3: a fault"
        ):
            place.write(vectors(3), mode="overwrite")
        monkeypatch.undo()
        assert len(place.stored()) == 2
        assert not (tmp_path / "s" / "failed").exists()

    @pytest.mark.parametrize("step", range(SEVERAL))
    def test_killed_while_setting_aside(
        self, store: Store, said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, step: int
    ) -> None:
        """Killed between any two steps, the next one to open the store does the rest, and says the same."""
        garbage(store.pending("run2"))
        original, calls = Path.rename, []

        class KilledError(BaseException):
            pass

        def dying(self: Path, target: Path) -> Path:
            calls.append(self)
            if len(calls) > step:
                raise KilledError
            return original(self, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", dying)
            patched.setattr(Path, "replace", dying)
            with pytest.raises(KilledError):
                store.there()
        assert len(calls) == step + 1
        assert store.there() == {}
        self.are_set_aside(store, {"run2": "000000-0-0-000000.arrow is damaged"}, said())

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device"),
            MemoryError(),
            Exception("Service runtime error: IO Error: No space left on device (os error 28)"),
            Exception("Out of memory, free: 3, needed: 4"),
            TransientStoreError("locked"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_may_be_better_the_next_time(
        self, store: Store, said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        """A fault of the machine sets nothing aside: it is said, and the run comes in the next time."""
        store.pending("run2")
        with monkeypatch.context() as patched:
            patched.setattr(ingest, "to_edge_points", _always(error))
            with pytest.raises(
                PermanentStoreError,
                match=r"the rows of run run2 cannot be brought into .* now: .*; they are safe there",
            ):
                store.there()
        assert store.there().keys() == {1, 2, 3}
        assert said() == []

    def test_what_only_the_index_knows(
        self, store: Store, said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the index itself refuses in the middle of a run sets it aside too; the same rows from the next job put
        everything right."""
        monkeypatch.setattr(ingest, "_BATCH_POINTS", 2)
        original, calls = ingest.to_edge_points, []

        def refusing(*arguments: Any) -> Any:
            calls.append(1)
            made = original(*arguments)
            if len(calls) == 2:
                return [arguments[0].Point(point.id, {"d": [1.0]}, {}) for point in made]
            return made

        monkeypatch.setattr(ingest, "to_edge_points", refusing)
        store.pending("run2")
        assert store.there().keys() == {1, 2}
        self.are_set_aside(
            store, {"run2": "refused: .*expected dim: 2, got 1; the points before it are in the store"}, said()
        )
        assert store.job("run3", points([1, 2, 3], {"n": [1, 2, 3]})) == 3
        assert store.there() == {id: {"n": id} for id in (1, 2, 3)}

    def test_a_log_of_decisions_that_does_not_fit(self, store: Store, said: Callable[[], list[str]]) -> None:
        """Decisions that are none are not acted upon."""
        task = store.task("run2")
        task.delete(Removal([1, 2], np.array([1, 1])))
        write_manifest(store.directory, "run2", "v1", task.flush())
        store.directory.decisions_file("run2").write_bytes(b"\2\0\0\0\7\7")
        assert store.there() == {}
        self.are_set_aside(store, {"run2": "DECIDED does not fit the staged files"}, said())

    def test_a_panic(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the index gives up, that is said in our words."""

        class PanicException(BaseException):
            pass

        monkeypatch.setattr(shard, "nearest", _always(PanicException("index out of bounds")))
        with pytest.raises(PermanentStoreError, match=r"the index .* cannot be used: index out of bounds"):
            store.there()
        monkeypatch.setattr(
            shard.qdrant_edge().EdgeShard, "load", staticmethod(_always(PanicException("out of bounds"))), raising=False
        )
        with pytest.raises(PermanentStoreError, match=r"the index .* cannot be opened: out of bounds"):
            store.there()

    def test_a_manifest_that_may_not_be_read(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """That is no damage: it is said, and the run stays."""
        store.pending("run2")
        monkeypatch.setattr(Path, "read_text", _always(PermissionError(errno.EACCES, "Permission denied")))
        with pytest.raises(PermanentStoreError, match=r"Permission denied"):
            store.there()
        monkeypatch.undo()
        assert store.there().keys() == {1, 2, 3}


def _always(what: str | BaseException) -> Callable[..., Any]:
    """Raises it, whatever it is called with; a text as what is said of rows."""

    def raising(*arguments: Any, **named: Any) -> Any:
        raise UnfitError(what) if isinstance(what, str) else what

    return raising
