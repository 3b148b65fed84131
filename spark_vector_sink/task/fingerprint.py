"""Make fingerprints: short texts, stored in each document's point, that show whether a document has changed.

The first half is a hash of everything that decides the vector: text, model, options. The second half is a hash of the
payload. Devices, budgets and threads are in neither half.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from spark_vector_sink import payload_types
from spark_vector_sink.encode.encoder import EncoderSpec
from spark_vector_sink.job import Plan
from spark_vector_sink.options import IN_FINGERPRINT, marked
from spark_vector_sink.rows import vectors
from spark_vector_sink.rows.documents import Documents

BYTES = 12
"""Bytes of each half: 96 bits, so that of 10⁹ documents no two share one, with a probability of 1 - 10⁻¹¹."""


LENGTH = BYTES * 4 // 3
"""Characters of each half as text."""


class Fingerprints:
    """Maker of fingerprints for one job's documents. vector, payload: what else decides the two halves, the same for
    all documents of the job."""

    def __init__(self, vector: Any, payload: Any) -> None:
        self._vector, self._payload = _key(vector), _key(payload)

    def of(self, documents: Documents) -> list[str]:
        """Return a fingerprint for each document, as ASCII text."""
        names = json.dumps(documents.payload.schema.names, ensure_ascii=False).encode()
        payload_key = hashlib.blake2b(names, key=self._payload).digest()
        contents: Iterable[bytes] = (text.encode() for text in documents.texts)
        if documents.vectors is not None:
            contents = _vector_bytes(documents.vectors)
        return [
            f"{_digest(content, self._vector)}{_digest(row, payload_key)}"
            for content, row in zip(contents, _rows(documents.payload), strict=True)
        ]

    def of_new_vector(self, text: str, before: Any) -> str | None:
        """Return the fingerprint of a document whose vector is made anew from `text` and whose payload is unchanged
        since the fingerprint `before`; None where `before` is not a fingerprint."""
        if not isinstance(before, str) or len(before) != 2 * LENGTH:
            return None
        return f"{_digest(text.encode(), self._vector)}{before[LENGTH:]}"


def same_vector(one: str | None, other: str) -> bool:
    """Return whether both fingerprints are of vectors made from the same text by the same model."""
    return one is not None and one[: len(one) // 2] == other[: len(other) // 2]


def _key(what: Any) -> bytes:
    return hashlib.blake2b(json.dumps(what, sort_keys=True, default=str).encode()).digest()


def _digest(content: bytes, key: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.blake2b(content, digest_size=BYTES, key=key).digest()).decode()


def _rows(payload: pa.RecordBatch) -> Iterable[bytes]:
    """Return the payload of each row as bytes; equal values give equal bytes."""
    columns: Sequence[list[Any]] = [
        payload_types.values(column, field) for field, column in zip(payload.schema, payload.columns, strict=True)
    ]
    if not columns:
        return (b"" for _ in range(len(payload)))
    encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
    return (encode(row).encode() for row in zip(*columns, strict=True))


def _vector_bytes(column: pa.Array) -> Iterable[bytes]:
    """Return the bytes of each ready-made vector; all vectors are known to have the same length."""
    made = vectors.matrix(column, len(column.flatten()) // max(1, len(column)))
    return (row.tobytes() for row in made)


def what_decides(plan: Plan) -> tuple[object, object]:
    """Return what decides the vector besides the text, and what decides the payload's half besides the payload's
    values."""
    options = plan.options
    vector = {name: str(getattr(options, name)) for name in marked(IN_FINGERPRINT)} | {"model": _identity(plan.encoder)}
    if options.long_text == "chunk":  # a chunk's payload is written key by key, so its keys must stay the same
        vector["payload"] = str(plan.columns.payload)
    return vector, {"source": options.source}


def _identity(encoder: EncoderSpec | None) -> str | None:
    """Return the identity of the model or both models as one text. Its form must never change, because another form
    would change the fingerprints of all stored documents."""
    if encoder is None or encoder.sparse is None:
        return None if encoder is None else encoder.identity
    return f"{encoder.identity} + {encoder.sparse.identity}"
