"""The nodes of a server: a task talks to one of them, and goes on with the next one when that is gone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import grpc
from qdrant_client import grpc as messages

from spark_vector_sink.store.qdrant.address import Address, open_channel

GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""What a node says, or does not say, that another one may do better."""


REPLIES = {
    "Points/Upsert": messages.PointsOperationResponse,
    "Points/UpdateBatch": messages.UpdateBatchResponse,
    "Points/Delete": messages.PointsOperationResponse,
    "Points/SetPayload": messages.PointsOperationResponse,
    "Points/Get": messages.GetResponse,
    "Collections/Get": messages.GetCollectionInfoResponse,
}
"""What a task may call, and what it is answered."""


class Nodes:
    """A channel to each node that was needed; used by several threads. first: the node to begin with, counted round, so
    that tasks spread over them."""

    def __init__(self, addresses: Sequence[Address], first: int = 0) -> None:
        self._addresses = addresses
        self._number = first % len(addresses)
        self._made: dict[int, tuple[grpc.Channel, dict[str, Any]]] = {}
        """of each node that was needed, its channel and the calls on it"""
        self._lock = threading.Lock()
        self._closed = False

    @property
    def address(self) -> Address:
        """The node in use."""
        return self._addresses[self._number]

    def call(self, method: str, request: bytes) -> Any:
        """The reply, see `REPLIES`. Raises grpc.RpcError; where this node is gone the next call goes to the next
        one."""
        number, call = self._call(method)
        address = self._addresses[number]
        try:
            return call(request, timeout=address.timeout_seconds, metadata=address.metadata)
        except grpc.RpcError as error:
            if error.code() in GONE:
                self._leave(number)
            raise

    def close(self) -> None:
        """Break off what is on its way, and take nothing more."""
        with self._lock:
            self._closed = True
            for channel, _ in self._made.values():
                channel.close()

    def _call(self, method: str) -> tuple[int, Any]:
        with self._lock:
            if self._number not in self._made:
                if self._closed:
                    raise ValueError("the store is closed")
                channel = open_channel(self.address)
                calls = {
                    name: channel.unary_unary(f"/qdrant.{name}", response_deserializer=reply.FromString)
                    for name, reply in REPLIES.items()
                }
                self._made[self._number] = channel, calls
            return self._number, self._made[self._number][1][method]

    def _leave(self, number: int) -> None:
        """Turn to the next node, unless another thread has done so."""
        with self._lock:
            if number == self._number:
                self._number = (number + 1) % len(self._addresses)
