"""A model of your own, for `encoder="own_encoder:make"`: here, a small torch network over the words of a text.

For models that are not Sentence Transformers. All it takes is an object with `dimension` and `encode(texts)`; this one
also shows where the device comes from, and how to cut batches. seed_model_per_gpu.py uses it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch

BATCH = 256  # texts in one forward pass: as many as the memory of the device takes
WORDS = 1 << 15


class BagOfWords:
    """The mean of random vectors, one for each word: texts that share words are near each other."""

    dimension = 256

    def __init__(self, device: str) -> None:
        self.device = device
        # every process makes the same weights; a real model loads them from a file
        seeded = torch.Generator().manual_seed(7)
        self._bag = torch.nn.EmbeddingBag.from_pretrained(
            torch.randn(WORDS, self.dimension, generator=seeded), mode="mean"
        ).to(device)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The vectors of a whole window of texts, in their order: (n, dimension)."""
        batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
        return np.concatenate([self._forward([numbers(text) for text in batch]) for batch in batches])

    @torch.inference_mode()
    def _forward(self, words: list[list[int]]) -> npt.NDArray[np.float32]:
        starts = np.cumsum([0, *map(len, words)])[:-1]
        made = self._bag(torch.tensor([*chain(*words)], device=self.device), torch.tensor(starts, device=self.device))
        return made.cpu().numpy()  # type: ignore[no-any-return]


def numbers(text: str) -> list[int]:
    """The words of a text as numbers, the same in every process; never none."""
    return [zlib.crc32(word.encode()) % WORDS for word in re.findall(r"\w+", text.lower())] or [0]


def make(device: str) -> BagOfWords:
    """The factory: called once in each Python worker, with the GPU that is its own (`cuda:1`), or `cpu` where there is
    none."""
    return BagOfWords(device)
