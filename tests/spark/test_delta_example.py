"""The example of a Delta table, as a user types it: in the environment that uv makes for it, with the jars of Maven
Central."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.spark.conftest import ROOT

pytestmark = pytest.mark.spark

OURS = ("PYTHONPATH", "SPARK_HOME", "VIRTUAL_ENV", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "PYTHONDONTWRITEBYTECODE")
"""What belongs to the Spark of these tests, which is another one; and a new environment without bytecode would compile
torch for each worker."""

JAR = "https://repo1.maven.org/maven2/io/delta/delta-spark_4.1_2.13/4.4.0/delta-spark_4.1_2.13-4.4.0.pom"


@pytest.fixture
def uv() -> str:
    """The uv of PATH, or the one that `make` puts beside this Python. Skips without one, and without a network."""
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("no uv on PATH, nor beside this Python, which makes the environment of the Delta example")
    try:
        urllib.request.urlopen(JAR, timeout=20).close()
    except OSError as error:
        pytest.skip(f"the Delta example needs Maven Central, and {JAR} cannot be read: {error}")
    return found


@pytest.mark.timeout(900)  # the first time, an environment is made, with another Spark
def test_the_changes_of_a_delta_table(uv: str, tmp_path: Path) -> None:
    """One command: a stream of the table's change feed, and all of it in one batch, make the documents that the table
    has rows."""
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    command = [uv, "run", "examples/delta_changes.py", str(tmp_path / "made")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=850, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.findall(r"start read (\d+) rows", done.stdout) == ["4", "6", "0"]
    assert re.findall(r"^checked: (.*)$", done.stdout, re.MULTILINE) == [
        "the stream's documents are the table's rows",
        "so are those of the whole feed, read at once",
    ]
