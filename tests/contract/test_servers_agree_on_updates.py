"""Conditional upserts, deletes, payload and vector updates, batches and filters: the fake Qdrant answers as a real one
does."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from qdrant_client import grpc as q

from tests.contract.raw import (
    INVALID,
    NOT_FOUND,
    Qdrant,
    has_id,
    ids,
    named,
    of_json,
    older,
    operation,
    point,
    refused,
    those,
    unnamed,
    where,
)
from tests.real_server import is_before

OPTIMISED = {"optimizers_config": q.OptimizersConfigDiff(indexing_threshold=1, default_segment_number=1)}
"""A collection that a real server's optimiser looks at from 1 kB of vectors on"""

KEYWORD_X = where("s", match=q.Match(keyword="x"))
NOWHERE = "No point with id 99 found"


def payloads(qdrant: Qdrant, name: str) -> dict[int | str, Any]:
    return {key: found.payload for key, found in qdrant.points(name).items()}


def vectors(qdrant: Qdrant, name: str, key: int) -> dict[str, list[float]]:
    return {word: [float(number) for number in vector] for word, vector in qdrant.points(name)[key].vectors.items()}


def found_by_vector(qdrant: Qdrant, name: str, *numbers: float, **rest: Any) -> list[int]:
    query = q.Query(nearest=q.VectorInput(dense=q.DenseVector(data=numbers)))
    return sorted(
        hit.id.num
        for hit in qdrant.call(
            "Points/Query", q.QueryPoints(collection_name=name, query=query, limit=1000, **rest)
        ).result
    )


def versioned(key: int, version: int, vector: Any = None, **fields: Any) -> Any:
    return point(key, unnamed(1, 0, 0) if vector is None else vector, _sink={"version": version, **fields})


def payload_update(name: str, selector: Any, key: str | None = None, wait: bool = True, **payload: Any) -> Any:
    given = {word: of_json(value) for word, value in payload.items()}
    return q.SetPayloadPoints(collection_name=name, wait=wait, payload=given, points_selector=selector, key=key)


# --- conditional upserts ----------------------------------------------------------------------------------------------


def test_each_point_is_compared_with_its_own_version(qdrant: Qdrant) -> None:
    """One upsert: older points are replaced, newer and equal ones stay, missing ones are inserted, and those without a
    version are replaced."""
    name = qdrant.create()
    qdrant.upsert(
        name,
        versioned(1, 1),
        versioned(2, 5),
        versioned(3, 3),
        point(4, unnamed(1, 0, 0), a="x"),
        point(5, unnamed(1, 0, 0), _sink={}),
    )
    new = {1: 2, 2: 4, 3: 3, 4: 1, 5: 1, 6: 1}
    reply = qdrant.upsert(
        name, *[versioned(key, version, new=True) for key, version in new.items()], update_filter=older(new)
    )
    assert reply.status == q.UpdateStatus.Completed
    replaced = {key for key, payload in payloads(qdrant, name).items() if payload["_sink"].get("new")}
    assert replaced == {1, 4, 5, 6}
    assert payloads(qdrant, name)[4] == {"_sink": {"version": 1, "new": True}}


def test_a_condition_is_judged_by_what_was_there_before(qdrant: Qdrant) -> None:
    """Of two points with one id in a conditional request the last one wins, be it older; so it must not be sent
    twice."""
    name = qdrant.create()
    qdrant.upsert(name, versioned(1, 1))
    condition = older({1: 9, 2: 9})
    qdrant.upsert(name, versioned(1, 8), versioned(1, 7), versioned(2, 8), versioned(2, 7), update_filter=condition)
    assert [payload["_sink"]["version"] for payload in payloads(qdrant, name).values()] == [7, 7]


def test_insert_only_and_update_only(qdrant: Qdrant) -> None:
    """`insert_only` leaves every point alone that is there, whatever the filter; `update_only` writes those that are
    there and match."""
    name = qdrant.create()
    qdrant.upsert(name, versioned(1, 1), versioned(2, 5))
    insert = {"update_mode": q.UpdateMode.InsertOnly}
    qdrant.upsert(name, versioned(1, 7), versioned(3, 7), versioned(3, 8), **insert)
    qdrant.upsert(name, versioned(1, 8), versioned(4, 8), update_filter=older({1: 8, 4: 8}), **insert)
    assert {key: payload["_sink"]["version"] for key, payload in payloads(qdrant, name).items()} == {
        1: 1,
        2: 5,
        3: 8,
        4: 8,
    }
    qdrant.upsert(name, versioned(1, 9), versioned(5, 9), update_mode=q.UpdateMode.UpdateOnly)
    new = {1: 4, 2: 6, 6: 6}
    qdrant.upsert(
        name,
        *[versioned(key, version) for key, version in new.items()],
        update_mode=q.UpdateMode.UpdateOnly,
        update_filter=older(new),
    )
    assert {key: payload["_sink"]["version"] for key, payload in payloads(qdrant, name).items()} == {
        1: 9,
        2: 6,
        3: 8,
        4: 8,
    }


