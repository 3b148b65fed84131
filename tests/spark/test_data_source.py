"""`df.write.format("vectorsink")`, as users write it. Nothing here registers the format: Spark has to find it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from sentence_transformers import SentenceTransformer

from spark_vector_sink.rows.bad_rows import SET_ASIDE
from tests.fake_server import FakeServer
from tests.real_server import FoundServer, RealServer
from tests.spark.conftest import OWN_SPARK, RunWithSpark
from tests.spark.encoders import HASH
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES, Embedded, Place, Server, hashed, our_line, save

pytestmark = [pytest.mark.spark, pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)]

ARTICLES = [(1, "cats sleep in the sun", "pets"), (2, "rain falls", None), (3, "ein Ärger 🐈 with 'quotes'", "pets")]


def refusal(
    spark: SparkSession,
    place: Place,
    query: str = "SELECT 1 AS id, 'one' AS text",
    mode: str | None = "append",
    **options: str,
) -> str:
    """What the user reads when the rows of `query` are not written."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - Spark's class depends on its version; the line is what is tested
        save(spark.sql(query), place, mode, **options)
    return our_line(caught.value)


# --- what is written --------------------------------------------------------------------------------------------------


def test_points_are_exactly_the_rows(spark: SparkSession, place: Place) -> None:
    """A point has the row's key as id, the encoder's vector, and all columns as payload."""
    save(spark.createDataFrame(ARTICLES, "id bigint, text string, topic string"), place)
    assert place.points() == {
        key: (hashed(text), {"id": key, "text": text, "topic": topic}) for key, text, topic in ARTICLES
    }


def test_the_model_encodes_as_it_does_without_spark(spark: SparkSession, server: Server, tiny_model: Path) -> None:
    """Vectors that a Sentence Transformers model makes in a task are those it makes in a plain program."""
    save(
        spark.createDataFrame(ARTICLES, "id bigint, text string, topic string"),
        server,
        model=str(tiny_model),
        dtype="float32",
    )
    alone = SentenceTransformer(str(tiny_model), device="cpu").encode([text for _, text, _ in ARTICLES])
    np.testing.assert_allclose([vector for vector, _ in server.points().values()], alone, atol=1e-6)


def test_a_second_run_changes_nothing(spark: SparkSession, place: Place) -> None:
    """Keys that are no ids of Qdrant's become the same points again."""
    df = spark.range(50).selectExpr("concat('key ', id) AS id", "concat('text ', id) AS text")
    save(df, place)
    first = place.points()
    save(df, place)
    assert len(first) == 50
    assert place.points() == first


def test_all_partitions_are_written(spark: SparkSession, place: Place) -> None:
    """Rows of many partitions arrive, each once, also when some partitions are empty."""
    df = spark.range(100).repartition(4).selectExpr("id", "concat('text ', id) AS text").where("id % 4 != 0 OR id < 8")
    save(df.union(df.where("id < 0")), place, window_rows="7")
    assert place.points().keys() == {key for key in range(100) if key % 4 != 0 or key < 8}


def test_no_rows_make_an_empty_collection(spark: SparkSession, place: Place) -> None:
    """An empty DataFrame is no error, and the collection is there afterwards."""
    save(spark.sql("SELECT 1 AS id, 'one' AS text WHERE false"), place)
    assert place.points() == {}


def test_vectors_that_exist_are_written_as_they_are(spark: SparkSession, place: Place) -> None:
    """With `vector_column` the column is the vector, and is no payload."""
    df = spark.sql("SELECT 1 AS id, array(0.5f, 2.0f) AS v, 'x' AS text UNION ALL SELECT 2, array(-1.0f, 0.25f), 'y'")
    save(df, place, vector_column="v", dimension="2")
    assert place.points() == {1: ([0.5, 2.0], {"id": 1, "text": "x"}), 2: ([-1.0, 0.25], {"id": 2, "text": "y"})}


def test_option_names_in_any_case(spark: SparkSession, server: Server) -> None:
    """Spark lower-cases the names of options; the values keep their case."""
    save(
        spark.sql("SELECT 7 AS Key, 'one' AS Body"),
        server,
        Text_Column="Body",
        ID_COLUMN="Key",
        Payload_Rename="Body:BODY",
    )
    assert server.points() == {7: (hashed("one"), {"Key": 7, "BODY": "one"})}


