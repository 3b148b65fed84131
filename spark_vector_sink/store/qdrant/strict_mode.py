"""What a server in strict mode takes, and what makes it slow."""

from __future__ import annotations

from collections.abc import Iterator

from qdrant_client import models


def wants_indexes(info: models.CollectionInfo) -> bool:
    """Whether the server refuses updates that choose points by a field without an index (strict mode)."""
    strict = _strict_mode(info)
    return strict is not None and strict.unindexed_filtering_update is False


def most_points(info: models.CollectionInfo) -> int | None:
    """Most points that the server takes in one request (strict mode)."""
    strict = _strict_mode(info)
    return strict.upsert_max_batchsize if strict is not None else None


def most_read(info: models.CollectionInfo) -> int | None:
    """Most points that the server gives in one reply (strict mode)."""
    strict = _strict_mode(info)
    return strict.max_query_limit if strict is not None else None


def most_named(info: models.CollectionInfo) -> int | None:
    """Most values that the server takes in one condition, ids among them (strict mode)."""
    strict = _strict_mode(info)
    return strict.condition_max_size if strict is not None else None


def counts_by_any_field(info: models.CollectionInfo) -> bool:
    """Whether the server takes questions by a field without an index."""
    strict = _strict_mode(info)
    return strict is None or strict.unindexed_filtering_retrieve is not False


def slow_ones(name: str, info: models.CollectionInfo) -> Iterator[str]:
    """Settings that a load suffers from: 20,000 points of 256 dimensions took 0.7 s without this one and 23 s with it
    (Qdrant 1.18)."""
    if getattr(info.config.optimizer_config, "prevent_unoptimized", None):
        yield (
            f"'{name}' has prevent_unoptimized=true, with which every request waits for the server's optimizer; "
            "switch it off in optimizers_config for a "
            "large load, and on again after it"
        )


def _strict_mode(info: models.CollectionInfo) -> models.StrictModeConfigOutput | None:
    """Its limits, where it is on."""
    strict = info.config.strict_mode_config
    return strict if strict is not None and strict.enabled else None
