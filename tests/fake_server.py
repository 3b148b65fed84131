"""A Qdrant for tests: the official gRPC services on a real port in a process of its own, over a small store in memory, with scripted faults.

Spark's workers are processes, so a fake has to be reached over the network. In a test:

    with FakeServer() as server:
        server.fault("Points/Upsert", "applied_then_unavailable", times=2)
        ...                                         # url=server.url, grpc_port=server.grpc_port
        assert server.points("articles").keys() == {1, 2, 3}
        assert server.stats().calls["Points/Upsert"] == 3

By hand: `python -m tests.fake_server --port 0 [--api-key KEY] [--script faults.json]` prints the port; the script is a JSON list of faults.

It answers what Qdrant 1.18.2 answers, with the same status codes and words (`tests/contract/test_servers_agree.py` holds it to that), except that
vectors are kept as they were sent (Qdrant scales them to length 1 where the distance is cosine), that an unknown vector name refuses the whole request
or a vector of the wrong kind (Qdrant writes some of the other points, whichever come first in its hash table), and that filters, prefetches other than
for reciprocal rank fusion, and conditional upserts are UNIMPLEMENTED rather than half right.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import re
import subprocess
import sys
import threading
import time
import types
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import grpc
import numpy as np
import numpy.typing as npt

if __name__ == "__main__":  # the server needs the client's messages, not the client: it starts in 0.4 s instead of 1.8 s
    _package = types.ModuleType("qdrant_client")
    _package.__path__ = list(importlib.util.find_spec("qdrant_client").submodule_search_locations)  # type: ignore[union-attr, arg-type]
    sys.modules["qdrant_client"] = _package

from qdrant_client import grpc as q

VERSION = "1.18.2"
Message: TypeAlias = Any
"""A protobuf message; the generated classes are not typed in a way that checkers can follow."""
PointKey: TypeAlias = int | str
"""An unsigned integer or a lower-case UUID."""
Matrix: TypeAlias = npt.NDArray[np.float32]

# --- faults -----------------------------------------------------------------------------------------------------------------------------------

_INVALID, _EXHAUSTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
_RATE = "Rate limiting exceeded: Write rate limit exceeded"

FAULTS: dict[str, tuple[grpc.StatusCode | None, str, bool]] = {
    "unavailable": (grpc.StatusCode.UNAVAILABLE, "connection refused", False),
    "applied_then_unavailable": (grpc.StatusCode.UNAVAILABLE, "Stream removed (recvmsg:Connection reset by peer)", True),
    "rate_limit": (_EXHAUSTED, f"{_RATE}: Operation requires 2 tokens but only 1.0 were available.", False),
    "no_space": (_EXHAUSTED, "Insufficient storage: no space left on device", False),
    "too_large": (_EXHAUSTED, f"{_RATE}, request larger than rate limiter capacity, please try to split your request", False),
    "deadline": (grpc.StatusCode.DEADLINE_EXCEEDED, "Timeout: the operation took too long", False),
    "internal": (grpc.StatusCode.INTERNAL, "Service internal error: something broke", False),
    "invalid": (_INVALID, "Wrong input: something is wrong with a point", False),
    "slow": (None, "", True),
    "wait_timeout": (None, "", True),
    "acknowledged": (None, "", True),
}
"""kind → status code (None: a reply), the words, and whether the request takes effect all the same"""


@dataclass
class Fault:
    """What one method does on its next calls. Faults of one method are used up in the order in which they were given."""

    method: str
    """`Points/Upsert`, `Collections/Get`, …"""
    kind: str
    """one of FAULTS"""
    times: int | None = 1
    """calls that get it; None: all from now on"""
    skip: int = 0
    """calls that are served as usual before"""
    more_than: int = 0
    """leave upserts of no more than so many points alone (they do not count as calls either)"""
    ids: list[PointKey] | None = None
    """leave upserts alone that have none of these points"""
    seconds: float | None = None
    """slow: the delay (0.2 s). deadline: the longest wait, by default until the client gives up"""
    retry_after: int | None = None
    """rate_limit: seconds for the trailing metadata; None: without"""
    applied: bool | None = None
    """whether the request takes effect; None: as the kind says"""
    message: str | None = None
    """other words"""

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"unknown fault {self.kind!r}; there are {', '.join(FAULTS)}")

    def takes_effect(self) -> bool:
        return FAULTS[self.kind][2] if self.applied is None else self.applied

    def perform(self, apply: Callable[[], Message], context: grpc.ServicerContext) -> Message:
        """Answer one call."""
        code, words, _ = FAULTS[self.kind]
        if self.kind == "slow":
            time.sleep(0.2 if self.seconds is None else self.seconds)
        reply = apply() if self.takes_effect() else q.PointsOperationResponse(result=q.UpdateResult(operation_id=0))
        if code is None:
            if self.kind != "slow":
                reply.result.status = q.UpdateStatus.WaitTimeout if self.kind == "wait_timeout" else q.UpdateStatus.Acknowledged
            return reply
        if self.kind == "deadline":
            given_up = threading.Event()
            if context.add_callback(given_up.set):
                given_up.wait(self.seconds)
        words = self.message or words
        if self.kind == "no_space":
            context.set_trailing_metadata((("qdrant-insufficient-storage", "1"),))
        if self.kind == "rate_limit" and self.retry_after is not None:
            context.set_trailing_metadata((("retry-after", str(self.retry_after)),))
            words += f" Retry after {self.retry_after}s"
        context.abort(code, words)
        raise AssertionError("abort() does not return")


class Script:
    """The faults still to come."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._faults = list(faults)

    def add(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            self._faults += faults

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, points: Sequence[Message] = ()) -> Fault | None:
        """The fault of this call, if it has one. points: those of an upsert."""
        with self._lock:
            for fault in self._faults:
                if fault.method != method or (fault.more_than and len(points) <= fault.more_than):
                    continue
                if fault.ids is not None and not any((point.id.uuid or point.id.num) in fault.ids for point in points):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    return None
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault
        return None


