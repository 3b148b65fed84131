"""SQL and catalogs: the routes that work, and on each route where Spark drops the options a line that names one that
works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from tests.spark.encoders import HASH
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES, Server, hashed, our_line
from tests.spark.streams import put_rows, rows_of, run_to_end

pytestmark = [pytest.mark.spark, pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)]


@pytest.fixture
def one(spark: SparkSession) -> DataFrame:
    return spark.sql("SELECT 5L AS id, 'five' AS text")


@pytest.fixture
def table(spark: SparkSession, server: Server) -> Iterator[str]:
    """A table of the catalog that has its options from CREATE TABLE."""
    spark.sql(f"CREATE TABLE articles_table (id BIGINT, text STRING) USING vectorsink OPTIONS {named(server)}")
    yield "articles_table"
    spark.sql("DROP TABLE articles_table")


@pytest.fixture
def view(spark: SparkSession, server: Server) -> Iterator[str]:
    """A temporary view with the same options."""
    spark.sql(f"CREATE TEMPORARY VIEW articles_view (id BIGINT, text STRING) USING vectorsink OPTIONS {named(server)}")
    yield "articles_view"
    spark.catalog.dropTempView("articles_view")


def named(server: Server) -> str:
    """The options as SQL writes them, in brackets."""
    given = {**server.options, "collection": server.name, "encoder": HASH}
    return "(" + ", ".join(f"'{name}' = '{value}'" for name, value in given.items()) + ")"


def five() -> dict[int, tuple[list[float], dict[str, object]]]:
    return {5: (hashed("five"), {"id": 5, "text": "five"})}


# --- routes that work -------------------------------------------------------------------------------------------------

INSERTS: dict[str, Callable[[SparkSession, str], object]] = {
    "INSERT INTO": lambda spark, view: spark.sql(f"INSERT INTO {view} SELECT 5L, 'five'"),
    "VALUES": lambda spark, view: spark.sql(f"INSERT INTO {view} VALUES (5, 'five')"),
    "column list": lambda spark, view: spark.sql(f"INSERT INTO {view} (text, id) SELECT 'five', 5L"),
    "BY NAME": lambda spark, view: spark.sql(f"INSERT INTO {view} BY NAME SELECT 'five' AS text, 5L AS id"),
    "insertInto": lambda spark, view: spark.sql("SELECT 5L AS id, 'five' AS text").write.insertInto(view),
    "writeTo": lambda spark, view: spark.sql("SELECT 5L AS id, 'five' AS text").writeTo(view).append(),
}


@pytest.mark.parametrize("route", INSERTS)
def test_inserts_into_a_temporary_view(spark: SparkSession, server: Server, view: str, route: str) -> None:
    """A temporary view carries its options to every kind of insert."""
    INSERTS[route](spark, view)
    assert server.points() == five()


def test_insert_overwrite_replaces_all(spark: SparkSession, server: Server, view: str) -> None:
    """What was in the collection before is gone, in a version of its own."""
    spark.sql(f"INSERT INTO {view} VALUES (6, 'six')")
    spark.sql(f"INSERT OVERWRITE {view} SELECT 5L, 'five'")
    assert (server.points(), server.versions()) == (five(), ["v1", "v2"])


def test_options_with_the_statement(spark: SparkSession, server: Server, table: str) -> None:
    """A table of the catalog can be written to where each statement brings the options."""
    spark.sql(f"INSERT INTO {table} WITH {named(server)} SELECT 5L, 'five'")
    assert server.points() == five()


def test_options_with_write_to(one: DataFrame, server: Server, table: str) -> None:
    """The same by `writeTo(table).options(…)`."""
    one.writeTo(table).options(**server.options, collection=server.name, encoder=HASH).append()
    assert server.points() == five()


def test_a_view_says_what_is_wrong(spark: SparkSession, server: Server) -> None:
    """A wrong option of a view is named at the insert, like any other."""
    options = f"OPTIONS (url '{server.server.url}', encoder '{HASH}', colection 'articles')"
    spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW wrong_view (id BIGINT, text STRING) USING vectorsink {options}")
    with pytest.raises(Exception, match="colection") as caught:
        spark.sql("INSERT INTO wrong_view SELECT 5L, 'five'")
    said = our_line(caught.value)
    assert "unknown option 'colection'; did you mean 'collection'?" in said
    assert "no collection is named" in said


# --- routes on which Spark drops the options --------------------------------------------------------------------------

DROPPED: dict[str, Callable[[SparkSession, DataFrame, str, str], object]] = {
    "INSERT INTO": lambda spark, one, table, options: spark.sql(f"INSERT INTO {table} SELECT 5L, 'five'"),
    "INSERT OVERWRITE": lambda spark, one, table, options: spark.sql(f"INSERT OVERWRITE {table} SELECT 5L, 'five'"),
    "insertInto": lambda spark, one, table, options: one.write.insertInto(table),
    "insertInto with options": lambda spark, one, table, options: one.write.option("collection", "articles").insertInto(
        table
    ),
    "writeTo": lambda spark, one, table, options: one.writeTo(table).append(),
    "saveAsTable": lambda spark, one, table, options: one.write.format("vectorsink").mode("append").saveAsTable(table),
    "CREATE TABLE AS": lambda spark, one, table, options: spark.sql(
        f"CREATE TABLE articles_copy USING vectorsink OPTIONS {options} AS SELECT 5L AS id, 'five' AS text"
    ),
    "CREATE OR REPLACE TABLE AS": lambda spark, one, table, options: spark.sql(
        f"CREATE OR REPLACE TABLE articles_copy USING vectorsink OPTIONS {options} AS SELECT 5L AS id, 'five' AS text"
    ),
}


@pytest.mark.parametrize("route", DROPPED)
def test_a_catalog_s_table_is_refused(
    spark: SparkSession, one: DataFrame, server: Server, table: str, route: str
) -> None:
    """Without the options that were given to the table nothing is written, and one line names the reason and the
    way."""
    try:
        with pytest.raises(Exception, match="no collection is named") as caught:
            DROPPED[route](spark, one, table, named(server))
    finally:
        spark.sql("DROP TABLE IF EXISTS articles_copy")
    said = our_line(caught.value)
    assert said.startswith(
        "no collection is named, and no option has come with this write: Spark does not hand on the options of a "
        "catalog's table"
    )
    assert (
        "CREATE TEMPORARY VIEW v (id BIGINT, text STRING) USING vectorsink OPTIONS (url '…', collection 'articles')"
        in said
    )
    assert "Collections/Create" not in server.server.stats().calls


def test_to_table_without_options_is_refused(spark: SparkSession, server: Server, table: str, tmp_path: Path) -> None:
    """A stream into such a table brings only what Spark itself adds."""
    put_rows(tmp_path / "in", "a", [5])
    writer = (
        rows_of(spark, tmp_path / "in")
        .writeStream.option("checkpointLocation", f"{tmp_path}/checkpoint")
        .trigger(availableNow=True)
    )
    with pytest.raises(Exception, match="no collection is named") as caught:
        writer.toTable(table).awaitTermination(500)
    assert "Spark does not hand on the options of a catalog's table" in our_line(caught.value)


def test_columns_are_named(spark: SparkSession) -> None:
    """A view or a table without columns cannot be; the line shows how to name them."""
    with pytest.raises(Exception, match="only writes") as caught:
        spark.sql("CREATE TEMPORARY VIEW no_columns USING vectorsink OPTIONS (collection 'articles')")
    assert (
        "a view or table to write to must name its columns: CREATE TEMPORARY VIEW v (id BIGINT, text STRING)"
        in our_line(caught.value)
    )


def test_a_view_is_not_read(spark: SparkSession, view: str) -> None:
    """SELECT from a view says what asks a collection instead."""
    with pytest.raises(Exception, match="only writes") as caught:
        spark.sql(f"SELECT * FROM {view}").collect()
    assert our_line(caught.value) == ONLY_WRITES


ONLY_WRITES = "the format 'vectorsink' only writes; spark_vector_sink.search() asks a collection a question"

READS: dict[str, Callable[[SparkSession], object]] = {
    "read": lambda spark: spark.read.format("vectorsink").load("articles"),
    "read, columns named": lambda spark: spark.read.format("vectorsink").schema("id bigint").load("articles").collect(),
    "readStream": lambda spark: spark.readStream.format("vectorsink").load("articles"),
    "readStream, columns named": lambda spark: run_to_end(
        spark.readStream.format("vectorsink")
        .schema("id bigint")
        .load("articles")
        .writeStream.format("noop")
        .outputMode("append")
    ),
}


@pytest.mark.parametrize("route", READS)
def test_who_reads_is_told_of_search(spark: SparkSession, route: str) -> None:
    """First, and of views after it: Spark does not tell a data source which of them is meant."""
    with pytest.raises(Exception, match="only writes") as caught:
        READS[route](spark)
    assert our_line(caught.value).startswith(ONLY_WRITES)
