"""Check that a job may write to a collection: vectors of two models under one name would be compared as if they meant
the same. Also protect the vectors and documents of other jobs that share the points."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from spark_vector_sink.store.collection import CollectionSpec
from spark_vector_sink.store.collection_metadata import CollectionMetadata, Vectors, models_of, vector_names
from spark_vector_sink.store.vector_owners import is_guest, names_of, owners


def guard_problems(
    name: str, theirs: CollectionMetadata | None, spec: CollectionSpec, points: int, unknown: Collection[str] = ()
) -> Iterator[str]:
    """Yield the reasons why this job may not write beside the existing `points`; `theirs` is the metadata that the sink
    has stored in the collection.

    unknown: vectors of the job that points have already, although the metadata does not name them.
    """
    yield from _shared_problems(name, theirs, spec)
    if not points:
        return
    for job in _compared(theirs, spec):
        yield from _other_model(_whose(name, theirs, job, spec), models_of(job), spec)
    if spec.adopt or owners(theirs, spec) or (theirs is not None and not spec.merge):
        return
    if not spec.merge or "" in unknown:
        yield (
            f"'{name}' holds {points:,} points that this sink has not written; set adopt_collection=true if they "
            "were made with the same model"
        )
    elif unknown:
        yield (
            f"points of '{name}' have the vector {_listed(unknown)}, which this sink has not written; "
            "set adopt_collection=true if it was made with the same model, or choose another vector_name"
        )


def key_warnings(
    name: str, theirs: CollectionMetadata | None, spec: CollectionSpec, points: int | None
) -> Iterator[str]:
    """Yield a warning where the key columns differ from those of earlier jobs: different columns give different point
    ids, so a document that both jobs have would be stored twice."""
    old, new = None if theirs is None else theirs.key, spec.metadata.key
    if points != 0 and old is not None and new is not None and old != new:
        yield (
            f"the key of the documents in '{name}' is {_key(old)}, and this job's is {_key(new)}: a document that "
            "both have will be there twice; "
            "give the same option 'id_column', unless these are other documents"
        )


def left_out(name: str, others: Collection[str], spec: CollectionSpec) -> Iterator[str]:
    """Yield a problem where points have vectors that this job does not write: a point that is written again would lose
    these vectors, or keep vectors of its old text."""
    if others and not spec.merge:
        yield (
            f"the points of '{name}' have the vector {_listed(others)} too, which this job does not write and would "
            "remove with the points that it writes; "
            "set existing=merge, which keeps what other jobs have written, write all vectors at once, or use "
            "another collection"
        )


def other_model(name: str, theirs: CollectionMetadata | None, spec: CollectionSpec) -> str | None:
    """Return the problem where the metadata names another model at the end of a job, because a job that ran at the same
    time began with that model, or has added vectors; None where there is no problem."""
    new = models_of(spec.metadata.vectors)
    for job in _compared(theirs, spec):
        old = models_of(job)
        if old is not None and new is not None and old != new:
            return (
                f"another job began to fill '{name}' with the model {old} while this one wrote vectors of {new}; "
                "what of both is in it cannot be compared: write to another collection"
            )
    others = set() if theirs is None else vector_names(theirs.vectors) - names_of(spec)
    if theirs is not None and theirs.guests and others and not spec.merge:
        return (
            f"another job has put the vector {_listed(others)} beside those of '{name}' while this one replaced "
            "points as a whole; "
            "set existing=merge here from now on, and run the other job again"
        )
    return None


def _compared(theirs: CollectionMetadata | None, spec: CollectionSpec) -> list[Vectors]:
    """Return the vectors of each job whose models must be equal to this job's. A job that replaces points as a whole is
    compared with the first job, whatever its vectors are called."""
    return owners(theirs, spec) or ([] if spec.merge or theirs is None else [theirs.first])


def _other_model(whose: str, old: str | None, spec: CollectionSpec) -> Iterator[str]:
    new = models_of(spec.metadata.vectors)
    if old is not None and new is not None and old != new:
        beside = (
            "another vector_name"
            if spec.merge
            else "a vector of its own beside it (existing=merge with another vector_name)"
        )
        yield (
            f"{whose} was filled with the model {old}, this job would write vectors of {new}, and no search can "
            "compare them; "
            f"use that model, mode('overwrite'), another collection, or {beside}"
        )
    elif old is None and new is not None and not spec.adopt:
        yield (
            f"{whose} was filled with vectors of unknown origin (option 'vector_column'); set adopt_collection=true "
            f"if they were made with {new}"
        )


def _shared_problems(name: str, theirs: CollectionMetadata | None, spec: CollectionSpec) -> Iterator[str]:
    """Yield the reasons why a job may not merge into this collection."""
    if spec.merge and theirs is not None and theirs.chunked:
        yield (
            f"the documents of '{name}' are in chunks (long_text=chunk), which existing=merge cannot put anything "
            "into: every job would cut them elsewhere; "
            "write to another collection"
        )
    if theirs is not None and is_guest(theirs, spec) and spec.owning:
        options = " and ".join(f"'{option}'" for option in spec.owning)
        yield (
            f"option {options} would decide about whole documents of '{name}', and only a job that writes its "
            "first vector "
            f"({_listed([theirs.vectors[0].job])}) may; leave it out of this job"
        )


def _whose(name: str, theirs: CollectionMetadata | None, job: Vectors, spec: CollectionSpec) -> str:
    """Describe the collection, or one of its vectors where there are several to be distinguished."""
    one = job[0].job
    return (
        f"the vector '{one}' of '{name}'"
        if one and (spec.merge or (theirs is not None and theirs.guests))
        else f"'{name}'"
    )


def _key(columns: Collection[str]) -> str:
    return ", ".join(repr(column) for column in columns) or "the text itself"


def _listed(names: Collection[str]) -> str:
    return " and ".join(repr(one) if one else "that has no name" for one in sorted(names))
