"""Rejected rows through Spark: read as a dataset, mended, and written again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import LongType, StringType, StructField, StructType

from spark_vector_sink.spark import write
from tests.fake_server import FakeServer
from tests.spark import test_types
from tests.spark.encoders import HASH
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES, Server, hashed, save

pytestmark = pytest.mark.spark

ROWS = """
SELECT id, CASE WHEN id % 4 = 0 THEN NULL WHEN id % 4 = 1 THEN CAST(x'61ff' AS STRING) ELSE concat('text ', id) END AS text,
    IF(id = 2, double('nan'), id / 2) AS score, timestamp_seconds(id) AS at, date_add(DATE '2024-02-28', int(id)) AS day, map('k', array(id)) AS more,
    named_struct('a', decimal(id)) AS inner, INTERVAL '1' SECOND AS lasts, NULL AS nothing
FROM range(0, 8, 1, 2)
"""


@pytest.mark.parametrize(
    "door",
    ["write", pytest.param("data source", marks=pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES))],
)
def test_rejects_are_read_mended_and_written_again(
    spark: SparkSession, fake_server: FakeServer, tmp_path: Path, door: str
) -> None:
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
        write(
            spark.sql(ROWS),
            "articles",
            url=fake_server.url,
            encoder=HASH,
            rejects_path=f"{tmp_path}/r",
            max_rejects="50%",
        )
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"_failed"}
    assert spark.read.parquet(*(str(path) for path in (tmp_path / "r" / "_failed").iterdir())).count() == 5


def test_every_type_is_read_with_default_settings(spark: SparkSession, fake_server: FakeServer, tmp_path: Path) -> None:
    """Whatever a column holds, a Spark that nothing was set in reads the rejects, and writes from them what the good
    rows would have been."""
    place, folder, rejecting = Server(fake_server), f"{tmp_path}/rejects", {"rejects_path": f"{tmp_path}/rejects"}
    spark.conf.set("spark.sql.timeType.enabled", "true")  # as in test_types
    try:
        bad = test_types.rows(spark).withColumn("text", f.lit(None).cast("string"))
        assert write(bad, place.name, **place.options, encoder=HASH, **rejecting).rejected == 3
    finally:
        spark.conf.unset("spark.sql.timeType.enabled")

    read = plain(spark).read.parquet(folder)
    assert read.count() == 3
    within = [name for name in read.columns if name.endswith("_of_variants")]  # JSON text that no parse_json reaches
    read = read.drop(*within)
    mended = read.withColumn("text", f.lit("text")).selectExpr(
        *(f"parse_json({name}) AS {name}" if name.startswith("variant") else name for name in read.columns)
    )
    write(mended, place.name, **place.options, encoder=HASH)
    payloads = {key: payload for key, (_, payload) in place.points().items()}
    expected = {name: case.stored for name, case in test_types.PRESENT.items() if name not in within}
    assert json.dumps(payloads[2], sort_keys=True) == json.dumps(expected | {"id": 2, "text": "text"}, sort_keys=True)
    assert payloads[1] == dict.fromkeys(expected) | {"id": 1, "text": "text"}


NAMES = [
    "Name",
    "name",
    "NAME",
    "name_2",
    "a b",
    "a.b",
    "a`b",
    "x,y;{z}(1)",
    "l\ni\tn=e",
    "_REJECT_KEY",
    "_metadata",
    "ä",
    "Ä",
    "\u200b",
    "日本",
    "'\"\\",
    "%/:",
]
READ = ["Name", "name_3", "NAME_4", "name_2", *NAMES[4:9], "_REJECT_KEY_2", "_metadata", "ä", "Ä_2", *NAMES[13:]]


def test_every_name_is_read_with_default_settings(spark: SparkSession, fake_server: FakeServer, tmp_path: Path) -> None:
    """Whatever the columns and the fields of structs are called, also where names differ in case only."""
    place, folder, rejecting = Server(fake_server), f"{tmp_path}/rejects", {"rejects_path": f"{tmp_path}/rejects"}
    inner = StructType([StructField(name, StringType()) for name in ("A", "a")])
    kind = StructType(
        [
            StructField("id", LongType()),
            *(StructField(name, StringType()) for name in NAMES),
            StructField("inner", inner),
            StructField("text", StringType()),
        ]
    )
    row = (7, *NAMES, ("A", "a"), None)
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        write(spark.createDataFrame([row], kind).coalesce(1), place.name, **place.options, encoder=HASH, **rejecting)
    finally:
        spark.conf.unset("spark.sql.caseSensitive")

    read = plain(spark).read.parquet(folder)
    assert read.columns == ["id", *READ, "inner", "text", "_reject_key", "_reject_reason", "_reject_message"]
    assert [read.first()[name] for name in READ] == NAMES
    write(read.fillna("mended", "text"), place.name, **place.options, encoder=HASH)
    assert place.points()[7][1] == {
        "id": 7,
        **dict(zip(READ, NAMES, strict=True)),
        "inner": {"A": "A", "a_2": "a"},
        "text": "mended",
    }


def plain(spark: SparkSession) -> SparkSession:
    """The same Spark with no setting of any test."""
    session = spark.newSession()
    # the default of Spark 3, which is the stricter one
    session.conf.set("spark.sql.parquet.datetimeRebaseModeInRead", "EXCEPTION")
    return session
