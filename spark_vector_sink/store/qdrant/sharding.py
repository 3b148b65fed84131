"""Handle collections with custom sharding: read the shard keys, check them against the job, and copy them to a new
version."""

from __future__ import annotations

from collections.abc import Iterator

from qdrant_client import QdrantClient, models

from spark_vector_sink.store.collection import CollectionSpec

_CUSTOM = models.ShardingMethod.CUSTOM.value
_HOW = 'collection_config={"sharding_method": "custom"}'


def is_custom(info: models.CollectionInfo | None) -> bool:
    """Return whether the collection has custom sharding: its points are in the shards that the writer names."""
    return info is not None and info.config.params.sharding_method == models.ShardingMethod.CUSTOM


def shard_keys(client: QdrantClient, collection: str) -> list[int | str]:
    """Return all shard keys of a collection; empty without custom sharding."""
    if not is_custom(client.get_collection(collection)):
        return []
    return [found.key for found in client.list_shard_keys(collection).shard_keys or []]


def copy_keys(client: QdrantClient, source: str, target: str) -> None:
    """Create the shard keys of one collection in another one."""
    there = set(shard_keys(client, target))
    for key in shard_keys(client, source):
        if key not in there:
            client.create_shard_key(target, key)


def sharding_problems(name: str, info: models.CollectionInfo | None, spec: CollectionSpec) -> Iterator[str]:
    """Yield the problems between option `shard_key_column` and the collection; info: None where it is still to be
    created."""
    custom = is_custom(info) if info is not None else str(spec.config.get("sharding_method")).lower() == _CUSTOM
    if spec.sharded and not custom:
        make = f"make it with {_HOW}" if info is None else f"make another one with {_HOW}"
        yield (
            f"option 'shard_key_column' is for a collection with custom sharding, and '{name}' is not: leave it "
            f"out, or {make}, on a server in cluster mode"
        )
    if custom and not spec.sharded:
        yield f"'{name}' has custom sharding, so each row needs a shard key; give option 'shard_key_column'"
