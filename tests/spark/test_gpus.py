"""M GPUs and N workers: Spark's resources decide, and torch need not be there to show it. The GPUs are of paper: a discovery script
that lists two, and a torch that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.spark.conftest import run_script
from tests.spark.encoders import FAKE_GPUS, ON_DEVICE

pytestmark = pytest.mark.spark

SCRIPT = """
import json
import os

from pyspark import TaskContext

from spark_vector_sink.spark import embed


def job(rows, tasks):
    df = spark.range(0, rows, 1, tasks).selectExpr("id", "concat('text ', id) AS text", "spark_partition_id() AS part")
    return [[x - 1 for x in row.vector] + [row.part] for row in df.select("part", embed("text", encoder="ENCODER").alias("vector")).collect()]


print("TOLD", json.dumps([job(40, tasks) for tasks in (4, 1, 3)]))
"""


def told(folder: Path, master: str, share: str | None) -> list[list[list[float]]]:
    """For each job, for each row: GPU of the encoder, process, how often this process has made one, GPU that Spark gave, partition."""
    settings: dict[str, str] = {}
    if share is not None:
        script = folder / "gpus.sh"
        script.write_text('#!/bin/sh\necho \'{"name": "gpu", "addresses": ["0", "1"]}\'\n')
        script.chmod(0o755)
        settings = {
            "spark.worker.resource.gpu.amount": "2", "spark.worker.resource.gpu.discoveryScript": str(script),
            "spark.executor.resource.gpu.amount": "2", "spark.executor.resource.gpu.discoveryScript": str(script),
            "spark.task.resource.gpu.amount": share,
        }  # fmt: skip
    environment = {FAKE_GPUS: "2", "TMPDIR": str(folder)}
    done = run_script(folder, SCRIPT.replace("ENCODER", ON_DEVICE), master, settings=settings, environment=environment)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("TOLD "))
    found: list[list[list[float]]] = json.loads(line.removeprefix("TOLD "))
    return found


@pytest.mark.parametrize("share", ["1", "0.5"])
def test_a_task_uses_the_gpu_that_spark_gave_it(tmp_path: Path, share: str) -> None:
    """One model on each GPU, or two with half a GPU for each task; a worker that gets another GPU lets the old model go."""
    jobs = told(tmp_path, "local-cluster[1,4,1024]", share)
    rows = [row for job in jobs for row in job]
    assert len(rows) == 120
    assert all(on == given and on in (0, 1) for on, _, _, given, _ in rows)
    devices: dict[float, Any] = {}
    for on, process, made, _, _ in rows:
        devices.setdefault((process, made), set()).add(on)
    assert all(len(seen) == 1 for seen in devices.values()), "a loaded model stays on its device"


def test_without_sparks_resources_workers_spread_by_themselves(tmp_path: Path) -> None:
    """Each process takes the least used GPU, and keeps it from job to job."""
    jobs = told(tmp_path, "local[4]", None)
    rows = [row for job in jobs for row in job]
    assert {given for *_, given, _ in rows} == {-1}
    kept: dict[float, set[float]] = {}
    for on, process, *_ in rows:
        kept.setdefault(process, set()).add(on)
    assert all(len(seen) == 1 for seen in kept.values())
    used = [seen.pop() for seen in kept.values()]
    assert abs(used.count(0) - used.count(1)) <= 1
