"""Option `url` → a gRPC address that answers, or one line that says why not."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_vector_sink.errors import CollectionError
from spark_vector_sink.options import Secret, SinkOptions
from spark_vector_sink.store.qdrant import address as rooms
from spark_vector_sink.store.qdrant.address import Address, find, find_key
from tests.fake_server import FakeServer
from tests.unit.fakes import RpcFailure

KEY = "hush-hush-4711"
REST = RpcFailure(grpc.StatusCode.UNAVAILABLE, "Trying to connect an http1.x server (HTTP status 400)")
CLOSED = RpcFailure(grpc.StatusCode.UNAVAILABLE, "failed to connect: connection refused")
Answers = Callable[..., list[Address]]


def options(url: str, **more: Any) -> SinkOptions:
    return SinkOptions.from_mapping({"url": url, "path": "articles", **more})


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What each port answers: a version, or an error. Gives the list of addresses that were asked."""

    def script(by_port: dict[int, str | Exception], otherwise: str | Exception = CLOSED) -> list[Address]:
        asked: list[Address] = []

        def health(address: Address) -> str:
            asked.append(address)
            answer = by_port.get(address.port, otherwise)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(rooms, "_health", health)
        return asked

    script({})  # nothing here asks a server of this machine, also where a test gives no script
    return script


def refusal(url: str, **more: Any) -> str:
    with pytest.raises(CollectionError) as refused:
        find(options(url, **more))
    return str(refused.value)


# --- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "more", "expected"),
    [
        ("http://host", {}, ["host:6334"]),
        ("host", {}, ["host:6334"]),
        ("http://host:6333", {}, ["host:6334"]),
        ("http://host:6333/", {}, ["host:6334"]),
        ("host:6333", {}, ["host:6334"]),
        ("http://host:6334", {}, ["host:6334", "host:6335"]),
        ("http://host:7000", {}, ["host:7000", "host:7001"]),
        ("http://host:65535", {}, ["host:65535"]),
        ("http://host:7000", {"grpc_port": 9}, ["host:9"]),
        ("HTTP://Host:6333", {}, ["host:6334"]),
        ("http://[::1]:6333", {}, ["[::1]:6334"]),
        ("http://user:pass@host:6333", {}, ["host:6334"]),
    ],
)
def test_these_ports_are_asked(answers: Answers, url: str, more: dict[str, Any], expected: list[str]) -> None:
    """`grpc_port` alone where it is given; 6334 for Qdrant's usual port; else the port itself, then the one after
    it."""
    asked = answers({})
    refusal(url, **more)
    assert [str(address) for address in asked] == expected


def test_the_first_port_that_answers_is_taken(answers: Answers) -> None:
    """The others are not asked."""
    asked = answers({7000: "1.18.2"})
    assert str(find(options("http://host:7000"))[0][0]) == "host:7000"
    assert len(asked) == 1


def test_a_port_mix_up_heals_itself(answers: Answers) -> None:
    """A REST port other than 6333 usually has its gRPC port next to it."""
    answers({7000: REST, 7001: "1.18.2"})
    assert str(find(options("http://host:7000"))[0][0]) == "host:7001"


@pytest.mark.parametrize(("url", "tls"), [("https://host", True), ("http://host", False), ("host", False)])
def test_https_means_tls(answers: Answers, url: str, tls: bool) -> None:
    """And nothing else does."""
    answers({}, "1.18.2")
    assert find(options(url))[0][0].tls is tls


def test_an_own_authority_is_read(answers: Answers, tmp_path: Path) -> None:
    """Its file travels as content, since executors may not have it."""
    answers({}, "1.18.2")
    (tmp_path / "ca.pem").write_bytes(b"PEM")
    assert find(options("https://host", tls_ca_file=tmp_path / "ca.pem"))[0][0].ca == b"PEM"


def test_a_missing_authority_is_named(answers: Answers, tmp_path: Path) -> None:
    """Option, path and reason."""
    answers({}, "1.18.2")
    path = str(tmp_path / "none.pem")
    assert (
        refusal("https://host", tls_ca_file=path)
        == f"option 'tls_ca_file' = {path!r} cannot be read: No such file or directory"
    )


@pytest.mark.parametrize(
    "url",
    ["ftp://host", "http://", "http://:6333", "http://host:port", "http://host:99999", "http://[::1", "", "http://a℀b"],
)
def test_an_address_that_is_none_is_explained(answers: Answers, url: str) -> None:
    """What it must look like, and what was given."""
    answers({}, "1.18.2")
    assert refusal(url) == f"option 'url' must look like http://host:6333 or https://host:6333, got {url!r}"


