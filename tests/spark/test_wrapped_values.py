"""Values in variants and structs, as Spark hands them over: the value inside plays the part, through both doors."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from spark_vector_sink.spark import write
from tests.spark.encoders import HASH
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES, Embedded, Place, Server, hashed, our_line, save

pytestmark = pytest.mark.spark
has_variants = pytest.mark.skipif(not HAS_DATA_SOURCES, reason="variants came with Spark 4.0")


@has_variants
def test_every_part_can_be_a_variant(spark: SparkSession, place: Place) -> None:
    """Key, tenant, text, version and operation: inserted by `write()`, changed by the format, and not undone by a late
    deletion."""
    parts = {"tenant_column": "tenant", "version_column": "at", "op_column": "op"}

    def rows(op: str, second: int, text: str) -> DataFrame:
        return spark.sql(
            f"SELECT parse_json('7') AS id, parse_json('\"t\"') AS tenant, parse_json('\"{text}\"') AS text, "
            f"CAST(TIMESTAMP'1970-01-01 00:00:0{second}+00:00' AS VARIANT) AS at, parse_json('\"{op}\"') AS op"
        )

    write(rows("insert", 1, "a text"), place.name, **place.options, encoder=HASH, **parts)
    save(rows("UPDATE_AFTER", 3, "täxt"), place, **parts)
    save(rows("D", 2, "late"), place, **parts)
    ((vector, payload),) = place.points().values()
    assert vector == hashed("täxt")
    assert (payload["id"], payload["tenant"], payload["text"], payload["_sink"]["version"]) == (
        7,
        "t",
        "täxt",
        3_000_000,
    )


@has_variants
@pytest.mark.parametrize(
    ("value", "holds"),
    [
        ("parse_json('{\"a\": 1}')", "is a variant that holds an object, and must hold a string"),
        ("parse_json('1.5')", "is a variant that holds the decimal 1.5, and must hold a string"),
        ("CAST(DATE'2024-02-29' AS VARIANT)", 'is a variant that holds the date "2024-02-29", and must hold a string'),
        ("parse_json('null')", "is null; there is no text to encode"),
    ],
    ids=["object", "number", "date", "null"],
)
def test_a_variant_that_is_no_text_is_named(spark: SparkSession, server: Server, value: str, holds: str) -> None:
    """With the key of its row."""
    with pytest.raises(Exception, match="the row with key '3'") as error:
        write(spark.sql(f"SELECT 3 AS id, {value} AS text"), server.name, **server.options, encoder=HASH)
    assert f"column 'text' {holds}" in our_line(error.value)


@pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)
def test_an_envelope_through_the_format(spark: SparkSession, place: Place) -> None:
    """Key and text by their path; the deletion has its key before."""
    kind = "STRUCT<id: BIGINT, body: STRING>"
    feed = {"id_column": "after.id", "text_column": "after.body", "op_column": "op"}
    save(
        spark.sql(
            f"SELECT CAST(NULL AS {kind}) AS before, named_struct('id', id, 'body', 'text') AS after, 'c' AS op FROM "
            "(SELECT explode(array(1L, 2L)) AS id)"
        ),
        place,
        **feed,
    )
    save(
        spark.sql(f"SELECT named_struct('id', 1L, 'body', 'text') AS before, CAST(NULL AS {kind}) AS after, 'd' AS op"),
        place,
        **feed,
    )
    assert {key: payload for key, (_, payload) in place.points().items()} == {2: {"after": {"id": 2, "body": "text"}}}


def test_unsigned_integers_of_parquet_are_ids(spark: SparkSession, tmp_path: Path) -> None:
    """A file of UINT_64 keys, which Spark reads as decimals, gives the points those ids."""
    numbers = [0, 7, 2**63, 2**64 - 1]
    pq.write_table(pa.table({"id": pa.array(numbers, pa.uint64()), "text": ["a"] * 4}), tmp_path / "ids.parquet")
    place = Embedded(str(tmp_path / "store"))
    write(spark.read.parquet(str(tmp_path / "ids.parquet")), place.name, **place.options, encoder=HASH)
    assert sorted(place.points()) == numbers


def test_names_that_no_list_can_hold(spark: SparkSession, place: Place) -> None:
    """Blanks, commas, quotes, dots and capitals: in a Python list, and in the JSON array of an option."""
    df = spark.sql("SELECT 1 AS `a,b`, 'one' AS ` te\"xt`, 'two' AS ` TE\"XT`, 'three' AS `x.y`")
    write(df, place.name, **place.options, encoder=HASH, id_column=["a,b"], text_column=[' TE"XT'])
    assert [(key, vector) for key, (vector, _) in place.points().items()] == [(1, hashed("two"))]
    if HAS_DATA_SOURCES:
        save(df, place, id_column='["a,b"]', text_column='["x.y"]', payload_columns="[]")
        assert place.points() == {1: (hashed("three"), {"a,b": 1, "x.y": "three"})}
