"""What `inspect` tells of a collection, on the embedded store, on the in-test server and on a real Qdrant."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

from spark_vector_sink import Inspection, inspect, rollback
from spark_vector_sink.admin import go_back
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import CollectionError
from spark_vector_sink.store.collection_metadata import CollectionMetadata
from spark_vector_sink.store.inspection import InspectedVector, inspected_vectors
from spark_vector_sink.store.qdrant import wait_for_index
from tests.fake_server import FakeServer
from tests.jobs import Place, metadata, place, server_place, vectors
from tests.tiny_model import DIMENSION

__all__ = ["place"]


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small index is there at once; three looks at it need not take a second and a half."""
    monkeypatch.setattr(wait_for_index, "LOOK_SECONDS", 0.01)


def where(place: Place) -> tuple[str, dict[str, Any]]:
    """The place and the options that `inspect` gets."""
    return place.options["path"], {name: value for name, value in place.options.items() if name in ("url", "grpc_port")}


def found(place: Place) -> Inspection:
    name, options = where(place)
    return inspect(name, **options)


def versions(place: Place) -> dict[str, tuple[str, bool, int | None]]:
    """State, whether it serves, and points of each version: v1, v2, …"""
    return {
        version.name.rpartition("__")[2]: (version.state, version.serves, version.points)
        for version in found(place).versions
    }


def texts(**columns: list[Any]) -> pa.Table:
    return pa.table(
        {name: pa.array(values, pa.string() if name != "version" else pa.int64()) for name, values in columns.items()}
    )


def test_what_was_written(place: Place) -> None:
    """Name, counts, key, vector and what is remembered are those of the job."""
    place.write(vectors(5))
    told = found(place)
    assert told.name == place.options["path"]
    assert told.physical.endswith("v1")
    assert (told.points, told.documents, told.pending_runs) == (5, 5, 0)
    assert told.vectors == (InspectedVector("", 4, "cosine", None),)
    assert (told.metadata.key, told.metadata.vectors[0].model) == (("id",), None)


def test_it_is_printed_for_people_and_given_as_plain_values(place: Place) -> None:
    """A line for each thing."""
    place.write(
        texts(id=["a"], text=["one"]), encoder="tests.fakes:Four", vector_column=None, payload_indexes="text:text"
    )
    told = found(place)
    for line in (
        "points    1",
        "key       id",
        "vector    (unnamed): 4 dimensions, cosine, encoder tests.fakes:Four",
        "index     text:text",
    ):
        assert line in str(told).splitlines()
    assert str(told).splitlines()[-1] == f"version   {told.physical}: serves, 1 points"
    assert told.as_dict()["vectors"][0]["model"] == "encoder tests.fakes:Four"


def test_vectors_that_moved_in_have_their_own_models(place: Place) -> None:
    """One of each job, by name."""
    rows = texts(id=["a", "b"], text=["one", "two"])
    place.write(rows, encoder="tests.fakes:Four", vector_column=None, vector_name="first")
    place.write(
        rows, encoder="tests.fakes:Five", vector_column=None, vector_name="second", existing="merge", distance="dot"
    )
    assert found(place).vectors == (
        InspectedVector("first", 4, "cosine", "encoder tests.fakes:Four"),
        InspectedVector("second", 5, "dot", "encoder tests.fakes:Five"),
    )


def test_chunks_are_points_of_one_document(place: Place, tiny_model: Path) -> None:
    """Documents are counted once, however many points they have."""
    rows = texts(id=["short", "long"], text=["read a file", " ".join(["read the file and sort the list"] * 20)])
    place.write(
        rows, model=str(tiny_model), vector_column=None, long_text="chunk", chunk_tokens=16, chunk_overlap_tokens=4
    )
    told = found(place)
    assert told.points > 2
    assert told.documents == 2
    (vector,) = told.vectors
    assert (vector.dimension, vector.sparse, vector.place) == (DIMENSION, False, str(tiny_model))
    assert str(vector) == f"(unnamed): {DIMENSION} dimensions, cosine, {vector.model} of {tiny_model}"


