"""Encode a window of texts to weights of words, most of them zero, with a sparse model of Sentence Transformers (such
as SPLADE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode.chunker import Chunks
from spark_vector_sink.encode.encoder import Encoded, EncoderSpec, Tokenised
from spark_vector_sink.encode.loaded_model import LoadedModel, Vectors
from spark_vector_sink.encode.token_batches import Rows
from spark_vector_sink.errors import EncodingError
from spark_vector_sink.options import AUTO
from spark_vector_sink.payload_types import SparseVectors

TOKEN_BUDGET = 2048
"""Tokens in one forward pass, on any device: each token gives a number for every word of the vocabulary, 120 kB in
float32."""


class SparseSentenceEncoder(LoadedModel):
    """An encoder that gives the vectors of `SparseEncoder.encode_document`, in batches of equal token counts."""

    dimension = 0

    def __init__(self, spec: EncoderSpec, device: str) -> None:
        try:
            from sentence_transformers import SparseEncoder
        except ImportError as error:
            raise EncodingError("sparse models need sentence-transformers 5 or newer") from error
        super().__init__(
            SparseEncoder, replace(spec, token_budget=TOKEN_BUDGET) if spec.token_budget == AUTO else spec, device
        )

    def _vectors(self, tokenised: Tokenised, failed: dict[int, str]) -> Vectors:
        def forward(rows: Rows) -> Any:
            return self._documents(tokenised, rows, convert_to_sparse_tensor=False, save_to_cpu=True).float().numpy()

        found: list[SparseRow] = [_EMPTY] * len(tokenised.texts)
        for rows, made in self._batches.run(tokenised.tokens.read, forward, failed):
            for row, weights in zip(rows, made, strict=True):
                found[row] = _sparse(weights)
        return np.zeros((len(found), 0), np.float32), _joined(found)

    def encode_query(self, text: str) -> Encoded:
        made = self._model.encode_query(
            [text], show_progress_bar=False, convert_to_sparse_tensor=False, save_to_cpu=True
        )
        zero = np.zeros(1, np.int64)
        return Encoded(np.zeros((1, 0), np.float32), zero, zero, _joined([_sparse(made[0].float().numpy())]))

    def chunk(self, texts: Sequence[str], tokens: int | None, overlap: int) -> Chunks:
        raise EncodingError("option 'long_text' = 'chunk' needs a dense model beside the sparse one")


SparseRow = tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]
"""Indices in the vocabulary, ascending, and their weights"""
_EMPTY: SparseRow = (np.zeros(0, np.uint32), np.zeros(0, np.float32))


def _sparse(weights: npt.NDArray[np.float32]) -> SparseRow:
    places = np.flatnonzero(weights)
    return places.astype(np.uint32), weights[places]


def _joined(rows: Sequence[SparseRow]) -> SparseVectors:
    # the empty row first, so that there is something to join, and the offsets begin with 0
    places, weights = zip(_EMPTY, *rows, strict=True)
    return SparseVectors(
        np.cumsum([len(of_row) for of_row in places], dtype=np.int64), np.concatenate(places), np.concatenate(weights)
    )
