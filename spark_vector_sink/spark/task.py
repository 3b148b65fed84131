"""Read what Spark tells a task about itself, and where Spark puts the files that it ships."""

from __future__ import annotations

from pathlib import Path

import pyspark
from pyspark import SparkFiles

from spark_vector_sink.task.context import TaskContext


def current_task() -> TaskContext:
    """Return the context of the running task; the default context outside of Spark."""
    context = pyspark.TaskContext.get()
    if context is None:
        return TaskContext()
    gpus = context.resources().get("gpu")
    addresses = tuple(gpus.addresses) if gpus is not None else ()
    shipped = shipped_files()
    return TaskContext(
        context.partitionId(),
        context.attemptNumber(),
        context.cpus(),
        addresses,
        None if shipped is None else str(shipped),
    )


def shipped_files() -> Path | None:
    """Return the folder with the files that `addFile`, `addArchive` and `--archives` have brought to this process; None
    where Spark has no such folder (Connect)."""
    if not SparkFiles._is_running_on_worker and SparkFiles._sc is None:
        return None
    folder = SparkFiles.getRootDirectory()
    return Path(folder) if folder else None
