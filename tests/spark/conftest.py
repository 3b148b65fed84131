"""A local Spark for the tests in this process, and others in processes of their own."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import pytest
from pyspark.sql import SparkSession

from tests.fake_server import FakeServer
from tests.spark.places import Embedded, Place, Server

ROOT = Path(__file__).parents[2]
HANGS_AFTER = 1200
"""Seconds that a process with a Spark of its own may take: one of 30 s has taken 160 on a busy machine."""

OWN_SPARK = pytest.mark.timeout(HANGS_AFTER + 60)
"""For a test with such a process; more than that, so that what the process has said is shown."""

Show = Callable[[str], str]

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # neither UTC nor the machine's: a zone that is lost on the way shows
    "spark.sql.session.timeZone": "America/New_York",
    "spark.sql.shuffle.partitions": "2",
    # a JVM that lives for seconds: optimising it took two fifths of its CPU time
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.python.worker.faulthandler.enabled": "true",  # a worker that crashes leaves its stack in the error
}


def session(master: str, **settings: str) -> SparkSession:
    """The Spark of this process. A process has one master for life; another one needs `run_with_spark`."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    # workers find the tests' helpers
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    # another Spark on this machine must not take the place of the one that was installed
    os.environ.pop("SPARK_HOME", None)
    builder = SparkSession.builder.master(master).appName("tests")
    for key, value in {**SETTINGS, **settings}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Spark with two tasks at a time, in this process."""
    local = session("local[2]", **{"spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))})
    yield local
    local.stop()


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A store that does not exist yet: first a directory, then a collection of a fake server."""
    return (
        Embedded(f"{tmp_path}/store") if request.param == "embedded" else Server(request.getfixturevalue("fake_server"))
    )


@pytest.fixture
def server(fake_server: FakeServer) -> Server:
    """A collection of a fake server that does not exist yet."""
    return Server(fake_server)


@pytest.fixture
def shown(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Show:
    """Runs an example by its name, in an empty folder, and gives what it prints."""

    def run(name: str) -> str:
        script = str(ROOT / "examples" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [script, str(tmp_path / "made")])
        monkeypatch.syspath_prepend(str(ROOT / "examples"))
        monkeypatch.setattr(SparkSession, "stop", lambda self: None)  # it is the Spark of other tests too
        monkeypatch.chdir(tmp_path)
        runpy.run_path(script, run_name="__main__")
        return capsys.readouterr().out

    return run


class RunWithSpark(Protocol):
    """`run_script` in the test's directory."""

    def __call__(
        self, script: str, master: str = "local-cluster[2,1,1024]", **environment: str
    ) -> subprocess.CompletedProcess[str]: ...


def run_script(
    folder: Path,
    script: str,
    master: str = "local-cluster[2,1,1024]",
    *,
    settings: Mapping[str, str] = MappingProxyType({}),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """Run Python source that finds a `spark` made with `master`, in a process of its own; its output is text, its exit
    status the caller's to check.

    settings: Spark's, besides those of all tests.
    """
    source = folder / "script.py"
    made = f"from tests.spark.conftest import session\n\nspark = session({master!r}, **{dict(settings)!r})\n"
    source.write_text(f"{made}{script}\nspark.stop()\n", encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, str(source)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
        check=False,
    )


@pytest.fixture
def run_with_spark(tmp_path: Path) -> RunWithSpark:
    """Runs a script with a Spark of its own, in a process of its own, in the test's directory."""

    def run(
        script: str, master: str = "local-cluster[2,1,1024]", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return run_script(tmp_path, script, master, environment=environment)

    return run
