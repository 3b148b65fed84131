"""Two tenants whose documents have the same keys, in one collection: on the embedded store, on the in-test server and
on a real Qdrant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink.encode import loader
from spark_vector_sink.errors import BadRowError
from tests.fakes import Counting
from tests.jobs import Place, place
from tests.tiny_model import DIMENSION

__all__ = ["place"]

OURS: dict[str, Any] = {"encoder": "tests.fakes:Counting", "vector_column": None, "tenant_column": "tenant"}
SKIP = {**OURS, "unchanged": "skip"}
FEED = {**OURS, "op_column": "op", "version_column": "version", "payload_exclude": "version"}
LOAD = {**OURS, "delete_missing": True, "source": "table", "max_delete_share": 0.5}

Key = tuple[str, str]


def rows(*given: tuple[str, str, str | None], **columns: Any) -> pa.Table:
    """Rows of tenant, key and text."""
    named = {
        name: pa.array([row[place] for row in given], pa.string())
        for place, name in enumerate(("tenant", "id", "text"))
    }
    return pa.table({**named, **columns})


def feed(*given: tuple[str, str, str | None, str, int]) -> pa.Table:
    """Rows of a change feed: tenant, key, text, what happened, version."""
    return rows(
        *((row[0], row[1], row[2]) for row in given), op=[row[3] for row in given], version=[row[4] for row in given]
    )


def found(place: Place, dimension: int = 4) -> dict[Key, list[str]]:
    """The texts that a search finds, by tenant and key; of chunks in the order of their numbers."""
    texts: dict[Key, list[tuple[int, str]]] = {}
    for hit in place.nearest([1.0] + [0.0] * (dimension - 1)):
        number = (hit.payload.get("_sink") or {}).get("chunk", 0)
        texts.setdefault((hit.payload["tenant"], hit.payload["id"]), []).append((number, hit.payload["text"]))
    return {key: [text for _, text in sorted(chunks)] for key, chunks in texts.items()}


def test_each_has_its_own_documents(place: Place) -> None:
    """Under one key, also within a window, and none supersedes another."""
    report = place.write(rows(("x", "a", "of x"), ("y", "a", "of y"), ("x", "b", "of x too")), **OURS)
    assert (report.written, report.superseded, report.stored_points) == (3, 0, 3)
    place.write(rows(("y", "a", "new of y")), **OURS)
    assert found(place) == {("x", "a"): ["of x"], ("y", "a"): ["new of y"], ("x", "b"): ["of x too"]}


def test_keys_and_tenants_do_not_run_into_each_other(place: Place) -> None:
    """What is written together is the same, and the documents are two."""
    place.write(rows(("a", "b,c", "one"), ("a,b", "c", "two"), ('a","b', "c", "three")), **OURS)
    assert found(place) == {("a", "b,c"): ["one"], ("a,b", "c"): ["two"], ('a","b', "c"): ["three"]}


def test_a_tenant_that_is_a_uuid_or_a_number_is_no_point_id(place: Place) -> None:
    """Of two key columns neither is the id alone."""
    point = "5f0c1e9a-0000-4000-8000-000000000001"
    place.write(rows(("x", point, "one"), ("y", point, "two")), **OURS)
    assert found(place) == {("x", point): ["one"], ("y", point): ["two"]}


def test_a_row_without_a_tenant_is_a_bad_row(place: Place) -> None:
    """It belongs to nobody."""
    with pytest.raises(BadRowError, match="column 'tenant' is null"):
        place.write(pa.table({"tenant": pa.array([None], pa.string()), "id": ["a"], "text": ["one"]}), **OURS)


def test_what_one_changes_leaves_the_other_unchanged(place: Place) -> None:
    """With unchanged=skip, and though both have the same key and the same text."""
    place.write(rows(("x", "a", "same"), ("y", "a", "same")), **SKIP)
    Counting.texts.clear()
    loader.unload()
    report = place.write(rows(("x", "a", "other"), ("y", "a", "same")), **SKIP)
    assert (report.written, report.unchanged, Counting.texts) == (1, 1, ["other"])
    assert found(place) == {("x", "a"): ["other"], ("y", "a"): ["same"]}


def test_a_text_that_moves_to_the_other_is_written_there(place: Place) -> None:
    """The same key and text under another tenant are no unchanged document."""
    place.write(rows(("x", "a", "one")), **SKIP)
    assert place.write(rows(("y", "a", "one")), **SKIP).written == 1
    assert sorted(found(place)) == [("x", "a"), ("y", "a")]


def test_a_delete_is_of_one_tenant(place: Place) -> None:
    """In one window with the other's upsert, and a late row of the one does not bring it back, nor is the other's kept
    out."""
    place.write(feed(("x", "a", "one", "c", 1), ("y", "a", "two", "c", 1)), **FEED)
    report = place.write(feed(("x", "a", None, "d", 5), ("y", "a", "new", "u", 2)), **FEED)
    assert (report.deleted, report.written, found(place)) == (1, 1, {("y", "a"): ["new"]})
    report = place.write(feed(("x", "a", "late", "u", 4), ("y", "a", "newer", "u", 4)), **FEED)
    assert (report.older, report.written, found(place)) == (1, 1, {("y", "a"): ["newer"]})


def test_a_delete_without_versions_is_of_one_tenant(place: Place) -> None:
    """Nothing is left of it."""
    plain = {**OURS, "op_column": "op", "payload_exclude": "version"}
    place.write(feed(("x", "a", "one", "c", 1), ("y", "a", "two", "c", 1)), **plain)
    assert place.write(feed(("y", "a", None, "d", 2)), **plain).deleted == 1
    assert found(place) == {("x", "a"): ["one"]}


def test_what_the_table_no_longer_has_is_of_one_tenant(place: Place) -> None:
    """The other's document of that key is in the table."""
    place.write(rows(("x", "a", "1"), ("y", "a", "2"), ("y", "b", "3")), **LOAD)
    report = place.write(rows(("x", "a", "1"), ("y", "b", "3")), **LOAD)
    assert (report.missing_deleted, found(place)) == (1, {("x", "a"): ["1"], ("y", "b"): ["3"]})


