"""The ways in which people encode in Spark today, correct and each as its guide writes it: the arms that the sink runs
against.

All of them make the collection, encode with the same model on the CPU, and upsert `PointStruct`s over gRPC, 256 at a
time, waiting for each request; ids are the rows' own integers, the payload is id and text. What differs is where the
model lives and what one `encode` gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import DataFrame
from pyspark.sql.functions import pandas_udf
from pyspark.sql.types import ArrayType, FloatType

from benchmarks.store import client
from benchmarks.work import load_model
from spark_vector_sink.spark import write

BATCH = 32
UPSERT = 256


@dataclass
class Job:
    """One run of an arm: this DataFrame (`id`, `text`) into this collection. kept: what an arm makes once in a
    session."""

    df: DataFrame
    url: str
    grpc_port: int
    collection: str
    model: str
    cores: int
    dtype: str = "float32"
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def loader(self) -> Callable[[], Any]:
        """Loads the model; a function that pickles without the job."""
        model, dtype = self.model, self.dtype
        return lambda: load_model(model, dtype)

    @property
    def writer(self) -> Callable[[Iterable[tuple[Any, Any]]], None]:
        """Writes pairs; a function that pickles without the job."""
        url, port, collection = self.url, self.grpc_port, self.collection
        return lambda pairs: write_points(url, port, collection, pairs)

    def broadcast_model(self) -> Any:
        """The driver's model, sent to the workers once in a session."""
        if "broadcast" not in self.kept:
            self.kept["broadcast"] = self.df.sparkSession.sparkContext.broadcast(self.loader())
        return self.kept["broadcast"]


def map_partitions(job: Job) -> None:
    """A model for each partition, batches of 32 by `islice` in the order of arrival. (The guide's islice loses rows;
    this one does not.)"""
    model_of, write = job.loader, job.writer

    def partition(rows: Iterator[Any]) -> None:
        write(encoded(model_of(), rows))

    job.df.rdd.foreachPartition(partition)


def pandas_udf_broadcast(job: Job) -> None:
    """A pandas UDF with a broadcast model: one `encode` for each Arrow batch; the column of vectors then goes through
    the JVM to the upsert."""
    model, write = job.broadcast_model(), job.writer

    @pandas_udf("array<float>")  # type: ignore[call-overload, untyped-decorator, unused-ignore]
    def embed(text: pd.Series) -> pd.Series:
        return pd.Series(list(model.value.encode(text.tolist(), batch_size=BATCH, show_progress_bar=False)))

    _write_column(job.df.withColumn("vector", embed("text")), write)


def map_partitions_with_index(job: Job) -> None:
    """As many partitions as workers by `coalesce`, a model for each, the device by the partition's number; batches of
    32."""
    model_of, write = job.loader, job.writer
    devices = ["cpu"]

    def partition(index: int, rows: Iterator[Any]) -> Iterator[int]:
        write(encoded(model_of().to(devices[index % len(devices)]), rows))
        yield index

    job.df.rdd.coalesce(job.cores).mapPartitionsWithIndex(partition).count()


def rdd_broadcast(job: Job) -> None:
    """An RDD of lists of 32 rows, and a `flatMap` with a broadcast model."""
    model, write = job.broadcast_model(), job.writer

    def encode(rows: list[Any]) -> Iterable[tuple[Any, Any]]:
        return zip(
            rows, model.value.encode([row.text for row in rows], batch_size=BATCH, show_progress_bar=False), strict=True
        )

    job.df.rdd.mapPartitions(lists).flatMap(encode).foreachPartition(write)


def predict_batch(job: Job) -> None:
    """Spark's own `predict_batch_udf` with batches of 32; the worker keeps the model."""
    model_of, write = job.loader, job.writer

    def make() -> Callable[[Any], Any]:
        model = model_of()
        return lambda texts: np.asarray(model.encode(texts.tolist(), batch_size=BATCH, show_progress_bar=False))

    if "udf" not in job.kept:  # Spark keeps the model under the UDF's own identity
        job.kept["udf"] = predict_batch_udf(make, return_type=ArrayType(FloatType()), batch_size=BATCH)
    _write_column(job.df.withColumn("vector", job.kept["udf"]("text")), write)


def whole_partition(job: Job) -> None:
    """All rows of a partition in one `encode`, which sorts them by length: quick, and memory grows with the
    partition."""
    model_of, write = job.loader, job.writer

    def partition(rows: Iterator[Any]) -> None:
        held = list(rows)
        write(
            zip(
                held,
                model_of().encode([row.text for row in held], batch_size=BATCH, show_progress_bar=False),
                strict=True,
            )
        )

    job.df.rdd.foreachPartition(partition)


def sink(job: Job, **options: Any) -> None:
    """What takes their place. It makes the collection by itself; `options` are those of the arm that is measured, such
    as `dtype`."""
    write(job.df, job.collection, url=job.url, grpc_port=job.grpc_port, model=job.model, device="cpu", **options)


ARMS: dict[str, Callable[[Job], None]] = {
    "mapPartitions": map_partitions,
    "pandas UDF": pandas_udf_broadcast,
    "mapPartitionsWithIndex": map_partitions_with_index,
    "RDD broadcast": rdd_broadcast,
    "predict_batch_udf": predict_batch,
    "whole partition": whole_partition,
}


def lists(rows: Iterator[Any]) -> Iterator[list[Any]]:
    """Lists of 32 rows, and a shorter one at the end; no row is lost."""
    while batch := list(islice(rows, BATCH)):
        yield batch


def encoded(model: Any, rows: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """Each row with its vector, 32 at a time in the order of arrival."""
    for batch in lists(rows):
        yield from zip(
            batch, model.encode([row.text for row in batch], batch_size=BATCH, show_progress_bar=False), strict=True
        )


def write_points(url: str, grpc_port: int, collection: str, pairs: Iterable[tuple[Any, Any]]) -> None:
    """Upsert (row, vector) pairs with the official client, 256 at a time, each request waited for."""
    from qdrant_client.models import PointStruct

    waiting = iter(pairs)
    with closing(client(url, grpc_port)) as qdrant:
        while batch := list(islice(waiting, UPSERT)):
            points = [
                PointStruct(
                    id=row.id,
                    vector=vector.tolist() if hasattr(vector, "tolist") else vector,
                    payload={"id": row.id, "text": row.text},
                )
                for row, vector in batch
            ]
            qdrant.upsert(collection, points, wait=True)


def _write_column(df: DataFrame, write: Callable[[Iterable[tuple[Any, Any]]], None]) -> None:
    df.foreachPartition(lambda rows: write((row, row.vector) for row in rows))
