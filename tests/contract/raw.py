"""Raw stubs to a server, fake or real, for tests that compare the two; and short ways to write down what is sent."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from qdrant_client import grpc as q
from qdrant_client.conversions.conversion import json_to_value

from tests.fake_server import FakeServer, StoredPoint, read_points
from tests.hangs import HANGS_AFTER_SECONDS

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


class Qdrant:
    """Raw stubs to one server, and names of collections that nobody else uses."""

    def __init__(self, server: Any) -> None:
        self.channel = grpc.insecure_channel(f"{server.host}:{server.grpc_port}")
        self.metadata = [("api-key", server.api_key)] if server.api_key else []
        self.server = server
        self._suffix = uuid.uuid4().hex[:12]
        self._names: set[str] = set()

    def name(self, word: str) -> str:
        """`word`, made unique for this test."""
        self._names.add(f"{word}_{self._suffix}")
        return f"{word}_{self._suffix}"

    def call(self, method: str, request: Any) -> Any:
        """`call("Points/Upsert", …)`, through the official stubs."""
        service, rpc = method.split("/")
        return getattr(getattr(q, f"{service}Stub")(self.channel), rpc)(
            request, metadata=self.metadata, timeout=HANGS_AFTER_SECONDS
        )

    def create(
        self,
        word: str = "c",
        *,
        size: int = 3,
        distance: int = q.Distance.Dot,
        named: dict[str, int] | None = None,
        **rest: Any,
    ) -> str:
        """Create a collection with an unnamed vector, or with named ones of the sizes given; returns its name."""
        params = {name: q.VectorParams(size=length, distance=distance) for name, length in (named or {}).items()}
        config = q.VectorsConfig(params_map=q.VectorParamsMap(map=params)) if named else None
        config = config or q.VectorsConfig(params=q.VectorParams(size=size, distance=distance))
        assert self.call(
            "Collections/Create", q.CreateCollection(collection_name=self.name(word), vectors_config=config, **rest)
        ).result
        return self.name(word)

    def upsert(self, collection: str, *points: Any, wait: bool = True, **condition: Any) -> Any:
        """condition: `update_filter` and `update_mode`"""
        return self.call(
            "Points/Upsert", q.UpsertPoints(collection_name=collection, wait=wait, points=points, **condition)
        ).result

    def batch(self, collection: str, *operations: Any, wait: bool = True) -> Any:
        return self.call(
            "Points/UpdateBatch", q.UpdateBatchPoints(collection_name=collection, wait=wait, operations=operations)
        ).result

    def points(self, collection: str) -> dict[int | str, StoredPoint]:
        """Everything in a collection, as any client would read it."""
        return read_points(self.channel, collection, self.server.api_key)

    def optimise(self, collection: str) -> None:
        """Return when the server's optimiser has been at all points (of a collection made with `OPTIMISED`, and of
        enough vectors)."""
        if isinstance(self.server, FakeServer):
            self.server.optimise(collection)
            return
        end = time.monotonic() + HANGS_AFTER_SECONDS
        while (
            info := self.info(collection)
        ).status != q.CollectionStatus.Green or info.indexed_vectors_count < info.points_count:
            assert time.monotonic() < end, f"not optimised in {HANGS_AFTER_SECONDS:g} s: {info}"
            time.sleep(0.02)

    def count(self, collection: str) -> int:
        return int(self.call("Points/Count", q.CountPoints(collection_name=collection, exact=True)).result.count)

    def info(self, collection: str) -> Any:
        return self.call("Collections/Get", q.GetCollectionInfoRequest(collection_name=collection)).result

    def alias(self, *actions: Any) -> Any:
        return self.call("Collections/UpdateAliases", q.ChangeAliases(actions=actions)).result

    def aliases_of(self, collection: str) -> set[str]:
        reply = self.call(
            "Collections/ListCollectionAliases", q.ListCollectionAliasesRequest(collection_name=collection)
        )
        return {alias.alias_name for alias in reply.aliases}

    def clean(self) -> None:
        for name in self._names:
            self.call("Collections/Delete", q.DeleteCollection(collection_name=name))
        self.channel.close()


def unnamed(*numbers: float) -> Any:
    return q.Vectors(vector=q.Vector(dense=q.DenseVector(data=numbers)))


def named(**vectors: list[float]) -> Any:
    return q.Vectors(
        vectors=q.NamedVectors(
            vectors={name: q.Vector(dense=q.DenseVector(data=data)) for name, data in vectors.items()}
        )
    )


def point(key: int | str, vectors: Any, **payload: Any) -> Any:
    made = q.PointStruct(id=q.PointId(num=key) if isinstance(key, int) else q.PointId(uuid=key), vectors=vectors)
    for name, value in payload.items():
        made.payload[name].CopyFrom(value if isinstance(value, q.Value) else of_json(value))
    return made


def text(value: str) -> Any:
    return q.Value(string_value=value)


def of_json(value: Any) -> Any:
    """A plain Python value as a protobuf Value."""
    return json_to_value(value)


def ids(*keys: int) -> Any:
    return q.PointsSelector(points=q.PointsIdsList(ids=[q.PointId(num=key) for key in keys]))


def those(given: Any) -> Any:
    """The points that match a filter."""
    return q.PointsSelector(filter=given)


def has_id(*keys: int) -> Any:
    return q.Condition(has_id=q.HasIdCondition(has_id=[q.PointId(num=key) for key in keys]))


def where(key: str, **what: Any) -> Any:
    """`where("n", match=…)`, `where("n", range=…)`, `where("n", is_empty=True)`"""
    return q.Condition(field=q.FieldCondition(key=key, **what))


def older(versions: dict[int, int]) -> Any:
    """The filter of a versioned upsert: each point has its own version, and what is there must be older, or have
    none."""
    own = [
        q.Filter(must=[has_id(key), where("_sink.version", range=q.Range(lt=version))])
        for key, version in versions.items()
    ]
    return q.Filter(should=[*(q.Condition(filter=one) for one in own), where("_sink.version", is_empty=True)])


def operation(kind: str, **fields: Any) -> Any:
    """One of a batch: `operation("upsert", points=…)`."""
    message = {
        "upsert": q.PointsUpdateOperation.PointStructList,
        "delete_points": q.PointsUpdateOperation.DeletePoints,
        "set_payload": q.PointsUpdateOperation.SetPayload,
        "overwrite_payload": q.PointsUpdateOperation.OverwritePayload,
        "update_vectors": q.PointsUpdateOperation.UpdateVectors,
        "delete_vectors": q.PointsUpdateOperation.DeleteVectors,
    }[kind]
    return q.PointsUpdateOperation(**{kind: message(**fields)})


def refused(do: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """Status code and words of the refusal."""
    with pytest.raises(grpc.RpcError) as caught:
        do()
    return caught.value.code(), caught.value.details()
