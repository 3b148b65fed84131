"""What a task does with the answers to everything but plain upserts: the same end, whatever went wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.store.qdrant import QdrantStore, reconcile
from spark_vector_sink.store.write_batch import How, Removal, Sent, Stored
from tests.fake_server import FakeServer
from tests.qdrant_tasks import Place, batch, place_on

IDS = list(range(60))
LATER = [11 + n % 3 for n in IDS]

Act = Callable[[QdrantStore, Place], Sent]
ACTS: dict[str, tuple[str, Act]] = {
    "replace": (
        "Points/Upsert",
        lambda task, place: task.submit(batch(place, IDS, versions=LATER, value=2.0, text="new")),
    ),
    "merge": (
        "Points/UpdateBatch",
        lambda task, place: task.submit(batch(place, IDS, how=How.MERGE, versions=LATER, value=2.0, text="new")),
    ),
    "payload": (
        "Points/UpdateBatch",
        lambda task, place: task.submit(batch(place, IDS, how=How.PAYLOAD, versions=LATER, text="new")),
    ),
    "patch": (
        "Points/UpdateBatch",
        lambda task, place: task.submit(batch(place, IDS, how=How.PATCH, versions=LATER, text="new")),
    ),
    "tombstone": (
        "Points/UpdateBatch",
        lambda task, place: task.submit(batch(place, IDS, how=How.TOMBSTONE, versions=LATER, sink={"deleted": 5})),
    ),
    "delete": ("Points/Delete", lambda task, place: task.delete(Removal(IDS))),
    "delete older": ("Points/UpdateBatch", lambda task, place: task.delete(Removal(IDS, np.array(LATER, np.int64)))),
    "touch": ("Points/SetPayload", lambda task, place: task.touch(IDS, {"run": "r2"})),
}


@pytest.fixture
def place(fake_server: FakeServer) -> Place:
    return filled(fake_server)


def filled(server: FakeServer) -> Place:
    """A collection with the points, of version 10, optimised, but for the last two."""
    place = place_on(server)
    with place.task() as task:
        task.submit(batch(place, IDS[:-2], versions=[10] * len(IDS[:-2]), text="old"))
        task.flush()
    place.optimise()
    return place


def done(place: Place, act: Act, **options: Any) -> tuple[Sent, int]:
    """What became of the points, and how often something was sent again."""
    with place.task(batch_points=20, **options) as task:
        sent = act(task, place)
        task.flush()
        return sent, task.retries


def contents(place: Place) -> dict[Any, Any]:
    return {
        key: (point.payload, {name: vector.tolist() for name, vector in point.vectors.items()})
        for key, point in place.points().items()
    }


@pytest.mark.parametrize(
    "kind",
    ["unavailable", "applied_then_unavailable", "rate_limit", "deadline", "internal", "wait_timeout", "acknowledged"],
)
@pytest.mark.parametrize("name", ACTS)
def test_what_may_heal_is_sent_again(place: Place, fake_server: FakeServer, name: str, kind: str) -> None:
    """The end is that of a day without trouble, also where the first try was applied and its reply lost: nothing is
    said to be older. What the first try has deleted is not there for the second, which is answered so."""
    method, act = ACTS[name]
    fake_server.fault(method, kind, times=2, **({"seconds": 0.05} if kind == "deadline" else {}))
    sent, retries = done(place, act)
    troubled = contents(place)
    gone = name == "delete older" and kind in ("applied_then_unavailable", "wait_timeout", "acknowledged")
    assert (sent.is_done, sent.older, sent.refused, retries) == (True, set(), {}, 1 if gone else 2)
    fresh = filled(fake_server)
    done(fresh, act)
    assert contents(fresh) == troubled


@pytest.mark.parametrize("operations", [1, 2, 3])
@pytest.mark.parametrize("name", ["merge", "tombstone", "patch"])
def test_a_batch_that_stopped_half_way(place: Place, fake_server: FakeServer, name: str, operations: int) -> None:
    """Is sent again as a whole, to the same end."""
    method, act = ACTS[name]
    fake_server.fault(method, "unavailable", times=1, applied=True, operations=operations)
    sent, _ = done(place, act)
    points = place.points()
    assert (sent.older, sent.refused) == (set(), {})
    assert all(points[n].payload["_sink"]["version"] == LATER[n] for n in (IDS if name != "patch" else IDS[:-2]))
    if name == "tombstone":
        assert place.found(IDS) == set()
    else:
        assert {point.payload["text"] for point in points.values()} == {"new"}
    if name == "merge":
        assert {float(point.vectors[""][0]) for point in points.values()} == {2.0}


@pytest.mark.parametrize("name", ACTS)
def test_requests_that_are_too_large_are_halved(place: Place, fake_server: FakeServer, name: str) -> None:
    """Each half holds its own points and versions, and what the server says of the size is kept in mind."""
    method, act = ACTS[name]
    done(place, act)
    whole = contents(place)
    other = filled(fake_server)
    fake_server.fault(method, "too_large", times=None, more_than=3)
    sent, _ = done(other, act)
    assert (sent.older, sent.refused) == (set(), {})
    assert contents(other) == whole


@pytest.mark.parametrize("name", ["replace", "merge", "payload", "tombstone"])
def test_a_refused_point_is_found_among_the_others(place: Place, fake_server: FakeServer, name: str) -> None:
    """By halving; all others are written."""
    method, act = ACTS[name]
    fake_server.fault(method, "invalid", times=None, ids=[7, 33])
    sent, _ = done(place, act)
    assert sent.refused.keys() == {7, 33}
    assert all(
        "INVALID_ARGUMENT Wrong input: something is wrong with a point" in words for words in sent.refused.values()
    )
    versions = {n: point.payload["_sink"]["version"] for n, point in place.points().items()}
    assert versions == {n: 10 if n in (7, 33) else LATER[n] for n in IDS if n in versions}


@pytest.mark.parametrize("how", [How.PAYLOAD, How.PATCH])
@pytest.mark.parametrize("ids", [IDS[:20], IDS[-20:]], ids=["all there", "two missing"])
def test_only_where_a_point_is_missing_it_is_asked_which_are_there(
    place: Place, fake_server: FakeServer, how: How, ids: list[int]
) -> None:
    """A server refuses a request that names a point it has not; the others get what was meant for them, and that is no
    retry."""
    before = fake_server.stats().calls
    sent, retries = done(place, lambda task, place: task.submit(batch(place, ids, how=how, text="new")))
    points, calls = place.points(), fake_server.stats().calls
    lacks = not {*ids} <= points.keys()
    assert (sent.is_done, sent.refused, retries) == (True, {}, 0)
    assert {points[n].payload["text"] for n in ids if n in points} == {"new"}
    assert calls["Points/Get"] - before.get("Points/Get", 0) == lacks


def test_points_that_are_all_missing_are_let_be(place: Place, fake_server: FakeServer) -> None:
    """Nothing is sent for none of them."""
    sent, retries = done(place, lambda task, _: task.touch(IDS[-2:], {"run": "r2"}))
    assert (sent.is_done, retries) == (True, 0)
    assert place.points().keys() == set(IDS[:-2])


def test_an_older_point_is_told_from_a_refused_one(place: Place, fake_server: FakeServer) -> None:
    """Each is one of them at most."""
    fake_server.fault("Points/Upsert", "invalid", times=None, ids=[7])
    sent, _ = done(place, lambda task, place: task.submit(batch(place, IDS[:20], versions=[9, 10] * 10)))
    assert sent.refused.keys() == {7}
    assert sent.older == set(range(0, 20, 2))


def test_reading_is_tried_again(place: Place, fake_server: FakeServer) -> None:
    """What was written says so by version even where the server is away for the question about it."""
    fake_server.fault("Points/Get", "unavailable", times=2)
    with place.task() as task:
        assert task.stored([0, 59]) == {0: Stored(version=10)}
        assert task.retries == 2
        fake_server.fault("Points/Get", "unavailable", times=1)
        sent = task.submit(batch(place, [0, 1], versions=[9, 11]))
        task.flush()
        assert (sent.older, task.retries) == ({0}, 3)


def test_a_failure_while_reading_names_the_question(place: Place, fake_server: FakeServer) -> None:
    """In one line, for somebody who does not know what the job reads."""
    fake_server.fault("Points/Get", "internal", times=None)
    with (
        place.task(retry_max_seconds="1") as task,
        pytest.raises(PermanentStoreError, match=r"^reading '.*' on .* failed: INTERNAL Service internal error"),
    ):
        task.stored([0])


def test_a_missing_payload_index_ends_the_job_at_once(place: Place, fake_server: FakeServer) -> None:
    """Strict mode wants one for filters: no single point is to blame."""
    words = (
        'Bad request: Index required but not found for "_sink.version" of one of the following types: [float, integer].'
    )
    fake_server.fault("Points/UpdateBatch", "invalid", times=None, message=words)
    with place.task() as task:
        task.delete(Removal([0, 1], np.array([11, 11], np.int64)))
        with pytest.raises(
            PermanentStoreError, match=r"; create that payload index, or let strict mode take updates without one$"
        ):
            task.flush()
    assert fake_server.stats().calls["Points/UpdateBatch"] == 1


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("unavailable", {}),
        ("applied_then_unavailable", {}),
        ("acknowledged", {"applied": False}),
        ("wait_timeout", {"applied": False}),
    ],
    ids=str,
)
def test_a_full_load_removes_what_is_missing_in_spite_of_trouble(
    fake_server: FakeServer, kind: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page; one that was removed, though the reply was lost, is no trouble for the next try. Nothing is removed
    without being named."""
    monkeypatch.setattr(reconcile, "POINTS_AT_ONCE", 7)
    place = place_on(fake_server)
    with place.task() as task:
        task.submit(batch(place, IDS, sink={"source": "s", "run": "1"}))
        task.submit(batch(place, [*range(100, 120)], sink={"source": "s", "run": "2"}))
        task.flush()
    with place.driver() as driver:
        assert driver.missing(place.target, "s", "2") == (60, 80)
        fake_server.fault("Points/UpdateBatch", kind, times=2, **more)
        driver.purge(place.target, "s", "2")
        assert driver.missing(place.target, "s", "2") == (0, 20)
    assert place.points().keys() == {*range(100, 120)}
    assert "Points/Delete" not in fake_server.stats().calls
