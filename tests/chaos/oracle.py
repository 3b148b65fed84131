"""What a store must hold after a run, point by point: lost, extra, stale or wrong ones are counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Id: TypeAlias = int | str


@dataclass(frozen=True)
class Content:
    """What a point holds besides its id."""

    vector: bytes
    """float32, little-endian: compared bit by bit"""
    payload: str
    """canonical JSON, so that 1, 1.0 and true are three things"""

    @classmethod
    def of(cls, vector: npt.NDArray[np.float32], payload: Mapping[str, Any]) -> Content:
        text = json.dumps(payload, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return cls(np.ascontiguousarray(vector, "<f4").tobytes(), text)


Points: TypeAlias = Mapping[Id, Content]


@dataclass(frozen=True)
class Verdict:
    """The ids of the points that are not as they must be."""

    lost: list[Id] = field(default_factory=list)
    """a document has this id, and there is no such point"""
    extra: list[Id] = field(default_factory=list)
    """no document has this id: a document's second point, or a stranger"""
    stale: list[Id] = field(default_factory=list)
    """vector or payload, or both, are of the earlier rows"""
    wrong: list[Id] = field(default_factory=list)
    """neither of these rows nor of the earlier ones"""

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.extra or self.stale or self.wrong)

    def __str__(self) -> str:
        parts = {"lost": self.lost, "extra": self.extra, "stale": self.stale, "wrong": self.wrong}
        return (
            ", ".join(f"{len(ids):,} {name} (e.g. {ids[0]!r})" for name, ids in parts.items() if ids) or "as it must be"
        )


def compare(stored: Points, wanted: Points, earlier: Points | None = None) -> Verdict:
    """After a job that ended well: exactly the wanted points. earlier: what the store held before the job."""
    verdict = Verdict([key for key in wanted if key not in stored], [key for key in stored if key not in wanted])
    for key in stored.keys() & wanted.keys():
        here, right = stored[key], wanted[key]
        if here != right:
            before = (earlier or {}).get(key)
            is_stale = (
                before is not None
                and here.vector in (before.vector, right.vector)
                and here.payload in (before.payload, right.payload)
            )
            (verdict.stale if is_stale else verdict.wrong).append(key)
    return verdict


def compare_unfinished(stored: Points, wanted: Points, earlier: Points) -> Verdict:
    """After a job that did not end: each point is whole, of this job or of the earlier one, and none of the earlier
    ones is gone."""
    found = compare(stored, wanted, earlier)
    mixed = [key for key in found.stale if stored[key] != earlier[key]]
    return Verdict(
        [key for key in found.lost if key in earlier],
        [key for key in found.extra if key not in earlier],
        [],
        found.wrong + mixed,
    )
