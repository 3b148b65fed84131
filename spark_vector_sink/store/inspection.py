"""Describe a collection: its vectors, its counts, its versions. Both stores return these values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spark_vector_sink.payload_types import RESERVED
from spark_vector_sink.store.collection_metadata import CollectionMetadata


@dataclass(frozen=True)
class InspectedVector:
    """One of the vectors of the points. name: "" is the unnamed vector. dimension, distance: None for a sparse vector.
    model: the model that filled it, in the form that the model guard compares; None where there is no metadata, or the
    vectors were ready-made. place: the hub name or the folder that the model was loaded from."""

    name: str
    dimension: int | None
    distance: str | None
    model: str | None
    place: str | None = None

    @property
    def sparse(self) -> bool:
        return self.dimension is None

    def __str__(self) -> str:
        kind = "sparse" if self.sparse else f"{self.dimension} dimensions, {self.distance}"
        model = self.model or "model unknown"
        named = self.place is None or model.startswith(self.place)
        return f"{self.name or '(unnamed)'}: {kind}, {model}" + ("" if named else f" of {self.place}")


@dataclass(frozen=True)
class InspectedVersion:
    """One version of a collection. state: see `collection_versions`. serves: True where searches see it. points: None
    where the store does not report the number."""

    name: str
    state: str
    serves: bool
    points: int | None


@dataclass(frozen=True)
class Inspection:
    """Description of a collection as it is now, to be printed. Inspecting changes nothing."""

    name: str
    """name of the collection, or the directory of an embedded store"""
    physical: str
    """version that the name stands for, or the plain collection itself"""
    points: int
    """number of points of the version; tombstones and chunks are points too"""
    documents: int | None
    """number of documents without tombstones, a document of several chunks counted once; None where the server does not
    count them"""
    vectors: tuple[InspectedVector, ...]
    versions: tuple[InspectedVersion, ...]
    """versions, the earliest first; empty for a plain collection, or where the API key may not list collections"""
    payload_indexes: Mapping[str, str]
    """payload field → index type"""
    metadata: CollectionMetadata | None
    """metadata that the sink has stored in the collection; None where the sink has written nothing"""
    pending_runs: int = 0
    """for an embedded store: number of runs whose rows are safe in the directory, and are ingested and counted when the
    next job or search opens it"""

    failed_runs: int = 0
    """for an embedded store: number of runs whose rows could not be ingested, and are kept in its folder `failed`, each
    with its REASON"""

    def as_dict(self) -> dict[str, Any]:
        """Convert the inspection to plain values, for JSON."""
        return {**asdict(self), "metadata": {} if self.metadata is None else self.metadata.to_json()}

    def __str__(self) -> str:
        """Format the inspection for people."""
        return "\n".join(f"{label:<10}{text}" for label, text in self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "name", self.name + (f", now {self.physical}" if self.physical != self.name else ", a plain collection")
        yield (
            "written",
            f"by {self.metadata.library}"
            if self.metadata is not None and self.metadata.library
            else "not by this sink: nothing is remembered in it",
        )
        yield "points", f"{self.points:,}"
        yield (
            "documents",
            "unknown: the server does not count them" if self.documents is None else f"{self.documents:,}",
        )
        if self.pending_runs:
            yield (
                "pending",
                f"rows of {self.pending_runs} {'run' if self.pending_runs == 1 else 'runs'}; the next job or search "
                "brings them in",
            )
        if self.failed_runs:
            runs = f"{self.failed_runs} {'run' if self.failed_runs == 1 else 'runs'}"
            yield (
                "failed",
                f"rows of {runs}, set aside in {self.name}/failed, each with its REASON; write them again, then "
                "remove that folder",
            )
        if self.metadata is not None and self.metadata.key:
            yield "key", ", ".join(self.metadata.key)
        for vector in self.vectors:
            yield "vector", str(vector)
        for field, kind in self.payload_indexes.items():
            yield "index", f"{field}:{kind}"
        for version in self.versions:
            counted = "" if version.points is None else f", {version.points:,} points"
            yield "version", f"{version.name}: {'serves' if version.serves else version.state}{counted}"


def inspected_vectors(
    there: Mapping[str, tuple[int, str] | None], theirs: CollectionMetadata | None
) -> tuple[InspectedVector, ...]:
    """Return every vector of a collection, sorted by name, with the model that filled it. there: vector name →
    dimension and distance of a dense vector, None for a sparse vector."""
    filled = {} if theirs is None else {vector.name: (vector.model, vector.place) for vector in theirs.vectors}
    kinds = {name: kind or (None, None) for name, kind in sorted(there.items())}
    return tuple(
        InspectedVector(name, dimension, distance, *filled.get(name, (None, None)))
        for name, (dimension, distance) in kinds.items()
    )


def points_are_documents(metadata: CollectionMetadata | None, payload_indexes: Mapping[str, str]) -> bool:
    """Return whether each point is a document: no job has made chunks, and no job may have left tombstones, which have
    a payload index."""
    return not (metadata is not None and metadata.chunked) and f"{RESERVED}.deleted" not in payload_indexes
