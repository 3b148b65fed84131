"""Copy the settings of the replaced version to a new version: its configuration and its payload indexes, with all their
parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from qdrant_client import models

from spark_vector_sink.store.collection import CollectionSpec
from spark_vector_sink.store.collection_metadata import CollectionMetadata, of_vector, vector_names
from spark_vector_sink.store.qdrant.schema import dense_vectors, index_type, sparse_vectors
from spark_vector_sink.store.qdrant.sharding import is_custom

_OF_PARAMS = [
    name
    for name in models.CreateCollection.model_fields
    if name in models.CollectionParams.model_fields and "vectors" not in name
]
_OF_CONFIG = {
    "hnsw_config": "hnsw_config",
    "optimizers_config": "optimizer_config",
    "wal_config": "wal_config",
    "quantization_config": "quantization_config",
    "strict_mode_config": "strict_mode_config",
}
"""Fields of the create-collection body → fields of a collection's configuration."""


def following(spec: CollectionSpec, old: models.CollectionInfo | None) -> CollectionSpec:
    """Return the spec of the version that replaces `old`: with the datatypes of its vectors where the job names none,
    and, where the spec inherits, with all other settings that it leaves open."""
    if old is None:
        return spec
    return _with_datatypes(_inherited(spec, old) if spec.inherits else spec, old)


def _inherited(spec: CollectionSpec, old: models.CollectionInfo) -> CollectionSpec:
    """Return the spec with the settings of `old` where the spec leaves them open."""
    params = old.config.params
    config = {name: value for name, value in _json(params).items() if name in _OF_PARAMS}
    config |= {
        ours: _json(there) for ours, theirs in _OF_CONFIG.items() if (there := getattr(old.config, theirs)) is not None
    }
    dense, sparse = _vectors(old, spec)
    if spec.dense and dense is not None:
        config["vectors"] = {name: value for name, value in _json(dense).items() if name not in ("size", "distance")}
    if spec.sparse_vector_name and sparse is not None:
        config["sparse_vectors"] = _json(sparse)
    return replace(
        spec,
        config={**config, **spec.config},
        payload_indexes={**payload_indexes(old), **spec.payload_indexes},
        sharded=is_custom(old),
    )


def _with_datatypes(spec: CollectionSpec, old: models.CollectionInfo) -> CollectionSpec:
    """Return the spec with the datatypes of the vectors of the same name, or of the only vector: datatypes decide which
    numbers can be stored, and how much memory they take."""
    dense, sparse, config = dense_vectors(old), sparse_vectors(old), dict(spec.config)
    kept = dense.get(spec.vector_name) or (next(iter(dense.values())) if len(dense) == 1 else None)
    if spec.dense and kept is not None and kept.datatype is not None:
        config["vectors"] = {"datatype": kept.datatype.value, **config.get("vectors", {})}
    beside = sparse.get(spec.sparse_vector_name or "") or (next(iter(sparse.values())) if len(sparse) == 1 else None)
    if (
        spec.sparse_vector_name
        and beside is not None
        and beside.index is not None
        and beside.index.datatype is not None
    ):
        given = config.get("sparse_vectors", {})
        config["sparse_vectors"] = {
            **given,
            "index": {"datatype": beside.index.datatype.value, **(given.get("index") or {})},
        }
    return replace(spec, config=config)


def index_schema(old: models.CollectionInfo | None, field: str, kind: str) -> Any:
    """Return the schema of a payload index: as `old` has it, otherwise with the server's defaults."""
    there = old.payload_schema.get(field) if old is not None else None
    if there is not None and there.params is not None:
        return there.params
    if kind == "tenant":
        return models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    if kind == "integer_tenant":
        return models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, is_principal=True)
    return models.PayloadSchemaType(kind)


def other_vectors(name: str, old: models.CollectionInfo, theirs: CollectionMetadata | None) -> Iterator[str]:
    """Yield a problem where `old` has vectors that were not made from the text by the model that the metadata names:
    the new version would not have them."""
    ours = vector_names(of_vector(name, theirs, None))
    others = [
        vector for vector in (*dense_vectors(old), *(old.config.params.sparse_vectors or {})) if vector not in ours
    ]
    if others:
        yield (
            f"'{name}' has other vectors, too ({', '.join(map(repr, others))}), which the fresh version "
            "would not have; "
            "write the new model's beside them instead, with existing=merge and a 'vector_name' of its own"
        )


def _vectors(
    old: models.CollectionInfo, spec: CollectionSpec
) -> tuple[models.VectorParams | None, models.SparseVectorParams | None]:
    """Return the dense and the sparse vector whose settings the new version gets: the vector of the same name,
    otherwise the first one."""
    dense, sparse = dense_vectors(old), old.config.params.sparse_vectors or {}
    return dense.get(spec.vector_name) or next(iter(dense.values()), None), sparse.get(
        spec.sparse_vector_name or ""
    ) or next(iter(sparse.values()), None)


def payload_indexes(info: models.CollectionInfo) -> dict[str, str]:
    """Return payload field → index type, in the form of `CollectionSpec.payload_indexes`."""
    return {field: index_type(index) for field, index in sorted(info.payload_schema.items())}


def _json(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = model.model_dump(mode="json", exclude_none=True)
    return found
