"""`df.writeStream.format("vectorsink")`, as users write it: each micro-batch is a run of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.fake_server import FakeServer
from tests.spark.places import SPARK, Embedded, Place, Server, hashed
from tests.spark.streams import put_rows, rows_of, run_to_end, to_place

pytestmark = [pytest.mark.spark]
needs_arrow_streams = pytest.mark.skipif(SPARK < (4, 1), reason="streams of a Python data source in Arrow came with Spark 4.1")


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A store that does not exist yet: first a directory, then a collection of a fake server."""
    return Embedded(f"{tmp_path}/store") if request.param == "embedded" else Server(request.getfixturevalue("fake_server"))


@pytest.fixture
def server(fake_server: FakeServer) -> Server:
    return Server(fake_server)


@needs_arrow_streams
def test_all_micro_batches_arrive(spark: SparkSession, place: Place, tmp_path: Path) -> None:
    """Every row of every micro-batch is a point, a key that comes again is replaced, and nothing else is left behind."""
    put_rows(tmp_path / "in", "a", range(20))
    put_rows(tmp_path / "in", "b", range(15, 30), "newer")
    query = run_to_end(to_place(rows_of(spark, tmp_path / "in"), place, tmp_path / "checkpoint"), place.name)
    assert [progress["batchId"] for progress in query.recentProgress if progress["numInputRows"]] == [0, 1]
    texts = {**{key: f"text {key}" for key in range(20)}, **{key: f"newer {key}" for key in range(15, 30)}}
    assert place.points() == {key: (hashed(text), {"id": key, "text": text}) for key, text in texts.items()}
    if isinstance(place, Embedded):
        assert list((Path(place.name) / "staging").iterdir()) == []
