"""The fake Qdrant of the tests answers as a real one does: every scenario runs on both, and no test knows which one it
talks to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import grpc
import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as q

from tests.contract.raw import INVALID, NOT_FOUND, Qdrant, named, point, refused, text, unnamed
from tests.fake_server import FakeServer, plain, read_points
from tests.hangs import HANGS_AFTER_SECONDS
from tests.real_server import NoServerError, RealServer

UUID = "0b7e6d1a-5b9c-4c6e-8d43-2f6a3c1f9e10"


def to(collection: str, alias: str) -> Any:
    return q.AliasOperations(create_alias=q.CreateAlias(collection_name=collection, alias_name=alias))


# --- collections ------------------------------------------------------------------------------------------------------


def test_metadata_are_kept_merged_and_taken_out(qdrant: Qdrant) -> None:
    """Metadata given at creation come back; an update merges top-level keys, and a null removes its key."""
    nested = q.Value(struct_value=q.Struct(fields={"a": q.Value(integer_value=1)}))
    name = qdrant.create(metadata={"model": text("m"), "dimension": q.Value(integer_value=3), "nested": nested})
    changed = q.Value(struct_value=q.Struct(fields={"b": q.Value(double_value=0.5)}))
    update = {"model": q.Value(null_value=0), "prompt": text("p"), "nested": changed}
    assert qdrant.call("Collections/Update", q.UpdateCollection(collection_name=name, metadata=update)).result
    found = {key: plain(value) for key, value in qdrant.info(name).config.metadata.items()}
    assert found == {"dimension": 3, "prompt": "p", "nested": {"b": 0.5}}


def test_infinite_metadata_are_refused(qdrant: Qdrant) -> None:
    """Metadata are JSON, which has no infinity."""
    name = qdrant.create()
    update = q.UpdateCollection(collection_name=name, metadata={"x": q.Value(double_value=float("inf"))})
    assert refused(lambda: qdrant.call("Collections/Update", update)) == (INVALID, "cannot convert to json number")


def test_info_of_a_fresh_collection(qdrant: Qdrant) -> None:
    """The info of an empty collection is the same message, field by field, with Qdrant's defaults and what was asked
    for."""
    name = qdrant.create(
        named={"text": 3, "title": 2},
        hnsw_config=q.HnswConfigDiff(m=8),
        strict_mode_config=q.StrictModeConfig(enabled=False),
    )
    info = qdrant.info(name)
    assert info.status == q.CollectionStatus.Green
    assert info.points_count == 0
    assert {key: value.size for key, value in info.config.params.vectors_config.params_map.map.items()} == {
        "text": 3,
        "title": 2,
    }
    assert (info.config.hnsw_config.m, info.config.hnsw_config.ef_construct) == (8, 100)
    assert info.config.optimizer_config.indexing_threshold == 10000
    assert info.config.HasField("strict_mode_config")
    assert not info.config.HasField("quantization_config")


def test_the_client_understands_the_info(qdrant: Qdrant) -> None:
    """`QdrantClient` with prefer_grpc reads a collection and its points from the server."""
    name = qdrant.create(metadata={"model": text("m")})
    qdrant.upsert(name, point(1, unnamed(1, 2, 3), title="one"))
    host, port, key = qdrant.server.host, qdrant.server.grpc_port, qdrant.server.api_key
    client = QdrantClient(
        host=host, grpc_port=port, prefer_grpc=True, https=False, api_key=key, check_compatibility=False
    )
    with closing(client):
        info = client.get_collection(name)
        assert info.config.params.vectors == models.VectorParams(size=3, distance=models.Distance.DOT)
        assert info.config.metadata == {"model": "m"}
        assert client.collection_exists(name)
        assert client.count(name).count == 1
        assert client.query_points(name, query=[1.0, 0.0, 0.0], with_payload=True).points[0].payload == {"title": "one"}
        assert client.retrieve(name, [1], with_vectors=True)[0].vector == [1.0, 2.0, 3.0]


def test_a_collection_is_created_once(qdrant: Qdrant) -> None:
    """A second creation under the same name is refused."""
    name = qdrant.create("twice")
    assert refused(lambda: qdrant.create("twice")) == (
        grpc.StatusCode.ALREADY_EXISTS,
        f"Wrong input: Collection `{name}` already exists!",
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a/b", 'collection name cannot contain "/" char'),
        ("a:b", 'collection name cannot contain ":" char'),
        ("", 'value "" invalid, must be from 1 to 255 characters'),
    ],
)
def test_names_that_no_collection_can_have(qdrant: Qdrant, name: str, words: str) -> None:
    """Names that would be no directory's name are refused."""
    request = q.CreateCollection(
        collection_name=name, vectors_config=q.VectorsConfig(params=q.VectorParams(size=3, distance=q.Distance.Dot))
    )
    assert refused(lambda: qdrant.call("Collections/Create", request)) == (
        INVALID,
        f"Validation error in body: [collection_name: {words}]",
    )


def test_a_vector_without_a_size_is_refused(qdrant: Qdrant) -> None:
    """A vector needs a size and a distance."""
    words = "Validation error in body: [vectors_config.config.size: value 0 invalid, must be from 1 to 65536]"
    assert refused(lambda: qdrant.create(size=0)) == (INVALID, words)
    named_words = words.replace("config.size", "config.map.[].size")
    assert refused(lambda: qdrant.create(named={"text": 0})) == (INVALID, named_words)
    assert refused(lambda: qdrant.create(distance=q.Distance.UnknownDistance)) == (
        INVALID,
        "Malformed distance parameter: UnknownDistance",
    )


