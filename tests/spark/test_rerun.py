"""The same table once more, with `unchanged=skip`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.spark.conftest import OWN_SPARK, RunWithSpark

pytestmark = [pytest.mark.spark, OWN_SPARK]


def test_a_rerun_imports_no_torch(run_with_spark: RunWithSpark, tmp_path: Path, tiny_model: Path) -> None:
    """In the processes of tasks that found everything unchanged, nothing was loaded that encodes."""
    rows = pa.table(
        {"id": pa.array(range(20), pa.int64()), "text": [f"the dog number {number}" for number in range(20)]}
    )
    options = {"path": str(tmp_path / "store"), "model": str(tiny_model), "unchanged": "skip", "device": "cpu"}
    plan = committer.prepare(planning.plan(options, rows.schema))
    committer.commit(plan, [partition_writer.write_partition(plan, rows.to_batches(), TaskContext())])
    done = run_with_spark(
        f"""
import os, sys
import pyarrow as pa
from spark_vector_sink.spark import write

options = {options!r}
df = spark.createDataFrame([(number, f"the dog number {{number}}") for number in range(20)], "id long, text string").coalesce(1)

def loaded(batches):
    for batch in batches:
        yield pa.RecordBatch.from_pydict({{"names": [" ".join(sys.modules)]}})

print("unchanged", write(df, **options).unchanged)
names = set(df.mapInArrow(loaded, "names string").first().names.split())
print("the sink", "spark_vector_sink.driver.committer" in names)
print("heavy", sorted(names & {{"torch", "transformers", "sentence_transformers", "tokenizers"}}))
""",
        master="local[1]",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-3:] == ["unchanged 20", "the sink True", "heavy []"]
