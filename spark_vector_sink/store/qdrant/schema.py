"""Check whether a collection of a Qdrant server fits a job, and describe the collection to be created. This module
sends no requests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from qdrant_client import models

from spark_vector_sink.errors import shorten
from spark_vector_sink.payload_types import TENANT_INDEXES
from spark_vector_sink.store.collection import CollectionSpec
from spark_vector_sink.store.qdrant.datatypes import FLOAT32, asked_for, of_dense, problems_there

NEWER = {"memory": (1, 19), "payload": (1, 19), "id_tracker": (1, 20)}
"""Settings of option `collection_config`, at any depth in it → the first version of the server that does not ignore
them."""

DISTANCES = {"cosine": "Cosine", "dot": "Dot", "euclid": "Euclid", "manhattan": "Manhattan"}


def config_problems(spec: CollectionSpec) -> Iterator[str]:
    """Yield the problems of option `collection_config`, found by the client's own model of the request."""
    forbidden = {"metadata": True, "vectors": not spec.dense, "sparse_vectors": not spec.sparse_vector_name}
    for key in forbidden:
        if forbidden[key] and key in spec.config:
            yield f"option 'collection_config' may not set '{key}'" + (
                ", because this job makes no such vectors" if key != "metadata" else ""
            )
    extra, sparse = spec.config.get("vectors", {}), spec.config.get("sparse_vectors", {})
    if not isinstance(extra, dict) or {"size", "distance"} & set(extra):
        yield (
            "in option 'collection_config', 'vectors' holds settings of the one vector (on_disk, hnsw_config, "
            "quantization_config, datatype), without size and distance"
        )
        return
    if not isinstance(sparse, dict) or set(sparse) - set(models.SparseVectorParams.model_fields):
        yield (
            "in option 'collection_config', 'sparse_vectors' holds settings of the one sparse vector (index, "
            "modifier), without its name"
        )
        return
    try:
        models.CreateCollection(
            **{**spec.config, "vectors": {**extra, "size": 1, "distance": "Cosine"}, "sparse_vectors": {"": sparse}}
        )
    except (ValidationError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        place = ".".join(str(part) for part in first["loc"] if isinstance(part, str) and part[:1].islower())
        yield (
            "option 'collection_config' is no create-collection body: "
            f"{place + ': ' if place else ''}{shorten(str(first['msg']), 120)}"
        )


def settings_of_newer_servers(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the settings of `NEWER` that are set, each once."""
    inner = {
        name for value in config.values() if isinstance(value, dict) for name, _ in settings_of_newer_servers(value)
    }
    yield from ((name, NEWER[name]) for name in NEWER if name in {*config, *inner})


def creation(spec: CollectionSpec) -> dict[str, Any]:
    """Return the arguments of `create_collection` for the vectors, and for the other fields of option
    `collection_config`, as the client's model has them."""
    vectors: Any = {}
    if spec.dense:
        params = models.VectorParams(
            **{**spec.config.get("vectors", {}), "size": spec.dimension, "distance": DISTANCES[spec.distance]}
        )
        vectors = {spec.vector_name: params} if spec.vector_name else params
    sparse = {spec.sparse_vector_name: spec.config.get("sparse_vectors", {})} if spec.sparse_vector_name else None
    others = {name: value for name, value in spec.config.items() if name not in ("vectors", "sparse_vectors")}
    body = models.CreateCollection(**others, vectors=vectors, sparse_vectors=sparse)
    fields = {name: getattr(body, name) for name in others}
    return {
        "vectors_config": vectors,
        "sparse_vectors_config": body.sparse_vectors,
        **{name: value for name, value in fields.items() if value is not None},
    }


def announced(name: str, physical: str, spec: CollectionSpec) -> Iterator[str]:
    """Yield the steps that `prepare` will do for a collection that does not exist, in words."""
    vector = f"vector '{spec.vector_name}'" if spec.vector_name else "vectors"
    datatype = of_dense(asked_for(spec)[0], spec)
    as_kept = f", {datatype}" if datatype != FLOAT32 else ""
    vectors = [f"{vector} of {spec.dimension or 'unknown'} dimensions, {spec.distance}{as_kept}"] if spec.dense else []
    vectors += [f"sparse vector '{spec.sparse_vector_name}'"] if spec.sparse_vector_name else []
    behind = f" behind the alias '{name}'" if physical != name else ""
    yield f"create the collection '{physical}'{behind}: {'; '.join(vectors)}"
    for field, kind in spec.payload_indexes.items():
        yield f"create the payload index {field}:{kind}"


def index_problems(name: str, info: models.CollectionInfo, spec: CollectionSpec) -> Iterator[str]:
    """Yield a problem for each payload index that exists with another type."""
    for field, wanted in spec.payload_indexes.items():
        present = info.payload_schema.get(field)
        if present is None:
            continue
        kind = index_type(present)
        if wanted not in (kind, TENANT_INDEXES.get(kind)):
            yield (
                f"the collection '{name}' has a payload index of type {kind} on '{field}', this job asks for "
                f"{wanted}; drop that index, or leave the option out"
            )


def index_type(index: models.PayloadIndexInfo) -> str:
    """Return the type of a payload index, as in `INDEX_TYPES` and `TENANT_INDEXES`."""
    kind, params = str(index.data_type.value), index.params
    serves_tenants = getattr(params, "is_tenant", None) or getattr(params, "is_principal", None)
    return next((ours for ours, theirs in TENANT_INDEXES.items() if serves_tenants and theirs == kind), kind)


def dense_vectors(info: models.CollectionInfo) -> dict[str, models.VectorParams]:
    """Return the collection's dense vectors by name; "" is the unnamed vector."""
    declared = info.config.params.vectors
    return declared if isinstance(declared, dict) else {"": declared} if declared is not None else {}


def sparse_vectors(info: models.CollectionInfo) -> Mapping[str, models.SparseVectorParams]:
    """Return the collection's sparse vectors by name."""
    return info.config.params.sparse_vectors or {}


def vector_problems(
    name: str, info: models.CollectionInfo, spec: CollectionSpec, coming: Collection[str] = ()
) -> Iterator[str]:
    """Yield the problems of the job's vectors that the collection does not have, or has with other settings. coming:
    vectors that the job will create."""
    sparse = sparse_vectors(info)
    if (spec.dense and spec.vector_name in sparse) or spec.sparse_vector_name in dense_vectors(info):
        yield (
            f"the collection '{name}' has a vector of this job's name that is of the other kind, dense or sparse; "
            "choose another name"
        )
        return
    if spec.dense and spec.vector_name not in coming:
        yield from _dense_problems(name, dense_vectors(info), spec)
    if spec.sparse_vector_name and spec.sparse_vector_name not in {*sparse, *coming}:
        yield (
            f"the collection '{name}' has no sparse vector '{spec.sparse_vector_name}'; it has {_listed(sparse)}: set "
            "option 'sparse_vector_name'"
            if sparse
            else f"the collection '{name}' has no sparse vectors, and this job makes them; write to another collection"
        )
    yield from problems_there(name, dense_vectors(info), sparse, spec)


def _dense_problems(name: str, named: Mapping[str, models.VectorParams], spec: CollectionSpec) -> Iterator[str]:
    vector = named.get(spec.vector_name)
    if vector is None:
        have = _listed(named)
        yield (
            f"the collection '{name}' has no vector '{spec.vector_name}'; it has {have}: set option 'vector_name'"
            if spec.vector_name
            else f"the collection '{name}' has only named vectors ({have}); choose one with option 'vector_name'"
            if named
            else f"the collection '{name}' has no dense vectors, and this job makes them; write to another collection"
        )
        return
    if spec.dimension is not None and vector.size != spec.dimension:
        yield (
            f"the collection '{name}' holds vectors of {vector.size} dimensions, this job makes {spec.dimension}; "
            "use the model it was filled with, or another collection"
        )
    if str(vector.distance.value).lower() != spec.distance:
        yield (
            f"the collection '{name}' compares by {str(vector.distance.value).lower()}, option 'distance' says "
            f"{spec.distance}; set distance={str(vector.distance.value).lower()}, or use another collection"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" if name else "the unnamed one" for name in names) or "none"
