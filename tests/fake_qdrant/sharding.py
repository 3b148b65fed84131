"""Custom sharding: a request names the shards that it is for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TypeAlias

from qdrant_client import grpc as q

from tests.fake_qdrant.collection import Collection
from tests.fake_qdrant.points import Point
from tests.fake_qdrant.values import Message, PointKey, RefusedError, invalid

ShardKey: TypeAlias = int | str


def shard_key(message: Message) -> ShardKey:
    """The Python value of a ShardKey message."""
    return str(message.keyword) if message.HasField("keyword") else int(message.number)


def message_of(key: ShardKey) -> Message:
    return q.ShardKey(keyword=key) if isinstance(key, str) else q.ShardKey(number=key)


def named(request: Message) -> list[ShardKey]:
    """The shard keys that a request, or an operation of a batch, names."""
    return [shard_key(message) for message in request.shard_key_selector.shard_keys]


def part(collection: Collection, key: ShardKey | None) -> Collection:
    """What an update of this shard key changes; None: the update names none."""
    if key is None and collection.is_custom:
        raise invalid("Wrong input: Shard key not specified")
    if key is None:
        return collection
    if key not in collection.shards:
        raise _missing("Wrong input", key)
    return replace(collection, points=collection.shards[key])


def whole(collection: Collection, keys: list[ShardKey]) -> Collection:
    """What a question about these shard keys is asked of; about all of them where it names none. An id that is under
    several is there once, though it is counted as often."""
    for key in keys:
        if key not in collection.shards:
            raise _missing("Bad request", key)
    if not collection.is_custom:
        return collection
    points: dict[PointKey, Point] = {}
    for key in keys or collection.shards:
        for point in collection.shards[key].values():
            point.shard_key = message_of(key)
        points |= collection.shards[key]
    return replace(collection, points=points)


def create_key(collection: Collection, name: str, key: ShardKey) -> None:
    if not collection.is_custom:
        raise invalid("Bad request: Shard Key cannot be created with Auto sharding method")
    if key in collection.shards:
        raise invalid(f"Bad request: Sharding key {_shown(key)} already exists for collection {name}")
    collection.shards[key] = {}


def _missing(kind: str, key: ShardKey) -> RefusedError:
    return invalid(f"{kind}: Shard key {_shown(key)} not found")


def _shown(key: ShardKey) -> str:
    return json.dumps(key)
