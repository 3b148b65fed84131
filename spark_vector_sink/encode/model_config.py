"""What a model's small files say of it: how long its vectors are, how much it reads, whether it normalises. Nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
"""Switches of a Pooling module before it had `pooling_mode`, in the order in which it joins their vectors."""
POSITIONS_AFTER_PADDING = {
    "camembert", "data2vec-text", "ibert", "lilt", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta",
    "xlm-roberta-xl", "xmod",
}  # fmt: skip
"""Architectures whose first token has the position after the padding token's number, so that some positions are never used."""
SPARSE = {"MLMTransformer", "SparseAutoEncoder", "SparseStaticEmbedding", "SpladePooling"}
UNLIMITED = 10**9
"""A tokenizer without a limit tells one beyond this."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What the files say of a model; None where they do not tell."""

    dimension: int | None
    """length of a vector; of a sparse model, how many indices there are"""
    max_tokens: int | None
    """tokens that are read of a document at most, its prompt and special tokens included"""
    normalizes: bool | None
    """whether vectors get length 1; None where the last module is not one of Sentence Transformers"""
    pooling: str | None
    """how one vector is made of those of the tokens: `mean`, `cls`, `lasttoken`, …, or several as in `cls+mean`"""
    sparse: bool
    """whether it is a model of SparseEncoder, whose vectors are indices and values"""
    prompts: dict[str, str]
    """what is put before texts, by names such as `query` and `document`"""


def read(folder: Path) -> ModelSettings:
    """What the files in `folder` say. Raises EncodingError in one line that names the file where one is damaged or missing."""
    own = mapping(folder, "config_sentence_transformers.json") or {}
    prompts = own.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise damaged("config_sentence_transformers.json", "its prompts are no JSON object")
    steps = modules(folder)
    return ModelSettings(
        dimension=_dimension(folder, steps),
        max_tokens=_max_tokens(folder, steps[0]) if steps else None,
        normalizes=_normalizes(steps[-1]) if steps else None,
        pooling=next(("+".join(_modes(step)) for step in reversed(steps) if step.kind == "Pooling"), None),
        sparse=own.get("model_type") == "SparseEncoder" or any(step.kind in SPARSE for step in steps),
        prompts={str(name): text if isinstance(text, str) else "" for name, text in prompts.items()},
    )


def _dimension(folder: Path, steps: list[Module]) -> int | None:
    """The length of what the last module that changes it puts out."""
    last = next((step for step in reversed(steps) if step.kind not in ("Dropout", "Normalize")), None)
    if last is None:
        return None
    if last.kind == "Pooling":
        size = positive(last.config.get("embedding_dimension")) or positive(last.config.get("word_embedding_dimension"))
        return size and size * len(_modes(last))
    if last.kind == "SpladePooling":  # it has a number for each word that the language model before it knows
        return positive(last.config.get("embedding_dimension")) or positive(steps[0].config.get("vocab_size"))
    if last.kind in TRANSFORMERS:
        return hidden_size(last)
    weights = {"StaticEmbedding": ("embedding.weight", "embeddings"), "WordEmbeddings": ("emb_layer.weight",), "SparseStaticEmbedding": ("weight",)}
    if last.kind in weights:
        sizes = shape(folder, within(last.path, "model.safetensors"), weights[last.kind])
        return sizes[-1] if sizes else None
    names = {"CLIPModel": "projection_dim", "Dense": "out_features", "LayerNorm": "dimension", "SparseAutoEncoder": "hidden_dim"}
    return positive(last.config.get(names[last.kind])) if last.kind in names else None


def _modes(pooling: Module) -> list[str]:
    """How the vectors of tokens become one; several are joined."""
    told = pooling.config.get("pooling_mode")
    if isinstance(told, str):
        return [told]
    if isinstance(told, list) and told:
        return [str(mode) for mode in told]
    return [mode for switch, mode in OLD_POOLING_MODES.items() if pooling.config.get(switch)] or ["mean"]


def _normalizes(last: Module) -> bool | None:
    if "." in last.kind:
        return None
    return last.kind == "Normalize" and last.config.get("module_output_name") in (None, "sentence_embedding")


def _max_tokens(folder: Path, first: Module) -> int | None:
    """What the first module, which reads the text, is limited to."""
    if first.kind == "StaticEmbedding":
        truncation = _part(mapping(folder, within(first.path, "tokenizer.json")), "truncation")
        return positive(truncation.get("max_length"))
    if first.kind == "WordEmbeddings":
        return positive((mapping(folder, within(first.path, "wordembedding_config.json")) or {}).get("max_seq_length"))
    tokenizer = (mapping(folder, within(first.path, "tokenizer_config.json")) or {}).get("model_max_length")
    if first.kind not in TRANSFORMERS:
        return _limit(tokenizer) if first.kind == "SparseStaticEmbedding" else None
    told = [
        _part(_part(first.settings, "processing_kwargs"), "text").get("max_length"),
        first.settings.get("document_length"),
        *(_part(first.settings, name).get("model_max_length") for name in ("processor_kwargs", "tokenizer_args")),
        first.settings.get("max_seq_length"),
        tokenizer,
    ]  # each takes the place of those after it
    limits = [next((limit for value in told if (limit := _limit(value))), None), _positions(first.config)]
    return min((limit for limit in limits if limit), default=None)


def _positions(config: dict[str, Any]) -> int | None:
    """Tokens that an architecture has positions for, where it counts them. T5 tells `n_positions` too, and does not."""
    count = positive(config.get("max_position_embeddings")) or (positive(config.get("n_positions")) if "n_embd" in config else None)
    if count and str(config.get("model_type")) in POSITIONS_AFTER_PADDING:
        padding = config.get("pad_token_id")
        return positive(count - 1 - (padding if isinstance(padding, int) else 1))
    return count


def _limit(value: Any) -> int | None:
    limit = positive(value)
    return limit if limit and limit < UNLIMITED else None


def _part(settings: Any, name: str) -> dict[str, Any]:
    part = settings.get(name) if isinstance(settings, dict) else None
    return part if isinstance(part, dict) else {}
