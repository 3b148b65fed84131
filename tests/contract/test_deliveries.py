"""What arrives when documents come again, change, grow old, and are deleted: the same on every store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink.encode import loader
from spark_vector_sink.errors import BadRowError, OptionError
from spark_vector_sink.report import WriteReport
from spark_vector_sink.task import change_detection
from tests.fakes import Counting
from tests.jobs import Place, place

__all__ = ["place"]

ENCODER: dict[str, Any] = {"encoder": "tests.fakes:Counting", "vector_column": None}

Encoded = Callable[[], list[str]]


@pytest.fixture
def encoded() -> Encoded:
    """What was encoded since it was asked for the last time; asking lets go of the encoder, so that the next job loads
    it or does not."""

    def taken() -> list[str]:
        texts, Counting.texts[:] = list(Counting.texts), []
        loader.unload()
        return texts

    taken()
    return taken


def texts(**by_key: str | None) -> pa.Table:
    return pa.table({"id": pa.array(list(by_key), pa.string()), "text": pa.array(list(by_key.values()), pa.string())})


def feed(*rows: tuple[str, str | None, str, int | None]) -> pa.Table:
    """Rows of a change feed: key, text, what happened, version."""
    names = ("id", "text", "op", "version")
    kinds = (pa.string(), pa.string(), pa.string(), pa.int64())
    return pa.table(
        {
            name: pa.array([row[i] for row in rows], kind)
            for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
        }
    )


SKIP = {**ENCODER, "unchanged": "skip"}
PLAIN = {**ENCODER, "op_column": "op", "payload_exclude": "version"}
LOAD = {**ENCODER, "delete_missing": True, "source": "table", "max_delete_share": 0.5}
FEED = {**ENCODER, "op_column": "op", "version_column": "version", "payload_exclude": "version"}


def found(place: Place) -> dict[str, str]:
    """Key and text of every document that a search finds."""
    return {payload["id"]: payload["text"] for payload in place.stored().values()}


def ends(report: WriteReport) -> dict[str, int]:
    """What became of the rows, as far as any did."""
    names = ("written", "unchanged", "older", "superseded", "deleted", "ignored", "rejected")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


class TestUnchanged:
    def test_nothing_is_sent_for_what_is_there(self, place: Place, encoded: Encoded) -> None:
        """The second run encodes nothing, writes nothing, and does not even load the encoder."""
        place.write(texts(a="one", b="two"), **SKIP)
        assert encoded() == ["one", "two"]
        report = place.write(texts(b="two", a="one"), **SKIP)
        assert (ends(report), report.points, report.device, encoded()) == ({"unchanged": 2}, 0, "", [])
        assert loader._loaded is None
        assert found(place) == {"a": "one", "b": "two"}

    def test_only_what_changed_is_encoded(self, place: Place, encoded: Encoded) -> None:
        """One text of three."""
        place.write(texts(a="one", b="two", c="three"), **SKIP)
        encoded()
        report = place.write(texts(a="one", b="new", c="three", d="four"), **SKIP)
        assert (ends(report), encoded()) == ({"written": 2, "unchanged": 2}, ["new", "four"])
        assert found(place) == {"a": "one", "b": "new", "c": "three", "d": "four"}

    def test_a_payload_is_written_without_encoding(self, place: Place, encoded: Encoded) -> None:
        """Where the text is the same; keys that are no more are gone, and the run after it finds everything
        unchanged."""
        rows = texts(a="one", b="two")
        place.write(rows.append_column("old", pa.array([1, 2])), **SKIP)
        encoded()
        changed = rows.append_column("new", pa.array(["x", "y"]))
        report = place.write(changed, **SKIP)
        assert (ends(report), encoded()) == ({"written": 2}, [])
        payloads = [
            {name: value for name, value in payload.items() if name != "_sink"} for payload in place.stored().values()
        ]
        assert sorted(payloads, key=lambda one: str(one["id"])) == [
            {"id": "a", "text": "one", "new": "x"},
            {"id": "b", "text": "two", "new": "y"},
        ]
        assert ends(place.write(changed, **SKIP)) == {"unchanged": 2}

    def test_a_payload_never_meets_the_vector_of_another_text(
        self, place: Place, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another job writes a text between the look at a document and the writing of its payload: the document is that
        job's, and whole."""
        rows = texts(a="one")
        place.write(rows, **SKIP)
        other, decide = [texts(a="two")], change_detection.decide

        def interrupted(*arguments: Any) -> change_detection.Decided:
            decided = decide(*arguments)
            while other:
                place.write(other.pop(), **SKIP)
            return decided

        monkeypatch.setattr(change_detection, "decide", interrupted)
        changed = rows.append_column("new", pa.array(["x"]))
        place.write(changed, **SKIP)
        assert found(place) == {"a": "two"}
        encoded()
        place.write(changed, **SKIP)
        assert (encoded(), found(place)) == (["one"], {"a": "one"})

    def test_an_option_that_changes_vectors_encodes_again(self, place: Place, encoded: Encoded) -> None:
        """And one that does not, does not."""
        place.write(texts(a="one"), **SKIP)
        encoded()
        assert ends(
            place.write(texts(a="one"), **SKIP, window_rows=1, batch_points=1 if "url" in place.options else None)
        ) == {"unchanged": 1}
        place.write(
            texts(a="one"),
            **SKIP,
            dtype=None,
            long_text="truncate",
            id_namespace="e6a15eeb-a4bd-56f8-a5c3-7cb9aec113f7",
        )
        assert encoded() == []

    def test_a_key_that_comes_back_to_its_old_text(self, place: Place, encoded: Encoded) -> None:
        """Within a task the last row wins, also where it says what was there before the job."""
        place.write(texts(a="one"), **SKIP)
        twice = pa.concat_tables([texts(a="two"), texts(a="one")])
        place.write(twice, **SKIP, window_rows=1)
        assert found(place) == {"a": "one"}

    def test_a_payload_alone_does_not_meet_the_vector_of_another_text(self, place: Place, encoded: Encoded) -> None:
        """A key comes twice, in two tasks, once with another text: one of the two rows is there as a whole, and the
        next run sees which."""
        place.write(texts(a="one").append_column("n", pa.array([1])), **SKIP)
        other, same = (texts(a=text).append_column("n", pa.array([n])) for text, n in (("two", 1), ("one", 2)))
        place.write(other, same, **SKIP)
        encoded()
        (there,) = place.stored().values()
        vector = Counting().encode([str(there["text"])])[0]
        assert place.nearest(vector.tolist())[0].score == pytest.approx(1.0, abs=1e-5)
        assert (there["text"], there["n"]) in (("two", 1), ("one", 2))

    def test_ready_made_vectors(self, place: Place) -> None:
        """A vector is compared as a text is."""
        rows = pa.table({"id": [1, 2], "v": pa.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]], pa.list_(pa.float32(), 4))})
        place.write(rows, unchanged="skip")
        assert ends(place.write(rows, unchanged="skip")) == {"unchanged": 2}
        turned = rows.set_column(1, "v", pa.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0]], pa.list_(pa.float32(), 4)))
        assert ends(place.write(turned, unchanged="skip")) == {"unchanged": 1, "written": 1}


