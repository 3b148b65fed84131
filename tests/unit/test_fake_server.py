"""The faults of the fake Qdrant, and what it writes down of its callers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from qdrant_client import grpc as q

from tests.fake_server import FAULTS, FakeServer, Fault, Stats
from tests.hangs import HANGS_AFTER_SECONDS

ROOT = Path(__file__).resolve().parents[2]
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeServer]:
    """One server for this file, since a start takes longer than a test."""
    with FakeServer() as running:
        yield running


@pytest.fixture
def server(shared: FakeServer) -> FakeServer:
    """The server without faults and counts, and with an empty collection `c` of two-dimensional vectors."""
    shared.clear_faults()
    collections = q.CollectionsStub(shared.channel)
    collections.Delete(q.DeleteCollection(collection_name="c"))
    vectors = q.VectorsConfig(params=q.VectorParams(size=2, distance=q.Distance.Cosine))
    collections.Create(q.CreateCollection(collection_name="c", vectors_config=vectors))
    shared.reset_stats()
    return shared


def upsert(server: FakeServer, *ids: int, timeout: float = HANGS_AFTER_SECONDS) -> Any:
    """Upsert points with these ids, or raise what gRPC raises."""
    points = [
        q.PointStruct(id=q.PointId(num=n), vectors=q.Vectors(vector=q.Vector(dense=q.DenseVector(data=[3, 4]))))
        for n in ids
    ]
    return q.PointsStub(server.channel).Upsert(
        q.UpsertPoints(collection_name="c", wait=True, points=points), timeout=timeout
    )


def failure(do: Callable[[], Any]) -> Any:
    """The gRPC error that `do` ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        do()
    return caught.value


@pytest.mark.parametrize(
    ("kind", "code", "words", "written"),
    [
        ("unavailable", UNAVAILABLE, "connection refused", False),
        ("applied_then_unavailable", UNAVAILABLE, "Stream removed", True),
        ("rate_limit", EXHAUSTED, "Rate limiting exceeded", False),
        ("no_space", EXHAUSTED, "no space left", False),
        ("too_large", EXHAUSTED, "please try to split your request", False),
        ("internal", grpc.StatusCode.INTERNAL, "Service internal error", False),
        ("invalid", grpc.StatusCode.INVALID_ARGUMENT, "Wrong input", False),
    ],
)
def test_a_fault_is_played_once(
    server: FakeServer, kind: str, code: grpc.StatusCode, words: str, written: bool
) -> None:
    """Each kind of fault has its status code, says whether the points were written, and is over after one call."""
    server.fault("Points/Upsert", kind)
    error = failure(lambda: upsert(server, 1))
    assert error.code() == code
    assert words in error.details()
    assert set(server.points("c")) == ({1} if written else set())
    assert upsert(server, 1).result.status == q.UpdateStatus.Completed


def test_every_kind_of_fault_is_known(server: FakeServer) -> None:
    """A fault that nobody knows is refused where it is written down."""
    with pytest.raises(ValueError, match="unknown fault 'unavailabel'; there are unavailable, "):
        server.fault("Points/Upsert", "unavailabel")
    assert {Fault("Points/Upsert", kind).kind for kind in FAULTS} == set(FAULTS)


def test_trailing_metadata_tell_the_three_meanings_apart(server: FakeServer) -> None:
    """RESOURCE_EXHAUSTED comes with `retry-after`, with `qdrant-insufficient-storage` or with neither."""
    server.fault("Points/Upsert", "rate_limit", retry_after=7)
    server.fault("Points/Upsert", "rate_limit")
    server.fault("Points/Upsert", "no_space")
    seen = [failure(lambda: upsert(server, 1)) for _ in range(3)]
    assert [dict(error.trailing_metadata()) for error in seen] == [
        {"retry-after": "7"},
        {},
        {"qdrant-insufficient-storage": "1"},
    ]
    assert seen[0].details().endswith("Retry after 7s")


