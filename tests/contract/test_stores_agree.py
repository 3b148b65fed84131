"""What every store promises: each scenario runs on the embedded store, on the in-test server and on a real Qdrant."""

from __future__ import annotations

import contextlib
import re
import uuid

import pyarrow as pa
import pytest

from spark_vector_sink import job
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.encode import loader
from spark_vector_sink.errors import BadRowError, CollectionError, OptionError, RefusedError
from spark_vector_sink.options import ID_NAMESPACE
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests import fakes
from tests.jobs import Place, place, vectors

__all__ = ["place"]


def test_points_come_back(place: Place) -> None:
    """What two tasks write is found afterwards, nearest first, with key and payload."""
    report = place.write(vectors(3, note=["a", "b", None]), vectors(2, start=10, note=["d", "e"]))
    assert (report.rows, report.written, report.points, report.stored_points) == (5, 5, 5, 5)
    assert [hit.id for hit in place.nearest([1.0, 0.0, 0.0, 0.0], 2)] in ([0, 10], [10, 0])
    assert place.stored()[1] == {"id": 1, "note": "b"}
    assert place.stored()[2] == {"id": 2, "note": None}


def test_the_same_job_again_changes_nothing(place: Place) -> None:
    """A second run writes the same points: the count stays."""
    first = place.write(vectors(50))
    before = place.stored()
    second = place.write(vectors(50))
    assert (first.stored_points, second.stored_points) == (50, 50)
    assert place.stored() == before


def test_a_row_replaces_its_former_self(place: Place) -> None:
    """A later job's row of the same key replaces the payload whole."""
    place.write(vectors(2, old=["x", "y"]))
    place.write(vectors(1, new=[1.5]))
    assert place.stored() == {0: {"id": 0, "new": 1.5}, 1: {"id": 1, "old": "y"}}


def test_keys_of_text_become_uuids(place: Place) -> None:
    """A key of text is stored under its uuid5, and stands in the payload as it is."""
    rows = vectors(2).drop(["id"]).append_column("id", pa.array(["a", "ä\n"]))
    place.write(rows)
    assert place.stored() == {str(uuid.uuid5(ID_NAMESPACE, key)): {"id": key} for key in ("a", "ä\n")}


def test_the_last_of_a_duplicate_key_wins(place: Place) -> None:
    """Of two rows with one key in a task the last is stored and the other is counted."""
    rows = vectors(4, n=[1, 2, 3, 4]).set_column(0, "id", pa.array([7, 8, 7, 7]))
    report = place.write(rows)
    assert (report.rows, report.written, report.superseded, report.stored_points) == (4, 2, 2, 2)
    assert {point: payload["n"] for point, payload in place.stored().items()} == {7: 4, 8: 2}


def test_the_last_of_a_duplicate_key_wins_across_windows(place: Place) -> None:
    """Requests on their way at once never swap two rows of one key."""
    rows = vectors(300, n=list(range(300))).set_column(0, "id", pa.array([i % 3 for i in range(300)]))
    place.write(rows, window_rows=2)
    assert {point: payload["n"] for point, payload in place.stored().items()} == {0: 297, 1: 298, 2: 299}


def test_nested_payload(place: Place) -> None:
    """Lists, objects, maps and nulls inside them come back as they are."""
    kind = pa.struct([("l", pa.list_(pa.int64())), ("m", pa.map_(pa.string(), pa.float64()))])
    values = [{"l": [1, None], "m": [("a.b", 0.5), ("", None)]}, None]
    place.write(vectors(2, x=pa.array(values, kind)))
    assert place.stored() == {0: {"id": 0, "x": {"l": [1, None], "m": {"a.b": 0.5, "": None}}}, 1: {"id": 1, "x": None}}


def test_an_empty_table(place: Place) -> None:
    """A job without rows makes the collection and reports nothing written."""
    report = place.write(vectors(0), dimension=4)
    assert (report.rows, report.stored_points) == (0, 0)


def test_a_named_vector(place: Place) -> None:
    """The vector's name is remembered, and searched by."""
    place.write(vectors(3), vector_name="body")
    assert place.nearest([1.0, 0.0, 0.0, 0.0], 1)[0].id == 0
    with pytest.raises(CollectionError, match="vector"):
        place.write(vectors(3))


def test_check_changes_nothing(place: Place) -> None:
    """A check tells what would be created, and creates nothing."""
    for _ in range(2):
        checked = place.check(vectors(1), dimension=4)
        assert checked.problems == ()
        assert checked.target is not None
        assert not checked.target.exists
        assert "4 dimensions" in str(checked)


