"""M GPUs and N workers: Spark's resources decide, and torch need not be there to show it. The GPUs are simulated: a
discovery script that lists two, and a torch that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.spark.conftest import OWN_SPARK, run_script
from tests.spark.encoders import FAKE_GPUS, ON_DEVICE

pytestmark = [pytest.mark.spark, OWN_SPARK]

SCRIPT = """
import json
import os

from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests

from spark_vector_sink.spark import embed


def job(rows, tasks, share):
    df = spark.range(0, rows, 1, tasks).selectExpr("id", "concat('text ', id) AS text", "spark_partition_id() AS part")
    found = df.select("part", embed("text", encoder="ENCODER").alias("vector")).rdd
    if share is not None:
        found = found.withResources(ResourceProfileBuilder().require(TaskResourceRequests().resource("gpu", share)).build)
    return [[x - 1 for x in row.vector] + [row.part] for row in found.collect()]


print("TOLD", json.dumps([[job(40, tasks, share) for tasks in (4, 1, 3)] for share in SHARES]))
"""

ALONE, HALF, WHOLE = None, 0.5, 1.0
"""GPUs of a task: Spark knows of none, and so gives none; or so many."""


def told(folder: Path, master: str, *shares: float | None) -> list[list[list[list[float]]]]:
    """For each share, for each job, for each row: GPU of the encoder, process, how often this process has made one, GPU
    that Spark gave, partition."""
    settings: dict[str, str] = {}
    if shares != (ALONE,):
        script = folder / "gpus.sh"
        script.write_text('#!/bin/sh\necho \'{"name": "gpu", "addresses": ["0", "1"]}\'\n')
        script.chmod(0o755)
        settings = {
            "spark.worker.resource.gpu.amount": "2", "spark.worker.resource.gpu.discoveryScript": str(script),
            "spark.executor.resource.gpu.amount": "2", "spark.executor.resource.gpu.discoveryScript": str(script),
            "spark.task.resource.gpu.amount": str(HALF),
        }  # fmt: skip
    environment = {FAKE_GPUS: "2", "TMPDIR": str(folder)}
    done = run_script(
        folder,
        SCRIPT.replace("ENCODER", ON_DEVICE).replace("SHARES", repr(shares)),
        master,
        settings=settings,
        environment=environment,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("TOLD "))
    found: list[list[list[list[float]]]] = json.loads(line.removeprefix("TOLD "))
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> dict[float | None, list[list[list[float]]]]:
    """What tasks with either share have told, in one cluster: each start takes longer than the jobs."""
    return dict(
        zip((HALF, WHOLE), told(tmp_path_factory.mktemp("gpus"), "local-cluster[1,4,1024]", HALF, WHOLE), strict=True)
    )


@pytest.mark.parametrize("share", [WHOLE, HALF])
def test_a_task_uses_the_gpu_that_spark_gave_it(
    cluster: dict[float | None, list[list[list[float]]]], share: float
) -> None:
    """One model on each GPU, or two with half a GPU for each task; a worker that gets another GPU lets the old model
    go."""
    rows = [row for job in cluster[share] for row in job]
    assert len(rows) == 120
    assert all(on == given and on in (0, 1) for on, _, _, given, _ in rows)
    devices: dict[float, Any] = {}
    for on, process, made, _, _ in rows:
        devices.setdefault((process, made), set()).add(on)
    assert all(len(seen) == 1 for seen in devices.values()), "a loaded model stays on its device"


def test_without_sparks_resources_workers_spread_by_themselves(tmp_path: Path) -> None:
    """Each process takes the least used GPU, and keeps it from job to job."""
    [jobs] = told(tmp_path, "local[4]", ALONE)
    rows = [row for job in jobs for row in job]
    assert {given for *_, given, _ in rows} == {-1}
    kept: dict[float, set[float]] = {}
    for on, process, *_ in rows:
        kept.setdefault(process, set()).add(on)
    assert all(len(seen) == 1 for seen in kept.values())
    used = [seen.pop() for seen in kept.values()]
    assert abs(used.count(0) - used.count(1)) <= 1