def test_an_empty_condition_is_none(qdrant: Qdrant) -> None:
    """A filter without conditions lets everything through."""
    name = qdrant.create()
    qdrant.upsert(name, versioned(1, 5))
    qdrant.upsert(name, versioned(1, 1), update_filter=q.Filter())
    assert payloads(qdrant, name) == {1: {"_sink": {"version": 1}}}


def test_what_is_wrong_in_a_conditional_upsert(qdrant: Qdrant) -> None:
    """A wrong dimension is refused whatever the condition, an unknown vector name only where it would be written."""
    name = qdrant.create(named={"text": 3})
    qdrant.upsert(name, versioned(1, 5, named(text=[1, 2, 3])))
    late = older({1: 1})
    words = "Wrong input: Vector dimension error: expected dim: 3, got 1 for vector 'text'"
    assert refused(lambda: qdrant.upsert(name, versioned(1, 1, named(text=[1])), update_filter=late)) == (
        INVALID,
        words,
    )
    assert qdrant.upsert(name, versioned(1, 1, named(nope=[1])), update_filter=late).status == q.UpdateStatus.Completed
    words = "Wrong input: Not existing vector name error: nope"
    assert refused(lambda: qdrant.upsert(name, versioned(1, 6, named(nope=[1])), update_filter=older({1: 6}))) == (
        INVALID,
        words,
    )
    assert refused(lambda: qdrant.upsert(name, update_filter=late)) == (INVALID, "Bad request: Empty update request")
    assert payloads(qdrant, name) == {1: {"_sink": {"version": 5}}}


# --- tombstones and optimised segments --------------------------------------------------------------------------------


def tombstone(key: int, version: int) -> Any:
    return versioned(key, version, named(), deleted=1)


def test_a_tombstone_is_counted_and_not_found(qdrant: Qdrant) -> None:
    """An upsert without vectors leaves a point that has none: a late row does not bring it back, a newer one does."""
    name = qdrant.create()
    qdrant.upsert(name, versioned(1, 1), versioned(2, 1))
    qdrant.upsert(name, tombstone(1, 5), tombstone(3, 5), update_filter=older({1: 5, 3: 5}))
    assert qdrant.count(name) == 3
    assert found_by_vector(qdrant, name, 1, 0, 0) == [2]
    qdrant.upsert(name, versioned(1, 4), versioned(3, 6), update_filter=older({1: 4, 3: 6}))
    assert found_by_vector(qdrant, name, 1, 0, 0) == [2, 3]
    assert payloads(qdrant, name)[1] == {"_sink": {"version": 5, "deleted": 1}}


@pytest.fixture
def optimised(qdrant: Qdrant) -> str:
    """A collection with two vectors, `text` and `title`, of whose 60 points all lie in a segment that the optimiser has
    built."""
    name = qdrant.create(named={"text": 8, "title": 2}, **OPTIMISED)
    qdrant.upsert(name, *[versioned(key, 1, named(text=[1] * 8, title=[3, 4]), run="r") for key in range(60)])
    qdrant.optimise(name)
    return name


@pytest.mark.parametrize("condition", [{}, {"update_filter": older({1: 2, 2: 2, 3: 2})}], ids=["plain", "conditional"])
def test_an_upsert_leaves_the_other_vectors_of_an_optimised_point(
    qdrant: Qdrant, optimised: str, condition: dict[str, Any]
) -> None:
    """Until Qdrant 1.19, vectors that the upsert does not name survive, and so does the payload where the upsert has
    none; a second upsert, and every one from 1.19 on, replaces everything."""
    new = [versioned(1, 2, named(text=[2] * 8)), versioned(2, 2, named()), point(3, named(title=[5, 6]))]
    qdrant.upsert(optimised, *new, **condition)
    if is_before(qdrant.server, (1, 19)):
        assert [vectors(qdrant, optimised, key) for key in (1, 2, 3)] == [
            {"text": [2] * 8, "title": [3, 4]},
            {"text": [1] * 8, "title": [3, 4]},
            {"text": [1] * 8, "title": [5, 6]},
        ]
        assert [payloads(qdrant, optimised)[key] for key in (1, 2, 3)] == [{"_sink": {"version": 2}}] * 2 + [
            {"_sink": {"version": 1, "run": "r"}}
        ]
        assert 2 in found_by_vector(qdrant, optimised, *[1] * 8, using="text")
        qdrant.upsert(optimised, *new)
    assert [vectors(qdrant, optimised, key) for key in (1, 2, 3)] == [{"text": [2] * 8}, {}, {"title": [5, 6]}]
    assert [payloads(qdrant, optimised)[key] for key in (1, 2, 3)] == [{"_sink": {"version": 2}}] * 2 + [{}]


