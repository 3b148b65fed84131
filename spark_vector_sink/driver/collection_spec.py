"""Derive what a job needs its collection to be: vectors, payload indexes, and metadata that is enough to search the
collection later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import pyarrow as pa

from spark_vector_sink.encode.encoder import EncoderSpec
from spark_vector_sink.options import CHUNKS, IN_METADATA, OF_DOCUMENTS, SinkOptions, marked
from spark_vector_sink.payload_types import INDEX_TYPES, RESERVED, TENANT_INDEXES
from spark_vector_sink.rows import payload, payload_indexes
from spark_vector_sink.rows.column_roles import Part
from spark_vector_sink.rows.columns import Columns
from spark_vector_sink.rows.payload_indexes import PATH, in_qdrants_words
from spark_vector_sink.store.collection import CollectionSpec, Target
from spark_vector_sink.store.collection_metadata import (
    DENSE,
    SPARSE,
    CollectionMetadata,
    VectorMetadata,
    Vectors,
    of_kind,
)


def collection_spec(
    options: SinkOptions, columns: Columns, encoder: EncoderSpec | None, dimension: int | None
) -> CollectionSpec:
    """Return what the collection must be, with the metadata to store in it: enough to search the collection later."""
    vectors = _vectors(options, encoder, dimension)
    dense, sparse = of_kind(DENSE, vectors), of_kind(SPARSE, vectors)
    metadata = CollectionMetadata(
        vectors,
        library(),
        columns.payload_keys,
        str(options.id_namespace),
        columns.text_field,
        options.long_text == "chunk",
    )
    names = dict(columns.payload)
    roots = set(names.values())
    wanted = {in_qdrants_words(name, roots): kind for name, kind in options.payload_indexes.items()}
    if tenant := _tenant(options, columns):
        wanted[tenant.name] = payload_indexes.of_tenant(tenant)
    wanted |= _own_indexes(options)
    return CollectionSpec(
        options.vector_name,
        dimension if dense else None,
        options.distance,
        metadata,
        wanted,
        config=options.collection_config,
        versioned=options.versioned,
        create=options.create_collection,
        adopt=options.adopt_collection,
        sparse_vector_name=sparse.name if sparse else None,
        dense=dense is not None,
        reads=_reads(options),
        sharded=options.shard_key_column is not None,
        # only where needed, because this index makes conditional upserts half as fast
        strict_indexes={f"{RESERVED}.version": "integer"} if options.version_column is not None else {},
        merge=options.existing == "merge",
        owning=tuple(name for name in marked(OF_DOCUMENTS) if getattr(options, name)),
        fractions="a model"
        if encoder is not None and encoder.factory is None
        else "normalize=true"
        if options.normalize
        else "",
    )


def _vectors(options: SinkOptions, encoder: EncoderSpec | None, dimension: int | None) -> Vectors:
    """Return the metadata of each vector: enough to load its model again."""
    settings = {
        name: value
        for name in marked(IN_METADATA)
        if (value := getattr(options, name)) is not None
        and (options.long_text == "chunk" or name not in marked(CHUNKS))
    }
    dense = VectorMetadata(
        options.vector_name,
        DENSE,
        options.vector_name,
        dimension,
        options.distance,
        encoder=options.encoder,
        settings=settings,
        library=library(),
    )
    sparse = VectorMetadata(
        options.sparse_vector_name, SPARSE, options.vector_name, settings=settings, library=library()
    )
    if encoder is None:
        return (dense,)
    if encoder.is_sparse:
        return (_filled(replace(sparse, job=sparse.name), encoder),)
    return (_filled(dense, encoder), *(() if encoder.sparse is None else (_filled(sparse, encoder.sparse),)))


def _filled(vector: VectorMetadata, encoder: EncoderSpec) -> VectorMetadata:
    """Return a vector's metadata with the model of this encoder."""
    return replace(vector, model=encoder.identity, place=encoder.model or None, revision=encoder.revision)


def _reads(options: SinkOptions) -> bool:
    """Return whether tasks read what is stored of their documents."""
    return (
        options.unchanged == "skip"
        or options.long_text == "chunk"
        or options.delete_missing
        or options.version_column is not None
    )


