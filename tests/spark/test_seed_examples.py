"""The examples that stand in the place of the guides: every row counted, every type as it was."""

from __future__ import annotations

import re

import pytest

from tests.spark.conftest import Show

pytestmark = pytest.mark.spark


def test_a_column_of_vectors_loses_no_row(shown: Show) -> None:
    """Neither on the way into the table nor from there into the store, which encodes nothing."""
    said = shown("seed_column")
    assert "checked: 99 rows in, 99 vectors of 384 numbers out" in said
    assert "into the store: 99 rows read, 99 written, 0 tokens encoded" in said
    assert "checked: 99 rows in, 99 points out" in said


def test_steps_around_a_model_of_ones_own(shown: Show) -> None:
    """Rows are dropped before and behind it, and what is left has the types that it had."""
    said = shown("seed_model_per_gpu")
    assert "id int, shelf string, tags array<string>, published timestamp, stars double, vector array<float>" in said
    assert re.findall(r"^\|(\d) +\|(\w+)", said, re.MULTILINE) == [("1", "baking"), ("2", "cycling"), ("5", "baking")]
    assert "checked: types and values are kept" in said