def test_a_tombstone_over_an_optimised_point(qdrant: Qdrant, optimised: str) -> None:
    """Clean: first delete what is older, by filter, then upsert under the same condition, in one batch. A newer point
    is left alone by both."""
    qdrant.upsert(optimised, versioned(2, 9, named(text=[1] * 8)))
    condition = older({1: 5, 2: 5, 99: 5})
    gone = q.Filter(must=[has_id(1, 2, 99), q.Condition(filter=condition)])
    stones = [tombstone(key, 5) for key in (1, 2, 99)]
    done = qdrant.batch(
        optimised,
        operation("delete_points", points=those(gone)),
        operation("upsert", points=stones, update_filter=condition),
    )
    assert [result.status for result in done] == [q.UpdateStatus.Completed] * 2
    left = {"title": [3, 4]} if is_before(qdrant.server, (1, 19)) else {}
    assert [vectors(qdrant, optimised, key) for key in (1, 2, 99)] == [{}, {"text": [1] * 8, **left}, {}]
    assert [payloads(qdrant, optimised)[key]["_sink"]["version"] for key in (1, 2, 99)] == [5, 9, 5]
    assert 1 not in found_by_vector(qdrant, optimised, *[1] * 8, using="text")
    assert qdrant.count(optimised) == 61


@pytest.mark.parametrize("kind", ["set_payload", "overwrite_payload", "update_vectors", "delete_vectors"])
def test_other_updates_do_to_an_optimised_point_what_they_say(qdrant: Qdrant, optimised: str, kind: str) -> None:
    """They change what they name and nothing else, and an upsert after them replaces everything."""
    update, expected = {
        "set_payload": (
            {"points_selector": ids(1), "key": "_sink", "payload": {"run": of_json("s")}},
            (1, 2, {"version": 1, "run": "s"}),
        ),
        "overwrite_payload": ({"points_selector": ids(1), "payload": {"_sink": of_json({})}}, (1, 2, {})),
        "update_vectors": (
            {"points": [q.PointVectors(id=q.PointId(num=1), vectors=named(text=[9] * 8))]},
            (9, 2, {"version": 1, "run": "r"}),
        ),
        "delete_vectors": (
            {"points_selector": ids(1), "vectors": q.VectorsSelector(names=["title"])},
            (1, 0, {"version": 1, "run": "r"}),
        ),
    }[kind]
    qdrant.batch(optimised, operation(kind, **update))
    found = vectors(qdrant, optimised, 1)
    assert (found["text"][0], len(found.get("title", [])), payloads(qdrant, optimised)[1]["_sink"]) == expected
    qdrant.upsert(optimised, tombstone(1, 2))
    assert vectors(qdrant, optimised, 1) == {}


# --- payload and vectors ----------------------------------------------------------------------------------------------


def test_payload_is_merged_key_by_key(qdrant: Qdrant) -> None:
    """At the top, or in an object, which is made where there is none; other keys stay, a null takes its key out, and
    objects are not gone into."""
    name = qdrant.create()
    qdrant.upsert(
        name,
        point(1, unnamed(1, 0, 0), _sink={"version": 1, "run": "a", "x": 1}, t="t"),
        point(2, unnamed(1, 0, 0), t="u"),
    )

    def put(*keys: int, key: str | None = None, **payload: Any) -> Any:
        qdrant.call("Points/SetPayload", payload_update(name, ids(*keys), key, **payload))
        return payloads(qdrant, name)

    merged = {1: {"_sink": {"version": 1, "run": "b"}, "t": "t"}, 2: {"_sink": {"run": "b"}, "t": "u"}}
    assert put(1, 2, key="_sink", run="b", x=None) == merged
    assert put(1, t=None, n=[1, None])[1] == {"_sink": {"version": 1, "run": "b"}, "n": [1, None]}
    assert put(2, key="t", x=1)[2] == {"_sink": {"run": "b"}, "t": {"x": 1}}
    assert put(2, key="a.b", y=1)[2]["a"] == {"b": {"y": 1}}
    assert put(1, _sink={"only": None})[1]["_sink"] == {"only": None}
    assert put(2)[2]["t"] == {"x": 1}


