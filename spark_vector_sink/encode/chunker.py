"""Cut long texts into chunks that the model reads whole: tokenised once, cut by these tokens, then counted again.

A text is cut at the best place in the last quarter of the room: the end of a paragraph, of a line, of a sentence, of a
word; and between any two tokens only where there is no such end. The end of a chunk depends on the text before it and
on little of the text after it, so a document that grows at its end keeps all its chunks but the last one or two.

semantic-text-splitter (0.33.1, Rust) is not used, because it does not do what tests/unit/test_chunks.py asks: its
overlap is whole sentences or lines, so with 32 tokens asked half of the chunks repeat nothing; text of no more bytes
than the room has tokens is not counted, so a chunk can be too long; it counts without the prompt. On package
descriptions of more than 256 MiniLM tokens it took 2.5 times as long as this chunker (2.9 times with overlap, 2.4 times
on one text of 2 MB), and filled chunks to 202 tokens where this chunker fills them to 242.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode.chunk_ends import best_end, nonblank, overlapping_start, unjoined

GROUP = 2_000_000
"""Characters that are tokenised in one call: each token takes about 100 bytes for as long as the call's result
lives."""
HUGE = 1_000_000
"""Length, in characters, above which a text is never tokenised whole, and so never counted as fitting."""
PIECE = 250_000
"""Length, in characters, of the pieces of a huge text; the tokenizer keeps its tables for one piece at a time, and is a
fifth faster than on larger pieces."""
LONG_WORD = 16
"""Tokens that an overlap may reach further back to begin with a word; in a longer word it begins in the middle."""


@dataclass(frozen=True)
class Chunks:
    """The chunks of several texts, in order.

    texts: exact slices of the originals. document: int64, shape (n,), index of each chunk's text. number: int64, shape
    (n,), 0, 1, … within its text. start, stop: int64, shape (n,), its span in characters of the original, as Python
    counts them.
    """

    texts: list[str]
    document: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]


def chunk(texts: Sequence[str], tokenizer: Any, tokens: int, overlap: int, prompt: str = "") -> Chunks:
    """Cut texts into chunks of at most `tokens` tokens, special tokens and `prompt` included, as the model will count
    them.

    A text that fits is one chunk, including blanks around it; chunks of a longer text begin and end without blanks.
    Only a single character may have more tokens. overlap: about how many tokens at the end of a chunk are repeated at
    the beginning of the next. tokenizer: a `tokenizers.Tokenizer` that neither truncates nor pads. Raises ValueError
    where no text fits beside the prompt, or where the overlap is negative or not less than `tokens`.
    """
    if not 0 <= overlap < tokens:
        raise ValueError(
            f"an overlap of {overlap} tokens does not fit into chunks of {tokens}; it must be at least 0 and less "
            "than a chunk"
        )
    taken = len(tokenizer.encode(prompt))
    if taken >= tokens:
        raise ValueError(
            f"chunks of {tokens} tokens have no room for text: special tokens and the prompt take {taken}; "
            "allow more tokens"
        )
    cutter = _Cutter(tokenizer, prompt, tokens, tokens - taken, min(overlap, tokens - taken - 1))
    spans = [span for rows in _groups([len(prompt) + len(text) for text in texts]) for span in cutter.cut(texts, rows)]
    spans.sort(key=lambda span: (span.row, span.start, -span.stop))
    kept: list[_Span] = []
    for span in spans:
        if (
            not kept or span.row != kept[-1].row or span.stop > kept[-1].stop
        ):  # else the span, half of a chunk, lies within the one before
            kept.append(span)
    table = np.array(kept, np.int64).reshape(-1, 3)
    number = np.arange(len(kept), dtype=np.int64) - np.searchsorted(table[:, 0], table[:, 0])
    return Chunks([texts[row][start:stop] for row, start, stop in kept], table[:, 0], number, table[:, 1], table[:, 2])


class _Span(NamedTuple):
    row: int
    start: int
    stop: int


@dataclass(frozen=True)
class _Cutter:
    tokenizer: Any
    prompt: str
    tokens: int
    room: int
    """tokens left by the prompt and the special tokens"""
    overlap: int

    def cut(self, texts: Sequence[str], rows: range) -> list[_Span]:
        """Return the spans of one group of texts, none of them too long."""
        special = self.tokenizer.num_special_tokens_to_add(False)
        short = [row for row in rows if len(texts[row]) <= HUGE]
        done = [_Span(row, 0, len(texts[row])) for row in rows if len(texts[row]) > HUGE and texts[row].isspace()]
        cut = [span for row in rows if len(texts[row]) > HUGE for span in self._in_pieces(row, texts[row])]
        for row, encoding in zip(short, self._encode([texts[row] for row in short]), strict=True):
            if len(encoding) + special <= self.tokens or texts[row].isspace():
                done.append(_Span(row, 0, len(texts[row])))
            else:
                begin = nonblank(texts[row], 0)
                cut += [_Span(row, *span) for span in self._spans(texts[row], encoding, begin, begin)]
        return done + self._counted(texts, cut)

    def _counted(self, texts: Sequence[str], spans: list[_Span]) -> list[_Span]:
        """Count the tokens of each span as the model will, since a slice may have a few more tokens than it had within
        its text. Spans that are too long are halved until they fit; that ends at single characters."""
        done: list[_Span] = []
        while spans:
            halves: list[_Span] = []
            for group in _groups([len(self.prompt) + span.stop - span.start for span in spans]):
                members = spans[group.start : group.stop]
                counted = self.tokenizer.encode_batch_fast(
                    [self.prompt + texts[row][start:stop] for row, start, stop in members]
                )
                for span, encoding in zip(members, counted, strict=True):
                    fits = len(encoding) <= self.tokens or span.stop - span.start == 1
                    (done if fits else halves).extend([span] if fits else self._halves(texts[span.row], span))
            spans = halves
        return done

    def _encode(self, texts: list[str]) -> Any:
        return (
            self.tokenizer.encode_batch([self.prompt + text for text in texts], add_special_tokens=False)
            if texts
            else []
        )

    def _in_pieces(self, row: int, text: str) -> Iterator[_Span]:
        """Yield the spans of a huge text. The last chunk of a piece ends only because the piece ends, so the next piece
        begins with that chunk again."""
        begin = fresh = nonblank(text, 0)
        while begin < len(text):
            end = begin + PIECE
            if end < len(text):
                end = best_end(text, begin, end - PIECE // 16, end - PIECE // 16, end)
            shift = max(0, begin - 1)  # the blank before a word is part of its token
            piece = text[shift:end]
            spans = self._spans(piece, self._encode([piece])[0], begin - shift, fresh - shift)
            again = spans.pop()[0] if end < len(text) and len(spans) > 1 else None
            yield from (_Span(row, shift + start, shift + stop) for start, stop in spans)
            fresh = nonblank(text, shift + spans[-1][1])
            begin = fresh if again is None else shift + again

    def _spans(self, text: str, encoding: Any, start: int, fresh: int) -> list[tuple[int, int]]:
        """Cut one text, whose tokens are known. start: the start of the first chunk; fresh: the first character that
        the first chunk must include; neither is at a blank."""
        count, shift, end = len(encoding), len(self.prompt), len(text.rstrip())

        def begins(token: int) -> int:
            return min(end, encoding.token_to_chars(token)[0] - shift) if token < count else end

        def ends(token: int) -> int:
            return int(encoding.token_to_chars(token)[1]) - shift

        spans: list[tuple[int, int]] = []
        while True:
            first = bisect_right(range(count), start, key=ends)
            within = start > 0 and not text[start - 1].isspace()
            if first and (within or text[max(0, begins(first - 1)) : max(0, ends(first - 1))].isspace()):
                # some tokenizers put a blank before every text: one more token, unless a blank was part of the first
                first -= 1
            half, late, most = (max(begins(first + self.room * part // 4), fresh + 1) for part in (2, 3, 4))
            stop = end if most >= end else best_end(text, fresh, min(half, most), min(late, most), most)
            spans.append((start, stop))
            fresh = nonblank(text, stop)
            if fresh >= end:
                return spans
            start = fresh
            if self.overlap:
                after = bisect_left(range(count), stop, key=begins)
                reach = max(self.overlap, min(self.overlap + LONG_WORD, self.room // 2))
                wanted, earliest = (begins(max(0, after - back)) for back in (self.overlap, reach))
                start = overlapping_start(text, spans[-1][0], earliest, wanted, stop)

    def _halves(self, text: str, span: _Span) -> list[_Span]:
        row, start, stop = span
        middle = start + (stop - start + 1) // 2
        cut = best_end(text, start, start + 1, start + 1 + (middle - start) // 2, middle)
        cut = unjoined(text, start, range(cut, stop), cut)
        again = nonblank(text, cut)
        if self.overlap:
            back = cut - (stop - start) * self.overlap // (2 * self.room)
            again = overlapping_start(text, start, back, back, cut)
        return [_Span(row, start, cut), _Span(row, again, stop)]


def _groups(sizes: Sequence[int]) -> Iterator[range]:
    """Yield ranges of neighbours that together have at most GROUP characters; a larger item is alone."""
    begin = total = 0
    for at, size in enumerate(sizes):
        if at > begin and total + size > GROUP:
            yield range(begin, at)
            begin, total = at, 0
        total += size
    if begin < len(sizes):
        yield range(begin, len(sizes))
