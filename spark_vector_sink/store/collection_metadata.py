"""What a collection remembers of itself and of each of its vectors, and the JSON that it is kept as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from spark_vector_sink.errors import CollectionError

FORMAT = 1
"""Of the JSON. One that this version would misread, or lose something of when it writes it again, has a greater
number."""

DENSE, SPARSE = "dense", "sparse"


@dataclass(frozen=True)
class VectorMetadata:
    """What is remembered of one vector."""

    name: str
    """empty: the unnamed one"""
    kind: str = DENSE
    job: str = ""
    """the name of the first vector that its job writes: those of one job are made in one pass, share a fingerprint, and
    are filled by nobody else"""
    dimension: int | None = None
    """None of a sparse one, and of ready-made ones whose length only the collection knows"""
    distance: str | None = None
    """None of a sparse one"""
    model: str | None = None
    """its identity; None where vectors are ready-made"""
    place: str | None = None
    """the hub name or the folder that the model was loaded from"""
    revision: str | None = None
    encoder: str | None = None
    """the user's own encoder, in place of a model that is loaded from somewhere"""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """options of its job that say how texts became vectors, where they were given"""
    library: str | None = None


Vectors = tuple[VectorMetadata, ...]


@dataclass(frozen=True)
class CollectionMetadata:
    """What is remembered of a collection. The vectors of the job that filled it first come first; those of others have
    moved in later."""

    vectors: Vectors
    """at least one"""
    library: str | None = None
    key: tuple[str, ...] | None = None
    """the key columns, by their names in the payload"""
    id_namespace: str | None = None
    text: str | None = None
    """the field of the payload with the text; None where it is not kept"""
    chunked: bool = False
    """whether documents may have several points"""
    run: str | None = None
    """the run that made it, on a server: it tells two collections apart that are alike otherwise"""

    def __post_init__(self) -> None:
        if not self.vectors:
            raise ValueError("nothing is remembered of a collection without a vector")

    @property
    def jobs(self) -> list[Vectors]:
        """The vectors of each job."""
        return [
            tuple(vector for vector in self.vectors if vector.job == job)
            for job in dict.fromkeys(vector.job for vector in self.vectors)
        ]

    @property
    def first(self) -> Vectors:
        """The vectors of the job that filled the collection first."""
        return self.jobs[0]

    @property
    def guests(self) -> Vectors:
        """Those that moved in later."""
        return tuple(vector for job in self.jobs[1:] for vector in job)

    def joined_by(self, guest: Vectors) -> CollectionMetadata:
        """The same with the vectors of one more job, in the place of what was remembered of that job."""
        jobs = {job[0].job: job for job in (*self.jobs, guest)}
        return replace(self, vectors=tuple(vector for job in jobs.values() for vector in job))

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `from_json` reads them; what is not known is left out."""
        plain = {name: value for name, value in asdict(self).items() if value is not None}
        lists = {name: list(value) for name, value in plain.items() if isinstance(value, tuple)}
        return {"format": FORMAT, **plain, **lists}

    @classmethod
    def from_json(cls, name: str, found: Any) -> CollectionMetadata | None:
        """What stands in the collection `name`; None where nothing is remembered. Raises CollectionError where this
        version cannot read it."""
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
    """Their names; "" is the unnamed one."""
    return {vector.name for vector in vectors}


def of_kind(kind: str, vectors: Vectors) -> VectorMetadata | None:
    """The vector of this kind among those of one job."""
    return next((vector for vector in vectors if vector.kind == kind), None)


def models_of(vectors: Vectors) -> str | None:
    """Which models filled the vectors of one job, for people; None where they are ready-made."""
    known = [vector.model for vector in vectors if vector.model is not None]
    return " + ".join(known) if known else None


def of_vector(name: str, theirs: CollectionMetadata | None, vector_name: str | None) -> Vectors:
    """The vectors of the job that writes this one; None: the first job's, and the unnamed one where nothing is
    remembered. Raises CollectionError where no job has written it."""
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
    """What versions before the first format wrote: the first job's vectors at the top, and under `vectors` an entry
    like it for each job that came later."""
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
    """A dense vector, a sparse one, or both, whose models are one text then."""
    dense = (entry.get("vector_name") or "") if entry.get("dense", True) else None
    sparse, source = entry.get("sparse_vector_name") or None, entry.get("source") or {}
    job, settings, library = (
        dense if dense is not None else str(sparse),
        entry.get("settings") or {},
        entry.get("library"),
    )
    of_dense = of_sparse = entry.get("model")
    if dense is not None and sparse is not None and " + " in str(of_dense):
        of_dense, _, of_sparse = str(of_dense).rpartition(
            " + "
        )  # the last one: a prompt of the dense model may hold another
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
