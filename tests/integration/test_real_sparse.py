"""Sparse vectors on a real Qdrant server: what its configuration becomes, and what an optimised segment keeps."""

from __future__ import annotations

import time
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

from spark_vector_sink.options import SinkOptions
from spark_vector_sink.payload_types import SparseVectors
from spark_vector_sink.store import registry
from spark_vector_sink.store.collection import CollectionSpec
from spark_vector_sink.store.write_batch import PointBatch
from tests.hangs import HANGS_AFTER_SECONDS
from tests.jobs import metadata

pytestmark = pytest.mark.qdrant


class Collection:
    """A collection of its own, written to without a job."""

    def __init__(self, server: Any, config: dict[str, Any], *, sparse: str | None = "sp", dense: bool = True) -> None:
        self.name = f"c_{uuid.uuid4().hex[:12]}"
        self.options = SinkOptions.from_mapping(
            {"url": server.url, "grpc_port": server.grpc_port, "path": self.name, "vector_column": "v"}
        )
        remembered = metadata("", sparse, dense=dense)
        dimension = 64 if dense else None
        self.spec = CollectionSpec(
            "", dimension, "dot", remembered, config=config, versioned=False, sparse_vector_name=sparse, dense=dense
        )

    def problems(self) -> tuple[str, ...]:
        place, _ = registry.find(self.options)
        with registry.collections(self.options, place) as collections:
            return collections.resolve(self.name, self.spec).problems

    def write(self, ids: list[int], sparse: SparseVectors) -> None:
        place, _ = registry.find(self.options)
        with registry.collections(self.options, place) as collections:
            target = collections.prepare(collections.resolve(self.name, self.spec), self.spec, "run")
            store = registry.store(self.options, place, target, "run", 0, 0)
            try:
                dense = np.random.default_rng(0).standard_normal((len(ids), 64)).astype(np.float32)
                store.submit(PointBatch(ids, {"": dense, "sp": sparse}, pa.record_batch({"n": ids})))
                store.flush()
            finally:
                store.close()

    def found(self, index: int) -> list[Any]:
        place, _ = registry.find(self.options)
        with registry.collections(self.options, place) as collections:
            return [hit.id for hit in collections.search(self.name, None, 5, sparse=([index], [1.0]))]


def one_entry_each(count: int) -> SparseVectors:
    """Point n has the index n, with the weight 1."""
    return SparseVectors(np.arange(count + 1), np.arange(count, dtype=np.uint32), np.ones(count, np.float32))


def test_settings_reach_both_kinds_of_vectors(qdrant_server: Any, client: QdrantClient) -> None:
    """`collection_config` has settings of the dense vector, of the sparse one, and of the collection."""
    config = {
        "vectors": {"on_disk": True},
        "sparse_vectors": {"modifier": "idf", "index": {"on_disk": True}},
        "on_disk_payload": False,
    }
    collection = Collection(qdrant_server, config)
    collection.write([0], one_entry_each(1))
    params = client.get_collection(collection.name).config.params
    assert (params.vectors.size, params.vectors.on_disk, params.on_disk_payload) == (64, True, False)
    assert params.sparse_vectors["sp"].modifier == models.Modifier.IDF
    assert params.sparse_vectors["sp"].index.on_disk


@pytest.mark.parametrize(
    ("config", "kinds", "words"),
    [
        ({"sparse_vectors": {"modifier": "idf"}}, {"sparse": None}, "may not set 'sparse_vectors', because"),
        ({"vectors": {"on_disk": True}}, {"dense": False}, "may not set 'vectors', because"),
        ({"sparse_vectors": {"sp": {"modifier": "idf"}}}, {}, "settings of the one sparse vector"),
        ({"sparse_vectors": {"modifier": "bm25"}}, {}, "is no create-collection body: sparse_vectors.modifier"),
        ({"metadata": {}}, {}, "may not set 'metadata'"),
    ],
)
def test_settings_that_are_refused(
    qdrant_server: Any, config: dict[str, Any], kinds: dict[str, Any], words: str
) -> None:
    """Settings of vectors that the job does not make, or that the server does not know, are one line each before
    anything is created."""
    problems = Collection(qdrant_server, config, **kinds).problems()
    assert len(problems) == 1
    assert words in problems[0]
    assert "\n" not in problems[0]


def test_a_point_that_lost_its_weights_is_found_no_more(qdrant_server: Any, client: QdrantClient) -> None:
    """In a segment that the server has optimised, a vector that is left out of an upsert stays; so one without entries
    is sent, and replaces it."""
    collection = Collection(
        qdrant_server, {"optimizers_config": {"indexing_threshold": 10, "default_segment_number": 1}}
    )
    collection.write(list(range(3000)), one_entry_each(3000))
    until = time.monotonic() + HANGS_AFTER_SECONDS
    while (
        not (info := client.get_collection(collection.name)).indexed_vectors_count
        or info.status != models.CollectionStatus.GREEN
    ):
        assert time.monotonic() < until, f"the server has not optimised in {HANGS_AFTER_SECONDS:g} s"
        time.sleep(0.05)
    collection.write([5, 6], SparseVectors(np.array([0, 0, 1]), np.array([9], np.uint32), np.ones(1, np.float32)))
    assert (collection.found(5), sorted(collection.found(9))) == ([], [6, 9])
