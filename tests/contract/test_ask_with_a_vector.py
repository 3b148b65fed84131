"""A question in numbers: on the embedded store, on the in-test server and on a real Qdrant."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from spark_vector_sink import search
from spark_vector_sink.admin import Answer
from spark_vector_sink.errors import CollectionError, OptionError
from tests.jobs import Place, place, vectors
from tests.models import model_of

__all__ = ["model_of", "place"]

OTHER = {"vector_name": "other", "existing": "merge"}
"""A second vector of two dimensions"""


def ask(place: Place, question: Any = None, **options: Any) -> list[Answer]:
    """`search()` of the place's collection."""
    kept = {name: value for name, value in place.options.items() if name in ("url", "grpc_port")}
    return search(place.options["path"], question, **kept, **options)


def keys(place: Place, *question: Any, **options: Any) -> list[Any]:
    return [answer.key for answer in ask(place, *question, **options)]


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, np.float64, pa.array], ids=["list", "tuple", "array", "doubles", "arrow"]
)
def test_ready_made_vectors_are_asked_with_one(place: Place, kind: Callable[[Any], Any]) -> None:
    """The nearest first, with key, payload and score; any list or array of numbers is one."""
    place.write(vectors(5, n=[10, 11, 12, 13, 14]))
    best, second = ask(place, vector=kind([1.0, 0.0, 0.0, 0.0]), limit=2)
    assert (best.key, best.id, best.payload["n"], second.key) == (0, 0, 10, 1)
    assert best.score == pytest.approx(1.0)
    assert keys(place, vector=kind([0.0, 1.0, 0.0, 0.0]), limit=1) == [4]


def test_a_filter_and_a_limit_go_with_it(place: Place) -> None:
    """As with a question in words."""
    place.write(vectors(5, n=[10, 11, 12, 13, 14]))
    assert keys(place, vector=[1, 0, 0, 0], limit=2, filter={"must": [{"key": "n", "range": {"gte": 12}}]}) == [2, 3]


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_the_length_of_the_vector_does_not_matter_to_cosine(place: Place, scale: float) -> None:
    """A server would take one of a very small or large length for zeros."""
    place.write(vectors(3))
    assert [round(answer.score, 3) for answer in ask(place, vector=[scale, 0, 0, 0], limit=1)] == [1.0]


def test_the_length_matters_to_other_distances(place: Place) -> None:
    """It goes as it is given."""
    place.write(vectors(3), distance="euclid")
    (found,) = ask(place, vector=[3, 0, 0, 0], limit=1)
    assert (found.key, round(found.score, 3)) == (0, 2.0)


def test_a_named_vector_is_asked_by_its_name(place: Place) -> None:
    """Of several the first job's is asked where no name is given; each has a length of its own."""
    place.write(vectors(3), vector_name="first", existing="merge")
    place.write(
        pa.table({"id": [0, 1, 2], "v": pa.array([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]], pa.list_(pa.float32(), 2))}),
        **OTHER,
    )
    assert (
        keys(place, vector=[1, 0, 0, 0], limit=1)
        == keys(place, vector=[1, 0, 0, 0], limit=1, vector_name="first")
        == [0]
    )
    assert keys(place, vector=[1, 0], limit=1, vector_name="other") == [1]
    with pytest.raises(CollectionError, match="holds vectors of 2 dimensions, but the one to search for has 4"):
        ask(place, vector=[1, 0, 0, 0], vector_name="other")
    with pytest.raises(
        CollectionError, match="has no vector 'third' that this sink has written; it has 'first', 'other'"
    ):
        ask(place, vector=[1, 0], vector_name="third")


def test_what_a_model_has_filled_is_asked_with_numbers_too(place: Place) -> None:
    """And the model is not asked."""
    texts = {"vector_column": None, "encoder": "tests.fakes:Five"}
    place.write(pa.table({"id": [1, 2], "text": ["short", "a longer text"]}), **texts)
    assert keys(place, vector=[1, 1, 0, 0, 0], limit=1) == [1]


def test_words_for_ready_made_vectors_point_to_numbers(place: Place) -> None:
    """No model is known there."""
    place.write(vectors(1))
    with pytest.raises(
        CollectionError, match=re.escape("no question can be asked in words; ask with a vector: search(…, vector=[…])")
    ):
        ask(place, "what is this?")


@pytest.mark.parametrize(
    ("question", "vector", "words"),
    [
        (None, None, "search() asks in words or with a vector: give one of the two"),
        ("words", [1, 0, 0, 0], "search() asks in words or with a vector: give only one of the two"),
        ([1, 0, 0, 0], None, "the question of search() is a text, got list; give numbers as vector=[…]"),
        (
            None,
            [1, 0, float("nan"), 0],
            "the vector of search() has nan in it, and a vector is made of finite float32 numbers",
        ),
        (None, [1, 0, float("-inf"), 0], "the vector of search() has -inf in it"),
        (None, [1, 0, 1e39, 0], "the vector of search() has 1e+39 in it"),
        *(
            (None, wrong, "the vector of search() must be a list of numbers, such as [0.1, -0.2, 0.3]")
            for wrong in (
                [],
                [[1, 0, 0, 0]],
                [[1], [1, 2]],
                ["1", "0", "0", "0"],
                "1, 0, 0, 0",
                1.5,
                [None, 1, 0, 0],
                [True, False, True, True],
                {"a": 1},
                {1, 2},
            )
        ),
    ],
    ids=str,
)
def test_what_is_no_question_is_refused(question: Any, vector: Any, words: str) -> None:
    """In one line, before anybody looks at a store."""
    with pytest.raises(OptionError, match=f"^{re.escape(words)}"):
        search("./nowhere", question, vector=vector)


def test_another_length_is_refused(place: Place) -> None:
    """With both lengths."""
    place.write(vectors(1))
    with pytest.raises(
        CollectionError,
        match=r"holds vectors of 4 dimensions, but the one to search for has 3; ask with one of the model "
        r"that made them",
    ):
        ask(place, vector=[1, 0, 0])


def test_where_nothing_is(place: Place) -> None:
    """A vector is no better there than a text."""
    with pytest.raises(CollectionError, match="does not exist, or was not written by this sink"):
        ask(place, vector=[1, 0, 0, 0])


def test_a_store_of_sparse_vectors_alone(place: Place, model_of: Callable[[str], Path]) -> None:
    """A list of numbers is none of its kind."""
    sparse = {"vector_column": None, "model": "none", "sparse_model": str(model_of("splade")), "device": "cpu"}
    place.write(pa.table({"id": [1], "text": ["one"]}), **sparse)
    with pytest.raises(
        CollectionError, match="has sparse vectors only, which no list of numbers can be compared with; ask in words"
    ):
        ask(place, vector=[1, 0, 0, 0])
