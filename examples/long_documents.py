"""Long documents: each becomes several points, so that no part of it is lost and a search finds the place in the text.

For texts longer than a model reads: reports, manuals, transcripts. MiniLM reads 256 tokens, about a page.

    python examples/long_documents.py [FOLDER]        (./demo/long_documents)
"""

from __future__ import annotations

import docstrings
from common import MODEL, check, new_folder, start_spark
from pyspark.sql import SparkSession

import spark_vector_sink
from spark_vector_sink.report import WriteReport
from spark_vector_sink.spark import write

QUESTIONS = (
    "how many lines of context does a diff show?",
    "a list that stays sorted when something is put in",
    "the first day of the week",
)


def manuals() -> dict[str, str]:
    """Of some modules one long text each: all that they say of themselves."""
    sections: dict[str, list[str]] = {module: [] for module in ("difflib", "bisect", "calendar")}
    for row in docstrings.rows():
        if row.module in sections:
            sections[row.module].append(f"{row.name or row.module}\n\n{row.text}")
    return {module: "\n\n\n".join(texts) for module, texts in sections.items()}


def load(spark: SparkSession, store: str, documents: dict[str, str]) -> WriteReport:
    report = write(
        spark.createDataFrame(list(documents.items()), "module string, text string"),
        store,
        model=MODEL,
        id_column="module",
        long_text="chunk",  # the other ways: truncate, reject, fail
        chunk_tokens=128,  # cut between paragraphs, lines or sentences where there is one near the end
        chunk_overlap_tokens=16,  # so that what stands across a cut is found too
        unchanged="skip",
    )
    print(
        f"{report.rows} documents, {report.unchanged} unchanged: {report.points} points written, "
        f"{report.stored_points} in the store"
    )
    return report


def main() -> None:
    store = str(new_folder("long_documents") / "store")
    spark = start_spark()
    documents = manuals()
    first = load(spark, store, documents)

    for question in QUESTIONS:
        (hit,) = spark_vector_sink.search(store, question, limit=1)
        ours = hit.payload["_sink"]
        start, stop = ours["span"]  # in characters
        chunk = documents[hit.key][start:stop]
        print(
            f"\n{question}\n  {hit.key}, chunk {ours['chunk'] + 1} of {ours['chunks']}, characters {start} to {stop}: "
            f"{' '.join(chunk.split())[:90]}…"
        )
        check(chunk == hit.payload["text"], "the span says where the chunk stands in its document")

    documents["calendar"] = documents["calendar"][:500]  # most of it is taken out
    second = load(spark, store, documents)
    spark.stop()
    left = spark_vector_sink.search(
        store, "calendar", limit=1000, filter={"must": [{"key": "module", "match": {"value": "calendar"}}]}
    )
    check(
        len(left) == second.points < 5 < first.points,
        f"the {len(left)} chunks that the short document still has, and no stale ones",
    )


if __name__ == "__main__":
    main()
