"""Which versions of a collection may go, and which one a rollback takes."""

from __future__ import annotations

from spark_vector_sink.store.collection_versions import (
    ABANDONED,
    CHECKED,
    FOREIGN,
    LOADING,
    READY,
    ROLLED_BACK,
    STALE_SECONDS,
    Version,
    earlier,
    latest_whole,
    left_overs,
    next_number,
    outlived,
    overtaken,
)

NOW = 1_000_000.0


def version(number: int, state: str = READY, age: float = 0.0, replaced: int | None = None) -> Version:
    return Version(f"v{number}", number, state, NOW - age, f"v{replaced}" if replaced else None)


def test_the_next_number_is_one_more_than_the_greatest() -> None:
    """Whatever became of the others."""
    assert next_number([]) == 1
    assert next_number([version(3, ABANDONED), version(1)]) == 4


def test_an_overwrite_keeps_the_versions_that_served_last() -> None:
    """`keep` of them, and no more."""
    there = [version(1), version(2, replaced=1), version(3, replaced=2), version(4, replaced=3)]
    assert outlived(there, "v4", 1, NOW) == ["v1", "v2"]
    assert outlived(there, "v4", 0, NOW) == ["v1", "v2", "v3"]
    assert outlived(there, "v4", 9, NOW) == []


def test_what_was_replaced_counts_before_the_numbers() -> None:
    """After a rollback from v3 to v2, v4 replaced v2: that one is kept, and the one that was rolled back goes."""
    there = [version(1), version(2, replaced=1), version(3, ROLLED_BACK, replaced=2), version(4, replaced=2)]
    assert outlived(there, "v4", 1, NOW) == ["v1", "v3"]
    assert earlier(there, "v4") == "v2"


def test_where_nothing_tells_what_was_replaced_numbers_do() -> None:
    """An append's versions note nothing; one that is not ready never served."""
    assert earlier([version(1), version(2, ABANDONED), version(3)], "v3") == "v1"
    assert earlier([version(3)], "v3") is None


def test_a_version_that_served_is_gone_back_to_whatever_its_job_has_noted() -> None:
    """Killed between the alias and its note, or made by hand: it was replaced, so it served."""
    for state in (LOADING, CHECKED, FOREIGN):
        assert earlier([version(1), version(2, state, replaced=1), version(3, replaced=2)], "v3") == "v2"


def test_a_circle_of_versions_ends() -> None:
    """Aliases moved by hand can make one."""
    assert earlier([version(1, replaced=2), version(2, replaced=1)], "v2") == "v1"
    assert outlived([version(1, replaced=2), version(2, replaced=1)], "v2", 5, NOW) == []


def test_only_the_dead_are_left_over() -> None:
    """A version that is being filled is dropped when nobody has given a sign of life for an hour; an abandoned one at
    once."""
    there = [
        version(1),
        version(2, LOADING, STALE_SECONDS - 1),
        version(3, LOADING, STALE_SECONDS + 1),
        version(4, ABANDONED),
        version(5, FOREIGN),
    ]
    assert left_overs(there, "v1", NOW) == ["v3", "v4"]
    assert "v2" not in outlived(there, "v1", 0, NOW)
    assert "v5" not in outlived(there, "v1", 0, NOW)


def test_a_whole_version_stays_where_nothing_serves() -> None:
    """Its job died between dropping a plain collection and making the alias: a rollback lets it serve."""
    there = [version(1, LOADING, 2 * STALE_SECONDS), version(2, CHECKED, 2 * STALE_SECONDS)]
    assert left_overs(there, None, NOW) == ["v1"]
    assert latest_whole(there) == "v2"
    assert left_overs(there, "v3", NOW) == ["v1", "v2"]
    assert latest_whole(there[:1]) is None


def test_the_message_says_where_the_name_stands() -> None:
    """Moved, gone, and new."""
    assert "it stands for a__v4 now, not for a__v3 as it did" in str(overtaken("a", "a__v4", "a__v3"))
    assert "there is nothing of that name now, and it stood for a__v3" in str(overtaken("a", None, "a__v3"))
    assert "there was nothing of that name when this one began" in str(overtaken("a", "a__v1", None))
