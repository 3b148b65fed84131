"""Spark Connect: the client of this process has no JVM; a local server has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fake_server import FakeServer
from tests.spark.conftest import HANGS_AFTER, OWN_SPARK, ROOT, SETTINGS
from tests.spark.encoders import HASH
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES, SPARK, Points, Server, hashed
from tests.spark.streams import put_rows

pytestmark = [pytest.mark.spark, OWN_SPARK, pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)]
native = pytest.mark.skipif(SPARK < (4, 1), reason="Python data sources take streams in Arrow since Spark 4.1")

ROWS = 20

SCRIPT = """
import json
import os
import time
from pathlib import Path

from pyspark.sql import SparkSession

from spark_vector_sink.spark import check, vector_sink, write
from tests.spark.streams import rows_of

given = json.loads(os.environ["TEST_GIVEN"])
builder = SparkSession.builder.remote("local[2]")
for key, value in given["settings"].items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
options = given["options"]
rows = spark.range(given["rows"]).selectExpr("id", "concat('text ', id) AS text")
told = {"client": f"{type(spark).__module__}.{type(spark).__name__}"}


def run(label, do):
    try:
        told[label] = {"error": None, "result": do()}
    except Exception as error:
        told[label] = {"error": str(error), "result": None}


def stream(label, begin):
    query = begin(rows_of(spark, Path(given["folder"])).writeStream.option("checkpointLocation", f"{given['checkpoints']}/{label}"))
    assert query.awaitTermination(500), "the stream does not end"
    if query.exception() is not None:
        raise query.exception()


run("append", lambda: rows.write.format("vectorsink").options(**options).mode("append").save("append"))
run("refused", lambda: rows.write.format("vectorsink").options(**options, batch_point=1).mode("append").save("append"))
run("to be replaced", lambda: rows.write.format("vectorsink").options(**options).mode("append").save("overwrite"))
few = rows.where("id < 5")
run("overwrite", lambda: few.write.format("vectorsink").options(**options).mode("overwrite").save("overwrite"))
run("check", lambda: str(check(rows, "write", **options)))
run("write", lambda: json.loads(write(rows, "write", **options, report_path=f"{given['checkpoints']}-report.json").to_json()))
bad = rows.selectExpr("id", "IF(id = 7, NULL, text) AS text")
run("bad row", lambda: write(bad, "bad", **options, report_path=f"{given['checkpoints']}-report.json"))
if given["native"]:
    run("native", lambda: stream("native", lambda w: w.format("vectorsink").options(**options).trigger(availableNow=True).start("native")))
sink = vector_sink("foreach_batch", **options)
end = time.monotonic() + 300
while True:  # Spark gives the process of this function 10 s to start, of which it needs 2 to itself: too few beside much other work
    run("foreach_batch", lambda: stream("foreach_batch", lambda w: w.foreachBatch(sink).trigger(availableNow=True).start()))
    if "failed to connect back" not in (told["foreach_batch"]["error"] or "") or time.monotonic() > end:
        break
    time.sleep(5)
print("TOLD", json.dumps(told))
spark.stop()
"""


@dataclass(frozen=True)
class Connected:
    """What one Connect session did."""

    told: dict[str, Any]
    points: dict[str, Points]
    report: dict[str, Any]
    """`report_path` of the write with a bad row"""

    def result(self, label: str) -> Any:
        """Of a run that must have gone well."""
        assert self.told[label]["error"] is None, self.told[label]["error"]
        return self.told[label]["result"]


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Connected:
    """One client and one server; a process of its own, since this one has a classic session."""
    folder = tmp_path_factory.mktemp("connect")
    put_rows(folder / "in", "a", range(10))
    put_rows(folder / "in", "b", range(5, 15), "newer")
    with FakeServer() as server:
        given = {
            "settings": {key: value for key, value in SETTINGS.items() if key != "spark.log.level"},
            "options": {"url": server.url, "encoder": HASH, "distance": "dot"},
            "rows": ROWS,
            "folder": str(folder / "in"),
            "checkpoints": str(folder / "checkpoints"),
            "native": SPARK >= (4, 1),
        }
        (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "HF_HUB_OFFLINE": "1",
            "TEST_GIVEN": json.dumps(given),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_TESTING": "1",  # a free port, and not always 15002
        }
        environment.pop("SPARK_HOME", None)
        done = subprocess.run(
            [sys.executable, "script.py"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=HANGS_AFTER,
            check=False,
        )
        lines = [line.partition("TOLD ")[2] for line in done.stdout.splitlines() if "TOLD " in line]
        assert lines, done.stdout + done.stderr
        told = json.loads(lines[0])
        labels = ["append", "overwrite", "write", "foreach_batch", *(["native"] if given["native"] else [])]
        points = {label: Server(server, label).points() for label in labels if told[label]["error"] is None}
    return Connected(told, points, json.loads((folder / "checkpoints-report.json").read_text(encoding="utf-8")))


def of_range() -> Points:
    return {key: (hashed(f"text {key}"), {"id": key, "text": f"text {key}"}) for key in range(ROWS)}


def of_stream() -> Points:
    texts = {key: f"newer {key}" if key >= 5 else f"text {key}" for key in range(15)}
    return {key: (hashed(text), {"id": key, "text": text}) for key, text in texts.items()}


def test_it_is_a_connect_session(connected: Connected) -> None:
    """The tests below mean something."""
    assert connected.told["client"] == "pyspark.sql.connect.session.SparkSession"


def test_append(connected: Connected) -> None:
    """`df.write.format("vectorsink")` writes exactly the rows."""
    connected.result("append")
    assert connected.points["append"] == of_range()


def test_overwrite(connected: Connected) -> None:
    """`mode("overwrite")` leaves nothing of what was there."""
    connected.result("to be replaced")
    connected.result("overwrite")
    assert connected.points["overwrite"] == {key: point for key, point in of_range().items() if key < 5}


def test_wrong_options_are_refused_in_one_line(connected: Connected) -> None:
    """The client sees the line."""
    assert "unknown option 'batch_point'; did you mean 'batch_points'?" in connected.told["refused"]["error"]


def test_write_returns_the_report(connected: Connected) -> None:
    """`write()` writes exactly the rows and counts them."""
    report = connected.result("write")
    assert (report["rows"], report["written"], report["error"]) == (ROWS, ROWS, None)
    assert connected.points["write"] == of_range()


def test_check_tells_the_plan(connected: Connected) -> None:
    """`check()` sees columns, model and collection."""
    assert "key      id\npayload  id, text\n" in connected.result("check")


def test_a_bad_row_is_named(connected: Connected) -> None:
    """The client's error and the report of the failed job name the key."""
    line = "the row with key '7' cannot be written: column 'text' is null; there is no text to encode"
    assert line in connected.told["bad row"]["error"]
    assert connected.report["error"].startswith(f"{line}; ")


@native
def test_a_stream(connected: Connected) -> None:
    """`df.writeStream.format("vectorsink")` writes every micro-batch."""
    connected.result("native")
    assert connected.points["native"] == of_stream()


def test_a_stream_by_foreach_batch(connected: Connected) -> None:
    """`foreachBatch(vector_sink(…))` runs on the server's side, and writes every micro-batch."""
    connected.result("foreach_batch")
    assert connected.points["foreach_batch"] == of_stream()
