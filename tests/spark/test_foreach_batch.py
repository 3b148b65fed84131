"""`df.writeStream.foreachBatch(vector_sink(…))`: on every Spark that is supported."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from pyspark import cloudpickle
from pyspark.sql import SparkSession

from spark_vector_sink import OptionError
from spark_vector_sink.spark import vector_sink, write
from spark_vector_sink.spark.micro_batch import numbered
from tests.spark.encoders import HASH
from tests.spark.places import Place, Server, hashed, our_line
from tests.spark.streams import put_rows, rows_of, run_to_end

pytestmark = pytest.mark.spark


def test_all_micro_batches_arrive(
    spark: SparkSession, place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row of every micro-batch is a point, a key that comes again is replaced; each batch has a line and a
    report."""
    put_rows(tmp_path / "in", "a", range(20))
    put_rows(tmp_path / "in", "b", range(15, 30), "newer")
    sink = vector_sink(place.name, **place.options, encoder=HASH, report_path=f"{tmp_path}/report.json")
    run_to_end(
        rows_of(spark, tmp_path / "in")
        .writeStream.foreachBatch(sink)
        .option("checkpointLocation", f"{tmp_path}/checkpoint")
    )
    texts = {**{key: f"text {key}" for key in range(20)}, **{key: f"newer {key}" for key in range(15, 30)}}
    assert place.points() == {key: (hashed(text), {"id": key, "text": text}) for key, text in texts.items()}
    assert [
        json.loads((tmp_path / f"report-{batch}.json").read_text(encoding="utf-8"))["written"] for batch in (0, 1)
    ] == [20, 15]
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vectorsink: batch")]
    assert [line.partition(" to ")[0] for line in said] == [
        "vectorsink: batch 0: wrote 20 points from 20 rows",
        "vectorsink: batch 1: wrote 15 points from 15 rows",
    ]


def test_update_mode_writes_what_has_changed(spark: SparkSession, server: Server, tmp_path: Path) -> None:
    """Of an aggregation, a batch brings the groups that have changed, and their points are replaced."""
    put_rows(tmp_path / "in", "a", [1, 2])
    put_rows(tmp_path / "in", "b", [2, 3])
    counts = rows_of(spark, tmp_path / "in").groupBy("id").count().selectExpr("id", "concat('seen ', count) AS text")
    sink = vector_sink(server.name, **server.options, encoder=HASH)
    run_to_end(
        counts.writeStream.outputMode("update")
        .foreachBatch(sink)
        .option("checkpointLocation", f"{tmp_path}/checkpoint")
    )
    assert {key: payload["text"] for key, (_, payload) in server.points().items()} == {
        1: "seen 1",
        2: "seen 2",
        3: "seen 1",
    }
    assert sum(server.server.stats().batch_sizes) == 4


def test_a_batch_that_comes_again_changes_nothing(spark: SparkSession, place: Place) -> None:
    """Spark replays a batch after a crash: the points are the same, whatever the partitions are then."""
    sink = vector_sink(place.name, **place.options, encoder=HASH)
    df = spark.range(20).selectExpr("concat('key ', id) AS id", "concat('text ', id) AS text")
    sink(df.repartition(3), 5)
    first = place.points()
    sink(df.coalesce(1), 5)
    assert len(first) == 20
    assert place.points() == first


def test_a_batch_that_comes_again_is_not_encoded_again(spark: SparkSession, place: Place, tmp_path: Path) -> None:
    """With `unchanged=skip` nothing is encoded and nothing is sent, whatever the partitions are then."""
    sink = vector_sink(
        place.name, **place.options, encoder=HASH, unchanged="skip", report_path=f"{tmp_path}/report.json"
    )
    df = spark.range(20).selectExpr("concat('key ', id) AS id", "concat('text ', id) AS text")
    told, points = [], []
    for again in (df.repartition(3), df.coalesce(1)):
        sink(again, 5)
        report = json.loads((tmp_path / "report-5.json").read_text(encoding="utf-8"))
        told.append((report["written"], report["unchanged"], report["points"], report["encoding_seconds"] > 0))
        points.append(place.points())
    assert told == [(20, 0, 20, True), (0, 20, 0, False)]
    assert points[0] == points[1]


def test_wrong_options_are_refused_where_they_are_written() -> None:
    """Before any stream starts, and all at once."""
    with pytest.raises(
        OptionError, match=r"2 problems: .*'batch_point'; did you mean 'batch_points'.*'articles' is a bare name"
    ):
        vector_sink("articles", batch_point=1)


FOREACH = (
    "vector_sink(…) writes whole micro-batches, so it goes to foreachBatch, not to foreach: "
    "df.writeStream.foreachBatch("
)


def test_another_way_to_hand_rows_over_is_named(spark: SparkSession, place: Place, tmp_path: Path) -> None:
    """Of a stream and of a table: what takes rows one by one, or a partition's, cannot take what writes a
    micro-batch."""
    sink = vector_sink(place.name, **place.options, encoder=HASH)
    put_rows(tmp_path / "in", "a", [1])
    rows = spark.range(1)
    for job in (
        lambda: run_to_end(rows_of(spark, tmp_path / "in").writeStream.foreach(sink)),  # type: ignore[arg-type]
        lambda: rows.foreach(sink),  # type: ignore[arg-type]
        lambda: rows.foreachPartition(sink),  # type: ignore[arg-type]
    ):
        with pytest.raises(Exception, match="foreachBatch") as caught:
            job()
        assert our_line(caught.value).startswith(FOREACH)


def test_who_forgets_to_call_it_is_told_so(spark: SparkSession) -> None:
    """`foreachBatch(vector_sink)`."""
    with pytest.raises(
        OptionError,
        match=r"is called once, with where to write, .*: "
        r"df\.writeStream\.foreachBatch\(vector_sink\('articles', url=…\)\)",
    ):
        vector_sink(spark.range(1), 0)  # type: ignore[arg-type]


def test_a_stream_is_no_table(spark: SparkSession, tmp_path: Path) -> None:
    """`write()` names what writes it."""
    put_rows(tmp_path / "in", "a", [1])
    with pytest.raises(OptionError, match=r"this DataFrame is a stream; df\.writeStream\.foreachBatch\(vector_sink"):
        write(rows_of(spark, tmp_path / "in"), f"{tmp_path}/store", encoder=HASH)


def test_deleting_what_is_missing_is_refused() -> None:
    """A micro-batch is no full load: everything else would be deleted."""
    with pytest.raises(
        OptionError, match="'delete_missing' would delete all documents that are not in the micro-batch"
    ):
        vector_sink("articles", url="http://localhost:6333", delete_missing=True, source="articles")


def test_the_function_pickles_and_shows_no_key(server: Server) -> None:
    """Spark Connect sends it to another process; in a log it is no leak."""
    sink = vector_sink(server.name, url=server.server.url, api_key="a-secret-5e1f")
    assert pickle.loads(pickle.dumps(sink)) == sink
    assert pickle.loads(cloudpickle.dumps(sink)) == sink
    assert "a-secret-5e1f" not in repr(sink)


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("report.json", "report-17.json"),
        ("/out.d/report", "/out.d/report-17"),
        ("out/.report", "out/.report-17"),
        ("a.b/daily.report.json", "a.b/daily.report-17.json"),
        ("s3://bucket/report.json?region=eu-west-1", "s3://bucket/report-17.json?region=eu-west-1"),
        ("what?.json", "what?-17.json"),
    ],
)
def test_the_name_of_a_batch_s_report(path: str, file: str) -> None:
    """The number stands before the ending."""
    assert numbered(path, 17) == file
