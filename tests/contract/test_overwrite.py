"""What an overwrite promises, on the embedded store, on the in-test server and on a real Qdrant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink import rollback
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import CollectionError, IncompleteError, OptionError, PermanentStoreError
from spark_vector_sink.job import Plan
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.report import WriteReport
from spark_vector_sink.store import collection_versions, registry
from spark_vector_sink.store.collection_versions import READY
from spark_vector_sink.store.qdrant import wait_for_index
from spark_vector_sink.store.qdrant.versions import Versions
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.fake_server import FakeServer
from tests.jobs import Place, place, server_place, vectors

__all__ = ["place"]


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small index is there at once; three looks at it need not take a second and a half."""
    monkeypatch.setattr(wait_for_index, "LOOK_SECONDS", 0.01)


def begun(place: Place, rows: pa.Table, mode: str = "overwrite", **options: Any) -> Plan:
    """A job up to its tasks."""
    return committer.prepare(planning.plan({**place.options, **options}, rows.schema, mode))


def ended(plan: Plan, *partitions: pa.Table) -> WriteReport:
    """The tasks, and the end."""
    return committer.commit(
        plan,
        [
            partition_writer.write_partition(plan, rows.to_batches(), TaskContext(partition=i))
            for i, rows in enumerate(partitions)
        ],
    )


def back(place: Place) -> str:
    return rollback(
        place.options["path"], **{name: value for name, value in place.options.items() if name in ("url", "grpc_port")}
    )


def there(place: Place) -> dict[str, str]:
    """The versions that exist, each with its state."""
    options = SinkOptions.from_mapping(place.options)
    found, _ = registry.find(options)
    if options.is_embedded:
        from spark_vector_sink.store.edge.layout import StoreDirectory
        from spark_vector_sink.store.edge.versions import found as versions_of

        return {version.name: version.state for version in versions_of(StoreDirectory(options.directory))}
    with registry.collections(options, found) as collections:
        return {
            version.name.rpartition("__")[2]: version.state for version in collections._versions(found.name(options))
        }  # type: ignore[attr-defined]


def test_it_replaces_everything(place: Place) -> None:
    """Afterwards only the new rows are there, whatever was before."""
    place.write(vectors(5, old=["x"] * 5))
    report = place.write(vectors(2, start=3), vectors(1, start=10), mode="overwrite")
    assert (report.points, report.stored_points, report.warnings) == (3, 3, [])
    assert place.stored() == {3: {"id": 3}, 4: {"id": 4}, 10: {"id": 10}}


def test_it_makes_what_is_not_there(place: Place) -> None:
    """The first job may be an overwrite; an append goes on from it."""
    place.write(vectors(2), mode="overwrite")
    place.write(vectors(1, start=7))
    assert place.stored().keys() == {0, 1, 7}
    assert there(place) == {"v1": "ready"}


def test_readers_see_the_old_version_until_the_end(place: Place) -> None:
    """While an overwrite runs, searches see all of the old version and nothing of the new one."""
    place.write(vectors(3))
    plan = begun(place, vectors(2, start=10))
    reports = [partition_writer.write_partition(plan, vectors(2, start=10).to_batches(), TaskContext())]
    assert place.stored().keys() == {0, 1, 2}
    committer.commit(plan, reports)
    assert place.stored().keys() == {10, 11}


def test_the_version_before_is_kept_and_older_ones_go(place: Place) -> None:
    """keep_versions=1 is the default: the last but one stays for a rollback."""
    for start in (0, 10, 20):
        place.write(vectors(1, start=start), mode="overwrite")
    assert there(place) == {"v2": "ready", "v3": "ready"}
    place.write(vectors(1), mode="overwrite", keep_versions=0)
    assert there(place) == {"v4": "ready"}
    place.write(vectors(1), mode="overwrite", keep_versions=5)
    place.write(vectors(1), mode="overwrite", keep_versions=5)
    assert there(place) == dict.fromkeys(("v4", "v5", "v6"), "ready")


