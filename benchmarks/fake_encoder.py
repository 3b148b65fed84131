"""An encoder without a model, for what is not about models: option `encoder` = `benchmarks.fake_encoder:factory`.

The vector is a hash of the text: the same in every process, and a million of them take some seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FACTORY = "benchmarks.fake_encoder:factory"
DIMENSION = 64
AS_LONG_AS_MINILM = "benchmarks.fake_encoder:long_factory"
MINILM_DIMENSION = 384


class FakeEncoder:
    """64 numbers between -1 and 1 from the text's BLAKE2b digest; none of them is 0."""

    dimension = DIMENSION

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32, shape (n, 64)."""
        digests = b"".join(hashlib.blake2b(text.encode(), digest_size=DIMENSION).digest() for text in texts)
        return (np.frombuffer(digests, np.uint8).reshape(len(texts), DIMENSION).astype(np.float32) - 127.5) / 127.5


def factory() -> FakeEncoder:
    return FakeEncoder()


class LongFakeEncoder(FakeEncoder):
    """The same six times in a row: as many numbers as MiniLM has."""

    dimension = MINILM_DIMENSION

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """float32, shape (n, 384)."""
        return np.tile(super().encode(texts), MINILM_DIMENSION // DIMENSION)


def long_factory() -> LongFakeEncoder:
    return LongFakeEncoder()
