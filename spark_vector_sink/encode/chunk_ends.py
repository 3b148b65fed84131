"""Find the places where a text may be cut, from its characters alone: the end of a paragraph, a line, a sentence, a
word; in the last resort between two characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_BREAK = r"(?:\r(?!\n)|\r?\n|[\v\f\x85\u2028\u2029])"
_BLANK = r"[^\S\n\r\v\f\x85\u2028\u2029]*"
# each pattern finds the last place of its kind, right after a character that is not blank; the best kind comes first
_ENDS = (
    re.compile(rf"(?s:.*)\S(?={_BLANK}{_BREAK}{_BLANK}{_BREAK})"),
    re.compile(rf"(?s:.*)\S(?={_BLANK}{_BREAK})"),
    re.compile(r"(?s:.*)(?:[.!?…؟۔।॥։።။។‼⁇⁈⁉][\"'”’»)\]]*(?=\s)|[。！？．｡][」』”’）】〉》]*)"),
    re.compile(r"(?s:.*)\S(?=\s)"),
)
_WORD_END = _ENDS[-1]
_WORD_START = re.compile(r"\s(?=\S)")
_LAST_WORD_START = re.compile(r"(?s:.*)\s(?=\S)")
_NONBLANK = re.compile(r"\S")
_JOINER, _VIRAMA = "\u200d", 9
_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_CONTINUES = re.compile("[\u200c\u200d\u1160-\u11ff\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")


def nonblank(text: str, start: int) -> int:
    """Return the position of the first character from `start` on that is not blank, or the text's length."""
    found = _NONBLANK.search(text, start)
    return found.start() if found else len(text)


def best_end(text: str, begin: int, half: int, late: int, most: int) -> int:
    """Return the best end of a chunk: the best place from `late` to `most`, else the end of a word from `half` on, else
    a place between any two characters there.

    The end is never after a blank, and always after `begin`, which is the position of a character that is not blank;
    begin < half <= late <= most.
    """
    behind = nonblank(text, most)
    for pattern in _ENDS:
        found = pattern.match(text, late - 1, behind)
        if found and not _joined(text, begin, found.end()):
            return found.end()
    if found := _WORD_END.match(text, half - 1, late):
        return found.end()
    return begin + len(text[begin : unjoined(text, begin, range(most, half - 1, -1), most)].rstrip())


def overlapping_start(text: str, before: int, earliest: int, wanted: int, stop: int) -> int:
    """Return the start of a chunk that repeats the text from about `wanted` to `stop`: at a word from `wanted` on, else
    from `earliest` on, else, in a huge word, at any character; always after `before`, the start of the chunk that ends
    at `stop`."""
    earliest, wanted = max(earliest, before + 1), max(wanted, before + 1)
    if wanted >= stop:
        return nonblank(text, stop)
    found = _WORD_START.search(text, wanted - 1, stop) or _LAST_WORD_START.match(text, earliest - 1, wanted)
    return found.end() if found else unjoined(text, before, range(wanted, stop), nonblank(text, stop))


def unjoined(text: str, begin: int, places: Iterable[int], otherwise: int) -> int:
    """Return the first of these places that does not split what a reader takes for one character; `otherwise` where
    there is none. begin: a position at or before the places, where such a character begins."""
    return next((at for at in places if not _joined(text, begin, at)), otherwise)


def _joined(text: str, begin: int, at: int) -> bool:
    """Return whether the characters before and after `at` are read as one: a letter and its accent, an emoji sequence,
    the two letters of a flag."""
    before, after = text[at - 1], text[at]
    if after.isspace():
        return False
    if before == _JOINER or _CONTINUES.match(after) or unicodedata.category(after)[0] == "M":
        return True
    if unicodedata.combining(before) == _VIRAMA:
        return after.isalpha()
    if after not in _FLAG_LETTERS:
        return False
    letters = text[begin:at]
    return (len(letters) - len(letters.rstrip(_FLAG_LETTERS))) % 2 == 1
