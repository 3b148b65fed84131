"""Define the paths in the directory of an embedded store, and write its small files durably.

CURRENT               name of the version that searches see, e.g. v1
LOCK                  held by the process that opens the index; names that process
v1/sink.json          facts that the sink keeps about the version (`StoreFacts`)
v2/version.json       of a version that an overwrite has created: its state, and the version that it replaced
v1/shard/             the index, Qdrant Edge's own files
staging/<run>/        RUN, STATE (snapshot of the store when the run began), the files of the run's tasks,
                      DECIDED while they are ingested, TOLD (counts for the run's job), and POINTS (export of
                      the points that an overwrite replaces)
pending/<run>.json    the run's manifest: its files are to be ingested
failed/<run>/         a run that can never be ingested: its files, its MANIFEST, and the REASON
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.store.collection_metadata import CollectionMetadata

FIRST_VERSION = "v1"
VERSION = r"v[1-9][0-9]{0,8}"
"""Pattern of the directory names of versions."""
LOCK_MARK = "spark_vector_sink: "
"""First characters of a LOCK file of this sink."""


@dataclass(frozen=True)
class StoreDirectory:
    """Paths of one embedded store. Its methods change nothing."""

    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "LOCK"

    @property
    def all_staging(self) -> Path:
        return self.root / "staging"

    @property
    def pending(self) -> Path:
        return self.root / "pending"

    @property
    def current_file(self) -> Path:
        return self.root / "CURRENT"

    def staging(self, run: str) -> Path:
        return self.all_staging / run

    def run_token(self, run: str) -> Path:
        return self.staging(run) / "RUN"

    def state_file(self, run: str) -> Path:
        return self.staging(run) / "STATE"

    def decisions_file(self, run: str) -> Path:
        return self.staging(run) / "DECIDED"

    def told_file(self, run: str) -> Path:
        """Return the path of the message from another process, which has ingested the run, to the run's job; the only
        file of the run that is left."""
        return self.staging(run) / "TOLD"

    def manifest(self, run: str) -> Path:
        return self.pending / f"{run}.json"

    @property
    def all_failed(self) -> Path:
        return self.root / "failed"

    def failed(self, run: str) -> Path:
        return self.all_failed / run

    def version(self, physical: str) -> Path:
        return self.root / physical

    def shard(self, physical: str) -> Path:
        return self.version(physical) / "shard"

    def facts_file(self, physical: str) -> Path:
        return self.version(physical) / "sink.json"

    def version_file(self, physical: str) -> Path:
        return self.version(physical) / "version.json"

    def current(self) -> str | None:
        """Return the version that searches see; None where there is no store, or none that was completely created."""
        try:
            return self.current_file.read_text(encoding="ascii").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PermanentStoreError(
                f"the embedded store {self.root} cannot be read ({error.strerror}); correct its path, or "
                "its permissions"
            ) from None
        except ValueError:
            raise PermanentStoreError(
                f"{self.current_file} does not hold the name of a version; restore it, or write to another directory"
            ) from None

    def is_foreign(self) -> bool:
        """Return whether the directory holds anything that is neither a store of this sink nor a store whose creation
        was interrupted."""
        if self.current() is not None or not self.root.is_dir():
            return False
        names = {path.name for path in self.root.iterdir() if not path.name.startswith((".CURRENT.", ".v"))}
        if names <= {"LOCK"}:
            return bool(names) and not self._lock_is_ours()
        others = {name for name in names if not re.fullmatch(VERSION, name)}
        return not (others <= {"LOCK", "staging", "pending", "failed"} and self._lock_is_ours())

    def _lock_is_ours(self) -> bool:
        """Return whether the LOCK file is from this sink. An empty file was left by a process killed between creating
        and marking it."""
        if not self.lock.is_file():
            return False
        with self.lock.open("rb") as file:
            return file.read(len(LOCK_MARK)) in (b"", LOCK_MARK.encode())


@dataclass(frozen=True)
class StoreFacts:
    """Facts that the store keeps about one version. `metadata` is the sink's metadata; `points` counts the ingested
    points.

    The first job's vectors have fields of their own; vectors that were added later are in `others`.
    """

    vector_name: str
    dimension: int | None
    """dimension of the dense vectors; None where there is no dense vector"""
    distance: str
    points: int
    payload_indexes: Mapping[str, str] = field(default_factory=dict)
    metadata: CollectionMetadata | None = None
    sparse_vector_name: str | None = None
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """name → dimension and distance of a dense vector, empty for a sparse vector"""

    @property
    def dense(self) -> bool:
        return self.dimension is not None

    @property
    def dense_vectors(self) -> dict[str, tuple[int, str]]:
        """Return dimension and distance of every dense vector, by name."""
        first = {self.vector_name: (self.dimension, self.distance)} if self.dimension is not None else {}
        return first | {
            name: (int(kind["dimension"]), str(kind["distance"])) for name, kind in self.others.items() if kind
        }

    @property
    def sparse_vectors(self) -> set[str]:
        """Return the names of the sparse vectors."""
        first = {self.sparse_vector_name} if self.sparse_vector_name else set()
        return first | {name for name, kind in self.others.items() if not kind}

    @property
    def names(self) -> set[str]:
        """Return the names of all vectors; "" is the unnamed vector."""
        return {*self.dense_vectors, *self.sparse_vectors}


def read_facts(directory: StoreDirectory, physical: str) -> StoreFacts:
    """Read the facts of a version; raise PermanentStoreError where they cannot be read."""
    path = directory.facts_file(physical)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return StoreFacts(
            **{**found, "metadata": CollectionMetadata.from_json(str(directory.root), found.get("metadata"))}
        )
    except (OSError, ValueError, TypeError) as error:
        reason = (
            error.strerror if isinstance(error, OSError) else "it does not hold what this version of the sink writes"
        )
        raise PermanentStoreError(
            f"the embedded store {directory.root} cannot be used: {path} cannot be read ({reason}); restore it, or "
            "write to another directory"
        ) from None


def write_facts(directory: StoreDirectory, physical: str, facts: StoreFacts) -> None:
    plain = {**asdict(facts), "metadata": {} if facts.metadata is None else facts.metadata.to_json()}
    write_atomically(directory.facts_file(physical), json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader, also after a crash, finds either the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    publish(temporary, path)


def publish(temporary: Path, path: Path) -> None:
    """Give a file that was fsynced its final name, durably."""
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the list of files in a directory durable: a new name is durable only when its directory is."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
