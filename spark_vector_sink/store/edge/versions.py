"""Manage the versions of an embedded store: a directory for each, which an overwrite fills while another one serves,
and CURRENT, which is replaced atomically.

The state of a version that an overwrite creates is in its `version.json`; the last change of that file, and of the
run's staged files, is its heartbeat. Only `switch`, `roll_back` and creating a version need the store's lock: filling a
version keeps no reader waiting.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from spark_vector_sink.errors import CollectionError, PermanentStoreError, said, shorten
from spark_vector_sink.store import collection_versions
from spark_vector_sink.store.collection import Finished, Target
from spark_vector_sink.store.collection_versions import ABANDONED, CHECKED, LOADING, READY, ROLLED_BACK, Version
from spark_vector_sink.store.edge import index as edge
from spark_vector_sink.store.edge import staging
from spark_vector_sink.store.edge.ingest import ingest
from spark_vector_sink.store.edge.layout import (
    VERSION,
    StoreDirectory,
    StoreFacts,
    read_facts,
    write_atomically,
    write_facts,
)


@dataclass(frozen=True)
class Note:
    """State of a version, as the overwrite writes it to `version.json`."""

    state: str
    run: str
    replaced: str | None


def found(directory: StoreDirectory) -> list[Version]:
    """Return every existing version."""
    names = (
        [path.name for path in directory.root.glob("v*") if re.fullmatch(VERSION, path.name)]
        if directory.root.is_dir()
        else []
    )
    there = filter(None, (_version(directory, name) for name in names))
    return sorted(there, key=lambda version: version.number)


def next_name(directory: StoreDirectory) -> str:
    return f"v{collection_versions.next_number(found(directory))}"


def begin(directory: StoreDirectory, run: str, replaced: str | None) -> str:
    """Create the directory of a version that this run will fill, after removing versions of dead jobs; return its name.
    The caller holds the lock."""
    physical = next_name(directory)
    drop(directory, collection_versions.left_overs(found(directory), directory.current(), time.time()))
    directory.version(physical).mkdir(parents=True)
    _note(directory, physical, Note(LOADING, run, replaced))
    return physical


def fill(directory: StoreDirectory, physical: str, run: str, names: Sequence[str], deadline: float) -> Finished:
    """Ingest the run's staged files into its own version. Doing it again changes nothing."""
    check_is_ours(directory, physical, run)
    staging.check_staged(directory, run, names)
    facts, files = read_facts(directory, physical), [directory.staging(run) / name for name in dict.fromkeys(names)]
    with edge.opened(directory.shard(physical), deadline) as shard:
        try:
            older = ingest(
                shard,
                files,
                facts,
                directory.decisions_file(run),
                alive=partial(os.utime, directory.version_file(physical)),
            )
        except Exception as error:
            raise PermanentStoreError(
                f"the rows of run {run} cannot be brought into {directory.version(physical)}: "
                f"{shorten(said(error), 200)}"
            ) from error
        shard.optimize()
        points = edge.count(shard)
    write_facts(directory, physical, replace(facts, points=points))
    return Finished(points, older.documents, older.deletions, older.points)


def switch(
    directory: StoreDirectory, physical: str, run: str, replaced: str | None, keep: int, settle: Callable[[str], None]
) -> None:
    """Let CURRENT name this version, if it still names `replaced`, and remove versions that are no longer kept. The
    caller holds the lock.

    settle: ingests the pending runs of a version, so that a rollback to it finds their rows.
    """
    check_is_ours(directory, physical, run)
    current = directory.current()
    if current != physical:
        if current != replaced:
            raise collection_versions.overtaken(str(directory.root), current, replaced)
        _set_state(directory, physical, CHECKED)
        if current is not None:
            settle(current)
            # it serves; a job that was killed between two steps may have noted less
            _set_state(directory, current, READY)
        write_atomically(directory.current_file, f"{physical}\n")
    _set_state(directory, physical, READY)
    drop(directory, collection_versions.outlived(found(directory), physical, keep, time.time()))