@pytest.mark.parametrize(
    ("kind", "status"), [("wait_timeout", q.UpdateStatus.WaitTimeout), ("acknowledged", q.UpdateStatus.Acknowledged)]
)
def test_a_reply_that_is_no_success(server: FakeServer, kind: str, status: int) -> None:
    """A status other than Completed, with the points written or, as `applied=False`, not."""
    server.fault("Points/Upsert", kind)
    server.fault("Points/Upsert", kind, applied=False)
    assert upsert(server, 1).result.status == status
    assert upsert(server, 2).result.status == status
    assert set(server.points("c")) == {1}


def test_a_deadline_passes(server: FakeServer) -> None:
    """The reply comes after the client has given up, with or without effect, or after `seconds` from the server."""
    server.fault("Points/Upsert", "deadline", ids=[1])
    server.fault("Points/Upsert", "deadline", ids=[2], applied=True)
    server.fault("Points/Upsert", "deadline", ids=[3], seconds=0.05)
    begun = time.monotonic()
    with (
        ThreadPoolExecutor(3) as threads
    ):  # within its deadline a call must have reached the server, so it is long; and at once, so that the test is not
        patience = {1: 5.0, 2: 5.0, 3: 2 * HANGS_AFTER_SECONDS}
        failures = [threads.submit(failure, lambda n=n: upsert(server, n, timeout=patience[n])) for n in patience]
    assert [failed.result().code() for failed in failures] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 3
    assert time.monotonic() - begun < HANGS_AFTER_SECONDS
    assert server.stats().faults == {"deadline": 3}
    assert set(server.points("c")) == {2}


def test_a_slow_reply_is_a_reply(server: FakeServer) -> None:
    """A slow call takes its time and succeeds."""
    server.fault("Points/Upsert", "slow", seconds=0.1)
    start = time.monotonic()
    assert upsert(server, 1).result.status == q.UpdateStatus.Completed
    assert time.monotonic() - start >= 0.1
    assert server.stats().upserts[0].seconds >= 0.1


def test_faults_are_counted_out(server: FakeServer) -> None:
    """`skip` calls are served, `times` calls fail, faults follow each other, and other methods are left alone."""
    server.fault("Points/Upsert", "unavailable", skip=1, times=2)
    server.fault("Points/Upsert", "internal", message="Service internal error: mine")
    upsert(server, 1)
    assert [failure(lambda: upsert(server, 1)).code() for _ in range(3)] == [
        UNAVAILABLE,
        UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
    ]
    upsert(server, 1)
    assert len(server.points("c")) == 1
    stats = server.stats()
    assert stats.calls == {"Points/Upsert": 5, "Points/Scroll": 1}
    assert stats.faults == {"unavailable": 2, "internal": 1}
    assert [seen.outcome for seen in stats.upserts] == ["OK", "UNAVAILABLE", "UNAVAILABLE", "INTERNAL", "OK"]


def test_a_fault_can_last(server: FakeServer) -> None:
    """With `times=None` a fault stays until the faults are cleared."""
    server.fault("Collections/Get", "unavailable", times=None)
    stub, request = q.CollectionsStub(server.channel), q.GetCollectionInfoRequest(collection_name="c")
    assert {failure(lambda: stub.Get(request)).code() for _ in range(3)} == {UNAVAILABLE}
    server.clear_faults()
    assert stub.Get(request).result.points_count == 0


def test_only_large_requests_are_too_large(server: FakeServer) -> None:
    """With `more_than` a client that splits its requests gets through."""
    server.fault("Points/Upsert", "too_large", times=None, more_than=2)
    assert failure(lambda: upsert(server, 1, 2, 3)).code() == EXHAUSTED
    upsert(server, 1, 2)
    upsert(server, 3)
    assert set(server.points("c")) == {1, 2, 3}
    assert server.stats().batch_sizes == [3, 2, 1]


def test_concurrent_upserts_are_counted(server: FakeServer) -> None:
    """The greatest number of upserts on their way at once is known, with sizes, times and connections."""
    server.fault("Points/Upsert", "held", times=3)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(upsert, server, *range(n)) for n in (1, 2, 3)]
        for left in (3, 2, 1):
            server.let_one_go(of=left)
    assert [call.result().result.status for call in calls] == [q.UpdateStatus.Completed] * 3
    upsert(server, 1)
    stats = server.stats()
    assert stats.most_concurrent_upserts == 3
    assert sorted(stats.batch_sizes) == [1, 1, 2, 3]
    assert len(stats.peers) == 1
    assert all(seen.bytes > 10 * seen.points and seen.collection == "c" for seen in stats.upserts)
    assert stats.upserts[-1].start >= max(seen.start + seen.seconds for seen in stats.upserts[:3]) - 0.02