# --- what was seen ----------------------------------------------------------------------------------------------------------------------------


@dataclass
class SeenUpsert:
    """One Upsert request, whatever became of it."""

    collection: str
    points: int
    bytes: int
    peer: str
    """the client's address: one for each connection"""
    start: float
    """seconds since the server's start"""
    seconds: float = 0.0
    """until the reply"""
    outcome: str = "running"
    """`OK` or the name of a status code"""


@dataclass
class Stats:
    """What a fake server has seen."""

    calls: dict[str, int] = field(default_factory=dict)
    """method → calls, those with a fault too, refused keys not"""
    faults: dict[str, int] = field(default_factory=dict)
    """kind → how often it was played"""
    upserts: list[SeenUpsert] = field(default_factory=list)
    most_concurrent_upserts: int = 0

    @property
    def batch_sizes(self) -> list[int]:
        """Points of each Upsert request, in the order of arrival."""
        return [upsert.points for upsert in self.upserts]

    @property
    def peers(self) -> set[str]:
        """Connections that upserts came over."""
        return {upsert.peer for upsert in self.upserts}


class Recorder:
    """Keeps the Stats."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._calls: Counter[str] = Counter()
            self._faults: Counter[str] = Counter()
            self._upserts: list[SeenUpsert] = []
            self._running = self._most = 0

    def to_json(self) -> bytes:
        with self._lock:
            stats = Stats(dict(self._calls), dict(self._faults), self._upserts, self._most)
            return json.dumps(asdict(stats)).encode()

    def played(self, fault: Fault) -> None:
        with self._lock:
            self._faults[fault.kind] += 1

    @contextmanager
    def call(self, method: str, request: Message, context: grpc.ServicerContext) -> Iterator[None]:
        """Around one call, from its arrival to its reply."""
        start, seen = time.monotonic(), None
        with self._lock:
            self._calls[method] += 1
            if method == "Points/Upsert":
                seen = SeenUpsert(request.collection_name, len(request.points), request.ByteSize(), context.peer(), start - self._started)
                self._upserts.append(seen)
                self._running += 1
                self._most = max(self._most, self._running)
        try:
            yield
        finally:
            if seen is not None:
                with self._lock:
                    self._running = max(0, self._running - 1)
                    seen.seconds = time.monotonic() - start
                    seen.outcome = (context.code() or grpc.StatusCode.OK).name


# --- the store --------------------------------------------------------------------------------------------------------------------------------


class RefusedError(Exception):
    """The server does not do what was asked: a status code and Qdrant's words."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


def _invalid(words: str) -> RefusedError:
    return RefusedError(_INVALID, words)


def _not_found(words: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.NOT_FOUND, f"Not found: {words}")


def _unimplemented(words: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.UNIMPLEMENTED, f"the fake server knows no {words}")


def key_of(point_id: Message) -> PointKey:
    """The Python value of a PointId message; UUIDs in their canonical form."""
    kind = point_id.WhichOneof("point_id_options")
    if kind is None:
        raise _invalid("No ID options provided")
    if kind == "num":
        return int(point_id.num)
    try:
        return str(uuid.UUID(point_id.uuid))
    except ValueError:
        raise _invalid(f"Unable to parse UUID: {point_id.uuid}") from None


def id_of(key: PointKey) -> Message:
    """The PointId message of a Python value."""
    return q.PointId(num=key) if isinstance(key, int) else q.PointId(uuid=key)


def _order(key: PointKey) -> tuple[bool, int]:
    """Points are in the order of their ids: numbers first."""
    return (False, key) if isinstance(key, int) else (True, uuid.UUID(key).int)


def _vector_output(vector: Message) -> Message:
    """The vector as the server gives it back: the fields have the same numbers, but the old way to send one is not the way it is returned,
    and the entries of a sparse one are sorted."""
    kind = vector.WhichOneof("vector")
    if kind is None and not vector.HasField("indices"):
        return q.VectorOutput(dense=q.DenseVector(data=vector.data))
    if kind not in (None, "sparse"):
        return q.VectorOutput.FromString(vector.SerializeToString())
    indices, values = (vector.sparse.indices, vector.sparse.values) if kind else (vector.indices.data, vector.data)
    entries = sorted(zip(indices, values, strict=True))
    return q.VectorOutput(sparse=q.SparseVector(indices=[index for index, _ in entries], values=[value for _, value in entries]))


def _vectors_by_name(vectors: Message) -> dict[str, Message]:
    kind = vectors.WhichOneof("vectors_options")
    if kind is None:
        raise _invalid("No Vector Provided")
    if kind == "vectors":
        return {name: _vector_output(vector) for name, vector in vectors.vectors.vectors.items()}
    unnamed = _vector_output(vectors.vector)
    if not unnamed.HasField("dense") and not unnamed.HasField("multi_dense"):
        raise _invalid("Sparse vector must be named")
    return {"": unnamed}


