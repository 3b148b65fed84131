"""`write()` and `check()`: the door that returns the report, on every Spark that is supported."""

from __future__ import annotations

import inspect
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import DataFrame, SparkSession
from sentence_transformers import SentenceTransformer

from spark_vector_sink import IncompleteError, OptionError, RefusedError, SchemaError, WriteReport, rollback
from spark_vector_sink.report import ROW_COUNTS
from spark_vector_sink.rows.bad_rows import SET_ASIDE
from spark_vector_sink.spark import check, write
from tests.spark.encoders import HASH
from tests.spark.places import SPARK, Embedded, Place, Server, hashed, our_line

pytestmark = pytest.mark.spark


def put(df: DataFrame, place: Place, **options: Any) -> WriteReport:
    """`write()` with the hash encoder."""
    return write(df, place.name, **{**place.options, "encoder": HASH, **options})


# --- what is written, and the report ----------------------------------------------------------------------------------


def test_points_are_exactly_the_rows(spark: SparkSession, place: Place) -> None:
    """A point has the row's key as id, the encoder's vector, and all columns as payload."""
    put(spark.createDataFrame([(1, "one", 0.5), (2, "two 🐈", None)], "id bigint, text string, score double"), place)
    assert place.points() == {
        1: (hashed("one"), {"id": 1, "text": "one", "score": 0.5}),
        2: (hashed("two 🐈"), {"id": 2, "text": "two 🐈", "score": None}),
    }


def test_every_row_is_in_one_count(spark: SparkSession, place: Place) -> None:
    """The counts of all partitions add up to the rows that were read, and the points are there."""
    df = spark.range(0, 90, 1, 3).selectExpr("id % 80 AS id", "concat('text ', id) AS text").coalesce(1)
    report = put(df, place)
    assert (report.rows, report.written, report.superseded, report.points) == (90, 80, 10, 80)
    assert sum(getattr(report, name) for name in ROW_COUNTS) == report.rows
    assert len(place.points()) == 80


def test_overwrite_replaces_all_rows(spark: SparkSession, place: Place) -> None:
    """mode="overwrite" leaves only the rows of this table; rollback() brings the others back."""
    put(spark.sql("SELECT * FROM VALUES (1, 'one'), (2, 'two') AS t(id, text)"), place)
    report = put(spark.sql("SELECT * FROM VALUES (2, 'zwei'), (3, 'drei') AS t(id, text)"), place, mode="overwrite")
    assert (report.points, report.stored_points) == (2, 2)
    assert place.points() == {
        2: (hashed("zwei"), {"id": 2, "text": "zwei"}),
        3: (hashed("drei"), {"id": 3, "text": "drei"}),
    }
    rollback(place.name, **{name: value for name, value in place.options.items() if name == "url"})
    assert place.points().keys() == {1, 2}


def test_a_mode_that_is_none(spark: SparkSession, place: Place) -> None:
    """Only two words are modes."""
    with pytest.raises(OptionError, match=r"mode must be 'append' or 'overwrite', got 'replace'"):
        put(spark.sql("SELECT 1 AS id, 'one' AS text"), place, mode="replace")


def test_of_one_key_the_last_row_wins(spark: SparkSession, server: Server) -> None:
    """Rows of the same key in one window: the last is written, the others are counted as superseded."""
    report = put(
        spark.sql("SELECT * FROM VALUES (1, 'old'), (2, 'two'), (1, 'new') AS t(id, text)").coalesce(1), server
    )
    assert report.superseded == 1
    assert server.points() == {
        1: (hashed("new"), {"id": 1, "text": "new"}),
        2: (hashed("two"), {"id": 2, "text": "two"}),
    }


def test_the_report_tells_where_the_time_went(spark: SparkSession, server: Server, tiny_model: Path) -> None:
    """Partitions, device, dtype, tokens, seconds of each step, memory and the number of points in the collection."""
    df = spark.range(0, 40, 1, 2).selectExpr("id", "concat('the cat sleeps in the sun ', id) AS text")
    report = write(df, server.name, **server.options, model=str(tiny_model), device="cpu", dtype="float32")
    assert (report.partitions, report.rows, report.device, report.dtype) == (2, 40, "cpu", "float32")
    assert report.tokens >= 40 * 9
    steps = [report.reading_seconds, report.tokenising_seconds, report.encoding_seconds, report.store_seconds]
    assert min(steps) > 0
    assert max(steps) < report.seconds
    assert report.peak_bytes > 50_000_000  # a Python with torch in it
    assert report.error is None


