"""What a model's files tell without being loaded is what the loaded model says, or nothing, for every kind of model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spark_vector_sink.encode import model_files
from spark_vector_sink.encode.model_files import ModelFiles
from tests import models

ROOT = Path(__file__).parents[2]
ALL_KINDS = [*models.KINDS, *models.SPARSE_KINDS]
WITHOUT_LIMIT = {"static"}
"""Kinds that read texts of any length."""

LONG = "dog " * 2000

Folder = Callable[[str], Path]


@pytest.fixture(params=ALL_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def files(model_of: Folder, kind: str) -> ModelFiles:
    return model_files.read(str(model_of(kind)), None)


@pytest.fixture
def model(model_of: Folder, kind: str) -> Any:
    """The model as its own library loads it."""
    from sentence_transformers import SentenceTransformer, SparseEncoder

    return (SparseEncoder if kind in models.SPARSE_KINDS else SentenceTransformer)(str(model_of(kind)), device="cpu")


def _route(model: Any) -> Any:
    """The modules that a document goes through."""
    return model[0].sub_modules["document"] if type(model[0]).__name__ == "Router" else model


def test_the_dimension_is_that_of_the_vectors(files: ModelFiles, model: Any) -> None:
    """And what the library says it is; a sparse model knows it only after the first text."""
    vector = model.encode_document(["dog"], show_progress_bar=False)[0]
    assert files.dimension == vector.shape[0] == model.get_embedding_dimension()


def test_the_limit_is_what_reaches_the_model(files: ModelFiles, model: Any, kind: str) -> None:
    """Of a text that is longer than any limit, just so many tokens are read; None is no limit."""
    features = model.preprocess([LONG], task="document")
    read = int(features["attention_mask"].sum()) if "attention_mask" in features else len(features["input_ids"])
    assert (files.max_tokens is None) == (kind in WITHOUT_LIMIT)
    assert read == (files.max_tokens or 2000)


def test_the_limit_is_what_the_library_says(files: ModelFiles, model: Any) -> None:
    """Where it says one, and has none for documents alone."""
    first = _route(model)[0]
    said = getattr(first, "document_length", None) or first.max_seq_length
    assert files.max_tokens == said or said == float("inf")


def test_normalised_vectors_have_length_one(files: ModelFiles, model: Any, kind: str) -> None:
    """And the others do not, so whoever reads the files knows whether they do."""
    assert files.normalizes == (type(_route(model)[-1]).__name__ == "Normalize")
    if kind not in models.SPARSE_KINDS:
        vectors = model.encode_document(["dog", "a vector database stores points"], show_progress_bar=False, convert_to_numpy=True)
        assert bool(np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)) == files.normalizes


def test_the_pooling_is_the_models(files: ModelFiles, model: Any) -> None:
    """As its module says; none where there is none."""
    told = [module.pooling_mode for module in _route(model) if type(module).__name__ == "Pooling"]
    assert files.pooling == next((mode if isinstance(mode, str) else "+".join(mode) for mode in told), None)


def test_a_sparse_model_is_known_as_one(files: ModelFiles, kind: str) -> None:
    """Before anything is loaded by the wrong class."""
    assert files.sparse == (kind in models.SPARSE_KINDS)


def test_prompts_are_the_models(files: ModelFiles, model: Any) -> None:
    """The library adds empty ones for what the file leaves out."""
    assert {name: text for name, text in files.prompts.items() if text} == {name: text for name, text in model.prompts.items() if text}


def test_nothing_is_imported_for_it(model_of: Folder) -> None:
    """Not for any kind: the driver may have no torch."""
    folders = [str(model_of(kind)) for kind in ALL_KINDS]
    script = (
        f"import sys; from spark_vector_sink.encode import model_files; print(*(model_files.read(one, None).dimension for one in {folders!r})); "
        "print({'torch', 'transformers', 'sentence_transformers', 'safetensors', 'tokenizers', 'huggingface_hub'} & set(sys.modules))"
    )
    printed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    assert "None" not in printed[0]
    assert printed[1] == "set()"