def _check_numbers(value: Message) -> None:
    """Neither payload nor metadata have NaN or infinity: JSON has none."""
    kind = value.WhichOneof("kind")
    if kind == "double_value" and not math.isfinite(value.double_value):
        raise _invalid("cannot convert to json number")
    for part in value.struct_value.fields.values() if kind == "struct_value" else value.list_value.values if kind == "list_value" else ():
        _check_numbers(part)


@dataclass
class Point:
    """A point as it was sent."""

    vectors: dict[str, Message]
    payload: Message
    """a PointStruct with the payload alone: a map of protobuf values lives only inside a message"""
    version: int = 0

    @classmethod
    def of(cls, sent: Message) -> Point:
        for value in sent.payload.values():
            _check_numbers(value)
        if not sent.HasField("vectors"):
            raise _invalid("Expected some vectors")
        payload = q.PointStruct()
        for name, value in sent.payload.items():
            payload.payload[name].CopyFrom(value)
            if value.WhichOneof("kind") is None:
                payload.payload[name].null_value = 0
        return cls(_vectors_by_name(sent.vectors), payload)

    def fill(self, reply: Message, with_payload: Message, with_vectors: Message) -> None:
        """Put into a RetrievedPoint or ScoredPoint what was asked for."""
        _select_payload(self.payload.payload, with_payload, reply.payload)
        selected = with_vectors.WhichOneof("selector_options")
        if selected is None or (selected == "enable" and not with_vectors.enable):
            return
        names = self.vectors if selected == "enable" else [name for name in with_vectors.include.names if name in self.vectors]
        if list(names) == [""]:
            reply.vectors.vector.CopyFrom(self.vectors[""])
            return
        reply.vectors.vectors.SetInParent()
        for name in names:
            reply.vectors.vectors.vectors[name].CopyFrom(self.vectors[name])


def _select_payload(payload: Message, selector: Message, into: Message) -> None:
    """Copy what a WithPayloadSelector asks for."""
    kind = selector.WhichOneof("selector_options")
    if kind == "include":
        for path in selector.include.fields:
            _include(payload, _steps(path), into)
    elif kind == "exclude" or (kind == "enable" and selector.enable):
        for name, value in payload.items():
            into[name].CopyFrom(value)
        for path in selector.exclude.fields:
            _exclude(into, _steps(path))


