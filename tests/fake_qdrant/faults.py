"""What can go wrong with a call, as a test scripts it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import grpc
from qdrant_client import grpc as q

from tests.fake_qdrant.requests import named_in
from tests.fake_qdrant.values import Message, PointKey
from tests.hangs import HANGS_AFTER_SECONDS

_INVALID, _EXHAUSTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
_RATE = "Rate limiting exceeded: Write rate limit exceeded"

FAULTS: dict[str, tuple[grpc.StatusCode | None, str, bool]] = {
    "unavailable": (grpc.StatusCode.UNAVAILABLE, "connection refused", False),
    "applied_then_unavailable": (
        grpc.StatusCode.UNAVAILABLE,
        "Stream removed (recvmsg:Connection reset by peer)",
        True,
    ),
    "rate_limit": (_EXHAUSTED, f"{_RATE}: Operation requires 2 tokens but only 1.0 were available.", False),
    "no_space": (_EXHAUSTED, "Insufficient storage: no space left on device", False),
    "too_large": (
        _EXHAUSTED,
        f"{_RATE}, request larger than rate limiter capacity, please try to split your request",
        False,
    ),
    "deadline": (grpc.StatusCode.DEADLINE_EXCEEDED, "Timeout: the operation took too long", False),
    "internal": (grpc.StatusCode.INTERNAL, "Service internal error: something broke", False),
    "invalid": (_INVALID, "Wrong input: something is wrong with a point", False),
    "slow": (None, "", True),
    "held": (None, "", True),
    "wait_timeout": (None, "", True),
    "acknowledged": (None, "", True),
}
"""kind → status code (None: a reply), the words, and whether the request takes effect all the same"""


@dataclass
class Fault:
    """What one method does on its next calls. Faults of one method are used up in the order in which they were
    given."""

    method: str
    """`Points/Upsert`, `Collections/Get`, …"""
    kind: str
    """one of FAULTS"""
    times: int | None = 1
    """calls that get it; None: all from now on"""
    skip: int = 0
    """calls that are served as usual before"""
    more_than: int = 0
    """leave requests that name no more than so many points alone (they do not count as calls either)"""
    ids: list[PointKey] | None = None
    """leave requests alone that name none of these points"""
    operations: int | None = None
    """of a batch that takes effect only so many operations do; None: all"""
    seconds: float | None = None
    """slow: the delay (0.2 s). held: the longest wait for `Turnstile.let_one_go` (300 s). deadline: the longest wait,
    by default until the client gives up"""
    retry_after: int | None = None
    """rate_limit: seconds for the trailing metadata; None: without"""
    applied: bool | None = None
    """whether the request takes effect; None: as the kind says"""
    message: str | None = None
    """other words"""

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"unknown fault {self.kind!r}; there are {', '.join(FAULTS)}")

    def takes_effect(self) -> bool:
        return FAULTS[self.kind][2] if self.applied is None else self.applied

    def perform(self, apply: Callable[[Message], Message], request: Message, context: grpc.ServicerContext) -> Message:
        """Answer one call."""
        code, words, _ = FAULTS[self.kind]
        if self.kind == "slow":
            time.sleep(0.2 if self.seconds is None else self.seconds)
        if self.kind == "held":
            TURNSTILE.hold(HANGS_AFTER_SECONDS if self.seconds is None else self.seconds)
        if self.operations is not None:
            del request.operations[self.operations :]
        reply = apply(request) if self.takes_effect() else _unapplied(request)
        if code is None:
            if self.kind not in ("slow", "held"):
                for result in reply.result if isinstance(reply, q.UpdateBatchResponse) else [reply.result]:
                    result.status = (
                        q.UpdateStatus.WaitTimeout if self.kind == "wait_timeout" else q.UpdateStatus.Acknowledged
                    )
            return reply
        if self.kind == "deadline":
            given_up = threading.Event()
            if context.add_callback(given_up.set):
                given_up.wait(self.seconds)
        words = self.message or words
        if self.kind == "no_space":
            context.set_trailing_metadata((("qdrant-insufficient-storage", "1"),))
        if self.kind == "rate_limit" and self.retry_after is not None:
            context.set_trailing_metadata((("retry-after", str(self.retry_after)),))
            words += f" Retry after {self.retry_after}s"
        context.abort(code, words)
        raise AssertionError("abort() does not return")


class Turnstile:
    """Where calls are held until a test lets them go, one by one: what happens meanwhile depends on no clock."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held = self._may_go = 0

    def hold(self, seconds: float) -> None:
        """Return when this call may go, or after so many seconds."""
        with self._changed:
            self._held += 1
            self._changed.notify_all()
            if self._changed.wait_for(lambda: self._may_go > 0, seconds):
                self._may_go -= 1
            self._held -= 1

    def let_one_go(self, of: int, seconds: float) -> bool:
        """Wait until so many calls are held, and let one of them go. False where so many do not come in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._held - self._may_go >= of, seconds):
                return False
            self._may_go += 1
            self._changed.notify_all()
            return True


TURNSTILE = Turnstile()
"""Of this process, which is one server."""


def _unapplied(request: Message) -> Message:
    """A reply to an update that was not done."""
    if isinstance(request, q.UpdateBatchPoints):
        return q.UpdateBatchResponse(result=[q.UpdateResult() for _ in request.operations])
    return q.PointsOperationResponse(result=q.UpdateResult(operation_id=0))


class Script:
    """The faults still to come."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._faults = list(faults)

    def add(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            self._faults += faults

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, request: Message) -> Fault | None:
        """The fault of this call, if it has one."""
        if not any(fault.method == method for fault in self._faults):
            return None
        points = set(named_in(request))
        with self._lock:
            for fault in self._faults:
                if fault.method != method or (fault.more_than and len(points) <= fault.more_than):
                    continue
                if fault.ids is not None and not points & set(fault.ids):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    return None
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None