def test_the_model_encodes_as_it_does_without_spark(spark: SparkSession, server: Server, tiny_model: Path) -> None:
    """Vectors that a Sentence Transformers model makes in a task are those it makes in a plain program."""
    texts = ["cats sleep", "a long train of words about bread, butter and cheese", "rain"]
    df = spark.createDataFrame(list(enumerate(texts)), "id bigint, text string")
    write(df, server.name, **server.options, model=str(tiny_model), dtype="float32")
    alone = SentenceTransformer(str(tiny_model), device="cpu").encode(texts)
    np.testing.assert_allclose([vector for vector, _ in server.points().values()], alone, atol=1e-6)


def test_an_embedded_store_says_how_many_points_it_holds(spark: SparkSession, tmp_path: Path) -> None:
    """The report counts what the store holds afterwards, not only what this job wrote."""
    place = Embedded(f"{tmp_path}/store")
    put(spark.range(5).selectExpr("id", "'text' AS text"), place)
    assert put(spark.range(3, 9).selectExpr("id", "'text' AS text"), place).stored_points == 9


def test_a_second_run_changes_nothing(spark: SparkSession, place: Place) -> None:
    """The same rows become the same points."""
    df = spark.range(20).selectExpr("concat('key ', id) AS id", "concat('text ', id) AS text")
    put(df, place)
    first = place.points()
    put(df, place)
    assert len(first) == 20
    assert place.points() == first


def test_no_rows(spark: SparkSession, place: Place) -> None:
    """An empty DataFrame gives a report of zeros and an empty collection."""
    report = put(spark.range(0).selectExpr("id", "'text' AS text"), place)
    assert (report.rows, report.points, report.error) == (0, 0, None)
    assert place.points() == {}


def test_the_report_as_json(spark: SparkSession, server: Server, tmp_path: Path) -> None:
    """`report_path` gets what `write()` returns."""
    report = put(spark.range(3).selectExpr("id", "'text' AS text"), server, report_path=f"{tmp_path}/report.json")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == report.to_dict()


def test_options_as_python_values(spark: SparkSession, server: Server) -> None:
    """Numbers, booleans, lists and mappings stand for the text of an option."""
    df = spark.sql("SELECT 1 AS a, 2 AS b, 'one' AS text, 'x' AS c")
    put(df, server, id_column=["a", "b"], store_text=False, payload_rename={"c": "d, e"}, batch_points=1)
    ((vector, payload),) = server.points().values()
    assert (vector, payload) == (hashed("one"), {"a": 1, "b": 2, "d, e": "x"})


# --- columns ----------------------------------------------------------------------------------------------------------


def test_columns_not_in_use_do_not_travel(spark: SparkSession, server: Server) -> None:
    """A column that Spark cannot hand to Python, and one whose values cannot be computed, harm nobody when they are not
    in use."""
    df = spark.sql(
        "SELECT 1 AS id, 'one' AS text, 'x' AS topic, INTERVAL '1-2' YEAR TO MONTH AS age, "
        "CAST(raise_error('computed') AS STRING) AS broken"
    )
    put(df, server, payload_columns="topic")
    assert server.points() == {1: (hashed("one"), {"id": 1, "text": "one", "topic": "x"})}


@pytest.mark.parametrize("name", ["a.b", "a b", "it's", 'say "hi"', "back`tick", "🐈", "ä", "SELECT", "_id", "a[0]"])
def test_any_name_of_a_column(spark: SparkSession, server: Server, name: str) -> None:
    """Names that Spark, SQL or JSON would read in another way come out as they are, for key, text and payload."""
    df = spark.createDataFrame([(1, "one", "x")], ["key" + name, "text" + name, name])
    put(df, server, id_column="key" + name, text_column="text" + name)
    assert server.points() == {1: (hashed("one"), {"key" + name: 1, "text" + name: "one", name: "x"})}


