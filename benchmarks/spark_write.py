"""Points with ready-made vectors from Parquet through Spark into a server: the sink against the JVM connector qdrant-spark.

The connector's jar is named by QDRANT_SPARK_JAR; without it the sink runs alone. One Spark session has both; each arm writes all rows once before
the rounds begin, and each run goes into a new collection, all of the same settings, whose points are counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from benchmarks import points
from benchmarks.common import Line, Section, Settings, at_least, interleaved, rates, ratios, seconds
from benchmarks.patterns import spark_session
from benchmarks.store import Server, server
from benchmarks.work import save_plan
from benchmarks.write import DIMENSION, ready_made

ROWS, ROUNDS = 60_000, 3
JAR = "QDRANT_SPARK_JAR"
"""The environment variable with the path of the connector's jar."""
SINK, BATCH_64, BATCH_256 = "sink", "qdrant-spark", "qdrant-spark, batch_size 256"
CONNECTOR: dict[str, dict[str, Any]] = {BATCH_64: {}, BATCH_256: {"batch_size": 256}}
"""Of each arm with the connector, the options that are not its defaults."""
TARGETS = {BATCH_64: 2.6, BATCH_256: 1.6}


def run(settings: Settings) -> Section:
    rows, jar = settings.rows or ROWS, os.environ.get(JAR)
    if jar and not Path(jar).is_file():
        raise FileNotFoundError(f"{JAR} names {jar}, which is no file")
    folder = settings.scratch / "parquet"
    write_parquet(folder, rows, settings.partitions)
    with server() as store, spark_session(settings.cores, **({"spark.jars": jar} if jar else {})) as spark:
        df = spark.read.parquet(str(folder))
        arms = {SINK: _arm(rows, settings, store, _by_the_sink(df, store))}
        if jar:
            arms |= {name: _arm(rows, settings, store, _by_the_connector(df, store, options)) for name, options in CONNECTOR.items()}
        for warm in arms.values():
            warm()
        measured = interleaved(arms, settings.rounds or ROUNDS)
        partitions = df.rdd.getNumPartitions()
    return section(measured, rows, f"{partitions} partitions, `local[{settings.cores}]`, workers warm. Store: {store.words}.")


def write_parquet(folder: Path, rows: int, files: int) -> None:
    """So many files with the rows of `points.SCHEMA`."""
    folder.mkdir()
    table = pa.Table.from_batches([each.rows() for each in points.made(rows, DIMENSION)])
    size = -(-rows // files)
    for number in range(files):
        pq.write_table(table.slice(number * size, size), folder / f"{number}.parquet", use_dictionary=False)


def _arm(rows: int, settings: Settings, store: Server, write: Callable[[str], None]) -> Callable[[], float]:
    """Seconds of a job, as its caller waits for it; every row must be a point afterwards."""

    def job() -> float:
        name = store.new_name()
        save_plan(ready_made(name, store), settings.scratch / "plan", points.SCHEMA)  # makes the collection, by the same hand for all
        taken = seconds(lambda: write(name))
        found = store.count(name)
        store.drop_all()
        if found != rows:
            raise AssertionError(f"{found:,} points from {rows:,} rows: this arm does not do the work")
        return taken

    return job


def _by_the_sink(df: DataFrame, store: Server) -> Callable[[str], None]:
    def write(name: str) -> None:
        options = {**store.options(), "vector_column": "vector"}
        df.write.format("vectorsink").options(**options).mode("append").save(name)

    return write


def _by_the_connector(df: DataFrame, store: Server, options: Mapping[str, Any]) -> Callable[[str], None]:
    rest = urlsplit(store.url)

    def write(name: str) -> None:
        where = {
            "qdrant_url": f"{rest.scheme}://{rest.hostname}:{store.grpc_port}",
            "collection_name": name,
            "api_key": os.environ.get("QDRANT_API_KEY", ""),
        }
        columns = {"id_field": "id", "embedding_field": "vector", "schema": df.schema.json()}
        df.write.format("io.qdrant.spark.Qdrant").options(**where, **columns, **options).mode("append").save()

    return write


def section(measured: Mapping[str, Sequence[float]], rows: int, where: str) -> Section:
    """The gains, and below them what each arm did."""
    lines = [
        at_least(f"`{SINK}` over `{name}`", least, ratios(measured[name], measured[SINK]))
        if name in measured
        else Line(f"`{SINK}` over `{name}`", f"≥ {least:g}×", f"not measured: {JAR} names no jar")
        for name, least in TARGETS.items()
    ]
    table = ["| arm | points/s |", "|---|---|"]
    table += [f"| `{name}` | {rates(rows, each).shown(digits=0)} |" for name, each in measured.items()]
    note = (
        f'{rows:,} rows of Parquet with vectors of {DIMENSION} dimensions and six payload fields. `{SINK}` is `format("vectorsink")` with `vector_column`; '
        f"`{BATCH_64}` is the JVM connector with its default batch of 64. {where}"
    )
    return Section("Writing ready-made vectors in Spark, against the JVM connector", lines, ["\n".join(table), note])
