"""Rejected rows through Spark: read as a dataset, mended, and written again."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from spark_vector_sink.spark import write
from tests.fake_server import FakeServer
from tests.spark.encoders import HASH
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES, Server, hashed, save

pytestmark = pytest.mark.spark

ROWS = """
SELECT id, CASE WHEN id % 4 = 0 THEN NULL WHEN id % 4 = 1 THEN CAST(x'61ff' AS STRING) ELSE concat('text ', id) END AS text,
    IF(id = 2, double('nan'), id / 2) AS score, timestamp_seconds(id) AS at, date_add(DATE '2024-02-28', int(id)) AS day, map('k', array(id)) AS more,
    named_struct('a', decimal(id)) AS inner, INTERVAL '1' SECOND AS lasts, NULL AS nothing
FROM range(0, 8, 1, 2)
"""


@pytest.mark.parametrize("door", ["write", pytest.param("data source", marks=pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES))])
def test_rejects_are_read_mended_and_written_again(spark: SparkSession, fake_server: FakeServer, tmp_path: Path, door: str) -> None:
    """What is written at the second time is what would have been written at the first, had the rows been good."""
    first, second, place = Server(fake_server, "mended"), Server(fake_server, "good"), f"{tmp_path}/rejects"
    rejecting = {"rejects_path": place}
    rows = spark.sql(ROWS)
    if door == "write":
        report = write(rows, first.name, **first.options, encoder=HASH, **rejecting)
        assert (report.rows, report.written, report.rejected) == (8, 3, 5)
    else:
        save(rows, first, **rejecting)
    assert first.points().keys() == {3, 6, 7}

    bad = spark.read.parquet(place)
    assert {(row["_reject_key"], row["_reject_reason"]) for row in bad.collect()} == {
        ("0", "blank text"), ("4", "blank text"), ("1", "bad bytes"), ("5", "bad bytes"), ("2", "payload value"),
    }  # fmt: skip
    mend = {"text": "concat('text ', id)", "score": "id / 2"}
    mended = bad.selectExpr(*(f"{mend.get(name, name)} AS {name}" for name in bad.columns))
    report = write(mended, first.name, **first.options, encoder=HASH, rejects_path=place, max_rejects=0)
    assert (report.rows, report.written, report.rejected) == (5, 5, 0)

    good = rows.selectExpr(*(f"{mend.get(name, name)} AS {name}" for name in rows.columns))
    write(good, second.name, **second.options, encoder=HASH)
    assert first.points() == second.points()
    assert first.points()[4][0] == hashed("text 4")


def test_a_job_that_fails_has_no_rejects(spark: SparkSession, fake_server: FakeServer, tmp_path: Path) -> None:
    """What the tasks had rejected until then is not to be seen."""
    with pytest.raises(Exception, match="max_rejects"):
        write(spark.sql(ROWS), "articles", url=fake_server.url, encoder=HASH, rejects_path=f"{tmp_path}/r", max_rejects="50%")
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"_failed"}
    assert spark.read.parquet(*(str(path) for path in (tmp_path / "r" / "_failed").iterdir())).count() == 5
