"""Define the metadata that the sink stores about a collection and each of its vectors, and convert it to and from
JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from spark_vector_sink.errors import CollectionError

FORMAT = 1
"""Version of the JSON format. A format that this version of the sink would misread, or of which it would lose something
when it writes it again, gets a greater number."""

DENSE, SPARSE = "dense", "sparse"


@dataclass(frozen=True)
class VectorMetadata:
    """Metadata of one vector."""

    name: str
    """name of the vector; empty: the unnamed vector"""
    kind: str = DENSE
    job: str = ""
    """name of the job: the name of the first vector that it writes. The vectors of one job are made in one pass, share
    a fingerprint, and are not filled by any other job"""
    dimension: int | None = None
    """dimension of a dense vector; None for a sparse vector, and for ready-made vectors whose length only the
    collection knows"""
    distance: str | None = None
    """distance of a dense vector; None for a sparse vector"""
    model: str | None = None
    """identity of the model; None where vectors are ready-made"""
    place: str | None = None
    """hub name or folder that the model was loaded from"""
    revision: str | None = None
    encoder: str | None = None
    """the user's own encoder, used instead of a model that is loaded from `place`"""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """options of the job that change how texts become vectors, where they were given"""
    library: str | None = None


Vectors = tuple[VectorMetadata, ...]


@dataclass(frozen=True)
class CollectionMetadata:
    """Metadata of a collection. The vectors of the job that filled it first come first; vectors of other jobs were
    added later."""

    vectors: Vectors
    """metadata of each vector, at least one"""
    library: str | None = None
    key: tuple[str, ...] | None = None
    """names of the key columns in the payload"""
    id_namespace: str | None = None
    text: str | None = None
    """payload field with the text; None where the text is not kept"""
    chunked: bool = False
    """True where documents may have several points"""
    run: str | None = None
    """run that created the collection, on a server: it distinguishes two collections that are otherwise equal"""

    def __post_init__(self) -> None:
        if not self.vectors:
            raise ValueError("nothing is remembered of a collection without a vector")

    @property
    def jobs(self) -> list[Vectors]:
        """Return the vectors of each job."""
        return [
            tuple(vector for vector in self.vectors if vector.job == job)
            for job in dict.fromkeys(vector.job for vector in self.vectors)
        ]

    @property
    def first(self) -> Vectors:
        """Return the vectors of the job that filled the collection first."""
        return self.jobs[0]

    @property
    def guests(self) -> Vectors:
        """Return the vectors that were added later by other jobs."""
        return tuple(vector for job in self.jobs[1:] for vector in job)

    def joined_by(self, guest: Vectors) -> CollectionMetadata:
        """Return a copy with the vectors of one more job, which replace earlier metadata of the same job."""
        jobs = {job[0].job: job for job in (*self.jobs, guest)}
        return replace(self, vectors=tuple(vector for job in jobs.values() for vector in job))

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values, in the form that `from_json` reads; fields that are None are left out."""
        plain = {name: value for name, value in asdict(self).items() if value is not None}
        lists = {name: list(value) for name, value in plain.items() if isinstance(value, tuple)}
        return {"format": FORMAT, **plain, **lists}

    @classmethod
    def from_json(cls, name: str, found: Any) -> CollectionMetadata | None:
        """Read the metadata stored in the collection `name`; None where there is none. Raises CollectionError where
        this version of the sink cannot read it."""
        if not isinstance(found, Mapping) or not found:
            return None
        given = found.get("format")
        if isinstance(given, int) and given > FORMAT:
            raise CollectionError(
                f"what this sink remembers in '{name}' has the format {given}, of a newer version of it, and this "
                f"version reads formats up to {FORMAT}; "
                "update spark-vector-sink here, too"
            )
        try:
            return _former(found) if given is None else _current(found)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise CollectionError(
                f"what this sink remembers in '{name}' was damaged: it does not hold what the sink writes there; "
                "restore it, or write to another collection"
            ) from None


def vector_names(vectors: Iterable[VectorMetadata]) -> set[str]:
    """Return the names of the vectors; "" is the unnamed vector."""
    return {vector.name for vector in vectors}


def of_kind(kind: str, vectors: Vectors) -> VectorMetadata | None:
    """Return the vector of this kind among the vectors of one job; None where there is none."""
    return next((vector for vector in vectors if vector.kind == kind), None)


def models_of(vectors: Vectors) -> str | None:
    """Return the models that filled the vectors of one job, as text for people; None where the vectors are
    ready-made."""
    known = [vector.model for vector in vectors if vector.model is not None]
    return " + ".join(known) if known else None


def of_vector(name: str, theirs: CollectionMetadata | None, vector_name: str | None) -> Vectors:
    """Return the vectors of the job that writes the vector `vector_name`; None: the vectors of the first job, or the
    unnamed vector where there is no metadata. Raises CollectionError where no job has written the vector."""
    jobs = [] if theirs is None else theirs.jobs
    if vector_name is None:
        return jobs[0] if jobs else (VectorMetadata(""),)
    for job in jobs:
        if vector_name in vector_names(job):
            return job
    known = ", ".join(repr(one) if one else "the unnamed one" for job in jobs for one in sorted(vector_names(job)))
    raise CollectionError(
        f"'{name}' has no vector '{vector_name}' that this sink has written; it has {known or 'none'}: set "
        "vector_name to one of them"
    )


def _current(found: Mapping[str, Any]) -> CollectionMetadata:
    known = {name: value for name, value in found.items() if name != "format"}
    vectors, key = (VectorMetadata(**vector) for vector in known["vectors"]), known.get("key")
    return CollectionMetadata(**{**known, "vectors": tuple(vectors), "key": None if key is None else tuple(key)})


def _former(found: Mapping[str, Any]) -> CollectionMetadata:
    """Convert metadata of versions before the first format: the first job's vectors at the top level, and under
    `vectors` an entry of the same form for each later job."""
    entries = (found, *(found.get("vectors") or {}).values())
    vectors, key = tuple(vector for entry in entries for vector in _former_vectors(entry)), found.get("key")
    return CollectionMetadata(
        vectors,
        found.get("library"),
        None if key is None else tuple(key),
        found.get("id_namespace"),
        found.get("text"),
        bool(found.get("chunked")),
        found.get("run"),
    )


def _former_vectors(entry: Mapping[str, Any]) -> Iterator[VectorMetadata]:
    """Convert one entry of the former format: a dense vector, a sparse vector, or both; the models of both are then one
    text."""
    dense = (entry.get("vector_name") or "") if entry.get("dense", True) else None
    sparse, source = entry.get("sparse_vector_name") or None, entry.get("source") or {}
    job, settings, library = (
        dense if dense is not None else str(sparse),
        entry.get("settings") or {},
        entry.get("library"),
    )
    of_dense = of_sparse = entry.get("model")
    if dense is not None and sparse is not None and " + " in str(of_dense):
        # the last separator: a prompt of the dense model may contain another
        of_dense, _, of_sparse = str(of_dense).rpartition(" + ")
    if dense is not None:
        place, revision, encoder = source.get("model") or None, source.get("model_revision"), source.get("encoder")
        yield VectorMetadata(
            dense,
            DENSE,
            job,
            entry.get("dimension"),
            entry.get("distance"),
            of_dense,
            place,
            revision,
            encoder,
            settings,
            library,
        )
    if sparse is not None:
        place, revision = source.get("sparse_model"), source.get("sparse_model_revision")
        yield VectorMetadata(
            sparse, SPARSE, job, model=of_sparse, place=place, revision=revision, settings=settings, library=library
        )
