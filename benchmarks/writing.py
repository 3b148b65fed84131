"""What child processes of the parts about writing do: the sink's own store, its whole task, and the official client by
hand, on the same points.

Each function prepares, with the points in memory, and returns what a run does: write all of them, and tell wall and CPU
seconds, from the opening of the connection to its end. CPU is the process's own, with the threads of gRPC.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.points import PAYLOAD, Points, made, repeated
from benchmarks.store import client
from benchmarks.work import Run
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext

UPSERT = 256
"""Points of a request of the official client."""


def store(rows: int, dimension: int) -> Run:
    """`VectorStore.submit` and `flush`, as the engine calls them, without the engine. plan: of a job with ready-made
    vectors."""
    from spark_vector_sink.store import registry
    from spark_vector_sink.store.write_batch import PointBatch

    known = list(made(rows, dimension))

    def run(plan: str) -> dict[str, Any]:
        planned = pickle.loads(Path(plan).read_bytes())

        def write() -> None:
            with closing(registry.store(planned.options, planned.place, planned.target, planned.run, 0, 0)) as opened:
                for each in known:
                    opened.submit(PointBatch(each.ids, {planned.spec.vector_name: each.vectors}, each.payload))
                opened.flush()

        return _timed(write)

    return run


def upsert(rows: int, dimension: int, url: str, grpc_port: int) -> Run:
    """`QdrantClient.upsert` of `PointStruct`s over gRPC, each request waited for."""
    known = list(made(rows, dimension))

    def run(collection: str) -> dict[str, Any]:
        def write() -> None:
            with closing(client(url, grpc_port)) as qdrant:
                upsert_all(qdrant, collection, known)

        return _timed(write)

    return run


def upload_collection(rows: int, dimension: int, url: str, grpc_port: int) -> Run:
    """`QdrantClient.upload_collection` over gRPC: the matrix as it is, payloads as dictionaries, each request waited
    for."""
    import numpy as np

    known = list(made(rows, dimension))
    vectors = np.concatenate([each.vectors for each in known])

    def run(collection: str) -> dict[str, Any]:
        def write() -> None:
            payload = chain.from_iterable(each.payload.to_pylist() for each in known)
            ids = chain.from_iterable(each.ids for each in known)
            with closing(client(url, grpc_port)) as qdrant:
                qdrant.upload_collection(collection, vectors, payload=payload, ids=ids, batch_size=UPSERT, wait=True)

        return _timed(write)

    return run


def task(rows: int, dimension: int, fields: Sequence[str] = PAYLOAD.names, repeat: int | None = None) -> Run:
    """`write_partition` of points with ready-made vectors and these payload columns, and `commit`.

    repeat: so many rows, made of those `rows` while they are read.
    """
    from spark_vector_sink.driver import committer

    known = [each.select(fields) for each in made(rows, dimension)]
    batches = [each.rows() for each in known] if repeat is None else []

    def run(plan: str) -> dict[str, Any]:
        planned = pickle.loads(Path(plan).read_bytes())
        found = batches if repeat is None else (each.rows() for each in repeated(known[0], repeat))

        told: dict[str, Any] = {}

        def write() -> int | None:
            report = partition_writer.write_partition(planned, found, TaskContext(0, 0, cpus=1))
            told["retries"] = report.retries
            return committer.commit(planned, [report]).stored_points

        return {**_timed(write), **told}

    return run


def local(rows: int, dimension: int, fields: Sequence[str] = PAYLOAD.names) -> Run:
    """The client's own local mode. path: a directory, or `:memory:`."""
    from qdrant_client import QdrantClient
    from qdrant_client.models import Distance, VectorParams

    known = [each.select(fields) for each in made(rows, dimension)]

    def run(path: str) -> dict[str, Any]:
        def write() -> int:
            with closing(QdrantClient(":memory:") if path == ":memory:" else QdrantClient(path=path)) as qdrant:
                qdrant.create_collection(
                    "points", vectors_config=VectorParams(size=dimension, distance=Distance.COSINE)
                )
                upsert_all(qdrant, "points", known)
                return int(qdrant.count("points", exact=True).count)

        return _timed(write)

    return run


def upsert_all(qdrant: Any, collection: str, known: Sequence[Points]) -> None:
    """Upsert `PointStruct`s, so many at a time, each made when its request is."""
    from qdrant_client.models import PointStruct

    for each in known:
        for start in range(0, len(each), UPSERT):
            payloads = each.payload.slice(start, UPSERT).to_pylist()
            vectors = each.vectors[start : start + UPSERT].tolist()
            found = zip(each.ids[start : start + UPSERT], vectors, payloads, strict=True)
            structs = [PointStruct(id=id, vector=vector, payload=payload) for id, vector, payload in found]
            qdrant.upsert(collection, structs, wait=True)


def _timed(write: Callable[[], int | None]) -> dict[str, Any]:
    """What a run took. points: how many the store holds, where the run tells."""
    begun, cpu = time.perf_counter(), time.process_time()
    points = write()
    return {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - cpu, "points": points}