def test_unknown_length_of_vectors(place: Place) -> None:
    """Vectors of unknown length and no collection: the option that tells it is named."""
    plain = vectors(1).drop(["v"]).append_column("v", pa.array([[1.0, 0.0, 0.0, 0.0]], pa.list_(pa.float32())))
    with pytest.raises(OptionError, match="option 'dimension'"):
        place.write(plain)
    assert place.write(plain, dimension=4).stored_points == 1
    assert place.write(plain).stored_points == 1  # now the collection tells


@pytest.mark.parametrize(("options", "words"), [({"dimension": 5}, "4 dimensions"), ({"distance": "dot"}, "cosine")])
def test_a_collection_that_does_not_fit(place: Place, options: dict[str, object], words: str) -> None:
    """Another length or distance than the collection's is refused before the first row."""
    place.write(vectors(1), dimension=4)
    plain = vectors(1).drop(["v"]).append_column("v", pa.array([[1.0] * 5], pa.list_(pa.float32())))
    with pytest.raises(CollectionError, match=words):
        place.write(plain, **options)


def test_another_model_is_refused(place: Place) -> None:
    """Vectors of a second model do not get into the collection; the message names both and a way out."""
    texts = pa.table({"id": [1], "text": ["a"]})
    encoding = Place({key: value for key, value in place.options.items() if key != "vector_column"})
    encoding.write(texts, encoder="tests.fakes:Four")
    with pytest.raises(CollectionError, match=r"tests\.fakes:Four.*tests\.fakes:OtherFour.*another collection"):
        encoding.write(texts, encoder="tests.fakes:OtherFour")


def test_another_key_is_warned_of(place: Place) -> None:
    """The same documents under the key of another column would be there twice; other documents may have one."""
    place.write(vectors(2, name=["a", "b"]))
    assert place.write(vectors(2, name=["a", "b"])).warnings == []
    report = place.write(vectors(2, name=["a", "b"]), id_column="name")
    assert report.stored_points == 4
    (warning,) = report.warnings
    assert re.fullmatch(
        r"the key of the documents in '.*' is 'id', and this job's is 'name': a document that both have will be "
        r"there twice; "
        r"give the same option 'id_column', unless these are other documents",
        warning,
    )


def test_adopting_does_not_mix_models(place: Place) -> None:
    """adopt_collection=true takes what is of unknown origin, and never another model's collection."""
    texts = pa.table({"id": [1], "text": ["a"]})
    encoding = Place({key: value for key, value in place.options.items() if key != "vector_column"})
    encoding.write(texts, encoder="tests.fakes:Four")
    with pytest.raises(CollectionError, match="was filled with the model"):
        encoding.write(texts, encoder="tests.fakes:OtherFour", adopt_collection=True)


