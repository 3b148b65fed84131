"""A database table, read over JDBC each night: only changed rows are encoded, and rows deleted there are deleted here.

For an application's tables, which do not say what is new. The database is Derby, which comes with Spark, so that this
runs anywhere. For PostgreSQL, start Spark with `spark.jars.packages=org.postgresql:postgresql:42.7.7` and change these
lines:

    URL = "jdbc:postgresql://db.example.com:5432/shop"
    CONNECTION = {"url": URL, "driver": "org.postgresql.Driver", "user": "reader", "password": os.environ["PGPASSWORD"]}
    TABLE = "(SELECT id, title, body FROM articles WHERE published) AS articles"
    HIGHEST = 5_000_000

    python examples/jdbc_nightly.py [FOLDER]        (./demo/jdbc_nightly)
"""

from __future__ import annotations

import docstrings
from common import MODEL, check, new_folder, start_spark
from pyspark.sql import SparkSession

from spark_vector_sink.report import WriteReport
from spark_vector_sink.spark import write

TABLE = "articles"
HIGHEST = 120
"""About the greatest id: four ranges of equal length up to it are read at once, and the last has what is beyond."""


def nightly(spark: SparkSession, connection: dict[str, str], store: str) -> WriteReport:
    """What is scheduled: the table as it is now, read by four connections at once, each a range of ids."""
    parts = {
        "partitionColumn": "id",
        "lowerBound": "0",
        "upperBound": str(HIGHEST),
        "numPartitions": "4",
        "fetchsize": "1000",
    }
    df = spark.read.format("jdbc").options(**connection, **parts, dbtable=TABLE).load()
    return write(
        df,
        store,
        model=MODEL,
        text_column="title,body",
        unchanged="skip",
        # whose documents these are: those of other tables stay. Not TABLE, which is another text with each change of
        # the query
        source="articles",
        delete_missing=True,
        max_delete_share=0.1,  # a table that was emptied by mistake deletes nothing
    )


def fill(spark: SparkSession, connection: dict[str, str]) -> None:
    rows = [(number, f"{row.module}.{row.name}", row.text) for number, row in enumerate(docstrings.rows()[:HIGHEST])]
    spark.createDataFrame(rows, "id long, title string, body string").write.format("jdbc").options(
        **connection, dbtable=TABLE
    ).save()


def work_of_the_day(spark: SparkSession, connection: dict[str, str]) -> None:
    """What the application does between two nights."""
    database = spark._jvm.java.sql.DriverManager.getConnection(connection["url"])
    for statement in (
        f"""UPDATE {TABLE} SET "body" = 'This text was written anew.' WHERE "id" IN (7, 11)""",
        f"""DELETE FROM {TABLE} WHERE "id" >= 110""",
        f"""INSERT INTO {TABLE} VALUES (1000, 'news', 'A text that is new.')""",
    ):
        database.createStatement().executeUpdate(statement)
    database.close()


def main() -> None:
    folder = new_folder("jdbc_nightly")
    spark = start_spark()
    # else it is where the job was started
    spark._jvm.java.lang.System.setProperty("derby.stream.error.file", str(folder / "derby.log"))
    connection = {
        "url": f"jdbc:derby:{folder / 'database'};create=true",
        "driver": "org.apache.derby.jdbc.EmbeddedDriver",
    }
    store = str(folder / "store")
    fill(spark, connection)
    for night in ("the first night", "the second", "the third"):
        report = nightly(spark, connection, store)
        print(
            f"{night}: {report.rows} rows in {report.seconds:.1f} s: {report.written} written, "
            f"{report.unchanged} unchanged, "
            f"{report.missing_deleted} deleted"
        )
        if night == "the first night":
            work_of_the_day(spark, connection)
    spark.stop()
    check(
        (report.unchanged, report.stored_points) == (111, 111),
        "the store holds the 111 rows that the table has, and the third night wrote none",
    )


if __name__ == "__main__":
    main()
