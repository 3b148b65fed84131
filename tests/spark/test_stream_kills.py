"""A stream whose driver is killed between writing a micro-batch and committing it, and started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spark_vector_sink.store.edge.layout import StoreDirectory
from spark_vector_sink.store.edge.lock import locked
from tests.chaos.processes import end_session
from tests.fake_server import FakeServer
from tests.hangs import HANGS_AFTER_SECONDS
from tests.spark.conftest import ROOT
from tests.spark.encoders import GATE, GATED
from tests.spark.places import SPARK, Embedded, Points, Server, hashed
from tests.spark.streams import put_rows

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1200)]  # two starts of Spark, with three streams each

NATIVE = ["to_server", "to_directory"] if SPARK >= (4, 1) else []
STREAMS = [*NATIVE, "by_foreach_batch"]

SCRIPT = """
import json
import os
from pathlib import Path

from spark_vector_sink.spark import vector_sink
from tests.spark.conftest import session
from tests.spark.streams import rows_of

given = json.loads(os.environ["TEST_GIVEN"])
spark = session("local[4]")
queries = []
for stream, (name, options) in given["streams"].items():
    writer = rows_of(spark, Path(given["rows"])).writeStream.trigger(availableNow=True)
    writer = writer.option("checkpointLocation", f"{given['checkpoints']}/{stream}")
    if stream == "by_foreach_batch":
        queries.append(writer.foreachBatch(vector_sink(name, **options)).start())
    else:
        queries.append(writer.format("vectorsink").options(**options).start(name))
for query in queries:
    query.awaitTermination()
spark.stop()
"""


@dataclass(frozen=True)
class Killed:
    """What was there after the kill, and after the second start."""

    committed: dict[str, set[str]]
    """of each stream, the batches that Spark held for done"""
    points_at_kill: dict[str, Points]
    points: dict[str, Points]
    said: str = field(repr=False)
    """standard error of the second start"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """All kinds of streams in one application. Batch 0 goes well; batch 1 is written, and SIGKILL comes before it is
    committed; batch 2 comes later."""
    folder = tmp_path_factory.mktemp("kills")
    (folder / "gate").mkdir()
    (folder / "gate" / "closed").touch()
    put_rows(folder / "rows", "a", range(10))
    put_rows(folder / "rows", "b", range(5, 15), "gated")
    with FakeServer() as server:
        embedded = Embedded(f"{folder}/to_directory")
        # for the lock, which is the test's while it waits for the other streams
        more = {
            "encoder": GATED,
            "timeout_seconds": "600",
        }
        places = {stream: embedded if stream == "to_directory" else Server(server, stream) for stream in STREAMS}
        streams = {stream: (place.name, {**place.options, **more}) for stream, place in places.items()}
        given = {"streams": streams, "rows": str(folder / "rows"), "checkpoints": str(folder / "checkpoints")}
        (folder / "script.py").write_text(SCRIPT, encoding="utf-8")

        with (folder / "first").open("w", encoding="utf-8") as log:
            first = _start(folder, given, log)
            try:
                _wait(lambda: len(list((folder / "gate").glob("waits-*"))) == len(STREAMS), first, folder / "first")
                # what a batch asks a server last, when all of it is written
                server.fault("Points/Count", "deadline", times=None)
                before = server.stats().calls["Points/Count"]
                directory = StoreDirectory(Path(embedded.name))
                if "to_directory" in STREAMS:
                    with locked(directory, HANGS_AFTER_SECONDS, "it is the test's turn"):
                        (folder / "gate" / "closed").unlink()
                        _wait(lambda: list(directory.pending.glob("*.json")) != [], first, folder / "first")
                        _wait(lambda: server.stats().calls["Points/Count"] >= before + 2, first, folder / "first")
                        end_session(first.pid)
                else:
                    (folder / "gate" / "closed").unlink()
                    _wait(lambda: server.stats().calls["Points/Count"] >= before + 1, first, folder / "first")
                    end_session(first.pid)
            finally:
                end_session(first.pid)
        server.clear_faults()
        committed = {
            stream: {path.name for path in (folder / "checkpoints" / stream / "commits").glob("[0-9]*")}
            for stream in STREAMS
        }
        at_kill = {stream: place.points() for stream, place in places.items() if isinstance(place, Server)}

        put_rows(folder / "rows", "c", range(15, 18))
        with (folder / "second").open("w", encoding="utf-8") as log:
            second = _start(folder, given, log)
            try:
                assert second.wait(480) == 0, (folder / "second").read_text(encoding="utf-8")
            finally:
                end_session(second.pid)
        said = (folder / "second").read_text(encoding="utf-8")
        yield Killed(committed, at_kill, {stream: place.points() for stream, place in places.items()}, said)


def _start(folder: Path, given: object, log: object) -> subprocess.Popen[bytes]:
    """The driver, in a session of its own, so that it is killed with all its processes."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "TEST_GIVEN": json.dumps(given), GATE: str(folder / "gate")}
    return subprocess.Popen(
        [sys.executable, "script.py"], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
    )  # type: ignore[call-overload,no-any-return]


def _wait(until: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, seconds: float = 480) -> None:
    """Return when it is so. Fails where the process ends, or time does."""
    end = time.monotonic() + seconds
    while not until():
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < end, log.read_text(encoding="utf-8")
        time.sleep(0.05)


def texts(last: int) -> Points:
    """The points when all batches up to the key `last` are in."""
    found = {key: f"gated {key}" if 5 <= key < 15 else f"text {key}" for key in range(last)}
    return {key: (hashed(text), {"id": key, "text": text}) for key, text in found.items()}


@pytest.mark.parametrize("stream", STREAMS)
def test_the_kill_came_between_write_and_commit(killed: Killed, stream: str) -> None:
    """The tests below mean something: Spark holds batch 0 for done and batch 1 not, and a server has the points of
    both."""
    assert killed.committed[stream] == {"0"}
    if stream in killed.points_at_kill:
        assert killed.points_at_kill[stream] == texts(15)


@pytest.mark.parametrize("stream", STREAMS)
def test_the_batch_comes_again_and_all_is_there_once(killed: Killed, stream: str) -> None:
    """After the second start there are exactly the points of all three batches."""
    assert killed.points[stream] == texts(18)


def test_the_same_batch_is_written_again(killed: Killed) -> None:
    """The line of batch 1 is said by the second start, for each stream; that of batch 0 is not."""
    assert killed.said.count("vectorsink: batch 1: wrote 10 points from 10 rows") == len(STREAMS)
    assert killed.said.count("vectorsink: batch 2: wrote 3 points from 3 rows") == len(STREAMS)
    assert "vectorsink: batch 0:" not in killed.said
