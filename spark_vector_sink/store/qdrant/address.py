"""Find the addresses of a server's nodes and the API key, and open gRPC channels to them (option `url`)."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import grpc
from qdrant_client import grpc as messages

from spark_vector_sink import files
from spark_vector_sink.errors import CollectionError, shorten
from spark_vector_sink.options import Secret, SinkOptions
from spark_vector_sink.store.qdrant.grpc_errors import is_rest

REST_PORT, GRPC_PORT = 6333, 6334
PROBE_SECONDS = 10.0
OLDEST_SERVER = (1, 16)
"""Oldest supported server version: collection metadata, in which the model guard keeps its data, came with 1.16."""

KEY_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),  # a channel of its own for each task, also in one process
)


@dataclass(frozen=True)
class Address:
    """gRPC address of a server's node. Its repr does not show the API key."""

    host: str
    port: int
    tls: bool = False
    ca: bytes | None = None
    api_key: Secret | None = None
    timeout_seconds: float = 60.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the headers of each call."""
        return (("api-key", self.api_key.reveal()),) if self.api_key else ()

    def with_key_of_this_process(self, options: SinkOptions) -> Address:
        """Return the address with the API key from the environment or file of this machine where there is one,
        otherwise with the driver's key."""
        return replace(self, api_key=_local_key(options) or self.api_key)


def open_channel(address: Address) -> grpc.Channel:
    """Open a new channel; it is made in the task, after the fork, and closed by the caller."""
    if not address.tls:
        return grpc.insecure_channel(str(address), CHANNEL_OPTIONS)
    return grpc.secure_channel(str(address), grpc.ssl_channel_credentials(address.ca), CHANNEL_OPTIONS)


def find(options: SinkOptions) -> tuple[tuple[Address, ...], list[str]]:
    """Find the nodes that answer, and warnings. Raises CollectionError, in one line with the way out, where no node
    answers."""
    found: list[Address] = []
    silent: dict[str, str] = {}
    for url in _urls(options):
        first, ports = _parsed(url, options)
        refusals: dict[int, grpc.RpcError] = {}
        for port in ports:
            address = replace(first, port=port)
            try:
                version = _health(address)
            except grpc.RpcError as error:
                refusals[port] = error
                continue
            _refuse_old(version, address)
            found.append(address)
            break
        else:
            silent[url.rpartition("@")[2]] = _unreachable(first, refusals, options)
    if not found:
        others = f" (and {len(silent) - 1} more of option 'url')" if len(silent) > 1 else ""
        raise CollectionError(next(iter(silent.values())) + others)
    warnings = [f"the job goes on without the node {url}: {reason}" for url, reason in silent.items()]
    return tuple(found), warnings + list(
        dict.fromkeys(warning for address in found for warning in _warnings(address, options))
    )


def one_that_answers(addresses: Sequence[Address]) -> Address:
    """Return the first node that answers; the first of all where none does, so that a request to it raises the
    reason."""
    return next(filter(answers, addresses), addresses[0]) if len(addresses) > 1 else addresses[0]


def answers(address: Address) -> bool:
    """Return whether a node answers."""
    with suppress(grpc.RpcError):
        return bool(_health(address))
    return False


def _urls(options: SinkOptions) -> list[str]:
    """Split option `url` into addresses. A comma before an @ may be part of a password: no message shows it."""
    urls = [url.strip() for url in re.split(r",(?![^/,]*@)", options.url or "")]
    if any("," in url for url in urls):
        raise CollectionError(
            "option 'url' has a comma within an address; write several addresses as http://a:6333,http://b:6333"
        )
    return [url for url in urls if url] or [""]


def _parsed(text: str, options: SinkOptions) -> tuple[Address, list[int]]:
    """Parse a URL: return the address with host, key and TLS, and the ports to try in turn."""
    shown = text.rpartition("@")[2]
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        host, port = url.hostname, url.port
    except ValueError:  # its message may hold the password
        url, host, port = urlsplit(""), None, None
    if url.scheme not in ("http", "https") or not host or not host.strip():
        raise CollectionError(
            f"option 'url' must look like http://host:6333 or https://host:6333, got {shorten(shown)!r}"
        )
    if url.query or url.fragment:
        raise CollectionError(
            "option 'url' has a part after '?' or '#', which would be ignored; give host and port, and the API key by "
            "'api_key_env' or 'api_key_file'"
        )
    if url.path.strip("/"):
        raise CollectionError(
            f"option 'url' has a path ({url.path.rpartition('@')[2]!r}), which a gRPC address cannot have; give host "
            "and port, the collection's name to save(), and option 'grpc_port' if it is not 6334"
        )
    ca = _file(options.tls_ca_file, "tls_ca_file")
    host = f"[{host}]" if ":" in host else host
    address = Address(host, GRPC_PORT, url.scheme == "https", ca, find_key(options), options.timeout_seconds)
    if options.grpc_port is not None:
        return address, [options.grpc_port]
    if port in (None, REST_PORT):
        return address, [GRPC_PORT]
    return address, [port, port + 1] if port < 65535 else [port]


