"""Jobs that share points: different fields, different vectors, each with its own model; the same on every store."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import spark_vector_sink
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.encode import loader
from spark_vector_sink.errors import CollectionError, RefusedError
from spark_vector_sink.store.qdrant import guest_vectors
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.contract.test_deliveries import Encoded, encoded, ends, texts
from tests.fake_server import FakeServer
from tests.jobs import Place, place, server_place

__all__ = ["encoded", "place"]

FIRST: dict[str, Any] = {"encoder": "tests.fakes:Counting", "vector_column": None}
MERGE = {**FIRST, "existing": "merge"}
SECOND = {**MERGE, "encoder": "tests.fakes:Five", "vector_name": "second"}


def with_column(table: pa.Table, **columns: list[Any]) -> pa.Table:
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


def payloads(place: Place, *names: str) -> dict[str, tuple[Any, ...]]:
    """Of every document these fields."""
    return {payload["id"]: tuple(payload.get(name) for name in names) for payload in place.stored().values()}


def asked(place: Place, question: str, **options: Any) -> list[tuple[str, float]]:
    """Keys and scores of a question in words."""
    where = {name: value for name, value in place.options.items() if name not in ("path", "vector_column")}
    loader.unload()
    answers = spark_vector_sink.search(str(place.options["path"]), question, limit=10, **where, **options)
    return [(answer.key, round(answer.score, 4)) for answer in answers]


def test_a_server_that_would_replace_everything_is_refused(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qdrant 1.16 does not know an upsert that only inserts, and takes it for one that replaces."""
    monkeypatch.setattr(guest_vectors, "FIRST_TO_INSERT_ONLY", (9, 0))
    place = server_place(fake_server, "articles")
    with pytest.raises(
        CollectionError,
        match=r"^option 'existing' = 'merge' needs Qdrant 9\.0 or newer, and the server at .* is Qdrant "
        r"1\.18\.2, which would",
    ):
        place.write(texts(x="one"), **MERGE)
    place.write(texts(x="one"), **FIRST)


class TestFields:
    A, B = {**MERGE, "payload_columns": "a"}, {**MERGE, "payload_columns": "b"}

    def test_what_one_job_wrote_survives_the_other(self, place: Place) -> None:
        """Each owns a field; new ids are inserted by either."""
        rows = with_column(texts(x="one", y="two"), a=[1, 2])
        others = with_column(texts(y="two", z="three"), b=["y", "z"])
        place.write(rows, **self.A)
        place.write(others, **self.B)
        assert payloads(place, "a", "b", "text") == {
            "x": (1, None, "one"),
            "y": (2, "y", "two"),
            "z": (None, "z", "three"),
        }
        place.write(with_column(texts(x="one", y="zwei"), a=[3, 4]), **self.A)
        assert payloads(place, "a", "b", "text") == {
            "x": (3, None, "one"),
            "y": (4, "y", "zwei"),
            "z": (None, "z", "three"),
        }

    def test_a_re_run_changes_nothing(self, place: Place) -> None:
        """Of either job, in any order."""
        rows, others = (
            with_column(texts(x="one", y="two"), a=[1, 2]),
            with_column(texts(y="two", z="three"), b=["y", "z"]),
        )
        place.write(rows, **self.A)
        place.write(others, **self.B)
        before = place.stored()
        for _ in range(2):
            assert place.write(others, **self.B).stored_points == 3
            assert place.write(rows, **self.A).stored_points == 3
        assert place.stored().keys() == before.keys()
        assert payloads(place, "a", "b") == {"x": (1, None), "y": (2, "y"), "z": (None, "z")}

    def test_a_job_that_replaces_wins_as_a_whole(self, place: Place) -> None:
        """Where one merges and the other does not, a document of the latter is its own again until the former runs."""
        rows, others = with_column(texts(x="one", y="two"), a=[1, 2]), with_column(texts(y="two"), b=["y"])
        place.write(rows, **{**self.A, "existing": "replace"})
        place.write(others, **self.B)
        assert payloads(place, "a", "b") == {"x": (1, None), "y": (2, "y")}
        place.write(rows.slice(1), **{**self.A, "existing": "replace"})
        assert payloads(place, "a", "b") == {"x": (1, None), "y": (2, None)}

    def test_texts_are_not_encoded_again_for_another_jobs_fields(self, place: Place, encoded: Encoded) -> None:
        """Both jobs have the same text, so the vector stays; the payload alone is written."""
        place.write(with_column(texts(x="one", y="two"), a=[1, 2]), **self.A, unchanged="skip")
        assert encoded() == ["one", "two"]
        for _ in range(2):
            place.write(with_column(texts(y="two", z="three"), b=["y", "z"]), **self.B, unchanged="skip")
            place.write(with_column(texts(x="one", y="two"), a=[1, 2]), **self.A, unchanged="skip")
        assert encoded() == ["three"]
        assert payloads(place, "a", "b") == {"x": (1, None), "y": (2, "y"), "z": (None, "z")}

    def test_a_fingerprint_never_outlives_its_text(self, place: Place, encoded: Encoded) -> None:
        """A merge that does not skip says what it wrote, too."""
        place.write(texts(x="one"), **MERGE, unchanged="skip")
        place.write(texts(x="two"), **MERGE)
        encoded()
        assert (ends(place.write(texts(x="one"), **MERGE, unchanged="skip")), encoded()) == ({"written": 1}, ["one"])