def test_what_is_to_come_is_waited_for(server: FakeServer) -> None:
    """Until so many calls have arrived, though one is still on its way, and so many faults were played; what has been
    is not waited for."""
    server.fault("Points/Upsert", "held")
    server.fault("Points/Upsert", "unavailable")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(upsert, server, 1)
        server.wait_for(calls={"Points/Upsert": 1})
        assert server.stats().of("Points/Upsert")[0].outcome == "running"
        server.let_one_go(of=1)
        call.result()
        pool.submit(upsert, server, 2)
        server.wait_for(faults={"unavailable": 1})
    server.wait_for(calls={"Points/Upsert": 2}, faults={"held": 1, "unavailable": 1})


def test_an_emptied_server_is_as_good_as_new(server: FakeServer) -> None:
    """When the calls that are on their way have ended, collections, faults and counts are gone."""
    upsert(server, 1)
    server.fault("Points/Upsert", "slow", seconds=0.1)
    server.fault("Collections/List", "unavailable", times=None)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(upsert, server, 2)
        server.wait_for(calls={"Points/Upsert": 2})
        server.empty()
        assert call.result().result.status == q.UpdateStatus.Completed
    assert server.stats() == Stats()
    assert not q.CollectionsStub(server.channel).List(q.ListCollectionsRequest()).collections


def test_each_connection_is_a_peer(server: FakeServer) -> None:
    """A client that opens a channel of its own is counted as another connection."""
    upsert(server, 1)
    with closing(
        grpc.insecure_channel(f"{server.host}:{server.grpc_port}", [("grpc.use_local_subchannel_pool", 1)])
    ) as other:
        point = q.PointStruct(id=q.PointId(num=2), vectors=q.Vectors(vector=q.Vector(dense=q.DenseVector(data=[1, 2]))))
        q.PointsStub(other).Upsert(q.UpsertPoints(collection_name="c", wait=True, points=[point]))
    assert len(server.stats().peers) == 2


def test_vectors_are_kept_as_they_were_sent(server: FakeServer) -> None:
    """Unlike a real server the fake does not scale vectors to length 1, so that tests can compare them exactly."""
    upsert(server, 1)
    assert list(server.points("c")[1].vectors[""]) == [3, 4]


def test_what_the_fake_does_not_know_it_says(server: FakeServer) -> None:
    """Conditions and calls that it has no answer to are UNIMPLEMENTED, with their name, and never ignored."""
    points = q.PointsStub(server.channel)

    def having(**what: Any) -> Any:
        return q.Filter(must=[q.Condition(field=q.FieldCondition(key="x", **what))])

    def words(call: Callable[[], Any]) -> str:
        error = failure(call)
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
        return str(error.details()).removeprefix("the fake server knows no ")

    text, place, listed = having(match=q.Match(text="y")), having(geo_radius=q.GeoRadius()), having(is_null=True)
    listed.must[0].field.key = "x[]"
    unknown = q.Filter(should=[q.Condition(filter=q.Filter(must_not=[q.Condition(slice=q.SliceCondition(total=2))]))])
    assert words(lambda: points.Count(q.CountPoints(collection_name="c", filter=text))) == "match text"
    assert (
        words(lambda: points.Scroll(q.ScrollPoints(collection_name="c", filter=place))) == "field condition geo_radius"
    )
    assert (
        words(lambda: points.Delete(q.DeletePoints(collection_name="c", points=q.PointsSelector(filter=unknown))))
        == "condition slice"
    )
    assert (
        words(lambda: points.Upsert(q.UpsertPoints(collection_name="c", update_filter=listed)))
        == "payload paths into lists"
    )
    assert words(lambda: points.DeletePayload(q.DeletePayloadPoints(collection_name="c"))) == "Points/DeletePayload"
    emptying = q.PointsUpdateOperation(clear_payload=q.PointsUpdateOperation.ClearPayload())
    assert (
        words(lambda: points.UpdateBatch(q.UpdateBatchPoints(collection_name="c", operations=[emptying])))
        == "operation clear_payload"
    )