def roll_back(directory: StoreDirectory, settle: Callable[[str], None]) -> tuple[str, str]:
    """Let CURRENT name the version that served before; return the version that it named until now, and the version that
    it names. The caller holds the lock."""
    current = directory.current()
    if current is None:
        raise CollectionError(f"there is no embedded store at {directory.root}")
    goal = collection_versions.earlier(found(directory), current)
    if goal is None:
        raise collection_versions.nothing_earlier(str(directory.root), current)
    settle(current)
    write_atomically(directory.current_file, f"{goal}\n")
    _set_state(directory, current, ROLLED_BACK, "")
    return current, goal


def abandon(directory: StoreDirectory, physical: str, run: str) -> bool:
    """Remove the version of a run that failed, to which its tasks do not write. Returns True where the version stays,
    because CURRENT names it already."""
    note = _read_note(directory, physical)
    if note is None or note.run != run:
        return False
    if directory.current() == physical:
        return True
    drop(directory, [physical])
    return False


def is_aside(directory: StoreDirectory, physical: str) -> bool:
    """Return whether an overwrite has created this version."""
    return directory.version_file(physical).exists()


def check_is_ours(directory: StoreDirectory, physical: str, run: str) -> None:
    note = _read_note(directory, physical)
    if note is None or note.run != run:
        raise CollectionError(
            f"{directory.version(physical)}, which this job fills, was removed, or made anew, meanwhile; run "
            "the job again"
        )


def check_serves(directory: StoreDirectory, target: Target) -> None:
    """Raise CollectionError where an append wrote to a version that no longer serves."""
    current = directory.current()
    if current not in (None, target.physical):
        raise collection_versions.replaced_meanwhile(target.name, current, target.physical)


def drop(directory: StoreDirectory, names: Sequence[str]) -> None:
    """Remove versions: they are renamed first, so that a half-removed version is never visible."""
    for name in names:
        if name != directory.current():
            gone = directory.root / f".{name}.{time.time_ns()}.gone"
            directory.version(name).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
    for gone in directory.root.glob(".v*.gone"):
        shutil.rmtree(gone, ignore_errors=True)  # left by a process that was killed here


def serving(directory: StoreDirectory) -> tuple[str, StoreFacts] | None:
    """Return the version that serves and its facts, also while an overwrite replaces it; None where no version
    serves."""
    while (physical := directory.current()) is not None:
        try:
            return physical, read_facts(directory, physical)
        except PermanentStoreError:
            if directory.current() == physical:
                raise
    return None


def _set_state(directory: StoreDirectory, physical: str, state: str, run: str | None = None) -> None:
    """Write the state of a version; a version that an append has created has no `version.json`, and needs one only when
    it is rolled back."""
    note = _read_note(directory, physical)
    if note is not None:
        _note(directory, physical, replace(note, state=state))
    elif run is not None:
        _note(directory, physical, Note(state, run, None))


def _note(directory: StoreDirectory, physical: str, note: Note) -> None:
    write_atomically(directory.version_file(physical), json.dumps(asdict(note)) + "\n")


def _read_note(directory: StoreDirectory, physical: str) -> Note | None:
    path = directory.version_file(physical)
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        return Note(**values)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise PermanentStoreError(
            f"{path} cannot be read ({type(error).__name__}); remove it if {physical} is whole, or else {physical}"
        ) from None


def _version(directory: StoreDirectory, name: str) -> Version | None:
    """Read a version; None where another job has just dropped it."""
    number, note = int(name[1:]), _read_note(directory, name)
    if note is None:
        # its creation was interrupted
        return Version(name, number, READY if directory.facts_file(name).exists() else ABANDONED)
    try:
        beat = directory.version_file(name).stat().st_mtime
    except FileNotFoundError:
        return None
    if directory.staging(note.run).is_dir():
        beat = max(beat, staging.last_change(directory.staging(note.run)))
    return Version(name, number, note.state, beat, note.replaced)
