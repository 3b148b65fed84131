"""The example of streams."""

from __future__ import annotations

import re

import pytest

from tests.spark.conftest import Show
from tests.spark.places import SPARK

pytestmark = pytest.mark.spark

STARTS = [
    "the first start wrote the 60 rows of two files",
    "the second start read the 40 rows of the new file only, and 90 documents are there",
    "the third start wrote the last batch again, and 90 documents are there",
]


def test_files_that_arrive(shown: Show) -> None:
    """Are written once by both doors; without native streams the example says so."""
    said = shown("stream_files")
    native = SPARK >= (4, 1)
    assert re.findall(r"^checked: (.*)$", said, re.MULTILINE) == STARTS * (2 if native else 1)
    assert ("\nnative\n" in said, "has no streams of its own" in said) == (native, not native)
