"""The examples, as people run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.spark.conftest import ROOT

pytestmark = pytest.mark.spark


def shown(name: str, folder: Path) -> str:
    """What an example prints, run in an empty folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), str(folder / "made")]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_change_feed_that_comes_late_and_twice(tmp_path: Path) -> None:
    """Ends in the documents of the last commits, without the deleted one."""
    said = shown("change_feed", tmp_path)
    lines = [line.partition(": ") for line in said.splitlines()]
    assert "the first commits: 3 written" in said
    assert "one day later: 1 written, 1 deleted, 1 ignored" in said
    assert "both overtaken: 2 older" in said
    assert [(head.strip(), text[:13]) for head, _, text in lines if head.startswith("  ")] == [
        ("1, of commit 5", "Sourdough bre"),
        ("3, of commit 2", "Tomato plants"),
    ]


def test_rejects_that_are_mended(tmp_path: Path) -> None:
    """Are in the store at the second time."""
    said = shown("fix_rejects", tmp_path)
    assert "1 of 4 rows were written, 3 rejected" in said
    assert re.findall(r"^  (\d): ([\w ]+):", said, re.MULTILINE) == [("2", "blank text"), ("3", "blank text"), ("4", "payload value")]
    assert "mended, 3 of 3 rows were written, 0 rejected; the store holds 4 documents" in said


def test_a_load_each_night(tmp_path: Path) -> None:
    """Writes what changed, and deletes what is gone."""
    said = [line.split(" s: ")[1] for line in shown("nightly", tmp_path).splitlines()]
    assert said == [
        "300 written, 0 unchanged, 0 deleted",
        "1 written, 289 unchanged, 10 deleted",
        "0 written, 290 unchanged, 0 deleted",
    ]