class TestVectors:
    def test_a_second_model_moves_in(self, place: Place) -> None:
        """Beside the first, on a live collection; either answers questions with its own model."""
        rows = texts(x="one", y="two")
        place.write(rows, **FIRST)
        before = asked(place, "one")
        assert place.write(rows, **SECOND).stored_points == 2
        assert asked(place, "one") == before
        second = asked(place, "one", vector_name="second")
        assert {key for key, _ in second} == {"x", "y"}
        assert second != before

    def test_it_can_be_of_another_length_and_distance(self, place: Place) -> None:
        """Ready-made vectors; those of the first job stay what they were."""
        rows = pa.table({"id": ["x"], "v": pa.array([[1.0, 0, 0, 0]], pa.list_(pa.float32(), 4))})
        longer = pa.table(
            {"id": ["x", "y"], "v": pa.array([[1.0, 2, 3, 4, 5], [0, 0, 0, 0, 1]], pa.list_(pa.float32(), 5))}
        )
        place.write(rows)
        for _ in range(2):
            place.write(longer, existing="merge", vector_name="long", distance="dot")
        first = place.nearest([1.0, 0, 0, 0])
        assert [(hit.payload["id"], round(hit.score, 4)) for hit in first] == [("x", 1.0)]
        assert [(hit.payload["id"], hit.score) for hit in place.nearest([1.0, 1, 1, 1, 1], vector_name="long")] == [
            ("x", 15.0),
            ("y", 1.0),
        ]

    def test_the_plan_says_so(self, place: Place) -> None:
        """`check` changes nothing."""
        place.write(texts(x="one"), **FIRST)
        assert "create the vector 'second' of 5 dimensions, cosine" in str(place.check(texts(x="one"), **SECOND))
        with pytest.raises(
            CollectionError, match="has no vector 'second' that this sink has written; it has the unnamed one"
        ):
            asked(place, "one", vector_name="second")

    def test_neither_job_encodes_for_ever(self, place: Place, encoded: Encoded) -> None:
        """Each knows its own texts again."""
        rows = texts(x="one", y="two")
        for expected in (["one", "two", "one", "two"], []):
            place.write(rows, **MERGE, unchanged="skip")
            assert (
                ends(place.write(rows, **{**SECOND, "encoder": "tests.fakes:Counting"}, unchanged="skip")) is not None
            )
            assert encoded() == expected
        report = place.write(
            texts(x="one", y="zwei"), **{**SECOND, "encoder": "tests.fakes:Counting"}, unchanged="skip"
        )
        assert (ends(report), encoded()) == ({"written": 1, "unchanged": 1}, ["zwei"])

    def test_several_move_in_one_after_the_other(self, place: Place) -> None:
        """And each is remembered."""
        place.write(texts(x="one"), **FIRST)
        for name in ("b", "c"):
            place.write(texts(x="one"), **{**SECOND, "vector_name": name})
        assert [key for name in ("b", "c") for key, _ in asked(place, "one", vector_name=name)] == ["x", "x"]

    def test_two_move_in_at_once(self, place: Place) -> None:
        """Both were planned before either began."""
        place.write(texts(x="one"), **FIRST)
        rows = texts(x="one", y="two")
        plans = [
            planning.plan({**place.options, **SECOND, "vector_name": name}, rows.schema) for name in ("b", "c", "b")
        ]
        plans = [committer.prepare(plan) for plan in plans]
        reports = [partition_writer.write_partition(plan, rows.to_batches(), TaskContext()) for plan in plans]
        for plan, report in zip(plans, reports, strict=True):
            assert committer.commit(plan, [report]).written == 2
        for name in ("b", "c"):
            assert {key for key, _ in asked(place, "one", vector_name=name)} == {"x", "y"}
        assert [key for key, _ in asked(place, "one")] == ["x"]

    def test_two_first_jobs_at_once(self, place: Place) -> None:
        """Neither found a collection; the second to come moves in."""
        rows = texts(x="one")
        names = ("a", "b")
        plans = [planning.plan({**place.options, **SECOND, "vector_name": name}, rows.schema) for name in names]
        plans = [committer.prepare(plan) for plan in plans]
        for plan in plans:
            committer.commit(plan, [partition_writer.write_partition(plan, rows.to_batches(), TaskContext())])
        assert [asked(place, "one", vector_name=name)[0][0] for name in names] == ["x", "x"]

    def test_a_job_that_replaces_is_refused(self, place: Place) -> None:
        """It would remove the other's vectors with every point that it writes."""
        place.write(texts(x="one"), **FIRST)
        place.write(texts(x="one"), **SECOND)
        with pytest.raises(
            CollectionError,
            match=r"have the vector 'second' too, which this job does not write and would remove .* set existing=merge",
        ):
            place.write(texts(x="one"), **FIRST)
        place.write(texts(x="uno"), **MERGE)
        assert (payloads(place, "text"), asked(place, "one", vector_name="second")[0][0]) == ({"x": ("uno",)}, "x")


