"""Several nodes in `url`: tasks spread over them, and go on with the next one when theirs is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from spark_vector_sink import job
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import CollectionError, RefusedError
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.store import registry
from spark_vector_sink.store.qdrant.collections import QdrantCollections
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.fake_server import FakeServer
from tests.jobs import Place, vectors


@pytest.fixture
def nodes() -> Iterator[list[FakeServer]]:
    """Three servers; alone they are no cluster."""
    with ExitStack() as stack:
        yield [stack.enter_context(FakeServer()) for _ in range(3)]


@pytest.fixture
def one_cluster(monkeypatch: pytest.MonkeyPatch, nodes: list[FakeServer]) -> list[FakeServer]:
    """The three, each with the collection that the sink would see in a cluster; what tasks do does not depend on
    more."""
    monkeypatch.setattr(QdrantCollections, "_same_on", lambda *_: None)
    return nodes


def place(nodes: list[FakeServer], **more: Any) -> Place:
    return Place(
        {
            "url": ",".join(node.url for node in nodes),
            "path": "articles",
            "vector_column": "v",
            "versioned": "false",
            "batch_points": 10,
            **more,
        }
    )


def made_on(nodes: list[FakeServer], where: Place) -> job.Plan:
    """The plan of a job whose collection is on every node."""
    for node in nodes:
        committer.prepare(planning.plan({**where.options, "url": node.url}, vectors(1).schema))
    return committer.prepare(planning.plan(where.options, vectors(1).schema))


def test_tasks_spread_over_the_nodes(one_cluster: list[FakeServer]) -> None:
    """The n-th partition begins with the n-th node, counted round."""
    plan = made_on(one_cluster, place(one_cluster))
    for partition in range(5):
        partition_writer.write_partition(
            plan, vectors(10, start=10 * partition).to_batches(), TaskContext(partition=partition)
        )
    assert [sorted(node.points("articles")) for node in one_cluster] == [
        [*range(10), *range(30, 40)], [*range(10, 20), *range(40, 50)], [*range(20, 30)],
    ]  # fmt: skip
    assert [len(node.stats().peers) for node in one_cluster] == [2, 2, 1]


def test_the_next_node_is_taken_when_one_is_gone(one_cluster: list[FakeServer]) -> None:
    """Each node of a task's way stops answering in the middle; what was on its way is sent again to the next one."""
    plan = made_on(one_cluster, place(one_cluster, window_rows=10))
    first, second, _ = one_cluster

    def rows() -> Iterator[Any]:
        for start in range(0, 300, 10):
            for at, node in ((100, first), (200, second)):
                if start == at:
                    node.fault("Points/Upsert", "unavailable", times=None)
            yield from vectors(10, start=start).to_batches()

    report = partition_writer.write_partition(plan, rows(), TaskContext())
    assert report.points == 300
    assert report.retries >= 2
    held = [node.points("articles").keys() for node in one_cluster]
    assert all(held)
    assert set().union(*held) == set(range(300))


def test_a_node_that_is_down_at_the_start_is_left_out(one_cluster: list[FakeServer]) -> None:
    """With a warning that names it, and why."""
    first, second, third = one_cluster
    second.stop()
    found, warnings = registry.find(SinkOptions.from_mapping(place([first, second, third]).options))
    assert [address.port for address in found.addresses] == [first.grpc_port, third.grpc_port]
    (warning,) = warnings
    assert warning.startswith("the job goes on without the node http://127.0.0.1:")


def test_no_node_at_all(nodes: list[FakeServer]) -> None:
    """The first one's reason, and how many more there are."""
    for node in nodes:
        node.stop()
    with pytest.raises(
        CollectionError, match=r"^no Qdrant server answers gRPC at 127\.0\.0\.1:.*\(and 2 more of option 'url'\)$"
    ):
        place(nodes).write(vectors(3))


def test_two_servers_that_are_no_cluster_are_refused(nodes: list[FakeServer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would get a part of the points; also where both have a collection of that name, made alike."""
    monkeypatch.setattr("spark_vector_sink.store.qdrant.connection.PATIENCE_SECONDS", 0.5)
    first, second, _ = nodes
    said = r"do not have the same collection 'articles'.*; name only nodes of one cluster in option 'url'$"
    with pytest.raises(CollectionError, match=said):
        place([first, second]).write(vectors(3))
    place([second]).write(vectors(3))
    with pytest.raises(CollectionError, match=said):
        place([first, second]).write(vectors(3))
    assert not first.points("articles")


@pytest.mark.parametrize("url", ["http://a:6333,http://user:pa,ss@b:6333", "http://user:pa,ss@b:6333"])
def test_a_comma_in_a_password_shows_nothing_of_it(url: str) -> None:
    """It is refused without a word of what was given."""
    with pytest.raises(RefusedError) as refused:
        Place({"url": url, "path": "articles", "vector_column": "v"}).write(vectors(3))
    assert not any(part in str(refused.value) for part in ("user", "pa,", "ss@", "ss:"))
