"""A job for a GPU cluster: Parquet files become documents in Qdrant, with one model per GPU.

`cluster_submit.sh` is the spark-submit for it, with the packed environment, the model, executors, cores and GPUs.
Nothing here knows about GPUs: a task uses the one that Spark gave it, or the CPU. `--dry-run` prints the plan and every
problem, and writes nothing:

    python examples/cluster_submit.py articles.parquet articles url=http://localhost:6333 --dry-run
"""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession

from spark_vector_sink.spark import check, write


def main() -> None:
    parser = argparse.ArgumentParser(description="Write Parquet files to a collection, as vectors.")
    parser.add_argument("input", help="Parquet files: anything that spark.read.parquet takes")
    parser.add_argument("collection", help="name of the collection, or a directory that all executors share")
    parser.add_argument(
        "options",
        nargs="*",
        default=[],
        metavar="name=value",
        help="options of the sink, e.g. url=http://localhost:6333 api_key_file=/run/key",
    )
    parser.add_argument(
        "--tasks",
        type=int,
        help="cut the rows into so many tasks: some for each GPU; by default as Spark cuts the files",
    )
    parser.add_argument("--dry-run", action="store_true", help="look at everything, and write nothing")
    given = parser.parse_intermixed_args()
    for option in given.options:
        if "=" not in option:
            parser.error(f"{option!r} is no option of the sink; write name=value, as in id_column=id")
    options = dict(option.split("=", 1) for option in given.options)

    spark = SparkSession.builder.appName(f"write {given.collection}").getOrCreate()
    df = spark.read.parquet(given.input)
    if given.dry_run:
        plan = check(df, given.collection, **options)
        print(plan)
        if plan.problems:
            raise SystemExit(1)
    else:
        report = write(df.repartition(given.tasks) if given.tasks else df, given.collection, **options)
        print(report)
        stored = "" if report.stored_points is None else f"; {report.stored_points:,} points are in {given.collection}"
        print(f"devices: {report.device or 'none was needed'}; {report.partitions} tasks{stored}")
        if report.rows != (rows := df.count()):
            raise SystemExit(f"not as it should be: the files have {rows:,} rows, and the job has read {report.rows:,}")
    spark.stop()


if __name__ == "__main__":
    main()
