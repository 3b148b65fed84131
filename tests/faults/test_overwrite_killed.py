"""An overwrite of an embedded store that is killed between any two of its steps. For a server:
tests/integration/test_real_overwrite.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_vector_sink import rollback
from spark_vector_sink.store import collection_versions
from tests.jobs import Place
from tests.killed import STEPS_EMBEDDED, edition, killed_at


def editions(place: Place) -> set[int]:
    return {payload["edition"] for payload in place.stored().values()}


@pytest.mark.parametrize("step", STEPS_EMBEDDED)
def test_killed_between_two_steps_on_an_embedded_store(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a server; nothing of the version that was half made stays."""
    place = Place({"path": str(tmp_path / "store"), "vector_column": "v"})
    place.write(edition(0))
    assert killed_at(place, step) == -9
    serves = STEPS_EMBEDDED[step]
    assert len(place.stored()) == 200 + serves
    assert editions(place) == {serves}
    monkeypatch.setattr(collection_versions, "STALE_SECONDS", -1.0)
    place.write(edition(2), mode="overwrite")
    assert editions(place) == {2}
    kept = sorted(path.name for path in (tmp_path / "store").iterdir() if "v" in path.name)
    assert len(kept) == 2, kept
    rollback(str(tmp_path / "store"))
    assert editions(place) == {serves}
