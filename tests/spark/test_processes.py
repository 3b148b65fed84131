"""What only shows when driver, planner, executors and their Python workers are processes of their own, in a cluster on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink import PermanentStoreError, sink
from spark_vector_sink.plan import plan
from spark_vector_sink.store.edge.layout import StoreDirectory
from tests.fake_server import FakeServer
from tests.spark.conftest import run_script
from tests.spark.encoders import HASH, KILL_ONCE, MARKERS
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES, Embedded, Points, Server, hashed

pytestmark = pytest.mark.spark

ROWS = 400
KEYS = {"environment": "key-from-the-environment-4f1c", "file": "key-from-a-file-93ab", "option": "key-from-an-option-d07e"}
WAYS = list(KEYS)
DOORS = ["write", "data_source"]

SCRIPT = """
import json, os, sys, traceback
from pyspark.sql import functions as f
from spark_vector_sink.spark import write

settings = json.loads(os.environ["TEST_SETTINGS"])
told = {"application": spark.sparkContext.applicationId, "driver": os.getpid(), "runs": {}}
rows = spark.range(0, settings["rows"], 1, 4).selectExpr("id", "concat('text ', id) AS text")


def report_where(batches):
    import pyarrow as pa
    for batch in batches:
        pass
    yield pa.RecordBatch.from_pydict({"pid": [os.getpid()], "folder": [os.getcwd()]})


told["workers"] = [row.asDict() for row in rows.mapInArrow(report_where, "pid bigint, folder string").collect()]


def save(df, name, options):
    df.write.format("vectorsink").options(**options).mode("append").save(name)


def put(df, name, options):
    return json.loads(write(df, name, **options).to_json())


def run(label, do, *arguments):
    try:
        told["runs"][label] = {"report": do(*arguments), "error": None}
    except Exception as error:
        told["runs"][label] = {"report": None, "error": str(error) + traceback.format_exc()}


doors = {"write": put} | ({"data_source": save} if settings["data_sources"] else {})
for door, do in doors.items():
    run(f"{door} to server", do, rows, f"plain_{door}", {"url": settings["url"], "encoder": settings["encoder"], "distance": "dot"})
    run(f"{door} to directory", do, rows, f"{settings['folder']}/{door}", {"encoder": settings["encoder"], "distance": "dot"})
    killer = {"url": settings["url"], "encoder": settings["killers"][door], "distance": "dot", "window_rows": 20}
    run(f"{door} killed", do, rows, f"killed_{door}", killer)
    for way, options in settings["keys"].items():
        options = {**options, "encoder": settings["encoder"]}
        run(f"{door} {way} good", do, rows, "articles", options)
        run(f"{door} {way} null key", do, rows.withColumn("id", f.expr("IF(id = 7, NULL, id)")), "articles", options)
        run(f"{door} {way} unknown option", do, rows, "articles", {**options, "batch_point": 1})
        run(f"{door} {way} wrong key", do, rows, "articles", {**options, "url": settings["locked"]})
        run(f"{door} {way} spark refuses", do, rows.selectExpr("*", "make_interval(1) AS ages"), "articles", options)

print("TOLD", json.dumps(told))
"""


@dataclass(frozen=True)
class ClusterRun:
    """What one Spark application did, and everything that it wrote while it did."""

    told: dict[str, Any]
    process: subprocess.CompletedProcess[str]
    points: dict[str, Points]
    markers: set[str]
    logs: dict[str, str] = field(repr=False)
    """`event log`, `driver`, `executors`, `exceptions` → text"""

    def run(self, label: str) -> dict[str, Any]:
        run: dict[str, Any] = self.told["runs"][label]
        return run


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRun]:
    """One application on a master, two workers and two executors, all of them processes: starting it takes longer than all its jobs."""
    folder = tmp_path_factory.mktemp("cluster")
    for name in ("events", "markers", "stores"):
        (folder / name).mkdir()
    (folder / "key").write_text(f"{KEYS['file']}\n", encoding="utf-8")
    with FakeServer() as plain, FakeServer(api_key="another") as locked, _servers() as servers:
        keys = {
            "environment": {"url": servers["environment"].url, "api_key_env": "TEST_API_KEY"},
            "file": {"url": servers["file"].url, "api_key_file": str(folder / "key")},
            "option": {"url": servers["option"].url, "api_key": KEYS["option"]},
        }
        settings = {
            "rows": ROWS, "url": plain.url, "locked": locked.url, "folder": str(folder / "stores"), "keys": keys, "encoder": HASH,
            "killers": dict(zip(DOORS, KILL_ONCE, strict=True)), "data_sources": HAS_DATA_SOURCES,
        }  # fmt: skip
        process = run_script(
            folder,
            SCRIPT,
            "local-cluster[2,1,1024]",
            spark={"spark.eventLog.enabled": "true", "spark.eventLog.dir": str(folder / "events"), "spark.eventLog.compress": "false"},
            environment={"TEST_SETTINGS": json.dumps(settings), "TEST_API_KEY": KEYS["environment"], MARKERS: str(folder / "markers")},
        )
        lines = [line.removeprefix("TOLD ") for line in process.stdout.splitlines() if line.startswith("TOLD ")]
        assert lines, process.stdout + process.stderr
        told = json.loads(lines[0])
        points = {f"{way} key": server.points("articles") for way, server in servers.items()}
        doors = DOORS if HAS_DATA_SOURCES else DOORS[:1]
        points = {f"{door} killed": Server(plain, f"killed_{door}").points() for door in doors}
        points |= {f"{door} to server": Server(plain, f"plain_{door}").points() for door in doors}
        points |= {f"{door} to directory": Embedded(f"{folder}/stores/{door}").points() for door in doors}
        points |= {way: Server(server).points() for way, server in servers.items()}
    executors = {Path(worker["folder"]).parent for worker in told["workers"]}
    logs = {
        "event log": _text(folder / "events"),
        "driver": process.stderr,
        "executors": "".join(map(_text, executors)),
        "exceptions": "".join(str(run["error"]) for run in told["runs"].values()),
    }
    yield ClusterRun(told, process, points, {path.name for path in (folder / "markers").iterdir()}, logs)
    for work in executors:  # Spark keeps them in its own folder
        shutil.rmtree(work)
