"""Add the vectors of a job beside the vectors of other jobs (option `existing=merge`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from spark_vector_sink.store.collection import CollectionSpec
from spark_vector_sink.store.collection_metadata import DENSE, SPARSE, CollectionMetadata, of_kind, of_vector
from spark_vector_sink.store.edge.index import qdrant_edge
from spark_vector_sink.store.edge.layout import StoreFacts
from spark_vector_sink.store.vector_owners import is_guest


def new_vectors(facts: StoreFacts, spec: CollectionSpec) -> dict[str, dict[str, Any]]:
    """Return the vectors of a job that merges which the store does not have yet, in the form of `StoreFacts.others`.
    The unnamed vector cannot be added."""
    if not spec.merge:
        return {}
    wanted: dict[str, dict[str, Any]] = {}
    if spec.dense and spec.vector_name:
        wanted[spec.vector_name] = {"dimension": spec.dimension, "distance": spec.distance}
    if spec.sparse_vector_name:
        wanted[spec.sparse_vector_name] = {}
    return {name: kind for name, kind in wanted.items() if name not in facts.names}


def steps(new: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Describe in words the steps that `move_in` will do."""
    for name, kind in new.items():
        yield (
            f"create the vector '{name}' of {kind['dimension'] or 'unknown'} dimensions, {kind['distance']}"
            if kind
            else f"create the sparse vector '{name}'"
        )


def move_in(shard: Any, new: Mapping[str, Mapping[str, Any]]) -> None:
    """Create the vectors, durably. A vector that exists in the index but not in the facts was created by a process that
    was killed before it wrote the facts, and has no values. It is created anew, because Qdrant Edge repeats an
    operation that fails, e.g. for another dimension, with every opening."""
    edge = qdrant_edge()
    for name, kind in new.items():
        shard.update(edge.UpdateOperation.delete_vector_name(name))
        if kind:
            distance = getattr(edge.Distance, str(kind["distance"]).capitalize())
            shard.update(edge.UpdateOperation.create_dense_vector(name, kind["dimension"], distance))
        else:
            shard.update(edge.UpdateOperation.create_sparse_vector(name))
    shard.flush()


def remembering(facts: StoreFacts, spec: CollectionSpec) -> CollectionMetadata:
    """Return the metadata with this job's vectors added."""
    theirs, ours = facts.metadata, spec.metadata
    if theirs is None or not (facts.points or spec.merge):
        return ours
    if is_guest(theirs, spec):
        theirs = theirs.joined_by(ours.vectors)
    elif facts.points == 0:
        theirs = replace(ours, vectors=(*ours.vectors, *theirs.guests))
    return replace(theirs, chunked=theirs.chunked or ours.chunked)


def asked_by(root: Path, facts: StoreFacts, vector_name: str | None) -> StoreFacts:
    """Return the facts as if the store had only the vectors of the job that writes this vector; None: the facts
    unchanged, with the first job's vectors. Raises CollectionError where there is no such vector."""
    if vector_name is None:
        return facts
    vectors = of_vector(str(root), facts.metadata, vector_name)
    dense, sparse = of_kind(DENSE, vectors), of_kind(SPARSE, vectors)
    dimension, distance = (
        facts.dense_vectors.get(dense.name, (None, facts.distance)) if dense is not None else (None, facts.distance)
    )
    return replace(
        facts,
        vector_name=dense.name if dense else "",
        dimension=dimension,
        distance=distance,
        sparse_vector_name=sparse.name if sparse else None,
    )


def dimension_for(facts: StoreFacts, spec: CollectionSpec) -> int | None:
    """Return the dimension of the job's dense vectors; None where it makes none, or the store does not know the
    dimension yet."""
    if not spec.merge:
        return facts.dimension
    return facts.dense_vectors.get(spec.vector_name, (spec.dimension, ""))[0] if spec.dense else None
