"""What a job makes on a real Qdrant besides points: the collection as asked, payload indexes before the load, an index
that is ready at the end."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

from spark_vector_sink import job, reembed
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.encode import loader
from spark_vector_sink.errors import CollectionError, StoreError
from spark_vector_sink.store.qdrant import wait_for_index
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.hangs import HANGS_AFTER_SECONDS
from tests.integration.conftest import client_of
from tests.integration.own import must_be_our_own
from tests.jobs import Place, numbered, server_place, vectors
from tests.real_server import RealServer, is_before

pytestmark = pytest.mark.qdrant

CONFIG = {
    "shard_number": 2,
    "replication_factor": 2,
    "write_consistency_factor": 2,
    "on_disk_payload": False,
    "vectors": {"on_disk": True, "hnsw_config": {"m": 24}, "datatype": "float16"},
    "hnsw_config": {"m": 32, "ef_construct": 50, "on_disk": True},
    "optimizers_config": {"indexing_threshold": 5_000, "default_segment_number": 3},
    "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}},
    "strict_mode_config": {"enabled": True, "max_query_limit": 77},
}
"""One of everything that people set."""


@pytest.mark.parametrize("name", ["", "body"], ids=["unnamed vector", "named vector"])
def test_the_collection_is_made_as_asked(qdrant_server: Any, client: QdrantClient, name: str) -> None:
    """Every part of `collection_config` is on the server, beside the dimension and the distance of the job."""
    place = server_place(qdrant_server, vector_column="v", vector_name=name, distance="dot", collection_config=CONFIG)
    place.write(vectors(2))
    config = client.get_collection(place.options["path"]).config
    vector = config.params.vectors[name] if name else config.params.vectors
    assert (vector.size, vector.distance, vector.on_disk, vector.datatype) == (
        4,
        models.Distance.DOT,
        True,
        models.Datatype.FLOAT16,
    )
    assert vector.hnsw_config.m == 24
    assert (config.params.shard_number, config.params.replication_factor, config.params.write_consistency_factor) == (
        2,
        2,
        2,
    )
    assert config.params.on_disk_payload is False  # true is the server's own default
    assert (config.hnsw_config.m, config.hnsw_config.ef_construct, config.hnsw_config.on_disk) == (32, 50, True)
    assert (config.optimizer_config.indexing_threshold, config.optimizer_config.default_segment_number) == (5_000, 3)
    scalar = config.quantization_config.scalar
    assert (scalar.type, round(scalar.quantile, 4), scalar.always_ram) == (models.ScalarType.INT8, 0.99, True)
    assert (config.strict_mode_config.enabled, config.strict_mode_config.max_query_limit) == (True, 77)


PLACED = {
    "vectors": {"memory": "cold"},
    "hnsw_config": {"memory": "cold"},
    "payload": {"memory": "cached"},
    "quantization_config": {"scalar": {"type": "int8", "memory": "cached"}},
}
"""Settings that Qdrant has since 1.19, where `on_disk` and `always_ram` were before."""


def test_where_things_lie_in_memory(qdrant_server: Any, client: QdrantClient) -> None:
    """An older server would ignore it, and is named before the job; a newer one has it, and keeps it when the
    collection is made again for another model."""
    place = server_place(qdrant_server, encoder="tests.fakes:Four", collection_config=PLACED)
    rows = pa.table({"id": [1], "text": ["one"]})
    if is_before(qdrant_server, (1, 19)):
        with pytest.raises(
            CollectionError,
            match=r"'memory' is a setting of Qdrant 1\.19 or newer, and the server at .* which would ignore it",
        ):
            place.write(rows)
        return
    place.write(rows)
    loader.unload()
    reembed(place.options["path"], url=qdrant_server.url, grpc_port=qdrant_server.grpc_port, encoder="tests.fakes:Five")
    loader.unload()
    config = client.get_collection(place.options["path"]).config
    assert (config.params.vectors.size, config.params.vectors.memory, config.params.payload.memory) == (
        5,
        models.Memory.COLD,
        models.Memory.CACHED,
    )
    assert (config.hnsw_config.memory, config.quantization_config.scalar.memory) == (
        models.Memory.COLD,
        models.Memory.CACHED,
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"shards": 2}, "shards"),
        ({"vectors": {"size": 3}}, "without size"),
        ({"on_disk_payload": "perhaps"}, "on_disk_payload"),
        ({"quantization_config": {"scalar": {"type": "int7"}}}, "quantization_config"),
        ({"hnsw_config": {"m": "many"}}, "hnsw_config.m"),
        ({"vectors": {"on_dsk": True}}, "on_dsk"),
        ({"metadata": {"a": 1}}, "may not set 'metadata'"),
    ],
)
def test_a_wrong_collection_config(
    qdrant_server: Any, client: QdrantClient, config: dict[str, Any], words: str
) -> None:
    """A body that is none is refused in one line, by the client's own model of it, and nothing is created."""
    place = server_place(qdrant_server, vector_column="v", collection_config=config)
    with pytest.raises(CollectionError, match=f"'collection_config'.*{words}") as refused:
        place.write(vectors(1))
    assert "\n" not in str(refused.value)
    assert not any(
        collection.name.startswith(place.options["path"]) for collection in client.get_collections().collections
    )