def test_payload_is_overwritten_as_a_whole(qdrant: Qdrant) -> None:
    """Nothing of the old payload is left, the vectors stay; `key` means nothing, and nulls are kept."""
    name = qdrant.create()
    qdrant.upsert(name, point(1, unnamed(1, 0, 0), _sink={"version": 1}, t="t"))
    qdrant.call("Points/OverwritePayload", payload_update(name, ids(1), "_sink", n=None, m=2))
    assert payloads(qdrant, name) == {1: {"n": None, "m": 2}}
    qdrant.call("Points/OverwritePayload", payload_update(name, ids(1)))
    assert payloads(qdrant, name) == {1: {}}
    assert vectors(qdrant, name, 1) == {"": [1, 0, 0]}


def test_named_vectors_are_changed_one_by_one(qdrant: Qdrant) -> None:
    """Updates and deletes of one vector leave the others and the payload; a condition chooses among the points that are
    there."""
    name = qdrant.create(named={"text": 3, "title": 2})
    qdrant.upsert(name, point(1, named(text=[1, 2, 3]), s="x"), point(2, named(text=[1, 2, 3])))
    new = [q.PointVectors(id=q.PointId(num=key), vectors=named(title=[7, 8])) for key in (1, 2)]
    request = q.UpdatePointVectors(
        collection_name=name, wait=True, points=new, update_filter=q.Filter(must=[KEYWORD_X])
    )
    qdrant.call("Points/UpdateVectors", request)
    assert [vectors(qdrant, name, key) for key in (1, 2)] == [{"text": [1, 2, 3], "title": [7, 8]}, {"text": [1, 2, 3]}]
    gone = q.DeletePointVectors(
        collection_name=name, wait=True, points_selector=ids(1, 2), vectors=q.VectorsSelector(names=["title"])
    )
    qdrant.call("Points/DeleteVectors", gone)
    assert vectors(qdrant, name, 1) == {"text": [1, 2, 3]}
    assert payloads(qdrant, name) == {1: {"s": "x"}, 2: {}}


def test_ids_that_are_not_there(qdrant: Qdrant) -> None:
    """Payload and vector updates by id are done to the points that are there, and answered with an error; without
    `wait` nobody hears of it.

    Chosen by a filter, those that are not there are no error.
    """
    name = qdrant.create()
    qdrant.upsert(name, point(1, unnamed(1, 0, 0), s="x"))
    missing = (NOT_FOUND, f"Not found: {NOWHERE}")
    assert refused(lambda: qdrant.call("Points/SetPayload", payload_update(name, ids(99, 1), n=1))) == missing
    assert payloads(qdrant, name) == {1: {"s": "x", "n": 1}}
    assert refused(lambda: qdrant.call("Points/OverwritePayload", payload_update(name, ids(1, 99), n=2))) == missing
    assert payloads(qdrant, name) == {1: {"n": 2}}
    new = [q.PointVectors(id=q.PointId(num=key), vectors=unnamed(0, 0, key)) for key in (99, 1)]
    update = q.UpdatePointVectors(
        collection_name=name, wait=True, points=new, update_filter=q.Filter(must=[where("n", is_empty=False)])
    )
    assert refused(lambda: qdrant.call("Points/UpdateVectors", update)) == missing
    assert vectors(qdrant, name, 1) == {"": [0, 0, 1]}
    gone = q.DeletePointVectors(
        collection_name=name, wait=True, points_selector=ids(1, 99), vectors=q.VectorsSelector(names=[""])
    )
    assert refused(lambda: qdrant.call("Points/DeleteVectors", gone)) == missing
    assert vectors(qdrant, name, 1) == {}
    chosen = those(q.Filter(must=[has_id(1, 99)]))
    assert qdrant.call("Points/SetPayload", payload_update(name, chosen, n=3)).result.status == q.UpdateStatus.Completed
    unheard = qdrant.call("Points/SetPayload", payload_update(name, ids(1, 99), wait=False, m=4))
    assert unheard.result.status == q.UpdateStatus.Acknowledged
    qdrant.upsert(name, point(2, unnamed(1, 0, 0)))  # waits, and operations are done in order
    assert payloads(qdrant, name)[1] == {"n": 3, "m": 4}


