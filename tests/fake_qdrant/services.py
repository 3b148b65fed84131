"""The services."""

from __future__ import annotations

import grpc
from qdrant_client import grpc as q

from tests.fake_qdrant.collection import Collection
from tests.fake_qdrant.filters import chosen
from tests.fake_qdrant.ranking import answer
from tests.fake_qdrant.requests import (
    check_body,
    check_vectors,
    limit_of,
    wrong_in_query,
    wrong_limit,
    wrong_vector_name,
)
from tests.fake_qdrant.sharding import create_key, message_of, named, part, shard_key, whole
from tests.fake_qdrant.store import Store
from tests.fake_qdrant.updates import UPDATES
from tests.fake_qdrant.values import Message, id_of, invalid, key_of, order_of, unimplemented

VERSION = "1.18.2"


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
        return q.ListCollectionsResponse(
            collections=[q.CollectionDescription(name=name) for name in sorted(self.store.collections)]
        )

    def Create(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        self.store.create(request.collection_name, request)
        return q.CollectionOperationResponse(result=True)

    def Update(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        self.store.find(request.collection_name).update(request)
        return q.CollectionOperationResponse(result=True)

    def Delete(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return q.CollectionOperationResponse(result=self.store.delete(request.collection_name))

    def CreateShardKey(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        create_key(
            self.store.find(request.collection_name), request.collection_name, shard_key(request.request.shard_key)
        )
        return q.CreateShardKeyResponse(result=True)

    def ListShardKeys(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        keys = self.store.find(request.collection_name).shards
        return q.ListShardKeysResponse(shard_keys=[q.ShardKeyDescription(key=message_of(key)) for key in keys])

    def CollectionExists(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        name = self.store.aliases.get(request.collection_name, request.collection_name)
        return q.CollectionExistsResponse(result=q.CollectionExists(exists=name in self.store.collections))

    def UpdateAliases(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        if any(action.WhichOneof("action") is None for action in request.actions):
            raise invalid("Malformed AliasOperation type")
        for action in request.actions:
            self.store.change_alias(action)
        return q.CollectionOperationResponse(result=True)

    def ListAliases(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return q.ListAliasesResponse(
            aliases=[q.AliasDescription(alias_name=a, collection_name=c) for a, c in sorted(self.store.aliases.items())]
        )

    def ListCollectionAliases(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        name = request.collection_name
        found = [
            q.AliasDescription(alias_name=a, collection_name=c)
            for a, c in sorted(self.store.aliases.items())
            if c == name
        ]
        return q.ListAliasesResponse(aliases=found)


class Points(q.PointsServicer):  # type: ignore[misc]
    """What the sink needs of the service of this name; the rest is UNIMPLEMENTED."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def _update(self, kind: str, request: Message) -> Message:
        return q.PointsOperationResponse(result=self._change(kind, request, request.collection_name, request.wait))

    def _change(self, kind: str, operation: Message, collection: str, wait: bool) -> Message:
        """In each of the shards that it names."""
        update = UPDATES[kind]
        done = [
            update(operation, lambda key=key: part(self.store.find(collection), key), wait)
            for key in named(operation) or [None]
        ]  # type: ignore[misc]
        return done[-1]

    def _asked(self, request: Message) -> Collection:
        """The collection, so far as a question is about it."""
        return whole(self.store.find(request.collection_name), named(request))

    def Upsert(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        check_vectors(request.points)
        return self._update("upsert", request)

    def Delete(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return self._update("delete_points", request)

    def SetPayload(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return self._update("set_payload", request)

    def OverwritePayload(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return self._update("overwrite_payload", request)

    def UpdateVectors(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        check_vectors(request.points)
        return self._update("update_vectors", request)

    def DeleteVectors(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        return self._update("delete_vectors", request)

    def UpdateBatch(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        """One operation after the other: an error leaves the earlier ones done."""
        if not request.operations:
            check_body(["operations: value [] invalid, must be at least 1 characters"])
        reply = q.UpdateBatchResponse()
        for operation in request.operations:
            kind = operation.WhichOneof("operation")
            if kind is None:
                raise invalid("Operation is missing")
            if kind not in UPDATES:
                raise unimplemented(f"operation {kind}")
            reply.result.append(self._change(kind, getattr(operation, kind), request.collection_name, request.wait))
        return reply

    def Get(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        keys, reply = dict.fromkeys(map(key_of, request.ids)), q.GetResponse()
        points = self._asked(request).points
        for key in keys:
            if key in points:
                points[key].fill(reply.result.add(id=id_of(key)), request.with_payload, request.with_vectors)
        return reply

    def Count(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        asked = self._asked(request)
        shards = [asked.shards[key] for key in named(request) or asked.shards] if asked.is_custom else [asked.points]
        return q.CountResponse(
            result=q.CountResult(count=sum(len(chosen(request.filter, points)) for points in shards))
        )

    def Query(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        kind = request.query.WhichOneof("variant")
        if request.HasField("lookup_from") or (kind == "fusion" and request.HasField("filter")):
            raise unimplemented(
                "lookup_from" if request.HasField("lookup_from") else "filter of a fusion, only those of its prefetches"
            )
        if any(part.prefetch or part.query.WhichOneof("variant") != "nearest" for part in request.prefetch):
            raise unimplemented("prefetch other than `nearest`")
        if kind == "fusion" and request.query.fusion != q.Fusion.RRF:
            raise unimplemented("fusion other than RRF")
        if kind not in ("nearest", "fusion") or (kind == "nearest" and request.prefetch):
            raise unimplemented("query other than `nearest` and `fusion`")
        parts = [(f"prefetch[{n}].", part) for n, part in enumerate(request.prefetch)] + [("", request)]
        check_body([wrong for where, part in parts for wrong in wrong_in_query(where, part)])
        return answer(self._asked(request), request)

    def QueryBatch(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        reply = q.QueryBatchResponse()
        for one in request.query_points:
            one.collection_name = request.collection_name
            reply.result.add(result=self.Query(one, context).result)
        return reply

    def Scroll(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        if request.HasField("order_by"):
            raise unimplemented("order_by")
        check_body(wrong_limit(request))
        points = self._asked(request).points
        keys = sorted(chosen(request.filter, points), key=order_of)
        if request.HasField("offset"):
            first = order_of(key_of(request.offset))
            keys = [key for key in keys if order_of(key) >= first]
        limit, reply = limit_of(request), q.ScrollResponse()
        for key in keys[:limit]:
            selector = request.with_payload if request.HasField("with_payload") else q.WithPayloadSelector(enable=True)
            points[key].fill(reply.result.add(id=id_of(key)), selector, request.with_vectors)
        if len(keys) > limit:
            reply.next_page_offset.CopyFrom(id_of(keys[limit]))
        return reply

    def CreateVectorName(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        wrong_vector_name(request)
        collection = self.store.find(request.collection_name)
        collection.create_vector_name(request)
        return q.PointsOperationResponse(result=collection.apply(request.wait, lambda number: None))

    def CreateFieldIndex(self, request: Message, context: grpc.ServicerContext) -> Message:  # noqa: N802
        if not request.field_name:
            raise invalid('Validation error in body: [field_name: value "" invalid, must be at least 1 characters]')
        if not request.HasField("field_type"):
            raise invalid("cannot convert field_type")
        collection = self.store.find(request.collection_name)
        kind = q.FieldType.Name(request.field_type).removeprefix("FieldType")
        index = q.PayloadSchemaInfo(data_type=q.PayloadSchemaType.Value(kind))
        if request.HasField("field_index_params"):
            index.params.CopyFrom(request.field_index_params)
        collection.indexes[request.field_name] = index
        return q.PointsOperationResponse(result=collection.apply(request.wait, lambda number: None))
