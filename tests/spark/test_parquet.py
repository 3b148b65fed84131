"""Parquet files of other programs: what `vectorsink check --input` says of them is what Spark does."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from spark_vector_sink.cli import parquet
from spark_vector_sink.spark import arrow

pytestmark = pytest.mark.spark

KINDS = [
    *(
        pa.int8(),
        pa.uint8(),
        pa.uint16(),
        pa.uint32(),
        pa.uint64(),
        pa.float16(),
        pa.float32(),
        pa.bool_(),
        pa.null(),
        pa.duration("us"),
    ),
    *(
        pa.date32(),
        pa.date64(),
        pa.time32("ms"),
        pa.time64("us"),
        pa.time64("ns"),
        pa.timestamp("ms"),
        pa.timestamp("us"),
        pa.timestamp("us", "Europe/Oslo"),
    ),
    *(
        pa.timestamp("ns"),
        pa.timestamp("ns", "UTC"),
        pa.decimal128(38, 2),
        pa.decimal256(38, 2),
        pa.decimal256(39, 2),
        pa.binary(4),
        pa.large_binary(),
    ),
    *(
        pa.large_string(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.list_(pa.float32(), 2),
        pa.large_list(pa.uint64()),
        pa.map_(pa.uint32(), pa.uint64()),
    ),
    *(
        pa.struct({"a": pa.large_string(), "b": pa.uint8()}),
        pa.struct({"a": pa.timestamp("ns")}),
        pa.list_(pa.float16()),
        *([pa.uuid()] if hasattr(pa, "uuid") else []),
    ),
]


def test_check_says_of_a_file_what_spark_does(spark: SparkSession, tmp_path: Path) -> None:
    """Each type is refused by both, or has the same type for both."""
    wrong = []
    for number, kind in enumerate(KINDS):
        place = str(tmp_path / f"{number}.parquet")
        pq.write_table(pa.table({"x": pa.array([None], kind)}), place)
        said = parquet.of_dataset(place)
        try:
            does: object = arrow.schema(spark.read.parquet(place).schema)
        except Exception:  # of several kinds
            does = None
        if does != (None if said.unreadable else said.schema):
            wrong.append((kind, said, does))
    assert wrong == []


def test_check_goes_by_spark_s_own_schema(spark: SparkSession, tmp_path: Path) -> None:
    """Of a file that Spark has written, where the types in the file are others."""
    place = str(tmp_path / "rows")
    spark.sql(
        "SELECT INTERVAL '1' DAY AS d, INTERVAL '1' MONTH AS m, CAST('a' AS CHAR(3)) AS c, named_struct('a b', "
        "array(1BD)) AS s"
    ).write.parquet(place)
    found, schema = parquet.of_dataset(place), spark.read.parquet(place).schema
    assert (found.schema.types, found.unreadable.keys()) == (
        arrow.schema(schema).types,
        arrow.unreadable(schema).keys(),
    )
    assert found.unreadable.keys() == {"m"}
