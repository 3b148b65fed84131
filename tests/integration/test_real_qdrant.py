"""A real Qdrant server: what it keeps, what it says, and what happens when it dies in the middle of a load."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

import spark_vector_sink
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import CollectionError, PermanentStoreError
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.integration.own import must_be_our_own
from tests.jobs import Place, server_place, vectors
from tests.real_server import RealServer

pytestmark = pytest.mark.qdrant

TEXTS = [
    "the cat sat on the mat",
    "a list of numbers is sorted",
    "rain falls in the night",
    "files are read line by line",
]


@pytest.fixture
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RealServer]:
    """A server of the test's own, to be killed; the marker's argument is its settings."""
    must_be_our_own("a server that is killed")
    settings = getattr(request, "param", {})
    with RealServer(api_key=settings.get("api_key"), env=settings.get("env", {})) as server:
        yield server


def test_text_to_answers(qdrant_server: Any, client: QdrantClient, tiny_model: Path) -> None:
    """A table of text becomes a collection behind an alias that answers a question with the right document."""
    place = server_place(qdrant_server, model=str(tiny_model))
    report = place.write(pa.table({"id": range(4), "text": TEXTS}))
    name = place.options["path"]
    assert report.stored_points == 4
    assert client.count(f"{name}__v1", exact=True).count == 4
    hits = spark_vector_sink.search(f"{qdrant_server.url}/{name}", TEXTS[2], limit=2, grpc_port=qdrant_server.grpc_port)
    assert (hits[0].key, hits[0].payload["text"]) == (2, TEXTS[2])
    assert hits[0].score > hits[1].score


def test_a_plain_collection(qdrant_server: Any, client: QdrantClient) -> None:
    """versioned=false makes a collection of that very name."""
    place = server_place(qdrant_server, vector_column="v", versioned=False)
    place.write(vectors(1))
    assert place.options["path"] in [collection.name for collection in client.get_collections().collections]


def test_foreign_collections(qdrant_server: Any, client: QdrantClient) -> None:
    """An empty collection of somebody else is taken; one with points only when that is said."""
    empty, full = server_place(qdrant_server, vector_column="v"), server_place(qdrant_server, vector_column="v")
    for place in (empty, full):
        client.create_collection(
            place.options["path"], vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE)
        )
    client.upsert(full.options["path"], [models.PointStruct(id=99, vector=[1, 0, 0, 0], payload={})])
    assert empty.write(vectors(2)).stored_points == 2
    with pytest.raises(CollectionError, match=r"1 points that this sink has not written; set adopt_collection=true"):
        full.write(vectors(2))
    assert full.write(vectors(2), adopt_collection=True).stored_points == 3
    assert full.write(vectors(2)).stored_points == 3


def test_an_earlier_job_ended_before_the_alias(qdrant_server: Any, client: QdrantClient) -> None:
    """A version without its alias, left by a job that was killed, is used and gets its alias."""
    place = server_place(qdrant_server, vector_column="v")
    place.write(vectors(1))
    name = place.options["path"]
    client.update_collection_aliases([models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name))])
    assert place.write(vectors(3)).stored_points == 3
    assert client.get_collection(name).points_count == 3


def test_a_count_that_is_not_allowed(qdrant_server: Any) -> None:
    """A job whose points are all applied has not failed because the server may not count them."""
    config = {"strict_mode_config": {"enabled": True, "search_allow_exact": False}}
    report = server_place(qdrant_server, vector_column="v", collection_config=config).write(vectors(3))
    assert (report.written, report.stored_points) == (3, None)
    assert report.warnings == ["the store did not tell how many points it holds"]


def test_several_first_jobs_at_once(qdrant_server: Any) -> None:
    """Jobs that create the same collection at the same time all end well, and every row is there."""
    place = server_place(qdrant_server, vector_column="v")
    with ThreadPoolExecutor(4) as threads:
        reports = list(threads.map(lambda i: place.write(vectors(5, start=5 * i)), range(4)))
    assert max(report.stored_points or 0 for report in reports) == 20


def test_a_server_that_stays_away(own_server: RealServer) -> None:
    """When the retries' time is over, one line says how often it was tried, and why it failed."""
    place = server_place(own_server, vector_column="v", retry_max_seconds=1)
    plan = committer.prepare(planning.plan(place.options, vectors(1).schema))
    own_server.kill9()
    with pytest.raises(
        PermanentStoreError,
        match=rf"upsert to '.*' on {own_server.host}:{own_server.grpc_port} failed: UNAVAILABLE .* \(tried "
        r"(?:once|\d+ times) in \d+ s",
    ):
        partition_writer.write_partition(plan, vectors(1).to_batches(), TaskContext())


