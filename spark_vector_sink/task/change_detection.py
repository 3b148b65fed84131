"""Decide what to do with each document, given what the store holds of it: the least work that makes it right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.rows.documents import Documents
from spark_vector_sink.store.write_batch import PointId, Stored
from spark_vector_sink.task.fingerprint import same_vector

WRITE, PAYLOAD, UNCHANGED, OLDER = range(4)
"""Decisions: encode and write · write the payload alone · nothing, because the document is unchanged · nothing, because
the stored document is newer."""


class Changed:
    """Set of the points for which this task has sent something, so that what was stored of them before must no longer
    be trusted. A hash table of 8 MiB, whatever the length of the partition: with many points it reports some points
    that were never added, which costs an encoding and nothing else."""

    PLACES = 1 << 23

    def __init__(self) -> None:
        self._table = np.zeros(self.PLACES, np.bool_)

    def add(self, ids: Sequence[PointId]) -> None:
        self._table[self._places(ids)] = True

    def may_have(self, ids: Sequence[PointId]) -> npt.NDArray[np.bool_]:
        return self._table[self._places(ids)]

    def _places(self, ids: Sequence[PointId]) -> npt.NDArray[np.int64]:
        return np.array([hash(one) % self.PLACES for one in ids], np.int64)


@dataclass(frozen=True)
class Decided:
    """Documents of a window, each in exactly one of these groups."""

    write: Documents
    payload: Documents
    unchanged: Documents
    older: Documents


def decide(
    found: Documents,
    stored: Mapping[PointId, Stored],
    field: str | None,
    merge: bool = False,
    payload_alone: bool = True,
) -> Decided:
    """Decide what to do with each document. field: the field of `ours` with the fingerprints; None where unchanged
    documents are written too. stored: what is known to be stored of the documents. merge: the stored version stays
    where the document has none. payload_alone: whether a payload can be written without its vector."""
    fingerprints = found.ours[field].to_pylist() if field is not None else [None] * len(found)
    versions = [None] * len(found) if found.versions is None else found.versions.tolist()
    what = np.array(
        [
            _one(stored.get(point), fingerprint, version, merge, payload_alone)
            for point, fingerprint, version in zip(found.ids, fingerprints, versions, strict=True)
        ],
        np.int8,
    )
    write, payload, unchanged, older = (
        found.take(np.flatnonzero(what == one)) for one in (WRITE, PAYLOAD, UNCHANGED, OLDER)
    )
    return Decided(write, payload, unchanged, older)


def older_deletions(deletions: Documents, stored: Mapping[PointId, Stored]) -> npt.NDArray[np.bool_]:
    """Return a mask of the deletions that come too late, because the stored document is newer, or has the same version
    and is not a tombstone."""
    if deletions.versions is None:
        return np.zeros(len(deletions), np.bool_)
    pairs = zip(deletions.ids, deletions.versions.tolist(), strict=True)
    return np.array(
        [(there := stored.get(point)) is not None and there.outlives(version) for point, version in pairs], np.bool_
    )


def constant(value: str | int, rows: int) -> pa.Array:
    """Return a field of `_sink` with the same value in all rows."""
    return pa.repeat(pa.scalar(value), rows)


def _one(there: Stored | None, fingerprint: str | None, version: int | None, merge: bool, payload_alone: bool) -> int:
    if there is None:
        return WRITE
    if version is not None and there.is_newer(version):
        return OLDER
    if fingerprint is None or there.deleted or not same_vector(there.fingerprint, fingerprint):
        return WRITE
    if there.fingerprint == fingerprint and (there.version == version or (merge and version is None)):
        return UNCHANGED
    # With versions several jobs may write at once: when a payload arrives, the point may already have the vector of
    # another text, or be deleted.
    return PAYLOAD if version is None and payload_alone else WRITE
