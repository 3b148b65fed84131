"""Custom sharding, on the in-test server and on a real Qdrant in cluster mode: each row goes to the shards of its key,
and whatever a job can do works there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from qdrant_client import QdrantClient

from spark_vector_sink import reembed, search
from spark_vector_sink.encode import loader
from spark_vector_sink.errors import BadRowError, CollectionError, OptionError, PermanentStoreError
from tests.fake_server import FakeServer
from tests.jobs import Place, server_place
from tests.real_server import RealServer, find_binary, free_port_pair

OURS: dict[str, Any] = {
    "encoder": "tests.fakes:Counting",
    "shard_key_column": "region",
    "collection_config": {"sharding_method": "custom"},
}


Server = FakeServer | RealServer


@pytest.fixture(scope="module")
def node() -> Iterator[RealServer]:
    """A real node in cluster mode."""
    if find_binary() is None:
        pytest.skip("custom sharding needs a `qdrant` binary, to start it in cluster mode")
    port = free_port_pair()[0]
    made = RealServer(env={"QDRANT__CLUSTER__ENABLED": "true", "QDRANT__CLUSTER__P2P__PORT": str(port)})
    made.arguments = ("--uri", f"http://{made.host}:{port}")
    with made:
        yield made


@pytest.fixture(
    params=[pytest.param("shared_fake", id="fake"), pytest.param("node", id="real", marks=pytest.mark.qdrant)]
)
def server(request: pytest.FixtureRequest) -> Server:
    """The fake server, then a real one."""
    found: Server = request.getfixturevalue(request.param)
    return found


class Sharded:
    """A collection with its shard keys, and the server's own client."""

    def __init__(self, server: Server, *keys: str | int) -> None:
        self.place: Place = server_place(server)
        self.name = str(self.place.options["path"])
        self.client = QdrantClient(
            host=server.host, grpc_port=server.grpc_port, prefer_grpc=True, check_compatibility=False
        )
        self.place.write(rows(), **OURS)
        for key in keys:
            self.client.create_shard_key(f"{self.name}__v1", key)

    def write(self, table: pa.Table, mode: str = "append", **options: Any) -> Any:
        loader.unload()
        return self.place.write(table, mode=mode, **{**OURS, **options})

    def found(self) -> dict[str, tuple[str, str | int]]:
        """Text and shard key of every document, by its key; tombstones are left out."""
        records, _ = self.client.scroll(self.name, limit=1000)
        payloads = [(record.payload or {}, record.shard_key) for record in records]
        return {payload["id"]: (payload["text"], key) for payload, key in payloads if "text" in payload}  # type: ignore[misc]


def rows(*given: tuple[str, str | None, str | None], **columns: Any) -> pa.Table:
    """Rows of key, text and region."""
    return pa.table(
        {name: pa.array([row[n] for row in given], pa.string()) for n, name in enumerate(("id", "text", "region"))}
        | columns
    )


@pytest.fixture
def sharded(server: Server) -> Iterator[Sharded]:
    made = Sharded(server, "eu", "us")
    yield made
    made.client.close()


def test_each_row_goes_to_the_shards_of_its_key(sharded: Sharded) -> None:
    """All in one task; the counts are those of the whole."""
    report = sharded.write(rows(("a", "one", "eu"), ("b", "two", "us"), ("c", "three", "eu")), batch_points=1)
    assert (report.points, report.stored_points) == (3, 3)
    assert sharded.found() == {"a": ("one", "eu"), "b": ("two", "us"), "c": ("three", "eu")}
    assert sharded.client.count(sharded.name, shard_key_selector="eu").count == 2
    assert [
        answer.key
        for answer in search(sharded.name, "two", 1, **{k: v for k, v in sharded.place.options.items() if k != "path"})
    ] == ["b"]


def test_numbers_are_keys_too(server: Server) -> None:
    """Of an integer column."""
    sharded = Sharded(server, 7)
    table = pa.table({"id": ["a"], "text": ["one"], "region": pa.array([7], pa.int64())})
    sharded.write(table)
    assert sharded.found() == {"a": ("one", 7)}
    sharded.client.close()


@pytest.mark.parametrize("key", ["asia", 9])
def test_a_key_that_is_not_there_ends_the_job(sharded: Sharded, key: str | int) -> None:
    """At once, with what to do, and no point is called bad."""
    table = pa.table({"id": ["a"], "text": ["one"], "region": [key]})
    with pytest.raises(
        PermanentStoreError, match=rf'Shard key "?{key}"? not found; create it with .*create_shard_key'
    ) as caught:
        sharded.write(table, rejects_path="/nowhere/rejects")
    assert "\n" not in str(caught.value)


def test_a_row_without_a_key_is_a_bad_row(sharded: Sharded) -> None:
    """By its document's key."""
    with pytest.raises(
        BadRowError, match=r"the row with key 'a' cannot be written: column 'region' is null; .* needs a shard key"
    ):
        sharded.write(rows(("a", "one", None)))


@pytest.mark.parametrize("existing", ["replace", "merge"])
def test_unchanged_documents_are_found_under_their_key(sharded: Sharded, existing: str) -> None:
    """And payloads are written there."""
    given = {"unchanged": "skip", "existing": existing}
    sharded.write(rows(("a", "one", "eu"), ("b", "two", "us"), n=[1, 2]), **given)
    assert sharded.write(rows(("a", "one", "eu"), ("b", "two", "us"), n=[1, 2]), **given).unchanged == 2
    report = sharded.write(rows(("a", "one", "eu"), ("b", "zwei", "us"), n=[5, 2]), **given)
    assert (report.written, sharded.found()) == (2, {"a": ("one", "eu"), "b": ("zwei", "us")})


