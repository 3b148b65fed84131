"""A collection: what it was made with, its points and its indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import grpc
import numpy as np
from qdrant_client import grpc as q

from tests.fake_qdrant.points import Point
from tests.fake_qdrant.values import Message, PointKey, RefusedError, UnheardError, check_payload, invalid


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
    shards: dict[int | str, dict[PointKey, Point]] = field(default_factory=dict)
    """with custom sharding, the points of each shard key, in the place of `points`"""

    @property
    def is_custom(self) -> bool:
        return bool(self.config.params.sharding_method == q.ShardingMethod.Custom)

    @classmethod
    def of(cls, request: Message) -> Collection:
        """What a CreateCollection request makes; what it leaves open gets Qdrant's own defaults."""
        given = request.vectors_config
        params = (
            dict(given.params_map.map)
            if given.HasField("params_map")
            else {"": given.params}
            if given.HasField("params")
            else {}
        )
        for vector in params.values():
            if not 1 <= vector.size <= 65536:
                where = "config.map.[]" if given.HasField("params_map") else "config"
                raise invalid(
                    f"Validation error in body: [vectors_config.{where}.size: value {vector.size} invalid, must be "
                    "from 1 to 65536]"
                )
            if vector.distance == q.Distance.UnknownDistance:
                raise invalid("Malformed distance parameter: UnknownDistance")
        sparse = set(request.sparse_vectors_config.map)
        if "" in sparse:
            raise invalid("Wrong input: Sparse vector name cannot be empty")
        if sparse & set(params):
            twice = min(sparse & set(params))
            raise invalid(f"Wrong input: Dense and sparse vector names must be unique - duplicate found with '{twice}'")
        config = q.CollectionConfig(
            params=q.CollectionParams(
                shard_number=1, on_disk_payload=True, replication_factor=1, write_consistency_factor=1
            ),
            hnsw_config=q.HnswConfigDiff(
                m=16, ef_construct=100, full_scan_threshold=10000, max_indexing_threads=0, on_disk=False
            ),
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
        for name in (
            "shard_number",
            "on_disk_payload",
            "replication_factor",
            "write_consistency_factor",
            "sharding_method",
        ):
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
        check_payload(request.metadata)
        for name, value in request.metadata.items():
            if value.WhichOneof("kind") in (None, "null_value"):
                self.config.metadata.pop(name, None)
            else:
                self.config.metadata[name].CopyFrom(value)

    def info(self) -> Message:
        info = q.CollectionInfo(
            status=q.CollectionStatus.Green,
            segments_count=2,
            config=self.config,
            points_count=len(self.points) + sum(map(len, self.shards.values())),
            indexed_vectors_count=0,
        )
        info.optimizer_status.ok = True
        info.update_queue.SetInParent()
        for name, index in self.indexes.items():
            info.payload_schema[name].CopyFrom(index)
            info.payload_schema[name].points = sum(name in point.payload.payload for point in self.points.values())
        return info

    def apply(self, wait: bool, change: Callable[[int], None]) -> Message:
        """Do an update, told its number; returns its UpdateResult."""
        self.operations += 1
        try:
            change(self.operations)
        except UnheardError:
            if wait:
                raise
        return q.UpdateResult(
            operation_id=self.operations, status=q.UpdateStatus.Completed if wait else q.UpdateStatus.Acknowledged
        )

    def check_batch_size(self, count: int) -> None:
        """Strict mode's limit for an upsert."""
        strict = self.config.strict_mode_config
        if strict.enabled and strict.HasField("upsert_max_batchsize") and count > strict.upsert_max_batchsize:
            most = strict.upsert_max_batchsize
            raise invalid(
                f'Bad request: Limit exceeded {count} > {most} for "upsert limit". Help: Reduce the "upsert limit" '
                f"parameter to or below {most}."
            )

    def check_dimensions(self, points: Iterable[Mapping[str, Message]], *, with_name: bool = True) -> None:
        """Refused before anything is taken, whatever a condition would say."""
        for vectors in points:
            for name, vector in vectors.items():
                self.check_dimension(name, vector, suffix=f" for vector '{name}'" if name and with_name else "")

    def check_fit(self, points: Iterable[Mapping[str, Message]]) -> None:
        """Refused as it is applied: a real server may have written some of the other points."""
        for vectors in points:
            for item in vectors.items():
                if words := self.misfit(*item):
                    raise _unheard(words)

    def kept(self, vectors: Mapping[str, Message]) -> dict[str, Message]:
        """The vectors as their datatypes hold them; those of cosine and float16 as they were sent, as the others of
        cosine are."""
        return {name: self._kept(self.params.get(name), vector) for name, vector in vectors.items()}

    def _kept(self, params: Message | None, vector: Message) -> Message:
        numbers = np.array(vector.dense.data, np.float32)
        if params is not None and params.datatype == q.Datatype.Uint8:
            numbers = np.clip(np.nan_to_num(np.trunc(numbers), nan=0), 0, 255)
        elif params is not None and params.datatype == q.Datatype.Float16 and params.distance != q.Distance.Cosine:
            with np.errstate(over="ignore"):
                numbers = numbers.astype(np.float16).astype(np.float32)
        else:
            return vector
        return q.VectorOutput(dense=q.DenseVector(data=numbers.tolist()))

    def check_name(self, name: str) -> None:
        if name not in self.params and name not in self.sparse:
            raise _unheard(f"Wrong input: Not existing vector name error: {name}")

    def create_vector_name(self, request: Message) -> None:
        """A further vector; the same again is no error."""
        name, kind = request.vector_name, request.WhichOneof("vector_config")
        if kind == "sparse_config":
            if name in self.params:
                raise invalid(f"Wrong input: Vector `{name}` already exists as a dense vector")
            self.sparse.add(name)
            self.config.params.sparse_vectors_config.map[name].SetInParent()
            return
        if name in self.sparse:
            raise invalid(f"Wrong input: Vector `{name}` already exists as a sparse vector")
        made = q.VectorParams(size=request.dense_config.size, distance=request.dense_config.distance)
        if request.dense_config.HasField("datatype"):
            made.datatype = request.dense_config.datatype
        if name in self.params and (self.params[name].size, self.params[name].distance) != (made.size, made.distance):
            raise invalid(f"Wrong input: Vector `{name}` already exists with a different configuration")
        self.params.setdefault(name, made)
        dense = self.config.params.vectors_config
        dense.Clear()
        for word, params in self.params.items():
            dense.params_map.map[word].CopyFrom(params)

    def check_dimension(self, name: str, vector: Message, suffix: str = "") -> None:
        if name in self.params and vector.HasField("dense") and len(vector.dense.data) != self.params[name].size:
            found, expected = len(vector.dense.data), self.params[name].size
            raise invalid(f"Wrong input: Vector dimension error: expected dim: {expected}, got {found}{suffix}")

    def misfit(self, name: str, vector: Message) -> str | None:
        """Why the collection cannot take, or be asked, this vector under this name."""
        if name not in self.params and name not in self.sparse:
            return f"Wrong input: Not existing vector name error: {name}"
        if (name in self.sparse) != vector.HasField("sparse"):
            return "Wrong input: Conversion between sparse and regular vectors failed"
        return None


def _unheard(words: str) -> RefusedError:
    return UnheardError(grpc.StatusCode.INVALID_ARGUMENT, words)