def test_any_name_of_a_column(spark: SparkSession, server: Server) -> None:
    """Names that Spark, SQL or JSON would read in another way come out as they are."""
    names = ["a.b", "back`tick", "it's", 'say "hi"', "🐈", "topic", "TOPIC", "id", "text"]
    row = ["1", "2", "3", "4", "5", "lower", "UPPER", "key", "one"]
    save(spark.createDataFrame([tuple(row)], names), server)
    ((vector, payload),) = server.points().values()
    assert (vector, payload) == (hashed("one"), dict(zip(names, row, strict=True)))


def test_a_name_in_another_case(spark: SparkSession, server: Server) -> None:
    """Spark finds the format whatever its case."""
    df = spark.sql("SELECT 1 AS id, 'one' AS text")
    df.write.format("VectorSink").options(**server.options, encoder=HASH).mode("append").save("articles")
    assert server.points().keys() == {1}


@OWN_SPARK
def test_the_report_is_said_at_the_end(run_with_spark: RunWithSpark, fake_server: FakeServer) -> None:
    """One line on the driver's standard error tells rows, points and collection, in a fresh Spark that knows nothing of
    the package."""
    done = run_with_spark(
        f"""
df = spark.range(30).selectExpr("id", "concat('text ', id) AS text")
df.write.format("vectorsink").option("url", {fake_server.url!r}).option("encoder", {HASH!r}).mode("append").save("articles")
""",
        "local[2]",
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "vectorsink: " in line]
    assert len(lines) == 1
    assert "vectorsink: wrote 30 points from 30 rows to articles in " in lines[0]
    assert len(fake_server.points("articles")) == 30


def test_overwrite_replaces_all_rows(spark: SparkSession, place: Place) -> None:
    """What the table no longer has is gone afterwards, in a version of its own: Spark asks for one writer, so there is
    one version more."""
    save(spark.createDataFrame(ARTICLES, "id bigint, text string, topic string"), place)
    save(spark.sql("SELECT 7 AS id, 'seven' AS text"), place, "overwrite")
    assert place.points() == {7: (hashed("seven"), {"id": 7, "text": "seven"})}
    assert place.versions() == ["v1", "v2"]


def test_an_overwrite_whose_task_fails_changes_nothing(spark: SparkSession, place: Place) -> None:
    """The old rows serve, and the line says why the new ones do not."""
    save(spark.createDataFrame(ARTICLES, "id bigint, text string, topic string"), place)
    before = place.points()
    assert "column 'text' is null" in refusal(spark, place, "SELECT 7 AS id, CAST(NULL AS string) AS text", "overwrite")
    assert place.points() == before


# --- what is refused --------------------------------------------------------------------------------------------------


def test_without_a_mode_spark_says_what_to_write(spark: SparkSession, server: Server) -> None:
    """Spark's default mode never reaches the sink; the message is Spark's own."""
    with pytest.raises(Exception, match=r'"vectorsink" cannot be written in the "ErrorIfExists" mode.*"Append"'):
        save(spark.sql("SELECT 1 AS id, 'one' AS text"), server, mode=None)


def test_everything_wrong_is_said_at_once(spark: SparkSession, server: Server) -> None:
    """An unknown option and a missing column stand in one line, each with a way out."""
    said = refusal(spark, server, text_colum="text", text_column="body", batch_points="none")
    assert said.startswith("3 problems: (1) ")
    assert "unknown option 'text_colum'; did you mean 'text_column'?" in said
    assert "option 'batch_points' must be an integer >= 1, got 'none'" in said
    assert "column 'body' of option 'text_column' is missing; there are: id, text" in said


