"""Which job of all that share a collection fills which of its vectors."""

from __future__ import annotations

from spark_vector_sink.store.collection import FINGERPRINT, CollectionSpec
from spark_vector_sink.store.collection_metadata import CollectionMetadata, Vectors, vector_names


def job_name(spec: CollectionSpec) -> str:
    """What a job is called in metadata: by its dense vector, or by the sparse one where it makes no dense one."""
    return spec.vector_name if spec.dense else str(spec.sparse_vector_name)


def names_of(spec: CollectionSpec) -> set[str]:
    """The vectors that a job writes."""
    return ({spec.vector_name} if spec.dense else set()) | (
        {spec.sparse_vector_name} if spec.sparse_vector_name else set()
    )


def owners(theirs: CollectionMetadata | None, spec: CollectionSpec) -> list[Vectors]:
    """Of each job that has any vector of this one, all vectors."""
    return [] if theirs is None else [job for job in theirs.jobs if vector_names(job) & names_of(spec)]


def is_guest(theirs: CollectionMetadata | None, spec: CollectionSpec) -> bool:
    """Whether the job's vectors live beside those of the first one."""
    return spec.merge and theirs is not None and not vector_names(theirs.first) & names_of(spec)


def fingerprint_field(theirs: CollectionMetadata | None, spec: CollectionSpec) -> str:
    """The field of `_sink` with the fingerprints of the job's vectors: jobs with vectors of their own do not take each
    other's for theirs."""
    return f"{FINGERPRINT}:{job_name(spec)}" if is_guest(theirs, spec) else FINGERPRINT
