"""End to end into the same store: the sink against the ways that people write by hand today, with the same texts, model
and cores.

Every run writes into a new collection, whose points are counted afterwards. Before each timed run the same arm writes a
few rows, so that workers are there and have imported and, where the arm lets them, loaded: Spark ends Python workers
that idle for a minute, and its RDD and SQL interfaces have workers of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from qdrant_client.models import Distance, VectorParams

from benchmarks import arms, encoding, texts
from benchmarks.child import Child
from benchmarks.common import ROOT, Line, Section, Settings, at_least, interleaved, rates, ratios, seconds
from benchmarks.lines import of_arms
from benchmarks.store import Server, server

ROWS, ROUNDS = 2_000, 3
WARM_ROWS = 16
"""for each partition"""

SINK, SINK_FLOAT32, BARE, WHOLE = "sink", "sink, float32", "bare encode", "whole partition"
BFLOAT16 = ", bfloat16"

TARGETS = {
    "mapPartitions": (6.5, 2.5),
    "mapPartitionsWithIndex": (6.5, 2.5),
    "RDD broadcast": (6.5, 2.5),
    "predict_batch_udf": (6.5, 2.5),
    "pandas UDF": (4.0, 1.6),
}
"""Of each baseline, the least gain of the sink with default options and in float32."""
SAME_DTYPE_TARGETS = {WHOLE: 1.1, BARE: 1.0}


@dataclass
class Bench:
    """Everything that the arms of a session share."""

    df: DataFrame
    warm: DataFrame
    rows: int
    server: Server
    model: str
    dimension: int
    cores: int
    dtype: str
    """what the sink's default computes in"""
    kept: dict[str, Any]

    def baseline(self, arm: Callable[[arms.Job], None], dtype: str) -> Callable[[], float]:
        def run(df: DataFrame, collection: str) -> None:
            with closing(self.server.client()) as client:
                client.create_collection(
                    collection, vectors_config=VectorParams(size=self.dimension, distance=Distance.COSINE)
                )
            arm(self._job(df, collection, dtype))

        return lambda: self._timed(run)

    def sink(self, **options: Any) -> Callable[[], float]:
        return lambda: self._timed(lambda df, collection: arms.sink(self._job(df, collection), **options))

    def _job(self, df: DataFrame, collection: str, dtype: str = "float32") -> arms.Job:
        return arms.Job(
            df, self.server.url, self.server.grpc_port, collection, self.model, self.cores, dtype, self.kept
        )

    def _timed(self, run: Callable[[DataFrame, str], None]) -> float:
        """Seconds of a run with warm workers; every row must be a point afterwards."""
        run(self.warm, self.server.new_name())
        name = self.server.new_name()
        taken = seconds(lambda: run(self.df, name))
        points = self.server.count(name)
        if points != self.rows:
            raise AssertionError(f"{points:,} points from {self.rows:,} rows: this arm does not do the work")
        self.server.drop_all()
        return taken


def run(settings: Settings) -> Section:
    known = texts.sample(settings, settings.rows or ROWS)
    model = settings.model_folder()
    file = texts.save(known, settings.scratch / "texts.json")
    dtype = encoding.default_dtype()
    dtypes = ["float32"] if dtype == "float32" else ["float32", dtype]
    with server() as store, spark_session(settings.cores) as spark:
        warm = WARM_ROWS * settings.partitions
        bench = Bench(
            frame(spark, known, settings.partitions),
            frame(spark, known[:warm], settings.partitions),
            len(known),
            store,
            model,
            encoding.load(model).dimension,
            settings.cores,
            dtype,
            {},
        )
        bare = {
            each: Child("benchmarks.work:bare", threads=settings.cores, model=model, dtype=each, texts=file)
            for each in dtypes
        }
        try:
            measured = interleaved(functions(bench, bare), settings.rounds or ROUNDS)
        finally:
            for child in bare.values():
                child.close()
    return section(measured, len(known), dtype, settings, store.words)


def functions(bench: Bench, bare: Mapping[str, Child]) -> dict[str, Callable[[], float]]:
    """Every arm of this run by its name; bfloat16 only where the sink takes it by default."""
    made = {name: bench.baseline(arm, "float32") for name, arm in arms.ARMS.items()}
    made[BARE] = lambda: float(bare["float32"].ask()["seconds"])
    made[SINK] = bench.sink()
    if bench.dtype != "float32":
        made[WHOLE + BFLOAT16] = bench.baseline(arms.whole_partition, bench.dtype)
        made[BARE + BFLOAT16] = lambda: float(bare[bench.dtype].ask()["seconds"])
        made[SINK_FLOAT32] = bench.sink(dtype="float32")
    return made


def section(measured: Mapping[str, Sequence[float]], rows: int, dtype: str, settings: Settings, store: str) -> Section:
    """The gains, and below them what each arm did."""
    table, written = ["| arm | rows/s | lines of code |", "|---|---|---|"], of_arms()
    for name, each in sorted(measured.items(), key=lambda arm: sorted(arm[1])):
        table.append(f"| `{name}` | {rates(rows, each).shown(digits=1)} | {written.get(name.partition(', ')[0], '')} |")
    notes = [
        "\n".join(table),
        f"{rows:,} {texts.source(settings)}, {settings.partitions} partitions, `local[{settings.cores}]`, workers "
        f"warm. Store: {store}. "
        f"The sink's default computes in {dtype} on this machine. `{BARE}` has all {settings.cores} cores for its "
        "threads, and no Spark and no store.",
    ]
    return Section("End to end, against what people write today", list(lines(measured, dtype)), notes)


def lines(measured: Mapping[str, Sequence[float]], dtype: str) -> Iterator[Line]:
    float32 = SINK_FLOAT32 if SINK_FLOAT32 in measured else SINK
    for name, (default, same) in TARGETS.items():
        gain = ratios(measured[name], measured[SINK])
        if dtype == "float32":  # the target is one for machines with bfloat16
            yield Line(f"`{SINK}` over `{name}`", f"≥ {default:g}× with native bfloat16", gain.shown("×"))
        else:
            yield at_least(f"`{SINK}` over `{name}`", default, gain)
        yield at_least(f"`{float32}` over `{name}`", same, ratios(measured[name], measured[float32]))
    for name, least in SAME_DTYPE_TARGETS.items():
        yield at_least(f"`{float32}` over `{name}`", least, ratios(measured[name], measured[float32]))
        if name + BFLOAT16 in measured:
            yield at_least(
                f"`{SINK}` over `{name}{BFLOAT16}`", least, ratios(measured[name + BFLOAT16], measured[SINK])
            )


def frame(spark: SparkSession, known: Sequence[str], partitions: int) -> DataFrame:
    """Columns `id` and `text`, cached in as many partitions for every arm."""
    df = spark.createDataFrame(list(enumerate(known)), "id long, text string").repartition(partitions).cache()
    df.count()
    if df.rdd.getNumPartitions() != partitions:
        raise AssertionError(f"{df.rdd.getNumPartitions()} partitions, not {partitions}")
    return df


@contextmanager
def spark_session(cores: int, **config: Any) -> Iterator[SparkSession]:
    """A quiet local Spark with its default settings; Python workers get one thread (Spark's own default), their
    tokenisers too."""
    quiet = f"-Dlog4j2.configurationFile={(ROOT / 'examples' / 'quiet.log4j2.properties').as_uri()}"
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": quiet,
        "spark.executorEnv.TOKENIZERS_PARALLELISM": "false",
        **config,
    }
    spark = SparkSession.builder.master(f"local[{cores}]").appName("benchmarks").config(map=settings).getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()
