"""A full load each night: unchanged rows cost next to nothing, and rows that have left the table are deleted.

For jobs that read a whole table again and again because nothing tells them what is new.

    python examples/nightly.py [FOLDER]        (./demo/nightly)
"""

from __future__ import annotations

import docstrings
from common import MODEL, check, new_folder, start_spark

from spark_vector_sink.spark import write


def main() -> None:
    store = str(new_folder("nightly") / "store")
    spark = start_spark()
    monday = [(row.module, row.name, row.text) for row in docstrings.rows()[:300]]
    changed = (monday[7][0], monday[7][1], "This text was written anew on Tuesday.")
    tuesday = [*monday[:7], changed, *monday[8:290]]  # ten are gone
    for night, rows in (("Monday", monday), ("Tuesday", tuesday), ("Wednesday, as Tuesday", tuesday)):
        report = write(
            spark.createDataFrame(rows, "module string, name string, text string"),
            store,
            id_column="module,name",
            model=MODEL,
            unchanged="skip",
            source="docs",  # whose documents these are: those of other jobs in the same collection stay
            delete_missing=True,
            max_delete_share=0.1,  # a table that was read by half deletes nothing
        )
        print(
            f"{night}: {report.rows} rows in {report.seconds:.1f} s: {report.written} written, "
            f"{report.unchanged} unchanged, "
            f"{report.missing_deleted} deleted"
        )
    check((report.unchanged, report.stored_points) == (290, 290), "the store holds the 290 documents of the last night")
    spark.stop()


if __name__ == "__main__":
    main()
