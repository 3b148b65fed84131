"""The stores of the campaign: where a case goes, and what it has left there, read without the sink."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
import numpy.typing as npt
from qdrant_client import grpc as q

from tests.fake_server import FakeServer, read_points
from tests.fuzz.case import Case
from tests.fuzz.options import BAD_PLACES
from tests.real_server import find_server


@dataclass(frozen=True)
class Found:
    """A point as the store has it."""

    payload: dict[str, Any]
    vectors: dict[str, npt.NDArray[np.float32]]


Points = dict[int | str, Found]


@dataclass(frozen=True)
class Stage:
    """One case's place: the options that name it, and how to look there."""

    options: dict[str, Any]
    fill: Callable[[Any], Any]
    """puts the places into an option's value"""
    read: Callable[[], Points]
    """the points; empty where there is no collection"""
    folder: Path


class Arena:
    """A store that takes one case after the other, each in a place of its own. A context manager."""

    def __init__(self, kind: str, server: Any = None) -> None:
        self.kind, self._server, self._count = kind, server, 0
        self._open = ExitStack()
        self._channel: Any = None

    def __enter__(self) -> Arena:
        if self.kind == "embedded":
            return self
        if self._server is None:
            if self.kind == "fake":
                self._server = self._open.enter_context(FakeServer())
            else:
                self._server = find_server()
                self._open.callback(self._server.stop)
        target = f"{self._server.host}:{self._server.grpc_port}"
        self._channel = self._open.enter_context(
            grpc.insecure_channel(target, [("grpc.max_receive_message_length", -1)])
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @contextmanager
    def stage(self, case: Case) -> Iterator[Stage]:
        """A place for a case; it is gone afterwards."""
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        (folder / "a file").touch()
        self._count += 1
        try:
            yield self._embedded(case, folder) if self.kind == "embedded" else self._on_server(case, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if self.kind != "embedded":
                self._clear()

    def _embedded(self, case: Case, folder: Path) -> Stage:
        place = f"{folder}/s{case.where}"
        return Stage(
            {"path": place}, lambda value: _filled(value, {"<tmp>": str(folder)}), lambda: _edge_points(place), folder
        )

    def _on_server(self, case: Case, folder: Path) -> Stage:
        name = f"fuzz{self._count}{case.where}"
        places = {
            "<tmp>": str(folder),
            "<address>": urlsplit(self._server.url).netloc,
            "<grpc>": str(self._server.grpc_port),
        }

        def points() -> Points:
            if case.where in BAD_PLACES["server"]:  # a name that the server was never asked for
                return {}
            try:
                return {
                    key: Found(point.payload, point.vectors) for key, point in read_points(self._channel, name).items()
                }
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return {}
                raise

        return Stage(
            {"url": self._server.url, "grpc_port": self._server.grpc_port, "path": name},
            lambda value: _filled(value, places),
            points,
            folder,
        )

    def _clear(self) -> None:
        """Remove the campaign's collections."""
        stub = q.CollectionsStub(self._channel)
        for found in stub.List(q.ListCollectionsRequest(), timeout=30).collections:
            if found.name.startswith("fuzz"):
                stub.Delete(q.DeleteCollection(collection_name=found.name), timeout=30)


def _filled(value: Any, places: dict[str, str]) -> Any:
    if isinstance(value, str):
        for mark, place in places.items():
            value = value.replace(mark, place)
    return value


def _edge_points(place: str) -> Points:
    import qdrant_edge as edge

    try:
        if not (Path(place) / "CURRENT").exists():
            return {}
    except (OSError, ValueError):  # what can be no path is the path of no store
        return {}
    assert not list((Path(place) / "pending").glob("*.json")), "rows wait to be brought in after the job has ended"
    shard = edge.EdgeShard.load(f"{place}/v1/shard")
    try:
        records, _ = shard.scroll(edge.ScrollRequest(limit=100_000, with_payload=True, with_vector=True))
    finally:
        shard.close()
    return {
        record.id if isinstance(record.id, int) else str(record.id): Found(
            record.payload or {},
            {
                name: np.array(vector, np.float32)
                for name, vector in (
                    record.vector.items() if isinstance(record.vector, dict) else [("", record.vector)]
                )
            },
        )
        for record in records
    }
