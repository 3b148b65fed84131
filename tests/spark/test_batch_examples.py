"""The examples of batches: what they print, run as they stand in the Spark of the tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.spark.conftest import Show
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES

pytestmark = pytest.mark.spark


@pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)
def test_files_of_two_formats_and_a_filtered_search(shown: Show) -> None:
    """Rows of both are found, and with a filter those alone that match it."""
    everything, some = shown("batch_files").split("among ")[1:]
    assert len(re.findall(r"^  \d\.\d{3}", everything, re.MULTILINE)) == 5
    answers = re.findall(r"^  \d\.\d{3}  (\w+): .* a (\w+), (\d+) words$", some, re.MULTILINE)
    assert [(origin, kind, int(words) <= 20) for origin, kind, words in answers] == [("parquet", "method", True)] * 5


def test_a_database_table_each_night(shown: Show, tmp_path: Path) -> None:
    """What changed in it is written, what was deleted there is deleted, and the database leaves no log where the job
    was started."""
    said = [line.split(" s: ")[1] for line in shown("jdbc_nightly").splitlines() if " s: " in line]
    assert said == [
        "120 written, 0 unchanged, 0 deleted",
        "3 written, 108 unchanged, 10 deleted",
        "0 written, 111 unchanged, 0 deleted",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_the_messages_of_debezium(shown: Show) -> None:
    """Inserts, an update and a deletion of an envelope, and nothing more when all of them come again."""
    snapshot, since, again = shown("debezium").splitlines()[:3]
    assert (snapshot, since) == ("the snapshot: 2 written", "what happened since: 2 written, 1 deleted")
    assert "written" not in again
    assert "deleted" not in again


def test_long_documents_in_chunks(shown: Show) -> None:
    """A search gives the chunk's place, and a document that shrank has only the chunks that it needs."""
    said = shown("long_documents")
    assert re.findall(r"^  (\w+), chunk \d+ of \d+, characters \d+ to \d+: ", said, re.MULTILINE) == [
        "difflib",
        "bisect",
        "calendar",
    ]
    assert "3 documents, 2 unchanged: " in said
    assert "and no stale ones" in said


def test_dense_and_sparse_vectors(shown: Show) -> None:
    """The exact word is found where the words of the text count too."""
    alone, together = re.findall(
        r"^  dense (?:alone|and sparse): +(.*)$", shown("hybrid").split("\ninet_ntoa\n")[1], re.MULTILINE
    )[:2]
    assert "socket" in together.split(", ")
    assert "socket" not in alone.split(", ")
