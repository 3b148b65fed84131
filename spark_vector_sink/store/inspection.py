"""What can be said of a collection: its vectors, its counts, its versions. Both stores tell it in these values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spark_vector_sink.payload_types import RESERVED
from spark_vector_sink.store.collection_metadata import CollectionMetadata


@dataclass(frozen=True)
class InspectedVector:
    """One of the vectors that points have. name: "" is the unnamed one. dimension, distance: None of a sparse one.
    model: which one filled it, as the model guard compares it; None where nothing is remembered, or the vectors were
    ready-made. place: the hub name or the folder that it was loaded from."""

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
    """One version of a collection. state: see `collection_versions`. serves: whether searches see it. points: None
    where the store does not tell."""

    name: str
    state: str
    serves: bool
    points: int | None


@dataclass(frozen=True)
class Inspection:
    """A collection as it is now; `print` it. Nothing was changed to find it out."""

    name: str
    """the collection, or the directory of an embedded store"""
    physical: str
    """what the name stands for: a version, or a plain collection itself"""
    points: int
    """of that version; tombstones and chunks are points too"""
    documents: int | None
    """without tombstones, a document of several chunks once; None where the server does not count them"""
    vectors: tuple[InspectedVector, ...]
    versions: tuple[InspectedVersion, ...]
    """the earliest first; none of a plain collection, or where the API key may not list collections"""
    payload_indexes: Mapping[str, str]
    """field → type"""
    metadata: CollectionMetadata | None
    """what the sink remembers in it; None where it has written nothing"""
    pending_runs: int = 0
    """of an embedded store: runs whose rows are safe in the directory, and are brought in, and counted, when the next
    job or search opens it"""

    failed_runs: int = 0
    """of an embedded store: runs whose rows could not be brought in, and are set aside in its folder `failed`, each
    with its REASON"""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {**asdict(self), "metadata": {} if self.metadata is None else self.metadata.to_json()}

    def __str__(self) -> str:
        """The inspection, for people."""
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
    """Every vector of a collection, by name, with the model that filled it. there: dimension and distance of each dense
    one, None of a sparse one."""
    filled = {} if theirs is None else {vector.name: (vector.model, vector.place) for vector in theirs.vectors}
    kinds = {name: kind or (None, None) for name, kind in sorted(there.items())}
    return tuple(
        InspectedVector(name, dimension, distance, *filled.get(name, (None, None)))
        for name, (dimension, distance) in kinds.items()
    )


def points_are_documents(metadata: CollectionMetadata | None, payload_indexes: Mapping[str, str]) -> bool:
    """Whether each point is a document: no job has made chunks, or may have left tombstones, which have an index."""
    return not (metadata is not None and metadata.chunked) and f"{RESERVED}.deleted" not in payload_indexes