def test_list_and_delete(qdrant: Qdrant) -> None:
    """A deleted collection is listed no more; deleting it again is no error and says so."""
    name = qdrant.create()
    listed = lambda: {c.name for c in qdrant.call("Collections/List", q.ListCollectionsRequest()).collections}  # noqa: E731
    assert name in listed()
    assert qdrant.call("Collections/Delete", q.DeleteCollection(collection_name=name)).result
    assert name not in listed()
    assert not qdrant.call("Collections/Delete", q.DeleteCollection(collection_name=name)).result


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("Collections/Get", q.GetCollectionInfoRequest),
        ("Collections/Update", q.UpdateCollection),
        ("Points/Get", q.GetPoints),
        ("Points/Count", q.CountPoints),
        ("Points/Scroll", q.ScrollPoints),
    ],
)
def test_a_missing_collection(qdrant: Qdrant, method: str, request_type: Any) -> None:
    """Whoever asks for a collection that does not exist is told its name."""
    name = qdrant.name("nope")
    request = request_type(collection_name=name)
    assert refused(lambda: qdrant.call(method, request)) == (
        NOT_FOUND,
        f"Not found: Collection `{name}` doesn't exist!",
    )


def test_writing_to_a_missing_collection(qdrant: Qdrant) -> None:
    """Upserts, queries, deletes and indexes do not create a collection."""
    name, missing = qdrant.name("nope"), (NOT_FOUND, f"Not found: Collection `{qdrant.name('nope')}` doesn't exist!")
    assert refused(lambda: qdrant.upsert(name, point(1, unnamed(1, 2, 3)))) == missing
    assert refused(lambda: qdrant.upsert(name)) == missing
    ids = q.PointsSelector(points=q.PointsIdsList(ids=[q.PointId(num=1)]))
    assert refused(lambda: qdrant.call("Points/Delete", q.DeletePoints(collection_name=name, points=ids))) == missing
    assert refused(lambda: qdrant.call("Points/Query", nearest(name, 1, 2, 3))) == missing
    assert (
        refused(lambda: qdrant.call("Points/CreateFieldIndex", index(name, "x", q.FieldType.FieldTypeKeyword)))
        == missing
    )


# --- aliases ----------------------------------------------------------------------------------------------------------


def test_an_alias_stands_for_its_collection(qdrant: Qdrant) -> None:
    """Reading, writing and updating through an alias reach the collection; list and deletion do not follow it."""
    name, alias = qdrant.create("v1"), qdrant.name("alias")
    assert qdrant.alias(to(name, alias))
    qdrant.upsert(alias, point(1, unnamed(1, 2, 3)))
    qdrant.call("Collections/Update", q.UpdateCollection(collection_name=alias, metadata={"x": text("y")}))
    assert qdrant.count(name) == qdrant.count(alias) == 1
    assert qdrant.info(alias).config == qdrant.info(name).config
    assert qdrant.call("Collections/CollectionExists", q.CollectionExistsRequest(collection_name=alias)).result.exists
    assert alias not in {c.name for c in qdrant.call("Collections/List", q.ListCollectionsRequest()).collections}
    assert qdrant.aliases_of(name) == {alias}
    assert qdrant.aliases_of(alias) == set()
    assert not qdrant.call("Collections/Delete", q.DeleteCollection(collection_name=alias)).result
    assert qdrant.count(alias) == 1


def test_an_alias_switches_in_one_action(qdrant: Qdrant) -> None:
    """Creating an alias that exists points it elsewhere."""
    old, new, alias = qdrant.create("v1"), qdrant.create("v2"), qdrant.name("alias")
    qdrant.alias(to(old, alias))
    qdrant.alias(to(new, alias))
    assert qdrant.aliases_of(old) == set()
    found = {
        a.alias_name: a.collection_name for a in qdrant.call("Collections/ListAliases", q.ListAliasesRequest()).aliases
    }
    assert found[alias] == new


def test_aliases_and_collections_share_names(qdrant: Qdrant) -> None:
    """An alias cannot take a collection's name, nor a collection an alias's, nor an alias stand for an alias."""
    one, two, alias = qdrant.create("one"), qdrant.create("two"), qdrant.name("alias")
    qdrant.alias(to(one, alias))
    assert refused(lambda: qdrant.alias(to(one, two))) == (
        grpc.StatusCode.ALREADY_EXISTS,
        f"Wrong input: Collection `{two}` already exists!",
    )
    words = f"Wrong input: Can't create collection with name {alias}. Alias with the same name already exists"
    assert refused(lambda: qdrant.create("alias")) == (INVALID, words)
    other = qdrant.name("other")
    assert refused(lambda: qdrant.alias(to(alias, other))) == (
        NOT_FOUND,
        f"Not found: Collection `{alias}` doesn't exist!",
    )


def test_alias_actions_before_a_wrong_one_stay(qdrant: Qdrant) -> None:
    """Several actions in one request are done in turn: an error leaves the earlier ones done."""
    name, alias, missing = qdrant.create("v1"), qdrant.name("alias"), qdrant.name("missing")
    assert refused(lambda: qdrant.alias(to(name, alias), to(missing, qdrant.name("b"))))[0] == NOT_FOUND
    assert qdrant.aliases_of(name) == {alias}


def test_aliases_are_renamed_and_deleted(qdrant: Qdrant) -> None:
    """A missing alias can be deleted without an error, but not renamed; aliases go with their collection."""
    name, alias, other = qdrant.create("v1"), qdrant.name("alias"), qdrant.name("other")
    qdrant.alias(to(name, alias))
    rename = q.AliasOperations(rename_alias=q.RenameAlias(old_alias_name=alias, new_alias_name=other))
    assert qdrant.alias(rename)
    assert qdrant.aliases_of(name) == {other}
    assert refused(lambda: qdrant.alias(rename)) == (NOT_FOUND, f"Not found: Alias {alias} does not exists!")
    assert qdrant.alias(q.AliasOperations(delete_alias=q.DeleteAlias(alias_name=alias)))
    assert qdrant.alias()
    assert refused(lambda: qdrant.alias(q.AliasOperations())) == (INVALID, "Malformed AliasOperation type")
    qdrant.call("Collections/Delete", q.DeleteCollection(collection_name=name))
    assert other not in {a.alias_name for a in qdrant.call("Collections/ListAliases", q.ListAliasesRequest()).aliases}


