"""The processes of one session (in the sense of setsid): found by their command lines, killed one by one, or all of
them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

DAEMON = "pyspark.daemon"
"""In the command line of the process that Spark forks its Python workers from, and in theirs."""

DRIVER_JVM = "org.apache.spark.deploy.SparkSubmit"
EXECUTOR_JVM = "CoarseGrainedExecutorBackend"


@dataclass(frozen=True)
class Process:
    """A line of `ps`."""

    pid: int
    parent: int
    command: str


def of_session(leader: int) -> dict[int, Process]:
    """All processes of the session that `leader` began, itself included, whoever their parents are by now; pid →
    process."""
    return {process.pid: process for process in _all() if _session(process.pid) == leader}


def ancestor(pid: int, word: str, among: dict[int, Process]) -> int | None:
    """The nearest process above this one whose command line holds the word."""
    child = among.get(pid)
    while child is not None and (parent := among.get(child.parent)) is not None:
        if word in parent.command:
            return parent.pid
        child = parent
    return None


def kill(pid: int) -> bool:
    """SIGKILL; False where there is no such process any more."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def end_session(leader: int, seconds: float = 10) -> None:
    """Kill every process of a session; RuntimeError where one is left after so many seconds."""
    end = time.monotonic() + seconds
    while left := of_session(leader):
        for pid in left:
            kill(pid)
        with suppress(ChildProcessError):  # ours is a zombie until somebody asks for its end
            os.waitpid(leader, os.WNOHANG)
        if time.monotonic() > end:
            raise RuntimeError(f"processes {sorted(left)} do not end")
        time.sleep(0.02)


def _all() -> Iterator[Process]:
    told = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,command="], capture_output=True, text=True, check=True
    ).stdout
    for line in told.splitlines():
        pid, parent, state, *command = line.split(None, 3)
        if not state.startswith("Z"):
            yield Process(int(pid), int(parent), command[0] if command else "")


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None