def test_updates_that_are_refused(qdrant: Qdrant) -> None:
    """Updates need to be told which points and which vectors, and payload is JSON."""
    name = qdrant.create(named={"text": 3})
    qdrant.upsert(name, point(1, named(text=[1, 2, 3])))

    def put(selector: Any, **payload: Any) -> Any:
        return refused(lambda: qdrant.call("Points/SetPayload", payload_update(name, selector, **payload)))

    assert put(None, n=1) == (INVALID, "points_selector is expected")
    assert put(q.PointsSelector(), n=1) == (INVALID, "Malformed PointsSelector type")
    assert put(ids(), n=1) == (INVALID, "Bad request: Empty update request")
    assert put(ids(1), key="", n=1) == (INVALID, "Invalid json path: ''")
    assert put(ids(1), n=float("nan")) == (INVALID, "cannot convert to json number")

    def change(**fields: Any) -> tuple[grpc.StatusCode, str]:
        given = q.PointVectors(**{"id": q.PointId(num=1), "vectors": named(text=[1, 2, 3]), **fields})
        request = q.UpdatePointVectors(collection_name=name, wait=True, points=[given])
        return refused(lambda: qdrant.call("Points/UpdateVectors", request))

    assert change(id=None) == (INVALID, "id is expected")
    assert change(vectors=None) == (INVALID, "vectors is expected")
    assert change(vectors=named(text=[1])) == (INVALID, "Wrong input: Vector dimension error: expected dim: 3, got 1")
    assert change(vectors=named(nope=[1])) == (INVALID, "Wrong input: Not existing vector name error: nope")
    gone = q.DeletePointVectors(
        collection_name=name, wait=True, points_selector=ids(1), vectors=q.VectorsSelector(names=["nope"])
    )
    assert refused(lambda: qdrant.call("Points/DeleteVectors", gone)) == (
        INVALID,
        "Wrong input: Not existing vector name error: nope",
    )
    gone.ClearField("vectors")
    assert refused(lambda: qdrant.call("Points/DeleteVectors", gone)) == (INVALID, "vectors is expected")
    missing = (NOT_FOUND, f"Not found: Collection `{qdrant.name('nope')}` doesn't exist!")
    assert (
        refused(lambda: qdrant.call("Points/SetPayload", payload_update(qdrant.name("nope"), ids(1), n=1))) == missing
    )


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_done_in_its_order(qdrant: Qdrant) -> None:
    """Each operation sees what the earlier ones have done, and has a reply of its own."""
    name = qdrant.create(named={"text": 3, "title": 2})
    qdrant.upsert(name, point(1, named(text=[1, 2, 3]), s="x"), point(2, named(text=[1, 2, 3]), s="y"))
    done = qdrant.batch(
        name,
        operation("delete_points", points=ids(1)),
        operation("upsert", points=[point(1, named(title=[1, 2]), s="z")], update_mode=q.UpdateMode.InsertOnly),
        operation("set_payload", points_selector=ids(1), payload={"n": of_json(1)}),
        operation("update_vectors", points=[q.PointVectors(id=q.PointId(num=1), vectors=named(text=[4, 5, 6]))]),
        operation("delete_vectors", points_selector=ids(1), vectors=q.VectorsSelector(names=["title"])),
        operation(
            "overwrite_payload",
            points_selector=those(q.Filter(must=[where("s", match=q.Match(keyword="y"))])),
            payload={"m": of_json(2)},
        ),
    )
    assert [result.status for result in done] == [q.UpdateStatus.Completed] * 6
    assert payloads(qdrant, name) == {1: {"s": "z", "n": 1}, 2: {"m": 2}}
    assert vectors(qdrant, name, 1) == {"text": [4, 5, 6]}


