"""What a job needs its collection to be: vectors, payload indexes, and what is remembered in it, enough to ask it questions later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from spark_vector_sink import models
from spark_vector_sink.encode.encoder import EncoderSpec
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.plain import RESERVED
from spark_vector_sink.rows.columns import Columns
from spark_vector_sink.store.store import INDEX_TYPES, CollectionSpec

_SETTINGS = (
    "text_template", "prompt", "prompt_name", "normalize", "truncate_dim", "max_tokens", "long_text", "chunk_tokens", "chunk_overlap_tokens",
)  # fmt: skip
"""Options that say how texts became vectors, kept in the collection where they are given."""

_OWNING = ("version_column", "op_column", "delete_missing", "source")
"""Options that decide about a document as a whole, whoever has put what into its points."""


def collection_spec(options: SinkOptions, columns: Columns, encoder: EncoderSpec | None, dimension: int | None) -> CollectionSpec:
    """What the collection must be, and what is remembered in it: enough to ask it questions later."""
    has_sparse = encoder is not None and (encoder.is_sparse or encoder.sparse is not None)
    dense = encoder is None or not encoder.is_sparse
    metadata = {
        "library": library(),
        "model": encoder.full_identity if encoder else None,
        "source": models.source(options, encoder) if encoder else None,
        "settings": {
            name: value
            for name in _SETTINGS
            if (value := getattr(options, name)) is not None and (options.long_text == "chunk" or not name.startswith("chunk_"))
        },
        "vector_name": options.vector_name,
        "sparse_vector_name": options.sparse_vector_name if has_sparse else None,
        "dense": dense,
        "dimension": dimension if dense else None,
        "distance": options.distance,
        "key": list(columns.payload_keys),
        "id_namespace": str(options.id_namespace),
        "text": columns.text_field,
        "chunked": options.long_text == "chunk",
    }
    names = dict(columns.payload)
    roots = set(names.values())
    indexes = {_index_path(name, roots): kind for name, kind in options.payload_indexes.items()}
    if options.tenant_column in names:
        indexes[_index_path(names[options.tenant_column], roots)] = "tenant"
    indexes |= _own_indexes(options)
    return CollectionSpec(
        options.vector_name, dimension if dense else None, options.distance, metadata, indexes, config=options.collection_config,
        versioned=options.versioned, create=options.create_collection, adopt=options.adopt_collection,
        sparse_vector_name=options.sparse_vector_name if has_sparse else None, dense=dense, reads=_reads(options), sharded=options.shard_key_column is not None,
        # without need it would make conditional upserts half as fast
        strict_indexes={f"{RESERVED}.version": "integer"} if options.version_column is not None else {},
        merge=options.existing == "merge", owning=tuple(name for name in _OWNING if getattr(options, name)),
        fractions="a model" if encoder is not None and encoder.factory is None else "normalize=true" if options.normalize else "",
    )  # fmt: skip


def _reads(options: SinkOptions) -> bool:
    """Whether tasks ask what is there of their documents."""
    return options.unchanged == "skip" or options.long_text == "chunk" or options.delete_missing or options.version_column is not None


def _own_indexes(options: SinkOptions) -> dict[str, str]:
    """Indexes of the fields of `_sink` that points are chosen by at the end of a job."""
    indexes: dict[str, str] = {}
    if options.delete_missing:
        indexes |= {f"{RESERVED}.source": "keyword", f"{RESERVED}.run": "keyword", f"{RESERVED}.chunk": "integer"}
    if options.delete_missing or (options.version_column is not None and options.op_column is not None):
        indexes[f"{RESERVED}.deleted"] = "integer"
    return indexes


def library() -> str:
    """This package and its version; unknown where it was shipped as plain files instead of installed."""
    try:
        return f"spark-vector-sink {version('spark-vector-sink')}"
    except PackageNotFoundError:
        return "spark-vector-sink of unknown version"


def index_problems(options: SinkOptions, columns: Columns) -> Iterator[str]:
    roots = {name for _, name in columns.payload}
    for name, kind in options.payload_indexes.items():
        if kind not in INDEX_TYPES:
            yield f"option 'payload_indexes' gives '{name}' the type {kind!r}; it must be one of {', '.join(INDEX_TYPES)}"
        path = PATH.fullmatch(_index_path(name, roots))
        if path is None:
            yield f"option 'payload_indexes' names '{name}', which is no path of Qdrant's; {_PATHS}"
        elif name not in roots and path[1].strip('"') not in roots:
            yield f"option 'payload_indexes' names '{name}', which is not in the payload"
    tenant = dict(columns.payload).get(options.tenant_column) if options.tenant_column is not None else None
    if tenant is not None and PATH.fullmatch(_index_path(tenant, roots)) is None:
        yield f"the tenant column '{options.tenant_column}' cannot be indexed under the name '{tenant}'; {_PATHS}"


PATH = re.compile(r"""([\w-]+|"[^"\\]*")(?:\.(?:[\w-]+|"[^"\\]*")|\[[0-9]*\])*""")
"""Qdrant's way to name a field of the payload: `a.b` is b in the object a, `a[].b` that of each item, `"a.b"` the field of that name."""

_PATHS = "in one, names of other signs than letters, digits, - and _ stand in double quotes, and hold neither quotes nor backslashes: see option 'payload_rename'"


def _index_path(name: str, roots: set[str]) -> str:
    """The path of a payload index: a field of the payload by its own name, in quotes where it needs them; else a path already."""
    return f'"{name}"' if name in roots and re.fullmatch(r"[\w-]+", name) is None else name