def find_key(options: SinkOptions) -> Secret | None:
    """Find the API key: from this process's environment, then from its file, then from the option."""
    given = options.api_key.reveal().strip() if options.api_key is not None else ""
    return _local_key(options) or _key(given, "option 'api_key'")


def _local_key(options: SinkOptions) -> Secret | None:
    found = _key(os.environ.get(options.api_key_env, "").strip(), f"the environment variable {options.api_key_env}")
    if found is None and options.api_key_file and files.is_file(files.local(options.api_key_file)):
        content = _file(options.api_key_file, "api_key_file") or b""
        found = _key(content.decode("latin-1").strip(), f"the file {options.api_key_file}")
    return found


def _key(text: str, place: str) -> Secret | None:
    """Check that a header can carry the key."""
    if not (text.isascii() and text.isprintable()):
        raise CollectionError(
            f"the API key from {place} holds characters that cannot be sent; it must be one line of printable ASCII"
        )
    return Secret(text) if text else None


def _file(path: str | None, option: str) -> bytes | None:
    if path is None:
        return None
    try:
        return files.local(path).read_bytes()
    except OSError as error:
        raise CollectionError(f"option '{option}' = {path!r} cannot be read: {error.strerror}") from error


def _health(address: Address) -> str:
    """Return the server's version."""
    with open_channel(address) as channel:
        call = messages.QdrantStub(channel).HealthCheck
        reply = call(
            messages.HealthCheckRequest(),
            timeout=min(PROBE_SECONDS, address.timeout_seconds),
            metadata=address.metadata,
        )
    return str(reply.version)


def is_older(version: str, wanted: tuple[int, int]) -> bool:
    """Return whether a server's version is older; a version that cannot be parsed is not."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return len(numbers) == 2 and numbers < wanted


def _refuse_old(version: str, address: Address) -> None:
    if is_older(version, OLDEST_SERVER):
        raise CollectionError(
            f"the server at {address} is Qdrant {version}; this sink needs {'.'.join(map(str, OLDEST_SERVER))} or newer"
        )


def _warnings(address: Address, options: SinkOptions) -> Iterator[str]:
    if options.api_key_file and address.api_key is None and not files.is_file(files.local(options.api_key_file)):
        yield (
            f"option 'api_key_file' = {options.api_key_file!r} is no file that the driver can see, so it asks "
            "without a key"
        )
    if address.api_key and not address.tls and not _is_this_machine(address.host):
        yield f"the API key goes to {address.host} over a connection without TLS; use an https url"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _unreachable(address: Address, refusals: dict[int, grpc.RpcError], options: SinkOptions) -> str:
    """Explain in one line why no port answered."""
    refused = next((port for port, error in refusals.items() if error.code() in KEY_REFUSED), None)
    if refused is not None:
        said = shorten(refusals[refused].details() or "", 200)
        return (
            f"the server at {address.host}:{refused} refuses the API key: {said}; check options 'api_key_env' and "
            "'api_key_file'"
        )
    rest = [port for port, error in refusals.items() if is_rest(error)]
    tried = " and ".join(f"{address.host}:{port}" for port in refusals)
    if rest and options.grpc_port in rest:
        return (
            f"grpc_port {rest[0]} of {address.host} speaks REST (HTTP/1.1), not gRPC; Qdrant's gRPC port is "
            f"usually {GRPC_PORT}"
        )
    if rest:
        others = " and ".join(str(port) for port in refusals if port not in rest)
        return (
            f"{address.host}:{rest[0]} is a REST port, and no gRPC port answers at {others or 'the next one'}; "
            "give the gRPC port as option 'grpc_port'"
        )
    error = next(iter(refusals.values()))
    if address.tls and "WRONG_VERSION_NUMBER" in (error.details() or ""):
        return f"{tried} answers without TLS; begin option 'url' with http://"
    details = shorten(error.details() or error.code().name, 200)
    tls = " with TLS" if address.tls else ""
    return (
        f"no Qdrant server answers gRPC at {tried}{tls} ({details}); check that it runs and is reachable "
        "from the driver"
        f"{'' if options.grpc_port else ', and give option grpc_port if its gRPC port is another one'}"
    )
