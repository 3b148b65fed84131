"""gRPC statuses: which of them may heal, and what to do about the others."""

from __future__ import annotations

import grpc
import pytest

from spark_vector_sink.errors import PermanentStoreError, StoreError, TransientStoreError
from spark_vector_sink.store.qdrant.grpc_errors import (
    MissingPointError,
    OverloadedError,
    RefusedPointsError,
    TooLargeError,
    is_rest,
    store_error,
)
from tests.unit.fakes import RpcFailure

CODES = grpc.StatusCode
AGAIN = {CODES.UNAVAILABLE, CODES.INTERNAL, CODES.ABORTED, CODES.CANCELLED, CODES.UNKNOWN, CODES.FAILED_PRECONDITION}
KINDS: dict[grpc.StatusCode, type[StoreError]] = {
    **dict.fromkeys(AGAIN, TransientStoreError),
    CODES.DEADLINE_EXCEEDED: OverloadedError,
    CODES.RESOURCE_EXHAUSTED: OverloadedError,
    CODES.INVALID_ARGUMENT: RefusedPointsError,
}
"""Of each code without telling words; all others end the job."""

REST = "Trying to connect an http1.x server (HTTP status 400)"


def made(
    code: grpc.StatusCode, details: str | None = "details", trailing: tuple[tuple[str, str], ...] | None = ()
) -> StoreError:
    return store_error(RpcFailure(code, details, trailing), "upsert to 'articles' on host:6334")


@pytest.mark.parametrize("code", [code for code in CODES if code is not CODES.OK], ids=lambda code: code.name)
def test_every_status_has_its_kind(code: grpc.StatusCode) -> None:
    """What to do about it is the error's class; the line says what was done, the code and the server's words."""
    error = made(code)
    assert type(error) is KINDS.get(code, PermanentStoreError)
    assert str(error).startswith(f"upsert to 'articles' on host:6334 failed: {code.name} details")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (CODES.UNAUTHENTICATED, "check the API key (options 'api_key_env', 'api_key_file')"),
        (CODES.PERMISSION_DENIED, "the API key has no right to do this"),
        (CODES.NOT_FOUND, "somebody has removed it since the job began; run the job again"),
    ],
)
def test_what_people_must_do_is_said(code: grpc.StatusCode, advice: str) -> None:
    """What to look at."""
    assert str(made(code)).endswith(f"; {advice}")


@pytest.mark.parametrize(("text", "seconds"), [("2", 2.0), ("0.5", 0.5), ("soon", None)])
def test_a_rate_limit_names_its_wait(text: str, seconds: float | None) -> None:
    """The header `retry-after` is kept where it is a number."""
    error = made(CODES.RESOURCE_EXHAUSTED, "Rate limiting exceeded", (("retry-after", text),))
    assert isinstance(error, OverloadedError)
    assert error.retry_after == seconds


@pytest.mark.parametrize("trailing", [(), None])
def test_a_rate_limit_need_not_name_a_wait(trailing: tuple[tuple[str, str], ...] | None) -> None:
    """Without the header the usual waits apply."""
    error = made(CODES.RESOURCE_EXHAUSTED, "Rate limiting exceeded", trailing)
    assert isinstance(error, OverloadedError)
    assert error.retry_after is None


def test_a_lack_of_storage_cannot_heal() -> None:
    """The same code with the header of a storage quota; a named wait does not change it."""
    error = made(
        CODES.RESOURCE_EXHAUSTED, "Insufficient storage", (("qdrant-insufficient-storage", "1"), ("retry-after", "1"))
    )
    assert type(error) is PermanentStoreError
    assert str(error).endswith("; the server has no more room; make room, or raise that limit, and run the job again")