def _steps(path: str) -> list[str]:
    """`a.b` reaches into an object; a key with a dot in it is put in quotes."""
    if "[" in path:
        raise _unimplemented("payload paths into lists")
    return [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^."]+)', path)]


def _include(fields: Message, steps: list[str], into: Message) -> None:
    head, *rest = steps
    if head not in fields:
        return
    if not rest or not fields[head].HasField("struct_value"):
        into[head].CopyFrom(fields[head])
        return
    into[head].struct_value.SetInParent()
    _include(fields[head].struct_value.fields, rest, into[head].struct_value.fields)


def _exclude(fields: Message, steps: list[str]) -> None:
    head, *rest = steps
    if head not in fields:
        return
    if not rest:
        del fields[head]
    elif fields[head].HasField("struct_value"):
        _exclude(fields[head].struct_value.fields, rest)


@dataclass
class Collection:
    """One collection."""

    config: Message
    """CollectionConfig"""
    params: dict[str, Message]
    """vector name → VectorParams of the dense vectors"""
    sparse: set[str]
    points: dict[PointKey, Point] = field(default_factory=dict)
    indexes: dict[str, Message] = field(default_factory=dict)
    """field → PayloadSchemaInfo"""
    operations: int = 0

    @classmethod
    def of(cls, request: Message) -> Collection:
        """What a CreateCollection request makes; what it leaves open gets Qdrant's own defaults."""
        given = request.vectors_config
        params = dict(given.params_map.map) if given.HasField("params_map") else {"": given.params} if given.HasField("params") else {}
        for vector in params.values():
            if not 1 <= vector.size <= 65536:
                where = "config.map.[]" if given.HasField("params_map") else "config"
                raise _invalid(f"Validation error in body: [vectors_config.{where}.size: value {vector.size} invalid, must be from 1 to 65536]")
            if vector.distance == q.Distance.UnknownDistance:
                raise _invalid("Malformed distance parameter: UnknownDistance")
        sparse = set(request.sparse_vectors_config.map)
        if "" in sparse:
            raise _invalid("Wrong input: Sparse vector name cannot be empty")
        if sparse & set(params):
            twice = min(sparse & set(params))
            raise _invalid(f"Wrong input: Dense and sparse vector names must be unique - duplicate found with '{twice}'")
        config = q.CollectionConfig(
            params=q.CollectionParams(shard_number=1, on_disk_payload=True, replication_factor=1, write_consistency_factor=1),
            hnsw_config=q.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10000, max_indexing_threads=0, on_disk=False),
            optimizer_config=q.OptimizersConfigDiff(
                deleted_threshold=0.2,
                vacuum_min_vector_number=1000,
                default_segment_number=0,
                indexing_threshold=10000,
                flush_interval_sec=5,
                max_optimization_threads=q.MaxOptimizationThreads(setting=q.MaxOptimizationThreads.Setting.Auto),
            ),
            wal_config=q.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0, wal_retain_closed=1),
        )
        for name in ("shard_number", "on_disk_payload", "replication_factor", "write_consistency_factor", "sharding_method"):
            if request.HasField(name):
                setattr(config.params, name, getattr(request, name))
        if params:
            config.params.vectors_config.CopyFrom(given)
        else:
            config.params.vectors_config.params_map.SetInParent()
        if request.HasField("sparse_vectors_config"):
            config.params.sparse_vectors_config.CopyFrom(request.sparse_vectors_config)
        config.hnsw_config.MergeFrom(request.hnsw_config)
        config.optimizer_config.MergeFrom(request.optimizers_config)
        config.wal_config.MergeFrom(request.wal_config)
        for name in ("quantization_config", "strict_mode_config"):
            if request.HasField(name):
                getattr(config, name).CopyFrom(getattr(request, name))
        for name, value in request.metadata.items():
            config.metadata[name].CopyFrom(value)
        return cls(config, params, sparse)

    def update(self, request: Message) -> None:
        """UpdateCollection: metadata are merged, and a null takes its key out."""
        for name in ("hnsw_config", "strict_mode_config"):
            if request.HasField(name):
                getattr(self.config, name).MergeFrom(getattr(request, name))
        self.config.optimizer_config.MergeFrom(request.optimizers_config)
        for value in request.metadata.values():
            _check_numbers(value)
        for name, value in request.metadata.items():
            if value.WhichOneof("kind") in (None, "null_value"):
                self.config.metadata.pop(name, None)
            else:
                self.config.metadata[name].CopyFrom(value)

    def info(self) -> Message:
        info = q.CollectionInfo(
            status=q.CollectionStatus.Green, segments_count=2, config=self.config, points_count=len(self.points), indexed_vectors_count=0
        )
        info.optimizer_status.ok = True
        info.update_queue.SetInParent()
        for name, index in self.indexes.items():
            info.payload_schema[name].CopyFrom(index)
            info.payload_schema[name].points = sum(name in point.payload.payload for point in self.points.values())
        return info

    def done(self, wait: bool) -> Message:
        """The reply to an update."""
        self.operations += 1
        status = q.UpdateStatus.Completed if wait else q.UpdateStatus.Acknowledged
        return q.PointsOperationResponse(result=q.UpdateResult(operation_id=self.operations, status=status))

    def upsert(self, points: dict[PointKey, Point], count: int, wait: bool) -> Message:
        """All of the points or none of them."""
        strict = self.config.strict_mode_config
        if strict.enabled and strict.HasField("upsert_max_batchsize") and count > strict.upsert_max_batchsize:
            most = strict.upsert_max_batchsize
            raise _invalid(
                f'Bad request: Limit exceeded {count} > {most} for "upsert limit". Help: Reduce the "upsert limit" parameter to or below {most}.'
            )
        for point in points.values():
            for name, vector in point.vectors.items():
                self.check_dimension(name, vector, suffix=f" for vector '{name}'" if name else "")
        if not points:
            raise _invalid("Bad request: Empty update request")
        misfits = [words for point in points.values() for item in point.vectors.items() if (words := self.misfit(*item))]
        if misfits and wait:
            raise _invalid(misfits[0])
        reply = self.done(wait)
        if not misfits:  # without `wait` nobody hears of it
            for point in points.values():
                point.version = reply.result.operation_id
            self.points |= points
        return reply

    def check_dimension(self, name: str, vector: Message, suffix: str = "") -> None:
        if name in self.params and vector.HasField("dense") and len(vector.dense.data) != self.params[name].size:
            found, expected = len(vector.dense.data), self.params[name].size
            raise _invalid(f"Wrong input: Vector dimension error: expected dim: {expected}, got {found}{suffix}")

    def misfit(self, name: str, vector: Message) -> str | None:
        """Why the collection cannot take, or be asked, this vector under this name."""
        if name not in self.params and name not in self.sparse:
            return f"Wrong input: Not existing vector name error: {name}"
        if (name in self.sparse) != vector.HasField("sparse"):
            return "Wrong input: Conversion between sparse and regular vectors failed"
        return None

    def query(self, request: Message) -> Message:
        """The answer to a question by vector, or to the fusion of several."""
        hits = self.fused(request) if request.query.WhichOneof("variant") == "fusion" else self.nearest(request)
        reply = q.QueryResponse()
        for key, score in hits[request.offset : request.offset + _limit(request)]:
            point = self.points[key]
            hit = reply.result.add(id=id_of(key), score=score, version=point.version)
            point.fill(hit, request.with_payload, request.with_vectors)
        return reply

    def fused(self, request: Message) -> list[tuple[PointKey, float]]:
        """Reciprocal rank fusion: 1 / (2 + rank), ranks from 0, summed over the prefetches that have the point."""
        if not request.prefetch:
            raise _invalid("Wrong input: Validation failed: cannot apply Fusion without prefetches")
        scores: dict[PointKey, float] = {}
        for prefetch in request.prefetch:
            for rank, (key, _) in enumerate(self.nearest(prefetch)[: _limit(prefetch)]):
                scores[key] = scores.get(key, 0.0) + 1 / (2 + rank)
        least = request.score_threshold if request.HasField("score_threshold") else 0.0
        return sorted(((key, score) for key, score in scores.items() if score >= least), key=lambda hit: -hit[1])

    def nearest(self, request: Message) -> list[tuple[PointKey, float]]:
        """Every point compared with the query, best first: a QueryPoints, or a PrefetchQuery, which has the same fields."""
        name, wanted = request.using, request.query.nearest
        kind = wanted.WhichOneof("variant")
        if kind not in ("dense", "sparse", "id"):
            raise _unimplemented(f"query by {kind}")
        own = key_of(wanted.id) if kind == "id" else None
        if own is not None and own not in self.points:
            raise _not_found(f"No point with id {own} found")
        if own is not None and (name in self.params or name in self.sparse) and name not in self.points[own].vectors:
            raise _not_found(f'Vector with name "{name}" for point not found')
        vector = (
            self.points[own].vectors.get(name, q.VectorOutput()) if own is not None else _vector_output(q.Vector(**{kind: getattr(wanted, kind)}))
        )
        if words := self.misfit(name, vector):
            raise _invalid(words)
        self.check_dimension(name, vector)
        keys = [key for key, point in self.points.items() if name in point.vectors and key != own]
        if not keys:
            return []
        if name in self.sparse:
            keys, scores = _sparse_scores({key: self.points[key].vectors[name].sparse for key in keys}, vector.sparse)
            sign = -1
        else:
            matrix = np.array([self.points[key].vectors[name].dense.data for key in keys], np.float32)
            scores, sign = _scores(self.params[name].distance, matrix, np.array(vector.dense.data, np.float32))
        ranking = np.argsort(sign * scores, kind="stable")
        if request.HasField("score_threshold"):
            ranking = ranking[sign * scores[ranking] <= sign * request.score_threshold]
        return [(keys[n], float(scores[n])) for n in ranking]


