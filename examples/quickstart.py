"""From a DataFrame of text to answers, for anyone who wants to see it once before reading on.

Takes the docstrings of Python's standard library, writes them as vectors with Spark, and asks three questions.
The vectors go to an embedded store in ./demo, or to a Qdrant server:

    python examples/quickstart.py [--url http://localhost:6333]        (or QDRANT_URL in the environment)

With SPARK_MASTER=spark://… a cluster does the work; its workers need the same Python and packages at the same path, and
must reach the server.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import docstrings
from common import MODEL, start_spark

import spark_vector_sink

QUESTIONS = (
    "How do I read a csv file?",
    "Start a process and capture its output",
    "Wait until several threads are done",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Write Python's own documentation as vectors, and ask it three questions."
    )
    parser.add_argument(
        "--url",
        default=os.environ.get("QDRANT_URL"),
        help="address of a Qdrant server; without it ./demo/store is used",
    )
    url = parser.parse_args().url
    name, where = ("python_docs", f"{url.rstrip('/')}/python_docs") if url else ("./demo/store", "./demo/store")
    report_file = Path("demo", "server.json" if url else "store.json")
    report_file.parent.mkdir(exist_ok=True)
    before = points(report_file)

    rows = docstrings.rows()
    print(f"{len(rows):,} documentation strings of Python {sys.version.split()[0]} go to {name}", flush=True)
    spark = start_spark()
    df = spark.createDataFrame(rows, "module string, name string, kind string, text string")
    (
        df.repartition(spark.sparkContext.defaultParallelism)
        .write.format("vectorsink")
        .options(**({"url": url} if url else {}))
        .option("id_column", "module,name")  # the key: a document that is written again replaces itself
        .option("text_column", "module,name,text")
        .option("text_template", "{module}.{name}: {text}")  # a name says much about what a function is for
        .option("model", MODEL)
        .option("report_path", str(report_file.absolute()))
        .mode("append")
        .save(name)
    )
    spark.stop()

    for question in QUESTIONS:
        print(f"\n{question}")
        for hit in spark_vector_sink.search(where, question, limit=5):
            title = f"{hit.payload['module']}.{hit.payload['name']}".rstrip(".")
            print(f"  {hit.score:.3f}  {title:32}  {hit.payload['text'].splitlines()[0]}")

    after = points(report_file)
    again = f"{'nothing is duplicated: ' if after == len(rows) else ''}{before:,} points before, {after:,} points after"
    print("\n" + (again if before else f"{after:,} points; run it again, and nothing will be duplicated"))


def points(report_file: Path) -> int:
    """How many points the store held at the end of the last run, which its report says; 0 where there was no run."""
    return int(json.loads(report_file.read_text())["stored_points"] or 0) if report_file.exists() else 0


if __name__ == "__main__":
    main()
