"""What a model's files tell without being loaded is what the loaded model says, or nothing, for every kind of model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spark_vector_sink.encode import model_config
from spark_vector_sink.encode.model_config import ModelSettings
from tests import models

ROOT = Path(__file__).parents[2]
ALL_KINDS = [*models.KINDS, *models.SPARSE_KINDS]

Folder = Callable[[str], Path]


def _loaded(folder: Path, kind: str) -> Any:
    """The model as its own library loads it."""
    from sentence_transformers import SentenceTransformer, SparseEncoder

    return (SparseEncoder if kind in models.SPARSE_KINDS else SentenceTransformer)(str(folder), device="cpu")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_files_tell_what_the_loaded_model_is(model_of: Folder, kind: str) -> None:
    """Each fact, before anything is loaded: the length of its vectors, whether it is of the other class, and its
    prompts (the library adds empty ones for what the file leaves out)."""
    told, model = model_config.read(model_of(kind)), _loaded(model_of(kind), kind)
    vectors = model.encode_document(
        ["dog", "a vector database stores points"], show_progress_bar=False, convert_to_tensor=True
    )
    assert ModelSettings(
        **{**vars(told), "prompts": {name: text for name, text in told.prompts.items() if text}}
    ) == ModelSettings(
        dimension=vectors.shape[1],
        sparse=kind in models.SPARSE_KINDS,
        prompts={name: text for name, text in model.prompts.items() if text},
    )
    assert told.dimension == model.get_embedding_dimension()  # of a sparse model it knows it only after the first text


def test_nothing_is_imported_for_it(model_of: Folder) -> None:
    """Not for any kind: the driver may have no torch."""
    folders = [str(model_of(kind)) for kind in ALL_KINDS]
    script = (
        "import sys; from spark_vector_sink.encode import model_files; print(*(model_files.read(one, None).dimension "
        f"for one in {folders!r})); "
        "print({'torch', 'transformers', 'sentence_transformers', 'safetensors', 'tokenizers', 'huggingface_hub'} & "
        "set(sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert "None" not in printed[0]
    assert printed[1] == "set()"
