"""Encode with a dense and a sparse model side by side: both vectors of a text in one pass over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spark_vector_sink.encode.chunker import Chunks
from spark_vector_sink.encode.encoder import Encoded, Encoder, Tokenised


class HybridEncoder:
    """A dense and a sparse encoder as one encoder. The counts of tokens read and tokens cut of a text come from the
    model that cuts more of it, and from the dense model where both cut the same."""

    def __init__(self, dense: Encoder, sparse: Encoder) -> None:
        self._dense, self._sparse = dense, sparse
        self.dimension = dense.dimension
        self.identity = dense.identity
        self.device, self.dtype = dense.device, dense.dtype

    @property
    def token_budget(self) -> int:
        return min(filter(None, (self._dense.token_budget, self._sparse.token_budget)), default=0)

    @property
    def tokens_done(self) -> int:
        return self._dense.tokens_done

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
    tokens = np.where(sparse.cut > dense.cut, sparse.tokens, dense.tokens)
    return Encoded(
        dense.vectors, tokens, np.maximum(dense.cut, sparse.cut), sparse.sparse, {**sparse.failed, **dense.failed},
        dense.seconds + sparse.seconds, dense.halvings + sparse.halvings,
    )  # fmt: skip