def test_a_batch_ends_at_its_first_error(qdrant: Qdrant) -> None:
    """What is before it stays done, what is after it is not; without `wait` everything else is done, and nobody hears
    of the error."""
    name = qdrant.create()
    first, last = (operation("upsert", points=[point(key, unnamed(1, 0, 0))]) for key in (1, 2))
    for wrong, expected in (
        (
            operation("set_payload", points_selector=ids(99), payload={"n": of_json(1)}),
            (NOT_FOUND, f"Not found: {NOWHERE}"),
        ),
        (operation("upsert", points=[q.PointStruct(vectors=unnamed(1, 0, 0))]), (INVALID, "Empty ID is not allowed")),
        (operation("delete_points"), (INVALID, "PointSelector is missing")),
        (q.PointsUpdateOperation(), (INVALID, "Operation is missing")),
    ):
        qdrant.upsert(name, point(9, unnamed(1, 0, 0)))
        assert refused(lambda wrong=wrong: qdrant.batch(name, first, wrong, last)) == expected
        assert payloads(qdrant, name).keys() == {1, 9}
        qdrant.batch(name, operation("delete_points", points=those(q.Filter())))
    done = qdrant.batch(
        name, first, operation("set_payload", points_selector=ids(1, 99), payload={"n": of_json(1)}), last, wait=False
    )
    assert [result.status for result in done] == [q.UpdateStatus.Acknowledged] * 3
    qdrant.upsert(name, point(9, unnamed(1, 0, 0)))  # waits, and operations are done in order
    assert payloads(qdrant, name) == {1: {"n": 1}, 2: {}, 9: {}}
    words = "Validation error in body: [operations: value [] invalid, must be at least 1 characters]"
    assert refused(lambda: qdrant.batch(name)) == (INVALID, words)


# --- filters ----------------------------------------------------------------------------------------------------------

DOCUMENTS: dict[int, dict[str, Any]] = {
    1: {"v": 1, "s": "x", "l": ["a", "b"], "o": {"p": 1, "q": [{"r": 1}]}, "_sink": {"version": 3}},
    2: {"v": 2.5, "s": "y", "l": [], "n": None, "b": True},
    3: {"v": [1, 9], "l": [1, 2], "b": [False], "n": [None]},
    4: {"s": ["x", "z"], "b": "true", "v": "1"},
    5: {"v": 2**53 + 1, "o": "str", "dot.ted": 1, "l": None},
    6: {},
    7: {"o": [{"p": 1}], "b": 1, "v": True, "s": 1},
}
EVERYTHING = list(DOCUMENTS)


def strings(*given: str) -> Any:
    return q.RepeatedStrings(strings=given)


def integers(*given: int) -> Any:
    return q.RepeatedIntegers(integers=given)


def match(key: str, **what: Any) -> Any:
    return where(key, match=q.Match(**what))


FILTERS: list[tuple[str, Any, list[int]]] = [
    ("a word", KEYWORD_X, [1, 4]),
    ("a whole number", match("v", integer=1), [1, 3]),
    ("no whole number", match("v", integer=2), []),
    ("true", match("b", boolean=True), [2]),
    ("false", match("b", boolean=False), [3]),
    ("one of words", match("s", keywords=strings("x", "y")), [1, 2, 4]),
    ("one of no words", match("s", keywords=strings()), []),
    ("one of numbers", match("v", integers=integers(9, 7)), [3]),
    ("other than a word", match("s", except_keywords=strings("x")), [2, 4, 7]),
    ("other than a number", match("v", except_integers=integers(1)), [2, 3, 4, 5, 7]),
    ("other than a word in a list", match("l", except_keywords=strings("a")), [1, 3]),
    ("other than nothing", match("s", except_keywords=strings()), [1, 2, 4, 7]),
    ("in an object", match("o.p", integer=1), [1]),
    ("a list on the way", match("o.q.r", integer=1), []),
    ("a key with a dot", match('"dot.ted"', integer=1), [5]),
    ("no key with a dot", match("dot.ted", integer=1), []),
    ("less", where("v", range=q.Range(lt=2)), [1, 3]),
    ("between", where("v", range=q.Range(gte=1, lte=2.5)), [1, 2, 3]),
    ("in no list's gap", where("v", range=q.Range(gt=5, lt=8)), []),
    ("more, as float64", where("v", range=q.Range(gt=2**53)), []),
    ("no bounds", where("v", range=q.Range()), [1, 2, 3, 5]),
    ("the version", where("_sink.version", range=q.Range(lte=3)), [1]),
    ("no version", where("_sink.version", is_empty=True), [2, 3, 4, 5, 6, 7]),
    ("empty", where("l", is_empty=True), [2, 4, 5, 6, 7]),
    ("empty, as a condition", q.Condition(is_empty=q.IsEmptyCondition(key="l")), [2, 4, 5, 6, 7]),
    ("not empty", where("l", is_empty=False), [1, 3]),
    ("empty, though a list of null is not", where("n", is_empty=True), [1, 2, 4, 5, 6, 7]),
    ("null", where("n", is_null=True), [2, 3]),
    ("null, as a condition", q.Condition(is_null=q.IsNullCondition(key="l")), [5]),
    ("not null", where("n", is_null=False), [1, 4, 5, 6, 7]),
    ("two tests, of which one is enough", where("v", match=q.Match(integer=1), range=q.Range(gt=5)), [1, 3, 5]),
    ("ids", has_id(3, 99, 1), [1, 3]),
    ("no ids", has_id(), []),
    ("a vector", q.Condition(has_vector=q.HasVectorCondition(has_vector="text")), [1, 3, 5, 7]),
    ("no vector", q.Condition(has_vector=q.HasVectorCondition(has_vector="nope")), []),
    ("not", q.Condition(filter=q.Filter(must_not=[KEYWORD_X])), [2, 3, 5, 6, 7]),
    ("or", q.Condition(filter=q.Filter(should=[KEYWORD_X, has_id(6)])), [1, 4, 6]),
    ("and", q.Condition(filter=q.Filter(must=[KEYWORD_X, has_id(4, 6)])), [4]),
    (
        "ids in one of two",
        q.Condition(filter=q.Filter(should=[has_id(1), q.Condition(filter=q.Filter(must=[has_id(4, 5), KEYWORD_X]))])),
        [1, 4],
    ),
    (
        "and, or, not",
        q.Condition(filter=q.Filter(must=[has_id(1, 2, 3)], should=[KEYWORD_X, has_id(2)], must_not=[has_id(1)])),
        [2],
    ),
    (
        "two of three",
        q.Condition(
            filter=q.Filter(min_should=q.MinShould(conditions=[KEYWORD_X, has_id(4, 6), has_id(1)], min_count=2))
        ),
        [1, 4],
    ),
    ("nothing", q.Condition(filter=q.Filter()), EVERYTHING),
]


