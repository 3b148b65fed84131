"""A dense and a sparse model side by side: both vectors of a text in one pass over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spark_vector_sink.encode.chunks import Chunks
from spark_vector_sink.encode.encoder import Encoded, Encoder, Tokenised


class HybridEncoder:
    """Two encoders as one. A text counts as cut where either model has not read all of it; tokens are those of both."""

    def __init__(self, dense: Encoder, sparse: Encoder) -> None:
        self._dense, self._sparse = dense, sparse
        self.dimension = dense.dimension
        self.identity = f"{dense.identity} + {sparse.identity}"
        self.device, self.dtype = dense.device, dense.dtype

    @property
    def token_budget(self) -> int:
        return self._dense.token_budget

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        first, second = self._dense.tokenise(texts), self._sparse.tokenise(texts)
        return replace(first, seconds=first.seconds + second.seconds, second=second)

    def encode(self, tokenised: Tokenised) -> Encoded:
        if tokenised.second is None:
            raise ValueError("texts for two models must be tokenised by both")
        return _together(self._dense.encode(tokenised), self._sparse.encode(tokenised.second))

    def encode_query(self, text: str) -> Encoded:
        return _together(self._dense.encode_query(text), self._sparse.encode_query(text))

    def chunk(self, texts: Sequence[str], tokens: int | None, overlap: int) -> Chunks:
        return self._dense.chunk(texts, tokens, overlap)


def _together(dense: Encoded, sparse: Encoded) -> Encoded:
    return Encoded(
        dense.vectors, dense.tokens + sparse.tokens, np.maximum(dense.cut, sparse.cut), sparse.sparse, {**sparse.failed, **dense.failed},
        dense.seconds + sparse.seconds,
    )  # fmt: skip