@pytest.mark.parametrize(
    "details",
    [
        "Bad request: Max points count limit of 10 reached!",
        "Bad request: Max vector storage size limit of 1MB reached!",
        "Bad request: Max payload storage size limit of 1MB reached!",
        "Bad request: Resident memory usage is at 91% of total memory, exceeding the configured limit of 90%. Help: "
        "Reduce memory usage",
        "Bad request: Disk usage is at 91% of total capacity, exceeding the configured limit of 90%. Help: "
        "Reduce disk usage",
    ],
)
def test_a_collection_that_takes_no_more_is_no_fault_of_points(details: str) -> None:
    """None is looked for, and none is rejected: the next would be refused as well."""
    error = made(CODES.INVALID_ARGUMENT, details)
    assert type(error) is PermanentStoreError
    assert str(error).endswith(
        "; the collection's strict mode takes no more; make room, or raise that limit, and run the job again"
    )


def test_a_full_disk_may_be_emptied() -> None:
    """Qdrant 1.18 answers so as long as too little space is free, and takes points again as soon as there is some: it
    is worth to wait."""
    error = made(
        CODES.INTERNAL, "Service internal error: No space left on device: WAL buffer size exceeds available disk space"
    )
    assert type(error) is TransientStoreError
    assert str(error).endswith("; the server's disk is full; free some space")


def test_a_point_that_the_server_cannot_digest_is_looked_for() -> None:
    """Qdrant 1.18 answers so to a request with such a point, again and again; the others can be written."""
    error = made(
        CODES.INTERNAL, 'Service internal error: task 17804 panicked with message "end byte index is out of bounds"'
    )
    assert type(error) is RefusedPointsError


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (CODES.RESOURCE_EXHAUSTED, "request larger than rate limiter capacity, please try to split your request"),
        (CODES.RESOURCE_EXHAUSTED, "Sent message larger than max (5 vs. 4)"),
        (
            CODES.INVALID_ARGUMENT,
            'Bad request: Limit exceeded 11 > 10 for "upsert limit". Help: Reduce the "upsert limit" parameter to '
            "or below 10.",
        ),
        (
            CODES.INVALID_ARGUMENT,
            'Bad request: Limit exceeded 8 > 5 for "update limit". Help: Reduce the "update limit" parameter '
            "to or below 5.",
        ),
        (
            CODES.INVALID_ARGUMENT,
            "Bad request: Condition size limit reached (20 > 5). Help: Reduce the size of your condition.",
        ),
    ],
)
def test_too_large_a_request_is_split(code: grpc.StatusCode, details: str) -> None:
    """By the rate limiter, by something on the way, by strict mode."""
    assert type(made(code, details)) is TooLargeError


def test_a_deadline_that_the_server_has_kept_is_one() -> None:
    """It answers so where it is sooner than we: it has too much to do."""
    assert type(made(CODES.CANCELLED, "Timeout expired")) is OverloadedError


def test_a_point_that_is_not_there() -> None:
    """Or no more, where somebody has deleted it between two operations of one request: worth another try."""
    error = made(CODES.NOT_FOUND, "Not found: No point with id 77 found")
    assert type(error) is MissingPointError
    assert isinstance(error, TransientStoreError)


def test_a_payload_index_that_strict_mode_wants() -> None:
    """No point is to blame, so none is looked for."""
    error = made(
        CODES.INVALID_ARGUMENT,
        'Bad request: Index required but not found for "_sink.deleted" of one of the following types: [integer].',
    )
    assert type(error) is PermanentStoreError
    assert str(error).endswith("; create that payload index, or let strict mode take updates without one")


def test_a_rest_port_is_explained() -> None:
    """Waiting would not make it speak gRPC."""
    error = made(CODES.UNAVAILABLE, REST)
    assert isinstance(error, PermanentStoreError)
    assert str(error).endswith(
        "the port speaks REST (HTTP/1.1), not gRPC; give Qdrant's gRPC port, usually 6334, as option 'grpc_port'"
    )


@pytest.mark.parametrize(
    ("code", "details", "rest"),
    [(CODES.UNAVAILABLE, REST, True), (CODES.UNAVAILABLE, None, False), (CODES.INTERNAL, REST, False)],
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
    assert (
        str(made(CODES.INVALID_ARGUMENT, None)).strip() == "upsert to 'articles' on host:6334 failed: INVALID_ARGUMENT"
    )
