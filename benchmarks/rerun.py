"""A table that is written again, unchanged, with `unchanged=skip`: its second run against its first, in Spark, through
`write()` to a server.

The first run encodes, which takes long on two cores; so `--rows` texts of the corpus are encoded, and for the whole of
it the first run is extrapolated from their rows/s, and named as such. Its second run is measured: the collection is
filled with vectors that no model has made, with the fingerprints that the model's would have; a re-run reads those, and
never a vector.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from benchmarks import fake_encoder, texts
from benchmarks.common import Line, Section, Settings, Spread, at_least, say
from benchmarks.patterns import spark_session
from benchmarks.store import Server, server
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.report import WriteReport
from spark_vector_sink.spark import write
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext

ROWS, ROUNDS = 1_000, 5
TARGET = 50.0
WHOLE = 1 << 40


@dataclass(frozen=True)
class Measured:
    """first: seconds of the run that encodes, and of these those in which it did not (processes start, the model is
    loaded); None where it was not run. again: seconds of each run after it. spark: of Spark alone, which reads the same
    rows and hands them to a Python worker that drops them."""

    rows: int
    first: tuple[float, float] | None
    again: Sequence[float]
    spark: Sequence[float]


def run(settings: Settings) -> Section:
    options = {"model": settings.model_folder(), "device": "cpu", "unchanged": "skip"}
    rounds = settings.rounds or ROUNDS
    with server() as store, spark_session(settings.cores) as spark:
        some = _table(settings, settings.rows or ROWS, settings.scratch / "some")
        everything = _table(settings, WHOLE, settings.scratch / "whole") if settings.corpus else None
        small = _measured(spark, store, some, options, rounds, settings, encodes=True)
        large = (
            None
            if everything is None
            else _measured(spark, store, everything, options, rounds, settings, encodes=False)
        )
    return section(small, large, store.words)


def _table(settings: Settings, rows: int, folder: Path) -> Path:
    """Texts with keys and a little payload, as Parquet files."""
    known = texts.sample(settings, rows if rows < WHOLE else len(set(texts.every(settings))))
    table = pa.table(
        {"id": pa.array(range(len(known)), pa.int64()), "text": known, "letters": pa.array(map(len, known), pa.int64())}
    )
    folder.mkdir()
    size = -(-len(known) // settings.partitions)
    for part in range(settings.partitions):
        pq.write_table(table.slice(part * size, size), folder / f"part-{part}.parquet")
    return folder


def _measured(
    spark: SparkSession,
    store: Server,
    folder: Path,
    options: dict[str, Any],
    rounds: int,
    settings: Settings,
    *,
    encodes: bool,
) -> Measured:
    df, name = spark.read.parquet(str(folder)), store.new_name()
    rows = pq.ParquetDataset(folder).read(columns=["id"]).num_rows
    wanted = {**options, **store.options()}
    _spark_alone(df)  # Spark's own start is in no figure
    first = None
    if encodes:
        taken, report = _seconds(df, name, wanted)
        # not `first_vector_seconds`: so few rows are a single window of each task
        first = (
            taken,
            taken - report.encoding_seconds / settings.cores,
        )
        say(f"  first run of {rows:,} rows: {taken:.1f} s")
    else:
        _fill(folder, name, wanted)
    again, alone = [], []
    for number in range(rounds):
        taken, report = _seconds(df, name, wanted)
        if (report.unchanged, report.device) != (rows, ""):
            raise AssertionError(f"not all of {rows} rows were unchanged, or a model was loaded: {report}")
        again.append(taken)
        alone.append(_spark_alone(df))
        say(f"  run {number + 2} of {rows:,} rows: {taken:.2f} s, Spark alone {alone[-1]:.2f} s")
    return Measured(rows, first, again, alone)


def _seconds(df: DataFrame, name: str, options: dict[str, Any]) -> tuple[float, WriteReport]:
    begun = time.perf_counter()
    report = write(df, name, **options)
    return time.perf_counter() - begun, report


def _spark_alone(df: DataFrame) -> float:
    def dropped(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"n": pa.array([len(batch)], pa.int64())})

    begun = time.perf_counter()
    df.mapInArrow(dropped, "n long").collect()
    return time.perf_counter() - begun


def _fill(folder: Path, name: str, options: dict[str, Any]) -> None:
    """What the first run would have written, but for the vectors: those are of `fake_encoder`, in the model's place."""
    source = pq.ParquetDataset(folder)
    plan = committer.prepare(planning.plan({**options, "path": name}, source.read().schema.remove_metadata()))
    if plan.encoder is None or plan.spec.dimension != fake_encoder.MINILM_DIMENSION:
        raise ValueError(
            f"the whole corpus is measured with a model of {fake_encoder.MINILM_DIMENSION} dimensions; leave "
            "option --model out"
        )
    quick = replace(plan, encoder=replace(plan.encoder, factory=fake_encoder.AS_LONG_AS_MINILM, model=""))
    committer.commit(
        plan, [partition_writer.write_partition(quick, source.read().to_batches(max_chunksize=10_000), TaskContext())]
    )


def section(small: Measured, large: Measured | None, where: str) -> Section:
    """What was run as such; what is extrapolated by that word."""
    first, start = small.first or (0.0, 0.0)
    encoding = (first - start) / small.rows
    lines = [Line(f"{small.rows:,} rows: the first run over a re-run", "", _gain(first, small).shown("×", 0))]
    table = ["| rows | first run | re-run | Spark alone |", "|---|---|---|---|", _shown(small, f"{first:,.1f} s")]
    if large is not None:
        whole = start + encoding * large.rows
        lines.append(
            at_least(f"{large.rows:,} rows: the first run (extrapolated) over a re-run", TARGET, _gain(whole, large))
        )
        table.append(_shown(large, f"{whole:,.0f} s, extrapolated"))
    note = (
        "`write()` with `unchanged=skip` from Parquet; a re-run's tasks load no model. `Spark alone` reads the same "
        "rows and hands them to a Python worker that drops "
        f"them. The first run of the whole corpus is extrapolated from the {small.rows:,} rows: {start:.1f} s besides "
        f"encoding, and {1 / encoding:,.0f} rows/s. Store: {where}."
    )
    return Section("The same table again", lines, ["\n".join(table), note])


def _gain(first: float, measured: Measured) -> Spread:
    return Spread.of(first / taken for taken in measured.again)


def _shown(measured: Measured, first: str) -> str:
    return (
        f"| {measured.rows:,} | {first} | {Spread.of(measured.again).shown(' s')} | "
        f"{Spread.of(measured.spark).shown(' s')} |"
    )