def _sparse_scores(vectors: dict[PointKey, Message], query: Message) -> tuple[list[PointKey], Matrix]:
    """The dot product with each vector that has an index of the query; a product of 0 is no hit."""
    wanted = dict(zip(query.indices, query.values, strict=True))
    found: dict[PointKey, float] = {}
    for key, vector in vectors.items():
        products = [value * wanted[index] for index, value in zip(vector.indices, vector.values, strict=True) if index in wanted]
        if sum(products):
            found[key] = sum(products)
    return list(found), np.array(list(found.values()), np.float32)


def _scores(distance: int, matrix: Matrix, query: Matrix) -> tuple[Matrix, int]:
    """The score of each row, and 1 where the least is best, -1 where the greatest is."""
    if distance == q.Distance.Euclid:
        return np.sqrt(np.square(matrix - query).sum(axis=1)), 1
    if distance == q.Distance.Manhattan:
        return np.abs(matrix - query).sum(axis=1), 1
    if distance == q.Distance.Cosine:
        lengths = np.sqrt(np.square(matrix).sum(axis=1) * np.square(query).sum())
        return (matrix @ query) / np.where(lengths > 0, lengths, np.float32(1)), -1
    return matrix @ query, -1


class Store:
    """Collections and aliases. Whoever calls holds the lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}

    def find(self, name: str) -> Collection:
        """The collection of this name or alias."""
        real = self.aliases.get(name, name)
        self.must_exist(real)
        return self.collections[real]

    def must_exist(self, name: str) -> None:
        if name not in self.collections:
            raise _not_found(f"Collection `{name}` doesn't exist!")

    def must_not_exist(self, name: str) -> None:
        if name in self.collections:
            raise RefusedError(grpc.StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{name}` already exists!")

    def create(self, name: str, request: Message) -> None:
        bad = next((c for c in '<>:"/\\|?*\0\x1f' if c in name), None)
        if bad is not None:
            raise _invalid(f'Validation error in body: [collection_name: collection name cannot contain "{bad}" char]')
        if not 1 <= len(name) <= 255:
            raise _invalid(f'Validation error in body: [collection_name: value "{name}" invalid, must be from 1 to 255 characters]')
        made = Collection.of(request)  # what is wrong with the request is said before what is wrong with the name
        self.must_not_exist(name)
        if name in self.aliases:
            raise _invalid(f"Wrong input: Can't create collection with name {name}. Alias with the same name already exists")
        self.collections[name] = made

    def delete(self, name: str) -> bool:
        """Aliases go with their collection; an alias's name deletes nothing."""
        self.aliases = {alias: target for alias, target in self.aliases.items() if target != name}
        return self.collections.pop(name, None) is not None

    def change_alias(self, action: Message) -> None:
        """One action; the caller does them in turn, and those before a wrong one stay done."""
        kind = action.WhichOneof("action")
        if kind == "create_alias":
            self.must_exist(action.create_alias.collection_name)
            self.must_not_exist(action.create_alias.alias_name)
            self.aliases[action.create_alias.alias_name] = action.create_alias.collection_name
        elif kind == "delete_alias":
            self.aliases.pop(action.delete_alias.alias_name, None)
        else:
            old = action.rename_alias.old_alias_name
            if old not in self.aliases:
                raise _not_found(f"Alias {old} does not exists!")
            self.aliases[action.rename_alias.new_alias_name] = self.aliases.pop(old)


# --- the services -----------------------------------------------------------------------------------------------------------------------------


