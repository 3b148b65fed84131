"""What a collection remembers, and the JSON of it; `tests/contract/test_former_metadata.py` has what former versions
wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from spark_vector_sink.errors import CollectionError
from spark_vector_sink.store.collection_metadata import CollectionMetadata, VectorMetadata
from tests.jobs import metadata

WHOLE = replace(
    metadata("d", "s", model="m@1", place="m", revision="1", settings={"prompt": "one + two", "max_tokens": 8}),
    text="body",
    chunked=True,
    run="r",
).joined_by((VectorMetadata("guest", job="guest", dimension=5, distance="dot", encoder="tests.fakes:Five"),))


@pytest.mark.parametrize("whole", [WHOLE, metadata()], ids=["everything", "as little as can be"])
def test_it_comes_back_as_it_was(whole: CollectionMetadata) -> None:
    """By way of JSON, which says its format."""
    plain = json.loads(json.dumps(whole.to_json()))
    assert plain["format"] == 1
    assert plain == whole.to_json()
    assert CollectionMetadata.from_json("x", plain) == whole


@pytest.mark.parametrize("found", [None, {}, "text", 1, []])
def test_where_nothing_of_ours_stands_nothing_is_remembered(found: Any) -> None:
    """Whatever else is there."""
    assert CollectionMetadata.from_json("x", found) is None


@pytest.mark.parametrize(
    "damaged",
    [
        {"format": 1},
        {"format": 1, "vectors": []},
        {"format": 1, "vectors": ["d"]},
        {"format": 1, "vectors": [{"name": "d", "more": 1}]},
        {"format": 1, "vectors": [{"name": "d"}], "more": 1},
        {"format": "one", "more": 1},
        {"vectors": ["d"]},
        {"dense": False},
    ],
)
def test_what_nobody_has_written_is_not_guessed(damaged: dict[str, Any]) -> None:
    """In one line."""
    with pytest.raises(
        CollectionError,
        match=r"^what this sink remembers in 'x' was damaged: .*; restore it, or write to another collection$",
    ):
        CollectionMetadata.from_json("x", damaged)


@pytest.mark.parametrize(
    ("entry", "models"),
    [
        ({"model": "a@1 prompt='one + two'"}, ["a@1 prompt='one + two'"]),
        ({"model": "a@1 prompt='one + two' + b@2", "sparse_vector_name": "s"}, ["a@1 prompt='one + two'", "b@2"]),
        ({"model": "b@2", "dense": False, "sparse_vector_name": "s"}, ["b@2"]),
        ({"model": None}, [None]),
        ({"vector_name": "d"}, [None]),
        ({"model": "both", "sparse_vector_name": "s"}, ["both", "both"]),
    ],
)
def test_models_that_were_one_text(entry: dict[str, Any], models: list[str | None]) -> None:
    """Before each vector had its own: the last separator is the one between two models, and a prompt may hold
    others."""
    found = CollectionMetadata.from_json("x", entry)
    assert found is not None
    assert [vector.model for vector in found.vectors] == models
    assert len(found.jobs) == 1


def test_a_guest_is_noted_once() -> None:
    """What its job notes again stands in the place of what it noted before."""
    again = (replace(WHOLE.guests[0], library="newer"),)
    assert [job[0].job for job in WHOLE.joined_by(again).jobs] == ["d", "guest"]
    assert WHOLE.joined_by(again).guests == again
