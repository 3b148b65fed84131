"""The example that trains an encoder and moves its collection to it."""

from __future__ import annotations

import re

import pytest

from tests.spark.conftest import Show

pytestmark = [pytest.mark.spark, pytest.mark.model]


def test_a_tuned_encoder_finds_more(shown: Show) -> None:
    """Two processes train it, the collection goes over to it whole, and questions it was not trained with find their
    documents better than before."""
    said = shown("seed_fine_tune")
    before, after = (float(number) for number in re.findall(r"mean reciprocal rank ([\d.]+)", said))
    assert "trained on 320 pairs by 2 processes" in said
    assert "200 documents were encoded again" in said
    assert before + 0.02 < after < 1