# --- writing ----------------------------------------------------------------------------------------------------------


def test_points_come_back_as_they_were(qdrant: Qdrant) -> None:
    """Ids, vectors and payload values of every type survive; the last of two points with one id wins, and UUIDs become
    canonical."""
    name = qdrant.create()
    struct = q.Value(
        struct_value=q.Struct(fields={"i": q.Value(integer_value=-(2**63)), "none": q.Value(null_value=0)})
    )
    several = q.Value(list_value=q.ListValue(values=[q.Value(double_value=0.1), q.Value(bool_value=False), text("")]))
    payload = {
        "struct": struct,
        "list": several,
        "empty": q.Value(struct_value=q.Struct()),
        "": text("empty key"),
        "a.b": text("dot\0"),
        "unset": q.Value(),
    }
    reply = qdrant.upsert(
        name,
        point(2**64 - 1, unnamed(1, 2, 3), **payload),
        point(7, unnamed(1, 1, 1), title="first"),
        point(7, unnamed(3, 2, 1), title="last"),
        point(UUID.upper(), unnamed(0.1, -0.5, 1e-9)),
    )
    assert reply.status == q.UpdateStatus.Completed
    found = read_points(qdrant.channel, name, qdrant.server.api_key)
    assert list(found) == [7, 2**64 - 1, UUID]
    assert found[7].payload == {"title": "last"}
    expected = {
        "struct": {"i": -(2**63), "none": None},
        "list": [0.1, False, ""],
        "empty": {},
        "": "empty key",
        "a.b": "dot\0",
        "unset": None,
    }
    assert found[2**64 - 1].payload == expected
    assert found[2**64 - 1].message.payload["list"] == several
    np.testing.assert_array_equal(found[UUID].vectors[""], np.array([0.1, -0.5, 1e-9], np.float32))


def test_an_upsert_replaces_the_whole_point(qdrant: Qdrant) -> None:
    """What the second upsert does not name is gone: other vectors and other payload keys.

    (In a segment that a real server before 1.19 has optimised, other vectors stay, and so does the payload where the
    new point has none.)
    """
    name = qdrant.create(named={"text": 3, "title": 2})
    qdrant.upsert(name, point(1, named(text=[1, 2, 3], title=[1, 2]), a="1", b="2"))
    qdrant.upsert(name, point(1, named(title=[3, 4]), b="3"))
    found = read_points(qdrant.channel, name, qdrant.server.api_key)[1]
    assert found.payload == {"b": "3"}
    assert {key: list(vector) for key, vector in found.vectors.items()} == {"title": [3, 4]}


def test_a_point_without_vectors(qdrant: Qdrant) -> None:
    """An empty set of named vectors makes a point that is counted and read, but never found by its vector."""
    name = qdrant.create()
    qdrant.upsert(name, point(1, named(), a="x"), point(2, unnamed(1, 0, 0)))
    assert qdrant.count(name) == 2
    assert [hit.id.num for hit in qdrant.call("Points/Query", nearest(name, 1, 0, 0)).result] == [2]
    assert read_points(qdrant.channel, name, qdrant.server.api_key)[1].vectors == {}


def test_the_unnamed_vector_has_the_empty_name(qdrant: Qdrant) -> None:
    """A vector named "" is the unnamed one, and the old way to send a vector still works."""
    name = qdrant.create()
    old = q.Vectors(vector=q.Vector(data=[4, 5, 6]))
    qdrant.upsert(name, point(1, named(**{"": [1, 2, 3]})), point(2, old))
    found = read_points(qdrant.channel, name, qdrant.server.api_key)
    assert {key: list(value.vectors[""]) for key, value in found.items()} == {1: [1, 2, 3], 2: [4, 5, 6]}


@pytest.mark.parametrize("wait", [True, False])
def test_a_wrong_dimension_refuses_the_whole_request(qdrant: Qdrant, wait: bool) -> None:
    """One vector of the wrong length, and nothing of the request is written, whether the client waits or not."""
    name = qdrant.create()
    good, bad = point(1, unnamed(1, 2, 3)), point(2, unnamed(1, 2))
    words = "Wrong input: Vector dimension error: expected dim: 3, got 2"
    assert refused(lambda: qdrant.upsert(name, good, bad, wait=wait)) == (INVALID, words)
    assert qdrant.count(name) == 0


def test_a_wrong_dimension_of_a_named_vector(qdrant: Qdrant) -> None:
    """The message names the vector, and it comes before that of an unknown name."""
    name = qdrant.create(named={"text": 3, "title": 2})
    words = "Wrong input: Vector dimension error: expected dim: 3, got 1 for vector 'text'"
    assert refused(lambda: qdrant.upsert(name, point(1, named(text=[1])))) == (INVALID, words)
    assert refused(lambda: qdrant.upsert(name, point(1, named(unknown=[1])), point(2, named(text=[1])))) == (
        INVALID,
        words,
    )


