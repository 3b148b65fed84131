"""A collection through another model, without the table: on the embedded store, on the in-test server and on a real
Qdrant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from spark_vector_sink import reembed, rollback, search
from spark_vector_sink.encode import loader
from spark_vector_sink.errors import BadRowError, CollectionError, OptionError, RefusedError
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.report import WriteReport
from spark_vector_sink.store import registry
from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.edge.layout import StoreDirectory
from spark_vector_sink.store.write_batch import id_of_text
from tests.fakes import Four, Turned
from tests.jobs import Place, place
from tests.tiny_model import DIMENSION

__all__ = ["place"]

OLD: dict[str, Any] = {"encoder": "tests.fakes:Counting", "vector_column": None}
NEW: dict[str, Any] = {"encoder": "tests.fakes:Turned"}
JSON_VALUES = {
    "none": None,
    "list": [1, 1.0, "x", None, {"a": []}],
    "object": {},
    "big": 2**53 + 1,
    "whole": 3.0,
    "yes": True,
    "text": "the text in it",
}


@pytest.fixture(autouse=True)
def _nothing_encoded() -> Iterator[None]:
    Turned.texts.clear()
    yield
    loader.unload()


def again(place: Place, **options: Any) -> WriteReport:
    """`reembed()` of the place's collection, by another encoder where nothing else is said."""
    loader.unload()
    kept = {name: value for name, value in place.options.items() if name not in ("path", "vector_column")}
    given = options if {"model", "encoder"} & set(options) else {**NEW, **options}
    return reembed(place.options["path"], **kept, **given)


def back(place: Place) -> str:
    kept = {name: value for name, value in place.options.items() if name not in ("path", "vector_column")}
    return rollback(place.options["path"], **kept)


def everything(place: Place) -> dict[int | str, Any]:
    """The payload of every point, tombstones too."""
    options = SinkOptions.from_mapping(place.options)
    where, _ = registry.find(options)
    name = where.name(options)
    current = name
    if options.is_embedded:
        current = StoreDirectory(Path(name)).current() or ""
        StoreDirectory(Path(name)).staging("look").mkdir(exist_ok=True)
    with registry.collections(options, where) as collections:
        pages = collections.pages(Target(name, current, True, overwrites=True, replaces=current), "look", 2)
        batches = [batch for page in pages for batch in collections.read(page)]
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {id_of_text(row["id"]): json.loads(row["payload"]) for row in rows}


def texts(*rows: tuple[str, str | None], **columns: Any) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([key for key, _ in rows], pa.string()),
            "text": pa.array([text for _, text in rows], pa.string()),
            **columns,
        }
    )


def turned(payloads: dict[int | str, Any]) -> dict[int | str, Any]:
    """The vectors that the other encoder makes, as they are compared: of length 1."""
    made = {point: Four().encode([payload["text"]])[0, ::-1] for point, payload in payloads.items()}
    return {point: vector / np.linalg.norm(vector) for point, vector in made.items()}


def test_the_vectors_are_new_and_everything_else_is_as_it_was(place: Place) -> None:
    """Ids, texts, payloads; and a search asks with the new model."""
    place.write(texts(("a", "one"), ("b", "two"), ("c", "three"), n=[1, 2, 3]), **OLD)
    before = everything(place)
    report = again(place, window_rows=2)
    assert (report.rows, report.written, report.points, report.stored_points) == (3, 3, 3, 3)
    assert sorted(Turned.texts) == ["one", "three", "two"]
    assert everything(place) == before
    assert place.apart(turned(before)) < 1e-5
    kept = {name: value for name, value in place.options.items() if name not in ("path", "vector_column")}
    assert [answer.key for answer in search(place.options["path"], "two", 1, **kept)] == ["b"]