class TestGuard:
    def test_another_model_under_the_same_name(self, place: Place) -> None:
        """Before the first row, with every way out."""
        place.write(texts(x="one"), **FIRST)
        with pytest.raises(CollectionError) as caught:
            place.write(texts(x="one"), **{**FIRST, "encoder": "tests.fakes:OtherFour"})
        assert str(caught.value).endswith(
            "was filled with the model encoder tests.fakes:Counting, this job would write vectors of encoder "
            "tests.fakes:OtherFour, and no search can "
            "compare them; use that model, mode('overwrite'), another collection, or a vector of its own beside it "
            "(existing=merge with another vector_name)"
        )

    def test_also_for_one_that_moved_in(self, place: Place) -> None:
        """Each name has its own model."""
        place.write(texts(x="one"), **FIRST)
        place.write(texts(x="one"), **SECOND)
        with pytest.raises(
            CollectionError,
            match=r"the vector 'second' of .* was filled with the model encoder tests\.fakes:Five, .* or "
            r"another vector_name",
        ):
            place.write(texts(x="one"), **{**SECOND, "encoder": "tests.fakes:Counting"})
        with pytest.raises(CollectionError, match=r"was filled with the model encoder tests\.fakes:Counting"):
            place.write(texts(x="one"), **{**SECOND, "vector_name": ""})

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"distance": "dot"}, r"set distance=cosine"),
            ({"vector_column": "v", "encoder": None}, r"holds vectors of 5 dimensions, (but )?this job makes 3"),
        ],
        ids=["distance", "length"],
    )
    def test_another_length_or_distance(self, place: Place, options: dict[str, Any], words: str) -> None:
        """Of the vector that has the name."""
        place.write(texts(x="one"), **FIRST)
        place.write(texts(x="one"), **SECOND)
        rows = texts(x="one").append_column("v", pa.array([[1.0, 2, 3]], pa.list_(pa.float32(), 3)))
        with pytest.raises(CollectionError, match=words):
            place.write(rows, **{**SECOND, **options})

    @pytest.mark.parametrize(
        "options",
        [{"version_column": "version"}, {"op_column": "op"}, {"source": "t"}, {"delete_missing": True, "source": "t"}],
        ids=lambda one: next(iter(one)),
    )
    def test_only_jobs_of_the_first_vector_decide_about_documents(self, place: Place, options: dict[str, Any]) -> None:
        """A guest's versions would stand in the owner's way, and its deletions take the owner's documents."""
        rows = with_column(texts(x="one"), version=[1], op=["insert"])
        place.write(rows, **FIRST)
        with pytest.raises(
            CollectionError,
            match=f"option .*'{next(iter(options))}'.* would decide about whole documents .* leave it out of this job",
        ):
            place.write(rows, **SECOND, **options)
        place.write(rows, **MERGE, **options)

    def test_chunks_cannot_be_shared(self, place: Place) -> None:
        """Every job would cut them elsewhere."""
        with pytest.raises(
            RefusedError, match="options 'existing' = 'merge' and 'long_text' = 'chunk' exclude each other"
        ):
            place.write(texts(x="one"), **{**place.options, "vector_column": None}, existing="merge", long_text="chunk")