def test_what_only_the_server_knows_to_be_wrong(qdrant_server: Any, client: QdrantClient) -> None:
    """A value that the model takes and the server does not ends the job before the load, in one line with the server's
    words."""
    place = server_place(
        qdrant_server,
        vector_column="v",
        collection_config={"optimizers_config": {"max_segment_size": 0}, "shard_number": 2},
    )
    with pytest.raises(
        CollectionError, match=r"creating the collection '.*' on .* failed: INVALID_ARGUMENT .*max_segment_size"
    ) as refused:
        place.write(vectors(1))
    assert "\n" not in str(refused.value)


def test_payload_indexes_are_there_before_the_first_point(qdrant_server: Any, client: QdrantClient) -> None:
    """When the first row is read, the collection is empty and has every index; so each point is indexed as it comes."""
    place = server_place(qdrant_server, vector_column="v", payload_indexes="n:integer", tenant_column="t")
    name, seen = place.options["path"], []
    rows = vectors(20, n=range(20), t=[f"tenant {i % 3}" for i in range(20)])

    def watched() -> Iterator[pa.RecordBatch]:
        seen.append(client.get_collection(name))
        yield from rows.to_batches()

    plan = committer.prepare(planning.plan(place.options, rows.schema))
    committer.commit(plan, [partition_writer.write_partition(plan, watched(), TaskContext())])
    [before], after = seen, client.get_collection(name)
    assert before.points_count == 0
    assert {field: index.data_type.value for field, index in before.payload_schema.items()} == {
        "n": "integer",
        "t": "keyword",
    }
    assert before.payload_schema["t"].params.is_tenant
    assert {field: index.points for field, index in after.payload_schema.items()} == {"n": 20, "t": 20}
    assert after.config.metadata["spark_vector_sink"]["key"] == ["t", "id"]


def allow_threads(server: RealServer) -> None:
    """A server that does not run will find that its collection may be optimised by as many threads as it likes. Told so
    while it runs, it begins."""
    assert server.directory is not None
    [path] = (server.directory / "storage" / "collections").glob("*/config.json")
    config = json.loads(path.read_text(encoding="utf-8"))
    assert config["optimizer_config"]["max_optimization_threads"] == 0
    config["optimizer_config"]["max_optimization_threads"] = None
    path.write_text(json.dumps(config), encoding="utf-8")


