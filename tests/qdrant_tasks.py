"""A task's end of a collection on a server, fake or real, without a job around it: points to write, and what is there
afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

from spark_vector_sink.options import SinkOptions
from spark_vector_sink.payload_types import SparseVectors
from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.qdrant import Address, QdrantCollections, QdrantStore, wait_for_index
from spark_vector_sink.store.write_batch import How, PointBatch
from tests.fake_server import FakeServer, StoredPoint
from tests.hangs import HANGS_AFTER_SECONDS
from tests.jobs import points_on

DIMENSION = 64

NAMES = {"unnamed": ("",), "named": ("title", "body"), "with sparse": ("", "words"), "sparse only": ("words",)}
"""Kinds of collections, and the vectors of each; `words` are sparse."""


@dataclass(frozen=True)
class Place:
    """A collection of its own on a server."""

    server: Any
    name: str
    vectors: tuple[str, ...] = ("",)

    @property
    def address(self) -> Address:
        return Address(self.server.host, self.server.grpc_port)

    @property
    def target(self) -> Target:
        return Target(self.name, self.name, True)

    @contextmanager
    def task(self, **options: Any) -> Iterator[QdrantStore]:
        """A store as a task has it."""
        store = QdrantStore(
            [self.address],
            self.target,
            SinkOptions.from_mapping({"url": self.server.url, "path": self.name, "vector_column": "v", **options}),
        )
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def driver(self) -> Iterator[QdrantCollections]:
        collections = QdrantCollections([self.address], HANGS_AFTER_SECONDS)
        try:
            yield collections
        finally:
            collections.close()

    @contextmanager
    def client(self) -> Iterator[QdrantClient]:
        """The official one."""
        client = QdrantClient(
            host=self.server.host,
            grpc_port=self.server.grpc_port,
            prefer_grpc=True,
            check_compatibility=False,
            timeout=60,
        )
        try:
            yield client
        finally:
            client.close()

    def points(self) -> dict[int | str, StoredPoint]:
        return points_on(self.server, self.name)

    def optimise(self) -> None:
        """All points that are there are in a segment that the server has built an index for, where an upsert is no full
        replacement."""
        if isinstance(self.server, FakeServer):
            self.server.optimise(self.name)
            return
        with self.driver() as collections, pytest.MonkeyPatch.context() as patched:
            patched.setattr(wait_for_index, "LOOK_SECONDS", 0.1)
            collections.wait_for_index(self.target)
        with self.client() as client:
            assert client.get_collection(self.name).indexed_vectors_count, "nothing was optimised"

    def found(self, ids: Sequence[int]) -> set[int | str]:
        """Which of these any search by vectors finds, however many points there are."""
        hits: set[int | str] = set()
        with self.client() as client:
            for name in self.vectors:
                question: Any = models.SparseVector(indices=[0], values=[1.0]) if name == "words" else [1.0] * DIMENSION
                points = client.query_points(
                    self.name, question, using=name or None, limit=10_000, search_params=models.SearchParams(exact=True)
                ).points
                hits |= {point.id for point in points if isinstance(point.id, int)}
        return hits & set(ids)


INDEXES_OF_A_FULL_LOAD = {
    "_sink.source": "keyword",
    "_sink.run": "keyword",
    "_sink.deleted": "integer",
    "_sink.chunk": "integer",
}
"""Those that a job with `delete_missing` asks for."""


def place_on(server: Any, kind: str = "unnamed", **config: Any) -> Place:
    """A new collection of such vectors, which the optimiser looks at early."""
    place = Place(server, f"c_{uuid.uuid4().hex[:12]}", NAMES[kind])
    params = models.VectorParams(size=DIMENSION, distance=models.Distance.DOT)
    dense: Any = {name: params for name in place.vectors if name not in ("", "words")}
    sparse = {"words": models.SparseVectorParams()} if "words" in place.vectors else None
    with place.client() as client:
        client.create_collection(
            place.name,
            vectors_config=params if "" in place.vectors else dense,
            sparse_vectors_config=sparse,
            **{
                "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=100, default_segment_number=1),
                **config,
            },
        )
    return place


def batch(
    place: Place,
    ids: Sequence[int],
    *,
    how: How = How.REPLACE,
    versions: Sequence[int] | None = None,
    value: float = 1.0,
    names: Sequence[str] | None = None,
    sink: Mapping[str, Any] | None = None,
    **payload: Any,
) -> PointBatch:
    """Points whose vectors are full of `value`, each with the same payload, and with its version in `_sink`."""
    ours = [{**(sink or {}), **({} if versions is None else {"version": versions[row]})} for row in range(len(ids))]
    columns = {name: pa.array([content] * len(ids)) for name, content in payload.items()}
    if any(ours):
        columns["_sink"] = pa.array(ours)
    writes = names if names is not None else () if how in (How.PAYLOAD, How.PATCH, How.TOMBSTONE) else place.vectors
    rows = pa.record_batch(columns) if columns else pa.record_batch([], schema=pa.schema([]))
    return PointBatch(
        list(ids),
        {name: _vectors(name, len(ids), value) for name in writes},
        rows,
        None if versions is None else np.array(versions, np.int64),
        how,
    )


def _vectors(name: str, count: int, value: float) -> Any:
    if name == "words":
        return SparseVectors(
            np.arange(count + 1, dtype=np.int64), np.zeros(count, np.uint32), np.full(count, value, np.float32)
        )
    return np.full((count, DIMENSION), value, np.float32)
