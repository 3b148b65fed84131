"""Build the read requests of a task about points and the collection, and parse the replies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qdrant_client import grpc as messages

from spark_vector_sink.payload_types import RESERVED
from spark_vector_sink.store.collection import FINGERPRINT
from spark_vector_sink.store.qdrant.conditions import point_id
from spark_vector_sink.store.qdrant.messages import sharded
from spark_vector_sink.store.write_batch import PointId, ShardKey, Stored

IDS_AT_ONCE = 1000


def reading(
    collection: str,
    ids: Sequence[PointId],
    fingerprint: str = FINGERPRINT,
    shard_keys: Sequence[ShardKey] | None = None,
) -> bytes:
    """Serialise a `GetPoints` for the fields of `Stored`. fingerprint: the field of `_sink` with the fingerprint.
    shard_keys: of the points, all the same."""
    fields = [f'{RESERVED}."{name}"' for name in (fingerprint, "version", "chunks", "deleted")]
    selector = messages.WithPayloadSelector(include=messages.PayloadIncludeSelector(fields=fields))
    request = messages.GetPoints(collection_name=collection, ids=map(point_id, ids), with_payload=selector)
    return bytes(sharded(request, shard_keys).SerializeToString())


def found(reply: messages.GetResponse, fingerprint: str = FINGERPRINT) -> Iterator[tuple[PointId, Stored]]:
    """Yield the points that exist."""
    for point in reply.result:
        identifier = point.id
        yield identifier.num if identifier.HasField("num") else identifier.uuid, _stored(point.payload, fingerprint)


def _stored(payload: Any, fingerprint_field: str) -> Stored:
    """Convert the payload to a Stored; a field of another type counts as missing."""
    if RESERVED not in payload:
        return Stored()
    fields = payload[
        RESERVED
    ].struct_value.fields  # reading a missing key of this map creates the key, so only existing keys are read
    has = {name: fields[name] for name in fields}
    fingerprint, version, chunks, deleted = (
        has.get(name) for name in (fingerprint_field, "version", "chunks", "deleted")
    )
    return Stored(
        fingerprint.string_value if fingerprint is not None and fingerprint.HasField("string_value") else None,
        version.integer_value if version is not None and version.HasField("integer_value") else None,
        chunks.integer_value if chunks is not None and chunks.HasField("integer_value") else 1,
        deleted is not None and not deleted.HasField("null_value"),
    )


def structure(collection: str) -> bytes:
    """Serialise a `GetCollectionInfoRequest`."""
    return bytes(messages.GetCollectionInfoRequest(collection_name=collection).SerializeToString())


def names(reply: messages.GetCollectionInfoResponse) -> list[str]:
    """Return the names of all vectors, dense and sparse; "" is the unnamed vector."""
    params = reply.result.config.params
    dense = params.vectors_config
    unnamed = [""] if dense.HasField("params") else []
    return [*unnamed, *dense.params_map.map, *params.sparse_vectors_config.map]