KEY = "a-key-that-nobody-must-see"


@pytest.mark.parametrize("own_server", [{"api_key": KEY, "env": {"QDRANT__SERVICE__JWT_RBAC": "true"}}], indirect=True)
class TestKeys:
    """A server that asks for a key."""

    def test_where_the_key_comes_from(
        self, own_server: RealServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The environment, a file and the option all open the door; a wrong key is refused in one line that does not
        show it."""
        place = server_place(own_server, "keys", vector_column="v")
        with pytest.raises(CollectionError, match=r"UNAUTHENTICATED.*'api_key_env'"):
            place.write(vectors(1))
        with pytest.raises(CollectionError) as refused:
            place.write(vectors(1), api_key="wrong-key")
        assert "wrong-key" not in str(refused.value)
        assert place.write(vectors(1), api_key=KEY).stored_points == 1
        (tmp_path / "key").write_text(KEY + "\n")
        assert place.write(vectors(2), api_key_file=str(tmp_path / "key")).stored_points == 2
        monkeypatch.setenv("MY_KEY", KEY)
        report = place.write(vectors(3), api_key_env="MY_KEY", api_key="the environment comes first")
        assert report.stored_points == 3
        assert KEY not in repr(report) + str(report) + repr(place.check(vectors(3), api_key_env="MY_KEY"))

    def test_append_needs_no_more_than_writing(self, own_server: RealServer) -> None:
        """A key that may only read and write points of this collection is enough to append to it."""
        place = server_place(own_server, "rights", vector_column="v")
        place.write(vectors(2), api_key=KEY)
        token = _token({"access": [{"collection": name, "access": "rw"} for name in ("rights", "rights__v1")]})
        assert place.write(vectors(5), api_key=token).stored_points == 5
        with pytest.raises(CollectionError, match=r"PERMISSION_DENIED|UNAUTHENTICATED"):
            Place({**place.options, "path": "another"}).write(vectors(1), api_key=token)


def _token(claims: dict[str, Any]) -> str:
    """A JSON web token of the server's own kind (HS256, signed with its key)."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    body = f"{part(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{body}.{part(hmac.new(KEY.encode(), body.encode(), hashlib.sha256).digest())}"


def test_the_two_ports(qdrant_server: Any) -> None:
    """The REST port as grpc_port is recognised; the gRPC port as url simply works; a closed port is said to be one."""
    place = server_place(qdrant_server, vector_column="v")
    rest = int(qdrant_server.url.rpartition(":")[2])
    with pytest.raises(CollectionError, match=f"grpc_port {rest} of .* speaks REST"):
        place.write(vectors(1), grpc_port=rest)
    options = {key: value for key, value in place.options.items() if key != "grpc_port"}
    assert (
        Place({**options, "url": f"http://{qdrant_server.host}:{qdrant_server.grpc_port}"})
        .write(vectors(1))
        .stored_points
        == 1
    )
    with pytest.raises(CollectionError, match=r"no Qdrant server answers gRPC at .*:9 "):
        place.write(vectors(1), grpc_port=9)


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    """An https url works with the authority's file, and without it one line says that nobody answers with TLS."""
    must_be_our_own("a server with TLS")
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files, *subject],
        check=True,
        capture_output=True,
    )
    with RealServer(tls=tmp_path) as server:
        place = server_place(server, "secure", vector_column="v")
        assert place.write(vectors(3), tls_ca_file=str(tmp_path / "cert.pem")).stored_points == 3
        with pytest.raises(CollectionError, match=r"no Qdrant server answers gRPC at .* with TLS"):
            place.write(vectors(3))


def test_vectors_arrive_as_they_were(qdrant_server: Any, client: QdrantClient) -> None:
    """A float32 vector is stored bit by bit (distance dot: the server does not normalise)."""
    place = server_place(qdrant_server, vector_column="v", distance="dot")
    matrix = np.random.default_rng(7).normal(size=(64, 4)).astype(np.float32)
    rows = pa.table({"id": range(64), "v": pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), 4)})
    place.write(rows)
    stored = {point.id: point.vector for point in client.retrieve(place.options["path"], range(64), with_vectors=True)}
    assert np.array_equal(np.array([stored[i] for i in range(64)], np.float32), matrix)
