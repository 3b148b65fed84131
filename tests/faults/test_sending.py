"""What a task does with each answer of the server that is no success; every job ends with all its points applied, or
with one line."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import pytest
from qdrant_client import grpc as q

from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import CollectionError, PermanentStoreError
from spark_vector_sink.store import in_flight
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.fake_server import FakeServer
from tests.jobs import Place, server_place, vectors

ROWS = 200


@pytest.fixture
def place(fake_server: FakeServer) -> Place:
    return server_place(fake_server, "articles", vector_column="v", batch_points=50)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("unavailable", {}),
        ("applied_then_unavailable", {}),
        ("rate_limit", {"retry_after": 1}),
        ("rate_limit", {}),
        ("deadline", {"seconds": 0.1}),
        ("deadline", {"seconds": 0.1, "applied": True}),
        ("internal", {}),
        (
            "internal",
            {
                "message": "Service internal error: No space left on device: WAL buffer size exceeds "
                "available disk space"
            },
        ),
        ("wait_timeout", {}),
        ("acknowledged", {}),
    ],
    ids=str,
)
def test_what_may_heal_is_sent_again(place: Place, fake_server: FakeServer, kind: str, more: dict[str, Any]) -> None:
    """All points are there, each once, and every further try is counted."""
    fake_server.fault("Points/Upsert", kind, times=3, **more)
    report = place.write(vectors(ROWS))
    assert (report.points, report.retries, report.stored_points) == (ROWS, 3, ROWS)
    assert fake_server.stats().faults == {kind: 3}


def test_what_cannot_heal_ends_the_job_at_once(place: Place, fake_server: FakeServer) -> None:
    """No second try, and one line that says what to do."""
    fake_server.fault("Points/Upsert", "no_space", times=None)
    said = (
        "RESOURCE_EXHAUSTED Insufficient storage: no space left on device; the server has no more room; make room, "
        "or raise that limit, and run the job again"
    )
    with pytest.raises(PermanentStoreError, match=said):
        place.write(vectors(50))
    assert fake_server.stats().calls["Points/Upsert"] == 1


def test_a_request_that_is_too_large_is_split_and_later_ones_are_smaller(place: Place, fake_server: FakeServer) -> None:
    """The server's limit is found once, not for each request."""
    fake_server.fault("Points/Upsert", "too_large", times=None, more_than=12)
    report = place.write(vectors(ROWS), window_rows=50, max_in_flight=1)
    assert (report.points, report.retries, report.rejected) == (ROWS, 0, 0)
    sizes = fake_server.stats().batch_sizes
    assert sizes[:3] == [50, 25, 12]
    assert max(sizes[-12:]) <= 12


def test_a_point_that_is_too_large_alone(place: Place, fake_server: FakeServer) -> None:
    """It is the row that cannot be written."""
    fake_server.fault(
        "Points/Upsert", "too_large", times=None, ids=[7], message="Received message larger than max (5 vs. 4)"
    )
    with pytest.raises(
        Exception,
        match=r"^the row with key '7' cannot be written: upsert to .* RESOURCE_EXHAUSTED Received message "
        r"larger than max",
    ):
        place.write(vectors(ROWS))


def test_a_request_that_the_server_has_no_time_for_is_sent_in_parts(place: Place, fake_server: FakeServer) -> None:
    """Where the limit has sunk below one request; all points are there, each once."""
    fake_server.fault("Points/Upsert", "deadline", times=None, seconds=0.05, more_than=10)
    report = place.write(vectors(ROWS), batch_points=64)
    assert (report.points, report.stored_points) == (ROWS, ROWS)
    assert min(fake_server.stats().batch_sizes) <= 10


def test_more_requests_at_once_for_a_server_that_is_slow_to_answer(
    place: Place, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the task waits for a place; never more than eight, and as many as the user says where he does."""

    def one_ends(pending: Collection[Any], **named: Any) -> Any:
        """The server answers a request when the task waits for one, and all that are on their way have arrived."""
        fake_server.let_one_go(of=len(pending))
        return wait(pending, **named)

    wait = in_flight.wait
    monkeypatch.setattr(in_flight, "wait", one_ends)
    fake_server.fault("Points/Upsert", "held", times=None)
    place.write(vectors(ROWS), batch_points=2)
    assert fake_server.stats().most_concurrent_upserts == 8
    fake_server.reset_stats()
    place.write(vectors(ROWS), batch_points=10, max_in_flight=3)
    assert fake_server.stats().most_concurrent_upserts == 3


def test_no_more_points_in_a_second_than_allowed(place: Place, fake_server: FakeServer) -> None:
    """Requests get smaller than that, and begin as far apart as they must."""
    place.write(vectors(1))
    place.write(vectors(ROWS), max_points_per_second=100, batch_points=40)
    before, *upserts = fake_server.stats().upserts
    assert max(upsert.points for upsert in upserts) <= 40
    ends = [sum(other.points for other in upserts[:n]) for n in range(len(upserts))]
    for sent_before, upsert in zip(
        ends, upserts, strict=True
    ):  # the first one's own time says when it arrived, which may be long after its turn
        assert upsert.start - before.start >= sent_before / 100


def test_a_request_has_no_more_points_than_a_second(place: Place, fake_server: FakeServer) -> None:
    """So that the rate holds over short times, too."""
    place.write(vectors(20), max_points_per_second=5)
    assert max(fake_server.stats().batch_sizes) == 5


def test_the_log_tells_of_trouble_and_of_its_end(
    place: Place, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when the server goes away, however many requests fail, and one when it is back."""
    fake_server.fault("Points/Upsert", "unavailable", times=5)
    with caplog.at_level(logging.WARNING, "spark_vector_sink"):
        place.write(vectors(ROWS))
    first, last = [record.message for record in caplog.records]
    assert (
        first
        == f"upsert to 'articles__v1' on 127.0.0.1:{fake_server.grpc_port} failed: UNAVAILABLE connection refused; "
        "trying again, for up to 600 s"
    )
    assert last.startswith("the store takes points again, after ")
    assert last.endswith(("retry", "retries"))


def test_a_collection_made_anew_during_a_job_is_noticed(place: Place, fake_server: FakeServer) -> None:
    """Its first rows are gone, though every request was taken."""
    rows = vectors(ROWS)
    plan = committer.prepare(planning.plan(place.options, rows.schema))
    report = partition_writer.write_partition(plan, rows.to_batches(), TaskContext())
    _drop(fake_server, "articles__v1")
    committer.prepare(planning.plan(place.options, rows.schema))
    with pytest.raises(
        CollectionError, match=r"^'articles' was deleted, or made anew, while this job wrote to it; run the job again$"
    ):
        committer.commit(plan, [report], 1)


def _drop(server: FakeServer, name: str) -> None:
    assert q.CollectionsStub(server.channel).Delete(q.DeleteCollection(collection_name=name)).result
