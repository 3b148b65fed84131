"""What the driver meets before a job's tasks and after them: limits of reads, indexes that take long, nodes that are
gone, jobs beside it."""

from __future__ import annotations

from typing import Any

import pytest
from qdrant_client import models

from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import CollectionError
from spark_vector_sink.job import Plan
from spark_vector_sink.report import WriteReport
from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.qdrant import Address, QdrantCollections
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.fake_server import FakeServer
from tests.jobs import Place, server_place, vectors
from tests.qdrant_tasks import batch, place_on


def planned(place: Place) -> Plan:
    return planning.plan(place.options, vectors(1).schema)


def ended(plan: Plan, start: int) -> WriteReport:
    return committer.commit(
        plan, [partition_writer.write_partition(plan, vectors(2, start=start).to_batches(), TaskContext())]
    )


def test_a_question_that_is_too_large_is_asked_in_parts(fake_server: FakeServer) -> None:
    """Strict mode's limit of reads counts every point of a question; what it lets through is found once."""
    place, ids = place_on(fake_server), list(range(100))
    with place.task() as task:
        task.submit(batch(place, ids, sink={"fingerprint": "f"}))
        task.flush()
        fake_server.reset_stats()
        fake_server.fault("Points/Get", "too_large", times=None, more_than=30)
        assert task.stored(ids).keys() == set(ids)
        assert fake_server.stats().calls["Points/Get"] == 2 + 4  # of 100, of 50, and four of 25
        assert task.stored(ids).keys() == set(ids)
    assert fake_server.stats().calls["Points/Get"] == 6 + 4


def test_a_payload_index_that_takes_long(fake_server: FakeServer) -> None:
    """On a large collection it takes longer than a request may; the server goes on with it, and the job waits."""
    place = server_place(fake_server, "articles", vector_column="v", timeout_seconds=1)
    place.write(vectors(3, tag=["a"] * 3))
    fake_server.fault("Points/CreateFieldIndex", "deadline", applied=True)
    assert place.write(vectors(3, tag=["a"] * 3), payload_indexes="tag:keyword").stored_points == 3


def test_a_setting_that_makes_a_load_slow_is_said(fake_server: FakeServer) -> None:
    """With `prevent_unoptimized` each request waits for the server's optimizer; nothing else would tell why a job takes
    thirty times as long."""
    place = server_place(fake_server, "articles", vector_column="v")
    place.write(vectors(1), collection_config={"optimizers_config": {"prevent_unoptimized": True}})
    (warning,) = place.write(vectors(1)).warnings
    assert warning.startswith(
        "'articles' has prevent_unoptimized=true, with which every request waits for the server's optimizer; "
        "switch it off"
    )


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize(
    "config",
    [
        {"payload": {"memory": "cold"}},
        {"hnsw_config": {"memory": "cold"}},
        {"vectors": {"quantization_config": {"scalar": {"type": "int8", "memory": "cold"}}}},
    ],
)
def test_a_setting_that_an_older_server_would_ignore(
    fake_server: FakeServer, config: dict[str, Any], mode: str
) -> None:
    """It is refused before the job, wherever in the body it stands."""
    place = server_place(fake_server, "articles", vector_column="v", collection_config=config)
    with pytest.raises(
        CollectionError,
        match=r"in option 'collection_config', 'memory' is a setting of Qdrant 1\.19 or newer, and .* is Qdrant "
        r"1\.18\.2, which would ignore",
    ):
        place.write(vectors(1), mode=mode)


def test_another_node_is_asked_where_one_is_gone() -> None:
    """In the middle of a job, too: its end needs any node of them."""
    with FakeServer() as first, FakeServer() as second:
        nodes = [first, second]
        for node in nodes:
            server_place(node, "articles", vector_column="v", versioned=False).write(vectors(2))
        collections = QdrantCollections([Address(node.host, node.grpc_port) for node in nodes])
        assert collections.count(Target("articles", "articles", True)) == 2
        first.stop()
        assert collections.count(Target("articles", "articles", True)) == 2
        collections.close()


def test_two_jobs_adopt_a_collection_at_once(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither takes the other's mark for a collection that was made anew."""
    place = server_place(fake_server, "articles", vector_column="v")
    params = models.VectorParams(size=4, distance=models.Distance.COSINE)
    with place_on(fake_server).client() as client:
        client.create_collection("articles", vectors_config=params)
    first, second, prepared = planned(place), planned(place), list[Plan]()
    metadata = QdrantCollections.metadata

    def read_too_early(self: QdrantCollections, name: str) -> object:
        read = metadata(self, name)
        if not prepared:
            monkeypatch.undo()
            prepared.append(committer.prepare(first))
        return read

    monkeypatch.setattr(QdrantCollections, "metadata", read_too_early)
    later = committer.prepare(second)
    assert ended(prepared[0], 0).stored_points == 2
    assert ended(later, 10).stored_points == 4
