"""The driver of jobs, a process of its own so that it can be killed: `python -m tests.chaos.driver MASTER SETTINGS
READY`.

The file READY appears when Spark has started. Each line of standard input is a job; its answer is a file that appears
whole. Ends with standard input.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from spark_vector_sink.spark import write
from tests.spark.conftest import session

SETTINGS = {
    "spark.log.level": "WARN",
    # a partition for each file, however small
    "spark.sql.files.openCostInBytes": "128m",
    "spark.sql.files.maxPartitionBytes": "128m",
}


def main() -> None:
    master, settings, ready = sys.argv[1:]
    spark = session(master, **{**SETTINGS, **json.loads(settings)})
    Path(ready).touch()
    executors = 2 if master.startswith("spark:") else 0
    for line in sys.stdin:
        job = json.loads(line)
        while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() <= executors:  # the driver is one of them
            time.sleep(0.05)  # one that was killed in the run before comes back
        answer = Path(job["answer"])
        partial = answer.with_suffix(".partial")
        partial.write_text(json.dumps(run(spark, job)), encoding="utf-8")
        partial.replace(answer)


def run(spark: SparkSession, job: Mapping[str, Any]) -> dict[str, Any]:
    """The job by one of the two doors: `error` is None, or what the user sees."""
    try:
        rows = spark.read.parquet(job["rows"])
        if job["door"] == "write":
            write(rows, job["name"], **job["options"])
        else:
            rows.write.format("vectorsink").options(**job["options"]).mode("append").save(job["name"])
    except Exception as error:  # any error is an answer; whether it may be is for the campaign to say
        traceback.print_exc()
        return {"error": str(error), "kind": type(error).__module__ + "." + type(error).__name__}
    return {"error": None, "kind": None}


if __name__ == "__main__":
    main()
