"""Encoders without a model, for jobs that are about something else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt


class Four:
    """Four numbers from a hash of the text."""

    dimension = 4

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        digests = [hashlib.sha256(text.encode()).digest()[:16] for text in texts]
        return np.array([np.frombuffer(digest, np.uint32) / 2**32 + 0.01 for digest in digests], np.float32).reshape(
            -1, 4
        )


class OtherFour(Four):
    """The same numbers under another name, so another model to the guard."""


class Five(Four):
    """Another model, of another length."""

    dimension = 5

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """By the number of letters, the other way round."""
        return np.array([[1.0 / (1 + len(text)), 1.0, 0, 0, 0] for text in texts], np.float32)


class Bytes(Four):
    """A model that makes whole numbers from 0 to 255."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.array([list(hashlib.sha256(text.encode()).digest()[:4]) for text in texts], np.float32)


class Named(Four):
    """An encoder that says which model it is."""

    identity = "m1"


class Counting(Four):
    """Remembers the texts that it has encoded."""

    texts: ClassVar[list[str]] = []

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.texts.extend(texts)
        return super().encode(texts)


class Turned(Counting):
    """Another model: the numbers in the other order."""

    texts: ClassVar[list[str]] = []

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.ascontiguousarray(super().encode(texts)[:, ::-1])