def _own_indexes(options: SinkOptions) -> dict[str, str]:
    """Return the indexes of those fields of `_sink` by which points are selected at the end of a job."""
    indexes: dict[str, str] = {}
    if options.delete_missing:
        indexes |= {f"{RESERVED}.source": "keyword", f"{RESERVED}.run": "keyword", f"{RESERVED}.chunk": "integer"}
    if options.delete_missing or (options.version_column is not None and options.op_column is not None):
        indexes[f"{RESERVED}.deleted"] = "integer"
    return indexes


def library() -> str:
    """Return this package's name and version; the version is unknown where the package was shipped as plain files
    instead of being installed."""
    try:
        return f"spark-vector-sink {version('spark-vector-sink')}"
    except PackageNotFoundError:
        return "spark-vector-sink of unknown version"


def index_problems(options: SinkOptions, columns: Columns) -> Iterator[str]:
    """Yield a problem for each payload index that cannot be created, or that could hold no value of its column."""
    roots, tenant = columns.payload_fields, _tenant(options, columns)
    for name, kind in options.payload_indexes.items():
        asked = f"option 'payload_indexes' asks for {name}:{kind}"
        if kind not in INDEX_TYPES:
            yield (
                f"option 'payload_indexes' gives '{name}' the type {kind!r}; it must be one of {', '.join(INDEX_TYPES)}"
            )
        path = in_qdrants_words(name, roots)
        if PATH.fullmatch(path) is None:
            yield f"option 'payload_indexes' names '{name}', which is no path of Qdrant's; {_PATHS}"
        elif payload_indexes.steps(path)[0] not in roots:
            yield f"option 'payload_indexes' names '{name}', which is not in the payload"
        elif kind in INDEX_TYPES and (reason := _never(path, kind, roots)):
            yield f"{asked}, an index that would hold nothing: {reason}"
        elif (
            kind in INDEX_TYPES
            and tenant
            and path == tenant.name
            and kind != TENANT_INDEXES.get(of := payload_indexes.of_tenant(tenant), of)
        ):
            yield (
                f"{asked}, but that is the tenant, whose index is of type {TENANT_INDEXES.get(of, of)}; leave "
                f"'{name}' out of that option"
            )
    if tenant and PATH.fullmatch(tenant.name) is None:
        yield f"the tenant column '{options.tenant_column}' cannot be indexed under the name '{tenant.name}'; {_PATHS}"


def index_warnings(columns: Columns, target: Target, wanted: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each payload index in the collection that this job has not asked for, and that can hold no
    value that this job writes."""
    roots = columns.payload_fields
    for path, kind in target.indexes.items():
        if path not in wanted and payload_indexes.steps(path)[0] in roots and (reason := _never(path, kind, roots)):
            yield (
                f"'{target.name}' has the payload index {path}:{kind}, which will hold nothing of what this job "
                f"writes: {reason}"
            )


def _tenant(options: SinkOptions, columns: Columns) -> pa.Field | None:
    """Return the tenant's field, named by its payload path in Qdrant's syntax; None without a tenant column, or where
    its type cannot become payload."""
    source = columns.source(Part.KEY, options.tenant_column) if options.tenant_column is not None else None
    if source is None or payload.unmappable(source.field):
        return None
    return source.field.with_name(
        ".".join(in_qdrants_words(step, (step,)) for step in columns.payload_path(Part.KEY, source.name))
    )


def _never(path: str, kind: str, roots: Mapping[str, pa.Field]) -> str | None:
    """Return the reason why an index can hold no value of its column, or None (see `payload_indexes.never`). None also
    where the column cannot become payload, because that is a problem of its own."""
    root = roots[str(payload_indexes.steps(path)[0])]
    return payload_indexes.never(path, kind, roots) if payload.unmappable(root) is None else None


_PATHS = (
    "in one, names of other signs than letters, digits, - and _ stand in double quotes, and hold neither quotes "
    "nor backslashes: see option 'payload_rename'"
)
