"""Updates of points while a real Qdrant begins to optimise and is stopped, again and again, as every new vector or setting of a collection makes it:
older copies of points lie about in other segments then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from qdrant_client import models

from spark_vector_sink.store.points import How
from tests.qdrant_tasks import Place, batch, place_on

pytestmark = pytest.mark.qdrant

POINTS, ROUNDS = range(400), 4


@contextmanager
def restarts(place: Place) -> Iterator[None]:
    """The server's optimisers are told to stop and to begin anew, about ten times a second."""
    done = threading.Event()

    def restart() -> None:
        with place.client() as client:
            while not done.wait(0.1):
                client.update_collection(place.name, optimizers_config=models.OptimizersConfigDiff(flush_interval_sec=5))

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


CHANGES = [(how, versioned) for how in (How.MERGE, How.PAYLOAD, How.PATCH, How.TOMBSTONE) for versioned in (False, True)]


@pytest.mark.parametrize(("how", "versioned"), CHANGES[:-2] + CHANGES[-1:])  # a tombstone always has a version
def test_no_point_loses_what_it_has(qdrant_server: Any, how: How, versioned: bool) -> None:
    """All points are written anew, and then changed; each has what the last change has left it, whatever else it had."""
    config = {"optimizers_config": models.OptimizersConfigDiff(indexing_threshold=1, default_segment_number=1)}
    place = place_on(qdrant_server, "named", **config)
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
                expected = {How.MERGE: {"title": n + 1.0, "body": -1.0}, How.TOMBSTONE: {}}.get(how, {"title": n + 1.0, "body": n + 1.0})
                assert {name: vector[0] for name, vector in point.vectors.items()} == expected
                own = dict(point.payload)
                sink = own.pop("_sink")
                assert sink.pop("run") == f"r{n}"
                assert sink == {**({"version": 2 * n + 2} if versioned else {}), **({"deleted": n} if how is How.TOMBSTONE else {})}
                theirs = {} if how is How.TOMBSTONE else {"theirs": n}
                assert own == (theirs if how in (How.PAYLOAD, How.TOMBSTONE) else {"mine": n, **theirs})
