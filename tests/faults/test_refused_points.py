"""Points that a server refuses: found by halving, named, and the others written; and when it is not the points, the job
ends at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from spark_vector_sink.errors import BadRowError, PermanentStoreError
from tests.fake_server import FakeServer
from tests.jobs import Place, server_place, vectors

ROWS = 200


@pytest.fixture
def place(fake_server: FakeServer) -> Place:
    return server_place(fake_server, "articles", vector_column="v", batch_points=64, window_rows=100, max_in_flight=2)


def rejecting(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"rejects_path": str(tmp_path / "rejects"), **more}


def poisoned(server: FakeServer, *ids: int, **more: Any) -> None:
    server.fault("Points/Upsert", "invalid", times=None, ids=list(ids), **more)


@pytest.mark.parametrize("ids", [[0], [199], [17, 18], [3, 40, 130, 131, 199]], ids=str)
def test_refused_points_are_rejected_and_all_others_written(
    place: Place, fake_server: FakeServer, tmp_path: Path, ids: list[int]
) -> None:
    """Wherever they are, also two in one request; each is a reject with its key and the server's words, and the counts
    add up."""
    poisoned(fake_server, *ids)
    report = place.write(vectors(ROWS), **rejecting(tmp_path))
    assert (report.rows, report.written, report.points, report.rejected) == (
        ROWS,
        ROWS - len(ids),
        ROWS - len(ids),
        len(ids),
    )
    assert fake_server.points("articles").keys() == set(range(ROWS)) - set(ids)
    rejects = pq.read_table(tmp_path / "rejects").to_pylist()
    assert sorted(row["id"] for row in rejects) == ids
    for row in rejects:
        assert (row["_reject_key"], row["_reject_reason"]) == (str(row["id"]), "refused by the store")
        assert f"the row with key '{row['id']}' cannot be written: upsert to 'articles__v1'" in row["_reject_message"]
        assert "INVALID_ARGUMENT Wrong input: something is wrong with a point" in row["_reject_message"]


def test_a_refused_point_is_found_in_few_requests(place: Place, fake_server: FakeServer, tmp_path: Path) -> None:
    """Two for each halving: 12 and the first for one of 64 points, beside the 3 other requests of these rows."""
    poisoned(fake_server, 10)
    place.write(vectors(ROWS), **rejecting(tmp_path, window_rows=ROWS))
    assert fake_server.stats().calls["Points/Upsert"] == 3 + 1 + 12


def test_a_refused_point_ends_the_job_that_rejects_nothing(place: Place, fake_server: FakeServer) -> None:
    """With its key and the server's words in one line; the other points of its request are written."""
    poisoned(fake_server, 10)
    with pytest.raises(
        BadRowError,
        match=r"^the row with key '10' cannot be written: upsert to 'articles__v1' on .*: INVALID_ARGUMENT Wrong input",
    ) as raised:
        place.write(vectors(64))
    assert (raised.value.key, "\n" in str(raised.value)) == ("10", False)
    assert fake_server.points("articles").keys() == set(range(64)) - {10}


def test_a_collection_that_takes_nothing_ends_the_job(place: Place, fake_server: FakeServer, tmp_path: Path) -> None:
    """Where both halves fail alike down to a single point it is not the points: no row is rejected, and the line says
    where to look."""
    fake_server.fault("Points/Upsert", "invalid", times=None)
    said = (
        r"; of 64 points that were sent together none is taken any more: see whether the collection was changed, "
        r"and run the job again$"
    )
    with pytest.raises(PermanentStoreError, match=said):
        place.write(vectors(ROWS), **rejecting(tmp_path, max_in_flight="1"))
    assert fake_server.stats().calls["Points/Upsert"] <= 2 * (1 + 12)
    assert not (tmp_path / "rejects").exists()


def test_a_passing_refusal_is_no_reject(place: Place, fake_server: FakeServer, tmp_path: Path) -> None:
    """Where the halves are taken, all is well."""
    fake_server.fault("Points/Upsert", "invalid", times=1)
    assert place.write(vectors(ROWS), **rejecting(tmp_path)).points == ROWS


def test_trouble_on_the_way_does_not_disturb_the_search(place: Place, fake_server: FakeServer, tmp_path: Path) -> None:
    """A half is sent again like any request."""
    fake_server.fault("Points/Upsert", "invalid", times=3, ids=[5])
    fake_server.fault("Points/Upsert", "applied_then_unavailable", times=2)
    poisoned(fake_server, 5)
    report = place.write(vectors(64), **rejecting(tmp_path))
    assert (report.points, report.rejected, report.retries) == (63, 1, 2)


def test_a_request_of_one_point(place: Place, fake_server: FakeServer, tmp_path: Path) -> None:
    """There is nothing to halve: the point is the one."""
    poisoned(fake_server, 2)
    assert place.write(vectors(4), **rejecting(tmp_path, batch_points="1")).rejected == 1


def test_too_many_refused_points_end_the_job(place: Place, fake_server: FakeServer, tmp_path: Path) -> None:
    """They count for `max_rejects` as all rejects do."""
    poisoned(fake_server, 1, 2, 3)
    with pytest.raises(
        Exception, match=r"3 rows of one partition are rejected, and option 'max_rejects' = '2' allows 2 in all"
    ):
        place.write(vectors(ROWS), **rejecting(tmp_path, max_rejects="2"))