class Health(q.QdrantServicer):  # type: ignore[misc]
    def HealthCheck(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return q.HealthCheckReply(title="qdrant - vector search engine", version=VERSION)


class Collections(q.CollectionsServicer):  # type: ignore[misc]
    """What the sink needs of the service of this name; the rest is UNIMPLEMENTED."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def Get(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return q.GetCollectionInfoResponse(result=self.store.find(request.collection_name).info())

    def List(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return q.ListCollectionsResponse(collections=[q.CollectionDescription(name=name) for name in sorted(self.store.collections)])

    def Create(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        self.store.create(request.collection_name, request)
        return q.CollectionOperationResponse(result=True)

    def Update(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        self.store.find(request.collection_name).update(request)
        return q.CollectionOperationResponse(result=True)

    def Delete(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return q.CollectionOperationResponse(result=self.store.delete(request.collection_name))

    def CollectionExists(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        name = self.store.aliases.get(request.collection_name, request.collection_name)
        return q.CollectionExistsResponse(result=q.CollectionExists(exists=name in self.store.collections))

    def UpdateAliases(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        if any(action.WhichOneof("action") is None for action in request.actions):
            raise _invalid("Malformed AliasOperation type")
        for action in request.actions:
            self.store.change_alias(action)
        return q.CollectionOperationResponse(result=True)

    def ListAliases(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return q.ListAliasesResponse(aliases=[q.AliasDescription(alias_name=a, collection_name=c) for a, c in sorted(self.store.aliases.items())])

    def ListCollectionAliases(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        name = request.collection_name
        found = [q.AliasDescription(alias_name=a, collection_name=c) for a, c in sorted(self.store.aliases.items()) if c == name]
        return q.ListAliasesResponse(aliases=found)


class Points(q.PointsServicer):  # type: ignore[misc]
    """What the sink needs of the service of this name; the rest is UNIMPLEMENTED."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def Upsert(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        if request.HasField("update_filter") or request.update_mode != q.UpdateMode.Upsert:
            raise _unimplemented("conditional upsert")
        _check_body(
            [wrong for n, point in enumerate(request.points) for wrong in _wrong_in_point(f"points[{n}].vectors.vectors_options", point.vectors)]
        )
        if not all(point.HasField("id") for point in request.points):
            raise _invalid("Empty ID is not allowed")
        points = {key_of(point.id): Point.of(point) for point in request.points}
        for n, point in enumerate(request.points):
            for vector in _vectors_by_name(point.vectors).values():
                if vector.HasField("dense") and not vector.dense.data:
                    where = "vector.?.vector" if point.vectors.HasField("vectors") else "vector.vector"
                    raise _invalid(f"Wrong input: points[{n}].{where}: dense vector must not be empty")
        return self.store.find(request.collection_name).upsert(points, len(request.points), request.wait)

    def Get(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        keys, reply = dict.fromkeys(map(key_of, request.ids)), q.GetResponse()
        points = self.store.find(request.collection_name).points
        for key in keys:
            if key in points:
                points[key].fill(reply.result.add(id=id_of(key)), request.with_payload, request.with_vectors)
        return reply

    def Count(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        if request.HasField("filter"):
            raise _unimplemented("filter")
        return q.CountResponse(result=q.CountResult(count=len(self.store.find(request.collection_name).points)))

    def Query(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        for name in ("filter", "lookup_from"):
            if request.HasField(name):
                raise _unimplemented(name)
        kind = request.query.WhichOneof("variant")
        if any(part.prefetch or part.HasField("filter") or part.query.WhichOneof("variant") != "nearest" for part in request.prefetch):
            raise _unimplemented("prefetch other than `nearest`")
        if kind == "fusion" and request.query.fusion != q.Fusion.RRF:
            raise _unimplemented("fusion other than RRF")
        if kind not in ("nearest", "fusion") or (kind == "nearest" and request.prefetch):
            raise _unimplemented("query other than `nearest` and `fusion`")
        parts = [(f"prefetch[{n}].", part) for n, part in enumerate(request.prefetch)] + [("", request)]
        _check_body([wrong for where, part in parts for wrong in _wrong_in_query(where, part)])
        return self.store.find(request.collection_name).query(request)

    def QueryBatch(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        reply = q.QueryBatchResponse()
        for one in request.query_points:
            one.collection_name = request.collection_name
            reply.result.add(result=self.Query(one, context).result)
        return reply

    def Scroll(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        for name in ("filter", "order_by"):
            if request.HasField(name):
                raise _unimplemented(name)
        _check_body(_wrong_limit(request))
        points = self.store.find(request.collection_name).points
        keys = sorted(points, key=_order)
        if request.HasField("offset"):
            first = _order(key_of(request.offset))
            keys = [key for key in keys if _order(key) >= first]
        limit, reply = _limit(request), q.ScrollResponse()
        for key in keys[:limit]:
            selector = request.with_payload if request.HasField("with_payload") else q.WithPayloadSelector(enable=True)
            points[key].fill(reply.result.add(id=id_of(key)), selector, request.with_vectors)
        if len(keys) > limit:
            reply.next_page_offset.CopyFrom(id_of(keys[limit]))
        return reply

    def Delete(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        kind = request.points.WhichOneof("points_selector_one_of")
        if kind is None:
            raise _invalid("PointSelector is missing")
        if kind == "filter":
            raise _unimplemented("filter")
        keys = [key_of(point_id) for point_id in request.points.points.ids]
        collection = self.store.find(request.collection_name)
        if not keys:
            raise _invalid("Bad request: Empty update request")
        for key in keys:
            collection.points.pop(key, None)
        return collection.done(request.wait)

    def CreateFieldIndex(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        if not request.field_name:
            raise _invalid('Validation error in body: [field_name: value "" invalid, must be at least 1 characters]')
        if not request.HasField("field_type"):
            raise _invalid("cannot convert field_type")
        collection = self.store.find(request.collection_name)
        kind = q.FieldType.Name(request.field_type).removeprefix("FieldType")
        index = q.PayloadSchemaInfo(data_type=q.PayloadSchemaType.Value(kind))
        if request.HasField("field_index_params"):
            index.params.CopyFrom(request.field_index_params)
        collection.indexes[request.field_name] = index
        return collection.done(request.wait)


def _limit(request: Message) -> int:
    return int(request.limit) if request.HasField("limit") else 10


def _check_body(wrong: Sequence[str]) -> None:
    if wrong:
        raise _invalid(f"Validation error in body: [{'; '.join(wrong)}]")


def _wrong_limit(request: Message) -> list[str]:
    return ["limit: value 0 invalid, must be 1 or larger"] if request.HasField("limit") and not request.limit else []


def _wrong_in_query(where: str, request: Message) -> list[str]:
    sparse = request.query.nearest.sparse
    return [f"{where}{wrong}" for wrong in (*_wrong_limit(request), *_wrong_in_sparse("query.variant.variant", sparse))]


def _wrong_in_point(where: str, vectors: Message) -> list[str]:
    named = [(f"{where}.vectors.[]", vector) for vector in vectors.vectors.vectors.values()] or [(where, vectors.vector)]
    return [wrong for place, vector in named for wrong in _wrong_in_sparse(place, vector.sparse)]


def _wrong_in_sparse(where: str, vector: Message) -> list[str]:
    wrong = [] if len(set(vector.indices)) == len(vector.indices) else [f"{where}.indices: Validation error: must be unique [{{}}]"]
    if len(vector.indices) != len(vector.values):
        wrong.append(f"{where}.values: Validation error: must be the same length as indices [{{}}]")
    return wrong


# --- the server -------------------------------------------------------------------------------------------------------------------------------


class Gate(grpc.ServerInterceptor):  # type: ignore[misc]
    """Every call passes here: the key, the books, the faults, the lock, and refusals become status codes."""

    def __init__(self, store: Store, script: Script, recorder: Recorder, api_key: str | None) -> None:
        self.store, self.script, self.recorder, self.api_key = store, script, recorder, api_key

    def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or not details.method.startswith("/qdrant."):
            return handler
        method = details.method.removeprefix("/qdrant.")

        def serve(request: Message, context: grpc.ServicerContext) -> Message:
            if method != "Qdrant/HealthCheck":
                self._check_key(context)
            with self.recorder.call(method, request, context):
                return self._serve(method, handler.unary_unary, request, context)

        return grpc.unary_unary_rpc_method_handler(serve, handler.request_deserializer, handler.response_serializer)

    def _serve(self, method: str, servicer: Callable[..., Any], request: Message, context: grpc.ServicerContext) -> Message:
        def apply() -> Message:
            try:
                with self.store.lock:
                    return servicer(request, context)
            except RefusedError as refused:
                _abort(context, refused.code, refused.words)
            except NotImplementedError:
                _abort(context, grpc.StatusCode.UNIMPLEMENTED, f"the fake server knows no {method}")

        fault = self.script.take(method, request.points if method == "Points/Upsert" else ())
        if fault is None:
            return apply()
        self.recorder.played(fault)
        return fault.perform(apply, context)

    def _check_key(self, context: grpc.ServicerContext) -> None:
        headers = dict(context.invocation_metadata())
        bearer = headers.get("authorization", "")
        given = headers.get("api-key", bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None)
        if self.api_key is not None and given is None:
            _abort(context, grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key or an Authorization bearer token")
        if self.api_key is not None and given != self.api_key:
            _abort(context, grpc.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT")


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, words: str) -> NoReturn:
    context.abort(code, words)
    raise AssertionError("abort() does not return")


def serve(port: int = 0, api_key: str | None = None, faults: Iterable[Fault] = ()) -> tuple[grpc.Server, int]:
    """Start a fake server in this process; returns it and its port."""
    store, script, recorder = Store(), Script(faults), Recorder()
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    gate = Gate(store, script, recorder, api_key)
    server = grpc.server(ThreadPoolExecutor(32), interceptors=[gate], options=unlimited)
    q.add_QdrantServicer_to_server(Health(), server)
    q.add_CollectionsServicer_to_server(Collections(store), server)
    q.add_PointsServicer_to_server(Points(store), server)

    def add_faults(request: bytes, context: grpc.ServicerContext) -> bytes:
        script.add(Fault(**values) for values in json.loads(request))
        return b""

    def clear_faults(request: bytes, context: grpc.ServicerContext) -> bytes:
        script.clear()
        return b""

    def stats(request: bytes, context: grpc.ServicerContext) -> bytes:
        return recorder.to_json()

    def reset_stats(request: bytes, context: grpc.ServicerContext) -> bytes:
        recorder.reset()
        return b""

    methods = {"Faults": add_faults, "ClearFaults": clear_faults, "Stats": stats, "ResetStats": reset_stats}
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Control", handlers),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="a Qdrant for tests")
    parser.add_argument("--port", type=int, default=0, help="gRPC port; 0 takes a free one")
    parser.add_argument("--api-key")
    parser.add_argument("--script", type=Path, help="JSON list of faults, each with `method`, `kind`, `times`, …")
    parser.add_argument("--stop-at-eof", action="store_true", help="end with standard input, that is with the process that started this one")
    given = parser.parse_args(arguments)
    faults = [Fault(**values) for values in json.loads(given.script.read_text())] if given.script else []
    server, port = serve(given.port, given.api_key, faults)
    print(port, flush=True)
    if given.stop_at_eof:
        sys.stdin.read()
        server.stop(None)
    else:
        server.wait_for_termination()


# --- the test's side --------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredPoint:
    """A point read back: its dense vectors, and `sparse`, name → index → value.
    `message` is the server's own RetrievedPoint, where plain values are not exact enough."""

    vectors: dict[str, Matrix]
    payload: dict[str, Any]
    message: Message = field(repr=False)
    sparse: dict[str, dict[int, float]] = field(default_factory=dict)


def plain(value: Message) -> Any:
    """A protobuf Value as a plain Python value."""
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    if kind == "struct_value":
        return {name: plain(part) for name, part in value.struct_value.fields.items()}
    if kind == "list_value":
        return [plain(part) for part in value.list_value.values]
    return getattr(value, kind)


def read_points(channel: grpc.Channel, collection: str, api_key: str | None = None) -> dict[PointKey, StoredPoint]:
    """All points of a collection, from any server, fake or real, in the order of their ids."""
    stub, found, offset = q.PointsStub(channel), {}, None
    metadata = [("api-key", api_key)] if api_key else []
    everything = {"with_payload": q.WithPayloadSelector(enable=True), "with_vectors": q.WithVectorsSelector(enable=True)}
    while True:
        request = q.ScrollPoints(collection_name=collection, limit=1000, offset=offset, **everything)
        page = stub.Scroll(request, metadata=metadata, timeout=60, wait_for_ready=True)
        for point in page.result:
            named = point.vectors.vectors.vectors.items() if point.vectors.HasField("vectors") else [("", point.vectors.vector)]
            vectors = {name: np.array(vector.dense.data, np.float32) for name, vector in named if not vector.HasField("sparse")}
            sparse = {name: dict(zip(v.sparse.indices, v.sparse.values, strict=True)) for name, v in named if v.HasField("sparse")}
            payload = {name: plain(value) for name, value in point.payload.items()}
            found[key_of(point.id)] = StoredPoint(vectors, payload, point, sparse)
        if not page.HasField("next_page_offset"):
            return found
        offset = page.next_page_offset


class FakeServer:
    """A fake server in a process of its own, as a context manager. `url` and `grpc_port` name the same port: it has no REST."""

    host = "127.0.0.1"

    def __init__(self, *, api_key: str | None = None, faults: Iterable[Fault] = ()) -> None:
        self.api_key = api_key
        self.grpc_port = 0
        self._faults = list(faults)
        self._process: subprocess.Popen[str] | None = None
        self._channel: grpc.Channel | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.grpc_port}"

    @property
    def pid(self) -> int | None:
        """The server's process; None while it does not run."""
        return self._process.pid if self._process is not None else None

    @property
    def channel(self) -> grpc.Channel:
        """A channel of the test's own, with no limit on the size of messages."""
        assert self._channel is not None, "the server is not running"
        return self._channel

    def start(self) -> FakeServer:
        """Return when the server answers. Started again after `stop()` it has the same port and holds nothing."""
        command = [sys.executable, "-m", "tests.fake_server", "--stop-at-eof", "--port", str(self.grpc_port)]
        if self.api_key:
            command += ["--api-key", self.api_key]
        root = Path(__file__).resolve().parents[1]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip():
            self.stop()
            raise RuntimeError("the fake server did not start; its standard error says why")
        self.grpc_port = int(line)
        self._channel = grpc.insecure_channel(f"{self.host}:{self.grpc_port}", [("grpc.max_receive_message_length", -1)])
        q.QdrantStub(self._channel).HealthCheck(q.HealthCheckRequest(), timeout=30, wait_for_ready=True)
        if self._faults:
            self.add_faults(self._faults)
        return self

    def stop(self) -> None:
        """End the process at once; connections break."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> FakeServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def fault(self, method: str, kind: str, **rest: Any) -> None:
        """Script a fault, in one line: `server.fault("Points/Upsert", "rate_limit", times=2, retry_after=1)`; see Fault."""
        self.add_faults([Fault(method, kind, **rest)])

    def add_faults(self, faults: Iterable[Fault]) -> None:
        self._control("Faults", json.dumps([asdict(fault) for fault in faults]).encode())

    def clear_faults(self) -> None:
        """Forget the faults that are still to come."""
        self._control("ClearFaults")

    def stats(self) -> Stats:
        """What the server has seen since its start or the last `reset_stats()`."""
        seen = json.loads(self._control("Stats"))
        return Stats(seen["calls"], seen["faults"], [SeenUpsert(**upsert) for upsert in seen["upserts"]], seen["most_concurrent_upserts"])

    def reset_stats(self) -> None:
        self._control("ResetStats")

    def points(self, collection: str) -> dict[PointKey, StoredPoint]:
        """All points of a collection (or alias), as any client would read them; counts as calls of Points/Scroll."""
        return read_points(self.channel, collection, self.api_key)

    def _control(self, method: str, request: bytes = b"") -> bytes:
        reply: bytes = self.channel.unary_unary(f"/test.Control/{method}")(request, timeout=10)
        return reply


if __name__ == "__main__":
    main()