@pytest.mark.parametrize("version", [None, "version"])
def test_a_change_feed(sharded: Sharded, version: str | None) -> None:
    """Deletes reach the shards of their key; with versions, tombstones are left there, and purged from there."""
    feed = {"op_column": "op", "version_column": version, "payload_exclude": "version"}
    sharded.write(rows(("a", "one", "eu"), ("b", "two", "us"), op=["c", "c"], version=[5, 5]), **feed)
    report = sharded.write(rows(("a", None, "eu"), ("b", "zwei", "us"), op=["d", "u"], version=[6, 6]), **feed)
    assert (report.deleted, report.written, sharded.found()) == (1, 1, {"b": ("zwei", "us")})
    if version is not None:
        late = sharded.write(rows(("a", "late", "eu"), ("b", "late", "us"), op=["u", "u"], version=[5, 5]), **feed)
        assert (late.older, sharded.found(), sharded.client.count(sharded.name).count) == (2, {"b": ("zwei", "us")}, 2)
        sharded.write(rows(("c", "three", "us"), op=["c"], version=[1]), **feed, tombstone_days=0)
        assert sharded.client.count(sharded.name).count == 2


def test_what_the_table_no_longer_has(sharded: Sharded) -> None:
    """In any shard; and a document that has moved to another key leaves nothing behind then."""
    load = {"delete_missing": True, "source": "table", "max_delete_share": 0.9}
    sharded.write(rows(("a", "one", "eu"), ("b", "two", "us"), ("c", "three", "eu")), **load)
    report = sharded.write(rows(("a", "one", "us"), ("b", "two", "us")), **load, unchanged="skip")
    assert (report.missing_deleted, sharded.found(), sharded.client.count(sharded.name).count) == (
        2,
        {"a": ("one", "us"), "b": ("two", "us")},
        2,
    )


def test_a_document_that_moves_leaves_its_point_behind(sharded: Sharded) -> None:
    """The shard key is no part of the document's key, and the old shards are not asked."""
    sharded.write(rows(("a", "one", "eu")))
    sharded.write(rows(("a", "one", "us")))
    assert sharded.client.count(sharded.name, exact=True).count == 2


def test_chunks_go_with_their_document(sharded: Sharded, server: Server, tiny_model: Any) -> None:
    """And vanish from its shards."""
    place = server_place(server)
    chunked = {
        "model": str(tiny_model),
        "device": "cpu",
        "dtype": "float32",
        "long_text": "chunk",
        "unchanged": "skip",
        "op_column": "op",
    }
    chunked |= {"shard_key_column": "region", "collection_config": {"sharding_method": "custom"}}
    place.write(rows(op=pa.array([], pa.string())), **chunked)
    name = str(place.options["path"])
    for key in ("eu", "us"):
        sharded.client.create_shard_key(f"{name}__v1", key)
    long = " ".join(["bread and butter"] * 60)
    place.write(rows(("a", long, "eu"), ("b", long, "us"), ("c", long, "us"), op=["c"] * 3), **chunked)
    counts = {key: sharded.client.count(name, shard_key_selector=key).count for key in ("eu", "us")}
    assert (counts["eu"] > 2, counts["us"]) == (True, 2 * counts["eu"])
    report = place.write(
        rows(("a", "short", "eu"), ("b", long, "us"), ("c", None, "us"), op=["u", "u", "d"]), **chunked
    )
    assert (report.written, report.unchanged, report.deleted) == (1, 1, 1)
    assert {key: sharded.client.count(name, shard_key_selector=key).count for key in ("eu", "us")} == {
        "eu": 1,
        "us": counts["eu"],
    }


def test_an_overwrite_has_the_same_shard_keys(sharded: Sharded) -> None:
    """They are made in the fresh version, which is counted and looked at as any other."""
    sharded.write(rows(("a", "one", "eu")))
    report = sharded.write(rows(("a", "new", "us"), ("b", "two", "eu")), mode="overwrite")
    assert (report.stored_points, sharded.found()) == (2, {"a": ("new", "us"), "b": ("two", "eu")})


def test_reembed_leaves_points_in_their_shards(sharded: Sharded) -> None:
    """The fresh version has custom sharding too."""
    sharded.write(rows(("a", "one", "eu"), ("b", "two", "us")))
    before = sharded.found()
    options = {name: value for name, value in sharded.place.options.items() if name != "path"}
    loader.unload()
    assert reembed(sharded.name, encoder="tests.fakes:Turned", **options).points == 2
    assert sharded.found() == before
    assert sharded.client.count(sharded.name, shard_key_selector="eu").count == 1


def test_the_option_and_the_collection_must_fit(sharded: Sharded, server: Server) -> None:
    """Said before the job."""
    with pytest.raises(
        CollectionError, match="has custom sharding, so each row needs a shard key; give option 'shard_key_column'"
    ):
        sharded.write(rows(("a", "one", "eu")), shard_key_column=None)
    plain = server_place(server, encoder="tests.fakes:Counting")
    with pytest.raises(
        CollectionError, match=r"option 'shard_key_column' is for a collection with custom sharding, and .* is not"
    ):
        plain.write(rows(("a", "one", "eu")), shard_key_column="region")
    plain.write(rows(("a", "one", "eu")))
    with pytest.raises(
        CollectionError, match=r"option 'shard_key_column' is for a collection with custom sharding, and .* is not"
    ):
        plain.write(rows(("a", "one", "eu")), shard_key_column="region")


def test_an_embedded_store_has_no_shards(tmp_path: Path) -> None:
    """The option says nothing there."""
    with pytest.raises(OptionError, match="option 'shard_key_column' has no effect on an embedded store"):
        Place({"path": f"{tmp_path}/store", **OURS, "collection_config": None}).write(rows(("a", "one", "eu")))