def test_a_job_without_rows_does_not_choose_the_model(place: Place) -> None:
    """An empty collection belongs to no model: the next job's model is remembered, and guarded from then on."""
    nothing, texts = (
        pa.table({"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())}),
        pa.table({"id": [1], "text": ["a"]}),
    )
    encoding = Place({key: value for key, value in place.options.items() if key != "vector_column"})
    encoding.write(nothing, encoder="tests.fakes:Four")
    encoding.write(texts, encoder="tests.fakes:OtherFour")
    with pytest.raises(CollectionError, match="OtherFour"):
        encoding.write(texts, encoder="tests.fakes:Four")


def test_two_first_jobs_with_two_models(place: Place) -> None:
    """Of two jobs that begin to fill a collection at once, one ends with an error that says so; neither goes by in
    silence."""
    texts = pa.table({"id": [1], "text": ["a"]})
    options = {key: value for key, value in place.options.items() if key != "vector_column"}
    plans = [
        planning.plan({**options, "encoder": f"tests.fakes:{name}"}, texts.schema) for name in ("Four", "OtherFour")
    ]
    outcomes = [_rest_of_a_job(plan, texts) for plan in _prepared(plans)]
    assert sorted(outcomes) == ["refused", "written"] or outcomes == ["written"]


def _prepared(plans: list[job.Plan]) -> list[job.Plan]:
    """Both jobs prepare before either writes; the second may be refused here already."""
    prepared = []
    for plan in plans:
        with contextlib.suppress(CollectionError):
            prepared.append(committer.prepare(plan))
    return prepared


def _rest_of_a_job(plan: job.Plan, rows: pa.Table) -> str:
    report = partition_writer.write_partition(plan, rows.to_batches(), TaskContext())
    try:
        committer.commit(plan, [report])
    except CollectionError:
        return "refused"
    return "written"


def test_an_encoders_own_identity_is_guarded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that names its model is held to that name, whatever its factory is called."""
    texts = pa.table({"id": [1], "text": ["a"]})
    encoding = Place({key: value for key, value in place.options.items() if key != "vector_column"})
    for name in ("m1", "m2"):
        monkeypatch.setattr(fakes.Named, "identity", name)
        monkeypatch.setattr(loader, "_loaded", None)
        if name == "m1":
            encoding.write(texts, encoder="tests.fakes:Named")
    with pytest.raises(CollectionError, match="the model m1, this job would write vectors of m2"):
        encoding.write(texts, encoder="tests.fakes:Named")


def test_an_index_of_another_type_is_refused(place: Place) -> None:
    """A payload index that is there with another type is said, instead of taken for the one that was asked."""
    place.write(vectors(1, n=[1]), payload_indexes="n:integer")
    with pytest.raises(CollectionError, match=r"integer on 'n', .*float"):
        place.write(vectors(1, n=[1]), payload_indexes="n:float")


def test_a_collection_without_create(place: Place) -> None:
    """create_collection=false and no collection: refused, and nothing is created."""
    with pytest.raises(CollectionError, match="create_collection=false"):
        place.write(vectors(1), dimension=4, create_collection="false")


def test_payload_indexes(place: Place) -> None:
    """Payload indexes are announced, made before the load, and not announced again."""
    wanted = {"payload_indexes": "n:integer, t:keyword", "dimension": 4}
    rows = vectors(1, n=[1], t=["x"])
    assert "create the payload index n:integer" in str(place.check(rows, **wanted))
    place.write(rows, **wanted)
    assert "create the payload index" not in str(place.check(rows, **wanted))
    with pytest.raises(RefusedError, match=r"keyword, integer.*'missing', which is not in the payload"):
        place.write(rows, payload_indexes="n:number, missing:keyword")


@pytest.mark.parametrize(
    ("name", "asked", "path"),
    [
        ("a b", "a b", '"a b"'),
        ("a.b", "a.b", '"a.b"'),
        ("🙂", "🙂", '"🙂"'),
        ("a.b", '"a.b".c', '"a.b".c'),
        ("ü_1-x", "ü_1-x", "ü_1-x"),
    ],
)
def test_a_column_of_any_name_can_be_indexed(place: Place, name: str, asked: str, path: str) -> None:
    """Under the path that Qdrant has for it: `a.b` would be b in the object a. The second job finds the index there."""
    rows = vectors(2, **{name: [{"c": "x"}, None] if asked.endswith(".c") else ["x", None]})
    for text in (f"create the payload index {path}:keyword", None):
        plan = str(place.check(rows, payload_indexes={asked: "keyword"}))
        assert text is None or text in plan
        assert "create the payload index" in plan or text is None
        place.write(rows, payload_indexes={asked: "keyword"})


@pytest.mark.parametrize(
    ("name", "asked"), [('x"y', 'x"y'), ("a b", "a b.c"), ("x:y", "x:y.z"), ("a", "a.b c"), ("a", "a[x]")]
)
def test_a_path_that_is_none_is_refused(place: Place, name: str, asked: str) -> None:
    """By name, before anything is made."""
    with pytest.raises(
        OptionError, match=r"option 'payload_indexes' names '.*', which is no path of Qdrant's; .*'payload_rename'"
    ):
        place.write(vectors(1, **{name: ["x"]}), payload_indexes={asked: "keyword"})


def test_a_tenant_of_any_name(place: Place) -> None:
    """Its index has the path of that one field."""
    rows = vectors(1, **{"te.na nt": ["x"]})
    assert 'create the payload index "te.na nt":tenant' in str(place.check(rows, tenant_column="te.na nt"))
    place.write(rows, tenant_column="te.na nt")
    with pytest.raises(OptionError, match="the tenant column 'x\"y' cannot be indexed"):
        place.write(vectors(1, **{'x"y': ["x"]}), tenant_column='x"y')


@pytest.mark.parametrize(
    ("vector", "words"),
    [([float("nan"), 0, 0, 0], "NaN"), ([0, 0, 0, 0], "zeros"), ([1, 0, 0], "length 3"), (None, "null")],
)
def test_bad_vectors(place: Place, vector: list[float] | None, words: str) -> None:
    """A vector that cannot be compared is refused with the row's key, though a server would take it."""
    rows = pa.table({"id": [1, 2], "v": pa.array([[1.0, 0.0, 0.0, 0.0], vector], pa.list_(pa.float32()))})
    with pytest.raises(BadRowError, match=rf"key '2'.*column 'v'.*{words}"):
        place.write(rows, dimension=4)
