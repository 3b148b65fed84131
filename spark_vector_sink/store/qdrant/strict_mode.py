"""Read the limits of a server in strict mode, and warn about settings that make it slow."""

from __future__ import annotations

from collections.abc import Iterator

from qdrant_client import models


def wants_indexes(info: models.CollectionInfo) -> bool:
    """Return whether the server refuses updates that select points by a field without an index (strict mode)."""
    strict = _strict_mode(info)
    return strict is not None and strict.unindexed_filtering_update is False


def most_points(info: models.CollectionInfo) -> int | None:
    """Return the maximum number of points that the server takes in one request (strict mode)."""
    strict = _strict_mode(info)
    return strict.upsert_max_batchsize if strict is not None else None


def most_read(info: models.CollectionInfo) -> int | None:
    """Return the maximum number of points that the server gives in one reply (strict mode)."""
    strict = _strict_mode(info)
    return strict.max_query_limit if strict is not None else None


def most_named(info: models.CollectionInfo) -> int | None:
    """Return the maximum number of values that the server takes in one condition, including ids (strict mode)."""
    strict = _strict_mode(info)
    return strict.condition_max_size if strict is not None else None


def counts_by_any_field(info: models.CollectionInfo) -> bool:
    """Return whether the server accepts queries by a field without an index."""
    strict = _strict_mode(info)
    return strict is None or strict.unindexed_filtering_retrieve is not False


def slow_ones(name: str, info: models.CollectionInfo) -> Iterator[str]:
    """Yield a warning about a setting that makes a load slow: 20,000 points of 256 dimensions took 0.7 s without it and
    23 s with it (Qdrant 1.18)."""
    if getattr(info.config.optimizer_config, "prevent_unoptimized", None):
        yield (
            f"'{name}' has prevent_unoptimized=true, with which every request waits for the server's optimizer; "
            "switch it off in optimizers_config for a "
            "large load, and on again after it"
        )


def _strict_mode(info: models.CollectionInfo) -> models.StrictModeConfigOutput | None:
    """Return the limits of strict mode, where it is on."""
    strict = info.config.strict_mode_config
    return strict if strict is not None and strict.enabled else None
