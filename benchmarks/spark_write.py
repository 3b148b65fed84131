"""Points with ready-made vectors from Parquet through Spark into a server: the sink against the JVM connector
qdrant-spark.

The connector's jar is named by QDRANT_SPARK_JAR; without it the sink runs alone. One Spark session has both; each arm
writes all rows once before the rounds begin, and each run goes into a new collection, all of the same settings, whose
points are counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from benchmarks import points
from benchmarks.common import Line, Section, Settings, Spread, at_least, interleaved, rates, ratios, seconds
from benchmarks.patterns import spark_session
from benchmarks.store import Server, server
from benchmarks.work import cpu_seconds, save_plan
from benchmarks.write import DIMENSION, ready_made

ROWS, ROUNDS = 60_000, 3
JAR = "QDRANT_SPARK_JAR"
"""The environment variable with the path of the connector's jar."""
SINK, BATCH_64, BATCH_256 = "sink", "qdrant-spark", "qdrant-spark, batch_size 256"
CONNECTOR: dict[str, dict[str, Any]] = {BATCH_64: {}, BATCH_256: {"batch_size": 256}}
"""Of each arm with the connector, the options that are not its defaults."""
TARGETS = {BATCH_64: 2.6, BATCH_256: 1.6}


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of a job, where the system tells: of Spark's JVM and its Python workers, and of the server."""

    spark: float | None
    server: float | None


def run(settings: Settings) -> Section:
    rows, jar = settings.rows or ROWS, os.environ.get(JAR)
    if jar and not Path(jar).is_file():
        raise FileNotFoundError(f"{JAR} names {jar}, which is no file")
    folder = settings.scratch / "parquet"
    write_parquet(folder, rows, settings.partitions)
    with server() as store, spark_session(settings.cores, **({"spark.jars": jar} if jar else {})) as spark:
        df = spark.read.parquet(str(folder))
        writers = {SINK: _by_the_sink(df, store)}
        if jar:
            writers |= {name: _by_the_connector(df, store, options) for name, options in CONNECTOR.items()}
        jvm = int(spark._jvm.java.lang.ProcessHandle.current().pid())
        cpu: dict[str, list[Cpu]] = {name: [] for name in writers}
        arms = {name: _arm(rows, settings, store, write, jvm, cpu[name]) for name, write in writers.items()}
        for warm in arms.values():
            warm()
        for each in cpu.values():
            each.clear()
        measured = interleaved(arms, settings.rounds or ROUNDS)
        partitions = df.rdd.getNumPartitions()
    return section(
        measured, cpu, rows, f"{partitions} partitions, `local[{settings.cores}]`, workers warm. Store: {store.words}."
    )


def write_parquet(folder: Path, rows: int, files: int) -> None:
    """So many files with the rows of `points.SCHEMA`."""
    folder.mkdir()
    table = pa.Table.from_batches([each.rows() for each in points.made(rows, DIMENSION)])
    size = -(-rows // files)
    for number in range(files):
        pq.write_table(table.slice(number * size, size), folder / f"{number}.parquet", use_dictionary=False)


def _arm(
    rows: int, settings: Settings, store: Server, write: Callable[[str], None], jvm: int, cpu: list[Cpu]
) -> Callable[[], float]:
    """Seconds of a job, as its caller waits for it; every row must be a point afterwards. cpu: gets what the job
    took."""

    def job() -> float:
        name = store.new_name()
        # makes the collection, by the same hand for all
        save_plan(ready_made(name, store), settings.scratch / "plan", points.SCHEMA)
        before = cpu_seconds(jvm), cpu_seconds(store.pid)
        taken = seconds(lambda: write(name))
        after = cpu_seconds(jvm), cpu_seconds(store.pid)
        cpu.append(Cpu(*(None if a is None or b is None else a - b for a, b in zip(after, before, strict=True))))
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


def section(
    measured: Mapping[str, Sequence[float]], cpu: Mapping[str, Sequence[Cpu]], rows: int, where: str
) -> Section:
    """The gains, and below them what each arm did."""
    lines = [
        at_least(f"`{SINK}` over `{name}`", least, ratios(measured[name], measured[SINK]))
        if name in measured
        else Line(f"`{SINK}` over `{name}`", f"≥ {least:g}×", f"not measured: {JAR} names no jar")
        for name, least in TARGETS.items()
    ]
    table = ["| arm | points/s | CPU of Spark, µs a point | CPU of the server |", "|---|---|---|---|"]
    for name, each in measured.items():
        told = [_shown([getattr(one, field) for one in cpu[name]], rows) for field in ("spark", "server")]
        table.append(f"| `{name}` | {rates(rows, each).shown(digits=0)} | {told[0]} | {told[1]} |")
    note = (
        f"{rows:,} rows of Parquet with vectors of {DIMENSION} dimensions and six payload fields. `{SINK}` is "
        '`format("vectorsink")` with `vector_column`; '
        f"`{BATCH_64}` is the JVM connector with its default batch of 64. {where}"
    )
    return Section("Writing ready-made vectors in Spark, against the JVM connector", lines, ["\n".join(table), note])


def _shown(seconds: Sequence[float | None], rows: int) -> str:
    known = [1e6 * each / rows for each in seconds if each is not None]
    return Spread.of(known).shown(digits=0) if known else "unknown"
