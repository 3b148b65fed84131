"""What the guard says, line by line."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any

import pytest

from spark_vector_sink.errors import CollectionError
from spark_vector_sink.store.collection import CollectionSpec
from spark_vector_sink.store.collection_metadata import CollectionMetadata, of_vector
from spark_vector_sink.store.model_guard import guard_problems, left_out, other_model
from spark_vector_sink.store.vector_owners import fingerprint_field
from tests.jobs import metadata


def spec(model: str | None = "m1", name: str = "", **changes: Any) -> CollectionSpec:
    return CollectionSpec(name, 4, "cosine", metadata(name, model=model), **changes)


def joined(first: CollectionSpec, *guests: CollectionSpec) -> CollectionMetadata:
    """What a collection remembers when these jobs have written to it."""
    return reduce(lambda theirs, guest: theirs.joined_by(guest.metadata.vectors), guests, first.metadata)


ONE, TWO = joined(spec()), joined(spec(), spec("m2", "b"))
WAYS = "use that model, mode('overwrite'), another collection, or "


@pytest.mark.parametrize(
    ("theirs", "job", "line"),
    [
        (
            ONE,
            spec("m2"),
            "'x' was filled with the model m1, this job would write vectors of m2, and no search can compare them; "
            f"{WAYS}a vector of its own beside it "
            "(existing=merge with another vector_name)",
        ),
        (
            ONE,
            spec("m2", merge=True),
            "'x' was filled with the model m1, this job would write vectors of m2, and no search can compare them; "
            f"{WAYS}another vector_name",
        ),
        (
            TWO,
            spec("m3", "b", merge=True),
            "the vector 'b' of 'x' was filled with the model m2, this job would write vectors of m3, and no search "
            f"can compare them; {WAYS}another vector_name",
        ),
        (
            ONE,
            spec("m2", adopt=True),
            "'x' was filled with the model m1, this job would write vectors of m2, and no search can compare them; ",
        ),
        (
            joined(spec(None)),
            spec(),
            "'x' was filled with vectors of unknown origin (option 'vector_column'); set adopt_collection=true if "
            "they were made with m1",
        ),
        (
            None,
            spec(),
            "'x' holds 5 points that this sink has not written; set adopt_collection=true if they were made with "
            "the same model",
        ),
        (
            TWO,
            spec("m2", "b", merge=True, owning=("version_column", "op_column")),
            "option 'version_column' and 'op_column' would decide about whole documents of 'x', and only a job that "
            "writes its first vector (that has no name) "
            "may; leave it out of this job",
        ),
        (
            replace(ONE, chunked=True),
            spec(merge=True),
            "the documents of 'x' are in chunks (long_text=chunk), which existing=merge cannot put anything into: "
            "every job would cut them elsewhere; "
            "write to another collection",
        ),
    ],
)
def test_a_job_that_is_refused(theirs: CollectionMetadata | None, job: CollectionSpec, line: str) -> None:
    """In one line with the ways out."""
    (problem,) = guard_problems("x", theirs, job, 5)
    assert problem.startswith(line)
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("theirs", "job"),
    [
        (ONE, spec()),
        (ONE, spec("m2", "b", merge=True)),
        (TWO, spec("m2", "b", merge=True)),
        (TWO, spec(merge=True, owning=("version_column",))),
        (None, spec("m2", "b", merge=True)),
        (None, spec(adopt=True)),
    ],
)
def test_a_job_that_may(theirs: CollectionMetadata | None, job: CollectionSpec) -> None:
    """The same model, or a name of its own."""
    assert list(guard_problems("x", theirs, job, 5)) == []


def test_an_empty_collection_is_anybodys() -> None:
    """No vector is there to be compared with."""
    assert list(guard_problems("x", ONE, spec("m2"), 0)) == []


def test_vectors_that_a_job_would_remove() -> None:
    """Unless it merges."""
    (problem,) = left_out("x", ["b"], spec())
    assert "have the vector 'b' too, which this job does not write and would remove" in problem
    assert list(left_out("x", ["b"], spec(merge=True))) == []


def test_at_the_end_of_a_job() -> None:
    """What another job has begun meanwhile."""
    assert other_model("x", TWO, spec(merge=True)) is None
    assert other_model("x", ONE, spec()) is None
    assert "another job began to fill 'x' with the model m2 while this one wrote vectors of m3" in str(
        other_model("x", TWO, spec("m3", "b", merge=True))
    )
    assert "another job has put the vector 'b' beside those of 'x' while this one replaced points" in str(
        other_model("x", TWO, spec())
    )


def test_each_vector_is_asked_with_its_own_model() -> None:
    """The first job's where none is named."""
    assert [of_vector("x", TWO, name)[0].model for name in (None, "", "b")] == ["m1", "m1", "m2"]
    with pytest.raises(
        CollectionError,
        match="'x' has no vector 'c' that this sink has written; it has the unnamed one, 'b': set vector_name "
        "to one of them",
    ):
        of_vector("x", TWO, "c")


def test_fingerprints_lie_apart() -> None:
    """Those of a vector that moved in have its name."""
    assert (
        fingerprint_field(None, spec(merge=True))
        == fingerprint_field(TWO, spec(merge=True))
        == fingerprint_field(TWO, spec())
        == "fingerprint"
    )
    assert (
        fingerprint_field(ONE, spec("m2", "b", merge=True))
        == fingerprint_field(TWO, spec("m2", "b", merge=True))
        == "fingerprint:b"
    )