class TestVersions:
    def test_an_older_row_does_not_replace_a_newer_point(self, place: Place, encoded: Encoded) -> None:
        """In another job, whatever the order; it is counted, and not encoded."""
        place.write(feed(("a", "new", "upsert", 5)), **FEED)
        encoded()
        report = place.write(feed(("a", "old", "upsert", 4), ("b", "b", "upsert", 1)), **FEED)
        assert (ends(report), encoded(), found(place)) == ({"older": 1, "written": 1}, ["b"], {"a": "new", "b": "b"})

    def test_the_greatest_version_wins_in_a_window(self, place: Place) -> None:
        """Not the last row."""
        report = place.write(feed(("a", "new", "upsert", 5), ("a", "old", "upsert", 4)), **FEED)
        assert (ends(report), found(place)) == ({"superseded": 1, "written": 1}, {"a": "new"})

    def test_the_greatest_version_wins_across_windows_and_tasks(self, place: Place) -> None:
        """Rows of one key that are not seen together."""
        tables = [feed(("a", f"a{n}", "upsert", n), ("b", f"b{10 - n}", "upsert", 10 - n)) for n in (3, 9, 1)]
        report = place.write(*tables, **FEED, window_rows=1)
        assert found(place) == {"a": "a9", "b": "b9"}
        assert (report.rows, report.missing_rows(), report.older + report.written) == (6, 0, 6)

    @pytest.mark.parametrize("mode", ["append", "overwrite"])
    def test_points_that_were_not_written_are_not_counted(self, place: Place, mode: str) -> None:
        """Also where only the store can tell that a row is older: in another window, or in another task."""
        newer, older = feed(("a", "new", "upsert", 5), ("b", "b", "upsert", 5)), feed(("a", "old", "upsert", 4))
        options = {**FEED, "op_column": None, "payload_exclude": "version,op"}
        report = place.write(newer, older, **options, window_rows=1, mode=mode)
        assert (ends(report), report.points, report.stored_points, report.warnings) == (
            {"written": 2, "older": 1},
            2,
            2,
            [],
        )

    def test_timestamps_are_versions(self, place: Place) -> None:
        """In microseconds."""
        rows = texts(a="new").append_column("at", pa.array([1_700_000_000_000_001], pa.timestamp("us", "UTC")))
        options = {**ENCODER, "version_column": "at", "payload_exclude": "at"}
        place.write(rows, **options)
        late = texts(a="old").append_column("at", pa.array([1_700_000_000_000_000], pa.timestamp("us", "UTC")))
        assert ends(place.write(late, **options)) == {"older": 1}
        assert found(place) == {"a": "new"}

    @pytest.mark.parametrize(
        ("version", "reason"), [(None, "is null; a row without a version"), (2**53, "is a version beyond 2^53")]
    )
    def test_a_version_that_cannot_be_compared_is_a_bad_row(
        self, place: Place, version: int | None, reason: str
    ) -> None:
        """By key and column."""
        with pytest.raises(
            BadRowError, match=rf"the row with key 'a' cannot be written: column 'version' {reason.replace('^', '.')}"
        ):
            place.write(feed(("a", "x", "upsert", version)), **FEED)


