"""A real server whose disk fills up during a load: the job waits, says why, and goes on when there is space."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.integration.own import must_be_our_own
from tests.jobs import Place, numbered, server_place, vectors
from tests.real_server import RealServer

pytestmark = pytest.mark.qdrant

MIB = 1 << 20
ROWS, WINDOW = 3000, 100


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 MiB."""
    must_be_our_own("a server on a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def place(small_disk: Path) -> Iterator[Place]:
    env = {f"QDRANT__STORAGE__{name}_PATH": str(small_disk / name.lower()) for name in ("STORAGE", "SNAPSHOTS", "TEMP")}
    with RealServer(env=env) as server:
        yield server_place(server, "articles", vector_column="v", window_rows=WINDOW, batch_points=WINDOW)


def fill(disk: Path) -> Path:
    """Leave less space than the server wants; the file that takes it."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    path = disk / "somebody's file"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - 20 * MIB)
    return path


class Space(logging.Handler):
    """Frees the disk when the log says that it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: Path | None = None
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if self.taken is not None and "No space left on device" in self.lines[-1]:
            self.taken.unlink()
            self.taken = None


def test_a_job_waits_for_space(place: Place, small_disk: Path) -> None:
    """Somebody frees some after reading the line of the log; then everything is there, and no request was lost."""
    rows, space = vectors(ROWS), Space()

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, ROWS, WINDOW):
            if start == 1000:
                space.taken = fill(small_disk)
            yield from rows.slice(start, WINDOW).to_batches()

    plan = committer.prepare(planning.plan(place.options, rows.schema))
    log = logging.getLogger("spark_vector_sink")
    log.addHandler(space)
    try:
        report = committer.commit(plan, [partition_writer.write_partition(plan, batches(), TaskContext())], 1)
    finally:
        log.removeHandler(space)
    assert (report.points, report.stored_points) == (ROWS, ROWS)
    assert report.retries >= 1
    first, last = space.lines
    assert "INTERNAL Service internal error: No space left on device" in first
    assert "; the server's disk is full; free some space; trying again, for up to 600 s" in first
    assert last.startswith("the store takes points again")


def test_a_disk_that_stays_full_ends_the_job(place: Place, small_disk: Path) -> None:
    """When `retry_max_seconds` are over; the line says why, and the next run completes it when there is space."""
    place.write(vectors(WINDOW))
    taken = fill(small_disk)
    with pytest.raises(
        PermanentStoreError,
        match=r"No space left on device: .*; the server's disk is full; free some space \(tried (?:once|\d+ "
        r"times) in \d+ s",
    ):
        place.write(vectors(ROWS), retry_max_seconds=2)
    taken.unlink()
    assert place.write(vectors(ROWS)).stored_points == ROWS


def test_no_space_for_the_index(small_disk: Path, place: Place) -> None:
    """With `wait_for_index`, a job whose points are written and whose server has no space to index them ends with the
    optimizer's own words; the next one, when there is space, makes the server try again, and waits."""
    options = {
        **place.options,
        "collection_config": {"optimizers_config": {"indexing_threshold": 0}},
        "wait_for_index": True,
    }
    rows = list(numbered(4000, batch=4000, dimension=768))  # 12 MiB; the server wants twice as much to index them
    plan = committer.prepare(planning.plan(options, rows[0].schema))
    report = partition_writer.write_partition(plan, rows, TaskContext())
    filler = fill(small_disk)
    with closing(
        QdrantClient(url=options["url"], grpc_port=options["grpc_port"], prefer_grpc=True, check_compatibility=False)
    ) as client:
        client.update_collection("articles", optimizers_config=models.OptimizersConfigDiff(indexing_threshold=100))
    words = (
        r"^all points are written to 'articles', but the server cannot index them: .*Not enough space available "
        r"for optimization, needed: .* MiB"
    )
    with pytest.raises(PermanentStoreError, match=words):
        committer.commit(plan, [report])
    filler.unlink()
    assert committer.commit(plan, [report]).index_seconds > 1.0
