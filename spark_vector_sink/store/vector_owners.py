"""Find the job that fills each vector, among all jobs that share a collection."""

from __future__ import annotations

from spark_vector_sink.store.collection import FINGERPRINT, CollectionSpec
from spark_vector_sink.store.collection_metadata import CollectionMetadata, Vectors, vector_names


def job_name(spec: CollectionSpec) -> str:
    """Return the name of the job in metadata: the name of its dense vector, or of the sparse vector where it makes no
    dense one."""
    return spec.vector_name if spec.dense else str(spec.sparse_vector_name)


def names_of(spec: CollectionSpec) -> set[str]:
    """Return the names of the vectors that a job writes."""
    return ({spec.vector_name} if spec.dense else set()) | (
        {spec.sparse_vector_name} if spec.sparse_vector_name else set()
    )


def owners(theirs: CollectionMetadata | None, spec: CollectionSpec) -> list[Vectors]:
    """Return all vectors of each job that has any vector of this job."""
    return [] if theirs is None else [job for job in theirs.jobs if vector_names(job) & names_of(spec)]


def is_guest(theirs: CollectionMetadata | None, spec: CollectionSpec) -> bool:
    """Return whether the job's vectors are stored beside the vectors of the first job."""
    return spec.merge and theirs is not None and not vector_names(theirs.first) & names_of(spec)


def fingerprint_field(theirs: CollectionMetadata | None, spec: CollectionSpec) -> str:
    """Return the name of the `_sink` field with the fingerprints of the job's vectors: jobs with vectors of their own
    must not take another job's fingerprint for theirs."""
    return f"{FINGERPRINT}:{job_name(spec)}" if is_guest(theirs, spec) else FINGERPRINT