class TestWaitForIndex:
    """`wait_for_index=true` against a server that really has something to index (a second or two of work)."""

    COUNT, DIMENSION = 4_000, 64
    CONFIG: dict[str, Any] = {"optimizers_config": {"indexing_threshold": 100, "default_segment_number": 2}}  # noqa: RUF012

    def written(self, server: Any, **options: Any) -> tuple[Place, job.Plan, Any]:
        """A job up to its end."""
        place = server_place(
            server, **{"vector_column": "v", "collection_config": self.CONFIG, "wait_for_index": True, **options}
        )
        rows = numbered(self.COUNT, batch=self.COUNT, dimension=self.DIMENSION)
        first = next(rows)
        plan = committer.prepare(planning.plan(place.options, first.schema))
        return place, plan, partition_writer.write_partition(plan, [first], TaskContext())

    def test_done_means_indexed(
        self,
        qdrant_server: Any,
        client: QdrantClient,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The server may still be at work when all points are applied, and has nothing left to do when the job ends;
        the log says how far it is, the report how long it took."""
        monkeypatch.setattr(wait_for_index, "PROGRESS_SECONDS", 0.5)
        place, plan, report = self.written(qdrant_server)
        name = place.options["path"]
        with caplog.at_level(logging.WARNING, "spark_vector_sink"):
            total = committer.commit(plan, [report])
        assert any(f"index of '{name}' since" in line and f"{self.COUNT:,} points" in line for line in caplog.messages)
        with urlopen(f"{qdrant_server.url}/collections/{name}/optimizations", timeout=HANGS_AFTER_SECONDS) as reply:
            work = json.load(reply)["result"]
        assert (work["summary"]["queued_optimizations"], work["running"]) == (0, [])
        info = client.get_collection(name)
        assert info.status == models.CollectionStatus.GREEN
        assert (info.points_count, info.indexed_vectors_count) == (self.COUNT, self.COUNT)
        assert total.index_seconds >= 1.0
        assert total.seconds > total.index_seconds

    def test_a_server_that_will_not_index_is_ready_at_once(self, qdrant_server: Any) -> None:
        """With `indexing_threshold` 0 the server never indexes and says green; a search is exact then, and the job
        ends."""
        place = server_place(
            qdrant_server,
            vector_column="v",
            collection_config={"optimizers_config": {"indexing_threshold": 0}},
            wait_for_index=True,
        )
        report = place.write(vectors(100))
        assert report.index_seconds >= 1.0

    def test_a_server_that_was_restarted_is_woken(self) -> None:
        """After a restart a server says grey and indexes nothing by itself; the job's end makes it go on, and waits."""
        must_be_our_own("a server that is restarted")
        idle = {"optimizers_config": {**self.CONFIG["optimizers_config"], "max_optimization_threads": 0}}
        with RealServer() as server:
            place, plan, report = self.written(server, collection_config=idle)
            server.kill9()
            allow_threads(server)
            server.restart()
            client = client_of(server)
            assert client.get_collection(place.options["path"]).status == models.CollectionStatus.GREY
            committer.commit(plan, [report])
            info = client.get_collection(place.options["path"])
            client.close()
        assert (info.status, info.indexed_vectors_count) == (models.CollectionStatus.GREEN, self.COUNT)

    def test_no_progress_is_said_in_one_line(self, qdrant_server: Any, client: QdrantClient) -> None:
        """A server that does nothing for `retry_max_seconds`, here one that may use no thread: one line says that the
        points are written, and how far it is."""
        idle = {"optimizers_config": {**self.CONFIG["optimizers_config"], "max_optimization_threads": 0}}
        place, plan, report = self.written(qdrant_server, retry_max_seconds=1, collection_config=idle)
        with pytest.raises(
            StoreError,
            match=rf"^all points are written to '.*', but the server still optimises, .*: \w+, {self.COUNT:,} points",
        ):
            committer.commit(plan, [report])
        client.delete_collection(f"{place.options['path']}__v1")  # so that other tests need not wait for its index