class TestChangeFeeds:
    def test_delta(self, place: Place) -> None:
        """Its four words."""
        place.write(feed(("a", "one", "insert", 1), ("b", "two", "insert", 1), ("c", "three", "insert", 1)), **FEED)
        report = place.write(
            feed(
                ("a", "one", "update_preimage", 2),
                ("a", "uno", "update_postimage", 2),
                ("b", None, "delete", 2),
                ("d", "four", "insert", 2),
            ),
            **FEED,
        )
        assert ends(report) == {"ignored": 1, "written": 2, "deleted": 1}
        assert found(place) == {"a": "uno", "c": "three", "d": "four"}

    def test_debezium(self, place: Place) -> None:
        """Create, read, update and delete."""
        place.write(feed(("a", "one", "r", 1), ("b", "two", "c", 1)), **PLAIN)
        assert ends(place.write(feed(("a", "uno", "u", 2), ("b", None, "d", 2)), **PLAIN)) == {
            "written": 1,
            "deleted": 1,
        }
        assert found(place) == {"a": "uno"}

    @pytest.mark.parametrize(
        ("insert", "before", "after", "delete"),
        [
            ("I", None, "U", "D"),
            ("INSERT", "UPDATE_BEFORE", "UPDATE_AFTER", "DELETE"),
            ("+I", "-U", "+U", "-D"),
            ("insert", None, "replace", "delete"),
        ],
        ids=["AWS DMS", "Iceberg", "Flink", "MongoDB"],
    )
    def test_other_feeds(self, place: Place, insert: str, before: str | None, after: str, delete: str) -> None:
        """Each in its own words."""
        place.write(feed(("a", "one", insert, 1), ("b", "two", insert, 1)), **FEED)
        befores = [("a", "one", before, 2)] if before else []
        report = place.write(feed(*befores, ("a", "uno", after, 2), ("b", None, delete, 2)), **FEED)
        assert ends(report) == {**({"ignored": 1} if before else {}), "written": 1, "deleted": 1}
        assert found(place) == {"a": "uno"}

    @pytest.mark.parametrize("word", ["t", "TRUNCATE"])
    def test_a_truncated_table_ends_the_job(self, place: Place, word: str) -> None:
        """No row stands for it, and nothing else of the window is written."""
        with pytest.raises(BadRowError, match=r"its table was emptied; write the table anew with mode\('overwrite'\)"):
            place.write(feed(("a", "one", "c", 1), ("b", None, word, 2)), **PLAIN)

    def test_an_unknown_word_is_a_bad_row(self, place: Place) -> None:
        """Named, with words that are known."""
        with pytest.raises(BadRowError, match="column 'op' is 'x', no word of a change feed"):
            place.write(feed(("a", "one", "x", 1)), **PLAIN)

    def test_deletes_and_upserts_of_a_key_keep_their_order(self, place: Place) -> None:
        """Without versions, within a task, whatever the windows."""
        rows = feed(
            ("a", "1", "c", 1), ("a", None, "d", 1), ("a", "2", "c", 1), ("b", "1", "c", 1), ("b", None, "d", 1)
        )
        place.write(rows, **PLAIN, window_rows=1)
        assert found(place) == {"a": "2"}

    def test_a_late_row_does_not_bring_a_document_back(self, place: Place) -> None:
        """The deletion is remembered; a newer row does."""
        place.write(feed(("a", "one", "insert", 1)), **FEED)
        place.write(feed(("a", None, "delete", 5)), **FEED)
        assert (ends(place.write(feed(("a", "late", "update_postimage", 4)), **FEED)), found(place)) == (
            {"older": 1},
            {},
        )
        assert ends(place.write(feed(("a", "again", "insert", 6)), **FEED)) == {"written": 1}
        assert found(place) == {"a": "again"}

    def test_a_late_deletion_deletes_nothing(self, place: Place) -> None:
        """Of an older version than what is there."""
        place.write(feed(("a", "new", "insert", 5)), **FEED)
        assert ends(place.write(feed(("a", None, "delete", 4)), **FEED)) == {"older": 1}
        assert found(place) == {"a": "new"}

    def test_deleted_and_inserted_in_one_commit(self, place: Place) -> None:
        """At one version the document is there, whichever row comes first, in one job or two."""
        rows = feed(("a", None, "delete", 3)), feed(("a", "again", "insert", 3))
        for first, second in (rows, rows[::-1]):
            place.write(first, **FEED)
            place.write(second, **FEED)
            assert found(place) == {"a": "again"}

    def test_a_replay_changes_nothing(self, place: Place) -> None:
        """The whole feed once more, in another order."""
        rows = feed(("a", "1", "c", 1), ("b", "1", "c", 2), ("a", None, "d", 3), ("b", "2", "u", 4), ("c", "1", "c", 5))
        place.write(rows, **FEED)
        before = found(place)
        place.write(rows.take([4, 2, 0, 1, 3]), **FEED, window_rows=1)
        assert found(place) == before == {"b": "2", "c": "1"}

    def test_a_deletion_of_what_never_was(self, place: Place) -> None:
        """Is no error; under versions it is remembered all the same."""
        assert ends(place.write(feed(("a", None, "d", 5)), **FEED)) == {"deleted": 1}
        assert ends(place.write(feed(("a", "late", "c", 4)), **FEED)) == {"older": 1}

    def test_tombstones_are_forgotten(self, place: Place) -> None:
        """After `tombstone_days`; then a late row would come in."""
        place.write(feed(("a", None, "d", 5)), **FEED, tombstone_days=0)
        place.write(feed(("b", "b", "c", 5)), **FEED, tombstone_days=0)
        assert ends(place.write(feed(("a", "late", "c", 4)), **FEED)) == {"written": 1}


