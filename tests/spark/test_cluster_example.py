"""The job for a cluster: its plan, and a run of it as spark-submit starts it, on one machine with two simulated
GPUs."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from tests.fake_server import FakeServer
from tests.spark.conftest import HANGS_AFTER, OWN_SPARK, ROOT
from tests.spark.encoders import FAKE_GPUS, ON_DEVICE
from tests.spark.places import Server

pytestmark = pytest.mark.spark

ROWS = 40


@pytest.fixture
def articles(tmp_path: Path) -> str:
    """A Parquet file with rows."""
    path = f"{tmp_path}/articles.parquet"
    pq.write_table(pa.table({"id": range(ROWS), "text": [f"text {key}" for key in range(ROWS)]}), path)
    return path


def test_a_dry_run(
    spark: SparkSession,
    articles: str,
    fake_server: FakeServer,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Prints the plan and writes nothing; where something is wrong it says what, and its exit status is 1."""
    script = str(ROOT / "examples" / "cluster_submit.py")
    monkeypatch.setattr(SparkSession, "stop", lambda self: None)  # it is the Spark of other tests too
    right = [script, articles, "articles", f"url={fake_server.url}", f"model={tiny_model}", "--dry-run"]
    monkeypatch.setattr(sys, "argv", right)
    runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr().out
    assert "reads    text of text" in said
    assert "problem" not in said
    monkeypatch.setattr(sys, "argv", [*right, "id_column=key"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert ended.value.code == 1
    assert "problem  column 'key' of option 'id_column' is missing" in capsys.readouterr().out
    assert Server(fake_server).versions() == []


def test_a_word_that_is_no_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Is said before a cluster is asked for anything."""
    monkeypatch.setattr(sys, "argv", ["cluster_submit.py", "articles.parquet", "articles", "http://localhost:6333"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "examples" / "cluster_submit.py"), run_name="__main__")
    assert ended.value.code == 2
    assert "'http://localhost:6333' is no option of the sink; write name=value" in capsys.readouterr().err


@OWN_SPARK
def test_a_run_on_two_gpus(tmp_path: Path, articles: str, fake_server: FakeServer) -> None:
    """With the Python of a packed environment, each task writes from the GPU that Spark gave it, and the report names
    both GPUs."""
    made = tmp_path / "bin"
    made.mkdir()
    for name, lines in {
        "nvidia-smi": "seq 0 1",
        "python": f'touch {tmp_path}/packed-python\nexec {sys.executable} "$@"',
    }.items():
        (made / name).write_text(f"#!/bin/sh\n{lines}\n")
        (made / name).chmod(0o755)
    with tarfile.open(tmp_path / "environment.tar.gz", "w:gz") as archive:
        archive.add(made / "python", "bin/python")
    (made / "python").unlink()
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("SPARK_HOME", "PYSPARK_PYTHON")},
        "PATH": os.pathsep.join([str(made), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "MASTER": "local-cluster[1,2,1024]",
        "GPUS": "2",
        "ENVIRONMENT": str(tmp_path / "environment.tar.gz"),
        "SUBMIT": "--conf spark.worker.resource.gpu.amount=2 --conf "
        f"spark.worker.resource.gpu.discoveryScript={ROOT}/examples/gpus.sh "
        "--conf spark.driver.bindAddress=127.0.0.1 --conf spark.driver.host=127.0.0.1 --conf spark.ui.enabled=false",
        "TMPDIR": str(tmp_path),
        FAKE_GPUS: "2",
    }
    job = [articles, "articles", f"url={fake_server.url}", f"encoder={ON_DEVICE}", "distance=dot", "--tasks", "4"]
    submit = ["sh", str(ROOT / "examples" / "cluster_submit.sh"), *job]
    done = subprocess.run(
        submit, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=HANGS_AFTER, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "devices: cuda:0, cuda:1; 4 tasks; 40 points are in articles" in done.stdout
    points = fake_server.points("articles")
    assert len(points) == ROWS
    gpus = [(on - 1, given - 1) for on, _, _, given in (point.vectors[""].tolist() for point in points.values())]
    assert {on for on, _ in gpus} == {0, 1}
    assert all(on == given for on, given in gpus)
    assert (tmp_path / "packed-python").exists()