def test_rollback_goes_one_version_back(place: Place) -> None:
    """It returns what the name stands for now; the next overwrite takes a fresh number, and drops what was rolled
    back."""
    for start in (0, 10, 20):
        place.write(vectors(1, start=start), mode="overwrite", keep_versions=2)
    assert back(place).endswith("v2")
    assert place.stored().keys() == {10}
    assert back(place).endswith("v1")
    assert place.stored().keys() == {0}
    with pytest.raises(CollectionError, match=r"there is no earlier version to go back to; option 'keep_versions'"):
        back(place)
    place.write(vectors(1, start=30), mode="overwrite")
    assert there(place) == {"v1": "ready", "v4": "ready"}
    assert back(place).endswith("v1")


def test_a_rollback_needs_something_there(place: Place) -> None:
    """Of a name that was never written to there is no version."""
    with pytest.raises(CollectionError, match=r"there is no "):
        back(place)


def test_of_two_at_once_one_wins_and_the_other_says_so(place: Place) -> None:
    """Both fill versions of their own; the name moves to the one that is first to end, and the other's is dropped by
    the next job."""
    place.write(vectors(1))
    first, second = begun(place, vectors(1, start=10)), begun(place, vectors(1, start=20))
    ended(second, vectors(1, start=20))
    with pytest.raises(
        CollectionError,
        match=r"another job has replaced '.*' meanwhile \(it stands for .*v3 now, not for .*v1 as it did when "
        r"this one began\)",
    ) as told:
        ended(first, vectors(1, start=10))
    committer.abort(first, [], 1, str(told.value))
    assert place.stored().keys() == {20}
    place.write(vectors(1, start=30), mode="overwrite")
    assert there(place) == {"v3": "ready", "v4": "ready"}


def test_of_two_first_ones_at_once_one_wins(place: Place) -> None:
    """Also where there is nothing yet."""
    first, second = begun(place, vectors(1, start=10)), begun(place, vectors(1, start=20))
    ended(first, vectors(1, start=10))
    with pytest.raises(
        CollectionError,
        match=r"another job has replaced '.*' meanwhile \(it stands for .*v1 now, and there was nothing of that name",
    ):
        ended(second, vectors(1, start=20))
    assert place.stored().keys() == {10}


@pytest.mark.parametrize(
    ("method", "kind"),
    [("Collections/Delete", "applied_then_unavailable"), ("Collections/UpdateAliases", "unavailable")],
)
def test_a_hiccup_while_a_plain_collection_is_replaced(fake_server: FakeServer, method: str, kind: str) -> None:
    """Between its drop and the alias nothing but the new version is left: the step is done again, and no job is taken
    for another one."""
    place = server_place(fake_server, "articles", vector_column="v")
    place.write(vectors(5), versioned=False)
    plan = begun(place, vectors(3, start=10), replace_collection=True)
    fake_server.fault(method, kind)
    assert ended(plan, vectors(3, start=10)).stored_points == 3
    assert (there(place), place.stored().keys()) == ({"v1": "ready"}, {10, 11, 12})


def test_a_job_that_fails_in_that_gap_leaves_its_version(fake_server: FakeServer) -> None:
    """And says how to let it serve: it is all that is left."""
    place = server_place(fake_server, "articles", vector_column="v", retry_max_seconds=0)
    place.write(vectors(5), versioned=False)
    plan = begun(place, vectors(3, start=10), replace_collection=True)
    fake_server.fault("Collections/UpdateAliases", "unavailable", times=None)
    with pytest.raises(PermanentStoreError):
        ended(plan, vectors(3, start=10))
    fake_server.clear_faults()
    error = committer.abort(plan, [], None, "no answer").error
    assert error == (
        "no answer; the plain collection 'articles' is dropped already, and its new version is whole: "
        "rollback('articles') lets that one serve"
    )
    assert back(place) == "articles__v1"
    assert place.stored().keys() == {10, 11, 12}