def test_any_payload_comes_along(place: Place) -> None:
    """Numbers with their kinds, nulls, nothing where there was nothing, and names of all sorts."""
    names = {f"{name} of.{place}": value for place, (name, value) in enumerate(JSON_VALUES.items())}
    variant = pa.field("v", pa.string(), metadata={b"vectorsink": b"json"})
    rows = texts(("a", "one"), ("b", "two")).append_column(
        variant, pa.array([json.dumps(names), json.dumps(JSON_VALUES)])
    )
    place.write(rows.append_column("x", pa.array([None, 1.0])), **OLD)
    place.write(texts(("c", "three")), **OLD)  # without the other columns
    before = everything(place)
    again(place)
    after = everything(place)
    # 1 and 1.0 are equal, but not the same
    assert json.dumps(after, sort_keys=True) == json.dumps(before, sort_keys=True)
    assert sorted(map(len, after.values())) == [2, 4, 4]


def test_ids_of_both_kinds_in_pages(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers and UUIDs, more of them than a page has."""
    monkeypatch.setattr("spark_vector_sink.driver.reembed.PAGE_POINTS", 3)
    place.write(texts(*((str(n), f"text {n}") for n in range(10))), **OLD)
    place.write(pa.table({"id": pa.array([0, 7, 2**63 - 1], pa.int64()), "text": ["x", "y", "z"]}), **OLD)
    before = everything(place)
    report = again(place)
    assert (report.points, everything(place)) == (len(before), before)


def test_tombstones_come_along(place: Place) -> None:
    """A late row still cannot bring a deleted document back, and versions still count."""
    feed = {**OLD, "op_column": "op", "version_column": "version", "payload_exclude": "version"}
    place.write(texts(("a", "one"), ("b", "two"), op=["c", "c"], version=[5, 5]), **feed)
    place.write(texts(("a", None), op=["d"], version=[6]), **feed)
    before = everything(place)
    report = again(place)
    assert (report.points, report.stored_points, everything(place), Turned.texts) == (2, 2, before, ["two"])
    loader.unload()
    late = place.write(texts(("a", "late"), ("b", "late"), op=["u", "u"], version=[5, 4]), **{**feed, **NEW})
    assert (late.older, everything(place)) == (2, before)


def test_the_next_job_skips_what_is_there(place: Place) -> None:
    """With the new model; with the old one it is refused; and after a change of the text it writes."""
    rows = texts(("a", "one"), ("b", "two"), n=[1, 2])
    place.write(rows, **OLD, unchanged="skip", source="table")
    again(place)
    loader.unload()
    with pytest.raises(RefusedError, match="was filled with the model"):
        place.write(rows, **OLD, unchanged="skip", source="table")
    Turned.texts.clear()
    report = place.write(rows, **{**OLD, **NEW}, unchanged="skip", source="table")
    assert (report.unchanged, Turned.texts, loader._loaded) == (2, [], None)
    report = place.write(
        texts(("a", "one"), ("b", "zwei"), n=[9, 2]), **{**OLD, **NEW}, unchanged="skip", source="table"
    )
    assert (report.written, Turned.texts) == (2, ["zwei"])


def test_a_template_of_one_column_is_remembered(place: Place) -> None:
    """The model reads what it made of the text, and the next job skips it."""
    options = {"text_template": "<{text}>", "unchanged": "skip"}
    place.write(texts(("a", "one")), **OLD, **options)
    again(place)
    assert Turned.texts == ["<one>"]
    loader.unload()
    assert place.write(texts(("a", "one")), **{**OLD, **NEW}, **options).unchanged == 1


def test_a_model_that_is_not_there_is_refused(place: Place) -> None:
    """As by a job, before anything is written."""
    place.write(texts(("a", "one")), **OLD)
    with pytest.raises(
        OptionError, match=r"^the model folder '/no/such/model' does not exist on this machine; correct option 'model'$"
    ):
        again(place, model="/no/such/model")


def test_chunks_stay_chunks(place: Place, tiny_model: Path) -> None:
    """Each is encoded alone; their places are as they were; fingerprints of whole texts are gone, so the next job
    writes them anew."""
    long = " ".join(["bread and butter"] * 60)
    chunked = {
        "vector_column": None,
        "model": tiny_model,
        "device": "cpu",
        "dtype": "float32",
        "long_text": "chunk",
        "unchanged": "skip",
    }
    place.write(texts(("a", long), ("b", "short")), **chunked)
    before = everything(place)
    report = again(place, model=str(tiny_model), device="cpu", dtype="float32", max_tokens=16)
    after = everything(place)
    for payload in before.values():
        del payload["_sink"]["fingerprint"]
    assert (report.points, after) == (len(before), before)
    assert 1 < report.truncated < len(before)
    changed = place.write(
        texts(("a", "shorter"), ("b", "short")), **{**chunked, "max_tokens": 16, "chunk_overlap_tokens": 4}
    )
    assert (changed.written, len(everything(place))) == (2, 2)
    assert {hit.payload["text"] for hit in place.nearest([1.0] + [0.0] * (DIMENSION - 1))} == {"shorter", "short"}


def test_it_can_be_taken_back(place: Place) -> None:
    """`rollback()` finds the version before, with its model."""
    place.write(texts(("a", "one")), **OLD)
    before = place.nearest([1.0, 0, 0, 0])
    again(place)
    assert place.nearest([1.0, 0, 0, 0])[0].score != before[0].score
    back(place)
    assert place.nearest([1.0, 0, 0, 0]) == before
    loader.unload()
    assert place.write(texts(("b", "two")), **OLD).written == 1


def test_indexes_are_made_again(place: Place) -> None:
    """Without being named."""
    place.write(texts(("a", "one"), n=[1], t=["x"]), **OLD, payload_indexes="n:integer", tenant_column="t")
    again(place)
    loader.unload()
    plan = place.check(
        texts(("a", "one"), n=[1], t=["x"]), **{**OLD, **NEW}, payload_indexes="n:integer", tenant_column="t"
    )
    assert "create the payload index" not in str(plan)


def test_a_point_without_text_ends_it(place: Place, tmp_path: Path) -> None:
    """And the old version serves on; or it is put aside, as any bad row."""
    place.write(texts(("a", "one")), **OLD)
    place.write(pa.table({"id": ["b"], "body": ["two"]}), **OLD, text_column="body")
    with pytest.raises(
        BadRowError,
        match="the row with key 'b' cannot be written: column 'text' is not in its payload; there is no text to encode",
    ):
        again(place)
    assert len(place.nearest([1.0, 0, 0, 0])) == 2
    report = again(place, rejects_path=str(tmp_path / "rejects"))
    assert (report.written, report.rejected) == (1, 1)


@pytest.mark.parametrize("how", ["store_text", "two columns"])
def test_without_stored_text_it_is_refused(place: Place, how: str) -> None:
    """In one line that says what to do."""
    options = {"store_text": False} if how == "store_text" else {"text_column": "id,text"}
    place.write(texts(("a", "one")), **OLD, **options)
    with pytest.raises(CollectionError, match=r"does not hold the text of its points: .*mode\('overwrite'\)"):
        again(place)


def test_what_is_no_collection_of_ours_is_refused(place: Place) -> None:
    """It does not say where its text is."""
    with pytest.raises(CollectionError, match="does not exist, or was not written by this sink"):
        again(place)


def test_options_of_a_table_are_refused(place: Place) -> None:
    """All of them in one message, and a missing model."""
    with pytest.raises(
        OptionError, match=r"option 'id_column' has no effect in reembed.*option 'unchanged' has no effect in reembed"
    ):
        again(place, id_column="x", unchanged="skip")
    with pytest.raises(OptionError, match=r"reembed\(\) needs the new model"):
        reembed(
            place.options["path"],
            **{name: value for name, value in place.options.items() if name not in ("path", "vector_column")},
        )


def test_an_empty_collection(place: Place) -> None:
    """Is empty afterwards, and the new model's."""
    place.write(texts(), **OLD)
    assert again(place).points == 0
    loader.unload()
    assert place.write(texts(("a", "one")), **{**OLD, **NEW}).written == 1
