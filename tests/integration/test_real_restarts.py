"""Updates and removals of points while a real Qdrant begins to optimise and is stopped, again and again, as every new
vector or setting of a collection makes it: older copies of points lie about in other segments then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from spark_vector_sink.store.write_batch import How, Removal
from tests.qdrant_tasks import Place, batch, place_on

pytestmark = pytest.mark.qdrant

POINTS, ROUNDS = range(400), 4
BUSY = {"optimizers_config": models.OptimizersConfigDiff(indexing_threshold=1, default_segment_number=1)}
"""There is always something to optimise."""


@contextmanager
def restarts(place: Place) -> Iterator[None]:
    """The server's optimisers are told to stop and to begin anew, about ten times a second."""
    done = threading.Event()

    def restart() -> None:
        with place.client() as client:
            while not done.wait(0.1):
                client.update_collection(
                    place.name, optimizers_config=models.OptimizersConfigDiff(flush_interval_sec=5)
                )

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


CHANGES = [
    (how, versioned) for how in (How.MERGE, How.PAYLOAD, How.PATCH, How.TOMBSTONE) for versioned in (False, True)
]


@pytest.mark.parametrize(("how", "versioned"), CHANGES[:-2] + CHANGES[-1:])  # a tombstone always has a version
def test_no_point_loses_what_it_has(qdrant_server: Any, how: How, versioned: bool) -> None:
    """All points are written anew, and then changed; each has what the last change has left it, whatever else it
    had."""
    place = place_on(qdrant_server, "named", **BUSY)
    with place.task() as task, restarts(place):
        for n in range(ROUNDS):
            before, after = ([2 * n + step] * len(POINTS) if versioned else None for step in (1, 2))
            task.submit(batch(place, POINTS, versions=before, value=n + 1.0, mine=n))
            task.flush()
            if how is How.MERGE:
                task.submit(batch(place, POINTS, how=how, versions=after, names=["body"], value=-1.0, theirs=n))
            elif how is How.TOMBSTONE:
                task.submit(batch(place, POINTS, how=how, versions=after, sink={"deleted": n}))
            else:
                task.submit(batch(place, POINTS, how=how, versions=after, theirs=n))
            task.flush()
            task.touch(POINTS, {"run": f"r{n}"})
            task.flush()
            points = place.points()
            assert points.keys() == set(POINTS)
            for point in points.values():
                expected = {How.MERGE: {"title": n + 1.0, "body": -1.0}, How.TOMBSTONE: {}}.get(
                    how, {"title": n + 1.0, "body": n + 1.0}
                )
                assert {name: vector[0] for name, vector in point.vectors.items()} == expected
                own = dict(point.payload)
                sink = own.pop("_sink")
                assert sink.pop("run") == f"r{n}"
                assert sink == {
                    **({"version": 2 * n + 2} if versioned else {}),
                    **({"deleted": n} if how is How.TOMBSTONE else {}),
                }
                theirs = {} if how is How.TOMBSTONE else {"theirs": n}
                assert own == (theirs if how in (How.PAYLOAD, How.TOMBSTONE) else {"mine": n, **theirs})


def test_what_a_run_has_seen_is_not_missing(qdrant_server: Any) -> None:
    """Older copies say that another run was the last to see them: they are not counted, and removing what is missing
    leaves all of these points."""
    place = place_on(qdrant_server, "named", **BUSY)
    with place.task() as task, place.driver() as driver:
        with restarts(place):
            task.submit(batch(place, POINTS, value=1.0, sink={"source": "s", "run": "r0"}))
            task.flush()
            for n in range(1, 2 * ROUNDS):
                time.sleep(0.15)
                task.touch(POINTS[:-1], {"run": f"r{n}"})
                task.flush()
                for seconds in (0, 0.2):
                    time.sleep(seconds)
                    assert driver.missing(place.target, "s", f"r{n}") == (1, len(POINTS))
        driver.purge(place.target, "s", f"r{n}")  # the server forgets removals when it is stopped after them
    assert settled(place).keys() == set(POINTS[:-1])


def test_a_removal_of_older_points_leaves_newer_ones(qdrant_server: Any) -> None:
    """Though older copies of them are older."""
    place = place_on(qdrant_server, "named", **BUSY)
    with place.task() as task, restarts(place):
        for n in range(2 * ROUNDS):
            before, after = 10 * n + 1, 10 * n + 5
            for version in (before, after):
                task.submit(batch(place, POINTS, versions=[version] * len(POINTS), value=float(version)))
                task.flush()
                time.sleep(0.15)
            sent = task.delete(Removal([*POINTS, 9_000], np.full(len(POINTS) + 1, before + 2, np.int64)))
            task.flush()
            assert (sent.is_done, sent.older) == (True, set(POINTS))
            time.sleep(0.3)
            assert [point.payload["_sink"]["version"] for point in place.points().values()] == [after] * len(POINTS)
    assert len(settled(place)) == len(POINTS)


def test_tombstones_that_go_leave_what_is_alive_again(qdrant_server: Any) -> None:
    """And nothing of the documents that they have buried comes back, once the server has been left to itself for the
    removal."""
    place = place_on(qdrant_server, "named", **BUSY)
    alive = set(POINTS[:100])
    with place.task() as task, place.driver() as driver:
        with restarts(place):
            for n in range(ROUNDS):
                for how, ids, version, sink in (
                    (How.REPLACE, POINTS, 3 * n + 1, {}),
                    (How.TOMBSTONE, POINTS, 3 * n + 2, {"deleted": n}),
                    (How.REPLACE, POINTS[:100], 3 * n + 3, {}),
                ):
                    task.submit(
                        batch(place, ids, how=how, versions=[version] * len(ids), value=float(version), sink=sink)
                    )
                    task.flush()
            driver.purge_tombstones(place.target, ROUNDS - 2)  # those are all replaced by later ones
            assert len(place.points()) == len(POINTS)
        driver.wait_for_index(place.target)
        driver.purge_tombstones(place.target, ROUNDS)
    points = settled(place)
    assert points.keys() == alive
    assert {point.payload["_sink"]["version"] for point in points.values()} == {3 * ROUNDS}


def settled(place: Place) -> Any:
    """The points, once the server has nothing left to optimise."""
    with place.driver() as driver:
        driver.wait_for_index(place.target)
    return place.points()
