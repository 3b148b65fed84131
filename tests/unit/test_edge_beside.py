"""An embedded store while other processes work on it: they bring in what waits, and drop what nobody needs, between any
two looks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink import inspect
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import TransientStoreError
from spark_vector_sink.job import Plan
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.store.edge import staging, versions
from spark_vector_sink.store.edge.layout import StoreDirectory
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.jobs import Place, vectors

pytest.importorskip("qdrant_edge")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place({"path": str(tmp_path / "s"), "vector_column": "v", "timeout_seconds": 1})


def rows(version: int) -> pa.Table:
    return vectors(3, version=[version] * 3)


def written(place: Place, table: pa.Table, mode: str = "append", **options: Any) -> tuple[Plan, list[PartitionReport]]:
    """A job up to its end."""
    plan = committer.prepare(planning.plan({**place.options, **options}, table.schema, mode))
    return plan, [partition_writer.write_partition(plan, table.to_batches(), TaskContext())]


@pytest.mark.parametrize("is_first", [False, True])
def test_a_job_is_told_what_others_have_brought_in_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    """A search that gets the lock first brings the job's rows in; how many of them were older the job reports all the
    same, and nothing is left over."""
    place = Place({**place.options, "version_column": "version"})
    place.write(rows(5))
    late = written(place, rows(4))
    place.write(rows(6))
    write_manifest = staging.write_manifest

    def searched_at_once(*arguments: Any) -> None:
        write_manifest(*arguments)
        assert {payload["version"] for payload in place.stored().values()} == {6}

    if is_first:
        monkeypatch.setattr(staging, "write_manifest", searched_at_once)
    report = committer.commit(*late)
    assert (report.written, report.older, report.points) == (0, 3, 0)
    assert list((Path(place.options["path"]) / "staging").iterdir()) == []


def test_a_folder_that_goes_away_was_changed_just_now(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that sweeps beside another one's clean-up takes nothing for left over, and does not fail."""
    place.write(rows(1))
    directory = StoreDirectory(Path(place.options["path"]))
    directory.staging("other").mkdir(parents=True)
    is_dir = Path.is_dir

    def gone_behind_the_look(path: Path) -> bool:
        there = is_dir(path)
        if there and path == directory.staging("other"):
            shutil.rmtree(path)
        return there

    monkeypatch.setattr(Path, "is_dir", gone_behind_the_look)
    staging.sweep(directory)


def test_a_version_that_is_dropped_between_two_looks_is_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking takes no lock, and does not fail."""
    for _ in range(3):
        place.write(rows(1), mode="overwrite", keep_versions=5)
    directory, read_note = StoreDirectory(Path(place.options["path"])), versions._read_note

    def dropped(of: StoreDirectory, physical: str) -> Any:
        note = read_note(of, physical)
        if physical == "v2" and directory.version("v2").exists():
            shutil.rmtree(directory.version("v2"))
        return note

    monkeypatch.setattr(versions, "_read_note", dropped)
    assert [version.name for version in inspect(place.options["path"]).versions] == ["v1", "v3"]


def test_a_new_version_that_another_program_has_open(place: Place) -> None:
    """The end of an overwrite says so in one of our own errors."""
    plan, reports = written(place, rows(1), mode="overwrite")
    program = (
        "import sys, time, qdrant_edge; shard = qdrant_edge.EdgeShard.load(sys.argv[1]); print(flush=True); "
        "time.sleep(600)"
    )
    shard = StoreDirectory(Path(place.options["path"])).shard("v1")
    with subprocess.Popen([sys.executable, "-c", program, str(shard)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(
            TransientStoreError,
            match=r"^the index .*v1/shard is open in a program that is not this sink; try again when it is free",
        ):
            committer.commit(plan, reports)
        other.kill()
