"""A point as the server keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from qdrant_client import grpc as q

from tests.fake_qdrant.payload import select
from tests.fake_qdrant.values import Message, check_payload, invalid, vectors_by_name


@dataclass
class Point:
    """A point as it was sent."""

    vectors: dict[str, Message]
    payload: Message
    """a PointStruct with the payload alone: a map of protobuf values lives only inside a message"""
    version: int = 0
    shard_key: Message | None = None
    optimised: bool = False
    """whether it lies where a real server's optimiser has been: there an upsert is no full replacement"""

    @classmethod
    def of(cls, sent: Message) -> Point:
        check_payload(sent.payload)
        if not sent.HasField("vectors"):
            raise invalid("Expected some vectors")
        payload = q.PointStruct()
        for name, value in sent.payload.items():
            payload.payload[name].CopyFrom(value)
            if value.WhichOneof("kind") is None:
                payload.payload[name].null_value = 0
        return cls(vectors_by_name(sent.vectors), payload)

    def replaced_by(self, other: Point) -> Point:
        """What an upsert of the other leaves: the other, and from optimised points the vectors that it does not name,
        and the payload if it has none."""
        if not self.optimised:
            return other
        return Point(self.vectors | other.vectors, other.payload if other.payload.payload else self.payload)

    def fill(self, reply: Message, with_payload: Message, with_vectors: Message) -> None:
        """Put into a RetrievedPoint or ScoredPoint what was asked for."""
        select(self.payload.payload, with_payload, reply.payload)
        if self.shard_key is not None:
            reply.shard_key.CopyFrom(self.shard_key)
        selected = with_vectors.WhichOneof("selector_options")
        if selected is None or (selected == "enable" and not with_vectors.enable):
            return
        names = (
            self.vectors
            if selected == "enable"
            else [name for name in with_vectors.include.names if name in self.vectors]
        )
        if list(names) == [""]:
            reply.vectors.vector.CopyFrom(self.vectors[""])
            return
        reply.vectors.vectors.SetInParent()
        for name in names:
            reply.vectors.vectors.vectors[name].CopyFrom(self.vectors[name])
