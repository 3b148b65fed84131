"""One request that is tried again for minutes, while all others go through."""

from __future__ import annotations

from collections.abc import Set

import pytest

from spark_vector_sink.store.qdrant.writer import QdrantStore
from spark_vector_sink.store.write_batch import PointId
from spark_vector_sink.task.point_writer import MOST_WINDOWS, PointWriter
from tests.fake_server import FakeServer
from tests.jobs import server_place, vectors

WINDOWS = 200


def test_windows_that_wait_for_it_are_bounded(fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window is kept until all of its points are applied, and those behind it too; so reading waits, and memory does
    not grow with the outage."""
    held: list[int] = []
    settle = PointWriter._settle

    def settled(self: PointWriter) -> None:
        settle(self)
        held.append(len(self._sent))

    wait_for = QdrantStore.wait_for

    def waited(self: QdrantStore, ids: Set[PointId]) -> None:
        if 5 in ids:
            fake_server.let_one_go(of=1)
        wait_for(self, ids)

    monkeypatch.setattr(PointWriter, "_settle", settled)
    monkeypatch.setattr(QdrantStore, "wait_for", waited)
    fake_server.fault("Points/Upsert", "internal", times=3, ids=[5])
    fake_server.fault("Points/Upsert", "held", ids=[5])  # until reading waits for it
    report = server_place(fake_server, "articles", vector_column="v").write(vectors(WINDOWS), window_rows=1)
    assert (report.points, report.retries, report.stored_points) == (WINDOWS, 3, WINDOWS)
    assert max(held) == MOST_WINDOWS + 1
