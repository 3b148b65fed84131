"""Describe an embedded store in words, and create an empty version of one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace

from spark_vector_sink.errors import CollectionError
from spark_vector_sink.store.collection import CollectionSpec, Target
from spark_vector_sink.store.edge import index as edge
from spark_vector_sink.store.edge import versions
from spark_vector_sink.store.edge.layout import (
    FIRST_VERSION,
    StoreDirectory,
    StoreFacts,
    read_facts,
    write_atomically,
    write_facts,
)
from spark_vector_sink.store.edge.schema import missing_problem, place_problems


def resolve_overwrite(directory: StoreDirectory, spec: CollectionSpec, problems: tuple[str, ...]) -> Target:
    """Return the target of an overwrite: a version with the next free number. What exists now does not keep the job
    from writing, whatever it holds."""
    name = str(directory.root)
    if problems:
        return Target(name, FIRST_VERSION, False, problems=problems, overwrites=True)
    current, physical, dimension = directory.current(), versions.next_name(directory), spec.dimension
    if dimension is None and spec.dense:
        there = versions.serving(directory)
        dimension = None if there is None else there[1].dimension
    steps = (
        creation(f"{name}/{physical}", spec).replace("embedded store", "version"),
        *index_plan(spec.payload_indexes),
        f"count and look at what was written, then let CURRENT name {physical}"
        + (f" instead of {current}" if current else ""),
    )
    return Target(
        name,
        physical,
        False,
        dimension if spec.dense else None,
        plan=steps,
        points=0,
        overwrites=True,
        replaces=current,
    )


def inherited(directory: StoreDirectory, spec: CollectionSpec, physical: str | None) -> CollectionSpec:
    """Return the spec with the payload indexes of this version where the spec inherits."""
    if not spec.inherits or physical is None:
        return spec
    return replace(spec, payload_indexes={**read_facts(directory, physical).payload_indexes, **spec.payload_indexes})


def creation(name: str, spec: CollectionSpec) -> str:
    """Describe the creation of the store, as a step of the plan."""
    vectors = [f"vectors of {spec.dimension or 'unknown'} dimensions, {spec.distance}"] if spec.dense else []
    vectors += [f"sparse vector '{spec.sparse_vector_name}'"] if spec.sparse_vector_name else []
    return f"create the embedded store {name}: {'; '.join(vectors)}"


def index_plan(indexes: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"create the payload index {field}:{kind}" for field, kind in indexes.items())


def make_root(directory: StoreDirectory) -> None:
    """Create the directory, after checking again that it holds no files of others."""
    if problems := place_problems(directory):
        raise CollectionError(problems)
    try:
        directory.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CollectionError(f"{directory.root} cannot be made: {error.strerror}; name another path") from error


def create(directory: StoreDirectory, spec: CollectionSpec, physical: str) -> None:
    """Create an empty version. CURRENT is written afterwards: without it the version does not serve."""
    if not spec.create:
        raise CollectionError(missing_problem(directory))
    if spec.dense and spec.dimension is None:
        raise CollectionError(
            f"the embedded store {directory.root} cannot be made, because the length of its vectors is not known; "
            "give option 'dimension'"
        )
    facts = StoreFacts(
        spec.vector_name,
        spec.dimension if spec.dense else None,
        spec.distance,
        points=0,
        metadata=spec.metadata,
        sparse_vector_name=spec.sparse_vector_name,
    )
    edge.create_shard(directory.shard(physical), facts)
    write_facts(directory, physical, facts)
    directory.pending.mkdir(exist_ok=True)
    directory.all_staging.mkdir(exist_ok=True)


def create_current(directory: StoreDirectory, spec: CollectionSpec) -> str:
    """Create an empty store and return its version. A directory that a killed process has left unfinished is not a
    store, and is created anew; a version that an overwrite fills is not touched."""
    physical = versions.next_name(directory) if versions.is_aside(directory, FIRST_VERSION) else FIRST_VERSION
    shutil.rmtree(directory.version(physical), ignore_errors=True)
    create(directory, spec, physical)
    write_atomically(directory.current_file, f"{physical}\n")
    return physical
