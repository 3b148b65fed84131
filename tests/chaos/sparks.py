"""The Spark applications of a campaign: drivers in processes of their own, which serve many runs unless they are
killed, and a cluster."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tests.chaos import processes
from tests.chaos.encoder import FOLDER
from tests.chaos.processes import Process

ROOT = Path(__file__).resolve().parents[2]

TASKS_AT_A_TIME = 2

LOCAL = f"local[{TASKS_AT_A_TIME},4]"
"""Two tasks at a time, and four attempts of each as in a cluster."""

CLUSTER_SETTINGS = {
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",  # a twin needs the other executor
    "spark.executor.cores": "1",
    "spark.executor.memory": "512m",
    "spark.cores.max": str(TASKS_AT_A_TIME),
    "spark.speculation": "true",
    "spark.speculation.interval": "100ms",
    "spark.speculation.multiplier": "1.5",
    "spark.speculation.quantile": "0.5",
    "spark.speculation.minTaskRuntime": "300ms",
    "spark.speculation.efficiency.enabled": "false",
}


START_SECONDS = 180
"""The longest that Spark may take to start; an empty machine needs ten."""

T = TypeVar("T")


class DriverDiedError(Exception):
    """A driver that nobody has killed is gone."""


def environment(folder: Path) -> dict[str, str]:
    """Of every process of a campaign. All that Java and Python leave behind when they are killed lies in the folder."""
    for name in ("temp", "spark"):
        (folder / name).mkdir(exist_ok=True)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    known = {name: value for name, value in os.environ.items() if name not in ("SPARK_HOME", "QDRANT_API_KEY")}
    return known | {
        FOLDER: str(folder),
        "PYTHONPATH": path,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "HF_HUB_OFFLINE": "1",
        "TMPDIR": str(folder / "temp"),
        "SPARK_LOCAL_DIRS": str(folder / "spark"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": "-Dspark.deploy.maxExecutorRetries=-1",  # executors are killed again and again
        # quick to start, since it is started often; and nothing outside of the folder
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData "
        f"-Djava.io.tmpdir={folder / 'temp'}",
    }


class Program:
    """A process with a session of its own, so that all that comes of it can be found, and ended."""

    def __init__(self, command: list[str], folder: Path, log: str) -> None:
        self.log = folder / log
        with self.log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(folder),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                start_new_session=True,
                text=True,
            )
        self.pid = self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def processes(self) -> dict[int, Process]:
        return processes.of_session(self.pid)

    def end(self) -> None:
        """Kill all that there is of it."""
        processes.end_session(self.pid)
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def last_words(self, lines: int = 15) -> str:
        """The end of its log, without the frames of stack traces."""
        said = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([line for line in said if not line.startswith("\tat ")][-lines:])


class Driver(Program):
    """A Spark application that runs one job after the other."""

    def __init__(self, folder: Path, master: str, settings: Mapping[str, str]) -> None:
        ready = folder / "ready"
        ready.unlink(missing_ok=True)
        super().__init__(
            [sys.executable, "-m", "tests.chaos.driver", master, json.dumps(dict(settings)), str(ready)],
            folder,
            "driver.log",
        )
        _until(ready.exists, self)

    def begin(self, job: Mapping[str, Any]) -> None:
        """Run a job; the answer will be in its file `answer`."""
        self.tell(json.dumps(dict(job)))


class Cluster:
    """A master and two workers on this machine.

    Not `local-cluster`, all of whose executors have one host name: Spark starts a speculative attempt on another host
    than the first one, and takes two names for two hosts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: list[Program] = []
        try:
            master = self._start("master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
            self.url = _told(master, r"Starting Spark master at (spark://\S+)")
            for host in ("127.0.0.1", "localhost"):
                place = ["--work-dir", str(folder / "work"), "--cores", "1", "--memory", "1g"]
                worker = self._start(
                    "worker.Worker", "--host", host, "--port", "0", "--webui-port", "0", *place, self.url
                )
                _told(worker, r"(Successfully registered with master)")
        except BaseException:
            self.end()
            raise

    def processes(self) -> dict[int, Process]:
        found: dict[int, Process] = {}
        for program in self._programs:
            found |= program.processes()
        return found

    def end(self) -> None:
        for program in reversed(self._programs):
            program.end()

    def _start(self, name: str, *arguments: str) -> Program:
        spark = importlib.util.find_spec("pyspark")
        assert spark is not None
        assert spark.submodule_search_locations is not None
        command = str(Path(spark.submodule_search_locations[0]) / "bin" / "spark-class")
        program = Program(
            [command, f"org.apache.spark.deploy.{name}", *arguments], self._folder, f"cluster-{len(self._programs)}.log"
        )
        self._programs.append(program)
        return program


class Sparks:
    """What is started when a run first needs it, and ends with the campaign."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cluster: Cluster | None = None
        self._drivers: dict[str, Driver] = {}

    def driver(self, where: str) -> Driver:
        """The driver of `local` or `cluster`; a new one where there is none any more."""
        if where not in self._drivers:
            master, settings = (LOCAL, {}) if where == "local" else (self.cluster.url, CLUSTER_SETTINGS)
            self._drivers[where] = Driver(self._folder, master, settings)
        return self._drivers[where]

    def forget(self, where: str) -> Driver:
        """The driver, which serves no more jobs; whoever asks has to end it."""
        return self._drivers.pop(where)

    def drop(self, where: str) -> None:
        """End the driver, where there is one."""
        if where in self._drivers:
            self.forget(where).end()

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster(self._folder)
        return self._cluster

    def processes(self, where: str) -> dict[int, Process]:
        """Where the tasks are, among others."""
        return self.driver(where).processes() | (self.cluster.processes() if where == "cluster" else {})

    def end(self) -> None:
        for driver in self._drivers.values():
            driver.end()
        if self._cluster is not None:
            self._cluster.end()


def _told(program: Program, pattern: str) -> str:
    """What a program writes into its log, soon."""

    def find() -> str | None:
        found = re.search(pattern, program.log.read_text(encoding="utf-8", errors="replace"))
        return found[1] if found else None

    return _until(find, program)


def _until(told: Callable[[], T | None], program: Program) -> T:
    """What it tells when it has started, as soon as that is true; where it ends, or takes too long, nothing of it is
    left."""
    end = time.monotonic() + START_SECONDS
    try:
        while not (answer := told()):
            if not program.is_running or time.monotonic() > end:
                raise DriverDiedError(f"it did not start; its last words:\n{program.last_words()}")
            time.sleep(0.05)
    except BaseException:
        program.end()
        raise
    return answer
