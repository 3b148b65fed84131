"""Convert a document key to a point id. The id is a function of the key alone, so that every retry writes the same
point again.

An unsigned 64-bit integer, also as a decimal without a scale, and a canonical lower-case UUID are ids already. Any
other key becomes `uuid5(namespace, text)` of RFC 4122, which every language can compute again. `text` is the string
itself, an integer in decimal, a date or a timestamp in ISO 8601 (UTC), a decimal in plain notation, a boolean as `true`
or `false`; of several key columns it is the compact JSON array of their values, dates and decimals as strings. A job's
column types are fixed, so no two keys share a text. Chunk 0 of a document has the document's id, chunk n the
`uuid5(namespace, "<document's id>#<n>")`.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from spark_vector_sink.rows.payload import to_plain

CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
LARGEST_ID = 2**64 - 1


class Whole(str):
    """A whole decimal in plain notation. Alone it is an integer, such as an integer of Parquet's UINT_64, which Spark
    reads as `decimal(20,0)`; among several key columns it is text, as every decimal."""

    __slots__ = ()


def key_values(column: pa.Array, is_json: bool = False) -> list[Any]:
    """Return the values of a key column as str, int or bool, of which the key's text is made, or None for a null.
    Raises ValueError for a value that has no text. is_json: True where the column has each value as JSON text, as for
    keys that come from variants."""
    if is_json:
        return [None if text is None else json.loads(text) for text in column.to_pylist()]
    kind = column.type
    if pat.is_integer(kind) or pat.is_boolean(kind):
        listed: list[Any] = column.to_pylist()
        return listed
    if pat.is_decimal(kind):
        text = Whole if kind.scale == 0 else str
        return [None if v is None else text(format(v, "f")) for v in column.to_pylist()]
    plain: list[Any] = to_plain(column, pa.field("key", kind)).to_pylist()
    return plain


def key_text(values: Sequence[Any]) -> str:
    """Return the text of one key. values: one from `key_values` for each key column."""
    if len(values) > 1:
        return json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))
    only = values[0]
    return only if isinstance(only, str) else json.dumps(only)


def point_ids(keys: Sequence[Sequence[Any]], namespace: uuid.UUID) -> list[int | str]:
    """Return the point id of each key."""
    return list(_ids(keys, _Uuid5(namespace)))


def chunk_id(document: int | str, number: int, namespace: uuid.UUID) -> int | str:
    """Return the point id of a document's chunk; the first chunk has the document's own id."""
    return document if number == 0 else str(uuid.uuid5(namespace, f"{document}#{number}"))


def _ids(keys: Iterable[Sequence[Any]], uuid5: _Uuid5) -> Iterable[int | str]:
    for key in keys:
        only = key[0] if len(key) == 1 else None
        if (isinstance(only, int) and not isinstance(only, bool) and 0 <= only <= LARGEST_ID) or (
            isinstance(only, str) and CANONICAL_UUID.fullmatch(only)
        ):
            yield only
        elif isinstance(only, Whole) and 0 <= int(only) <= LARGEST_ID:
            yield int(only)
        else:
            yield uuid5(key_text(key))


class _Uuid5:
    """A hasher that computes `str(uuid.uuid5(namespace, text))` four times as fast, because the namespace is hashed
    once."""

    def __init__(self, namespace: uuid.UUID) -> None:
        self._hash = hashlib.sha1(namespace.bytes, usedforsecurity=False)

    def __call__(self, text: str) -> str:
        sha = self._hash.copy()
        sha.update(text.encode("utf-8"))
        digest = bytearray(sha.digest()[:16])
        digest[6] = digest[6] & 0x0F | 0x50
        digest[8] = digest[8] & 0x3F | 0x80
        hexed = digest.hex()
        return f"{hexed[:8]}-{hexed[8:12]}-{hexed[12:16]}-{hexed[16:20]}-{hexed[20:]}"
