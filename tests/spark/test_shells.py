"""Spark's own shells: SQL and Scala write without a line of Python, where Spark finds a Python that has the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from spark_vector_sink import search
from tests.spark.conftest import HANGS_AFTER, OWN_SPARK, ROOT, SETTINGS
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES

pytestmark = [pytest.mark.spark, pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES), OWN_SPARK]

SQL = """
CREATE TEMPORARY VIEW sink (id BIGINT, text STRING) USING vectorsink OPTIONS (path '{store}', model '{model}', device 'cpu');
INSERT INTO sink VALUES (1, 'the cat sleeps'), (2, 'bread and soup');
"""

SCALA = """
import spark.implicits._
val rows = Seq((1L, "the cat sleeps"), (2L, "bread and soup")).toDF("id", "text")
rows.write.format("vectorsink").option("model", "{model}").option("device", "cpu").mode("append").save("{store}")
System.exit(0)
"""


def shell(folder: Path, program: str, *arguments: str) -> str:
    """What a program of Spark's prints that is run with the tests' settings and this Python; its input is at its
    end."""
    home = Path(pyspark.__file__).parent
    settings = {
        **SETTINGS,
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    here = {
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": path,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [
            str(home / "bin" / program),
            "--master",
            "local[1]",
            *(word for item in settings.items() for word in ("--conf", "=".join(item))),
            *arguments,
        ],
        cwd=folder,
        env={**os.environ, **here},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(("program", "script", "flag"), [("spark-sql", SQL, "-f"), ("spark-shell", SCALA, "-I")])
def test_a_shell_writes(tmp_path: Path, tiny_model: Path, program: str, script: str, flag: str) -> None:
    """Spark finds the format by itself, the tasks encode, and the store answers."""
    store, file = tmp_path / "store", tmp_path / "script"
    file.write_text(script.format(store=store, model=tiny_model), encoding="utf-8")
    said = shell(tmp_path, program, flag, str(file))
    assert f"vectorsink: wrote 2 points from 2 rows to {store}" in said, said
    assert search(str(store), "bread and soup", limit=1)[0].key == 2
