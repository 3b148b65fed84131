"""The seam between a task and a model: the protocol, what decides a model, and the values that pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode.chunker import Chunks
from spark_vector_sink.encode.tokenizer import Tokens
from spark_vector_sink.options import AUTO
from spark_vector_sink.payload_types import SparseVectors


@dataclass(frozen=True)
class Tokenised:
    """Texts of a window, read by the tokenizer, and by the second model's where there are two. seconds: wall time of
    it."""

    texts: Sequence[str]
    tokens: Tokens
    seconds: float = 0.0
    second: Tokenised | None = None


@dataclass(frozen=True)
class Encoded:
    """Vectors of a window, in the order of its texts.

    vectors: float32, shape (n, dimension). tokens, cut: int64, shape (n,), tokens the model has read of each text and
    tokens it has not; zeros where the encoder does not tell. sparse: n sparse vectors, where a sparse model made some.
    failed: texts that the model could not take, by index, with the reason; their vectors mean nothing. seconds: wall
    time in the model. halvings: how often memory ran out and the token budget was halved.
    """

    vectors: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int64]
    cut: npt.NDArray[np.int64]
    sparse: SparseVectors | None = None
    failed: Mapping[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    halvings: int = 0


class Encoder(Protocol):
    """Turns texts into vectors. A custom factory may return an object with just `dimension` and `encode(texts)`."""

    dimension: int
    """length of a dense vector; 0 where all are sparse"""
    identity: str
    """what the model guard compares: the model and everything that changes its vectors"""
    device: str
    dtype: str

    @property
    def token_budget(self) -> int:
        """Tokens of one forward pass, as of now: it is halved when memory runs out. 0 where the encoder has none."""

    @property
    def tokens_done(self) -> int:
        """Tokens that have gone through the model since it was loaded, as of now. 0 where the encoder does not tell."""

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        """Read the texts of a window; may run in another thread while `encode` works on the window before."""

    def encode(self, tokenised: Tokenised) -> Encoded:
        """The vectors of documents."""

    def encode_query(self, text: str) -> Encoded:
        """The vectors of one question."""

    def chunk(self, texts: Sequence[str], tokens: int | None, overlap: int) -> Chunks:
        """Cut texts into chunks of at most so many tokens; None: as many as the model reads."""


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that decides which vectors come out and where; equal specs mean the same loaded model."""

    identity: str
    model: str
    """hub name, absolute folder, or with `shipped` a name among the files that Spark brings to each task"""
    revision: str | None = None
    factory: str | None = None
    device: str = AUTO
    dtype: str = AUTO
    token_budget: int | str = AUTO
    prompt: str | None = None
    normalize: bool | None = None
    truncate_dim: int | None = None
    max_tokens: int | None = None
    trust_remote_code: bool = False
    shipped: bool = False
    is_sparse: bool = False
    sparse: EncoderSpec | None = None
    """a sparse model beside this one, for both vectors in one pass over the rows"""
