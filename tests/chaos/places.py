"""Where the points of a run go: a real Qdrant or the fake one, each behind a proxy, and read back past it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import grpc
from qdrant_client import grpc as q

from tests.chaos.oracle import Content, Id
from tests.chaos.proxy import Proxy
from tests.fake_server import FakeServer, Fault, read_points
from tests.real_server import RealServer


class Place(Protocol):
    """A server for one run after the other."""

    proxy: Proxy

    def play(self, statuses: Iterable[Mapping[str, Any]]) -> None:
        """Script the fake server."""

    def played(self) -> dict[str, int]:
        """Kind of status → how often the fake server has played it."""

    def be_gone(self, seconds: float | None) -> None:
        """Kill the server; start it again after so many seconds, or not."""

    def heal(self) -> None:
        """End all faults."""

    def points(self, name: str) -> dict[Id, Content]:
        """All points of a collection; none where there is no such collection."""

    def forget(self, name: str) -> None:
        """Remove what a run has left."""

    def last_words(self) -> str: ...

    def close(self) -> None: ...


class RealPlace:
    """A real server, for all runs."""

    def __init__(self) -> None:
        self._server = RealServer().start()
        self.proxy = Proxy(self._server.grpc_port)

    def play(self, statuses: Iterable[Mapping[str, Any]]) -> None:
        if list(statuses):
            raise ValueError("a real server plays no statuses")

    def played(self) -> dict[str, int]:
        return {}

    def be_gone(self, seconds: float | None) -> None:
        self._server.kill9()
        if seconds is not None:
            time.sleep(seconds)
            self._server.restart()

    def heal(self) -> None:
        self.proxy.disarm()
        if not self._server.running:
            self._server.restart()

    def points(self, name: str) -> dict[Id, Content]:
        with _channel(self._server.grpc_port) as channel:
            return _points(channel, name)

    def forget(self, name: str) -> None:
        with _channel(self._server.grpc_port) as channel:
            for one in (f"{name}__v1", name):
                q.CollectionsStub(channel).Delete(q.DeleteCollection(collection_name=one), timeout=60)

    def last_words(self) -> str:
        return "\n".join(self._server.log().splitlines()[-5:])

    def close(self) -> None:
        self.proxy.close()
        self._server.stop()


class FakePlace:
    """A fake server, for one run."""

    def __init__(self) -> None:
        self._server = FakeServer().start()
        self.proxy = Proxy(self._server.grpc_port)

    def play(self, statuses: Iterable[Mapping[str, Any]]) -> None:
        self._server.add_faults([Fault(**status) for status in statuses])

    def played(self) -> dict[str, int]:
        return self._server.stats().faults

    def be_gone(self, seconds: float | None) -> None:
        raise ValueError("a fake server keeps nothing when it is killed")

    def heal(self) -> None:
        self.proxy.disarm()
        self._server.clear_faults()

    def points(self, name: str) -> dict[Id, Content]:
        return _points(self._server.channel, name)

    def forget(self, name: str) -> None:
        """It goes with the server."""

    def last_words(self) -> str:
        return ""

    def close(self) -> None:
        self.proxy.close()
        self._server.stop()


def _channel(port: int) -> grpc.Channel:
    return grpc.insecure_channel(
        f"127.0.0.1:{port}", [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    )


def _points(channel: grpc.Channel, name: str) -> dict[Id, Content]:
    with suppress(_NotFoundError):
        return {key: Content.of(point.vectors[""], point.payload) for key, point in _read(channel, name).items()}
    return {}


class _NotFoundError(Exception):
    """There is no such collection."""


def _read(channel: grpc.Channel, name: str) -> Mapping[Id, Any]:
    try:
        return read_points(channel, name)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            raise _NotFoundError from None
        raise