class TestFullLoads:
    def test_what_the_table_no_longer_has_is_deleted(self, place: Place) -> None:
        """At the end, and counted."""
        place.write(texts(a="one", b="two", c="three"), **LOAD)
        report = place.write(texts(a="one", c="drei"), **LOAD)
        assert (report.missing_deleted, report.stored_points, found(place)) == (1, 2, {"a": "one", "c": "drei"})
        assert "1 deleted that the table no longer has" in str(report)

    def test_documents_of_other_sources_stay(self, place: Place) -> None:
        """Also those of none."""
        place.write(texts(x="x"), **ENCODER)
        place.write(texts(y="y"), **{**LOAD, "source": "other"})
        place.write(texts(a="one", b="two"), **LOAD)
        place.write(texts(a="one"), **LOAD)
        assert found(place) == {"x": "x", "y": "y", "a": "one"}

    def test_too_many_deletions_are_none(self, place: Place) -> None:
        """Half a table was read: nothing is deleted, and the report says what would have been."""
        place.write(texts(a="1", b="2", c="3", d="4"), **LOAD)
        report = place.write(texts(a="1"), **LOAD)
        assert (report.missing_deleted, len(found(place))) == (0, 4)
        assert any(
            "3 of 4 documents of source 'table' are no longer in the table" in warning for warning in report.warnings
        )

    def test_unchanged_documents_are_seen(self, place: Place, encoded: Encoded) -> None:
        """They are in the table, though nothing of them is written."""
        options = {**LOAD, "unchanged": "skip"}
        place.write(texts(a="one", b="two", c="three"), **options)
        encoded()
        report = place.write(texts(a="one", b="two"), **options)
        assert (ends(report), report.missing_deleted, encoded(), found(place)) == (
            {"unchanged": 2},
            1,
            [],
            {"a": "one", "b": "two"},
        )

    def test_a_rejected_rows_document_stays(self, place: Place, tmp_path: Any) -> None:
        """The table has it, though it cannot be written."""
        options = {**LOAD, "rejects_path": str(tmp_path / "rejects")}
        place.write(texts(a="one", b="two", c="three"), **options)
        report = place.write(texts(a="one", b=None), **options)
        assert (ends(report), report.missing_deleted, found(place)) == (
            {"written": 1, "rejected": 1},
            1,
            {"a": "one", "b": "two"},
        )

    def test_a_rejected_row_whose_key_is_its_text(self, place: Place, tmp_path: Any) -> None:
        """Its document stays, too."""
        options = {**LOAD, "id_column": "content", "rejects_path": str(tmp_path / "rejects")}
        place.write(pa.table({"text": ["one", "two", "three"], "n": [1.0, 2.0, 3.0]}), **options)
        report = place.write(pa.table({"text": ["one", "two", None], "n": [1.0, float("nan"), 1.0]}), **options)
        assert (ends(report), report.missing_deleted) == ({"written": 1, "rejected": 2}, 1)
        assert {payload["text"] for payload in place.stored().values()} == {"one", "two"}

    def test_older_rows_are_seen(self, place: Place) -> None:
        """A full load that comes after a newer change deletes nothing of it."""
        options = {**LOAD, "version_column": "version", "payload_exclude": "version,op"}
        place.write(feed(("a", "new", "c", 9), ("b", "b", "c", 1)), **options)
        report = place.write(feed(("a", "old", "c", 2), ("b", "b", "c", 1)), **options)
        assert (report.older, report.missing_deleted, found(place)) == (1, 0, {"a": "new", "b": "b"})

    def test_a_newer_document_of_another_source_stays_that_ones(self, place: Place, tmp_path: Any) -> None:
        """An older row of it, or a rejected one, does not make it ours, to be deleted with the next load."""
        more = {"version_column": "version", "payload_exclude": "version,op", "rejects_path": str(tmp_path / "rejects")}
        options = {**LOAD, **more, "max_delete_share": 1.0}
        place.write(feed(("a", "new", "c", 9), ("b", "b", "c", 9)), **{**options, "source": "other"})
        place.write(feed(("a", "old", "c", 2), ("b", None, "c", 10), ("c", "c", "c", 1)), **options)
        report = place.write(feed(("c", "c", "c", 1)), **options)
        assert (report.missing_deleted, found(place)) == (0, {"a": "new", "b": "b", "c": "c"})

    def test_it_needs_a_source(self, place: Place) -> None:
        """Else it would delete what other tables have written."""
        with pytest.raises(OptionError, match="option 'delete_missing' needs option 'source'"):
            place.write(texts(a="one"), **{**LOAD, "source": None})
