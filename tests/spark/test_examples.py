"""The examples: what they print, where they are run as they stand.

They run in the Spark of the tests, whose workers have the model already; `make demo`'s, and those that need a Spark of
their own, in a process of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.spark.conftest import HANGS_AFTER, OWN_SPARK, ROOT, Show
from tests.spark.places import HAS_DATA_SOURCES, NO_DATA_SOURCES

pytestmark = pytest.mark.spark


def alone(name: str, folder: Path, *arguments: str, **environment: str) -> str:
    """What an example prints that is run in a process and a folder of its own."""
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments]
    inherited = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **environment}
    done = subprocess.run(
        command, cwd=folder, env=inherited, capture_output=True, text=True, timeout=HANGS_AFTER, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.skipif(not HAS_DATA_SOURCES, reason=NO_DATA_SOURCES)
@OWN_SPARK
def test_the_demo_asks_its_questions(tmp_path: Path) -> None:
    """`make demo`: each question's best answer is the documentation that a reader would look for."""
    answers = [
        block.splitlines()[1].split()[1] for block in alone("quickstart", tmp_path, QDRANT_URL="").split("\n\n")[1:4]
    ]
    assert [answer.partition(".")[0] for answer in answers] == ["csv", "subprocess", "threading"]


def test_a_change_feed_that_comes_late_and_twice(shown: Show) -> None:
    """Ends in the documents of the last commits, without the deleted one."""
    said = shown("change_feed")
    lines = [line.partition(": ") for line in said.splitlines()]
    assert "the first commits: 3 written" in said
    assert "one day later: 1 written, 1 deleted, 1 ignored" in said
    assert "both overtaken: 2 older" in said
    assert [(head.strip(), text[:13]) for head, _, text in lines if head.startswith("  ")] == [
        ("1, of commit 5", "Sourdough bre"),
        ("3, of commit 2", "Tomato plants"),
    ]


def test_rejects_that_are_mended(shown: Show) -> None:
    """Are in the store at the second time."""
    said = shown("fix_rejects")
    assert "1 of 4 rows were written, 3 rejected" in said
    assert re.findall(r"^  (\d): ([\w ]+):", said, re.MULTILINE) == [
        ("2", "blank text"),
        ("3", "blank text"),
        ("4", "payload value"),
    ]
    assert "mended, 3 of 3 rows were written, 0 rejected" in said


def test_a_load_each_night(shown: Show) -> None:
    """Writes what changed, and deletes what is gone."""
    said = [line.split(" s: ")[1] for line in shown("nightly").splitlines() if " s: " in line]
    assert said == [
        "300 written, 0 unchanged, 0 deleted",
        "1 written, 289 unchanged, 10 deleted",
        "0 written, 290 unchanged, 0 deleted",
    ]