def test_names_that_differ_in_case(spark: SparkSession, server: Server) -> None:
    """Spark finds such names ambiguous; both values get under their own."""
    put(spark.createDataFrame([(1, "one", "lower", "UPPER")], ["id", "text", "topic", "TOPIC"]), server)
    assert server.points() == {1: (hashed("one"), {"id": 1, "text": "one", "topic": "lower", "TOPIC": "UPPER"})}


def test_two_columns_of_one_name_are_refused(spark: SparkSession, server: Server) -> None:
    """A payload cannot have a name twice."""
    with pytest.raises(SchemaError, match="two columns are called 'text'; rename one of them"):
        put(spark.sql("SELECT 1 AS id, 'one' AS text, 'two' AS text"), server)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_everything_wrong_is_said_at_once(spark: SparkSession, server: Server) -> None:
    """The error holds each problem by itself, and nothing was made on the server."""
    with pytest.raises(RefusedError) as caught:
        put(spark.sql("SELECT 1 AS id, 'one' AS text"), server, text_colum="text", id_column="key")
    assert caught.value.problems == (
        "unknown option 'text_colum'; did you mean 'text_column'?",
        "column 'key' of option 'id_column' is missing; there are: id, text",
    )
    assert "Collections/Create" not in server.server.stats().calls


def test_check_lists_problems_and_changes_nothing(spark: SparkSession, place: Place) -> None:
    """`check()` returns every problem instead of an error, and leaves no trace."""
    found = check(spark.sql("SELECT 1 AS id, 1.5D AS text"), place.name, **place.options, encoder=HASH, batch_point=9)
    assert len(found.problems) == 2
    assert "unknown option 'batch_point'; did you mean" in found.problems[0]
    assert "text column 'text' must hold strings, it holds double" in found.problems[1]
    _assert_untouched(place)


def test_check_tells_the_plan_and_changes_nothing(spark: SparkSession, place: Place) -> None:
    """`check()` of a job that can run names key, payload, model and what would be created."""
    found = check(spark.sql("SELECT 1 AS id, 'one' AS text, 'x' AS topic"), place.name, **place.options, encoder=HASH)
    assert found.problems == ()
    told = str(found)
    assert "key      id\npayload  id, text, topic\n" in told
    assert "8 dimensions" in told
    assert "will     create" in told
    _assert_untouched(place)


def _assert_untouched(place: Place) -> None:
    if isinstance(place, Embedded):
        assert not Path(place.name).exists()
    else:
        assert not any(
            word in call for call in place.server.stats().calls for word in ("Create", "Update", "Upsert", "Delete")
        )


def test_check_runs_no_job(spark: SparkSession, server: Server) -> None:
    """`check()` looks at the schema only: a DataFrame whose rows fail has no problems yet."""
    broken = spark.range(3).selectExpr("id", "CAST(raise_error('computed') AS STRING) AS text")
    assert check(broken, server.name, **server.options, encoder=HASH).problems == ()


def test_resource_profiles(spark: SparkSession, server: Server) -> None:
    """Where Spark's mapInArrow takes a profile it gets ours; where it does not, the line names the version that
    does."""
    profile = ResourceProfileBuilder().require(TaskResourceRequests().cpus(1)).build
    df = spark.sql("SELECT 1 AS id, 'one' AS text")
    assert "profile" in inspect.signature(write).parameters
    if SPARK < (4, 0):
        with pytest.raises(OptionError, match=r"a resource profile needs Spark 4\.0 or newer"):
            put(df, server, profile=profile)
        assert "Collections/Create" not in server.server.stats().calls
    else:
        with pytest.raises(
            Exception, match=r"TaskResourceProfiles? (are|is) only supported"
        ):  # Spark's answer on a local master: it was handed on
            put(df, server, profile=profile)


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", [write, check])
def test_another_kind_of_table_is_refused(door: Any) -> None:
    """A list, or a DataFrame of pandas, is what people have at hand first; they are told what makes one of Spark's."""
    with pytest.raises(
        OptionError, match=r"^the rows must be a Spark DataFrame, not a builtins.list; spark.createDataFrame"
    ):
        door([1, 2], "./store")


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        ("pandas.core.frame.DataFrame", "spark.createDataFrame(…)"),
        ("polars.dataframe.frame.DataFrame", "spark.createDataFrame(frame.to_pandas())"),
        ("pyarrow.lib.Table", "spark.createDataFrame(table.to_pandas())"),
        ("pyspark.pandas.series.Series", ".to_frame().to_spark()"),
    ],
)
def test_each_kind_of_table_has_its_way(kind: str, way_out: str) -> None:
    """What makes a Spark DataFrame of it."""
    module, _, name = kind.rpartition(".")
    with pytest.raises(OptionError) as refused:
        write(type(name, (), {"__module__": module})(), "./store")
    assert str(refused.value) == f"the rows must be a Spark DataFrame, not a {kind}; {way_out} makes one"


