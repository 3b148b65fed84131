"""What Spark tells a task about itself."""

from __future__ import annotations

from pyspark import TaskContext

from spark_vector_sink.sink import Task


def current_task() -> Task:
    """The running task; the default one outside of Spark."""
    context = TaskContext.get()
    if context is None:
        return Task()
    gpus = context.resources().get("gpu")
    return Task(context.partitionId(), context.attemptNumber(), context.cpus(), tuple(gpus.addresses) if gpus is not None else ())
