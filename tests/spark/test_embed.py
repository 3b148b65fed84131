"""`embed()`: vectors as a column, by the same engine, on every Spark that is supported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from sentence_transformers import SentenceTransformer

from spark_vector_sink import EncodingError, OptionError
from spark_vector_sink.spark import embed, write
from tests.fake_server import FakeServer
from tests.spark.encoders import HASH
from tests.spark.places import Server, hashed, our_line

pytestmark = pytest.mark.spark

MODEL = {"device": "cpu", "dtype": "float32"}


@pytest.fixture
def texts(spark: SparkSession) -> DataFrame:
    """Sixty texts of very different lengths, in two partitions."""
    return spark.range(0, 60, 1, 2).selectExpr(
        "id", "concat('the dog ', repeat('and the cat ', cast(id * 7 % 13 as int))) AS text"
    )


def vectors(df: DataFrame) -> dict[int, Any]:
    return {row.id: row.vector for row in df.collect()}


def encoded(folder: Path, texts: list[str]) -> npt.NDArray[np.float32]:
    model = SentenceTransformer(str(folder), device="cpu")
    made: npt.NDArray[np.float32] = np.stack([model.encode_document(text, show_progress_bar=False) for text in texts])
    return made


def test_each_row_has_the_vector_of_its_text(texts: DataFrame, tiny_model: Path) -> None:
    """As the model's own library makes it, whatever was encoded together with what."""
    made = texts.withColumn("vector", embed("text", model=str(tiny_model), window_rows=16, **MODEL))
    assert made.schema["vector"].dataType.simpleString() == "array<float>"
    rows = sorted(made.collect())
    expected = encoded(tiny_model, [row.text for row in rows])
    assert np.abs(np.array([row.vector for row in rows], np.float32) - expected).max() <= 1e-5


def test_a_null_or_blank_text_has_no_vector(spark: SparkSession) -> None:
    """There is nothing to encode; the other rows of the batch are not touched."""
    df = spark.createDataFrame(
        [(1, "one"), (2, None), (3, "  \t"), (4, ""), (5, "five")], "id bigint, text string"
    ).coalesce(1)
    made = vectors(df.withColumn("vector", embed(f.col("text"), encoder=HASH)))
    assert made == {1: hashed("one"), 2: None, 3: None, 4: None, 5: hashed("five")}


def test_only_nulls_are_only_nulls(spark: SparkSession) -> None:
    """A window without a text."""
    df = spark.range(3).selectExpr("id", "cast(null AS string) AS text")
    assert vectors(df.withColumn("vector", embed("text", encoder=HASH))) == {0: None, 1: None, 2: None}


def test_an_empty_table_has_no_vectors(spark: SparkSession) -> None:
    """And no error."""
    df = spark.range(0).selectExpr("id", "'x' AS text")
    assert vectors(df.withColumn("vector", embed("text", encoder=HASH))) == {}


@pytest.mark.parametrize("arrow_batch", [1, 7, 10_000])
def test_sparks_batches_do_not_matter(spark: SparkSession, arrow_batch: int) -> None:
    """Windows are cut by the sink; every row comes back, in its place."""
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", arrow_batch)
    try:
        df = spark.range(0, 50, 1, 1).selectExpr("id", "concat('text ', id) AS text")
        made = vectors(df.withColumn("vector", embed("text", encoder=HASH, window_rows=20)))
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert made == {key: hashed(f"text {key}") for key in range(50)}


def test_rows_can_be_filtered_by_what_was_made(spark: SparkSession) -> None:
    """Steps behind it are ordinary steps: here a limit that ends the task early."""
    df = spark.range(0, 5000, 1, 1).selectExpr("id", "concat('text ', id) AS text")
    assert len(df.withColumn("vector", embed("text", encoder=HASH, window_rows=100)).limit(3).collect()) == 3


@pytest.mark.parametrize("condition", ["vector IS NOT NULL", "size(vector) > 0 AND id < 3", "vector[0] > 100"])
def test_rows_that_are_chosen_by_their_vectors_are_encoded_once(texts: DataFrame, condition: str) -> None:
    """Spark would else encode for the filter, and what is left once more."""
    made = texts.withColumn("vector", embed("text", encoder=HASH)).where(condition).select("vector")
    assert str(made._jdf.queryExecution().executedPlan()).count("EvalPython") == 1


def test_the_vectors_can_be_written_later(texts: DataFrame, fake_server: FakeServer) -> None:
    """By `vector_column`, without a model."""
    place = Server(fake_server)
    made = texts.withColumn("vector", embed("text", encoder=HASH))
    report = write(made, place.name, vector_column="vector", dimension=8, **place.options)
    assert (report.written, report.tokens) == (60, 0)
    assert place.points()[3][0] == hashed(texts.where("id = 3").first().text)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "http://x"}, "option 'url' has no effect in embed(), which writes nothing; leave it out"),
        ({"windows_rows": 3}, "unknown option 'windows_rows'; did you mean 'window_rows'?"),
        ({"dtype": "int8"}, "option 'dtype' must be 'auto', 'float32', 'bfloat16' or 'float16', got 'int8'"),
        (
            {"long_text": "chunk"},
            "embed() makes one dense vector for each row; long_text=chunk and 'sparse_model' are for write()",
        ),
        (
            {"long_text": "reject"},
            "embed() writes nothing, so there is no place for rejected rows; long_text=reject is for write()",
        ),
    ],
)
def test_a_wrong_option_is_refused_at_once(tiny_model: Path, options: dict[str, Any], message: str) -> None:
    """On the driver, when the column is made."""
    with pytest.raises(OptionError) as refused:
        embed("text", model=str(tiny_model), **options)
    assert str(refused.value) == message


def test_a_missing_model_is_refused_at_once() -> None:
    """Before any task."""
    with pytest.raises(
        EncodingError,
        match=r"^the model folder '/no/such/model' does not exist on this machine; correct option 'model'$",
    ):
        embed("text", model="/no/such/model")


def test_a_long_text_can_be_the_end(spark: SparkSession, tiny_model: Path) -> None:
    """With long_text=fail, in one line."""
    df = spark.createDataFrame([("dog " * 100,)], "text string")
    with pytest.raises(Exception, match="long_text") as failed:
        df.select(embed("text", model=str(tiny_model), long_text="fail", **MODEL)).collect()
    assert our_line(failed.value) == "a text has 102 tokens, the model reads 64 (option 'long_text' = 'fail')"


def test_a_column_that_is_no_text_is_the_end(spark: SparkSession) -> None:
    """And says what it is."""
    with pytest.raises(Exception, match="cast it to string") as failed:
        spark.range(3).select(embed("id", encoder=HASH)).collect()
    assert (
        our_line(failed.value) == "embed() encodes texts, and its column holds values of type int64; cast it to string"
    )


@pytest.mark.skipif(
    not hasattr(f, "arrow_udf"),
    reason="before Spark 4.1 texts come by way of pandas, and Spark itself fails at such bytes",
)
def test_a_text_that_is_no_utf8_is_the_end(spark: SparkSession) -> None:
    """Spark's strings may hold any bytes."""
    df = spark.sql("SELECT cast(x'c328' AS string) AS text")
    with pytest.raises(Exception, match="UTF-8") as failed:
        df.select(embed("text", encoder=HASH)).collect()
    assert our_line(failed.value) == "a text holds bytes that are no UTF-8; decode the column first"