def test_an_unknown_vector_name(qdrant: Qdrant) -> None:
    """Unknown names are refused, the unnamed vector too where all vectors have names. (A real server may have written
    other points of the request.)"""
    name, other = qdrant.create("named", named={"text": 3}), qdrant.create("unnamed")
    words = "Wrong input: Not existing vector name error: "
    assert refused(lambda: qdrant.upsert(name, point(1, named(text=[1, 2, 3])), point(2, named(body=[1, 2, 3])))) == (
        INVALID,
        words + "body",
    )
    assert refused(lambda: qdrant.upsert(name, point(3, unnamed(1, 2, 3)))) == (INVALID, words)
    assert refused(lambda: qdrant.upsert(other, point(4, named(text=[1, 2, 3])))) == (INVALID, words + "text")
    assert not {2, 3} & read_points(qdrant.channel, name, qdrant.server.api_key).keys()
    assert qdrant.count(other) == 0


def test_without_wait_an_unknown_name_is_lost_in_silence(qdrant: Qdrant) -> None:
    """An acknowledged upsert is no written one: this one is answered well, and nothing is written."""
    name = qdrant.create(named={"text": 3})
    assert qdrant.upsert(name, point(1, named(body=[1])), wait=False).status == q.UpdateStatus.Acknowledged
    qdrant.upsert(name, point(2, named(text=[1, 2, 3])))  # waits, and operations are done in order
    assert qdrant.count(name) == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (q.PointStruct(vectors=unnamed(1, 2, 3)), "Empty ID is not allowed"),
        (point("xyz", unnamed(1, 2, 3)), "Unable to parse UUID: xyz"),
        (q.PointStruct(id=q.PointId(num=1)), "Expected some vectors"),
        (point(1, q.Vectors()), "No Vector Provided"),
        (point(1, unnamed()), "Wrong input: points[1].vector.vector: dense vector must not be empty"),
        (point(1, named(text=[])), "Wrong input: points[1].vector.?.vector: dense vector must not be empty"),
        (
            point(1, q.Vectors(vector=q.Vector(sparse=q.SparseVector(values=[1], indices=[1])))),
            "Sparse vector must be named",
        ),
        (point(1, unnamed(1, 2, 3), x=q.Value(double_value=float("nan"))), "cannot convert to json number"),
    ],
    ids=["no id", "no UUID", "no vectors", "no vector", "empty", "empty named", "sparse", "NaN in payload"],
)
def test_points_that_are_refused(qdrant: Qdrant, wrong: Any, words: str) -> None:
    """A point that cannot be read refuses its whole request, with these words."""
    name = qdrant.create()
    assert refused(lambda: qdrant.upsert(name, point(9, unnamed(1, 2, 3)), wrong)) == (INVALID, words)
    assert qdrant.count(name) == 0


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 0.0])
def test_vectors_that_mean_nothing_are_taken(qdrant: Qdrant, number: float) -> None:
    """The server does not look at the numbers: NaN, infinity and zeros are accepted."""
    name = qdrant.create(distance=q.Distance.Cosine)
    assert qdrant.upsert(name, point(1, unnamed(number, number, number))).status == q.UpdateStatus.Completed
    assert qdrant.count(name) == 1


def test_empty_updates_are_refused(qdrant: Qdrant) -> None:
    """A request without points is refused."""
    name = qdrant.create()
    nothing = q.PointsSelector(points=q.PointsIdsList())
    assert refused(lambda: qdrant.upsert(name)) == (INVALID, "Bad request: Empty update request")
    delete = q.DeletePoints(collection_name=name, wait=True, points=nothing)
    assert refused(lambda: qdrant.call("Points/Delete", delete)) == (INVALID, "Bad request: Empty update request")
    delete = q.DeletePoints(collection_name=name, wait=True)
    assert refused(lambda: qdrant.call("Points/Delete", delete)) == (INVALID, "PointSelector is missing")


def test_strict_mode_limits_a_batch(qdrant: Qdrant) -> None:
    """A request with more points than strict mode allows is refused, and the limit can be read beforehand."""
    name = qdrant.create(strict_mode_config=q.StrictModeConfig(enabled=True, upsert_max_batchsize=2))
    assert qdrant.info(name).config.strict_mode_config.upsert_max_batchsize == 2
    words = (
        'Bad request: Limit exceeded 3 > 2 for "upsert limit". Help: Reduce the "upsert limit" parameter to or below 2.'
    )
    assert refused(lambda: qdrant.upsert(name, *[point(n, unnamed(1, 2, 3)) for n in range(3)])) == (INVALID, words)
    qdrant.upsert(name, *[point(n, unnamed(1, 2, 3)) for n in range(2)])
    assert qdrant.count(name) == 2


def test_points_are_deleted_by_id(qdrant: Qdrant) -> None:
    """Ids that are not there are no error."""
    name = qdrant.create()
    qdrant.upsert(name, point(1, unnamed(1, 2, 3)), point(2, unnamed(1, 2, 3)))
    ids = q.PointsSelector(points=q.PointsIdsList(ids=[q.PointId(num=1), q.PointId(num=99)]))
    reply = qdrant.call("Points/Delete", q.DeletePoints(collection_name=name, wait=True, points=ids))
    assert reply.result.status == q.UpdateStatus.Completed
    assert list(read_points(qdrant.channel, name, qdrant.server.api_key)) == [2]


# --- reading ----------------------------------------------------------------------------------------------------------


def test_get_answers_in_the_order_asked(qdrant: Qdrant) -> None:
    """Points come once each, in the order of the ids, without the missing ones, and by default with neither payload nor
    vectors."""
    name = qdrant.create()
    qdrant.upsert(name, *[point(n, unnamed(n, 0, 0), n=str(n)) for n in (1, 2, 3)])
    ids = [q.PointId(num=n) for n in (3, 99, 1, 3)]
    found = qdrant.call("Points/Get", q.GetPoints(collection_name=name, ids=ids)).result
    assert [p.id.num for p in found] == [3, 1]
    assert not found[0].payload
    assert not found[0].HasField("vectors")
    wrong = q.GetPoints(collection_name=name, ids=[q.PointId(uuid="xyz")])
    assert refused(lambda: qdrant.call("Points/Get", wrong)) == (INVALID, "Unable to parse UUID: xyz")


