"""What only shows when driver, planner, executors and their Python workers are processes of their own, in a cluster on
this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink import PermanentStoreError
from spark_vector_sink.driver import committer
from spark_vector_sink.driver.plan import plan
from spark_vector_sink.store.edge.layout import StoreDirectory
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.fake_server import FakeServer
from tests.spark.conftest import OWN_SPARK, run_script
from tests.spark.encoders import HASH, KILLERS, MARKERS
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES, Embedded, Points, Server, hashed

pytestmark = [pytest.mark.spark, OWN_SPARK]

ROWS = 400
EXPECTED: Points = {key: (hashed(f"text {key}"), {"id": key, "text": f"text {key}"}) for key in range(ROWS)}
KEYS = {
    "environment": "key-from-the-environment-4f1c",
    "file": "key-from-a-file-93ab",
    "option": "key-from-an-option-d07e",
}
VIEW_KEY = "key-in-the-options-of-a-view-c2a8"
DOORS = [
    "write",
    pytest.param("data_source", marks=pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)),
]

SCRIPT = """
import json
import os
import traceback

from pyspark.sql import functions as f

from spark_vector_sink.spark import write

given = json.loads(os.environ["TEST_GIVEN"])
told = {"driver": os.getpid(), "runs": {}}
rows = spark.range(0, given["rows"], 1, 4).selectExpr("id", "concat('text ', id) AS text")


def where(batches):
    import pyarrow as pa

    for _ in batches:
        pass
    yield pa.RecordBatch.from_pydict({"pid": [os.getpid()], "folder": [os.getcwd()]})


told["workers"] = [row.asDict() for row in rows.mapInArrow(where, "pid bigint, folder string").collect()]


def save(df, name, **options):
    df.write.format("vectorsink").options(**options).mode("append").save(name)


def put(df, name, **options):
    return json.loads(write(df, name, **options).to_json())


def run(label, do, *arguments, **options):
    report = error = None
    try:
        report = do(*arguments, **options)
    except Exception as raised:
        error = f"{raised}\\n{traceback.format_exc()}"
    told["runs"][label] = {"report": report, "error": error}


plain = {"encoder": given["encoder"], "distance": "dot"}
doors = {"write": put, "data_source": save} if given["data_sources"] else {"write": put}
for (door, do), killer in zip(doors.items(), given["killers"]):
    run(f"{door} to server", do, rows, f"plain_{door}", url=given["url"], **plain)
    run(f"{door} to directory", do, rows, f"{given['folder']}/{door}", **plain)
    run(f"{door} killed", do, rows, f"killed_{door}", url=given["url"], **{**plain, "encoder": killer, "window_rows": 20})
run("directory killed", put, rows, f"{given['folder']}/killed", **{**plain, "encoder": given["killers"][2], "window_rows": 20})

for way, options in given["keys"].items():
    options["encoder"] = given["encoder"]
    for door, do in doors.items():
        run(f"{way} {door}", do, rows, "articles", **options)
        run(f"{way} {door}: unknown option", do, rows, "articles", **options, batch_point=1)
        run(f"{way} {door}: wrong key", do, rows, "articles", **{**options, "url": given["locked"]})
        run(f"{way} {door}: column that Spark refuses", do, rows.selectExpr("*", "make_interval(1) AS ages"), "articles", **options)
    run(f"{way} {door}: null key", do, rows.withColumn("id", f.expr("IF(id = 7, NULL, id)")), "articles", **options)

if given["data_sources"]:
    spark.sql(f"CREATE TEMPORARY VIEW opened (id BIGINT, text STRING) USING vectorsink OPTIONS (api_key '{given['view_key']}')")

