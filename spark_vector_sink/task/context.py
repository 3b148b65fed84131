"""What Spark tells a task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskContext:
    """What Spark tells a task: which part it is, and what it may use.

    cpus: CPU cores of the task; None leaves torch's threads alone. gpus: addresses of the GPUs that it was given.
    files: the folder of the files that Spark ships to tasks.
    """

    partition: int = 0
    attempt: int = 0
    cpus: int | None = None
    gpus: tuple[str, ...] = ()
    files: str | None = None
