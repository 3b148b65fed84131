"""What a task does to points that are there, on the tests' own server and on a real one, on fresh points and on those
that were optimised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.store.write_batch import LARGEST_VERSION, How, PointBatch, Removal, Sent, Stored
from tests.qdrant_tasks import INDEXES_OF_A_FULL_LOAD, NAMES, Place, batch, place_on

SERVERS = ["fake", pytest.param("real", marks=pytest.mark.qdrant)]
OLD = list(range(1000))
"""Enough of them for the real optimiser."""


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("fake_server" if request.param == "fake" else "qdrant_server")


@pytest.fixture(params=["fresh", "optimised"])
def place(request: pytest.FixtureRequest, server: Any) -> Iterator[Place]:
    """A collection with points of version 10 and old payload, of which the tests write the first ones."""
    return filled(place_on(server), optimised=request.param == "optimised")


def filled(place: Place, *, optimised: bool = True) -> Place:
    write(
        place,
        batch(place, OLD, versions=[10] * len(OLD), text="old", other="old", sink={"fingerprint": "f", "chunks": 1}),
    )
    if optimised:
        place.optimise()
    return place


def write(place: Place, *batches: PointBatch, **options: Any) -> Sent:
    """Of the last one, what became of it."""
    with place.task(**options) as task:
        sent = [task.submit(points) for points in batches]
        task.flush()
    assert sent[-1].is_done
    return sent[-1]


def value(place: Place, point: int, name: str = "") -> float:
    return float(place.points()[point].vectors[name][0])


def test_only_points_that_are_not_newer_are_replaced(place: Place) -> None:
    """Each is compared with its own version on the server: greater and equal ones win, less ones lose, missing points
    come in, those without a version go."""
    with place.client() as client:
        client.overwrite_payload(place.name, {"text": "theirs"}, [4])
    sent = write(place, batch(place, [0, 1, 2, 4, 9_000], versions=[9, 10, 11, 1, 5], value=2.0, text="new"))
    assert (sent.older, sent.refused) == ({0}, {})
    points = place.points()
    assert [points[n].payload["text"] for n in (0, 1, 2, 3, 4, 9_000)] == ["old", "new", "new", "old", "new", "new"]
    assert [points[n].payload["_sink"]["version"] for n in (0, 1, 2, 4, 9_000)] == [10, 10, 11, 1, 5]
    assert [float(points[n].vectors[""][0]) for n in (0, 1)] == [1.0, 2.0]
    assert "other" not in points[1].payload


def test_a_version_that_cannot_be_compared_exactly_is_refused(place: Place) -> None:
    """The server compares doubles: beyond 2⁵³ an older row could win."""
    write(place, batch(place, [0], versions=[LARGEST_VERSION]))
    with pytest.raises(
        PermanentStoreError,
        match=r"^the version 9007199254740993 is beyond ±9007199254740992, where the server compares exactly; "
        r"give smaller",
    ):
        write(place, batch(place, [0], versions=[LARGEST_VERSION + 1]))


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("versions", [None, [11, 11]], ids=["without versions", "with versions"])
def test_a_tombstone_leaves_nothing_that_a_search_finds(server: Any, kind: str, versions: list[int] | None) -> None:
    """No vector, named, unnamed or sparse, and none of the old payload; also where the server has optimised what was
    there."""
    place = filled(place_on(server, kind))
    assert place.found([0, 1, 2]) == {0, 1, 2}
    sent = write(place, batch(place, [0, 1], how=How.TOMBSTONE, versions=versions, sink={"deleted": 5}))
    assert sent.older == set()
    assert place.found([0, 1, 2]) == {2}
    points = place.points()
    for point in (0, 1):
        assert (points[point].vectors, points[point].sparse) == ({}, {})
        assert points[point].payload == {"_sink": {"deleted": 5, **({"version": 11} if versions else {})}}


def test_a_tombstone_loses_against_an_equal_version(place: Place) -> None:
    """And against a greater one; missing points become tombstones, so that a late event cannot bring them."""
    sent = write(place, batch(place, [0, 1, 2, 9_000], how=How.TOMBSTONE, versions=[9, 10, 11, 5], sink={"deleted": 5}))
    assert sent.older == {0, 1}
    assert place.found([0, 1, 2, 9_000]) == {0, 1}
    assert {n for n, point in place.points().items() if "deleted" in point.payload["_sink"]} == {2, 9_000}
    late = write(place, batch(place, [2, 9_000], versions=[10, 4]))
    assert late.older == {2, 9_000}
    assert write(place, batch(place, [2], how=How.TOMBSTONE, versions=[11], sink={"deleted": 5})).older == set(), (
        "the same tombstone once more"
    )
    write(place, batch(place, [2], versions=[12], value=3.0))
    assert place.found([0, 1, 2, 9_000]) == {0, 1, 2}


@pytest.mark.parametrize("versions", [None, [10, 11, 9, 1]], ids=["without versions", "with versions"])
def test_payload_alone_is_replaced(place: Place, versions: list[int] | None) -> None:
    """As a whole; vectors stay, and where there is no point none is made."""
    sent = write(
        place, batch(place, [0, 1, 2, 9_000], how=How.PAYLOAD, versions=versions, sink={"fingerprint": "g"}, text="new")
    )
    points = place.points()
    assert sent.older == ({2} if versions else set())
    assert 9_000 not in points
    assert points[0].payload == {"text": "new", "_sink": {"fingerprint": "g", **({"version": 10} if versions else {})}}
    assert [points[n].payload["text"] for n in (1, 2, 3)] == ["new", "old" if versions else "new", "old"]
    assert value(place, 0) == 1.0


@pytest.mark.parametrize("versions", [None, [10, 11, 9, 1]], ids=["without versions", "with versions"])
def test_single_keys_are_set(place: Place, versions: list[int] | None) -> None:
    """Of the payload and of `_sink`; everything else stays, and where there is no point none is made."""
    sent = write(
        place, batch(place, [0, 1, 2, 9_000], how=How.PATCH, versions=versions, sink={"fingerprint": "g"}, text="new")
    )
    points = place.points()
    assert sent.older == ({2} if versions else set())
    assert 9_000 not in points
    assert points[0].payload == {
        "text": "new",
        "other": "old",
        "_sink": {"fingerprint": "g", "chunks": 1, "version": 10},
    }
    assert points[1].payload["_sink"]["version"] == (11 if versions else 10)
    assert points[2].payload["text"] == ("old" if versions else "new")
    assert value(place, 0) == 1.0


@pytest.mark.parametrize("optimised", [False, True], ids=["fresh", "optimised"])
@pytest.mark.parametrize("versions", [None, [10, 11, 9, 1]], ids=["without versions", "with versions"])
def test_merging_leaves_what_others_own(server: Any, optimised: bool, versions: list[int] | None) -> None:
    """Other named vectors, other keys and other fields of `_sink`; new ids come in whole."""
    place = filled(place_on(server, "named"), optimised=optimised)
    merged = batch(
        place,
        [0, 1, 2, 9_000],
        how=How.MERGE,
        versions=versions,
        names=["title"],
        value=2.0,
        sink={"fingerprint": "g"},
        text="new",
    )
    sent = write(place, merged)
    points = place.points()
    assert sent.older == ({2} if versions else set())
    assert {name: float(v[0]) for name, v in points[0].vectors.items()} == {"title": 2.0, "body": 1.0}
    assert points[0].payload == {
        "text": "new",
        "other": "old",
        "_sink": {"fingerprint": "g", "chunks": 1, "version": 10},
    }
    assert points[1].payload["_sink"]["version"] == (11 if versions else 10)
    assert float(points[2].vectors["title"][0]) == (1.0 if versions else 2.0)
    assert points[2].payload["text"] == ("old" if versions else "new")
    assert {name: float(v[0]) for name, v in points[9_000].vectors.items()} == {"title": 2.0}
    assert points[9_000].payload == {
        "text": "new",
        "_sink": {"fingerprint": "g", **({"version": 1} if versions else {})},
    }


def test_merging_into_a_tombstone_makes_it_a_point_again(place: Place) -> None:
    """It is found, and no longer counts as deleted."""
    write(place, batch(place, [0], how=How.TOMBSTONE, versions=[11], sink={"deleted": 5}))
    write(place, batch(place, [0], how=How.MERGE, versions=[12], sink={"fingerprint": "g"}, text="new"))
    assert place.points()[0].payload == {"text": "new", "_sink": {"fingerprint": "g", "version": 12}}
    assert place.found([0]) == {0}


def test_touching_sets_fields_of_ours_and_nothing_else(place: Place) -> None:
    """On the points that are there."""
    with place.task() as task:
        sent = task.touch([0, 1, 9_000], {"run": "r2", "seen": 3})
        task.flush()
    points = place.points()
    assert sent.is_done
    assert 9_000 not in points
    assert points[1].payload == {
        "text": "old",
        "other": "old",
        "_sink": {"fingerprint": "f", "chunks": 1, "version": 10, "run": "r2", "seen": 3},
    }
    assert "run" not in points[2].payload["_sink"]


def test_points_are_removed(place: Place) -> None:
    """In any case, or where the version is less; ids that are not there do no harm."""
    with place.task() as task:
        task.delete(Removal([0, 9_000]))
        sent = task.delete(Removal([1, 2, 3, 9_000], np.array([9, 10, 11, 11], np.int64)))
        task.flush()
    assert {0, 3}.isdisjoint(place.points())
    assert {1, 2} <= place.points().keys()
    assert sent.older == {1, 2}


def test_what_is_stored_is_told(place: Place) -> None:
    """Of the points that are there, in as many requests as it takes; a point of somebody else says nothing."""
    write(place, batch(place, [1], how=How.TOMBSTONE, versions=[12], sink={"deleted": 5}))
    with place.client() as client:
        client.overwrite_payload(place.name, {"text": "theirs"}, [2])
        client.overwrite_payload(
            place.name, {"_sink": {"version": None, "chunks": "many", "deleted": None, "fingerprint": 3}}, [3]
        )
    with place.task() as task:
        stored = task.stored([*OLD, 9_000, "550e8400-e29b-41d4-a716-446655440000", *range(10_000, 12_000)])
    assert stored.keys() == set(OLD)
    assert (stored[0], stored[1]) == (Stored("f", 10, 1), Stored(version=12, deleted=True))
    assert (stored[2], stored[3]) == (Stored(), Stored())


def test_documents_that_a_run_has_not_seen(server: Any) -> None:
    """Are counted without their further chunks and without tombstones, and removed with all chunks; other sources
    stay."""
    place = place_on(server)
    seen, gone = {"source": "s", "run": "2"}, {"source": "s", "run": "1"}
    write(
        place,
        batch(place, [1, 2], sink=seen),
        *(batch(place, [10 + chunk], sink={**seen, "chunk": chunk, "chunks": 2}) for chunk in range(2)),
        batch(place, [3], sink=gone),
        *(batch(place, [20 + chunk], sink={**gone, "chunk": chunk, "chunks": 3}) for chunk in range(3)),
        batch(place, [4], sink={**gone, "source": "t"}),
        batch(place, [5, 6], how=How.TOMBSTONE, sink={**gone, "deleted": 50}),
        batch(place, [7], text="theirs"),
    )
    with place.driver() as driver:
        assert driver.missing(place.target, "s", "2") == (2, 5)
        driver.purge(place.target, "s", "2")
        assert driver.missing(place.target, "s", "2") == (0, 3)
        assert place.points().keys() == {1, 2, 10, 11, 4, 5, 6, 7}
        driver.purge_tombstones(place.target, 49)
        assert {5, 6} <= place.points().keys()
        driver.purge_tombstones(place.target, 50)
    assert place.points().keys() == {1, 2, 10, 11, 4, 7}


def test_the_indexes_that_a_full_load_needs(server: Any) -> None:
    """Are of types that the server has."""
    place = place_on(server)
    with place.client() as client:
        for field, kind in INDEXES_OF_A_FULL_LOAD.items():
            client.create_payload_index(place.name, field, kind, wait=True)
        assert client.get_collection(place.name).payload_schema.keys() == INDEXES_OF_A_FULL_LOAD.keys()


def test_what_touches_the_same_points_is_applied_in_order(place: Place) -> None:
    """Whatever it is; a removal holds up what comes for the documents it names, too."""
    with place.task(max_in_flight="8", batch_points=1) as task:
        for turn in range(5):
            task.delete(Removal([0, 1], documents=[2]))
            task.submit(batch(place, [0, 1, 2], sink={"chunks": 1}, text=f"turn {turn}"))
            task.submit(batch(place, [0, 1], how=How.PATCH, other=f"turn {turn}"))
            task.touch([0, 1], {"run": f"turn {turn}"})
            task.wait_for({0, 1})
            assert place.points()[0].payload == {
                "text": f"turn {turn}",
                "other": f"turn {turn}",
                "_sink": {"chunks": 1, "run": f"turn {turn}"},
            }
        task.flush()
