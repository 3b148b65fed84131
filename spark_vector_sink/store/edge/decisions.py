"""Decide what happens to each staged point, depending on the stored points, and log the decisions, so that a run which
is ingested twice is decided once.

After a process was killed while it ingested a run, everything is done again from the beginning, on a store that holds
half of the run. Unconditional operations give the same result again. A condition would not: "set this on the points
that exist" would find points that the run itself has created later. So each decision is logged before it is carried
out, and is not changed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spark_vector_sink.store.collection import FINGERPRINT
from spark_vector_sink.store.edge.layout import sync_directory
from spark_vector_sink.store.edge.staged_file import REMOVE, TOUCH, UnfitError
from spark_vector_sink.store.write_batch import How, PointId

SKIP, WRITE, INTO, OLDER = range(4)
"""Decisions: do nothing; write; merge into the stored point; leave the stored point, because its version is greater."""
SHRINK = 16
"""Flag added to WRITE or INTO: chunks of the document are removed."""

_WORDS = {SKIP, WRITE, INTO, OLDER, WRITE + SHRINK, INTO + SHRINK}
_LENGTH = struct.Struct("<I")
_NEEDS_A_DOCUMENT = (How.PAYLOAD.value, How.PATCH.value)
_NEEDS_A_POINT = (REMOVE, TOUCH)
_YIELDS_TO_ITS_EQUAL = (How.TOMBSTONE.value, REMOVE)
_KEEPS_CHUNKS = (How.MERGE.value, How.PATCH.value)


@dataclass(frozen=True)
class There:
    """Point in the store. document: the first point of its document; its own id where the point itself is the first.
    made_of: see `vectors_made_of`."""

    document: PointId
    version: int | None = None
    chunks: int = 1
    deleted: bool = False
    made_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Staged:
    """Staged row of a point. chunks: number of chunks that its document will have, where given. made_of: see
    `vectors_made_of`."""

    id: PointId
    document: PointId
    version: int | None = None
    chunks: int | None = None
    made_of: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_head(self) -> bool:
        return self.id == self.document


def vectors_made_of(ours: Mapping[str, Any]) -> dict[str, str]:
    """Return what the vectors of a point were made from, by the names of the fields: the first halves of its
    fingerprints."""
    return {
        name: value[: len(value) // 2]
        for name, value in ours.items()
        if name.startswith(FINGERPRINT) and isinstance(value, str)
    }


def chunks_left(kind: str, staged: Staged) -> int | None:
    """Return the number of chunks that the document of a head has afterwards; None: as many as before."""
    if kind == TOUCH or (kind in _KEEPS_CHUNKS and staged.chunks is None):
        return None
    return 1 if kind == REMOVE else staged.chunks or 1


def decide(kind: str, rows: Sequence[Staged], there: Mapping[PointId, There]) -> bytes:
    """Return one decision byte for each row. there: the rows and their documents that are in the store."""
    made = bytearray(len(rows))
    versions: dict[PointId, int] = {}
    for place in sorted(range(len(rows)), key=lambda place: not rows[place].is_head):
        row, point = rows[place], there.get(rows[place].id)
        known = [point.version if point else None, versions.get(row.document)]
        if kind != REMOVE and row.document in there:
            known.append(there[row.document].version)
        made[place] = _decide(
            kind, row, point, max((version for version in known if version is not None), default=None)
        )
        if row.is_head and row.version is not None and made[place] & ~SHRINK in (WRITE, INTO):
            versions[row.id] = row.version
    return bytes(made)


def _decide(kind: str, row: Staged, point: There | None, version: int | None) -> int:
    """Decide about one row. version: the greatest known version of the point and its document."""
    is_document = point is not None and not point.deleted
    if (kind in _NEEDS_A_DOCUMENT and not is_document) or (kind in _NEEDS_A_POINT and point is None):
        return SKIP
    if kind in _NEEDS_A_DOCUMENT and point is not None and not row.made_of.items() <= point.made_of.items():
        # another task or job has written the vector of another text since the task read the point: this payload
        # belongs to the former text
        return SKIP
    if (
        row.version is not None
        and version is not None
        and (version > row.version or (version == row.version and kind in _YIELDS_TO_ITS_EQUAL))
    ):
        return OLDER
    left = chunks_left(kind, row)
    shrinks = row.is_head and point is not None and left is not None and point.chunks > left
    return (INTO if kind == How.MERGE.value and is_document else WRITE) + SHRINK * shrinks


class Decisions:
    """Log of the decisions of one run: a record for each batch, in the order in which the batches are ingested."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = _records(path)
        self._next = 0
        self._unsynced = False

    def of(self, rows: int, decide: Callable[[], bytes]) -> bytes:
        """Return the decisions of the next batch, which has this number of rows: from the log, or made now and
        logged."""
        if self._next == len(self._made):
            made = decide()
            self._append(made)
            self._made.append(made)
        made = self._made[self._next]
        self._next += 1
        if len(made) != rows or not set(made) <= _WORDS:
            raise UnfitError(
                f"{self._path.name} does not fit the staged files: a batch of {rows} points has other decisions in it"
            )
        return made

    def sync(self) -> None:
        """Make the log durable. To be called before the changes that follow from the decisions are made durable."""
        if self._unsynced:
            with self._path.open("ab") as file:
                os.fsync(file.fileno())
            sync_directory(self._path.parent)
            self._unsynced = False

    def _append(self, made: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(_LENGTH.pack(len(made)) + made)
        self._unsynced = True


def _records(path: Path) -> list[bytes]:
    """Read the complete records of a log; an incomplete last record was being written when the process died, and is cut
    off."""
    if not path.exists():
        return []
    content, found, start = path.read_bytes(), [], 0
    while start + _LENGTH.size <= len(content):
        stop = start + _LENGTH.size + _LENGTH.unpack_from(content, start)[0]
        if stop > len(content):
            break
        found.append(content[start + _LENGTH.size : stop])
        start = stop
    if start < len(content):
        os.truncate(path, start)
    return found