print("TOLD", json.dumps(told))
"""


@dataclass(frozen=True)
class ClusterRun:
    """What one Spark application did, and everything that it wrote while it did."""

    told: dict[str, Any]
    points: dict[str, Points]
    killed: set[str]
    """the encoders that have killed a worker"""
    logs: dict[str, str] = field(repr=False)
    """`event log`, `driver`, `executors`, `exceptions` → text"""

    def report(self, label: str) -> dict[str, Any]:
        """The report of a run that must have gone well."""
        run = self.told["runs"][label]
        assert run["error"] is None, run["error"]
        return run["report"] or {}

    def error(self, label: str) -> str:
        """The error of a run that must have failed."""
        run = self.told["runs"][label]
        assert run["error"] is not None
        return str(run["error"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRun]:
    """One application on a master, two workers and two executors. They are started once, which takes longer than any of
    the jobs."""
    folder = tmp_path_factory.mktemp("cluster")
    for name in ("events", "markers", "stores"):
        (folder / name).mkdir()
    (folder / "key").write_text(f"{KEYS['file']}\n", encoding="utf-8")
    with ExitStack() as stack:
        plain, locked = stack.enter_context(FakeServer()), stack.enter_context(FakeServer(api_key="another"))
        servers = {way: stack.enter_context(FakeServer(api_key=key)) for way, key in KEYS.items()}
        keys = {
            "environment": {"url": servers["environment"].url, "api_key_env": "TEST_API_KEY"},
            "file": {"url": servers["file"].url, "api_key_file": str(folder / "key")},
            "option": {"url": servers["option"].url, "api_key": KEYS["option"]},
        }
        given = {"rows": ROWS, "url": plain.url, "locked": locked.url, "folder": str(folder / "stores"), "keys": keys}
        given |= {"encoder": HASH, "killers": KILLERS, "data_sources": HAS_DATA_SOURCES, "view_key": VIEW_KEY}
        process = run_script(
            folder,
            SCRIPT,
            settings={
                "spark.eventLog.enabled": "true",
                "spark.eventLog.dir": str(folder / "events"),
                "spark.eventLog.compress": "false",
                "spark.log.level": "INFO",
                # four by default: this is enough for one kill, and saves time where failure is meant
                "spark.task.maxFailures": "2",
            },
            environment={
                "TEST_GIVEN": json.dumps(given),
                "TEST_API_KEY": KEYS["environment"],
                MARKERS: str(folder / "markers"),
            },
        )
        told = _told(process)
        doors = ["write", "data_source"] if HAS_DATA_SOURCES else ["write"]
        places = {f"{door} to server": Server(plain, f"plain_{door}") for door in doors}
        places |= {f"{door} killed": Server(plain, f"killed_{door}") for door in doors} | {
            way: Server(server) for way, server in servers.items()
        }
        directories = {f"{door} to directory": Embedded(f"{folder}/stores/{door}") for door in doors}
        directories["directory killed"] = Embedded(f"{folder}/stores/killed")
        points = {label: place.points() for label, place in (places | directories).items()}
    applications = {Path(worker["folder"]).parent for worker in told["workers"]}
    logs = {
        "event log": _text(folder / "events"),
        "driver": process.stderr,
        "executors": "".join(_text(application) for application in applications),
        "exceptions": "".join(str(run["error"]) for run in told["runs"].values()),
    }
    yield ClusterRun(told, points, {path.name for path in (folder / "markers").iterdir()}, logs)
    for application in applications:
        shutil.rmtree(application)  # Spark puts it beside itself, not into the test's directory


def _told(process: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    lines = [line.removeprefix("TOLD ") for line in process.stdout.splitlines() if line.startswith("TOLD ")]
    assert lines, process.stdout + process.stderr
    told: dict[str, Any] = json.loads(lines[0])
    return told


def _text(folder: Path) -> str:
    """All files of a folder in one text."""
    return "".join(
        path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.rglob("*")) if path.is_file()
    )


# --- pickled to other processes ---------------------------------------------------------------------------------------


def test_workers_are_other_processes(cluster: ClusterRun) -> None:
    """The tests below mean something: rows are handled by Python processes of two executors, none of them the
    driver."""
    pids, folders = ({worker[name] for worker in cluster.told["workers"]} for name in ("pid", "folder"))
    assert cluster.told["driver"] not in pids
    assert len(folders) == 2


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("where", ["server", "directory"])
def test_points_of_all_executors_arrive(cluster: ClusterRun, door: str, where: str) -> None:
    """Plan and writer survive the way to other processes: exactly the rows are stored."""
    cluster.report(f"{door} to {where}")
    assert cluster.points[f"{door} to {where}"] == EXPECTED


def test_the_report_of_all_executors(cluster: ClusterRun) -> None:
    """Each partition's report survives the way back."""
    report = cluster.report("write to server")
    assert (report["partitions"], report["rows"], report["written"], report["error"]) == (4, ROWS, ROWS, None)


# --- a worker that is killed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("run", "killer"), [("write killed", "KillOnce"), ("directory killed", "KillOnceAgain")])
def test_a_killed_worker_is_replaced(cluster: ClusterRun, run: str, killer: str) -> None:
    """A Python worker gets SIGKILL after its first window: the task is run again, no row is lost, doubled or counted
    twice."""
    report = cluster.report(run)
    assert killer in cluster.killed
    assert cluster.points[run] == EXPECTED
    assert (report["rows"], report["written"], report["superseded"]) == (ROWS, ROWS, 0)


@pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)
def test_a_killed_worker_is_replaced_in_a_data_source(cluster: ClusterRun) -> None:
    """The same through the data source."""
    cluster.report("data_source killed")
    assert "KillOnceMore" in cluster.killed
    assert cluster.points["data_source killed"] == EXPECTED


# --- an embedded store that executors do not see ----------------------------------------------------------------------


def test_a_directory_that_executors_do_not_see(tmp_path: Path) -> None:
    """A task that does not find the driver's token in the directory refuses in one line that names host and ways
    out."""
    rows = pa.RecordBatch.from_pydict({"id": [1], "text": ["one"]})
    made = committer.prepare(plan({"path": f"{tmp_path}/store", "encoder": HASH}, rows.schema))
    elsewhere = replace(made, target=replace(made.target, name=f"{tmp_path}/elsewhere"))  # type: ignore[type-var]
    # a store of the same name on another machine, of an earlier job
    shutil.copytree(tmp_path / "store", tmp_path / "elsewhere")
    StoreDirectory(tmp_path / "elsewhere").run_token(made.run).unlink()
    with pytest.raises(PermanentStoreError, match="is not visible to the executor on host") as caught:
        partition_writer.write_partition(elsewhere, [rows], TaskContext())
    assert "use a shared filesystem, or a Qdrant server (option 'url')" in str(caught.value)


# --- the API key ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("way", KEYS)
def test_the_key_opens_the_server(cluster: ClusterRun, way: str, door: str) -> None:
    """Each way to give the key reaches driver and executors."""
    cluster.report(f"{way} {door}")
    assert cluster.points[way].keys() == EXPECTED.keys()


@pytest.mark.parametrize("way", KEYS)
def test_jobs_with_a_key_fail_as_meant(cluster: ClusterRun, way: str) -> None:
    """The runs whose logs are searched below have failed where they should: before the job, in a task, at the server,
    in Spark."""
    doors = ["write", "data_source"] if HAS_DATA_SOURCES else ["write"]
    for door in doors:
        assert "unknown option 'batch_point'" in cluster.error(f"{way} {door}: unknown option")
        assert "Invalid API key or JWT" in cluster.error(f"{way} {door}: wrong key")
        assert "interval" in cluster.error(f"{way} {door}: column that Spark refuses").lower()
    assert "column 'id' is null" in cluster.error(f"{way} {doors[-1]}: null key")


def test_logs_are_complete(cluster: ClusterRun) -> None:
    """What is searched for keys below has the things in it that it should have."""
    assert '"Event":"SparkListenerApplicationStart"' in cluster.logs["event log"]
    assert "a row cannot be written" in cluster.logs["event log"]
    assert "a row cannot be written" in cluster.logs["driver"]
    assert "a row cannot be written" in cluster.logs["executors"]
    assert "a row cannot be written" in cluster.logs["exceptions"]


@pytest.mark.parametrize("log", ["event log", "driver", "executors", "exceptions"])
@pytest.mark.parametrize("way", ["environment", "file"])
def test_no_log_shows_a_key_of_environment_or_file(cluster: ClusterRun, way: str, log: str) -> None:
    """No key of the environment or of a file is in any log, of jobs that went well and of jobs that failed."""
    assert cluster.logs[log].count(KEYS[way]) == 0


def test_a_key_given_as_an_option_is_in_no_log(cluster: ClusterRun) -> None:
    """Spark's logs do not show the options of a save, neither of one that went well nor of one that failed, as Spark is
    set up by default."""
    assert {log: text.count(KEYS["option"]) for log, text in cluster.logs.items() if log != "exceptions"} == {
        "event log": 0,
        "driver": 0,
        "executors": 0,
    }


@pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)
def test_spark_shows_an_option_where_it_prints_a_plan(cluster: ClusterRun) -> None:
    """What docs/secrets.md says: a column that Spark refuses by itself ends in an exception with the plan, and the
    option's value in clear.

    No other error of these runs has it. When this fails because Spark no longer shows it, docs/secrets.md must change.
    """
    shown = {label for label, run in cluster.told["runs"].items() if KEYS["option"] in str(run["error"])}
    assert shown == {"option data_source: column that Spark refuses"}


@pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)
def test_spark_shows_the_options_of_a_view(cluster: ClusterRun) -> None:
    """What docs/secrets.md says: the options of CREATE TEMPORARY VIEW are in the event log in clear, as a part of the
    plan."""
    assert VIEW_KEY in cluster.logs["event log"]
