"""Cut a window's texts, sorted by their exact token count, into batches of a limited number of tokens, padding
included.

Sorting by characters leaves a quarter of padding however large the window, since characters per token vary; a count of
rows bounds memory only for one length of text. Tokens do both: less than 2 % of padding, and the same memory for every
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode import memory
from spark_vector_sink.errors import EncodingError, first_line

Rows = npt.NDArray[np.int64]
"""Indices of the texts of one batch"""
T = TypeVar("T")


class TokenBatches:
    """A cutter of windows into batches that adapts to the memory of the device.

    budget: tokens of a batch; where memory runs out, half of the batch that failed. halvings: how often the budget was
    halved. done: tokens that have gone through the model.
    """

    def __init__(self, budget: int, device: str) -> None:
        self.budget = budget
        self.halvings = 0
        self.done = 0
        self._device = device

    def run(
        self, tokens: npt.NDArray[np.int64], forward: Callable[[Rows], T], failed: dict[int, str]
    ) -> Iterator[tuple[Rows, T]]:
        """Call `forward` on each batch, longest texts first, so that a lack of memory shows at once; yield the rows of
        each batch and its result.

        tokens: int64, shape (n,), tokens that the model will read of each text. failed: receives each text for which
        memory is not enough even in a batch of its own, with the reason. Raises EncodingError for any other failure of
        `forward`.
        """
        order = np.argsort(-tokens, kind="stable")
        start = 0
        while start < len(order):
            longest = max(1, int(tokens[order[start]]))
            rows = order[start : start + max(1, self.budget // longest)]
            lacking = None
            try:
                made = forward(rows)
            except Exception as error:
                line = first_line(error)
                if not memory.is_lack_of_memory(error):
                    raise EncodingError(
                        f"the model failed on {len(rows)} texts on {self._device}: {type(error).__name__}: {line}"
                    ) from error
                lacking = line or type(error).__name__
            if lacking is None:
                self.done += int(tokens[rows].sum())
                yield rows, made
                start += len(rows)
                continue
            memory.give_back(self._device)  # outside of `except`, because the traceback holds the batch's tensors
            if len(rows) == 1:
                failed[int(rows[0])] = (
                    f"has {longest:,} tokens, for which the memory of {self._device} is not enough ({lacking})"
                )
                start += 1
            else:
                self.halvings += 1
                # this batch is cut in two, and the next ones are no larger
                self.budget = max(1, longest * len(rows) // 2)