def test_a_job_that_fails_behind_the_move_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name stands for its version by then."""
    place.write(vectors(1))
    plan = begun(place, vectors(2, start=10))
    ended(plan, vectors(2, start=10))
    error = committer.abort(plan, [], None, "killed").error
    assert error == f"killed; '{plan.target and plan.target.name}' stands for the new version already"
    assert place.stored().keys() == {10, 11}


@pytest.mark.parametrize("server", ["fake_server", pytest.param("qdrant_server", marks=pytest.mark.qdrant)])
def test_a_collection_whose_name_looks_like_a_version(request: pytest.FixtureRequest, server: str) -> None:
    """`articles__v2` that is a collection of its own is none of `articles`: it is neither written to nor dropped."""
    place = server_place(request.getfixturevalue(server), vector_column="v")
    other = Place({**place.options, "path": f"{place.options['path']}__v2", "versioned": False})
    other.write(vectors(5))
    place.write(vectors(1, start=10))
    for start in (20, 30, 40):
        place.write(vectors(1, start=start), mode="overwrite", keep_versions=0)
    assert (place.stored().keys(), other.stored().keys()) == ({40}, set(range(5)))


def test_an_append_beside_an_overwrite_says_that_its_rows_are_gone(place: Place) -> None:
    """What it wrote went to a version that no longer serves."""
    place.write(vectors(1))
    append = begun(place, vectors(1, start=5), mode="append")
    place.write(vectors(1, start=10), mode="overwrite")
    with pytest.raises(
        CollectionError,
        match=r"was replaced while this job wrote to the version before \(it stands for .*v2 now, not for .*v1\); run "
        r"the job again",
    ):
        ended(append, vectors(1, start=5))
    assert place.stored().keys() == {10}


def test_an_append_before_the_first_overwrite_has_ended(place: Place) -> None:
    """It does not write into the version that the overwrite fills; the overwrite comes too late then."""
    overwrite = begun(place, vectors(1, start=10))
    place.write(vectors(1))
    assert place.stored().keys() == {0}
    with pytest.raises(CollectionError, match=r"another job has replaced"):
        ended(overwrite, vectors(1, start=10))
    assert place.stored().keys() == {0}


def test_a_failed_job_leaves_the_old_version_serving(place: Place) -> None:
    """Its own version goes with the next overwrite."""
    place.write(vectors(2))
    plan = begun(place, vectors(3, start=10))
    partition_writer.write_partition(plan, vectors(3, start=10).to_batches(), TaskContext())
    report = committer.abort(plan, [], 2, "a task failed")
    assert (report.error or "").endswith("is as it was; run the job again")
    assert place.stored().keys() == {0, 1}
    place.write(vectors(1, start=20), mode="overwrite")
    left = there(place)
    assert len(left) == 2
    assert set(left.values()) == {"ready"}


def test_a_version_that_a_living_job_fills_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another overwrite drops it only when its job has given no sign of life for an hour."""
    place.write(vectors(1))
    plan = begun(place, vectors(1, start=10))
    number = "v2"
    place.write(vectors(1, start=20), mode="overwrite")
    assert there(place)[number] == "loading"
    monkeypatch.setattr(collection_versions, "STALE_SECONDS", -1.0)
    place.write(vectors(1, start=30), mode="overwrite")
    assert number not in there(place)
    with pytest.raises(Exception, match=r"run the job again|cannot be read"):
        ended(plan, vectors(1, start=10))


def test_points_that_are_missing_keep_the_name_where_it_is(place: Place) -> None:
    """A task that says it wrote more than is there: every id distinct, or fewer; none, or more than written, is an
    error."""
    place.write(vectors(1))
    plan = begun(place, vectors(2, start=10))
    report = partition_writer.write_partition(plan, vectors(2, start=10).to_batches(), TaskContext())
    report.points = 1
    with pytest.raises(
        IncompleteError,
        match=r"holds 2 points, and the tasks that counted have written 1: another attempt of a task has "
        r"read other rows",
    ):
        committer.commit(plan, [report])
    assert place.stored().keys() == {0}


