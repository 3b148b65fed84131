"""Write a Parquet file of texts with Spark and say how fast it went: rows/s, tokens/s, memory of a Python worker.

    python benchmarks/write_corpus.py CORPUS.parquet WHERE --model FOLDER [--rows N] [--tasks N] [--kill-worker]

WHERE is an address with a collection (`http://localhost:6333/corpus`) or a directory. `--kill-worker` kills one Python
worker with SIGKILL in the middle of the job, to show that the same points are there afterwards.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from pyspark.sql import SparkSession

from spark_vector_sink.spark import write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("where")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--kill-worker", action="store_true")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the sink")
    arguments = parser.parse_args()

    os.environ["PYSPARK_PYTHON"] = sys.executable
    spark = (
        SparkSession.builder.master("local[2,4]")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    df = spark.read.parquet(arguments.corpus)
    df = df.limit(arguments.rows) if arguments.rows else df
    df = df.repartition(arguments.tasks)

    options = {"model": arguments.model, **dict(option.split("=", 1) for option in arguments.option)}
    url = urlsplit(arguments.where)
    name = arguments.where
    if url.scheme.startswith("http"):
        name, options["url"] = url.path.strip("/"), f"{url.scheme}://{url.netloc}"
    if arguments.kill_worker:
        threading.Thread(target=kill_a_worker, daemon=True).start()
    report = write(df, name, **options)
    print(report)
    print(f"points counted by the store: {report.stored_points:,}")
    print(
        f"a task's seconds, added up: reading {report.reading_seconds:.1f}, tokenising "
        f"{report.tokenising_seconds:.1f}, encoding {report.encoding_seconds:.1f}, store {report.store_seconds:.1f}"
    )
    print(f"most resident memory of a Python worker: {report.peak_bytes / 2**20:,.0f} MiB")
    spark.stop()


def kill_a_worker() -> None:
    """Wait until a worker has encoded for a while, then kill it as the system's own killer would."""
    while True:
        time.sleep(1)
        for process in busy_workers():
            print(f"kill -9 of Python worker {process}", flush=True)
            os.kill(process, signal.SIGKILL)
            return


def busy_workers(seconds: float = 20.0) -> list[int]:
    """Forked Python workers of this process's Spark that have used so many seconds of CPU (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            command = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ")
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        ticks = int(fields[11]) + int(fields[12])
        process = int(stat.parent.name)
        if b"pyspark.daemon" in command and ticks / os.sysconf("SC_CLK_TCK") > seconds and is_ours(process):
            found.append(process)
    return found


def is_ours(process: int) -> bool:
    """Whether this process has started it, by way of others."""
    while process > 1 and process != os.getpid():
        try:
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[1])
        except OSError:
            return False
    return process == os.getpid()


if __name__ == "__main__":
    main()