def test_tombstones_are_no_documents(place: Place) -> None:
    """A deletion that is remembered is a point, which no search returns."""
    feed = {"encoder": "tests.fakes:Four", "vector_column": None, "op_column": "op", "version_column": "version"}
    place.write(texts(id=["a", "b"], text=["one", "two"], op=["upsert"] * 2, version=[1, 1]), **feed)
    place.write(texts(id=["a"], text=[None], op=["delete"], version=[2]), **feed)
    told = found(place)
    assert (told.points, told.documents) == (2, 1)


def test_each_model_of_two_is_told_apart() -> None:
    """A dense and a sparse vector of one job have models of their own; of a vector that somebody else has made none is
    known."""
    dense, sparse = metadata("", "words").vectors
    theirs = CollectionMetadata(
        (
            replace(dense, model="dense@1 prompt='a + b'", place="dense"),
            replace(sparse, model="sparse@2", place="/models/sparse"),
        )
    )
    vectors_of_it = inspected_vectors({"": (4, "dot"), "words": None, "other": (2, "dot")}, theirs)
    assert [str(vector) for vector in vectors_of_it] == [
        "(unnamed): 4 dimensions, dot, dense@1 prompt='a + b'",
        "other: 2 dimensions, dot, model unknown",
        "words: sparse, sparse@2 of /models/sparse",
    ]


def test_tenants_have_an_index(place: Place) -> None:
    """Types of payload indexes are in the words of option `payload_indexes`; `tenant` is a keyword index for
    tenants."""
    place.write(vectors(2, tenant=["x", "y"], n=[1, 2]), tenant_column="tenant", payload_indexes="n:integer")
    assert found(place).payload_indexes == {"n": "integer", "tenant": "tenant"}


def test_versions_say_what_they_are_worth(place: Place) -> None:
    """Which one serves, which ones were rolled back, and how many points each has; a rollback says from where to where
    it went."""
    for count in (3, 2, 1):
        place.write(vectors(count), mode="overwrite", keep_versions=2)
    assert versions(place) == {"v1": ("ready", False, 3), "v2": ("ready", False, 2), "v3": ("ready", True, 1)}
    name, options = where(place)
    left, serves = go_back(name, **options)
    assert (left or "")[-2:] + serves[-2:] == "v3v2"
    assert versions(place) == {"v1": ("ready", False, 3), "v2": ("ready", True, 2), "v3": ("rolled back", False, 1)}
    assert found(place).points == 2
    assert rollback(name, **options).endswith("v1")


def test_a_version_that_is_being_filled_does_not_serve(place: Place) -> None:
    """It is there, and everything else is said of the one that serves."""
    place.write(vectors(3))
    plan = committer.prepare(planning.plan(place.options, vectors(1).schema, "overwrite"))
    assert versions(place)["v2"] == ("loading", False, 0)
    assert found(place).points == 3
    committer.abort(plan, [], None, "the test ends")


def test_a_collection_without_versions(fake_server: FakeServer) -> None:
    """A plain one of ours, and one that somebody else has made."""
    ours = server_place(fake_server, "ours", vector_column="v")
    ours.write(vectors(2), versioned=False)
    assert (found(ours).physical, found(ours).versions) == ("ours", ())
    assert str(found(ours)).startswith("name      ours, a plain collection\nwritten   by spark-vector-sink")
    with closing(
        QdrantClient(
            host=fake_server.host, grpc_port=fake_server.grpc_port, prefer_grpc=True, check_compatibility=False
        )
    ) as client:
        client.create_collection("theirs", vectors_config=models.VectorParams(size=3, distance=models.Distance.DOT))
    theirs = found(server_place(fake_server, "theirs"))
    assert (theirs.points, theirs.vectors, theirs.metadata) == (0, (InspectedVector("", 3, "dot", None),), None)
    assert "written   not by this sink: nothing is remembered in it" in str(theirs).splitlines()


def test_what_is_not_there_is_said(place: Place) -> None:
    """Nothing is made by looking."""
    for _ in range(2):
        with pytest.raises(CollectionError, match="there is no "):
            found(place)
    if "url" not in place.options:
        assert not Path(place.options["path"]).exists()