def ids(*keys: int) -> Any:
    return q.PointsSelector(points=q.PointsIdsList(ids=[q.PointId(num=key) for key in keys]))


OTHER_CALLS: dict[str, Callable[[Any], Any]] = {
    "Get": lambda points: points.Get(q.GetPoints(collection_name="c", ids=ids(1, 2).points.ids)),
    "Delete": lambda points: points.Delete(q.DeletePoints(collection_name="c", wait=True, points=ids(1, 2))),
    "SetPayload": lambda points: points.SetPayload(
        q.SetPayloadPoints(collection_name="c", wait=True, points_selector=ids(1, 2))
    ),
    "UpdateBatch": lambda points: points.UpdateBatch(
        q.UpdateBatchPoints(
            collection_name="c",
            wait=True,
            operations=[
                q.PointsUpdateOperation(delete_points=q.PointsUpdateOperation.DeletePoints(points=ids(1))),
                q.PointsUpdateOperation(delete_points=q.PointsUpdateOperation.DeletePoints(points=ids(2))),
            ],
        )
    ),
}
"""Calls that name the points 1 and 2"""


@pytest.mark.parametrize(
    "kind", ["unavailable", "applied_then_unavailable", "rate_limit", "too_large", "internal", "invalid"]
)
@pytest.mark.parametrize("call", OTHER_CALLS)
def test_faults_of_other_calls(server: FakeServer, call: str, kind: str) -> None:
    """A fault is for any call of the Points service: it is played once, and the call succeeds after it."""
    upsert(server, 1, 2)
    points = q.PointsStub(server.channel)
    server.fault(f"Points/{call}", kind)
    assert failure(lambda: OTHER_CALLS[call](points)).code() == FAULTS[kind][0]
    there = server.points("c").keys()
    assert there == (set() if kind == "applied_then_unavailable" and call in ("Delete", "UpdateBatch") else {1, 2})
    if there:
        OTHER_CALLS[call](points)
    assert server.stats().faults == {kind: 1}


def test_faults_of_some_requests_only(server: FakeServer) -> None:
    """`ids` and `more_than` look at the points that a request names, in whichever of a batch's operations."""
    upsert(server, 1, 2)
    points = q.PointsStub(server.channel)
    for call, send in OTHER_CALLS.items():
        server.fault(f"Points/{call}", "invalid", ids=[3])
        server.fault(f"Points/{call}", "too_large", more_than=2)
        server.fault(f"Points/{call}", "unavailable", ids=[2])
        server.fault(f"Points/{call}", "internal", more_than=1)
        assert [failure(lambda send=send: send(points)).code() for _ in range(2)] == [
            UNAVAILABLE,
            grpc.StatusCode.INTERNAL,
        ]


@pytest.mark.parametrize(
    ("kind", "status"), [("wait_timeout", q.UpdateStatus.WaitTimeout), ("acknowledged", q.UpdateStatus.Acknowledged)]
)
def test_a_batch_that_is_no_success(server: FakeServer, kind: str, status: int) -> None:
    """Each operation has the status; done or, as `applied=False`, not."""
    upsert(server, 1, 2)
    points = q.PointsStub(server.channel)
    server.fault("Points/UpdateBatch", kind, applied=False)
    server.fault("Points/UpdateBatch", kind)
    for left in ({1, 2}, set()):
        assert [result.status for result in OTHER_CALLS["UpdateBatch"](points).result] == [status] * 2
        assert server.points("c").keys() == left


def test_a_batch_can_break_off(server: FakeServer) -> None:
    """With `operations` only the first ones take effect, as when a server dies in the middle."""
    upsert(server, 1, 2)
    server.fault("Points/UpdateBatch", "applied_then_unavailable", operations=1)
    assert failure(lambda: OTHER_CALLS["UpdateBatch"](q.PointsStub(server.channel))).code() == UNAVAILABLE
    assert server.points("c").keys() == {2}


