"""A Sentence Transformers model: a window of texts → vectors, and how much of each text it has read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode import device as devices
from spark_vector_sink.encode.encoder import Encoded, EncoderSpec
from spark_vector_sink.encode.token_batches import token_batches
from spark_vector_sink.errors import EncodingError

CHARACTERS_PER_TOKEN = 4
"""For tokenizers that do not count in bulk: lengths only order the texts then, and nothing is said about tokens."""


class SentenceTransformerEncoder:
    """Encodes windows by `encode_document`, in batches of equal token counts, with the model's own prompts and modules."""

    def __init__(self, spec: EncoderSpec, device: str) -> None:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # else every worker draws one in the log
        try:
            model: Any = SentenceTransformer(spec.model, revision=spec.revision, device=device, trust_remote_code=spec.trust_remote_code)
        except Exception as error:
            raise EncodingError(f"the model {spec.model!r} cannot be loaded on this machine: {type(error).__name__}: {_first_line(error)}") from error
        self.identity = spec.identity
        self.device = device
        is_transformer = type(model[0]).__name__ == "Transformer"
        self.dtype = devices.dtype(spec.dtype, device) if is_transformer else "float32"
        if self.dtype != "float32":
            model = model.to(getattr(torch, self.dtype))
        self._model = model.eval()
        self._normalizes = _normalizes(model, spec.normalize)
        self._truncate_dim = spec.truncate_dim
        full = int(_full_dimension(model))
        if spec.truncate_dim and spec.truncate_dim > full:
            raise EncodingError(f"option 'truncate_dim' = {spec.truncate_dim} is more than the model's {full} dimensions")
        self.dimension = spec.truncate_dim or full
        self._budget = devices.token_budget(spec.token_budget, device)
        self._limit = _limit(model, spec.max_tokens)
        self._asked_prompt = spec.prompt
        self._prompt = _document_prompt(model) if spec.prompt is None else spec.prompt
        self._tokenizer = _counting_tokenizer(model)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Vectors in the order of `texts`; float32, of length 1 where the model normalises."""
        begun = time.perf_counter()
        counted = self._count(texts)
        read = np.minimum(counted, self._limit)
        tokenised = time.perf_counter()
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for rows in token_batches(read, self._budget):
            vectors[rows] = self._forward([texts[row] for row in rows])
        tells = self._tokenizer is not None
        zeros = np.zeros(len(texts), np.int64)
        seconds = time.perf_counter() - tokenised
        return Encoded(vectors, read if tells else zeros, counted - read if tells else zeros, tokenised - begun, seconds)

    def encode_query(self, text: str) -> npt.NDArray[np.float32]:
        """The question's vector, with the model's query prompt where it has one."""
        made = self._model.encode_query([text], convert_to_numpy=True, show_progress_bar=False)
        vector: npt.NDArray[np.float32] = self._finished(made)[0]
        return vector

    def _forward(self, texts: list[str]) -> npt.NDArray[np.float32]:
        try:
            made = self._model.encode_document(
                texts, batch_size=len(texts), convert_to_numpy=True, show_progress_bar=False, prompt=self._asked_prompt
            )
        except Exception as error:
            raise EncodingError(f"the model failed on {len(texts)} texts on {self.device}: {type(error).__name__}: {_first_line(error)}") from error
        return self._finished(made)

    def _finished(self, made: Any) -> npt.NDArray[np.float32]:
        """Cut, and normalised again in float32: in bfloat16 lengths come out up to 0.4 % off, and a cut vector is shorter."""
        vectors = np.asarray(made, dtype=np.float32)[:, : self.dimension]
        if not self._normalizes:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        made_again: npt.NDArray[np.float32] = np.divide(vectors, lengths, where=lengths > 0, out=np.zeros_like(vectors))
        return made_again

    def _count(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Tokens of each text, special tokens and prompt included, before anything is cut."""
        prompted = [self._prompt + text for text in texts] if self._prompt else list(texts)
        if self._tokenizer is None:
            return np.array([len(text) // CHARACTERS_PER_TOKEN + 1 for text in prompted], np.int64)
        counted = self._tokenizer.encode_batch_fast(prompted)
        return np.fromiter((len(encoding) for encoding in counted), np.int64, len(prompted))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _full_dimension(model: Any) -> int:
    ask = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
    dimension: int | None = ask()
    if dimension is None:
        raise EncodingError("the model does not tell the length of its vectors")
    return dimension


def _normalizes(model: Any, asked: bool | None) -> bool:
    """Whether vectors get length 1. Asked not to, the model loses its own Normalize module."""
    ends = type(model[-1]).__name__ == "Normalize"
    if asked is False and ends:
        model._modules.popitem()
    return ends if asked is None else asked


def _limit(model: Any, asked: int | None) -> int:
    """Tokens that the model reads of a text; models without a limit say infinity, or nothing."""
    own = model.max_seq_length
    limit = int(own) if own is not None and own < 2**31 else 2**31 - 1
    if asked is None or asked >= limit:
        return limit
    model.max_seq_length = asked
    return asked


def _document_prompt(model: Any) -> str:
    """The prompt that `encode_document` puts before a text by itself, to count its tokens too."""
    prompts = model.prompts or {}
    names = ("document", "passage", "corpus", model.default_prompt_name)
    return str(next((prompts[name] for name in names if name in prompts), ""))


def _counting_tokenizer(model: Any) -> Any:
    """A copy of the model's Rust tokenizer that neither cuts nor pads; None where there is none. The model's own keeps its state."""
    from tokenizers import Tokenizer

    own = getattr(model, "tokenizer", None)
    rust = own if isinstance(own, Tokenizer) else getattr(own, "backend_tokenizer", None)
    if not isinstance(rust, Tokenizer):
        return None
    copy = Tokenizer.from_str(rust.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy
