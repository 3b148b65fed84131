"""Which datatypes of a collection can hold what a job makes, and which are looked at row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from qdrant_client import grpc as q
from qdrant_client import models

from spark_vector_sink.errors import CollectionError
from spark_vector_sink.store.collection import CollectionSpec
from spark_vector_sink.store.qdrant.datatypes import problems_there, problems_to_come, to_be_checked
from tests.fake_server import FakeServer
from tests.jobs import metadata, server_place, vectors

EVERY = [kind.value for kind in models.Datatype]
SPEC = CollectionSpec("", 4, "dot", metadata("", "sp"), sparse_vector_name="sp", fractions="a model")


def dense(datatype: Any) -> dict[str, models.VectorParams]:
    made = models.VectorParams(size=4, distance=models.Distance.DOT)
    return {"": made.model_copy(update={"datatype": datatype})}


def sparse(datatype: Any) -> dict[str, models.SparseVectorParams]:
    return {"sp": models.SparseVectorParams(index=models.SparseIndexParams().model_copy(update={"datatype": datatype}))}


@pytest.mark.parametrize("datatype", EVERY)
def test_a_model_fits_every_datatype_but_uint8(datatype: str) -> None:
    """Of those that the installed client knows."""
    found = list(problems_there("x", dense(models.Datatype(datatype)), {}, SPEC))
    assert len(found) == (datatype == "uint8")
    assert list(problems_there("x", dense(models.Datatype(datatype)), {}, replace(SPEC, fractions=""))) == []


def test_a_datatype_that_nobody_knows_is_refused() -> None:
    """Whoever makes the vectors, and whoever makes the collection."""
    words = "a datatype that this sink does not know, so it cannot say what becomes of numbers there"
    for spec in (SPEC, replace(SPEC, fractions="")):
        assert [
            f"the collection 'x' holds vectors of int3, {words}" in line
            for line in problems_there("x", dense("int3"), {}, spec)
        ] == [True]


@pytest.mark.parametrize("datatype", EVERY)
def test_an_index_of_sparse_vectors_is_of_three_datatypes(datatype: str) -> None:
    """A server ends at another; uint8 makes room for any weight."""
    config = {"sparse_vectors": {"index": {"datatype": datatype}}}
    found = list(problems_to_come(replace(SPEC, config=config)))
    assert len(found) == (datatype not in ("float32", "float16", "uint8"))
    assert all(
        line.startswith(f"option 'collection_config' asks for sparse vectors of {datatype}, which no index")
        for line in found
    )


@pytest.mark.parametrize(
    ("datatype", "distance", "checked"),
    [
        (None, "dot", {}),
        ("float32", "dot", {}),
        ("float16", "dot", {"": "float16"}),
        ("float16", "cosine", {}),
        ("turbo4", "euclid", {"": "turbo4"}),
        ("turbo4", "cosine", {}),
        ("uint8", "cosine", {"": "uint8"}),
        ("uint8", "manhattan", {"": "uint8"}),
    ],
)
def test_what_is_looked_at_row_by_row(datatype: str | None, distance: str, checked: dict[str, str]) -> None:
    """Where the server scales to length 1 first, everything but bytes holds any vector."""
    kind = None if datatype is None else models.Datatype(datatype)
    assert to_be_checked(dense(kind), {}, replace(SPEC, distance=distance)) == checked


def test_of_sparse_vectors_halves_are_looked_at() -> None:
    """The other kinds hold any weight; and vectors that the job does not write are none of its business."""
    assert to_be_checked({}, sparse(models.Datatype.FLOAT16), SPEC) == {"sp": "float16"}
    assert to_be_checked({}, sparse(models.Datatype.UINT8), SPEC) == {}
    assert (
        to_be_checked(
            dense(models.Datatype.UINT8),
            sparse(models.Datatype.FLOAT16),
            replace(SPEC, dense=False, sparse_vector_name=None),
        )
        == {}
    )


def test_a_setting_that_the_client_does_not_know_is_one_line(fake_server: FakeServer) -> None:
    """As of a server that is newer than the client: what to do, and no raw exception."""
    params = q.VectorParams(size=4, distance=q.Distance.Cosine, datatype=77)
    made = q.CreateCollection(collection_name="x", vectors_config=q.VectorsConfig(params=params))
    q.CollectionsStub(fake_server.channel).Create(made)
    with pytest.raises(
        CollectionError,
        match=r"the settings of 'x' on .* hold something that the installed qdrant-client does not know .*; "
        r"install a newer one",
    ):
        server_place(fake_server, "x", vector_column="v").write(vectors(1))
