"""Call the nodes of a server: a task uses one node, and goes on with the next node when that one is gone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import grpc
from qdrant_client import grpc as messages

from spark_vector_sink.store.qdrant.address import Address, open_channel

GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""Status codes after which another node is tried."""


REPLIES = {
    "Points/Upsert": messages.PointsOperationResponse,
    "Points/UpdateBatch": messages.UpdateBatchResponse,
    "Points/Delete": messages.PointsOperationResponse,
    "Points/SetPayload": messages.PointsOperationResponse,
    "Points/Get": messages.GetResponse,
    "Collections/Get": messages.GetCollectionInfoResponse,
}
"""Methods that a task may call, with the type of the reply."""


class Nodes:
    """Channels to the nodes, each opened when it is needed; used by several threads. first: number of the first node to
    use, modulo the number of nodes, so that tasks are spread over them."""

    def __init__(self, addresses: Sequence[Address], first: int = 0) -> None:
        self._addresses = addresses
        self._number = first % len(addresses)
        self._made: dict[int, tuple[grpc.Channel, dict[str, Any]]] = {}
        """number of a node that was needed → its channel, and the calls on it"""
        self._lock = threading.Lock()
        self._closed = False

    @property
    def address(self) -> Address:
        """Return the address of the node in use."""
        return self._addresses[self._number]

    def call(self, method: str, request: bytes) -> Any:
        """Call a method and return the reply (types: `REPLIES`). Raises grpc.RpcError; where this node is gone the next
        call goes to the next node."""
        number, call = self._call(method)
        address = self._addresses[number]
        try:
            return call(request, timeout=address.timeout_seconds, metadata=address.metadata)
        except grpc.RpcError as error:
            if error.code() in GONE:
                self._leave(number)
            raise

    def close(self) -> None:
        """Break off requests on their way, and accept no more."""
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
        """Switch to the next node, unless another thread has done so."""
        with self._lock:
            if number == self._number:
                self._number = (number + 1) % len(self._addresses)
