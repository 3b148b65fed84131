"""What a collection remembers of each of its vectors: of the first job's at the top of the metadata, of those that moved in later under `vectors`.

A job's vectors, a dense one and perhaps a sparse one beside it, are one entry. It is called by the dense one's name, or by the sparse one's where there is
no dense one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from spark_vector_sink.errors import CollectionError
from spark_vector_sink.store.collection import FINGERPRINT, CollectionSpec
from spark_vector_sink.store.inspection import InspectedVector

VECTORS = "vectors"
_OF_AN_ENTRY = ("library", "model", "source", "settings", "vector_name", "sparse_vector_name", "dense", "dimension", "distance")

Metadata = Mapping[str, Any]


def entry_name(entry: Metadata) -> str:
    """What an entry is called."""
    return str(entry.get("vector_name", "") if entry.get("dense", True) else entry.get("sparse_vector_name"))


def vector_names(entry: Metadata) -> set[str]:
    """The vectors of an entry; "" is the unnamed one."""
    dense = {str(entry.get("vector_name", ""))} if entry.get("dense", True) else set()
    sparse = entry.get("sparse_vector_name")
    return dense | ({str(sparse)} if sparse else set())


def names_of(spec: CollectionSpec) -> set[str]:
    """The vectors that a job writes."""
    return ({spec.vector_name} if spec.dense else set()) | ({spec.sparse_vector_name} if spec.sparse_vector_name else set())


def entries(theirs: Metadata) -> Iterator[Metadata]:
    """Every entry, the first job's first; none where nothing is remembered."""
    if theirs:
        yield theirs
    yield from (theirs.get(VECTORS) or {}).values()


def owners(theirs: Metadata, spec: CollectionSpec) -> list[Metadata]:
    """The entries that have any vector of the job."""
    return [entry for entry in entries(theirs) if vector_names(entry) & names_of(spec)]


def is_guest(theirs: Metadata, spec: CollectionSpec) -> bool:
    """Whether the job's vectors live beside those of the first one."""
    return spec.merge and bool(theirs) and not vector_names(theirs) & names_of(spec)


def own_entry(spec: CollectionSpec) -> dict[str, Any]:
    """What is remembered of a guest's vectors."""
    return {name: spec.metadata[name] for name in _OF_AN_ENTRY if name in spec.metadata}


def fingerprint_field(theirs: Metadata, spec: CollectionSpec) -> str:
    """The field of `_sink` with the fingerprints of the job's vectors: jobs with vectors of their own do not take each other's for theirs."""
    return f"{FINGERPRINT}:{entry_name(spec.metadata)}" if is_guest(theirs, spec) else FINGERPRINT


def of_vector(name: str, theirs: Metadata, vector_name: str | None) -> Metadata:
    """The metadata as if there were this vector alone, and what belongs to it; None: the first one. Raises CollectionError where nothing is remembered of it."""
    if vector_name is None:
        return theirs
    for entry in entries(theirs):
        if vector_name in vector_names(entry):
            return {**theirs, **entry}
    known = ", ".join(repr(one) if one else "the unnamed one" for entry in entries(theirs) for one in sorted(vector_names(entry)))
    raise CollectionError(
        f"'{name}' has no vector '{vector_name}' that this sink has written; it has {known or 'none'}: set vector_name to one of them"
    )


def inspected_vectors(there: Mapping[str, tuple[int, str] | None], theirs: Metadata) -> tuple[InspectedVector, ...]:
    """Every vector of a collection, by name, with the model that filled it. there: dimension and distance of each dense one, None of a sparse one."""
    models = {name: _model(entry, name) for entry in entries(theirs) for name in vector_names(entry)}
    kinds = {name: kind or (None, None) for name, kind in sorted(there.items())}
    return tuple(InspectedVector(name, dimension, distance, *models.get(name, (None, None))) for name, (dimension, distance) in kinds.items())


def _model(entry: Metadata, name: str) -> tuple[str | None, str | None]:
    """The model of one vector, and where it was loaded from; an entry with two vectors has both models in one text."""
    model, source = entry.get("model"), entry.get("source") or {}
    of_dense, of_sparse = source.get("model") or None, source.get("sparse_model")
    is_sparse = name == entry.get("sparse_vector_name")
    place = of_sparse if is_sparse else of_dense
    if model is None or of_dense is None or of_sparse is None:
        return model, place
    dense, _, sparse = str(model).rpartition(" + ")  # the last one: a prompt of the dense model may hold another
    return sparse if is_sparse else dense, place
