"""The words of change feeds: each feed's own, in any case; and what is said of a word that is none."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from spark_vector_sink.errors import BadRowError
from spark_vector_sink.options import option_table
from spark_vector_sink.rows import change_feed
from spark_vector_sink.rows.change_feed import DELETE, EMPTIED, FEEDS, IGNORE, UNKNOWN, UPSERT, WORDS

PAGE = Path(__file__).parents[2] / "docs" / "changes.md"


@pytest.mark.parametrize(
    ("feed", "meanings"),
    [
        ("AWS DMS", {"I": UPSERT, "U": UPSERT, "D": DELETE}),
        ("Iceberg", {"INSERT": UPSERT, "DELETE": DELETE, "UPDATE_BEFORE": IGNORE, "UPDATE_AFTER": UPSERT}),
        ("Delta", {"insert": UPSERT, "update_preimage": IGNORE, "update_postimage": UPSERT, "delete": DELETE}),
        ("Debezium", {"c": UPSERT, "r": UPSERT, "u": UPSERT, "d": DELETE}),
        ("Flink", {"+I": UPSERT, "-U": IGNORE, "+U": UPSERT, "-D": DELETE}),
        ("Hudi", {"I": UPSERT, "-U": IGNORE, "U": UPSERT, "D": DELETE}),
        ("MongoDB", {"insert": UPSERT, "update": UPSERT, "replace": UPSERT, "delete": DELETE}),
        ("Maxwell", {"bootstrap-insert": UPSERT, "bootstrap-complete": IGNORE}),
        ("DynamoDB", {"INSERT": UPSERT, "MODIFY": UPSERT, "REMOVE": DELETE}),
        ("nobody", {"x": UNKNOWN, "": UNKNOWN, None: UNKNOWN, "1": UNKNOWN, "insert update": UNKNOWN}),
    ],
)
def test_a_feed_has_its_own_words(feed: str, meanings: dict[str | None, int]) -> None:
    """As it writes them, in capitals or not, and with blanks around them."""
    words = list(meanings)
    for shown in (
        words,
        *([word and change(word) for word in words] for change in (str.upper, str.lower, lambda word: f" {word} ")),
    ):
        assert change_feed.operations(pa.array(shown, pa.string())).tolist() == list(meanings.values()), shown


def test_a_word_means_the_same_in_each_feed() -> None:
    """Else it would be no word: nobody says which feed a column is of."""
    for feed, meanings in FEEDS.items():
        for what, words in meanings.items():
            assert {WORDS[word] for word in words.split()} == {what}, feed


@pytest.mark.parametrize("word", ["t", "T", "Truncate", "drop", "dropDatabase", "table-drop", "truncate-table"])
def test_a_table_that_was_emptied_ends_the_job(word: str) -> None:
    """No row stands for it, so nothing could be written that would be right."""
    with pytest.raises(BadRowError) as ended:
        change_feed.operations(pa.array(["insert", word]))
    assert f"the feed says '{word}': its table was emptied; write the table anew" in str(ended.value)


def test_what_is_said_of_an_unknown_word_is_short() -> None:
    """The page has all words; the line has the ones that anyone can write."""
    assert change_feed.unknown("x") == "is 'x', no word of a change feed: those are insert, update, delete and the like"
    assert change_feed.unknown(None).startswith("is null, no word of a change feed: ")


def test_the_page_has_every_word_with_what_it_does() -> None:
    """The table of docs/changes.md is the one of the code; no line of it has another word."""
    rows = re.findall(
        r"^\| ([^|`]+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", PAGE.read_text(encoding="utf-8"), re.M
    )
    shown = {
        feed: {
            what: " ".join(re.findall(r"`([^`]+)`", cell)).lower()
            for what, cell in zip((UPSERT, DELETE, IGNORE, EMPTIED), cells, strict=True)
        }
        for feed, *cells in rows
    }
    assert {
        feed: {what: words for what, words in row.items() if words} for feed, row in shown.items() if feed in FEEDS
    } == FEEDS


def test_the_help_of_the_option_names_the_feeds() -> None:
    """The first word of each feed's name but those of few users."""
    text = option_table()["op_column"].doc.help
    assert all(name in text for name in ("Delta", "Iceberg", "Debezium", "AWS DMS", "Flink", "MongoDB"))
