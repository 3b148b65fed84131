"""Set aside runs that can never be ingested, as a whole, so that they do not block the next job or search that opens
the store.

The manifest is moved last. Where the process is killed before that, the next process to open the store finds the
manifest, fails in the same way and does the rest.
"""

from __future__ import annotations

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.store.edge.layout import StoreDirectory, publish, sync_directory, write_atomically

_REASON, _MANIFEST = "REASON", "MANIFEST"


def set_aside(directory: StoreDirectory, run: str, why: str) -> str:
    """Move the run's staged files, and its manifest, to the folder of failed runs; return the reason as a message. The
    caller holds the lock."""
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
    """Return the reason for which a run is set aside; empty where it is not set aside."""
    try:
        return (directory.failed(run) / _REASON).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def check(directory: StoreDirectory, run: str) -> None:
    """Raise PermanentStoreError where a run is set aside."""
    if line := reason(directory, run):
        raise PermanentStoreError(line)


def runs(directory: StoreDirectory) -> int:
    """Count the runs that are set aside."""
    return sum(path.is_dir() for path in directory.all_failed.glob("*"))
