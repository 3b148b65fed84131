"""A real Qdrant for the tests: started from a `qdrant` binary, or found where QDRANT_URL or Docker has one.

`find_server()` is what the fixture `qdrant_server` calls. Tests that kill and restart a server start a `RealServer` of
their own, or three of them that are one `RealCluster`.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import grpc
from qdrant_client import grpc as q

from spark_vector_sink.store.qdrant.address import is_older
from tests.hangs import HANGS_AFTER_SECONDS

DOCKER_IMAGE = "qdrant/qdrant:v1.19.0"
REST_PORT, GRPC_PORT = 6333, 6334

LOOK_SECONDS = 10.0
"""A single question to a server that is starting; it is asked again."""

_PORTS = range(11_000, 32_000, 2)  # below those of connections, which begin at 32,768 (Linux) or 49,152
_NEXT_PORT = itertools.cycle(random.sample(_PORTS, len(_PORTS)))  # each process has an order of its own


class NoServerError(Exception):
    """There is no real Qdrant here; the message says what was tried."""


class EndedError(NoServerError):
    """The server ended before it answered."""


@dataclass
class FoundServer:
    """A server that somebody else started. `url` is its REST address."""

    url: str
    grpc_port: int
    api_key: str | None = None
    container: Any = None

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or "localhost"

    def stop(self) -> None:
        """Stop the container, where it is ours."""
        if self.container is not None:
            self.container.stop()


class RealServer:
    """A Qdrant process on 127.0.0.1 with its own directory, which survives `kill9()` and `restart()` and goes with
    `stop()`.

    The REST port is `grpc_port - 1`, as in an installation with the usual ports. A context manager; `start()` and
    `stop()` do the same.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        env: Mapping[str, str] | None = None,
        binary: str | None = None,
        tls: Path | None = None,
    ) -> None:
        """tls: a directory with `cert.pem` (its own authority) and `key.pem`."""
        found = binary or find_binary()
        if found is None:
            raise NoServerError("no `qdrant` on PATH or in QDRANT_BIN")
        self.binary = found
        self.api_key = api_key
        self.tls = tls
        self.env = dict(env or {})
        self.arguments: tuple[str, ...] = ()
        if tls is not None:
            files = {"CERT": "cert.pem", "KEY": "key.pem", "CA_CERT": "cert.pem"}
            self.env |= {
                "QDRANT__SERVICE__ENABLE_TLS": "true",
                **{f"QDRANT__TLS__{name}": str(tls / file) for name, file in files.items()},
            }
        self.directory: Path | None = None
        self.rest_port = self.grpc_port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The REST address, as users know it."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.rest_port}"

    @property
    def pid(self) -> int | None:
        """The process; None while it does not run."""
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> RealServer:
        """Start on free ports and return when the server answers; a stopped server gets an empty directory, a killed
        one finds its own."""
        if self.directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix="qdrant-test-"))
            atexit.register(self.stop)  # no server and no directory outlives the tests
        if self.rest_port:
            return self._launch()
        for _ in range(2):
            self.rest_port, self.grpc_port = free_port_pair()
            with suppress(EndedError):  # somebody else may have taken a free port before the server did
                return self._launch()
        self.rest_port, self.grpc_port = free_port_pair()
        return self._launch()

    def kill9(self) -> None:
        """End the process as a crash would. What was acknowledged lies on the disk."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> RealServer:
        """Start again on the same ports and the same directory; a process that still runs is killed first."""
        self.kill9()
        return self._launch()

    def stop(self) -> None:
        """End the process; its directory is deleted meanwhile: that of a server for all tests holds some ten thousand
        files, which took half a minute."""
        self.kill9()
        if self.directory is not None:
            subprocess.Popen(["rm", "-rf", str(self.directory)], stdin=subprocess.DEVNULL, start_new_session=True)
        self.directory = None
        self.rest_port = self.grpc_port = 0
        atexit.unregister(self.stop)

    def log(self) -> str:
        """The last lines that the server has said."""
        path = self.directory and self.directory / "server.log"
        return (
            "".join(path.read_text(errors="replace").splitlines(keepends=True)[-20:]) if path and path.exists() else ""
        )

    def __enter__(self) -> RealServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> RealServer:
        assert self.directory is not None
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("QDRANT__")},
            "QDRANT__SERVICE__HOST": self.host,
            "QDRANT__SERVICE__HTTP_PORT": str(self.rest_port),
            "QDRANT__SERVICE__GRPC_PORT": str(self.grpc_port),
            "QDRANT__STORAGE__STORAGE_PATH": str(self.directory / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(self.directory / "snapshots"),
            "QDRANT__STORAGE__TEMP_PATH": str(self.directory / "temp"),
            "QDRANT__CLUSTER__ENABLED": "false",
            "QDRANT__TELEMETRY_DISABLED": "true",
            **({"QDRANT__SERVICE__API_KEY": self.api_key} if self.api_key else {}),
            **self.env,
        }
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary, *self.arguments],
                cwd=self.directory,
                env=env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        try:
            ca = (self.tls / "cert.pem").read_bytes() if self.tls else None
            wait_until_healthy(self.host, self.grpc_port, tls=self.tls is not None, ca=ca, alive=lambda: self.running)
            # gRPC may answer before REST does, and even where REST's port is taken, of which the server then ends
            _wait_until(self._rest_listens, HANGS_AFTER_SECONDS, lambda: f"nobody listens at {self.url}")
        except NoServerError as error:
            said = self.log()
            self.kill9()
            raise type(error)(f"{error}\n{said}") from None
        return self

    def _rest_listens(self) -> bool:
        if not self.running:
            raise EndedError("the server ended before its REST port answered")
        try:
            socket.create_connection((self.host, self.rest_port), timeout=LOOK_SECONDS).close()
        except OSError:
            return False
        return self.running


class RealCluster:
    """Nodes of one Qdrant on 127.0.0.1, each a RealServer with its own directory. A context manager.

    Node 0 is the one that the others were told of at their start; it is no different afterwards.
    """

    def __init__(self, nodes: int = 3) -> None:
        p2p = [free_port_pair()[0] for _ in range(nodes)]
        self.nodes = [
            RealServer(env={"QDRANT__CLUSTER__ENABLED": "true", "QDRANT__CLUSTER__P2P__PORT": str(port)})
            for port in p2p
        ]
        for node, port in zip(self.nodes, p2p, strict=True):
            node.arguments = ("--uri", f"http://{node.host}:{port}")
            if port != p2p[0]:
                node.arguments += ("--bootstrap", f"http://{node.host}:{p2p[0]}")

    @property
    def urls(self) -> list[str]:
        """The REST address of each node, as users know it."""
        return [node.url for node in self.nodes]

    def kill9(self, node: int) -> None:
        """End one node as a crash would."""
        self.nodes[node].kill9()

    def restart(self, node: int) -> None:
        """Start a node again with its own directory, and return when it answers; its replicas may still be behind, see
        `wait_until_active`."""
        self.nodes[node].restart()

    def shards(self, node: int, collection: str) -> list[dict[str, Any]]:
        """A node's own replicas of a collection: `shard_id`, `points_count` and `state` of each."""
        return list(_asked(f"{self.nodes[node].url}/collections/{collection}/cluster")["local_shards"])

    def indexing(self, collection: str) -> list[bool]:
        """Whether each node has something to index, or is at it."""
        told = [_asked(f"{url}/collections/{collection}/optimizations") for url in self.urls]
        return [bool(one["summary"]["queued_optimizations"] or one["running"]) for one in told]

    def wait_until_active(self, collection: str, seconds: float = HANGS_AFTER_SECONDS) -> None:
        """Return when each running node says of its replicas, and of those of others, that they are active."""

        def states() -> set[str]:
            told = [_asked(f"{node.url}/collections/{collection}/cluster") for node in self.nodes if node.running]
            return {shard["state"] for one in told for shard in (*one["local_shards"], *one["remote_shards"])}

        _wait_until(lambda: states() == {"Active"}, seconds, lambda: f"replicas of {collection} are {states()}")

    def start(self) -> RealCluster:
        """Return when every node knows every other."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            _wait_until(
                lambda url=node.url: len(_asked(f"{url}/cluster")["peers"]) == len(self.nodes),
                HANGS_AFTER_SECONDS,
                lambda: "the nodes do not find each other",
            )
        return self

    def stop(self) -> None:
        """End the nodes and delete their directories."""
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> RealCluster:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _asked(url: str) -> dict[str, Any]:
    """The result of a GET of the REST API."""
    with urlopen(url, timeout=HANGS_AFTER_SECONDS) as reply:
        result: dict[str, Any] = json.load(reply)["result"]
        return result


def _wait_until(holds: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    """Return when it holds; NoServerError when it does not in time. A server that does not answer may do so when it is
    asked again."""
    end = time.monotonic() + seconds
    while True:
        silent: OSError | None = None
        try:
            if holds():
                return
        except OSError as error:
            silent = error
        if time.monotonic() > end:
            raise NoServerError(f"after {seconds:g} s {silent or otherwise()}") from silent
        time.sleep(0.05)


def find_server(api_key: str | None = None) -> FoundServer | RealServer:
    """QDRANT_URL (with `api_key`), else a `qdrant` binary, else Docker; NoServerError says why there is none."""
    url = os.environ.get("QDRANT_URL")
    if url:
        port = int(os.environ.get("QDRANT_GRPC_PORT") or (urlsplit(url).port or REST_PORT) + 1)
        given = FoundServer(url.rstrip("/"), port, api_key)
        # named, so a silent one is an error and no skip
        wait_until_healthy(given.host, port, seconds=60, tls=url.startswith("https"))
        return given
    if find_binary() is not None:
        return RealServer().start()
    return _docker_server()


def find_binary() -> str | None:
    """The `qdrant` binary of QDRANT_BIN or of PATH."""
    return os.environ.get("QDRANT_BIN") or shutil.which("qdrant")


def _docker_server() -> FoundServer:
    nothing = "no real Qdrant: QDRANT_URL is not set, there is no `qdrant` on PATH or in QDRANT_BIN, and"
    try:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.docker_client import DockerClient
    except ImportError:
        raise NoServerError(f"{nothing} testcontainers is not installed") from None
    try:
        DockerClient(timeout=5).client.ping()
    except Exception as error:  # any failure says the same: no engine answers
        raise NoServerError(f"{nothing} no Docker engine answers ({type(error).__name__})") from None
    container = (
        DockerContainer(DOCKER_IMAGE)
        .with_exposed_ports(REST_PORT, GRPC_PORT)
        .with_env("QDRANT__TELEMETRY_DISABLED", "true")
    )
    container.start()
    try:
        host = container.get_container_host_ip()
        rest, rpc = (int(container.get_exposed_port(port)) for port in (REST_PORT, GRPC_PORT))
        wait_until_healthy(host, rpc)
    except BaseException:
        container.stop()
        raise
    return FoundServer(f"http://{host}:{rest}", rpc, container=container)


def wait_until_healthy(
    host: str,
    port: int,
    *,
    seconds: float = HANGS_AFTER_SECONDS,
    tls: bool = False,
    ca: bytes | None = None,
    alive: Callable[[], bool] | None = None,
) -> str:
    """Return the server's version when HealthCheck answers; NoServerError when it does not, or when `alive()` says that
    it ended."""
    target, end = f"{host}:{port}", time.monotonic() + seconds
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]
    channel = (
        grpc.secure_channel(target, grpc.ssl_channel_credentials(ca), options)
        if tls
        else grpc.insecure_channel(target, options)
    )
    with closing(channel):
        while True:
            try:
                return str(q.QdrantStub(channel).HealthCheck(q.HealthCheckRequest(), timeout=LOOK_SECONDS).version)
            except grpc.RpcError as error:
                if alive is not None and not alive():
                    raise EndedError("the server ended before it answered") from None
                if time.monotonic() > end:
                    raise NoServerError(
                        f"the server at {target} did not answer in {seconds:g} s: {error.code().name} {error.details()}"
                    ) from None
            time.sleep(0.02)


def is_before(server: Any, version: tuple[int, int]) -> bool:
    """Whether a server, real or fake, is older than this version: for tests that hold what later ones have mended."""
    return is_older(wait_until_healthy(server.host, server.grpc_port), version)


def free_port_pair() -> tuple[int, int]:
    """Two free ports in a row, because the gRPC port usually follows the REST port. No process gets the same ones
    twice, and none that the system gives to connections, so that a server finds its ports free also after a time
    without it."""
    for _ in range(len(_PORTS)):
        port = next(_NEXT_PORT)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port, port + 1
    raise NoServerError(f"no two free ports in a row from {_PORTS.start} to {_PORTS.stop}")


if __name__ == "__main__":  # python -m tests.real_server: a server to try things on, until Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with RealServer() as server:
        print(server.url, server.grpc_port, flush=True)
        signal.pause()
