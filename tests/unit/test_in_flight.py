"""Bounded sending: never more than the limit, never the same point twice at once, and no failure lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from spark_vector_sink.store import in_flight
from spark_vector_sink.store.in_flight import InFlight
from spark_vector_sink.store.in_flight_limit import Limit
from spark_vector_sink.store.write_batch import PointId
from tests.hangs import HANGS_AFTER_SECONDS


class Sender:
    """Counts what is on its way; requests wait until `gate` is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.lock = threading.Condition()
        self.busy: list[str] = []
        self.begun: list[str] = []
        self.done: list[str] = []
        self.most = 0

    def __call__(self, request: str) -> None:
        with self.lock:
            self.busy.append(request)
            self.begun.append(request)
            self.most = max(self.most, len(self.busy))
            self.lock.notify_all()
        assert self.gate.wait(HANGS_AFTER_SECONDS)
        with self.lock:
            self.busy.remove(request)
            self.done.append(request)
        if request.startswith("bad"):
            raise ValueError(request)

    def wait_until_busy(self, count: int) -> None:
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.busy) >= count, HANGS_AFTER_SECONDS)


def ids(*points: PointId) -> frozenset[PointId]:
    return frozenset(points)


def sending_by(send: Callable[[str], None], most: int | Limit) -> InFlight[str, None]:
    return InFlight(send, most if isinstance(most, Limit) else Limit(most))


def heard(nothing: None) -> None:
    """What `send` has returned is of no interest."""


@pytest.mark.parametrize("most", [1, 2, 5])
def test_as_many_as_allowed_are_on_their_way(most: int) -> None:
    """The limit is reached, and never passed."""
    sender = Sender()
    sending = sending_by(sender, most)
    for n in range(most):
        sending.submit(f"{n}", ids(n), heard)
    sender.wait_until_busy(most)
    sender.gate.set()
    for n in range(most, 10 * most):
        sending.submit(f"{n}", ids(n), heard)
    sending.drain()
    sending.close()
    assert (sender.most, sorted(sender.done, key=int)) == (most, [str(n) for n in range(10 * most)])


def test_submit_waits_while_all_are_busy() -> None:
    """The request after the last allowed one is not sent before another has ended."""
    sender = Sender()
    sending = sending_by(sender, 1)
    sending.submit("first", ids(1), heard)
    second = threading.Thread(target=sending.submit, args=("second", ids(2), heard))
    second.start()
    sender.wait_until_busy(1)
    assert sender.begun == ["first"]
    sender.gate.set()
    second.join(HANGS_AFTER_SECONDS)
    sending.drain()
    sending.close()
    assert sender.done == ["first", "second"]


def test_a_point_is_not_on_its_way_twice() -> None:
    """A request that touches a point of an earlier one waits for it, though there is room, so the last row written is
    the last."""
    overlaps: list[set[str]] = []
    running: set[str] = set()
    order: list[str] = []
    lock = threading.Lock()

    def send(request: str) -> None:
        with lock:
            running.add(request)
            overlaps.append({other for other in running if other[0] == request[0]})
            order.append(request)
        threading.Event().wait(0.001)
        with lock:
            running.discard(request)

    sending = sending_by(send, 4)
    requests = [f"{n % 3}-{n}" for n in range(30)]
    for request in requests:
        sending.submit(request, ids(request[0], request), heard)
    sending.drain()
    sending.close()
    assert all(len(overlap) == 1 for overlap in overlaps)
    assert [[r for r in order if r[0] == key] for key in "012"] == [
        [r for r in requests if r[0] == key] for key in "012"
    ]


def test_drain_raises_what_went_wrong() -> None:
    """A failure on the way is raised where everything must have arrived."""
    sender = Sender()
    sender.gate.set()
    sending = sending_by(sender, 2)
    sending.submit("bad 1", ids(1), heard)
    with pytest.raises(ValueError, match=r"^bad 1$"):
        sending.drain()
    sending.close()


def test_submit_raises_what_went_wrong_before() -> None:
    """A later request meets the failure of an earlier one, and is not sent."""
    sender = Sender()
    sender.gate.set()
    sending = sending_by(sender, 1)
    sending.submit("bad 1", ids(1), heard)
    with pytest.raises(ValueError, match=r"^bad 1$"):
        sending.submit("good", ids(2), heard)
    sending.close()
    assert sender.begun == ["bad 1"]


def test_of_several_failures_the_first_is_raised() -> None:
    """Whatever order they end in, the request that was sent first is the one to hear of."""
    for _ in range(20):
        sender = Sender()
        sending = sending_by(sender, 4)
        for n in range(4):
            sending.submit(f"bad {n}", ids(n), heard)
        sender.gate.set()
        sending.close()  # all have ended by now
        with pytest.raises(ValueError, match=r"^bad 0$"):
            sending.drain()


def test_drain_returns_when_all_has_arrived() -> None:
    """Nothing is on its way afterwards, and draining once more is nothing."""
    sender = Sender()
    sender.gate.set()
    sending = sending_by(sender, 3)
    for n in range(9):
        sending.submit(str(n), ids(n), heard)
    sending.drain()
    assert (len(sender.done), sender.busy) == (9, [])
    sending.drain()
    sending.close()


def test_close_lets_what_is_on_its_way_end() -> None:
    """No thread is left behind, and nothing more can be sent."""
    sender = Sender()
    sending = sending_by(sender, 2)
    sending.submit("one", ids(1), heard)
    sender.wait_until_busy(1)
    sender.gate.set()
    sending.close()
    assert sender.done == ["one"]
    with pytest.raises(RuntimeError):
        sending.submit("two", ids(2), heard)


def test_a_limit_of_one_keeps_the_order() -> None:
    """One at a time is one after the other."""
    sender = Sender()
    sender.gate.set()
    sending = sending_by(sender, 1)
    for n in range(20):
        sending.submit(str(n), ids(n), heard)
    sending.drain()
    sending.close()
    assert sender.done == [str(n) for n in range(20)]


def test_what_was_returned_is_heard_in_the_thread_that_submits() -> None:
    """In the order in which the requests were sent, before `drain` returns; so nobody needs a lock."""
    found: list[tuple[str, int]] = []
    sending: InFlight[str, str] = InFlight(lambda request: request.upper(), Limit(4))
    for request in "abcdefgh":
        sending.submit(request, ids(request), lambda answer: found.append((answer, threading.get_ident())))
    sending.drain()
    sending.close()
    assert sorted(found) == [(letter, threading.get_ident()) for letter in "ABCDEFGH"]


def test_waiting_for_a_place_raises_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that waits for places is allowed more of them; one whose requests have ended before the next one comes is
    not."""
    limit = Limit()
    sender = Sender()
    sender.gate.set()
    sending = sending_by(sender, limit)
    for n in range(50):
        sending.submit(str(n), ids(n), heard)
        sending.drain()
    assert limit.now == 2
    may_end, wait = threading.Semaphore(0), in_flight.wait

    def one_ends(*arguments: Any, **named: Any) -> Any:
        """No request ends before somebody waits for one."""
        may_end.release()
        return wait(*arguments, **named)

    monkeypatch.setattr(in_flight, "wait", one_ends)
    slow = sending_by(lambda _: may_end.acquire(timeout=HANGS_AFTER_SECONDS) and None, limit)
    for n in range(200):
        slow.submit(str(n), ids(n), heard)
    slow.drain()
    for each in (sending, slow):
        each.close()
    assert limit.now == 8
