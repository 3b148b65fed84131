"""The server."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import grpc
from qdrant_client import grpc as q

from tests.fake_qdrant.faults import TURNSTILE, Fault, Script
from tests.fake_qdrant.seen import Recorder
from tests.fake_qdrant.services import Collections, Health, Points
from tests.fake_qdrant.store import Store
from tests.fake_qdrant.values import Message, RefusedError
from tests.hangs import HANGS_AFTER_SECONDS


class Gate(grpc.ServerInterceptor):  # type: ignore[misc]
    """Every call passes here: the key, the books, the faults, the lock, and refusals become status codes."""

    def __init__(self, store: Store, script: Script, recorder: Recorder, api_key: str | None) -> None:
        self.store, self.script, self.recorder, self.api_key = store, script, recorder, api_key

    def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or not details.method.startswith("/qdrant."):
            return handler
        method = details.method.removeprefix("/qdrant.")

        def serve(request: Message, context: grpc.ServicerContext) -> Message:
            if method != "Qdrant/HealthCheck":
                self._check_key(context)
            with self.recorder.call(method, request, context):
                return self._serve(method, handler.unary_unary, request, context)

        return grpc.unary_unary_rpc_method_handler(serve, handler.request_deserializer, handler.response_serializer)

    def _serve(
        self, method: str, servicer: Callable[..., Any], request: Message, context: grpc.ServicerContext
    ) -> Message:
        def apply(request: Message) -> Message:
            try:
                with self.store.lock:
                    return servicer(request, context)
            except RefusedError as refused:
                _abort(context, refused.code, refused.words)
            except NotImplementedError:  # by the generated base of the services, for a method that the fake has not
                _abort(context, grpc.StatusCode.UNIMPLEMENTED, f"the fake server knows no {method}")

        fault = self.script.take(method, request)
        if fault is None:
            return apply(request)
        self.recorder.played(fault)
        return fault.perform(apply, request, context)

    def _check_key(self, context: grpc.ServicerContext) -> None:
        headers = dict(context.invocation_metadata())
        bearer = headers.get("authorization", "")
        given = headers.get("api-key", bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None)
        if self.api_key is not None and given is None:
            _abort(context, grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key or an Authorization bearer token")
        if self.api_key is not None and given != self.api_key:
            _abort(context, grpc.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT")


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, words: str) -> NoReturn:
    context.abort(code, words)
    raise AssertionError("abort() does not return")


def serve(port: int = 0, api_key: str | None = None, faults: Iterable[Fault] = ()) -> tuple[grpc.Server, int]:
    """Start a fake server in this process; returns it and its port."""
    store, script, recorder = Store(), Script(faults), Recorder()
    unlimited = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    ]
    gate = Gate(store, script, recorder, api_key)
    server = grpc.server(ThreadPoolExecutor(32), interceptors=[gate], options=unlimited)
    q.add_QdrantServicer_to_server(Health(), server)
    q.add_CollectionsServicer_to_server(Collections(store), server)
    q.add_PointsServicer_to_server(Points(store), server)

    def add_faults(request: bytes, context: grpc.ServicerContext) -> bytes:
        script.add(Fault(**values) for values in json.loads(request))
        return b""

    def clear_faults(request: bytes, context: grpc.ServicerContext) -> bytes:
        script.clear()
        return b""

    def stats(request: bytes, context: grpc.ServicerContext) -> bytes:
        return recorder.to_json()

    def reset_stats(request: bytes, context: grpc.ServicerContext) -> bytes:
        recorder.reset()
        return b""

    def empty(request: bytes, context: grpc.ServicerContext) -> bytes:
        script.clear()
        if not recorder.wait_until_idle(HANGS_AFTER_SECONDS - 10):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "a call is still on its way")
        with store.lock:
            store.collections.clear()
            store.aliases.clear()
        recorder.reset()
        return b""

    def wait_for(request: bytes, context: grpc.ServicerContext) -> bytes:
        if not recorder.wait_for(**json.loads(request), seconds=HANGS_AFTER_SECONDS - 10):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"there were not so many: {request.decode()}")
        return b""

    def let_one_go(request: bytes, context: grpc.ServicerContext) -> bytes:
        if not TURNSTILE.let_one_go(int(request), HANGS_AFTER_SECONDS - 10):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"there are not {int(request)} calls to be held")
        return b""

    def optimise(request: bytes, context: grpc.ServicerContext) -> bytes:
        with store.lock:
            for point in store.find(request.decode()).points.values():
                point.optimised = True
        return b""

    methods = {
        "Optimise": optimise,
        "Empty": empty,
        "WaitFor": wait_for,
        "LetOneGo": let_one_go,
        "Faults": add_faults,
        "ClearFaults": clear_faults,
        "Stats": stats,
        "ResetStats": reset_stats,
    }
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Control", handlers),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="a Qdrant for tests")
    parser.add_argument("--port", type=int, default=0, help="gRPC port; 0 takes a free one")
    parser.add_argument("--api-key")
    parser.add_argument("--script", type=Path, help="JSON list of faults, each with `method`, `kind`, `times`, …")
    parser.add_argument(
        "--stop-at-eof",
        action="store_true",
        help="end with standard input, that is with the process that started this one",
    )
    given = parser.parse_args(arguments)
    faults = [Fault(**values) for values in json.loads(given.script.read_text())] if given.script else []
    server, port = serve(given.port, given.api_key, faults)
    print(port, flush=True)
    if given.stop_at_eof:
        sys.stdin.read()
        server.stop(None)
    else:
        server.wait_for_termination()
