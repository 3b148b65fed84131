"""Check whether a directory can take what a job wants to write, before anything is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from spark_vector_sink.errors import shorten
from spark_vector_sink.payload_types import TENANT_INDEXES
from spark_vector_sink.store.collection import CollectionSpec
from spark_vector_sink.store.collection_versions import READY
from spark_vector_sink.store.edge.guest_vectors import new_vectors
from spark_vector_sink.store.edge.layout import StoreDirectory, StoreFacts, read_facts
from spark_vector_sink.store.edge.versions import found
from spark_vector_sink.store.model_guard import guard_problems, left_out
from spark_vector_sink.store.vector_owners import names_of


def place_problems(directory: StoreDirectory) -> list[str]:
    """Return the reasons why no store can be, or be created, at this place."""
    root = directory.root
    try:
        if root.exists() and not root.is_dir():
            return [f"{root} is a file, but an embedded store is a directory; name another path"]
        if directory.is_foreign():
            return [
                f"{root} is not empty and holds no embedded store of this sink; name an empty directory, or one that "
                "does not exist yet"
            ]
        for version in reversed(found(directory)) if directory.current() is None else ():
            if version.state == READY and (points := read_facts(directory, version.name).points):
                return [
                    f"{root} holds {points:,} points but no file CURRENT; write a file CURRENT with the line "
                    f"{version.name} into it, or name another directory"
                ]
        place = _nearest_directory(root)
    except (ValueError, RuntimeError) as error:
        return [f"{str(root)!r} is no path of this system ({error}); name another one"]
    except OSError as error:
        if not isinstance(error, PermissionError):
            return [f"{shorten(str(root))} cannot be used ({error.strerror}); name another path"]
        return [f"{error.filename or root} cannot be read; name a directory that you may read and write"]
    if not place.is_dir():
        return [f"{root} cannot be made, because {place} is a file; name another path"]
    if not os.access(place, os.W_OK | os.X_OK):
        return [
            f"{place} is not writable, so no embedded store can be written to {root}; name a directory that you "
            "may write to"
        ]
    return []


def missing_problem(directory: StoreDirectory) -> str:
    return (
        f"there is no embedded store at {directory.root}, and create_collection=false; set create_collection=true, "
        "or name an existing store"
    )


def facts_problems(directory: StoreDirectory, facts: StoreFacts, spec: CollectionSpec) -> list[str]:
    """Return the properties of an existing store that do not fit the job."""
    root, problems = directory.root, list[str]()
    if spec.merge:
        problems += _merging_problems(root, facts, spec)
    elif facts.others:
        problems += left_out(str(root), facts.names - names_of(spec), spec)
    else:
        problems += _kind_problems(root, facts, spec)
    there = facts.dense_vectors.get(spec.vector_name) if spec.merge else (facts.dimension, facts.distance)
    both_dense = spec.dense and there is not None and there[0] is not None
    if both_dense and there is not None and spec.dimension not in (None, there[0]):
        problems.append(
            f"{root} holds vectors of {there[0]} dimensions, but this job makes {spec.dimension}; use the model that "
            "made it, or write to another directory"
        )
    if both_dense and there is not None and there[1] != spec.distance:
        problems.append(
            f"{root} compares vectors by {there[1]}, but this job asks for {spec.distance}; set distance={there[1]}, "
            "or write to another directory"
        )
    if both_dense and not facts.others and not spec.merge and facts.vector_name != spec.vector_name:
        problems.append(
            f"the vectors of {root} are {_named(facts.vector_name)}, but those of this job "
            f"{_named(spec.vector_name)}; {_how(facts.vector_name)}, or write to another directory"
        )
    for field, kind in spec.payload_indexes.items():
        present = facts.payload_indexes.get(field, kind)
        if kind not in (present, TENANT_INDEXES.get(present)):
            problems.append(
                f"{root} has a payload index of type {present} on '{field}', but this job asks for {kind}; leave "
                f"'{field}' out of option 'payload_indexes', or write to another directory"
            )
    return [*problems, *guard_problems(str(root), facts.metadata, spec, facts.points)]


def _merging_problems(root: Path, facts: StoreFacts, spec: CollectionSpec) -> Iterator[str]:
    """Yield the problems of a job that merges: vectors that cannot be added, or that exist with another kind."""
    if (spec.dense and spec.vector_name in facts.sparse_vectors) or spec.sparse_vector_name in facts.dense_vectors:
        yield f"{root} has a vector of this job's name that is of the other kind, dense or sparse; choose another name"
    elif spec.dense and not spec.vector_name and "" not in facts.names:
        yield (
            f"{root} has only named vectors ({', '.join(map(repr, sorted(facts.names)))}); choose one, or a new "
            "one, with option 'vector_name'"
        )
    new = new_vectors(facts, spec)
    if new and not spec.create:
        yield (
            f"{root} has no vector {' and '.join(map(repr, new))}, and create_collection=false; leave that option "
            "out, or write to another directory"
        )


def _kind_problems(root: Path, facts: StoreFacts, spec: CollectionSpec) -> Iterator[str]:
    """Yield the dense and sparse vectors that only the store or only the job has. A point is written with all its
    vectors or not at all, so it is not possible to write only some of them."""
    if facts.dense != spec.dense:
        has, makes = ("has dense vectors", "none") if facts.dense else ("has no dense vectors", "them")
        yield f"{root} {has}, but this job makes {makes}; write to another directory"
    old, new = facts.sparse_vector_name, spec.sparse_vector_name
    if old != new:
        has = f"has the sparse vector '{old}'" if old else "has no sparse vector"
        makes = f"makes '{new}'" if new else "makes none"
        yield (
            f"{root} {has}, but this job {makes}; {f'set sparse_vector_name={old}, or ' if old else ''}write to "
            "another directory"
        )


def new_indexes(facts: StoreFacts, spec: CollectionSpec) -> dict[str, str]:
    """Return the payload indexes that the store does not have yet."""
    return {field: kind for field, kind in spec.payload_indexes.items() if field not in facts.payload_indexes}


def _nearest_directory(path: Path) -> Path:
    """Return the path itself, or the first of its parents that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def _named(name: str) -> str:
    return f"named {name!r}" if name else "unnamed"


def _how(name: str) -> str:
    return f"set vector_name={name}" if name else "leave out option 'vector_name'"
