"""One request that is tried again for minutes, while all others go through."""

from __future__ import annotations

import pytest

from spark_vector_sink.task.point_writer import MOST_WINDOWS, PointWriter
from tests.fake_server import FakeServer
from tests.jobs import server_place, vectors

WINDOWS = 200


def test_windows_that_wait_for_it_are_bounded(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window is kept until all of its points are applied, and those behind it too; so reading waits, and memory does not grow with the outage."""
    held: list[int] = []
    settle = PointWriter._settle

    def settled(self: PointWriter) -> None:
        settle(self)
        held.append(len(self._sent))

    monkeypatch.setattr(PointWriter, "_settle", settled)
    fake_server.fault("Points/Upsert", "internal", times=3, ids=[5])
    report = server_place(fake_server, "articles", vector_column="v").write(vectors(WINDOWS), window_rows=1)
    assert (report.points, report.retries, report.stored_points) == (WINDOWS, 3, WINDOWS)
    assert max(held) == MOST_WINDOWS + 1
