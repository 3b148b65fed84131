"""Convert texts to the token ids that a model reads, and count the tokens cut: one pass over a window, by the model's
Rust tokenizer.

The tokenizer is a copy, so that it may work in one thread while the model, whose own tokenizer keeps its state, works
in another.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_vector_sink.errors import EncodingError

GROUP_CHARACTERS = 2_000_000
"""Approximate size of the groups in which texts are tokenised: the tokenizer takes 100 bytes and more for each token,
for as long as a group lives."""
LONGEST_PIECE = 1_000_000
"""Length, in characters, above which a text is counted piece by piece, for the same reason."""
CHARACTERS_PER_TOKEN = 4
"""Estimated characters per token for a model without a tokenizer: the lengths then only order the texts, and no token
counts are reported."""
NO_LIMIT = 2**31 - 1
"""Token limit of a model that reads texts of any length."""

_BLANK = re.compile(r"\s")


@dataclass(frozen=True)
class Tokens:
    """Tokens of each text, in order.

    ids: int32, token ids that the model reads, special tokens and prompt included; None where the model must tokenise
    itself. read, cut: int64, shape (n,), count of tokens that the model reads, and of tokens beyond its limit. exact:
    False where the counts are only estimates.
    """

    ids: list[npt.NDArray[np.int32]] | None
    read: npt.NDArray[np.int64]
    cut: npt.NDArray[np.int64]
    exact: bool = True

    @property
    def counts(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return `read` and `cut`, or zeros where they are only estimates."""
        return (self.read, self.cut) if self.exact else (np.zeros_like(self.read), np.zeros_like(self.cut))


class RustTokenizer:
    """A copy of a fast tokenizer, made from its JSON: cuts at `limit` tokens as the model does, and counts the tokens
    cut."""

    def __init__(self, json: str, limit: int, prompt: str, side: str, special: bool = True) -> None:
        self._prompt, self._limit, self._adds_special, self._keeps_end = prompt, limit, special, side == "left"
        self.whole = _plain(json)
        self._special = self.whole.num_special_tokens_to_add(False) if special else 0
        if limit <= self._special:
            raise EncodingError(
                f"option 'max_tokens' = {limit} leaves no room for text beside the {self._special} special tokens of "
                "the model's tokenizer"
            )
        self._cutting = _plain(json)
        if limit < NO_LIMIT:
            self._cutting.enable_truncation(max_length=limit, direction=side)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        ids: list[npt.NDArray[np.int32]] = []
        cut = np.zeros(len(texts), np.int64)
        for group in groups(texts):
            made = self._cutting.encode_batch_fast(
                [self._shortened(texts[row]) for row in group], add_special_tokens=self._adds_special
            )
            for row, encoding in zip(group, made, strict=True):
                ids.append(np.array(encoding.ids, np.int32))
                cut[row] = (
                    sum(len(rest) - self._special for rest in encoding.overflowing)
                    if len(encoding) >= self._limit
                    else 0
                )
        for row, text in enumerate(texts):
            if len(text) > LONGEST_PIECE:
                if len(ids[row]) < self._limit < NO_LIMIT:  # the first piece has fewer tokens than the model reads
                    ids[row] = np.array(
                        self._cutting.encode(self._prompt + text, add_special_tokens=self._adds_special).ids, np.int32
                    )
                cut[row] = max(0, self._count(self._prompt + text) - self._limit)
        return Tokens(ids, np.fromiter(map(len, ids), np.int64, len(ids)), cut)

    def _shortened(self, text: str) -> str:
        """Return the text with its prompt; for a huge text, only a first piece that is expected to hold all that the
        model reads."""
        if len(text) <= LONGEST_PIECE or self._limit == NO_LIMIT or self._keeps_end:
            return self._prompt + text
        return self._prompt + next(pieces(text))

    def _count(self, text: str) -> int:
        counted = sum(len(self.whole.encode(piece, add_special_tokens=False)) for piece in pieces(text))
        return counted + int(self._special)


class SlowTokenizer:
    """A copy of a tokenizer written in Python. It only counts; the model tokenises again."""

    def __init__(self, own: Any, limit: int, prompt: str) -> None:
        self._own, self._limit, self._prompt = copy.deepcopy(own), limit, prompt

    def __call__(self, texts: Sequence[str]) -> Tokens:
        counted = (len(self._own(self._prompt + text, truncation=False, verbose=False)["input_ids"]) for text in texts)
        whole = np.fromiter(counted, np.int64, len(texts))
        read = np.minimum(whole, self._limit)
        return Tokens(None, read, whole - read)


class Estimate:
    """An estimate of token counts for a model without a tokenizer."""

    def __call__(self, texts: Sequence[str]) -> Tokens:
        lengths = np.fromiter((len(text) // CHARACTERS_PER_TOKEN + 1 for text in texts), np.int64, len(texts))
        return Tokens(None, lengths, np.zeros(len(texts), np.int64), exact=False)


def groups(texts: Sequence[str]) -> Iterator[range]:
    """Yield ranges of texts of about GROUP_CHARACTERS each."""
    start = size = 0
    for row, text in enumerate(texts):
        size += min(len(text), LONGEST_PIECE)
        if size >= GROUP_CHARACTERS:
            yield range(start, row + 1)
            start, size = row + 1, 0
    if start < len(texts):
        yield range(start, len(texts))


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of about LONGEST_PIECE characters, cut before a blank where there is one."""
    start = 0
    while len(text) - start > LONGEST_PIECE:
        blank = _BLANK.search(text, start + LONGEST_PIECE, start + 2 * LONGEST_PIECE)
        stop = blank.start() if blank else start + LONGEST_PIECE
        yield text[start:stop]
        start = stop
    yield text[start:]


def _plain(json: str) -> Any:
    """Return the tokenizer without truncation and padding."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_str(json)
    made.no_truncation()
    made.no_padding()
    return made
