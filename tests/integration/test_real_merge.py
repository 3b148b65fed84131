"""Jobs that own different vectors and fields of the same points, at once, on a real Qdrant whose points lie in an
optimised segment."""

from __future__ import annotations

import json
import threading
import time
from typing import Any
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

from spark_vector_sink.errors import CollectionError
from spark_vector_sink.store.qdrant import guest_vectors
from tests.hangs import HANGS_AFTER_SECONDS
from tests.jobs import Place, server_place

pytestmark = pytest.mark.qdrant

POINTS, OPTIMISED = 400, {"optimizers_config": {"indexing_threshold": 1, "default_segment_number": 1}}

BUSY_POINTS, GONE = 20_000, 500


def rows(field: str, dimension: int, sign: float = 1.0) -> pa.Table:
    """Keys from 0; the key gives the vector, and the job's own field."""
    matrix = np.stack(
        [np.cos(np.arange(POINTS)), *[np.full(POINTS, sign * n) for n in range(1, dimension)]], axis=1
    ).astype(np.float32)
    vector = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), dimension)
    return pa.table(
        {
            "id": pa.array(range(POINTS), pa.int64()),
            "v": vector,
            field: pa.array([f"{field}{sign:g}" for _ in range(POINTS)]),
        }
    )


@pytest.mark.parametrize("name", ["", "first"], ids=["unnamed vector", "named vector"])
def test_jobs_with_their_own_vectors_write_at_once(qdrant_server: Any, client: QdrantClient, name: str) -> None:
    """Three jobs, two of which move in, while the first writes again; every point ends with all vectors and all fields,
    each of its own job."""
    place = server_place(qdrant_server, vector_column="v", distance="dot", batch_points=50)
    place.write(rows("a", 4), vector_name=name, collection_config=OPTIMISED, wait_for_index=True)
    collection = place.options["path"]
    assert client.get_collection(collection).indexed_vectors_count, (
        "nothing is optimised: the test would show less than it says"
    )
    failures: list[BaseException] = []

    def write(table: pa.Table, vector_name: str) -> None:
        try:
            place.write(
                table.slice(0, POINTS // 2),
                table.slice(POINTS // 2),
                vector_name=vector_name,
                existing="merge",
                unchanged="skip",
            )
        except BaseException as error:
            failures.append(error)

    jobs = [(rows("a", 4, 2.0), name), (rows("b", 3), "b"), (rows("c", 5), "c"), (rows("b", 3), "b")]
    threads = [threading.Thread(target=write, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    found, _ = client.scroll(collection, limit=POINTS + 1, with_vectors=True, with_payload=True)
    assert len(found) == POINTS
    for point in found:
        vectors, payload = point.vector, point.payload
        assert isinstance(vectors, dict)
        assert payload is not None
        lengths = {one: len(numbers) for one, numbers in vectors.items() if isinstance(numbers, list)}
        assert lengths == {name: 4, "b": 3, "c": 5}
        assert vectors[name][1:] == [2.0, 4.0, 6.0]
        assert (payload["a"], payload["b"], payload["c"]) == ("a2", "b1", "c1")
    for table, vector_name in jobs:
        again = place.write(table, vector_name=vector_name, existing="merge", unchanged="skip")
        assert (again.unchanged, again.points) == (POINTS, 0)


def wait_until_it_is_indexed_from_a_copy(server: Any, collection: str) -> None:
    """Return when the server has copied the points, and has the index still to build: what is deleted now it has to
    remember until then."""
    end = time.monotonic() + HANGS_AFTER_SECONDS
    while True:
        with urlopen(f"{server.url}/collections/{collection}/optimizations", timeout=HANGS_AFTER_SECONDS) as reply:
            running = json.load(reply)["result"]["running"]
        if any(stage["name"] == "vector_index" for one in running for stage in one["progress"].get("children", ())):
            return
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_was_deleted_stays_so_when_a_vector_moves_in(qdrant_server: Any, client: QdrantClient) -> None:
    """The server optimises when points are deleted; a job that brings another vector lets it come to an end first."""
    place = server_place(qdrant_server, vector_column="v", distance="dot")
    matrix = np.random.default_rng(1).random((BUSY_POINTS, 128), np.float32)
    table = pa.table(
        {"id": range(BUSY_POINTS), "v": pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), 128)}
    )
    slow = {
        "optimizers_config": {**OPTIMISED["optimizers_config"], "max_optimization_threads": 0},
        "hnsw_config": {"ef_construct": 300},
    }
    place.write(table, vector_name="first", collection_config=slow)
    collection = place.options["path"]
    ids = [point.id for point in client.scroll(collection, limit=GONE, with_payload=False)[0]]
    client.update_collection(
        collection,
        optimizers_config=models.OptimizersConfigDiff(
            max_optimization_threads=models.MaxOptimizationThreadsSetting.AUTO
        ),
    )
    wait_until_it_is_indexed_from_a_copy(qdrant_server, collection)
    client.delete(collection, models.PointIdsList(points=ids), wait=True)
    assert client.get_collection(collection).status == models.CollectionStatus.YELLOW, (
        "nothing is optimised: the test would show less than it says"
    )
    place.write(table.slice(0, 0), vector_name="second", dimension=128, existing="merge")
    assert client.count(collection).count == BUSY_POINTS - GONE
    assert client.retrieve(collection, ids) == []


def test_a_server_that_optimises_for_ever_is_not_waited_for(
    qdrant_server: Any, client: QdrantClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a while the vector is created all the same, and what that may do is said."""
    place = server_place(qdrant_server, vector_column="v")
    place.write(rows("a", 4), vector_name="first")
    monkeypatch.setattr(guest_vectors, "QUIET_SECONDS", 0.3)
    monkeypatch.setattr(guest_vectors.IndexState, "of", lambda info: guest_vectors.IndexState("yellow", 0, 0, 0, 0))
    place.write(rows("b", 3), vector_name="b", existing="merge")
    assert (
        client.count(place.options["path"], models.Filter(must=[models.HasVectorCondition(has_vector="b")])).count
        == POINTS
    )
    assert (
        "gets the vector 'b' while the server still optimises it, after 0.3 s of waiting: points that were deleted"
        in caplog.text
    )


def test_a_server_that_cannot_add_a_vector(qdrant_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is said before the first row."""
    place = server_place(qdrant_server, vector_column="v")
    place.write(rows("a", 4))
    monkeypatch.setattr(guest_vectors, "FIRST_SERVER", (9, 0))
    with pytest.raises(
        CollectionError,
        match=r"has no vector 'b', and the server at .* is Qdrant 1\.[0-9.]+, which cannot add one .*; "
        r"update it to 9\.0",
    ):
        place.write(rows("b", 4), vector_name="b", existing="merge")


def test_vectors_of_unknown_origin(qdrant_server: Any, client: QdrantClient) -> None:
    """A name that points already have is not taken over; one that is declared only, is."""
    place = server_place(qdrant_server, vector_column="v", distance="dot")
    collection = place.options["path"]
    four = models.VectorParams(size=4, distance=models.Distance.DOT)
    client.create_collection(collection, vectors_config={"theirs": four, "free": four})
    client.upsert(collection, [models.PointStruct(id=1, vector={"theirs": [1.0, 2, 3, 4]}, payload={})], wait=True)
    options = {"existing": "merge", "vector_name": "theirs"}
    refused(place, r"have the vector 'theirs', which this sink has not written", **options)
    place.write(rows("a", 4), **{**options, "vector_name": "free"})
    refused(place, r"have the vector 'theirs', which this sink has not written", **options)
    place.write(rows("a", 4), **options, adopt_collection=True)


def refused(place: Place, words: str, **options: Any) -> None:
    with pytest.raises(CollectionError, match=words):
        place.write(rows("a", 4), **options)