def test_keys_that_come_twice_are_said(place: Place) -> None:
    """One key in two partitions is one point; the report says that there are fewer points than were written."""
    report = place.write(vectors(3), vectors(2, start=2), mode="overwrite")
    assert report.warnings == [
        "5 points were written and 4 are there: 1 times a key came again, in another window or partition"
    ]


def test_an_empty_table_empties_the_collection_and_says_so(place: Place) -> None:
    """As it does with tables; the version before is there for a rollback."""
    place.write(vectors(2))
    report = place.write(vectors(0), mode="overwrite")
    assert place.stored() == {}
    assert report.warnings == [
        f"there were no rows, so '{report.collection}' is empty now; rollback() brings the version before back"
    ]


def test_rows_of_which_none_becomes_a_point_replace_nothing(place: Place, tmp_path: Path) -> None:
    """A table whose every row is rejected is no new version."""
    place.write(vectors(1))
    rows = vectors(2).set_column(0, "id", pa.array([None, None], pa.int64()))
    with pytest.raises(IncompleteError, match=r"none of 2 rows became a point"):
        place.write(rows, mode="overwrite", rejects_path=str(tmp_path / "rejects"))
    assert place.stored().keys() == {0}


def test_another_shape_of_vectors_replaces_the_old_one(place: Place) -> None:
    """Neither the length nor the model nor the distance of the old version stands in the way."""
    place.write(vectors(3))
    wide = pa.table({"id": [1], "v": pa.array([[1.0, 0.0, 0.0]], pa.list_(pa.float32(), 3))})
    place.write(wide, mode="overwrite", distance="dot")
    assert [hit.id for hit in place.nearest([1.0, 0.0, 0.0])] == [1]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("unchanged", "skip"),
        ("existing", "merge"),
        ("delete_missing", "true"),
        ("versioned", "false"),
        ("create_collection", "false"),
        ("adopt_collection", "true"),
    ],
)
def test_options_that_say_nothing_are_refused(place: Place, option: str, value: str) -> None:
    """Each names itself, and the mode that does not know it."""
    if "url" not in place.options and option in ("versioned", "adopt_collection"):
        pytest.skip("an option of servers only")
    more = {"source": "t"} if option == "delete_missing" else {}
    with pytest.raises(OptionError, match=rf"option '{option}' = '{value}' has no effect with mode\('overwrite'\)"):
        planning.plan({**place.options, option: value, **more}, vectors(1).schema, "overwrite")


def test_a_change_feed_is_no_full_table(place: Place) -> None:
    """Its deletes and preimages would be no rows of the new version."""
    with pytest.raises(OptionError, match=r"option 'op_column' and mode\('overwrite'\) exclude each other"):
        planning.plan({**place.options, "op_column": "op"}, vectors(1, op=["insert"]).schema, "overwrite")


def test_the_plan_says_what_will_happen(place: Place) -> None:
    """The steps stand in the plan that `check` prints, and nothing is changed by it."""
    place.write(vectors(1))
    text = str(planning.check(place.options, vectors(1).schema, mode="overwrite"))
    assert "count and look at what was written" in text
    assert "v2" in text
    assert there(place) == {"v1": "ready"}


def test_what_fails_after_the_alias_has_moved_is_a_warning(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new version serves by then: an error would say that the old one does, and have the rejected rows made visible
    twice."""
    place = server_place(fake_server, vector_column="v")
    place.write(vectors(2))
    note = Versions._note

    def refusing(self: Versions, physical: str, state: str, **more: Any) -> None:
        if state == READY and physical.endswith("__v2"):
            raise CollectionError("no more notes today")
        note(self, physical, state, **more)

    monkeypatch.setattr(Versions, "_note", refusing)
    report = place.write(vectors(3), mode="overwrite")
    assert [warning for warning in report.warnings if "no more notes today" in warning]
    assert len(place.stored()) == 3
    monkeypatch.undo()
    place.write(vectors(4), mode="overwrite")
    assert there(place) == {"v2": READY, "v3": READY}
