"""Runs that can never be brought in: set aside whole, so that nobody who opens the store is held up by them.

The manifest goes last. Killed before, the next one to open the store finds it, sees the same and does the rest.
"""

from __future__ import annotations

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.store.edge.layout import StoreDirectory, publish, sync_directory, write_atomically

_REASON, _MANIFEST = "REASON", "MANIFEST"


def set_aside(directory: StoreDirectory, run: str, why: str) -> str:
    """Move what the run has staged, and its manifest, out of the way; what to tell people. The caller holds the
    lock."""
    folder, staged = directory.failed(run), directory.staging(run)
    if not folder.exists():
        staged.mkdir(parents=True, exist_ok=True)
        line = (
            f"the rows of run {run} cannot be brought into {directory.root}: {why}; "
            f"the run is set aside in {folder}: write its rows again, then remove that folder"
        )
        write_atomically(staged / _REASON, line + "\n")
        folder.parent.mkdir(exist_ok=True)
        staged.rename(folder)
        for changed in (folder.parent, staged.parent, directory.root):
            sync_directory(changed)
    if directory.manifest(run).exists():
        publish(directory.manifest(run), folder / _MANIFEST)
        sync_directory(directory.pending)
    return reason(directory, run)


def reason(directory: StoreDirectory, run: str) -> str:
    """Why a run is set aside; empty where it is not."""
    try:
        return (directory.failed(run) / _REASON).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def check(directory: StoreDirectory, run: str) -> None:
    """PermanentStoreError where a run is set aside."""
    if line := reason(directory, run):
        raise PermanentStoreError(line)


def runs(directory: StoreDirectory) -> int:
    """How many runs are set aside."""
    return sum(path.is_dir() for path in directory.all_failed.glob("*"))