def test_pandas_on_spark_has_a_spark_dataframe(spark: SparkSession) -> None:
    """It is one already, and need not travel through the driver."""
    with pytest.raises(OptionError, match=r"not a pyspark\.pandas\.frame\.DataFrame; \.to_spark\(\) makes one$"):
        write(spark.range(1).pandas_api(), "./store")  # type: ignore[arg-type]


def test_a_failed_task_raises_with_key_and_column(spark: SparkSession, place: Place) -> None:
    """The exception that the user catches names key and column."""
    with pytest.raises(Exception, match="a-7") as caught:
        put(spark.sql("SELECT 'a-7' AS id, CAST(NULL AS STRING) AS text"), place)
    assert (
        our_line(caught.value)
        == f"the row with key 'a-7' cannot be written: column 'text' is null; there is no text to encode; {SET_ASIDE}"
    )


def test_a_null_key_is_named(spark: SparkSession, server: Server) -> None:
    """The exception that the user catches names the key column."""
    with pytest.raises(Exception, match="is null") as caught:
        put(spark.sql("SELECT CAST(NULL AS BIGINT) AS nr, 'one' AS text"), server, id_column="nr")
    assert our_line(caught.value).startswith("a row cannot be written: column 'nr' is null")


def test_the_report_of_a_failed_job(
    spark: SparkSession, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`report_path` and the log say why the job failed, and what to do."""
    with caplog.at_level(logging.ERROR, "spark_vector_sink"), pytest.raises(Exception, match="a-7"):
        put(spark.sql("SELECT 'a-7' AS id, ' ' AS text"), server, report_path=f"{tmp_path}/report.json")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert "the row with key 'a-7' cannot be written: column 'text' holds only blanks" in report["error"]
    assert "what was written is right; run the job again when the cause is gone, and it completes it" in report["error"]
    assert "\n" not in report["error"]
    assert "the row with key 'a-7'" in caplog.text


def test_the_report_of_a_job_that_fails_at_its_end(
    spark: SparkSession, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong after the last task is in the report too, with what the tasks had written."""

    def commit(*_: Any) -> WriteReport:
        raise IncompleteError("the end went wrong")

    monkeypatch.setattr("spark_vector_sink.driver.committer.commit", commit)
    with pytest.raises(IncompleteError):
        put(spark.range(5).selectExpr("id", "'text' AS text"), server, report_path=f"{tmp_path}/report.json")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["error"].startswith("the end went wrong; ")
    assert report["written"] == 5


def test_a_point_that_the_server_refuses_fails_the_job(spark: SparkSession, server: Server) -> None:
    """What cannot heal is not tried again, and the server's reason arrives."""
    put(spark.range(1).selectExpr("id", "'text' AS text"), server)
    server.server.reset_stats()
    server.server.fault("Points/Upsert", "invalid", times=None)
    with pytest.raises(Exception, match="Wrong input: something is wrong with a point"):
        put(spark.range(1).selectExpr("id", "'text' AS text"), server)
    assert server.server.stats().calls["Points/Upsert"] == 1


def test_a_server_that_is_busy_is_tried_again(spark: SparkSession, server: Server) -> None:
    """Trouble that passes is counted as retries, and all points are there."""
    server.server.fault("Points/Upsert", "unavailable", times=2)
    report = put(spark.range(10).selectExpr("id", "'text' AS text").coalesce(1), server)
    assert report.retries == 2
    assert len(server.points()) == 10
