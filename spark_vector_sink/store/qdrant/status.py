"""What each gRPC status of a Qdrant server means: worth trying again, or not."""

from __future__ import annotations

import grpc

from spark_vector_sink.errors import PermanentStoreError, StoreError, TransientStoreError, shorten

TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
}
"""An upsert that is sent again writes the same points, so everything that may heal is tried again."""

ADVICE = {
    grpc.StatusCode.UNAUTHENTICATED: "check the API key (options 'api_key_env', 'api_key_file')",
    grpc.StatusCode.PERMISSION_DENIED: "the API key has no right to do this",
}


def store_error(error: grpc.RpcError, doing: str) -> StoreError:
    """The error of ours for a gRPC error. `doing`: what was asked, to begin the sentence, e.g. `upsert to articles on host:6334`."""
    code, details = error.code(), shorten(error.details() or "", 300)
    message = f"{doing} failed: {code.name} {details}"
    if is_rest(error):
        return PermanentStoreError(
            f"{doing} failed: the port speaks REST (HTTP/1.1), not gRPC; give Qdrant's gRPC port, usually 6334, as option 'grpc_port'"
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return _exhausted(error, message, details)
    if code in TRANSIENT:
        return TransientStoreError(message)
    advice = ADVICE.get(code)
    return PermanentStoreError(message + (f"; {advice}" if advice else ""))


def is_rest(error: grpc.RpcError) -> bool:
    """Whether an HTTP/1 server answered."""
    details = error.details() or ""
    return error.code() is grpc.StatusCode.UNAVAILABLE and ("http1.x" in details or "HTTP/2" in details)


def _exhausted(error: grpc.RpcError, message: str, details: str) -> StoreError:
    """RESOURCE_EXHAUSTED says three things: wait, the disk is full, or the request is too large."""
    trailing = dict(error.trailing_metadata() or ())
    if trailing.get("qdrant-insufficient-storage"):
        return PermanentStoreError(f"{message}; the server is out of storage")
    if "split your request" in details or "larger than max" in details:
        return PermanentStoreError(f"{message}; lower option 'batch_points' or 'batch_bytes'")
    try:
        return TransientStoreError(message, float(trailing["retry-after"]))
    except (KeyError, ValueError):
        return TransientStoreError(message)
