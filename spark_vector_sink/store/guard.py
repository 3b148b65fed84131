"""The model guard: vectors of two models in one collection would be compared as if they meant the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from spark_vector_sink.store.store import CollectionSpec


def guard_problems(name: str, theirs: Mapping[str, Any], spec: CollectionSpec, points: int) -> Iterator[str]:
    """Why this job may not write beside the `points` that are there; `theirs` is what the sink remembers in the collection."""
    if not points:
        return
    old, new = theirs.get("model"), spec.metadata.get("model")
    if old is not None and new is not None and old != new:
        yield f"'{name}' was filled with the model {old}, this job would write vectors of {new}; use that model, or another collection"
    elif spec.adopt:
        return
    elif not theirs:
        yield f"'{name}' holds {points:,} points that this sink has not written; set adopt_collection=true if they were made with the same model"
    elif old is None and new is not None:
        yield f"'{name}' was filled with vectors of unknown origin (option 'vector_column'); set adopt_collection=true if they were made with {new}"


def other_model(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """What is wrong when a job ends and the collection remembers another model: a job beside it began with that one."""
    old, new = theirs.get("model"), ours.get("model")
    if old is None or new is None or old == new:
        return None
    return f"another job began to fill '{name}' with the model {old} while this one wrote vectors of {new}; what of both is in it cannot be compared: write to another collection"
