"""Inspect an embedded store: from its small files, and from its index only where documents must be counted."""

from __future__ import annotations

from pathlib import Path

from spark_vector_sink.errors import CollectionError, PermanentStoreError
from spark_vector_sink.store.collection_versions import Version
from spark_vector_sink.store.edge import cleanup, failed_runs, staging, versions
from spark_vector_sink.store.edge import index as edge
from spark_vector_sink.store.edge.layout import StoreDirectory, read_facts
from spark_vector_sink.store.inspection import InspectedVersion, Inspection, inspected_vectors, points_are_documents


def inspect(name: str, seconds: float) -> Inspection:
    """Describe the store, as `Collections.inspect` does. seconds: the longest wait for the lock, which is needed only
    to count the documents among chunks and tombstones."""
    directory = StoreDirectory(Path(name))
    there = versions.serving(directory)
    if there is None:
        raise CollectionError(f"there is no embedded store at {name}; name the directory of one")
    physical, facts = there
    documents = (
        facts.points
        if points_are_documents(facts.metadata, facts.payload_indexes)
        else _documents(directory, physical, seconds)
    )
    return Inspection(
        name,
        physical,
        facts.points,
        documents,
        vectors=inspected_vectors({**facts.dense_vectors, **dict.fromkeys(facts.sparse_vectors)}, facts.metadata),
        versions=tuple(_inspected(directory, version, physical) for version in versions.found(directory)),
        payload_indexes=dict(facts.payload_indexes),
        metadata=facts.metadata,
        pending_runs=len(staging.manifests(directory)),
        failed_runs=failed_runs.runs(directory),
    )


def _documents(directory: StoreDirectory, physical: str, seconds: float) -> int:
    with edge.reserved(directory, seconds) as deadline, edge.opened(directory.shard(physical), deadline) as shard:
        return cleanup.count_documents(shard)


def _inspected(directory: StoreDirectory, version: Version, serving: str) -> InspectedVersion:
    try:
        points: int | None = read_facts(directory, version.name).points
    except (
        PermanentStoreError,
        CollectionError,
    ):  # a job is just creating it, or died while creating it, or a newer version of the sink has written it
        points = None
    return InspectedVersion(version.name, version.state, version.name == serving, points)
