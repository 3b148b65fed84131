"""When memory really runs out: a process of its own whose address space is bounded while the model works, and an
allocator that says no.

The bound is set around the model alone: a tokenizer written in Rust has no way to report a lack of memory, it ends the
process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="only Linux bounds a process's address space, and tells how much it has",
)

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, resource, sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from spark_vector_sink.driver import committer
from spark_vector_sink.task.encoder_runner import EncoderRunner
from spark_vector_sink.errors import VectorSinkError
from spark_vector_sink.driver.plan import plan
from spark_vector_sink.task.context import TaskContext
from spark_vector_sink.task.partition_writer import write_partition
from spark_vector_sink.store.edge import EdgeStore

given = json.loads(sys.argv[1])
submit, encode, made, room = EdgeStore.submit, EncoderRunner.encode, [], None


def kept(store, points):
    made.extend(points.vectors.values())
    return submit(store, points)


def bounded(encoder, tokenised):
    if room is None:
        return encode(encoder, tokenised)
    has = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize:")) << 10
    resource.setrlimit(resource.RLIMIT_AS, (has + room, resource.RLIM_INFINITY))
    try:
        return encode(encoder, tokenised)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def job(texts, **more):
    batch = pa.record_batch({"id": pa.array(range(len(texts)), pa.int64()), "text": texts})
    options = {"path": given["path"], "device": "cpu", "dtype": "float32", "model": given["model"], "window_rows": 100_000}
    prepared = committer.prepare(plan(options | more, batch.schema))
    return committer.commit(prepared, [write_partition(prepared, [batch], TaskContext(cpus=1))])


def vectors():
    found = np.concatenate(made)
    made.clear()
    return found


EdgeStore.submit, EncoderRunner.encode = kept, bounded
huge = {"token_budget": 100_000_000}
"""

# a job before the bound is set frees memory: kept by the C library, it would be room that the bound does not count,
# more or less of it from run to run. And each thread would reserve 64 MiB of address space
FRUGAL = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}


def run(folder: Path, model: Path, script: str) -> dict[str, Any]:
    """What the script prints as JSON at its end."""
    given = json.dumps({"path": str(folder / "store"), "model": str(model)})
    environment = {**os.environ, **FRUGAL}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + script, given],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def test_the_budget_is_halved_until_it_fits(tmp_path: Path, tiny_model: Path) -> None:
    """The job ends well, says so, and its vectors are those that it would have made with more memory. The next window
    does not try again."""
    told = run(
        tmp_path,
        tiny_model,
        """
texts = [f"the dog number {i} and the cat " + "sleep in the sun " * (i % 20) for i in range(4000)]
job(texts[:10], **huge)
wanted = job(texts, **huge), vectors()[10:]
room = 64 << 20
bounded_report, found = job(texts, **huge), vectors()
again = job(texts, **huge)
print(json.dumps({
    "apart": float(np.abs(wanted[1] - found).max()), "before": wanted[0].halvings, "budget": bounded_report.token_budget, "line": str(bounded_report),
    "halvings": bounded_report.halvings, "rows": len(found), "stored": bounded_report.stored_points, "again": again.halvings,
    "budget again": again.token_budget,
}))
""",
    )
    assert (told["before"], told["rows"], told["stored"]) == (0, 4000, 4000)
    assert told["halvings"] > 1
    assert 64 <= told["budget"] <= 4000 * 64 / 2 ** told["halvings"]
    assert f"memory ran out {told['halvings']} times, token budget now {told['budget']:,}" in told["line"]
    assert told["apart"] <= 1e-5
    assert (told["again"], told["budget again"]) == (0, told["budget"])


def test_a_text_that_does_not_fit_is_named(tmp_path: Path, model_of: Callable[[str], Path]) -> None:
    """A model that reads very long texts; the others of the window are not to blame."""
    folder = shutil.copytree(model_of("decoder-without-modules-json"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1_000_000}), encoding="utf-8")
    told = run(
        tmp_path,
        folder,
        """
job(["dog", "cat"], **huge)
room = 8 << 20
try:
    job(["dog", "the dog and the fox " * 6_000, "cat"], **huge)
except VectorSinkError as error:
    print(json.dumps({"kind": type(error).__name__, "line": str(error)}))
""",
    )
    assert told["kind"] == "BadRowError"
    assert told["line"].startswith("the row with key '1' cannot be written: column 'text' has 30,00")
    assert " tokens, for which the memory of cpu is not enough (" in told["line"]
    assert "\n" not in told["line"]
