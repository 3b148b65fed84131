"""Map each error answer of a Qdrant server to its meaning and to an action: one table, of which the first matching line
counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc

from spark_vector_sink.errors import PermanentStoreError, StoreError, TransientStoreError, shorten


class OverloadedError(TransientStoreError):
    """Error of a server that lacks the time, or limits the rate: worth a retry, with fewer requests at once."""


class TooLargeError(PermanentStoreError):
    """Error of a request that is too large for the server, or for something on the way; its halves may not be too
    large."""


class MissingPointError(TransientStoreError):
    """Error where a named point does not exist; the operation may have been applied to the others."""


class RefusedPointsError(PermanentStoreError):
    """Error of a request that is wrong in itself, as far as the server can tell. A part of it may be right. Nothing of
    it was applied, or, of several operations, those before the wrong one."""


AGAIN, LESS, THOSE, SPLIT, PARTS, END = (
    TransientStoreError, OverloadedError, MissingPointError, TooLargeError, RefusedPointsError, PermanentStoreError,
)  # fmt: skip
"""Actions: retry with growing waits · the same, with fewer requests at once · retry, for the points that exist, where
only they were meant · send the halves · look for the points that are refused · fail at once.

Every request of a task can be sent again to the same effect, so whatever may heal is retried.
"""


@dataclass(frozen=True)
class Meaning:
    """Line of the table. words: any of them must be in the details. header: must be in the trailing metadata."""

    code: grpc.StatusCode
    action: Callable[[str], StoreError]
    advice: str = ""
    words: tuple[str, ...] = ()
    header: str | None = None

    def fits(self, code: grpc.StatusCode, details: str, trailing: dict[str, str]) -> bool:
        return (
            code is self.code
            and (not self.words or any(word in details for word in self.words))
            and (self.header is None or self.header in trailing)
        )


CODES = grpc.StatusCode
HTTP1 = ("http1.x", "HTTP/2")
FULL = (
    "Max points count limit",
    "Max vector storage size limit",
    "Max payload storage size limit",
    "Resident memory usage is at",
    "Disk usage is at",
)
MAKE_ROOM = "make room, or raise that limit, and run the job again"

MEANINGS = (
    Meaning(
        CODES.UNAVAILABLE,
        END,
        "the port speaks REST (HTTP/1.1), not gRPC; give Qdrant's gRPC port, usually 6334, as option 'grpc_port'",
        HTTP1,
    ),
    Meaning(CODES.UNAVAILABLE, AGAIN),
    Meaning(CODES.DEADLINE_EXCEEDED, LESS),
    # a quota, since 1.19
    Meaning(
        CODES.RESOURCE_EXHAUSTED, END, f"the server has no more room; {MAKE_ROOM}", header="qdrant-insufficient-storage"
    ),
    Meaning(CODES.RESOURCE_EXHAUSTED, SPLIT, words=("split your request", "larger than max")),
    Meaning(CODES.RESOURCE_EXHAUSTED, LESS),  # a rate limit, with or without `retry-after`
    Meaning(
        CODES.INVALID_ARGUMENT,
        SPLIT,
        words=('for "upsert limit"', 'for "update limit"', "Condition size limit reached"),
    ),
    Meaning(CODES.INVALID_ARGUMENT, END, f"the collection's strict mode takes no more; {MAKE_ROOM}", words=FULL),
    Meaning(
        CODES.INVALID_ARGUMENT,
        END,
        "create that payload index, or let strict mode take updates without one",
        ("Index required but not found",),
    ),
    Meaning(
        CODES.INVALID_ARGUMENT,
        END,
        "the collection has custom sharding: give option 'shard_key_column'",
        ("Shard key not specified",),
    ),
    Meaning(
        CODES.INVALID_ARGUMENT,
        END,
        "create it with Qdrant's client, create_shard_key(collection, key), and run the job again",
        ("Shard key ",),
    ),
    Meaning(CODES.INVALID_ARGUMENT, PARTS),
    # the server goes on as soon as there is space
    Meaning(CODES.INTERNAL, AGAIN, "the server's disk is full; free some space", ("No space left on device",)),
    Meaning(CODES.INTERNAL, PARTS, words=("panicked",)),  # the answer of Qdrant 1.18 to a point that it cannot process
    Meaning(CODES.INTERNAL, AGAIN),
    Meaning(CODES.ABORTED, AGAIN),
    Meaning(CODES.FAILED_PRECONDITION, AGAIN),  # a shard that is moving between nodes, a lock on writes
    # the server applies our timeout, too, and is sometimes first
    Meaning(CODES.CANCELLED, LESS, words=("Timeout expired",)),
    Meaning(CODES.CANCELLED, AGAIN),
    Meaning(CODES.UNKNOWN, AGAIN),
    Meaning(CODES.NOT_FOUND, THOSE, words=("No point with id",)),
    Meaning(CODES.NOT_FOUND, END, "somebody has removed it since the job began; run the job again"),
    Meaning(CODES.UNAUTHENTICATED, END, "check the API key (options 'api_key_env', 'api_key_file')"),
    Meaning(CODES.PERMISSION_DENIED, END, "the API key has no right to do this"),
)
"""Table of error answers. Every other code ends the job."""


def store_error(error: grpc.RpcError, doing: str) -> StoreError:
    """Convert a gRPC error to an error of the sink. `doing`: the request, to begin the sentence, e.g. `upsert to
    articles on host:6334`."""
    code, details = error.code(), error.details() or ""
    trailing = dict(error.trailing_metadata() or ())
    meaning = next((one for one in MEANINGS if one.fits(code, details, trailing)), Meaning(code, END))
    said = f"{doing} failed: {code.name} {shorten(details, 300)}".rstrip()
    made = meaning.action(f"{said}; {meaning.advice}" if meaning.advice else said)
    if isinstance(made, OverloadedError):
        made.retry_after = _seconds(trailing.get("retry-after"))
    return made


def is_rest(error: grpc.RpcError) -> bool:
    """Return whether an HTTP/1 server answered."""
    return MEANINGS[0].fits(error.code(), error.details() or "", {})


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