def test_a_load_of_one_tenant_leaves_the_other(place: Place) -> None:
    """Each tenant's table is a source of its own."""
    place.write(rows(("x", "a", "1"), ("x", "b", "2")), **{**LOAD, "source": "x"})
    place.write(rows(("y", "a", "3"), ("y", "b", "4")), **{**LOAD, "source": "y"})
    report = place.write(rows(("x", "b", "2")), **{**LOAD, "source": "x"})
    assert (report.missing_deleted, sorted(found(place))) == (1, [("x", "b"), ("y", "a"), ("y", "b")])


def test_chunks_are_of_one_tenant(place: Place, tiny_model: Path) -> None:
    """One document shrinks, one is deleted, and the other tenant's chunks under those keys are all there."""
    long = " ".join(["bread and butter"] * 60)
    chunked = {
        "vector_column": None,
        "model": tiny_model,
        "device": "cpu",
        "dtype": "float32",
        "long_text": "chunk",
        "tenant_column": "tenant",
    }
    changes = {**chunked, "op_column": "op", "unchanged": "skip", "payload_exclude": "version"}
    place.write(feed(*((tenant, key, f"{long} {tenant}", "c", 1) for tenant in "xy" for key in "ab")), **changes)
    before = found(place, DIMENSION)
    assert all(len(texts) > 2 for texts in before.values())
    place.write(feed(("x", "a", "short", "u", 2), ("y", "a", f"{long} y", "u", 2), ("y", "b", None, "d", 2)), **changes)
    after = {key: texts for key, texts in before.items() if key != ("y", "b")} | {("x", "a"): ["short"]}
    assert found(place, DIMENSION) == after


def test_an_overwrite_has_both(place: Place) -> None:
    """With its index."""
    place.write(rows(("x", "a", "old")), **OURS)
    place.write(rows(("x", "a", "1"), ("y", "a", "2")), mode="overwrite", **OURS)
    assert found(place) == {("x", "a"): ["1"], ("y", "a"): ["2"]}
