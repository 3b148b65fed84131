"""docs/guides.md: its numbers are those of the benchmarks, and the loop that it warns of does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import RESULTS, marks

PAGE = (Path(__file__).parents[2] / "docs" / "guides.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if re.match(r"\| [a-e]\.", line)
]


def test_there_are_five_guides() -> None:
    """Each has its row and its section."""
    assert [row[0][0] for row in ROWS] == re.findall(r"^## ([a-e])\.", PAGE, re.MULTILINE) == list("abcde")


def test_lines_of_code_are_the_counted_ones() -> None:
    """Of the guides' ways and of the sink, wherever a number stands."""
    pytest.importorskip("pyspark")
    from benchmarks import lines

    counted = lines.of_arms()
    assert [int(row[2]) for row in ROWS] == [counted[row[1].strip("`")] for row in ROWS]
    assert {row[4] for row in ROWS} <= {str(counted["sink"]), "…"}


@pytest.mark.skipif(not RESULTS.exists(), reason="nothing has been measured yet")
def test_rows_a_second_are_the_measured_ones() -> None:
    """The medians that stand in RESULTS.md now."""
    first, last = marks("patterns")
    section = RESULTS.read_text(encoding="utf-8").partition(first)[2].partition(last)[0]
    measured = dict(re.findall(r"^\| `([^`]+)` \| ([\d.,]+) \(", section, re.MULTILINE))
    assert [row[3] for row in ROWS] == [measured[row[1].strip("`")] for row in ROWS]
    assert {row[5] for row in ROWS} <= {f"{measured['sink']} ({measured['sink, float32']})", "…"}


def test_the_loop_of_the_guide_loses_rows() -> None:
    """As many as the page says; the corrected one loses none."""
    listing: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], listing)
    kept = {
        name: sum(map(len, listing[name](iter(range(1000)), 32))) for name in ("as_the_guide_writes_it", "corrected")
    }
    assert kept == {"as_the_guide_writes_it": 224, "corrected": 1000}
    assert "Of a partition of 1,000 rows, in batches of 32, the first gives 224." in PAGE
