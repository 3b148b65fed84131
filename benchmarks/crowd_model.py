"""A model of many tasks that write to one server: real rules of the client, a modelled server, no network, no waiting.

Real are `Limit` (how many requests a task has on their way) and the waits of `retry` (of a failed one), used as
`InFlight` and `Sender` use them. The server applies requests one after the other, as fast as its rate; a request that
was not applied when its client gives up is applied all the same, in vain. With a rate limit it has a token bucket as
Qdrant's (cost: points; refilled over a minute), and refuses at once, saying when the tokens would be there.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tenacity import RetryCallState

from spark_vector_sink.errors import TransientStoreError
from spark_vector_sink.store import retry
from spark_vector_sink.store.in_flight_limit import Limit
from spark_vector_sink.store.qdrant.sender import SLOW

DEADLINE = 60.0
"""Option `timeout_seconds`."""
GIVE_UP = 600.0
"""Option `retry_max_seconds`."""
POINTS = (256, 512)
"""Of a request, the fewest and the most points."""
SEED = 7


@dataclass
class Server:
    """rate: points applied each second. per_minute: points that the rate limit lets through; None: there is none. The
    bucket begins empty."""

    rate: float
    per_minute: float | None = None
    overhead: float = 0.0005
    """seconds that a request costs besides its points"""
    latency: float = 0.001
    """seconds of a reply on its way"""
    _free_at: float = 0.0
    _tokens: float = 0.0
    _filled: float = 0.0

    @property
    def most(self) -> float:
        """Points that it can take each second."""
        return self.rate if self.per_minute is None else min(self.rate, self.per_minute / 60)

    def refusal(self, now: float, points: int) -> float | None:
        """Take the tokens; or the seconds to wait, as Qdrant tells them: whole ones, for this request alone."""
        if self.per_minute is None:
            return None
        self._tokens = min(self.per_minute, self._tokens + self.per_minute / 60 * (now - self._filled))
        self._filled = now
        if self._tokens >= points:
            self._tokens -= points
            return None
        return float(math.ceil((points - self._tokens) / (self.per_minute / 60)))

    def applied_at(self, now: float, points: int) -> float:
        """When a request that arrives now will have been applied: after all before it."""
        self._free_at = max(now, self._free_at) + self.overhead + points / self.rate
        return self._free_at + self.latency


@dataclass
class Task:
    """One task, which always has a request ready."""

    limit: Limit = field(default_factory=Limit)
    on_the_way: int = 0
    points: int = 0
    """applied in time"""


@dataclass
class Request:
    """One request in its place, until all of its points are applied. Too large for a limit that has sunk, it is sent in
    parts."""

    points: int
    """of the part that is being sent"""
    begun: float
    """when that was sent first"""
    rest: list[int] = field(default_factory=list)
    """points of the parts that come next, the next one last"""
    submitted: int = 0
    """the limit's mark, when it got its place"""
    tries: int = 0
    mark: int = 0
    """the limit's mark, when it was sent last"""

    def halve(self) -> None:
        self.rest.append(self.points - self.points // 2)
        self.points //= 2


@dataclass
class Outcome:
    """What came of it. shares: of each task, its points over the mean."""

    tasks: int
    seconds: float
    points: int = 0
    requests: int = 0
    """applied in time"""
    missed: int = 0
    """deadlines"""
    refused: int = 0
    """by the rate limit"""
    given_up: int = 0
    """requests that were tried for too long: their tasks would have failed"""
    slowest: float = 0.0
    """seconds from a request's first sending until it was applied, at most"""
    shares: list[float] = field(default_factory=list)
    useful: float = 0.0
    """points applied in time, over what the server could have taken"""


class Crowd:
    """Runs the model for so many seconds of its own time; the tasks begin within the first one."""

    def __init__(self, tasks: int, server: Server, seconds: float, seed: int = SEED) -> None:
        random.seed(seed)  # tenacity draws from the module's own generator
        self._server = server
        self._tasks = [Task() for _ in range(tasks)]
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._now = 0.0
        self.outcome = Outcome(tasks, seconds)

    def run(self) -> Outcome:
        for task in self._tasks:
            self._at(random.random(), self._fill, task)
        while self._events and self._events[0][0] <= self.outcome.seconds:
            self._now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
        told = self.outcome
        told.points = sum(task.points for task in self._tasks)
        told.useful = told.points / (self._server.most * told.seconds)
        mean = max(1.0, told.points / len(self._tasks))
        told.shares = sorted(task.points / mean for task in self._tasks)
        return told

    def _at(self, time: float, action: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, action, arguments))

    def _fill(self, task: Task) -> None:
        """Send as many new requests as there are places."""
        while task.on_the_way < task.limit.now:
            task.on_the_way += 1
            points = max(1, int(random.randint(*POINTS) * task.limit.share))
            self._first(task, Request(points, self._now, submitted=task.limit.begun()))

    def _first(self, task: Task, request: Request) -> None:
        request.tries, request.begun = 0, self._now
        self._send(task, request)

    def _send(self, task: Task, request: Request) -> None:
        request.tries += 1
        request.mark = task.limit.begun()
        told = self._server.refusal(self._now, request.points)
        if told is not None:
            self._at(self._now + self._server.latency, self._refused, task, request, told)
            return
        applied = self._server.applied_at(self._now, request.points)
        if applied > self._now + DEADLINE:
            self._at(self._now + DEADLINE, self._missed, task, request)
        else:
            self._at(applied, self._applied, task, request, applied - self._now)

    def _applied(self, task: Task, request: Request, took: float) -> None:
        self.outcome.requests += 1
        self.outcome.slowest = max(self.outcome.slowest, self._now - request.begun)
        task.points += request.points
        if took > SLOW * DEADLINE:
            task.limit.halve(request.mark)
        if request.rest:
            request.points = request.rest.pop()
            self._first(task, request)
        else:
            self._end(task, request)

    def _refused(self, task: Task, request: Request, told: float) -> None:
        self.outcome.refused += 1
        self._fails(task, request, told)

    def _missed(self, task: Task, request: Request) -> None:
        self.outcome.missed += 1
        self._fails(task, request)

    def _fails(self, task: Task, request: Request, told: float | None = None) -> None:
        task.limit.halve(request.mark)
        wait = wait_after(request.tries, told)
        if self._now + wait - request.begun >= GIVE_UP:
            self.outcome.given_up += 1
            self._end(task, request)
        else:
            self._at(self._now + wait, self._again, task, request)

    def _again(self, task: Task, request: Request) -> None:
        """Once more, or its first half where it is larger than requests should be by now."""
        if 1 < request.points > int(POINTS[1] * task.limit.share):
            request.halve()
            self._first(task, request)
        else:
            self._send(task, request)

    def _end(self, task: Task, request: Request) -> None:
        """A request has left its place, which the task has waited for, as it always has the next one ready."""
        task.on_the_way -= 1
        task.limit.applied(request.submitted, has_waited=True)
        self._fill(task)


def wait_after(tries: int, told: float | None = None) -> float:
    """Seconds that the sink waits after so many tries of a request. told: what the server said of it."""
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = tries
    error = TransientStoreError("", told)
    state.set_exception((type(error), error, None))
    return float(retry._wait(state))
