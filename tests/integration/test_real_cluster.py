"""Three real nodes that are one Qdrant: one of them dies in the middle of a load, and everything is there afterwards,
on every node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from spark_vector_sink import job
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.hangs import HANGS_AFTER_SECONDS
from tests.integration.own import must_be_our_own
from tests.jobs import numbered, points_on
from tests.real_server import RealCluster

pytestmark = pytest.mark.qdrant

COUNT = 6_000
KILLED_AT, STARTED_AT = 2_000, 4_000
NAME = "articles"
OPTIONS = {
    "path": NAME, "versioned": False, "vector_column": "v", "window_rows": 250, "batch_points": 100,
    "collection_config": {"shard_number": 6, "replication_factor": 2, "optimizers_config": {"indexing_threshold": 0}},
}  # fmt: skip


@pytest.fixture
def cluster() -> Iterator[RealCluster]:
    must_be_our_own("nodes that are killed")
    with RealCluster() as made:
        yield made


@pytest.fixture
def later() -> Iterator[ThreadPoolExecutor]:
    """Does what may take a moment while a load goes on."""
    with ThreadPoolExecutor(1) as thread:
        yield thread


def assert_everything_is_on_every_node(cluster: RealCluster) -> None:
    """Whichever node is asked, each row is one point; and both replicas of each shard hold the same number."""
    cluster.wait_until_active(NAME)
    for node in cluster.nodes:
        points = points_on(node, NAME)
        assert {key: point.payload["n"] for key, point in points.items()} == {n: n for n in range(COUNT)}
    counts: dict[int, list[int]] = {}
    for node in range(len(cluster.nodes)):
        for shard in cluster.shards(node, NAME):
            counts.setdefault(shard["shard_id"], []).append(shard["points_count"])
    assert all(len(set(replicas)) == 1 and len(replicas) == 2 for replicas in counts.values()), counts
    assert sum(replicas[0] for replicas in counts.values()) == COUNT


def write(
    cluster: RealCluster, url: str, at: dict[int, Callable[[], object]], partition: int = 0
) -> tuple[job.Plan, PartitionReport]:
    """The only task of a job, up to the job's end; a node that nobody starts again would end it."""
    plan = committer.prepare(
        planning.plan({**OPTIONS, "url": url, "retry_max_seconds": HANGS_AFTER_SECONDS}, next(numbered(1)).schema)
    )
    cluster.wait_until_active(NAME)
    return plan, replace(
        partition_writer.write_partition(plan, numbered(COUNT, at), TaskContext(partition=partition)), partition=0
    )


def test_a_node_that_others_stand_in_for(cluster: RealCluster, later: ThreadPoolExecutor) -> None:
    """A node with which the job does not talk is killed and starts again later: the job does not end, and the node
    catches up."""
    again: list[Future[None]] = []
    events = {KILLED_AT: lambda: cluster.kill9(2), STARTED_AT: lambda: again.append(later.submit(cluster.restart, 2))}
    plan, report = write(cluster, cluster.urls[0], events)
    assert committer.commit(plan, [report]).stored_points == COUNT
    again[0].result()
    assert_everything_is_on_every_node(cluster)


def test_the_node_that_the_task_talks_to(cluster: RealCluster, later: ThreadPoolExecutor) -> None:
    """With all addresses in `url`, the task goes on with another node when its own is killed, and nothing is lost or
    doubled."""
    again: list[Future[None]] = []
    events = {KILLED_AT: lambda: cluster.kill9(1), STARTED_AT: lambda: again.append(later.submit(cluster.restart, 1))}
    plan, report = write(cluster, ",".join(cluster.urls), events, partition=1)  # which begins with node 1
    assert report.retries > 0  # a node that nobody talks to costs none
    again[0].result()
    assert committer.commit(plan, [report]).stored_points == COUNT
    assert_everything_is_on_every_node(cluster)


def test_a_job_ends_without_the_node_that_it_began_with(cluster: RealCluster) -> None:
    """The job's end asks a node that is alive; the dead one catches up when it starts again."""
    plan, report = write(cluster, ",".join(cluster.urls), {KILLED_AT: lambda: cluster.kill9(0)})
    assert report.retries > 0
    assert committer.commit(plan, [report]).stored_points == COUNT
    cluster.restart(0)
    assert_everything_is_on_every_node(cluster)


def test_done_means_indexed_on_every_node(cluster: RealCluster) -> None:
    """With `wait_for_index` and all addresses in `url`, no replica has anything left to index when the job ends; that
    of a node which was restarted, and would not go on by itself, neither. One node tells only of its own replicas."""
    config = {
        "shard_number": 3,
        "replication_factor": 3,
        "optimizers_config": {"indexing_threshold": 100, "default_segment_number": 1},
    }
    options = {**OPTIONS, "url": ",".join(cluster.urls), "collection_config": config, "wait_for_index": True}
    rows = list(numbered(4_000, batch=4_000, dimension=32))
    plan = committer.prepare(planning.plan(options, rows[0].schema))
    cluster.wait_until_active(NAME)
    report = partition_writer.write_partition(plan, rows, TaskContext())
    cluster.restart(2)
    cluster.wait_until_active(NAME)
    assert cluster.indexing(NAME)[2]
    assert committer.commit(plan, [report]).index_seconds > 1.0
    assert cluster.indexing(NAME) == [False, False, False]


def test_a_job_that_begins_without_a_node(cluster: RealCluster) -> None:
    """Addresses that do not answer are named in a warning, and the job goes on with the others."""
    write(cluster, ",".join(cluster.urls), {})
    cluster.kill9(2)
    plan, report = write(cluster, ",".join(cluster.urls), {}, partition=2)
    total = committer.commit(plan, [report])
    assert total.stored_points == COUNT
    assert any(warning.startswith(f"the job goes on without the node {cluster.urls[2]}") for warning in total.warnings)
