"""Hold what Spark tells a task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskContext:
    """Context of a task from Spark: its partition, its attempt, and the resources that it may use.

    cpus: CPU cores of the task; None leaves torch's threads unchanged. gpus: addresses of the GPUs assigned to the
    task. files: the folder of the files that Spark ships to tasks.
    """

    partition: int = 0
    attempt: int = 0
    cpus: int | None = None
    gpus: tuple[str, ...] = ()
    files: str | None = None