def test_every_request_of_points_is_written_down(server: FakeServer) -> None:
    """How many points a request names, the operations of a batch in their order, and whether it is conditional."""
    points = q.PointsStub(server.channel)
    for send in OTHER_CALLS.values():
        upsert(server, 1, 2)
        send(points)
    point = q.PointStruct(id=q.PointId(num=1), vectors=q.Vectors(vector=q.Vector(dense=q.DenseVector(data=[1, 2]))))
    points.Upsert(q.UpsertPoints(collection_name="c", points=[point], update_mode=q.UpdateMode.InsertOnly))
    insert = q.PointsUpdateOperation.PointStructList(points=[point], update_filter=q.Filter())
    points.UpdateBatch(q.UpdateBatchPoints(collection_name="c", operations=[q.PointsUpdateOperation(upsert=insert)]))
    stats = server.stats()
    assert [
        (seen.method.removeprefix("Points/"), seen.points, seen.operations, seen.conditional) for seen in stats.requests
    ] == [
        ("Upsert", 2, [], False),
        ("Get", 2, [], False),
        ("Upsert", 2, [], False),
        ("Delete", 2, [], False),
        ("Upsert", 2, [], False),
        ("SetPayload", 2, [], False),
        ("Upsert", 2, [], False),
        ("UpdateBatch", 2, ["delete_points", "delete_points"], False),
        ("Upsert", 1, [], True),
        ("UpdateBatch", 1, ["upsert"], True),
    ]
    assert [seen.points for seen in stats.of("Points/Get")] == [2]
    assert {seen.outcome for seen in stats.requests} == {"OK"}


def test_large_messages_pass(server: FakeServer) -> None:
    """Like the real server it takes requests beyond gRPC's usual 4 MB."""
    point = q.PointStruct(id=q.PointId(num=1), vectors=q.Vectors(vector=q.Vector(dense=q.DenseVector(data=[1, 2]))))
    point.payload["text"].string_value = "x" * 6_000_000
    q.PointsStub(server.channel).Upsert(q.UpsertPoints(collection_name="c", wait=True, points=[point]))
    assert len(server.points("c")[1].payload["text"]) == 6_000_000


def test_a_server_can_die_and_come_back() -> None:
    """Stopped in the middle of a call, the connection breaks; started again it has the same port and holds nothing."""
    server = FakeServer(faults=[Fault("Collections/List", "slow", seconds=HANGS_AFTER_SECONDS)])
    with server:
        port = server.grpc_port
        with closing(grpc.insecure_channel(f"{server.host}:{port}")) as channel:
            waiting = q.CollectionsStub(channel).List.future(q.ListCollectionsRequest(), timeout=HANGS_AFTER_SECONDS)
            server.wait_for(calls={"Collections/List": 1})
            server.stop()
            assert waiting.exception().code() == UNAVAILABLE
            server.start()
            assert server.grpc_port == port
            assert server.stats().calls == {"Qdrant/HealthCheck": 1}


def test_the_command_line(tmp_path: Path) -> None:
    """`python -m tests.fake_server` prints its port and plays the faults of a file."""
    script = tmp_path / "faults.json"
    script.write_text(json.dumps([{"method": "Collections/List", "kind": "rate_limit", "retry_after": 3}]))
    command = [
        sys.executable,
        "-m",
        "tests.fake_server",
        "--port",
        "0",
        "--api-key",
        "sesame",
        "--script",
        str(script),
        "--stop-at-eof",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        watchdog = threading.Timer(HANGS_AFTER_SECONDS, process.kill)
        watchdog.start()
        port = int(process.stdout.readline())
        with closing(grpc.insecure_channel(f"127.0.0.1:{port}")) as channel:
            stub = q.CollectionsStub(channel)
            assert failure(lambda: stub.List(q.ListCollectionsRequest())).code() == grpc.StatusCode.UNAUTHENTICATED
            key = [("api-key", "sesame")]
            assert dict(failure(lambda: stub.List(q.ListCollectionsRequest(), metadata=key)).trailing_metadata()) == {
                "retry-after": "3"
            }
            assert not stub.List(q.ListCollectionsRequest(), metadata=key).collections
        process.stdin.close()
        assert process.wait(timeout=HANGS_AFTER_SECONDS) == 0
        watchdog.cancel()
