"""What a fingerprint is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from spark_vector_sink.driver import plan as planning
from spark_vector_sink.encode.encoder import EncoderSpec
from spark_vector_sink.task.fingerprint import Fingerprints, what_decides

DENSE = EncoderSpec("dense@1 prompt='one + two + '", "dense")
SPARSE = EncoderSpec("sparse@2", "sparse", is_sparse=True)


@pytest.mark.parametrize(
    ("encoder", "half"),
    [
        (DENSE, "7zap_bPTL7fpXCHf"),
        (SPARSE, "4dym0my3mSaSZbuH"),
        (replace(DENSE, sparse=SPARSE), "Qu6pIacJ9bfkJh-F"),
        (None, "o0MivowzhHRFfOlh"),
    ],
    ids=["dense", "sparse", "both", "ready-made"],
)
def test_fingerprints_stay_what_they_were(tmp_path: Path, encoder: EncoderSpec | None, half: str) -> None:
    """Another fingerprint of the same text and model would encode every document of every collection once more."""
    schema = pa.schema({"id": pa.string(), "text": pa.string()})
    plan = replace(planning.plan({"path": str(tmp_path), "encoder": "tests.fakes:Four"}, schema), encoder=encoder)
    made = Fingerprints(*what_decides(plan)).of_new_vector("read a file", "0" * 32)
    assert made == half + "0" * 16
