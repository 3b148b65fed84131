"""What becomes of each staged point, decided by what is in the store; and the log of it, so that a run which is brought
in twice is decided once.

After a process was killed while it brought a run in, everything is done again from the beginning, on a store that holds
half of the run. What is unconditional comes out the same. A condition would not: "set this on the points that are
there" would find points that the run itself has made later. So each decision is written down before it is acted upon,
and stands.
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
"""Nothing to be done; done; merged into what is there; left, because what is there has a greater version."""
SHRINK = 16
"""Added to WRITE or INTO: chunks of the document vanish."""

_WORDS = {SKIP, WRITE, INTO, OLDER, WRITE + SHRINK, INTO + SHRINK}
_LENGTH = struct.Struct("<I")
_NEEDS_A_DOCUMENT = (How.PAYLOAD.value, How.PATCH.value)
_NEEDS_A_POINT = (REMOVE, TOUCH)
_YIELDS_TO_ITS_EQUAL = (How.TOMBSTONE.value, REMOVE)
_KEEPS_CHUNKS = (How.MERGE.value, How.PATCH.value)


@dataclass(frozen=True)
class There:
    """A point in the store. document: the point of its document; its own id where it is that itself. made_of: see
    `vectors_made_of`."""

    document: PointId
    version: int | None = None
    chunks: int = 1
    deleted: bool = False
    made_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Staged:
    """What comes for a point. chunks: how many its document has from now on, where that is said. made_of: see
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
    """What the vectors of a point were made of, by the names of the fields: the first halves of its fingerprints."""
    return {
        name: value[: len(value) // 2]
        for name, value in ours.items()
        if name.startswith(FINGERPRINT) and isinstance(value, str)
    }


def chunks_left(kind: str, staged: Staged) -> int | None:
    """How many chunks the document of a head has afterwards; None: as many as before."""
    if kind == TOUCH or (kind in _KEEPS_CHUNKS and staged.chunks is None):
        return None
    return 1 if kind == REMOVE else staged.chunks or 1


def decide(kind: str, rows: Sequence[Staged], there: Mapping[PointId, There]) -> bytes:
    """One byte for each row. there: of the rows and of their documents, those that are in the store."""
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
    """version: the greatest that is known of the point and its document."""
    is_document = point is not None and not point.deleted
    if (kind in _NEEDS_A_DOCUMENT and not is_document) or (kind in _NEEDS_A_POINT and point is None):
        return SKIP
    if kind in _NEEDS_A_DOCUMENT and point is not None and not row.made_of.items() <= point.made_of.items():
        # another task or job has written the vector of another text since the task looked: the payload belongs to the
        # one before
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
    """The log of one run: a record for each batch that was decided upon, in the order in which they come in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = _records(path)
        self._next = 0
        self._unsynced = False

    def of(self, rows: int, decide: Callable[[], bytes]) -> bytes:
        """The decisions of the next batch, which has so many rows: as they were made, or made now and written down."""
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
        """Make durable what was decided. To be called before what was done by it is made durable."""
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
    """The whole records of a log; what follows the last whole one was being written when the process died, and is cut
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
