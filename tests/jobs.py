"""Run a whole job without Spark: the calls that both doors make, in their order."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from spark_vector_sink import job
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.report import WriteReport
from spark_vector_sink.store import registry
from spark_vector_sink.store.collection import Hit
from spark_vector_sink.store.collection_metadata import DENSE, SPARSE, CollectionMetadata, VectorMetadata
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.fake_server import StoredPoint, read_points


@dataclass(frozen=True)
class Place:
    """A store, by the options that name it."""

    options: dict[str, Any]

    def write(self, *partitions: pa.Table, mode: str = "append", **options: Any) -> WriteReport:
        """A job with one task for each table."""
        plan = committer.prepare(planning.plan({**self.options, **options}, partitions[0].schema, mode))
        return committer.commit(
            plan,
            [
                partition_writer.write_partition(plan, table.to_batches(), TaskContext(partition=i))
                for i, table in enumerate(partitions)
            ],
        )

    def check(self, table: pa.Table, **options: Any) -> job.Plan:
        return planning.check({**self.options, **options}, table.schema)

    def nearest(
        self,
        vector: list[float],
        limit: int = 1000,
        vector_name: str | None = None,
        among: Mapping[str, Any] | None = None,
    ) -> list[Hit]:
        """Points by distance, with payload. among: only those that match this filter, in Qdrant's JSON."""
        options = SinkOptions.from_mapping(self.options)
        place, _ = registry.find(options)
        with registry.collections(options, place) as collections:
            return collections.search(
                place.name(options), vector, limit, vector_name=vector_name, among=registry.checked_filter(among)
            )

    def apart(self, wanted: Mapping[Any, npt.NDArray[np.float32]], *, sparse: bool = False) -> float:
        """How far the vectors of all points are from those wanted, by the scores of some random questions of length 1:
        a difference in any number shows. The distance is "dot", or all vectors have length 1; at most 1000 points."""
        options = SinkOptions.from_mapping(self.options)
        place, _ = registry.find(options)
        size = len(next(iter(wanted.values())))
        most = 0.0
        with registry.collections(options, place) as collections:
            for question in np.random.default_rng(7).uniform(0.1, 1.0, (4, size)).astype(np.float32):
                question /= np.linalg.norm(question)
                name, numbers = place.name(options), question.tolist()
                hits = (
                    collections.search(name, None, 1000, sparse=(range(size), numbers))
                    if sparse
                    else collections.search(name, numbers, 1000)
                )
                assert {hit.id for hit in hits} == wanted.keys()
                most = max(most, *(abs(hit.score - float(wanted[hit.id] @ question)) for hit in hits))
        return most

    def stored(self) -> dict[int | str, dict[str, Any]]:
        """The payload of every point."""
        return {hit.id: dict(hit.payload) for hit in self.nearest([1.0, 0.0, 0.0, 0.0])}


def metadata(name: str = "", sparse: str | None = None, *, dense: bool = True, **changes: Any) -> CollectionMetadata:
    """What is remembered of one job's vectors; changes: what is remembered of each of them."""
    names = [(name, DENSE)] * dense + ([] if sparse is None else [(sparse, SPARSE)])
    return CollectionMetadata(
        tuple(VectorMetadata(one, kind, names[0][0], **changes) for one, kind in names), "spark-vector-sink 0", ("id",)
    )


def server_place(server: Any, name: str | None = None, **options: Any) -> Place:
    """A collection of its own on a server of the fixtures."""
    return Place(
        {"url": server.url, "grpc_port": server.grpc_port, "path": name or f"c_{uuid.uuid4().hex[:12]}", **options}
    )


def vectors(count: int, *, start: int = 0, **columns: Any) -> pa.Table:
    """Rows with ready-made vectors of 4 dimensions that grow away from the first axis, and keys from `start`."""
    angles = np.linspace(0.0, 1.5, max(count, 1))[:count]
    matrix = np.stack([np.cos(angles), np.sin(angles), np.zeros(count), np.zeros(count)], axis=1).astype(np.float32)
    vector = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), 4)
    return pa.table({"id": pa.array(range(start, start + count), pa.int64()), "v": vector, **columns})


def points_on(server: Any, collection: str) -> dict[int | str, StoredPoint]:
    """Every point of a collection, read by the server's own messages: payload, vectors, no limit."""
    with grpc.insecure_channel(
        f"{server.host}:{server.grpc_port}", [("grpc.max_receive_message_length", -1)]
    ) as channel:
        return read_points(channel, collection)


def numbered(
    count: int,
    at: Mapping[int, Callable[[], object]] | None = None,
    *,
    batch: int = 250,
    dimension: int = 4,
    start: int = 0,
) -> Iterator[pa.RecordBatch]:
    """Rows with keys from `start`, the same number as payload `n`, and random vectors of that dimension, the same for
    the same `start`.

    at: what happens just before the batch with the so-manieth row is read, and never before; rows that were read
    earlier may still be on their way.
    """
    random, events = np.random.default_rng(start), dict(at or {})
    for first in range(0, count, batch):
        for row in [row for row in events if row < first + batch]:
            events.pop(row)()
        size = min(batch, count - first)
        numbers = pa.array(range(start + first, start + first + size), pa.int64())
        matrix = random.normal(size=(size, dimension)).astype(np.float32)
        vector = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), dimension)
        yield pa.RecordBatch.from_pydict({"id": numbers, "v": vector, "n": numbers})
    assert not events, f"nothing happened at the rows {sorted(events)}: there are only {count}"


@pytest.fixture(params=["embedded", "fake", pytest.param("real", marks=pytest.mark.qdrant)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Every store in turn; the jobs below write ready-made vectors."""
    ready = {"vector_column": "v"}
    if request.param == "embedded":
        yield Place({"path": str(tmp_path / "store"), **ready})
        return
    server = request.getfixturevalue("shared_fake" if request.param == "fake" else "qdrant_server")
    yield server_place(server, **ready)
