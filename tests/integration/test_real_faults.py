"""A real Qdrant that dies, limits the rate, or takes small requests only, in the middle of a load: everything is there
afterwards, exactly once."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pyarrow.parquet as pq
import pytest

from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.report import WriteReport
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.hangs import HANGS_AFTER_SECONDS
from tests.integration.own import must_be_our_own
from tests.jobs import Place, numbered, points_on, server_place, vectors
from tests.real_server import RealServer, is_before

pytestmark = pytest.mark.qdrant

COUNT = 5_000
SMALL = {"vector_column": "v", "window_rows": 250, "batch_points": 100}
"""Many requests, so that some are on their way whenever something happens."""


@pytest.fixture
def own_server() -> Iterator[RealServer]:
    """A server of the test's own, to be killed."""
    must_be_our_own("a server that is killed")
    with RealServer() as server:
        yield server


def load(place: Place, count: int, at: dict[int, Callable[[], object]] | None = None) -> WriteReport:
    """A job of one task; what happens at which row is in `at`."""
    plan = committer.prepare(planning.plan(place.options, next(numbered(1)).schema))
    return committer.commit(plan, [partition_writer.write_partition(plan, numbered(count, at), TaskContext())])


def assert_everything_is_there(server: Any, place: Place, count: int) -> None:
    """Each row is one point with its own payload, and there is no other point."""
    points = points_on(server, place.options["path"])
    assert {key: point.payload["n"] for key, point in points.items()} == {n: n for n in range(count)}


def test_server_killed_during_a_load(own_server: RealServer) -> None:
    """kill -9 and a restart in the middle of a load, twice: the job ends well, every row is there once with its
    payload, and the report counts retries."""
    restarts: list[threading.Thread] = []

    def kill() -> None:
        """Rows go on being read, and find no server until it is there again."""
        for thread in restarts:
            thread.join()
        own_server.kill9()
        restarts.append(threading.Thread(target=own_server.restart))
        restarts[-1].start()

    place = server_place(own_server, **SMALL)
    try:
        report = load(place, COUNT, {2_000: kill, 3_500: kill})
    finally:
        for thread in restarts:
            thread.join()
    assert (report.written, report.stored_points) == (COUNT, COUNT)
    assert report.retries >= 2
    assert_everything_is_there(own_server, place, COUNT)


def test_the_server_s_largest_request_is_obeyed(qdrant_server: Any) -> None:
    """Strict mode's `upsert_max_batchsize` is read from the server, by the job that makes the collection and by the
    next one: no request is refused."""
    place = server_place(
        qdrant_server, **SMALL, collection_config={"strict_mode_config": {"enabled": True, "upsert_max_batchsize": 10}}
    )
    before = refused_upserts(qdrant_server)
    first, second = load(place, 35), load(place, 135)
    assert (first.stored_points, second.stored_points) == (35, 135)
    assert refused_upserts(qdrant_server) == before
    assert_everything_is_there(qdrant_server, place, 135)


def refused_upserts(server: Any) -> int:
    """Requests that the server has refused as invalid so far, by its own books."""
    with urlopen(f"{server.url}/metrics", timeout=HANGS_AFTER_SECONDS) as reply:
        found = re.search(
            rb'^grpc_responses_total\{endpoint="/qdrant.Points/Upsert",status="3"\} (\d+)', reply.read(), re.M
        )
    return int(found[1]) if found else 0


def limited(points_in_a_minute: int) -> dict[str, Any]:
    return {"strict_mode_config": {"enabled": True, "write_rate_limit": points_in_a_minute}}


def test_the_server_s_rate_is_waited_for(qdrant_server: Any) -> None:
    """Strict mode's `write_rate_limit`: the job goes as fast as the server allows, and loses nothing."""
    place = server_place(
        qdrant_server, vector_column="v", window_rows=20, batch_points=20, collection_config=limited(60)
    )
    load(place, 1)  # the first write into a collection costs twice its points
    report = load(place, 64)  # six more than the server takes at once then; it takes one in a second
    assert report.stored_points == 64
    assert report.retries > 0
    assert report.seconds > 1.0
    assert_everything_is_there(qdrant_server, place, 64)


