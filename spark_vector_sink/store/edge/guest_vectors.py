"""A job with vectors of its own moves in beside those of other jobs (option `existing=merge`)."""

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
    """Vectors of a job that merges which the store does not have yet, as `StoreFacts.others` holds them. The unnamed
    one cannot be added."""
    if not spec.merge:
        return {}
    wanted: dict[str, dict[str, Any]] = {}
    if spec.dense and spec.vector_name:
        wanted[spec.vector_name] = {"dimension": spec.dimension, "distance": spec.distance}
    if spec.sparse_vector_name:
        wanted[spec.sparse_vector_name] = {}
    return {name: kind for name, kind in wanted.items() if name not in facts.names}


def steps(new: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What `move_in` will do, in words."""
    for name, kind in new.items():
        yield (
            f"create the vector '{name}' of {kind['dimension'] or 'unknown'} dimensions, {kind['distance']}"
            if kind
            else f"create the sparse vector '{name}'"
        )


def move_in(shard: Any, new: Mapping[str, Mapping[str, Any]]) -> None:
    """Create the vectors, durably. One that the facts do not have is of a process that was killed before it wrote them,
    and has no values: it is made anew, since Qdrant Edge repeats an operation that fails, as that of another dimension
    would, with every opening."""
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
    """The metadata with what is to be remembered of this job."""
    theirs, ours = facts.metadata, spec.metadata
    if theirs is None or not (facts.points or spec.merge):
        return ours
    if is_guest(theirs, spec):
        theirs = theirs.joined_by(ours.vectors)
    elif facts.points == 0:
        theirs = replace(ours, vectors=(*ours.vectors, *theirs.guests))
    return replace(theirs, chunked=theirs.chunked or ours.chunked)


def asked_by(root: Path, facts: StoreFacts, vector_name: str | None) -> StoreFacts:
    """The facts as if there were this vector alone, and what belongs to it; None: the first one. Raises CollectionError
    where there is none."""
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
    """The length of the job's dense vectors; None where it makes none, or the store does not know it yet."""
    if not spec.merge:
        return facts.dimension
    return facts.dense_vectors.get(spec.vector_name, (spec.dimension, ""))[0] if spec.dense else None
