"""A sparse model of Sentence Transformers (SPLADE and its kin): a window of texts → weights of words, most of them zero."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode import arithmetic, memory
from spark_vector_sink.encode import device as devices
from spark_vector_sink.encode.chunks import Chunks
from spark_vector_sink.encode.encoder import Encoded, EncoderSpec, Tokenised
from spark_vector_sink.encode.reading import Reading
from spark_vector_sink.encode.sentence_transformer import load_model
from spark_vector_sink.encode.token_batches import Rows, TokenBatches
from spark_vector_sink.errors import EncodingError
from spark_vector_sink.options import AUTO
from spark_vector_sink.plain import SparseVectors

TOKEN_BUDGET = 2048
"""Tokens in one forward pass, on any device: each gives a number for every word of the vocabulary, 120 kB in float32."""


class SparseSentenceEncoder:
    """Encodes windows as `SparseEncoder.encode_document` would, in batches of equal token counts."""

    dimension = 0

    def __init__(self, spec: EncoderSpec, device: str) -> None:
        try:
            from sentence_transformers import SparseEncoder
        except ImportError as error:
            raise EncodingError("sparse models need sentence-transformers 5 or newer") from error
        model = load_model(SparseEncoder, spec, device)
        self.identity = spec.identity
        self.device = device
        is_transformer = type(model[0]).__name__ in ("MLMTransformer", "Transformer")
        self.dtype = devices.dtype(spec.dtype, device) if is_transformer else "float32"
        if self.dtype != "float32":
            arithmetic.lower(model[0], self.dtype, device)
            memory.give_back(device)
        self._model = model.eval()
        self._asked_prompt = spec.prompt
        self._tokenizer = Reading(model, spec.max_tokens, spec.prompt).tokenizer
        self._batches = TokenBatches(TOKEN_BUDGET if spec.token_budget == AUTO else int(spec.token_budget), device)

    @property
    def token_budget(self) -> int:
        return self._batches.budget

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        begun = time.perf_counter()
        tokens = self._tokenizer(texts)
        return Tokenised(texts, tokens, time.perf_counter() - begun)

    def encode(self, tokenised: Tokenised) -> Encoded:
        begun, halvings = time.perf_counter(), self._batches.halvings
        texts, tokens = tokenised.texts, tokenised.tokens

        def forward(rows: Rows) -> Any:
            batch = [texts[row] for row in rows]
            made = self._model.encode_document(
                batch, batch_size=len(batch), show_progress_bar=False, convert_to_sparse_tensor=False, save_to_cpu=True, prompt=self._asked_prompt
            )
            return made.float().numpy()

        failed: dict[int, str] = {}
        found: list[SparseRow] = [_EMPTY] * len(texts)
        for rows, made in self._batches.run(tokens.read, forward, failed):
            for row, weights in zip(rows, made, strict=True):
                found[row] = _sparse(weights)
        memory.trim()
        zeros = np.zeros(len(texts), np.int64)
        counts = (tokens.read, tokens.cut) if tokens.exact else (zeros, zeros)
        seconds, halvings = time.perf_counter() - begun, self._batches.halvings - halvings
        return Encoded(np.zeros((len(texts), 0), np.float32), *counts, _joined(found), failed, seconds, halvings)

    def encode_query(self, text: str) -> Encoded:
        made = self._model.encode_query([text], show_progress_bar=False, convert_to_sparse_tensor=False, save_to_cpu=True)
        zero = np.zeros(1, np.int64)
        return Encoded(np.zeros((1, 0), np.float32), zero, zero, _joined([_sparse(made[0].float().numpy())]))

    def chunk(self, texts: Sequence[str], tokens: int | None, overlap: int) -> Chunks:
        raise EncodingError("option 'long_text' = 'chunk' needs a dense model beside the sparse one")


SparseRow = tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]
"""Places in the vocabulary, ascending, and their weights"""
_EMPTY: SparseRow = (np.zeros(0, np.uint32), np.zeros(0, np.float32))


def _sparse(weights: npt.NDArray[np.float32]) -> SparseRow:
    places = np.flatnonzero(weights)
    return places.astype(np.uint32), weights[places]


def _joined(rows: Sequence[SparseRow]) -> SparseVectors:
    ends = np.cumsum([0, *(len(places) for places, _ in rows)], dtype=np.int64)
    return SparseVectors(ends, np.concatenate([places for places, _ in rows] or [_EMPTY[0]]), np.concatenate([w for _, w in rows] or [_EMPTY[1]]))