def test_parts_of_points(qdrant: Qdrant) -> None:
    """Payload can be read by path and vectors by name."""
    name = qdrant.create(named={"text": 3, "title": 2})
    sink = q.Value(struct_value=q.Struct(fields={"fingerprint": text("f"), "run": text("r")}))
    qdrant.upsert(
        name, point(1, named(text=[1, 2, 3], title=[1, 2]), **{"_sink": sink, "a": "x", "b": "y", "c.d": "z"})
    )

    def get(**what: Any) -> Any:
        return qdrant.call("Points/Get", q.GetPoints(collection_name=name, ids=[q.PointId(num=1)], **what)).result[0]

    def payload(**selector: Any) -> Any:
        return {key: plain(value) for key, value in get(with_payload=q.WithPayloadSelector(**selector)).payload.items()}

    def only(*fields: str) -> Any:
        return payload(include=q.PayloadIncludeSelector(fields=fields))

    assert only("_sink.fingerprint", "b", "no.thing", "c.d") == {"_sink": {"fingerprint": "f"}, "b": "y"}
    assert only("_sink.nothing", '"c.d"', "a.b") == {"_sink": {}, "c.d": "z", "a": "x"}
    rest = payload(exclude=q.PayloadExcludeSelector(fields=["_sink.fingerprint", "_sink.nothing", "b", "c.d", "a.b"]))
    assert rest == {"_sink": {"run": "r"}, "a": "x", "c.d": "z"}
    assert payload(enable=False) == {}
    vectors = get(
        with_vectors=q.WithVectorsSelector(include=q.VectorsSelector(names=["title"]))
    ).vectors.vectors.vectors
    assert {key: list(value.dense.data) for key, value in vectors.items()} == {"title": [1, 2]}


def test_scroll_pages_in_the_order_of_ids(qdrant: Qdrant) -> None:
    """Numbers come before UUIDs, a page names the first id of the next one, and the payload is there by default."""
    name = qdrant.create()
    qdrant.upsert(name, point(UUID, unnamed(1, 1, 1)), *[point(n, unnamed(1, 1, 1), n=str(n)) for n in (12, 5, 700)])
    first = qdrant.call("Points/Scroll", q.ScrollPoints(collection_name=name, limit=2))
    assert [plain(p.payload["n"]) for p in first.result] == ["5", "12"]
    assert first.next_page_offset.num == 700
    second = qdrant.call("Points/Scroll", q.ScrollPoints(collection_name=name, limit=2, offset=first.next_page_offset))
    assert [p.id.uuid for p in second.result] == ["", UUID]
    assert not second.HasField("next_page_offset")
    words = "Validation error in body: [limit: value 0 invalid, must be 1 or larger]"
    assert refused(lambda: qdrant.call("Points/Scroll", q.ScrollPoints(collection_name=name, limit=0))) == (
        INVALID,
        words,
    )


def nearest(collection: str, *numbers: float, **rest: Any) -> Any:
    query = q.Query(nearest=q.VectorInput(dense=q.DenseVector(data=numbers)))
    return q.QueryPoints(collection_name=collection, query=query, **rest)


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (q.Distance.Cosine, [(1, 0.9838699), (2, 0.8944272), (3, -0.6)]),
        (q.Distance.Dot, [(1, 5.5), (2, 1.0), (3, -1.5)]),
        (q.Distance.Euclid, [(2, 0.5), (3, 3.0413814), (1, 3.9051248)]),
        (q.Distance.Manhattan, [(2, 0.5), (3, 3.5), (1, 5.5)]),
    ],
    ids=["cosine", "dot", "euclid", "manhattan"],
)
def test_the_nearest_points(qdrant: Qdrant, distance: int, expected: list[tuple[int, float]]) -> None:
    """Scores and their order are those of each distance; limit and offset page through them."""
    name = qdrant.create(size=2, distance=distance)
    qdrant.upsert(name, point(1, unnamed(4, 3), n="1"), point(2, unnamed(1, 0)), point(3, unnamed(-2, 1)))
    hits = qdrant.call("Points/Query", nearest(name, 1, 0.5)).result
    assert [hit.id.num for hit in hits] == [key for key, _ in expected]
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in expected], rtol=1e-5)
    assert not hits[0].payload
    page = qdrant.call("Points/Query", nearest(name, 1, 0.5, limit=1, offset=1)).result
    assert [hit.id.num for hit in page] == [expected[1][0]]
    close = qdrant.call(
        "Points/Query",
        nearest(name, 1, 0.5, score_threshold=expected[1][1] + (-0.01 if expected[0][1] > expected[1][1] else 0.01)),
    )
    assert [hit.id.num for hit in close.result] == [key for key, _ in expected[:2]]


