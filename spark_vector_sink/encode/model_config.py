"""Read from a model's small files how long its vectors are, whether they are sparse, and its prompts. The model is not
loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spark_vector_sink.encode.model_json import damaged, mapping, positive, shape
from spark_vector_sink.encode.model_modules import TRANSFORMERS, Module, hidden_size, modules, within

OLD_POOLING_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Switches of a Pooling module before it had `pooling_mode`, in the order in which the module joins their vectors."""
SPARSE = {"MLMTransformer", "SparseAutoEncoder", "SparseStaticEmbedding", "SpladePooling"}


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Settings of a model from its files; None where the files do not say."""

    dimension: int | None
    """length of a vector; for a sparse model, the count of its indices"""
    sparse: bool
    """True for a model of SparseEncoder, whose vectors are indices and values"""
    prompts: dict[str, str]
    """prompts that are put before texts, by names such as `query` and `document`"""


def read(folder: Path) -> ModelSettings:
    """Read the settings from the files in `folder`. Raises EncodingError, with a message of one line that names the
    file, where a file is damaged or missing."""
    own = mapping(folder, "config_sentence_transformers.json") or {}
    prompts = own.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise damaged("config_sentence_transformers.json", "its prompts are no JSON object")
    steps = modules(folder)
    return ModelSettings(
        dimension=_dimension(folder, steps),
        sparse=own.get("model_type") == "SparseEncoder" or any(step.kind in SPARSE for step in steps),
        prompts={str(name): text if isinstance(text, str) else "" for name, text in prompts.items()},
    )


def _dimension(folder: Path, steps: list[Module]) -> int | None:
    """Return the length of the output of the last module that changes it; None where the files do not say."""
    last = next((step for step in reversed(steps) if step.kind not in ("Dropout", "Normalize")), None)
    if last is None:
        return None
    if last.kind == "Pooling":
        size = positive(last.config.get("embedding_dimension")) or positive(last.config.get("word_embedding_dimension"))
        return size and size * len(_modes(last))
    if last.kind == "SpladePooling":  # one number for each word in the vocabulary of the language model before it
        return positive(last.config.get("embedding_dimension")) or positive(steps[0].config.get("vocab_size"))
    if last.kind in TRANSFORMERS:
        return hidden_size(last)
    weights = {
        "StaticEmbedding": ("embedding.weight", "embeddings"),
        "WordEmbeddings": ("emb_layer.weight",),
        "SparseStaticEmbedding": ("weight",),
    }
    if last.kind in weights:
        sizes = shape(folder, within(last.path, "model.safetensors"), weights[last.kind])
        return sizes[-1] if sizes else None
    names = {
        "CLIPModel": "projection_dim",
        "Dense": "out_features",
        "LayerNorm": "dimension",
        "SparseAutoEncoder": "hidden_dim",
    }
    return positive(last.config.get(names[last.kind])) if last.kind in names else None


def _modes(pooling: Module) -> list[str]:
    """Return the modes by which the vectors of tokens become one vector; the vectors of several modes are joined."""
    told = pooling.config.get("pooling_mode")
    if isinstance(told, str):
        return [told]
    if isinstance(told, list) and told:
        return [str(mode) for mode in told]
    return [mode for switch, mode in OLD_POOLING_MODES.items() if pooling.config.get(switch)] or ["mean"]
