"""Stage a run's points in the directory: files of tasks, then a manifest that makes them part of the store.

Before the manifest exists, the run has no effect. Once it exists, the run's rows belong to the store: the next job or
search that opens the store ingests them, and doing so twice does no harm, because the same ids are written again.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spark_vector_sink.errors import PermanentStoreError, shorten
from spark_vector_sink.store.edge.layout import VERSION, StoreDirectory, write_atomically

STAGED_FILE = r"[\w.-]+\.arrow"
_STALE_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Manifest:
    """Manifest with the files of one run that are to be ingested. `created` orders manifests: nanoseconds, always
    increasing in one store.

    fault: the reason why the manifest cannot be read; all other fields but `run` are then without meaning.
    """

    run: str
    version: str
    created: int
    files: tuple[str, ...]
    fault: str = ""


def begin_run(directory: StoreDirectory, run: str) -> None:
    """Create the run's folder, with a token by which a task knows that it sees the driver's directory."""
    directory.staging(run).mkdir(parents=True, exist_ok=True)
    write_atomically(directory.run_token(run), f"{run}\n")


def sees_run(directory: StoreDirectory, run: str) -> bool:
    """Return whether the run's token can be read on this machine."""
    try:
        return directory.run_token(run).read_text(encoding="utf-8").strip() == run
    except OSError:
        return False


def write_manifest(directory: StoreDirectory, run: str, version: str, files: Sequence[str]) -> None:
    """Make the staged files part of the store, durably. Once written, a run's manifest is never replaced: other
    processes may be reading it."""
    distinct = tuple(dict.fromkeys(files))
    pending = manifests(directory)
    for manifest in pending:
        if manifest.run == run:
            if set(distinct) <= set(manifest.files):
                return
            raise PermanentStoreError(
                f"run {run} already waits in {directory.manifest(run)} with other files; open the store first, e.g. "
                "with a search, to bring them in"
            )
    check_staged(directory, run, distinct)
    newest = max((manifest.created for manifest in pending), default=0)
    manifest = Manifest(run, version, max(time.time_ns(), newest + 1), distinct)
    write_atomically(
        directory.manifest(run),
        json.dumps({name: value for name, value in asdict(manifest).items() if name != "fault"}, indent=2) + "\n",
    )


def check_staged(directory: StoreDirectory, run: str, names: Sequence[str]) -> None:
    """Raise PermanentStoreError where the driver does not see the files that the tasks have staged."""
    missing = [name for name in names if not (directory.staging(run) / name).is_file()]
    if missing:
        raise PermanentStoreError(
            f"{len(missing)} of {len(names)} staged files are not in {directory.staging(run)}, e.g. {missing[0]}: an "
            "embedded store needs one directory that the driver and all executors see"
        )


def manifests(directory: StoreDirectory) -> list[Manifest]:
    """Return the manifests of pending runs, the earliest first."""
    found = [manifest for path in directory.pending.glob("*.json") if (manifest := _read_manifest(path)) is not None]
    return sorted(found, key=lambda manifest: (manifest.created, manifest.run))


def staged_files(directory: StoreDirectory, manifest: Manifest) -> list[Path]:
    return [directory.staging(manifest.run) / name for name in manifest.files]


def end_run(directory: StoreDirectory, run: str) -> None:
    """Remove a run whose rows are ingested, except for the message to its job: the manifest first, so that it never
    names files that are gone."""
    directory.manifest(run).unlink(missing_ok=True)
    told = directory.told_file(run)
    if not told.exists():
        drop_staging(directory, run)
        return
    for path in told.parent.iterdir():
        if path != told:
            path.unlink(missing_ok=True)


def drop_staging(directory: StoreDirectory, run: str) -> None:
    """Remove a run's files, unless a manifest names them."""
    if not directory.manifest(run).exists():
        # a late task may be writing here: its files are removed by `sweep`
        shutil.rmtree(directory.staging(run), ignore_errors=True)


def sweep(directory: StoreDirectory) -> None:
    """Remove the files of jobs that died: folders to which no process has written for a day."""
    for folder in directory.all_staging.glob("*"):
        if folder.is_dir() and time.time() - last_change(folder) > _STALE_SECONDS:
            drop_staging(directory, folder.name)


def last_change(folder: Path) -> float:
    """Return the time when a file was last written in this folder, in seconds since 1970."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except FileNotFoundError:  # a task has just renamed a file, or another job has removed the folder
        return time.time()


def _read_manifest(path: Path) -> Manifest | None:
    try:
        return _manifest(path.stem, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:  # another process has just ingested it
        return None
    except OSError as error:
        raise PermanentStoreError(
            f"the manifest {path} cannot be read ({error.strerror}); correct its permissions, or those of its directory"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        return Manifest(path.stem, "", 0, (), f"its manifest is damaged: {type(error).__name__}: {shorten(str(error))}")


def _manifest(run: str, values: Any) -> Manifest:
    """Build the manifest of this run; raise ValueError, TypeError or KeyError where the values are not valid."""
    made = Manifest(values["run"], values["version"], values["created"], tuple(values["files"]))
    if made.run != run:
        raise ValueError(f"it names another run, {made.run!r}")
    if not (re.fullmatch(VERSION, made.version) and isinstance(made.created, int) and made.files):
        raise ValueError("it does not say which files belong to which version, and since when")
    if wrong := [name for name in made.files if not re.fullmatch(STAGED_FILE, name)]:
        raise ValueError(f"{wrong[0]!r} is no staged file")
    return made
