"""A TCP proxy in front of a server, which loses replies, cuts connections and stalls, and counts what of it has hit.

It reads the frames of HTTP/2 that the server sends, so that it knows a reply when it passes: a reply to an upsert that
is lost is an upsert that was applied and that the client believes to have failed.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from contextlib import suppress

DATA, FRAME_HEADER = 0, 9


class Replies:
    """Finds the replies in what a server sends, however it is cut into pieces."""

    def __init__(self) -> None:
        self._header = b""
        self._skip = 0

    def count(self, data: bytes) -> int:
        """How many replies begin in these bytes: in gRPC, DATA frames of the server that are not empty."""
        found = 0
        while data:
            if self._skip:
                skipped = min(self._skip, len(data))
                self._skip -= skipped
                data = data[skipped:]
                continue
            wanted = FRAME_HEADER - len(self._header)
            self._header, data = self._header + data[:wanted], data[wanted:]
            if len(self._header) == FRAME_HEADER:
                self._skip = int.from_bytes(self._header[:3], "big")
                found += self._header[3] == DATA and self._skip > 0
                self._header = b""
        return found


class Proxy:
    """Listens on a port of its own, and forwards to `port` of this machine. Faults are armed by any thread, and hit
    what comes next."""

    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._armed: Counter[str] = Counter()
        self._hits: Counter[str] = Counter()
        self._open = threading.Event()
        self._open.set()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def connections(self) -> int:
        """Clients that are connected now."""
        return len(self._connections) // 2

    def arm(self, kind: str, times: int = 1) -> None:
        """`reply`: the next replies are lost, and their connections with them. `cut`: the next requests get half
        through."""
        with self._lock:
            self._armed[kind] += times

    def stall(self, seconds: float) -> None:
        """Hold everything back, and send it on after so many seconds."""
        self._open.clear()
        threading.Event().wait(seconds)
        self._open.set()

    def disarm(self) -> dict[str, int]:
        """Forget what has not hit, and tell what has since the last time: `reply`, `cut`, `stall` → how often."""
        with self._lock:
            hits = dict(self._hits)
            self._hits.clear()
            self._armed.clear()
        return hits

    def close(self) -> None:
        self._open.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._connections):
            _end(connection)
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection((self.host, self._target), timeout=10)
            except OSError:  # the server is down
                _end(client)
                continue
            for one in (client, server):
                one.settimeout(None)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections.add(one)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._start(self._pump, client, server, None)
            self._start(self._pump, server, client, Replies())

    def _pump(self, source: socket.socket, sink: socket.socket, replies: Replies | None) -> None:
        """Forward one direction until it ends. replies: None for the direction to the server."""
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._open.is_set():
                    self._hit("stall")
                    self._open.wait()
                if replies is not None:
                    if replies.count(data) and self._takes("reply"):
                        break
                elif len(data) > 200 and self._takes("cut"):  # a request, and no ping or acknowledgement
                    sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data)
        for one in (source, sink):
            _end(one)
            self._connections.discard(one)

    def _takes(self, kind: str) -> bool:
        with self._lock:
            if not self._armed[kind]:
                return False
            self._armed[kind] -= 1
        self._hit(kind)
        return True

    def _hit(self, kind: str) -> None:
        with self._lock:
            self._hits[kind] += 1


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
