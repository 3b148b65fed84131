"""Build the input of a model's forward pass from token ids, without tokenising again; only where the input is provably
the same.

A model is used this way when all its modules are of the known kinds, and when for some test texts its own preprocessing
gives exactly what is built here. Any other model gets its texts through `encode_document`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode.tokenizer import RustTokenizer

TENSORS = ("input_ids", "attention_mask", "token_type_ids")
PLAIN_MODULES = ("Pooling", "Dense", "Normalize", "Dropout", "LayerNorm")
"""Modules that may follow the Transformer: they see a batch, and not the texts or the kind of task."""
PROBES = (
    "a",
    "  two blanks first",
    "lines at the end \n\n",
    "Is this what the model itself would read? It should be, word by word.",
    "word " * 600,
    "ß 漢字 🙂 x\u0301",
)


class Features:
    """A builder of batches of padded token ids. constants: values that the model needs beside its tensors, the same for
    each batch."""

    def __init__(self, names: Sequence[str], constants: Mapping[str, Any], pad: int, left: bool) -> None:
        self._names, self._constants, self._pad, self._left = tuple(names), dict(constants), pad, left

    def __call__(self, ids: Sequence[npt.NDArray[np.int32]]) -> dict[str, Any]:
        """Return tensors of shape (n, longest) and the constants; on the CPU."""
        import torch

        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        columns = np.arange(lengths.max())
        mask = columns >= (len(columns) - lengths)[:, None] if self._left else columns < lengths[:, None]
        tokens = np.full(mask.shape, self._pad, np.int64)
        tokens[mask] = np.concatenate(ids)
        arrays = {"input_ids": tokens, "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros_like(tokens)}
        return {name: torch.from_numpy(arrays[name]) for name in self._names} | self._constants


def provable(model: Any, tokenizer: Any, prompt: str) -> Features | None:
    """Return a replacement of the model's own preprocessing; None where its result cannot be shown to be the same."""
    import torch

    first, *others = list(model)
    if (
        not isinstance(tokenizer, RustTokenizer)
        or not _is_own(first, ("Transformer",))
        or not all(_is_own(m, PLAIN_MODULES) for m in others)
    ):
        return None
    if prompt and any(not getattr(module, "include_prompt", True) for module in others):
        return None
    if hasattr(model, "preprocess"):
        theirs = model.preprocess(list(PROBES), prompt=prompt or None, task="document")
    else:  # before sentence-transformers 6
        theirs = model.tokenize([prompt + text for text in PROBES])
    names = [name for name, value in theirs.items() if isinstance(value, torch.Tensor)]
    constants = {name: value for name, value in theirs.items() if name not in names}
    if not set(names) <= set(TENSORS) or any(not isinstance(value, str | int | None) for value in constants.values()):
        return None
    own = model.tokenizer
    features = Features(names, constants, own.pad_token_id or 0, own.padding_side == "left")
    ours = features(tokenizer(PROBES).ids or [])
    same = all(ours[name].shape == theirs[name].shape and bool((ours[name] == theirs[name]).all()) for name in names)
    return features if same else None


def _is_own(module: Any, names: Sequence[str]) -> bool:
    """Return whether a module is one of Sentence Transformers' own modules of these names, and not code that comes with
    a model."""
    kind = type(module)
    return kind.__name__ in names and kind.__module__.partition(".")[0] == "sentence_transformers"
