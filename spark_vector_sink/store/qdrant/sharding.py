"""Collections with custom sharding: which shard keys there are, what fits a job, and how a fresh version gets the
same."""

from __future__ import annotations

from collections.abc import Iterator

from qdrant_client import QdrantClient, models

from spark_vector_sink.store.collection import CollectionSpec

_CUSTOM = models.ShardingMethod.CUSTOM.value
_HOW = 'collection_config={"sharding_method": "custom"}'


def is_custom(info: models.CollectionInfo | None) -> bool:
    """Whether its points are in the shards that their writer names."""
    return info is not None and info.config.params.sharding_method == models.ShardingMethod.CUSTOM


def shard_keys(client: QdrantClient, collection: str) -> list[int | str]:
    """All shard keys of a collection; one without custom sharding has none."""
    if not is_custom(client.get_collection(collection)):
        return []
    return [found.key for found in client.list_shard_keys(collection).shard_keys or []]


def copy_keys(client: QdrantClient, source: str, target: str) -> None:
    """Give a fresh collection the shard keys that another one has."""
    there = set(shard_keys(client, target))
    for key in shard_keys(client, source):
        if key not in there:
            client.create_shard_key(target, key)


def sharding_problems(name: str, info: models.CollectionInfo | None, spec: CollectionSpec) -> Iterator[str]:
    """What does not fit between option `shard_key_column` and the collection; info: None where it is yet to be made."""
    custom = is_custom(info) if info is not None else str(spec.config.get("sharding_method")).lower() == _CUSTOM
    if spec.sharded and not custom:
        make = f"make it with {_HOW}" if info is None else f"make another one with {_HOW}"
        yield (
            f"option 'shard_key_column' is for a collection with custom sharding, and '{name}' is not: leave it "
            f"out, or {make}, on a server in cluster mode"
        )
    if custom and not spec.sharded:
        yield f"'{name}' has custom sharding, so each row needs a shard key; give option 'shard_key_column'"
