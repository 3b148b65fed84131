"""`reembed(…, spark=…)` on a local Spark."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import SparkSession

from spark_vector_sink import reembed
from spark_vector_sink.spark import write
from tests.fakes import Turned
from tests.spark.places import Embedded, Place, Server


def test_tasks_encode_the_stored_texts(spark: SparkSession, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each those of its pages, on a store that only the driver can open as on a server."""
    monkeypatch.setattr("spark_vector_sink.driver.reembed.PAGE_POINTS", 7)
    df = spark.createDataFrame([(n, f"text {n}", float(n)) for n in range(50)], "id long, text string, n double")
    write(df, place.name, **place.options, encoder="tests.fakes:Counting")
    server = {name: value for name, value in place.options.items() if name == "url"}
    where = f"{server.pop('url')}/{place.name}" if server else place.name
    report = reembed(where, spark=spark, encoder="tests.fakes:Turned")
    assert (report.rows, report.points, report.stored_points, report.partitions) == (50, 50, 50, 2)
    points = place.points() if isinstance(place, Embedded) else Server(place.server, f"{place.name}__v2").points()
    assert {point: payload for point, (_, payload) in points.items()} == {
        n: {"id": n, "text": f"text {n}", "n": float(n)} for n in range(50)
    }
    wanted = Turned().encode([f"text {n}" for n in range(50)])
    assert all(np.allclose(points[n][0], wanted[n]) for n in range(50))
