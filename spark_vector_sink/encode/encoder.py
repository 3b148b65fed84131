"""Define the interface between a task and a model: the protocol, the settings of a model, and the values exchanged."""

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
    """Texts of a window with their tokens.

    seconds: wall time of tokenising. second: the texts for the second model, where there are two.
    """

    texts: Sequence[str]
    tokens: Tokens
    seconds: float = 0.0
    second: Tokenised | None = None


@dataclass(frozen=True)
class Encoded:
    """Vectors of a window, in the order of its texts.

    vectors: float32, shape (n, dimension). tokens, cut: int64, shape (n,), tokens that the model has read of each text
    and tokens beyond its limit; zeros where the encoder does not report them. sparse: n sparse vectors, where a sparse
    model made some. failed: the reason for each text that the model could not encode, by index; the vectors of these
    texts are meaningless. seconds: wall time in the model. halvings: how often memory ran out and the token budget was
    halved.
    """

    vectors: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int64]
    cut: npt.NDArray[np.int64]
    sparse: SparseVectors | None = None
    failed: Mapping[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    halvings: int = 0


class Encoder(Protocol):
    """An encoder, which turns texts into vectors. A custom factory may return an object with only `dimension` and
    `encode(texts)`."""

    dimension: int
    """length of a dense vector; 0 where all vectors are sparse"""
    identity: str
    """identity that the model guard compares: the model and everything that changes its vectors"""
    device: str
    dtype: str

    @property
    def token_budget(self) -> int:
        """Return the current token limit of one forward pass, which is halved when memory runs out; 0 where there is
        none."""

    @property
    def tokens_done(self) -> int:
        """Return the count of tokens that the model has processed since it was loaded; 0 where the encoder does not
        report it."""

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        """Tokenise the texts of a window; may run in another thread while `encode` works on the window before."""

    def encode(self, tokenised: Tokenised) -> Encoded:
        """Return the vectors of documents."""

    def encode_query(self, text: str) -> Encoded:
        """Return the vectors of one query."""

    def chunk(self, texts: Sequence[str], tokens: int | None, overlap: int) -> Chunks:
        """Cut texts into chunks of at most `tokens` tokens; None: as many as the model reads."""


@dataclass(frozen=True)
class EncoderSpec:
    """The settings that decide which vectors are made, and on which device; equal specs share one loaded model."""

    identity: str
    model: str
    """hub name, absolute folder, or with `shipped` a name among the files that Spark ships to each task"""
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
    """a sparse model beside this model, to make both vectors in one pass over the rows"""