def test_query_by_name_and_by_id(qdrant: Qdrant) -> None:
    """A query names the vector it means; by id, the point itself is not among the answers."""
    name = qdrant.create(named={"text": 2, "title": 2})
    qdrant.upsert(
        name,
        point(1, named(text=[1, 0], title=[0, 1]), a="x"),
        point(2, named(text=[0, 1])),
        point(3, named(title=[0, 2])),
    )
    all_of_it = q.WithPayloadSelector(enable=True)
    hits = qdrant.call("Points/Query", nearest(name, 1, 0, using="text", with_payload=all_of_it)).result
    assert [(hit.id.num, hit.score) for hit in hits] == [(1, 1.0), (2, 0.0)]
    assert plain(hits[0].payload["a"]) == "x"

    def like(n: int, using: str) -> Any:
        query = q.Query(nearest=q.VectorInput(id=q.PointId(num=n)))
        return qdrant.call("Points/Query", q.QueryPoints(collection_name=name, query=query, using=using)).result

    assert [(hit.id.num, hit.score) for hit in like(1, "title")] == [(3, 2.0)]
    assert refused(lambda: like(99, "title")) == (NOT_FOUND, "Not found: No point with id 99 found")
    assert refused(lambda: like(3, "text")) == (NOT_FOUND, 'Not found: Vector with name "text" for point not found')


def test_queries_that_do_not_fit(qdrant: Qdrant) -> None:
    """Wrong lengths and unknown names are refused as in upserts."""
    name = qdrant.create(named={"text": 3})
    words = "Wrong input: Vector dimension error: expected dim: 3, got 2"
    assert refused(lambda: qdrant.call("Points/Query", nearest(name, 1, 2, using="text"))) == (INVALID, words)
    words = "Wrong input: Not existing vector name error: "
    assert refused(lambda: qdrant.call("Points/Query", nearest(name, 1, 2, 3))) == (INVALID, words)
    assert refused(lambda: qdrant.call("Points/Query", nearest(name, 1, 2, 3, using="body"))) == (
        INVALID,
        words + "body",
    )


# --- sparse vectors ---------------------------------------------------------------------------------------------------


def sparse(entries: dict[int, float]) -> Any:
    return q.Vector(sparse=q.SparseVector(indices=list(entries), values=list(entries.values())))


def both(dense: list[float] | None = None, **entries: dict[int, float]) -> Any:
    """An unnamed dense vector and named sparse ones."""
    vectors = {name: sparse(given) for name, given in entries.items()}
    return q.Vectors(
        vectors=q.NamedVectors(
            vectors={**({"": q.Vector(dense=q.DenseVector(data=dense))} if dense else {}), **vectors}
        )
    )


def with_sparse(*names: str) -> Any:
    return q.SparseVectorConfig(map={name: q.SparseVectorParams() for name in names})


def like(entries: dict[int, float]) -> Any:
    return q.Query(nearest=q.VectorInput(sparse=q.SparseVector(indices=list(entries), values=list(entries.values()))))


def sparse_hits(qdrant: Qdrant, name: str, entries: dict[int, float], **rest: Any) -> list[tuple[int, float]]:
    request = q.QueryPoints(collection_name=name, query=like(entries), using="sp", **rest)
    return [(hit.id.num, hit.score) for hit in qdrant.call("Points/Query", request).result]


def test_sparse_beside_the_unnamed_vector(qdrant: Qdrant) -> None:
    """The unnamed vector goes under the name "" where a point has a sparse one too; entries come back in the order of
    their indices."""
    name = qdrant.create(sparse_vectors_config=with_sparse("sp"))
    old = q.Vector(data=[1, 2], indices=q.SparseIndices(data=[9, 8]))
    qdrant.upsert(
        name,
        point(1, both([1, 2, 3], sp={7: 0.5, 2**32 - 1: 1.0, 0: 3.0})),
        point(2, both([1, 2, 3], sp={})),
        point(3, unnamed(1, 2, 3)),
        point(4, both(sp={2: -2.0, 3: 0.0})),
        point(5, q.Vectors(vectors=q.NamedVectors(vectors={"sp": old}))),
    )
    found = read_points(qdrant.channel, name, qdrant.server.api_key)
    assert list(found[1].sparse["sp"].items()) == [(0, 3.0), (7, 0.5), (2**32 - 1, 1.0)]
    assert {key: value.sparse.get("sp") for key, value in found.items() if key != 1} == {
        2: {},
        3: None,
        4: {2: -2.0, 3: 0.0},
        5: {8: 2.0, 9: 1.0},
    }
    assert {key: list(value.vectors) for key, value in found.items()} == {1: [""], 2: [""], 3: [""], 4: [], 5: []}


def test_a_collection_of_sparse_vectors_alone(qdrant: Qdrant) -> None:
    """No dense vector is needed; the info tells of an empty map of dense ones, and a point may have no vector at
    all."""
    request = q.CreateCollection(collection_name=qdrant.name("c"), sparse_vectors_config=with_sparse("sp"))
    assert qdrant.call("Collections/Create", request).result
    name = qdrant.name("c")
    params = qdrant.info(name).config.params
    assert params.vectors_config.HasField("params_map")
    assert list(params.sparse_vectors_config.map) == ["sp"]
    qdrant.upsert(name, point(1, both(sp={1: 1.0})), point(2, both()))
    assert sparse_hits(qdrant, name, {1: 2.0}) == [(1, 2.0)]
    assert qdrant.count(name) == 2


def test_names_of_sparse_vectors(qdrant: Qdrant) -> None:
    """A sparse vector has a name, and not that of a dense one."""
    words = "Wrong input: Sparse vector name cannot be empty"
    assert refused(lambda: qdrant.create(sparse_vectors_config=with_sparse(""))) == (INVALID, words)
    words = "Wrong input: Dense and sparse vector names must be unique - duplicate found with 'text'"
    assert refused(lambda: qdrant.create(named={"text": 3}, sparse_vectors_config=with_sparse("text"))) == (
        INVALID,
        words,
    )


