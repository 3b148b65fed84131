"""What a server in strict mode takes."""

from __future__ import annotations

from qdrant_client import models


def wants_indexes(info: models.CollectionInfo) -> bool:
    """Whether the server refuses updates that choose points by a field without an index (strict mode)."""
    strict = info.config.strict_mode_config
    return strict is not None and bool(strict.enabled) and strict.unindexed_filtering_update is False


def most_points(info: models.CollectionInfo) -> int | None:
    """Most points that the server takes in one request (strict mode)."""
    strict = info.config.strict_mode_config
    return strict.upsert_max_batchsize if strict is not None and strict.enabled else None


def most_at_once(info: models.CollectionInfo) -> int:
    """Most points that the server gives in one reply, and takes in one request and in one condition (strict mode)."""
    strict = info.config.strict_mode_config
    limits = (strict.max_query_limit, strict.upsert_max_batchsize, strict.condition_max_size) if strict is not None and strict.enabled else ()
    return min((limit for limit in limits if limit is not None), default=2**31)


def counts_by_any_field(info: models.CollectionInfo) -> bool:
    """Whether the server takes questions by a field without an index."""
    strict = info.config.strict_mode_config
    return strict is None or not strict.enabled or strict.unindexed_filtering_retrieve is not False