@pytest.fixture(scope="module")
def library() -> list[Any]:
    """Points of every kind; the odd ones have the vector `text`, the others `title`."""
    return [
        point(key, named(text=[1, 2]) if key % 2 else named(title=[1, 2]), **payload)
        for key, payload in DOCUMENTS.items()
    ]


def test_filters(qdrant: Qdrant, library: list[Any]) -> None:
    """Each condition chooses the same points, whoever asks: scroll and count."""
    name = qdrant.create(named={"text": 2, "title": 2})
    qdrant.upsert(name, *library)
    for what, condition, expected in FILTERS:
        given = q.Filter(must=[condition])
        found = qdrant.call("Points/Scroll", q.ScrollPoints(collection_name=name, filter=given, limit=100)).result
        assert [hit.id.num for hit in found] == expected, what
        assert qdrant.call(
            "Points/Count", q.CountPoints(collection_name=name, filter=given, exact=True)
        ).result.count == len(expected), what


def test_filters_that_are_refused(qdrant: Qdrant) -> None:
    """A condition needs a field and something to look for, and ids are ids."""
    name = qdrant.create()
    count = lambda condition: refused(  # noqa: E731
        lambda: qdrant.call("Points/Count", q.CountPoints(collection_name=name, filter=q.Filter(must=[condition])))
    )
    assert count(match("s")) == (INVALID, "Malformed Match condition")
    assert count(match("", keyword="x")) == (INVALID, "Invalid json path: ''")
    assert count(q.Condition(has_id=q.HasIdCondition(has_id=[q.PointId(uuid="zz")]))) == (
        INVALID,
        "Unable to parse UUID: zz",
    )


def test_pages_of_a_filter(qdrant: Qdrant, library: list[Any]) -> None:
    """A scroll goes through the matches in the order of their ids, and names the next one."""
    name = qdrant.create(named={"text": 2, "title": 2})
    qdrant.upsert(name, *library)
    request = q.ScrollPoints(collection_name=name, filter=q.Filter(must_not=[KEYWORD_X]), limit=2)
    pages = []
    while True:
        page = qdrant.call("Points/Scroll", request)
        pages.append([hit.id.num for hit in page.result])
        if not page.HasField("next_page_offset"):
            break
        request.offset.CopyFrom(page.next_page_offset)
    assert pages == [[2, 3], [5, 6], [7]]


