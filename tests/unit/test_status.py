"""gRPC statuses: which of them may heal, and what to do about the others."""

from __future__ import annotations

import grpc
import pytest

from spark_vector_sink.errors import PermanentStoreError, StoreError, TransientStoreError
from spark_vector_sink.store.qdrant.status import is_rest, store_error
from tests.unit.fakes import RpcFailure

CODES = grpc.StatusCode
HEALS = {CODES.UNAVAILABLE, CODES.DEADLINE_EXCEEDED, CODES.INTERNAL, CODES.ABORTED, CODES.CANCELLED, CODES.UNKNOWN, CODES.RESOURCE_EXHAUSTED}
REST = "Trying to connect an http1.x server (HTTP status 400)"


def made(code: grpc.StatusCode, details: str | None = "details", trailing: tuple[tuple[str, str], ...] | None = ()) -> StoreError:
    return store_error(RpcFailure(code, details, trailing), "upsert to 'articles' on host:6334")


@pytest.mark.parametrize("code", [code for code in CODES if code is not CODES.OK], ids=lambda code: code.name)
def test_every_status_has_its_kind(code: grpc.StatusCode) -> None:
    """What may heal is transient, the rest is not; the line says what was done, the code and the server's words."""
    error = made(code)
    assert type(error) is (TransientStoreError if code in HEALS else PermanentStoreError)
    assert str(error).startswith(f"upsert to 'articles' on host:6334 failed: {code.name} details")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (CODES.UNAUTHENTICATED, "check the API key (options 'api_key_env', 'api_key_file')"),
        (CODES.PERMISSION_DENIED, "the API key has no right to do this"),
    ],
)
def test_a_matter_of_rights_comes_with_advice(code: grpc.StatusCode, advice: str) -> None:
    """What to look at."""
    assert str(made(code)).endswith(f"; {advice}")


@pytest.mark.parametrize(("text", "seconds"), [("2", 2.0), ("0.5", 0.5), ("soon", None)])
def test_a_rate_limit_names_its_wait(text: str, seconds: float | None) -> None:
    """The header `retry-after` is kept where it is a number."""
    error = made(CODES.RESOURCE_EXHAUSTED, "Rate limiting exceeded", (("retry-after", text),))
    assert isinstance(error, TransientStoreError)
    assert error.retry_after == seconds


@pytest.mark.parametrize("trailing", [(), None])
def test_a_rate_limit_need_not_name_a_wait(trailing: tuple[tuple[str, str], ...] | None) -> None:
    """Without the header the usual waits apply."""
    error = made(CODES.RESOURCE_EXHAUSTED, "Rate limiting exceeded", trailing)
    assert isinstance(error, TransientStoreError)
    assert error.retry_after is None


def test_a_full_disk_cannot_heal() -> None:
    """The same code with the header of a full disk."""
    error = made(CODES.RESOURCE_EXHAUSTED, "Insufficient storage", (("qdrant-insufficient-storage", "1"), ("retry-after", "1")))
    assert isinstance(error, PermanentStoreError)
    assert str(error).endswith("; the server is out of storage")


@pytest.mark.parametrize(
    "details", ["request larger than rate limiter capacity, please try to split your request", "Sent message larger than max (5 vs. 4)"]
)
def test_too_large_a_request_cannot_heal(details: str) -> None:
    """The same code again; the options that make requests smaller are named."""
    error = made(CODES.RESOURCE_EXHAUSTED, details)
    assert isinstance(error, PermanentStoreError)
    assert str(error).endswith("; lower option 'batch_points' or 'batch_bytes'")


def test_a_rest_port_is_explained() -> None:
    """Waiting would not make it speak gRPC."""
    error = made(CODES.UNAVAILABLE, REST)
    assert isinstance(error, PermanentStoreError)
    assert str(error).endswith("the port speaks REST (HTTP/1.1), not gRPC; give Qdrant's gRPC port, usually 6334, as option 'grpc_port'")


@pytest.mark.parametrize(
    ("code", "details", "rest"), [(CODES.UNAVAILABLE, REST, True), (CODES.UNAVAILABLE, None, False), (CODES.INTERNAL, REST, False)]
)
def test_rest_is_known_by_code_and_words(code: grpc.StatusCode, details: str | None, rest: bool) -> None:
    """Either alone may mean something else."""
    assert is_rest(RpcFailure(code, details)) is rest


def test_the_servers_words_are_one_short_line() -> None:
    """Three hundred characters at most, without line breaks."""
    message = str(made(CODES.INVALID_ARGUMENT, "a\nb\n" + "x" * 5000))
    assert "\n" not in message
    assert len(message) < 400


def test_no_words_are_no_error() -> None:
    """A server may say nothing."""
    assert str(made(CODES.INVALID_ARGUMENT, None)).strip() == "upsert to 'articles' on host:6334 failed: INVALID_ARGUMENT"