def test_a_bare_name_is_refused(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `url` a bare name could mean a server's collection or a directory; both ways out are named."""
    monkeypatch.chdir(tmp_path)
    said = refusal(spark, Embedded("articles"))
    assert "'articles' is a bare name" in said
    assert "option 'url'" in said
    assert 'write "./articles"' in said
    assert list(tmp_path.iterdir()) == []


def test_no_collection(spark: SparkSession, server: Server) -> None:
    """`.save()` without a name says how to give one."""
    writer = (
        spark.sql("SELECT 1 AS id, 'one' AS text")
        .write.format("vectorsink")
        .options(**server.options, encoder=HASH)
        .mode("append")
    )
    with pytest.raises(Exception, match=r'no collection is named: end with \.save\("articles"\)'):
        writer.save()


def test_two_places(spark: SparkSession, server: Server) -> None:
    """`.save(name)` and option `collection` must not contradict each other."""
    assert "name two places" in refusal(spark, server, collection="others")


def test_an_interval_of_months_is_refused_by_name(spark: SparkSession, server: Server) -> None:
    """Spark breaks on such a column before a row is ours, so it is refused before the job, also where it is not in
    use."""
    query = "SELECT 1 AS id, 'one' AS text, INTERVAL '1-2' YEAR TO MONTH AS age"
    said = refusal(spark, server, query, payload_exclude="age")
    assert (
        "column 'age' has the type interval year to month, which Spark cannot hand to Python; drop it, or cast "
        "it to string" in said
    )


def test_a_server_that_is_down(spark: SparkSession, server: Server) -> None:
    """The line names the address that was tried."""
    url = server.server.url
    server.server.stop()
    said = refusal(spark, server)
    assert said.startswith(f"no Qdrant server answers gRPC at {url.removeprefix('http://')} and ")
    assert "check that it runs and is reachable from the driver" in said


@pytest.mark.qdrant
def test_the_rest_port_as_grpc_port(spark: SparkSession, qdrant_server: FoundServer | RealServer) -> None:
    """The mix-up of ports that everybody makes once is explained."""
    url = qdrant_server.url
    host, _, port = url.removeprefix("http://").partition(":")
    with pytest.raises(Exception, match="grpc_port") as caught:
        save(spark.sql("SELECT 1 AS id, 'one' AS text"), Embedded("articles"), url=url, grpc_port=port)
    assert (
        our_line(caught.value)
        == f"grpc_port {port} of {host} speaks REST (HTTP/1.1), not gRPC; Qdrant's gRPC port is usually 6334"
    )


def test_a_collection_of_another_dimension(spark: SparkSession, server: Server) -> None:
    """Vectors that do not fit the collection are refused before a row is read."""
    save(spark.sql("SELECT 1 AS id, 'one' AS text"), server)
    said = refusal(spark, server, "SELECT 1 AS id, array(1f, 2f) AS v", vector_column="v", dimension="2")
    assert "the collection 'articles' holds vectors of 8 dimensions, this job makes 2" in said


# --- bad rows ---------------------------------------------------------------------------------------------------------


def test_a_null_key_is_named(spark: SparkSession, place: Place) -> None:
    """The exception that the user catches names the key column."""
    said = refusal(spark, place, "SELECT CAST(NULL AS STRING) AS slug, 'one' AS text", id_column="slug")
    assert said.startswith("a row cannot be written: column 'slug' is null")


@pytest.mark.parametrize(("text", "reason"), [("CAST(NULL AS STRING)", "is null"), ("'  \\n'", "holds only blanks")])
def test_a_row_without_text_is_named(spark: SparkSession, place: Place, text: str, reason: str) -> None:
    """The exception that the user catches names key and column."""
    said = refusal(spark, place, f"SELECT 'a-7' AS id, {text} AS body", text_column="body")
    assert (
        said
        == f"the row with key 'a-7' cannot be written: column 'body' {reason}; there is no text to encode; {SET_ASIDE}"
    )


def test_a_vector_of_another_length_is_named(spark: SparkSession, place: Place) -> None:
    """The exception that the user catches names key, column and both lengths."""
    query = "SELECT 1 AS id, array(1f, 2f) AS v UNION ALL SELECT 2, array(1f)"
    said = refusal(spark, place, query, vector_column="v", dimension="2")
    assert (
        said
        == "the row with key '2' cannot be written: column 'v' holds a vector of length 1, the collection's vectors "
        f"have 2; {SET_ASIDE}"
    )


def test_a_failed_job_leaves_an_embedded_store_as_it_was(spark: SparkSession, tmp_path: Path) -> None:
    """The rows of good partitions of a failed job do not appear later either."""
    place = Embedded(f"{tmp_path}/store")
    save(spark.sql("SELECT 1 AS id, 'one' AS text"), place)
    bad = spark.range(2, 40, 1, 4).selectExpr("id", "IF(id = 39, NULL, 'text') AS text")
    with pytest.raises(Exception, match="key '39'"):
        save(bad, place)
    save(spark.sql("SELECT 2 AS id, 'two' AS text"), place)
    assert place.points().keys() == {1, 2}