@pytest.mark.parametrize(
    ("indices", "values", "words"),
    [
        ([2, 2], [1, 1], "indices: Validation error: must be unique [{}]"),
        ([2, 3], [1], "values: Validation error: must be the same length as indices [{}]"),
    ],
    ids=["twice", "lengths"],
)
def test_sparse_vectors_that_are_refused(qdrant: Qdrant, indices: list[int], values: list[float], words: str) -> None:
    """An index twice, or more indices than values, refuse the whole request and the question, wherever they stand in
    it. (Both at once come in no order.)"""
    name = qdrant.create(sparse_vectors_config=with_sparse("sp"))
    wrong = q.SparseVector(indices=indices, values=values)

    def said(place: str) -> tuple[grpc.StatusCode, str]:
        return INVALID, f"Validation error in body: [{place}.{words}]"

    bad = point(2, q.Vectors(vectors=q.NamedVectors(vectors={"sp": q.Vector(sparse=wrong)})))
    assert refused(lambda: qdrant.upsert(name, point(1, unnamed(1, 2, 3)), bad)) == said(
        "points[1].vectors.vectors_options.vectors.[]"
    )
    query = q.Query(nearest=q.VectorInput(sparse=wrong))
    asked = q.QueryPoints(collection_name=name, query=query, using="sp")
    assert refused(lambda: qdrant.call("Points/Query", asked)) == said("query.variant.variant")
    fused = fusion(name, q.PrefetchQuery(query=query, using="sp"))
    assert refused(lambda: qdrant.call("Points/Query", fused)) == said("prefetch[0].query.variant.variant")
    assert qdrant.count(name) == 0


def test_vectors_of_the_wrong_kind(qdrant: Qdrant) -> None:
    """A dense vector under a sparse one's name is refused, and the other way round, in upserts and in questions;
    without `wait` it is lost in silence."""
    name = qdrant.create(sparse_vectors_config=with_sparse("sp"))
    words = "Wrong input: Conversion between sparse and regular vectors failed"
    assert refused(lambda: qdrant.upsert(name, point(1, named(sp=[1, 2])))) == (INVALID, words)
    assert refused(
        lambda: qdrant.upsert(name, point(2, q.Vectors(vectors=q.NamedVectors(vectors={"": sparse({1: 1.0})}))))
    ) == (INVALID, words)
    assert qdrant.upsert(name, point(3, named(sp=[1, 2])), wait=False).status == q.UpdateStatus.Acknowledged
    unknown = both([1, 2, 3], nope={1: 1.0})
    assert refused(lambda: qdrant.upsert(name, point(4, unknown))) == (
        INVALID,
        "Wrong input: Not existing vector name error: nope",
    )
    assert qdrant.count(name) == 0
    assert refused(lambda: qdrant.call("Points/Query", nearest(name, 1, 2, using="sp"))) == (INVALID, words)
    assert refused(lambda: qdrant.call("Points/Query", q.QueryPoints(collection_name=name, query=like({1: 1.0})))) == (
        INVALID,
        words,
    )


def test_the_nearest_by_sparse_vectors(qdrant: Qdrant) -> None:
    """The score is the dot product; what is no product, or one of 0, is no hit; limit, offset and threshold work as
    ever."""
    name = qdrant.create(sparse_vectors_config=with_sparse("sp"))
    entries: list[dict[int, float]] = [{3: 0.0}, {2: 1.0, 3: 1.0}, {3: 1.5, 2: 2.0}, {2: -1.0}, {}]
    qdrant.upsert(
        name, *[point(n, both([1, 2, 3], sp=given)) for n, given in enumerate(entries, 1)], point(9, unnamed(1, 2, 3))
    )
    assert sparse_hits(qdrant, name, {3: 1.0}) == [(3, 1.5), (2, 1.0)]
    assert sparse_hits(qdrant, name, {3: 1.0, 2: -1.0}) == [(4, 1.0), (3, -0.5)]
    assert sparse_hits(qdrant, name, {2: 1.0}, limit=1, offset=1) == [(2, 1.0)]
    assert sparse_hits(qdrant, name, {2: 1.0}, score_threshold=1.5) == [(3, 2.0)]
    assert (
        sparse_hits(qdrant, name, {2: 0.0})
        == sparse_hits(qdrant, name, {})
        == sparse_hits(qdrant, name, {77: 1.0})
        == []
    )


def test_the_nearest_to_a_sparse_vector_of_a_point(qdrant: Qdrant) -> None:
    """By id the point itself is not among the answers, and one without the vector cannot be asked."""
    name = qdrant.create(sparse_vectors_config=with_sparse("sp"))
    qdrant.upsert(name, point(1, both(sp={1: 2.0})), point(2, both(sp={1: 1.0})), point(3, unnamed(1, 2, 3)))

    def to_point(n: int) -> list[tuple[int, float]]:
        query = q.Query(nearest=q.VectorInput(id=q.PointId(num=n)))
        return [
            (hit.id.num, hit.score)
            for hit in qdrant.call("Points/Query", q.QueryPoints(collection_name=name, query=query, using="sp")).result
        ]

    assert to_point(1) == [(2, 2.0)]
    assert refused(lambda: to_point(3)) == (NOT_FOUND, 'Not found: Vector with name "sp" for point not found')


def fusion(collection: str, *prefetch: Any, **rest: Any) -> Any:
    return q.QueryPoints(collection_name=collection, query=q.Query(fusion=q.Fusion.RRF), prefetch=prefetch, **rest)


