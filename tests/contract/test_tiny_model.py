"""The tiny model: the same everywhere, small, and a model like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import tiny_model as tiny

ROOT = Path(__file__).parents[2]


def test_two_processes_build_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    """Neither the hash seed nor the process leaves a trace in any file: one is built here, the other elsewhere."""
    other = tmp_path / "other"
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, "-m", "tests.tiny_model", str(other)],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )
    assert _contents(other) == _contents(tiny_model)
    assert sum(map(len, _contents(tiny_model).values())) < 1_000_000


def test_it_encodes_like_any_model(tiny_model: Path) -> None:
    """It loads from its folder, normalises, cuts at 64 tokens and tells questions from documents."""
    import numpy as np
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_model), device="cpu")
    vectors = model.encode(["a vector database", "word " * 100, "word " * 200])
    assert vectors.shape == (3, tiny.DIMENSION)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(vectors[1], vectors[2])
    assert model.max_seq_length == tiny.MAX_TOKENS
    assert model.prompts == tiny.PROMPTS


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
