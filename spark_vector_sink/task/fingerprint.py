"""Fingerprints: what a document was made of, in a few letters that lie in its point, so that the same document is known
again.

The first half is that of whatever decides the vector: text, model, options. The second is that of the payload. Devices,
budgets and threads are in neither.
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
"""Of each half: 96 bits, so that of 10⁹ documents no two share one, with a probability of 1 - 10⁻¹¹."""


LENGTH = BYTES * 4 // 3
"""Of each half, as text."""


class Fingerprints:
    """Fingerprints of one job's documents. vector, payload: what else decides the two halves, the same for all
    documents."""

    def __init__(self, vector: Any, payload: Any) -> None:
        self._vector, self._payload = _key(vector), _key(payload)

    def of(self, documents: Documents) -> list[str]:
        """A fingerprint for each document, as ASCII text."""
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
        """The fingerprint of a document whose payload is that of the fingerprint `before`, and whose vector is made
        anew; None where that one is none."""
        if not isinstance(before, str) or len(before) != 2 * LENGTH:
            return None
        return f"{_digest(text.encode(), self._vector)}{before[LENGTH:]}"


def same_vector(one: str | None, other: str) -> bool:
    """Whether both were made of the same text by the same model."""
    return one is not None and one[: len(one) // 2] == other[: len(other) // 2]


def _key(what: Any) -> bytes:
    return hashlib.blake2b(json.dumps(what, sort_keys=True, default=str).encode()).digest()


def _digest(content: bytes, key: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.blake2b(content, digest_size=BYTES, key=key).digest()).decode()


def _rows(payload: pa.RecordBatch) -> Iterable[bytes]:
    """The payload of each row as bytes: the same for the same values."""
    columns: Sequence[list[Any]] = [
        payload_types.values(column, field) for field, column in zip(payload.schema, payload.columns, strict=True)
    ]
    if not columns:
        return (b"" for _ in range(len(payload)))
    encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
    return (encode(row).encode() for row in zip(*columns, strict=True))


def _vector_bytes(column: pa.Array) -> Iterable[bytes]:
    """The numbers of each ready-made vector; they are known to be of one length."""
    made = vectors.matrix(column, len(column.flatten()) // max(1, len(column)))
    return (row.tobytes() for row in made)


def what_decides(plan: Plan) -> tuple[object, object]:
    """Whatever decides the vector besides the text, and the payload besides its values."""
    options = plan.options
    vector = {name: str(getattr(options, name)) for name in marked(IN_FINGERPRINT)} | {"model": _identity(plan.encoder)}
    if options.long_text == "chunk":  # a chunk's payload is changed name by name, so the names must stay
        vector["payload"] = str(plan.columns.payload)
    return vector, {"source": options.source}


def _identity(encoder: EncoderSpec | None) -> str | None:
    """Two models are one text in here, as they always were: another text would change the fingerprints of all documents
    that are stored."""
    if encoder is None or encoder.sparse is None:
        return None if encoder is None else encoder.identity
    return f"{encoder.identity} + {encoder.sparse.identity}"
