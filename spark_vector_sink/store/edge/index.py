"""Create, open and search a Qdrant Edge index. Points are written in `ingest`.

An index is opened and closed within one call, because an open index hangs in a forked child, and Spark forks its
workers.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spark_vector_sink.errors import MissingPackageError, PermanentStoreError, TransientStoreError, shorten
from spark_vector_sink.payload_types import INDEX_TYPES, TENANT_INDEXES
from spark_vector_sink.store.collection import Hit
from spark_vector_sink.store.edge.conditions import filter_of
from spark_vector_sink.store.edge.layout import StoreDirectory, StoreFacts
from spark_vector_sink.store.edge.lock import busy, locked
from spark_vector_sink.store.search_query import RRF_K, Filter, SparseQuery, candidates
from spark_vector_sink.store.write_batch import plain_id

_INDEXING_THRESHOLD_KB = 64_000
"""Size of the vectors in kB from which a graph is built. Below 64 MB (42,000 vectors of 384 dimensions) a search
compares all vectors: exact, in 4 ms, and an append does not have to build the graph again (which takes several times as
long as ingesting the points)."""


_OF_THE_MACHINE = ("Service runtime error", "Inconsistent storage", "Out of memory", "Operation cancelled", "Timeout")

TRY_LATER = "try again when it is free, or wait longer"


class ShardInUseError(TransientStoreError):
    """Error where another program holds the index until after the deadline."""


def qdrant_edge() -> Any:
    """Import Qdrant Edge and return the module; raise MissingPackageError where it is not installed."""
    try:
        import qdrant_edge as edge
    except ImportError:
        raise MissingPackageError("qdrant-edge-py", "edge") from None
    return edge


def create_shard(path: Path, facts: StoreFacts) -> None:
    """Create an empty index. It keeps a log of every write, which is needed so that a killed process loses nothing and
    a second process finds the index locked."""
    edge = qdrant_edge()
    path.mkdir(parents=True)
    vectors, sparse = None, None
    if facts.dense:
        vectors = {
            facts.vector_name: edge.EdgeVectorParams(
                size=facts.dimension, distance=getattr(edge.Distance, facts.distance.capitalize())
            )
        }
    if facts.sparse_vector_name:
        sparse = {facts.sparse_vector_name: edge.EdgeSparseVectorParams()}
    optimizers = edge.EdgeOptimizersConfig(indexing_threshold=_INDEXING_THRESHOLD_KB)
    shard = edge.EdgeShard.create(
        str(path), edge.EdgeConfig(vectors=vectors, sparse_vectors=sparse, optimizers=optimizers, wal_enabled=True)
    )
    try:
        shard.flush()
    finally:
        shard.close()


@contextmanager
def reserved(directory: StoreDirectory, seconds: float, advice: str = TRY_LATER) -> Iterator[float]:
    """Hold the store's lock, like `locked`; an index that is open in another program meanwhile is reported as a busy
    store."""
    with locked(directory, seconds, advice) as deadline:
        try:
            yield deadline
        except ShardInUseError:
            raise busy(directory, "open in a program that is not this sink", seconds, advice) from None


@contextmanager
def opened(path: Path, deadline: float) -> Iterator[Any]:
    """Open the index at `path`; raise ShardInUseError when another program has it open until the deadline."""
    shard = _load(path, deadline)
    try:
        # left by a process that was killed while optimizing; Qdrant Edge never uses it again
        shutil.rmtree(path / "temp_segments", ignore_errors=True)
        yield shard
    except BaseException as error:
        if is_panic(error):
            raise PermanentStoreError(f"the index {path} cannot be used: {shorten(str(error), 200)}") from error
        raise
    finally:
        shard.close()


def is_of_the_machine(error: Exception) -> bool:
    """Return whether an error of Qdrant Edge may be gone on a retry: it has one class of errors, whose first words tell
    them apart."""
    return str(error).startswith(_OF_THE_MACHINE) or "os error" in str(error)


def is_panic(error: BaseException) -> bool:
    """Return whether the error is a panic of Qdrant Edge: it is not an Exception, and its class cannot be imported."""
    return type(error).__name__ == "PanicException"


def create_indexes(shard: Any, wanted: Mapping[str, str]) -> None:
    """Create the payload indexes that do not exist yet."""
    edge = qdrant_edge()
    there = shard.info().payload_schema
    tenants = {
        "tenant": edge.KeywordIndexParams(is_tenant=True),
        "integer_tenant": edge.IntegerIndexParams(is_principal=True),
    }
    for field, kind in wanted.items():
        if kind not in (*INDEX_TYPES, *TENANT_INDEXES):
            raise PermanentStoreError(
                f"an index of type {kind!r} was asked for on '{field}', but the types are {', '.join(INDEX_TYPES)}; "
                "correct option 'payload_indexes'"
            )
        if field not in there:
            schema = tenants[kind] if kind in tenants else getattr(edge.PayloadSchemaType, kind.capitalize())
            try:
                operation = edge.UpdateOperation.create_field_index(field, schema)
            except ValueError as error:
                raise PermanentStoreError(
                    f"the payload index {field}:{kind} cannot be made: {error}; correct option 'payload_indexes'"
                ) from None
            shard.update(operation)
    shard.flush()


def count(shard: Any) -> int:
    """Count the points, exactly."""
    return int(shard.count(qdrant_edge().CountRequest(exact=True)))


def nearest(
    shard: Any,
    facts: StoreFacts,
    vector: Sequence[float] | None,
    limit: int,
    sparse: SparseQuery | None,
    among: Filter | None,
) -> list[Hit]:
    """Return the points nearest to `vector`, to `sparse`, or to both by reciprocal rank fusion, best first."""
    edge = qdrant_edge()
    only = None if among is None else filter_of(edge, among)
    asked = []
    if vector is not None and len(vector):
        asked.append(edge.Query.Nearest([float(x) for x in vector], using=facts.vector_name or None))
    if sparse is not None:
        indices, values = sparse
        asked.append(
            edge.Query.Nearest(
                edge.SparseVector([int(i) for i in indices], [float(x) for x in values]), using=facts.sparse_vector_name
            )
        )
    if len(asked) == 1:
        request = edge.QueryRequest(limit=limit, query=asked[0], filter=only, with_payload=True)
    else:
        both = [edge.Prefetch(limit=candidates(limit), query=query, filter=only) for query in asked]
        request = edge.QueryRequest(limit=limit, query=edge.Fusion.Rrf(k=RRF_K), prefetches=both, with_payload=True)
    answers = shard.query(request)
    return [Hit(plain_id(answer.id), float(answer.score), answer.payload or {}) for answer in answers]


def _load(path: Path, deadline: float) -> Any:
    edge = qdrant_edge()
    while True:
        try:
            return edge.EdgeShard.load(str(path))
        except BaseException as error:  # Qdrant Edge raises no more precise error
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            if "WouldBlock" not in str(error):
                raise PermanentStoreError(f"the index {path} cannot be opened: {shorten(str(error), 200)}") from error
            if time.monotonic() >= deadline:
                raise ShardInUseError(
                    f"the index {path} is open in a program that is not this sink; {TRY_LATER}"
                ) from None
        time.sleep(0.05)
