"""`df.writeStream.format("vectorsink")`, as users write it: each micro-batch is a run of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from spark_vector_sink.rows.bad_rows import SET_ASIDE
from tests.spark.encoders import ON_DEVICE
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES, SPARK, Embedded, Place, Server, hashed, our_line
from tests.spark.streams import put_rows, rows_of, run_to_end, to_place

pytestmark = [pytest.mark.spark, pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)]
native = pytest.mark.skipif(SPARK < (4, 1), reason="Python data sources take streams in Arrow since Spark 4.1")


def report(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


# --- what is written --------------------------------------------------------------------------------------------------


@native
def test_all_micro_batches_arrive(spark: SparkSession, place: Place, tmp_path: Path) -> None:
    """Every row of every micro-batch is a point, a key that comes again is replaced, and no staged file is left; each
    batch has its report."""
    put_rows(tmp_path / "in", "a", range(20))
    put_rows(tmp_path / "in", "b", range(15, 30), "newer")
    writer = to_place(
        rows_of(spark, tmp_path / "in"), place, tmp_path / "checkpoint", report_path=f"{tmp_path}/report.json"
    )
    run_to_end(writer, place.name)
    texts = {**{key: f"text {key}" for key in range(20)}, **{key: f"newer {key}" for key in range(15, 30)}}
    assert place.points() == {key: (hashed(text), {"id": key, "text": text}) for key, text in texts.items()}
    assert [report(tmp_path / f"report-{batch}.json")["written"] for batch in (0, 1)] == [20, 15]
    assert not (tmp_path / "report.json").exists()
    if isinstance(place, Embedded):
        assert list((Path(place.name) / "staging").iterdir()) == []


@native
def test_many_small_batches(spark: SparkSession, server: Server, tmp_path: Path) -> None:
    """As many micro-batches as a Kafka topic gives, over a restart: no row is missing, and each Python worker has
    loaded its model once."""

    def run(batches: int) -> int:
        rows = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 10).option("numPartitions", 2).load()
        rows = rows.selectExpr("value AS id", "concat('text ', value) AS text")
        query = to_place(rows, server, tmp_path / "checkpoint", encoder=ON_DEVICE, device="cpu").start(server.name)
        try:
            while (query.lastProgress or {"batchId": -1})["batchId"] < batches:
                assert not query.awaitTermination(1), query.exception()
        finally:
            query.stop()
        return int(query.lastProgress["batchId"])

    run(5)
    last = run(10)
    points = server.points()
    assert points.keys() >= set(range(10 * last))
    loaded = {(vector[1], vector[2]) for vector, _ in points.values()}  # process, and how many models it had made
    assert len(loaded) == len({process for process, _ in loaded})


# --- what is refused, and what fails ----------------------------------------------------------------------------------


@native
def test_wrong_options_end_the_stream_before_its_first_batch(
    spark: SparkSession, server: Server, tmp_path: Path
) -> None:
    """One line names every problem, nothing is written, and no batch counts as done."""
    put_rows(tmp_path / "in", "a", range(3))
    with pytest.raises(Exception, match="batch_point") as caught:
        run_to_end(
            to_place(
                rows_of(spark, tmp_path / "in"), server, tmp_path / "checkpoint", batch_point=1, text_column="body"
            ),
            server.name,
        )
    assert our_line(caught.value).startswith(
        "2 problems: (1) unknown option 'batch_point'; did you mean 'batch_points'?; (2) "
    )
    assert not list((tmp_path / "checkpoint" / "commits").glob("[0-9]*"))
    assert server.server.stats().upserts == []


@native
def test_deleting_what_is_missing_is_refused(spark: SparkSession, server: Server, tmp_path: Path) -> None:
    """A micro-batch is no full load: everything else would be deleted."""
    put_rows(tmp_path / "in", "a", range(3))
    writer = to_place(
        rows_of(spark, tmp_path / "in"), server, tmp_path / "checkpoint", delete_missing=True, source="articles"
    )
    with pytest.raises(Exception, match="would delete all documents that are not in the micro-batch"):
        run_to_end(writer, server.name)
    assert "Collections/Create" not in server.server.stats().calls


@native
def test_partitions_of_a_stream_change_nothing(spark: SparkSession, server: Server, tmp_path: Path) -> None:
    """Spark does not hand them on to a sink of this kind, which therefore cannot refuse them; the column is payload as
    ever."""
    put_rows(tmp_path / "in", "a", [1, 2])
    run_to_end(
        to_place(rows_of(spark, tmp_path / "in"), server, tmp_path / "checkpoint").partitionBy("id"), server.name
    )
    assert {key: payload for key, (_, payload) in server.points().items()} == {
        key: {"id": key, "text": f"text {key}"} for key in (1, 2)
    }


@native
def test_complete_mode_is_refused(spark: SparkSession, server: Server, tmp_path: Path) -> None:
    """The line names the mode and the line that works for an aggregation."""
    put_rows(tmp_path / "in", "a", range(3))
    counts = rows_of(spark, tmp_path / "in").groupBy("text").count().withColumnRenamed("count", "id")
    with pytest.raises(Exception, match="complete") as caught:
        run_to_end(to_place(counts, server, tmp_path / "checkpoint").outputMode("complete"), server.name)
    said = our_line(caught.value)
    assert said.startswith("outputMode('complete') would replace the whole collection with each micro-batch")
    assert said.endswith("df.writeStream.outputMode('update').foreachBatch(vector_sink(url=…, collection=…)).start()")
    assert server.server.stats().upserts == []


@pytest.mark.skipif(SPARK != (4, 0), reason="of Spark 4.0 alone")
def test_spark_4_0_is_told_the_line_that_works(spark: SparkSession, server: Server, tmp_path: Path) -> None:
    """Where Spark hands over a stream row by row, the refusal names foreachBatch."""
    put_rows(tmp_path / "in", "a", range(3))
    with pytest.raises(Exception, match=r"needs Spark 4\.1 or newer") as caught:
        run_to_end(to_place(rows_of(spark, tmp_path / "in"), server, tmp_path / "checkpoint"), server.name)
    assert "df.writeStream.foreachBatch(vector_sink(url=…, collection=…)).start()" in our_line(caught.value)


@native
def test_a_bad_row_ends_the_stream_at_its_batch(spark: SparkSession, place: Place, tmp_path: Path) -> None:
    """The key is named, what earlier batches wrote stays, and once the row may be rejected the query goes on where it
    failed."""
    put_rows(tmp_path / "in", "a", range(3))
    put_rows(tmp_path / "in", "b", [3])
    (tmp_path / "in" / "b.json").write_text('{"id": 3, "text": null}\n{"id": 4, "text": "text 4"}\n', encoding="utf-8")
    rows = rows_of(spark, tmp_path / "in")
    with pytest.raises(Exception, match="key '3'") as caught:
        run_to_end(to_place(rows, place, tmp_path / "checkpoint"), place.name)
    assert (
        our_line(caught.value)
        == f"the row with key '3' cannot be written: column 'text' is null; there is no text to encode; {SET_ASIDE}"
    )
    if isinstance(place, Embedded):
        assert place.points().keys() == {0, 1, 2}
    run_to_end(to_place(rows, place, tmp_path / "checkpoint", rejects_path=f"{tmp_path}/rejects"), place.name)
    assert place.points().keys() == {0, 1, 2, 4}
    assert spark.read.parquet(f"{tmp_path}/rejects").count() == 1


@native
def test_a_commit_that_fails_ends_the_stream(spark: SparkSession, place: Place, tmp_path: Path) -> None:
    """What only shows at the end of a batch is in the error and in the batch's report; the batch is done again when the
    query starts again."""
    put_rows(tmp_path / "in", "a", range(3))
    (tmp_path / "in" / "a.json").write_text('{"id": 3, "text": null}\n{"id": 4, "text": "text 4"}\n', encoding="utf-8")
    rows = rows_of(spark, tmp_path / "in")
    options = {"rejects_path": f"{tmp_path}/rejects", "report_path": f"{tmp_path}/report.json"}
    with pytest.raises(Exception, match="max_rejects") as caught:
        run_to_end(to_place(rows, place, tmp_path / "checkpoint", max_rejects="10%", **options), place.name)
    failed = report(tmp_path / "report-0.json")
    assert our_line(caught.value) in str(failed["error"])
    assert (failed["rows"], failed["rejected"]) == (2, 1)
    if isinstance(place, Embedded):
        assert list((Path(place.name) / "staging").iterdir()) == []
    run_to_end(to_place(rows, place, tmp_path / "checkpoint", max_rejects="50%", **options), place.name)
    assert report(tmp_path / "report-0.json")["error"] is None
    assert place.points().keys() == {4}