def test_a_path_in_the_address_is_refused(answers: Answers) -> None:
    """gRPC has none."""
    answers({}, "1.18.2")
    assert refusal("http://host:6333/qdrant").startswith(
        "option 'url' has a path ('/qdrant'), which a gRPC address cannot have; give host and port"
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=20) | st.text("htp:/@[]#?.%a6 ", max_size=20).map("http://".__add__))
def test_any_text_is_an_address_or_explained(url: str) -> None:
    """No text makes another exception than ours, and what is taken has a host and ports."""
    with contextlib.suppress(CollectionError):
        address, ports = rooms._parsed(url, options("http://host"))
        assert address.host
        assert all(0 <= port <= 65535 for port in ports)


# --- no answer --------------------------------------------------------------------------------------------------------


def test_a_server_that_is_down_is_explained(answers: Answers) -> None:
    """Where it was looked for, why not, and what to check."""
    answers({})
    assert refusal("http://host:6333") == (
        "no Qdrant server answers gRPC at host:6334 (failed to connect: connection refused); check that it runs and "
        "is reachable from the driver, "
        "and give option grpc_port if its gRPC port is another one"
    )


def test_every_port_that_was_tried_is_named(answers: Answers) -> None:
    """Also whether TLS was spoken; `grpc_port` is no advice for who has given it."""
    answers({})
    assert refusal("https://host:7000").startswith(
        "no Qdrant server answers gRPC at host:7000 and host:7001 with TLS ("
    )
    assert refusal("http://host", grpc_port=5).endswith("; check that it runs and is reachable from the driver")


def test_a_closed_port_is_told_at_once() -> None:
    """A real refusal, on a port of this machine where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        message = refusal("http://127.0.0.1", grpc_port=port, timeout_seconds=5)
    assert message.startswith(f"no Qdrant server answers gRPC at 127.0.0.1:{port} (")
    assert "\n" not in message


class _Rest(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the log is the test's."""


@pytest.fixture
def rest_port() -> Iterator[int]:
    """A port of this machine that speaks HTTP/1.1."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Rest) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_rest_port_given_as_grpc_is_explained(rest_port: int) -> None:
    """A real HTTP/1.1 server at `grpc_port`."""
    assert refusal("http://127.0.0.1", grpc_port=rest_port) == (
        f"grpc_port {rest_port} of 127.0.0.1 speaks REST (HTTP/1.1), not gRPC; Qdrant's gRPC port is usually 6334"
    )


def test_a_rest_port_without_its_grpc_port_is_explained(answers: Answers) -> None:
    """The url was right, but the port beside it is closed."""
    answers({7000: REST})
    assert refusal("http://host:7000") == (
        "host:7000 is a REST port, and no gRPC port answers at 7001; give the gRPC port as option 'grpc_port'"
    )


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
def test_a_refused_key_is_told_from_silence(answers: Answers, code: grpc.StatusCode) -> None:
    """The server is there, so another port would not help."""
    answers({6334: RpcFailure(code, "Must provide an API key")})
    assert refusal("http://host") == (
        "the server at host:6334 refuses the API key: Must provide an API key; check options 'api_key_env' and "
        "'api_key_file'"
    )


def test_a_refused_key_is_told_whatever_the_next_port_says(answers: Answers) -> None:
    """Of two ports the one that asks for a key is the server."""
    answers({7000: REST, 7001: RpcFailure(grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key")})
    assert "refuses the API key" in refusal("http://host:7000")


@pytest.mark.parametrize("version", ["1.15.9", "0.11.0", "1.2.0-dev"])
def test_a_server_too_old_is_refused(answers: Answers, version: str) -> None:
    """Its version and the one that is needed."""
    answers({6334: version})
    assert refusal("http://host") == f"the server at host:6334 is Qdrant {version}; this sink needs 1.16 or newer"


@pytest.mark.parametrize("version", ["1.16.0", "1.18.2", "2.0.0", "dev", ""])
def test_a_server_new_enough_is_taken(answers: Answers, version: str) -> None:
    """A version that cannot be read is no reason to refuse."""
    answers({6334: version})
    assert find(options("http://host")) == ((Address("host", 6334),), [])


def test_a_server_answers() -> None:
    """The whole way to a server of the tests."""
    with FakeServer() as server:
        (address,), warnings = find(options(server.url, grpc_port=server.grpc_port))
    assert (address.port, warnings) == (server.grpc_port, [])


# --- keys -------------------------------------------------------------------------------------------------------------


def key(parsed: SinkOptions) -> str | None:
    found = find_key(parsed)
    return found.reveal() if found else None


def test_the_key_is_looked_for_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment, then the file, then the option."""
    path = tmp_path / "key"
    path.write_text("from file\n")
    parsed = options("http://host", api_key="from option", api_key_file=path)
    monkeypatch.setenv("QDRANT_API_KEY", " from environment\n")
    assert key(parsed) == "from environment"
    monkeypatch.setenv("QDRANT_API_KEY", " ")
    assert key(parsed) == "from file"
    path.unlink()
    assert key(parsed) == "from option"
    assert key(options("http://host")) is None