def test_reciprocal_rank_fusion(qdrant: Qdrant) -> None:
    """A point's score is the sum of 1 / (2 + rank), ranks from 0, over the prefetches that have found it within their
    limits."""
    name = qdrant.create(sparse_vectors_config=with_sparse("sp"))
    weights = {1: 0.1, 2: 0.9, 3: 0.5}
    points = [
        point(n, both([n, 0, 0], **({"sp": {1: weights[n]}} if n in weights else {})), n=str(n)) for n in (1, 2, 3, 4)
    ]
    qdrant.upsert(name, *points)  # dense: 4, 3, 2, 1; sparse: 2, 3, 1
    dense = q.Query(nearest=q.VectorInput(dense=q.DenseVector(data=[1, 0, 0])))

    def fused(limits: tuple[int, int], **rest: Any) -> list[tuple[int, float]]:
        prefetch = [
            q.PrefetchQuery(query=dense, limit=limits[0]),
            q.PrefetchQuery(query=like({1: 1.0}), using="sp", limit=limits[1]),
        ]
        return [
            (hit.id.num, round(hit.score, 6))
            for hit in qdrant.call("Points/Query", fusion(name, *prefetch, **rest)).result
        ]

    whole = [(2, 0.75), (3, 0.666667), (4, 0.5), (1, 0.45)]  # 1/4 + 1/2, 1/3 + 1/3, 1/2, 1/5 + 1/4
    assert fused((10, 10)) == whole
    assert fused((10, 10), limit=2, offset=1) == whole[1:3]
    assert fused((1, 1)) in ([(4, 0.5), (2, 0.5)], [(2, 0.5), (4, 0.5)])  # a tie is in no order
    assert fused((10, 10), score_threshold=0.48) == whole[:3]
    assert not qdrant.call("Points/Query", fusion(name, q.PrefetchQuery(query=like({}), using="sp"))).result


def test_fusions_that_do_not_fit(qdrant: Qdrant) -> None:
    """A fusion needs prefetches, each with a limit of 1 or more and a vector that there is."""
    name = qdrant.create(sparse_vectors_config=with_sparse("sp"))
    ask = lambda *prefetch: refused(lambda: qdrant.call("Points/Query", fusion(name, *prefetch)))  # noqa: E731
    assert ask() == (INVALID, "Wrong input: Validation failed: cannot apply Fusion without prefetches")
    assert ask(q.PrefetchQuery(query=like({1: 1.0}), using="zz")) == (
        INVALID,
        "Wrong input: Not existing vector name error: zz",
    )
    words = "Validation error in body: [prefetch[0].limit: value 0 invalid, must be 1 or larger]"
    assert ask(q.PrefetchQuery(query=like({1: 1.0}), using="sp", limit=0)) == (INVALID, words)


# --- indexes ----------------------------------------------------------------------------------------------------------


def index(collection: str, name: str, kind: int | None, **rest: Any) -> Any:
    return q.CreateFieldIndexCollection(collection_name=collection, wait=True, field_name=name, field_type=kind, **rest)


def test_payload_indexes(qdrant: Qdrant) -> None:
    """Indexes of every type are in the schema, with their parameters; making one again is no error, and another type
    replaces it."""
    name = qdrant.create()
    for word, kind in q.FieldType.items():
        assert qdrant.call("Points/CreateFieldIndex", index(name, word, kind)).result.status == q.UpdateStatus.Completed
    tenant = q.PayloadIndexParams(keyword_index_params=q.KeywordIndexParams(is_tenant=True))
    qdrant.call(
        "Points/CreateFieldIndex", index(name, "tenant", q.FieldType.FieldTypeKeyword, field_index_params=tenant)
    )
    for kind in (q.FieldType.FieldTypeKeyword, q.FieldType.FieldTypeKeyword, q.FieldType.FieldTypeInteger):
        qdrant.call("Points/CreateFieldIndex", index(name, "again", kind))
    schema = qdrant.info(name).payload_schema
    expected = {word: word.removeprefix("FieldType") for word in q.FieldType.keys()}  # noqa: SIM118 - an enum wrapper is no dict
    found = {field: q.PayloadSchemaType.Name(found.data_type) for field, found in schema.items()}
    assert found == {**expected, "tenant": "Keyword", "again": "Integer"}
    assert schema["tenant"].params.keyword_index_params.is_tenant


def test_indexes_that_are_refused(qdrant: Qdrant) -> None:
    """An index needs a field and a type."""
    name = qdrant.create()
    assert refused(lambda: qdrant.call("Points/CreateFieldIndex", index(name, "x", None))) == (
        INVALID,
        "cannot convert field_type",
    )
    words = 'Validation error in body: [field_name: value "" invalid, must be at least 1 characters]'
    assert refused(lambda: qdrant.call("Points/CreateFieldIndex", index(name, "", q.FieldType.FieldTypeKeyword))) == (
        INVALID,
        words,
    )


# --- the key ----------------------------------------------------------------------------------------------------------


@pytest.fixture(
    params=[pytest.param(FakeServer, id="fake"), pytest.param(RealServer, id="real", marks=pytest.mark.qdrant)]
)
def guarded(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server that wants a key; a real one only from a binary."""
    try:
        server = request.param(api_key="sesame")
    except NoServerError as error:
        pytest.skip(str(error))
    with server:
        yield server


def test_the_key_is_checked(guarded: Any) -> None:
    """Without the right key only the health check is answered; the key may come as `api-key` or as a bearer token."""
    with closing(grpc.insecure_channel(f"{guarded.host}:{guarded.grpc_port}")) as channel:

        def ask(*metadata: tuple[str, str]) -> Any:
            return q.CollectionsStub(channel).List(
                q.ListCollectionsRequest(), metadata=metadata, timeout=HANGS_AFTER_SECONDS
            )

        assert q.QdrantStub(channel).HealthCheck(q.HealthCheckRequest()).version
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED
        assert refused(ask) == (unauthenticated, "Must provide an API key or an Authorization bearer token")
        assert refused(lambda: ask(("api-key", "wrong"))) == (unauthenticated, "Invalid API key or JWT")
        assert not ask(("api-key", "sesame")).collections
        assert not ask(("authorization", "Bearer sesame")).collections