def test_a_filter_of_a_question(qdrant: Qdrant, library: list[Any]) -> None:
    """Only points that match are found, by a vector and in each part of a fusion."""
    name = qdrant.create(named={"text": 2, "title": 2})
    qdrant.upsert(name, *library)
    given = q.Filter(must=[where("v", range=q.Range(lt=2))])
    assert found_by_vector(qdrant, name, 1, 2, using="text", filter=given) == [1, 3]
    query = q.Query(nearest=q.VectorInput(dense=q.DenseVector(data=[1, 2])))
    fused = q.QueryPoints(
        collection_name=name,
        query=q.Query(fusion=q.Fusion.RRF),
        prefetch=[q.PrefetchQuery(query=query, using="text", filter=given)],
    )
    assert {hit.id.num for hit in qdrant.call("Points/Query", fused).result} == {1, 3}


def test_points_are_deleted_by_filter(qdrant: Qdrant, library: list[Any]) -> None:
    """What does not match stays; a filter that nothing matches is no error."""
    name = qdrant.create(named={"text": 2, "title": 2})
    qdrant.upsert(name, *library)
    for condition, left in ((match("s", keyword="nobody"), EVERYTHING), (KEYWORD_X, [2, 3, 5, 6, 7])):
        request = q.DeletePoints(collection_name=name, wait=True, points=those(q.Filter(must=[condition])))
        assert qdrant.call("Points/Delete", request).result.status == q.UpdateStatus.Completed
        assert list(payloads(qdrant, name)) == left


# --- new vectors ------------------------------------------------------------------------------------------------------


def new_vector(collection: str, name: str, size: int | None, distance: int = q.Distance.Dot) -> Any:
    """A dense vector, or, without a size, a sparse one."""
    if size is None:
        config: dict[str, Any] = {"sparse_config": q.SparseVectorCreationConfig()}
    else:
        config = {"dense_config": q.DenseVectorCreationConfig(size=size, distance=distance)}
    return q.CreateVectorNameRequest(collection_name=collection, wait=True, vector_name=name, **config)


def test_a_vector_is_added_to_a_live_collection(qdrant: Qdrant) -> None:
    """Beside an unnamed one, too: the info then tells of named ones. Points get it one by one, and keep what they
    have."""
    name = qdrant.create()
    qdrant.upsert(name, point(1, unnamed(1, 2, 3), s="x"))
    for word, size in (("new", 2), ("sp", None), ("new", 2)):
        assert (
            qdrant.call("Points/CreateVectorName", new_vector(name, word, size)).result.status
            == q.UpdateStatus.Completed
        )
    params = qdrant.info(name).config.params
    assert {word: vector.size for word, vector in params.vectors_config.params_map.map.items()} == {"": 3, "new": 2}
    assert list(params.sparse_vectors_config.map) == ["sp"]
    qdrant.batch(
        name, operation("update_vectors", points=[q.PointVectors(id=q.PointId(num=1), vectors=named(new=[4, 5]))])
    )
    assert vectors(qdrant, name, 1) == {"": [1, 2, 3], "new": [4, 5]}
    assert payloads(qdrant, name) == {1: {"s": "x"}}
    assert found_by_vector(qdrant, name, 1, 1, using="new") == [1]


def test_vectors_that_cannot_be_added(qdrant: Qdrant) -> None:
    """A name is that of one vector; a dense one has a size and a distance."""
    name = qdrant.create(named={"text": 3})
    qdrant.call("Points/CreateVectorName", new_vector(name, "sp", None))

    def said(request: Any) -> tuple[grpc.StatusCode, str]:
        return refused(lambda: qdrant.call("Points/CreateVectorName", request))

    assert said(new_vector(name, "text", 4)) == (
        INVALID,
        "Wrong input: Vector `text` already exists with a different configuration",
    )
    assert said(new_vector(name, "text", None)) == (
        INVALID,
        "Wrong input: Vector `text` already exists as a dense vector",
    )
    assert said(new_vector(name, "sp", 4)) == (INVALID, "Wrong input: Vector `sp` already exists as a sparse vector")
    words = "Validation error in body: [vector_config.size: value 0 invalid, must be from 1 to 65536]"
    assert said(new_vector(name, "x", 0)) == (INVALID, words)
    assert said(new_vector(name, "x", 3, q.Distance.UnknownDistance)) == (
        INVALID,
        "Malformed distance parameter: UnknownDistance",
    )
    words = "vector_config is required (dense_config or sparse_config)"
    assert said(q.CreateVectorNameRequest(collection_name=name, vector_name="x")) == (INVALID, words)
    assert said(new_vector(qdrant.name("nope"), "x", 3)) == (
        NOT_FOUND,
        f"Not found: Collection `{qdrant.name('nope')}` doesn't exist!",
    )
