"""An overwrite in a process of its own, which ends by SIGKILL just before a step: `python -m tests.killed STEP
OPTIONS`.

A step is `method n`: the n-th call of that function. Nothing of the package knows of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.store.edge import collections as edge_collections
from spark_vector_sink.store.edge import versions as edge_versions
from spark_vector_sink.store.qdrant import wait_for_index
from spark_vector_sink.store.qdrant.collections import QdrantCollections
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.hangs import HANGS_AFTER_SECONDS
from tests.jobs import Place, vectors

ROOT = Path(__file__).parents[1]

LOADING, CHECKED, OVER = ({"v1": "ready", "v2": state} for state in ("loading", "checked", "ready"))

STEPS: dict[str, tuple[int, dict[str, str]]] = {
    "_create_aside 1": (0, {"v1": "ready"}),
    "_make_indexes 1": (0, LOADING),
    "write_partition 1": (0, LOADING),
    "write_partition 2": (0, LOADING),
    "finish 1": (0, LOADING),
    "probe 1": (0, LOADING),
    "wait_for_index 1": (0, LOADING),
    "publish 1": (0, LOADING),
    "_note 1": (0, LOADING),
    "_note 2": (0, CHECKED),
    "_switch 1": (0, CHECKED),
    "_alias 1": (0, CHECKED),
    "_alias 2": (0, CHECKED),
    "_note 3": (1, CHECKED),
    "_drop 2": (1, OVER),
}
"""On a server, before each step: the edition that serves then, and what the versions' metadata says."""

STEPS_EMBEDDED = {
    "create 1": 0,
    "write_partition 1": 0,
    "write_partition 2": 0,
    "fill 1": 0,
    "write_facts 1": 0,
    "probe 1": 0,
    "switch 1": 0,
    "write_atomically 2": 0,
    "write_atomically 3": 0,
    "write_atomically 4": 1,
    "drop 2": 1,
    "drop_staging 1": 1,
}
"""On an embedded store, before each step: the edition that serves then."""


def edition(number: int) -> pa.Table:
    """What the job of that number writes: another count of points each time, and the number in each of them."""
    count = 200 + number
    return vectors(count, edition=[number] * count)


def killed_at(place: Place, step: str) -> int:
    """An overwrite with edition 1 in a process that ends by SIGKILL just before that step; its exit status."""
    script = [sys.executable, "-m", "tests.killed", step, json.dumps(place.options)]
    return subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=HANGS_AFTER_SECONDS).returncode


def main() -> None:
    """Kill this process before the step; exit with 0 where the step never comes."""
    name, _, number = sys.argv[1].partition(" ")
    options: dict[str, Any] = json.loads(sys.argv[2])
    wait_for_index.LOOK_SECONDS = 0.02
    embedded = [edge_versions, edge_collections, edge_collections.staging]
    owner: Any = next(
        place
        for place in ([partition_writer, QdrantCollections] if "url" in options else [partition_writer, *embedded])
        if name in vars(place) or name in dir(place)
    )
    original, calls = getattr(owner, name), 0

    def counted(*args: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **keywords)

    setattr(owner, name, counted)
    rows = edition(1)
    plan = committer.prepare(planning.plan(options, rows.schema, "overwrite"))
    reports = [
        partition_writer.write_partition(plan, part.to_batches(), TaskContext(partition=i))
        for i, part in enumerate((rows.slice(0, 100), rows.slice(100)))
    ]
    committer.commit(plan, reports)


if __name__ == "__main__":
    main()
