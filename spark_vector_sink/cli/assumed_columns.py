"""Assume the columns of a table that is not given: the columns that the options name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from spark_vector_sink.options import CONTENT_KEY, SinkOptions
from spark_vector_sink.payload_types import JSON_MARK


def assumed_columns(options: Mapping[str, Any]) -> pa.Schema:
    """Return a schema that has every column that the options name, with a fitting type, so that everything except the
    columns is checked."""
    parsed, _ = SinkOptions.parse(options)
    fields: dict[str, Any] = {}
    if parsed.vector_column is not None:
        fields[parsed.vector_column] = pa.list_(pa.float32())
    if parsed.version_column is not None:
        fields[parsed.version_column] = pa.int64()
    key = () if parsed.id_column == (CONTENT_KEY,) else parsed.id_column
    text = parsed.text_column if parsed.vector_column is None or "text_column" in parsed.given else ()
    named = [*key, *text, *(parsed.payload_columns or ()), *parsed.payload_exclude, *parsed.payload_rename]
    named += [name for name in (parsed.tenant_column, parsed.op_column, parsed.shard_key_column) if name is not None]
    renamed = set(parsed.payload_rename.values())
    roots = {root for path in parsed.payload_indexes if (root := _root(path)) not in renamed}
    others = [name for name in dict.fromkeys((*named, *roots)) if name not in fields]
    return pa.schema(
        [
            *fields.items(),
            *(pa.field(name, pa.string(), metadata=JSON_MARK if name in roots else None) for name in others),
        ]
    )


def _root(path: str) -> str:
    """Return the payload field in which a Qdrant path begins."""
    quoted = re.match(r'"([^"]*)"', path)
    return quoted[1] if quoted else re.split(r"[.\[]", path, maxsplit=1)[0]