def test_the_environment_variable_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the usual one does not count."""
    monkeypatch.setenv("QDRANT_API_KEY", "usual")
    monkeypatch.setenv("OTHER", "named")
    assert key(options("http://host", api_key_env="OTHER")) == "named"


def test_an_empty_key_is_none() -> None:
    """A template that was left unfilled sends no header."""
    assert key(options("http://host", api_key="")) is None


def test_a_task_prefers_the_key_of_its_own_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment first; where it has none, the driver's key."""
    parsed = options("http://host")
    address = Address("host", 6334, api_key=Secret("driver's"))
    assert address.with_key_of_this_process(parsed).metadata == (("api-key", "driver's"),)
    monkeypatch.setenv("QDRANT_API_KEY", "executor's")
    assert address.with_key_of_this_process(parsed).metadata == (("api-key", "executor's"),)


def test_without_a_key_no_header_is_sent() -> None:
    """An empty one could be refused."""
    assert Address("host", 6334).metadata == ()


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://host", True),
        ("http://10.0.0.1", True),
        ("https://host", False),
        ("http://localhost", False),
        ("http://127.0.0.1", False),
        ("http://127.9.9.9", False),
        ("http://[::1]", False),
        ("http://[fe80::1]", True),
    ],
)
def test_a_key_in_clear_is_warned_about(answers: Answers, url: str, warned: bool) -> None:
    """Over plain text to another machine; what stays on this one, or is encrypted, is fine."""
    answers({}, "1.18.2")
    _, warnings = find(options(url, api_key=KEY))
    host = url.partition("//")[2]
    assert warnings == [f"the API key goes to {host} over a connection without TLS; use an https url"] * warned
    assert find(options(url))[1] == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{KEY}@host:6333",
        f"http://user:{KEY}@host:port",
        f"http://user:{KEY}@host:6333/path",
        f"http://{KEY}@",
        f"ftp://user:{KEY}@host",
        f"user:{KEY}@host:6333",
        f"http://user:{KEY}@[::1",
        f"http://user:{KEY}@a℀b",
        f"http://user:6333/{KEY}@host:6333",
    ],
)
def test_a_password_in_the_url_is_in_no_message(answers: Answers, url: str) -> None:
    """`user:pass@` is stripped before anything is said, whatever else is wrong."""
    answers({})
    assert KEY not in refusal(url)


def test_a_key_is_in_no_message(answers: Answers) -> None:
    """Neither in the address's texts nor in what is said when it is refused."""
    answers({6334: RpcFailure(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key")})
    assert KEY not in refusal("http://host", api_key=KEY)
    address = Address("host", 6334, api_key=Secret(KEY))
    assert KEY not in f"{address} {address!r}"


def test_an_address_survives_pickling() -> None:
    """It travels to every task, with its key."""
    again = pickle.loads(pickle.dumps(Address("host", 6334, True, b"PEM", Secret(KEY), 5.0)))
    assert (str(again), again.tls, again.ca, again.timeout_seconds, again.metadata) == (
        "host:6334",
        True,
        b"PEM",
        5.0,
        (("api-key", KEY),),
    )


@pytest.mark.parametrize("bad", ["two\nlines", "ключ", "tab\tbed"])
def test_a_key_that_no_header_can_carry_is_refused(answers: Answers, monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    """It would look like a server that is down; the message names its place, and not the key."""
    said = refusal("http://host", api_key=bad)
    assert (
        said == "the API key from option 'api_key' holds characters that cannot be sent; it must be one line of "
        "printable ASCII"
    )
    monkeypatch.setenv("QDRANT_API_KEY", bad)
    assert "from the environment variable QDRANT_API_KEY" in refusal("http://host")


def test_a_missing_key_file_is_warned_about(answers: Answers) -> None:
    """It may be on the executors only; but a typing error looks the same."""
    answers({}, "1.18.2")
    _, warnings = find(options("http://localhost", api_key_file="/nowhere/key"))
    assert warnings == [
        "option 'api_key_file' = '/nowhere/key' is no file that the driver can see, so it asks without a key"
    ]


def test_what_follows_a_question_mark_is_refused(answers: Answers) -> None:
    """A key in the query would be ignored, and is not repeated."""
    said = refusal("http://host:6333?api_key=hush")
    assert "after '?'" in said
    assert "hush" not in said