def test_a_request_larger_than_the_rate_is_split(qdrant_server: Any) -> None:
    """A request with more points than the server ever takes at once goes out in parts."""
    place = server_place(qdrant_server, vector_column="v", batch_points=512, collection_config=limited(300))
    load(place, 1)
    report = load(place, 305)
    assert report.stored_points == 305
    assert_everything_is_there(qdrant_server, place, 305)


def test_a_collection_that_takes_no_more_ends_the_job(qdrant_server: Any, tmp_path: Path) -> None:
    """Strict mode's `max_points_count`, at which the server looks every 32 requests: the job says which limit it is,
    and rejects no row for it."""
    strict = {"strict_mode_config": {"enabled": True, "max_points_count": 10}}
    place = server_place(
        qdrant_server, vector_column="v", collection_config=strict, rejects_path=str(tmp_path / "rejects")
    )
    place.write(vectors(10))
    with pytest.raises(
        PermanentStoreError,
        match=r"Max points count limit of 10 reached.*; the collection's strict mode takes no more; make room, or "
        r"raise that limit",
    ):
        place.write(vectors(200, start=20), batch_points=2)
    assert not (tmp_path / "rejects").exists() or not list((tmp_path / "rejects").glob("*.parquet"))


def test_a_server_at_its_quota_ends_the_job(own_server: RealServer) -> None:
    """Since 1.19 a server may have a quota of its disk, which is no fault of any point."""
    place = server_place(own_server, vector_column="v")
    place.write(vectors(1))
    quota = json.dumps({"enabled": True, "max_disk_usage_percent": 1}).encode()
    request = Request(f"{own_server.url}/quotas", quota, {"Content-Type": "application/json"}, method="PUT")
    if is_before(own_server, (1, 19)):
        with pytest.raises(HTTPError, match="404"):
            urlopen(request, timeout=HANGS_AFTER_SECONDS)
        return
    urlopen(request, timeout=HANGS_AFTER_SECONDS).close()
    with pytest.raises(
        PermanentStoreError,
        match=r"RESOURCE_EXHAUSTED .*Disk usage is at .*; the server has no more room; make room, or raise that limit",
    ):
        place.write(vectors(5))


def test_a_point_that_makes_the_server_panic_is_rejected_alone(own_server: RealServer, tmp_path: Path) -> None:
    """Before 1.19, Qdrant panics at the text {} in a field with a uuid index: such rows are found among the others,
    which are written. What the panic has left of those two is the server's affair: it may have them in part. Later ones
    store it, outside of the index."""
    words = ["{}" if n in (3, 77) else "a" for n in range(100)]
    place = server_place(
        own_server, vector_column="v", payload_indexes="word:uuid", rejects_path=str(tmp_path / "rejects")
    )
    report = place.write(vectors(100, word=words))
    if not is_before(own_server, (1, 19)):
        assert (report.written, report.rejected, report.unindexed) == (100, 0, {"word:uuid": 100})
        return
    assert (report.written, report.rejected, report.unindexed) == (98, 2, {"word:uuid": 98})
    rejects = pq.read_table(tmp_path / "rejects").to_pylist()
    assert sorted(row["id"] for row in rejects) == [3, 77]
    assert {row["_reject_reason"] for row in rejects} == {"refused by the store"}
    assert all(
        "INTERNAL Service internal error" in row["_reject_message"] and "panicked" in row["_reject_message"]
        for row in rejects
    )
    points = points_on(own_server, place.options["path"])
    assert {key: point.payload["word"] for key, point in points.items() if key not in (3, 77)} == {
        n: "a" for n in range(100) if n not in (3, 77)
    }
