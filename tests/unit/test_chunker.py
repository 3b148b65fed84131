"""Chunks: no token too many, no character lost, cut where a reader would cut, and the same again when the document has
grown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from spark_vector_sink.encode import chunker
from spark_vector_sink.encode.chunker import Chunks, chunk
from tests.tiny_model import CORPUS
from tests.tiny_model import wordpiece as _tokenizer

CHEAP = settings(max_examples=120, deadline=None, derandomize=True)

FAMILY, FLAGS, ACCENTS = "👩‍👩‍👧‍👦", "🇩🇪🇫🇷🇯🇵", "e\u0301\u0323o\u0308"
HOSTILE = [
    FAMILY,
    "👍🏽",
    FLAGS,
    ACCENTS,
    "क्षि",
    "\u1112\u1161\u11ab",
    "שלום",
    "مرحبا؟ ",
    "\u200f",
    "\0",
    "\0\0\0",
    "ﬁ",
    "㎏",
    "。",
    "」",
    "我们，",
]
HOSTILE += [
    "\u0301",
    " \u0301",
    "!?",
    "...",
    "(.)",
    "[SEP]",
    "\r\n",
    "\r",
    "\n\n",
    " \n \t\r\n",
    "\u2029",
    "\u3000",
    "          ",
    "x" * 150,
    "A",
    " vector",
]
TEXT = st.lists(
    st.sampled_from(HOSTILE) | st.characters(exclude_categories=("Cs",)) | st.sampled_from(CORPUS.split(" ")),
    max_size=60,
).map("".join)


@cache
def wordpiece() -> Tokenizer:
    """Two special tokens; unknown and over-long words are one token, control characters none."""
    return _tokenizer()


@cache
def byte_level() -> Tokenizer:
    """A token is a byte or a few, so a character may have several; no special tokens."""
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [
        ("t", "h"),
        ("th", "e"),
        ("Ġ", "the"),
        ("Ġ", "a"),
        ("e", "r"),
        ("Ġ", "v"),
        ("o", "r"),
        ("e", "c"),
        ("Ġv", "ec"),
    ]
    vocabulary = {token: number for number, token in enumerate([*tokens, *("".join(pair) for pair in merges)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


@cache
def unigram() -> Tokenizer:
    """Blanks belong to words, characters are composed first, and unknown ones are merged; one special token at the
    end."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁", -3.0), ("▁the", -1.0), ("▁vector", -1.0), ("er", -2.0), ("in", -2.0)]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((chr(code), -4.0) for code in range(33, 127))], unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


TOKENIZERS = [wordpiece, byte_level, unigram]
EACH = pytest.mark.parametrize("tokenizer", [make() for make in TOKENIZERS], ids=[make.__name__ for make in TOKENIZERS])
SIZES = st.tuples(st.integers(8, 40), st.integers(0, 39), st.sampled_from(["", "doc: "])).filter(
    lambda size: size[1] < size[0]
)


class Counting:
    """A tokenizer that writes down how many characters it was given at a time."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped
        self.offsets_calls: list[int] = []
        self.count_calls: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def encode_batch(self, texts: Sequence[str], **options: Any) -> Any:
        self.offsets_calls.append(sum(map(len, texts)))
        return self._wrapped.encode_batch(texts, **options)

    def encode_batch_fast(self, texts: Sequence[str], **options: Any) -> Any:
        self.count_calls.append(sum(map(len, texts)))
        return self._wrapped.encode_batch_fast(texts, **options)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are huge from 400 characters on, so that tests need not be."""
    monkeypatch.setattr(chunker, "HUGE", 400)
    monkeypatch.setattr(chunker, "PIECE", 400)
    monkeypatch.setattr(chunker, "GROUP", 1000)


def of(made: Chunks, document: int) -> list[tuple[int, int]]:
    """The spans of one text."""
    rows = np.flatnonzero(made.document == document)
    assert made.number[rows].tolist() == list(range(len(rows)))
    return [(int(made.start[row]), int(made.stop[row])) for row in rows]


def check(
    texts: list[str], made: Chunks, tokenizer: Any, tokens: int, prompt: str, longest_whole: int = chunker.HUGE
) -> None:
    """All that is promised of the chunks of any texts."""
    assert made.document.tolist() == sorted(made.document.tolist())
    assert set(made.document.tolist()) == set(range(len(texts)))
    assert all(
        array.dtype == np.int64 and array.shape == (len(made.texts),)
        for array in (made.document, made.number, made.start, made.stop)
    )
    assert made.texts == [
        texts[row][start:stop] for row, start, stop in zip(made.document, made.start, made.stop, strict=True)
    ]
    for row, text in enumerate(texts):
        spans = of(made, row)
        if not text.strip():
            assert spans == [(0, len(text))]
            continue
        counts = [len(tokenizer.encode(prompt + text[start:stop])) for start, stop in spans]
        assert all(count <= tokens or stop - start == 1 for count, (start, stop) in zip(counts, spans, strict=True))
        if len(tokenizer.encode(prompt + text)) <= tokens and len(text) <= longest_whole:
            assert spans == [(0, len(text))]
        assert all(text[start:stop].strip() for start, stop in spans)
        for (start, stop), (next_start, next_stop) in pairwise(spans):
            assert start < next_start
            assert stop < next_stop
            assert not text[stop:next_start].strip()
        assert not text[: spans[0][0]].strip()
        assert not text[spans[-1][1] :].strip()


@EACH
@CHEAP
@given(st.lists(TEXT, max_size=4), SIZES)
def test_what_is_promised_holds_for_any_text(tokenizer: Any, texts: list[str], size: tuple[int, int, str]) -> None:
    """Exact slices, nothing lost but blanks, spans that advance, no chunk blank or too long, a text that fits left
    whole."""
    tokens, overlap, prompt = size
    made = chunk(texts, tokenizer, tokens, overlap, prompt)
    check(texts, made, tokenizer, tokens, prompt)


@EACH
@settings(CHEAP, max_examples=60)
@given(st.lists(TEXT, max_size=4), SIZES)
def test_what_is_promised_holds_for_huge_texts_too(
    tokenizer: Any, texts: list[str], size: tuple[int, int, str]
) -> None:
    """The same where texts are tokenised in pieces and in several groups."""
    tokens, overlap, prompt = size
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("HUGE", 50), ("PIECE", 40), ("GROUP", 90)):
            patch.setattr(chunker, name, value)
        made = chunk(texts, tokenizer, tokens, overlap, prompt)
    check(texts, made, tokenizer, tokens, prompt, longest_whole=50)


@EACH
@CHEAP
@given(
    st.lists(
        st.sampled_from([FAMILY, "👍🏽", "🇩🇪", "e\u0301", "क्षि", "\u1112\u1161\u11ab", "。\ufe00", "我", "x"]),
        min_size=20,
        max_size=60,
    )
)
def test_what_is_read_as_one_character_is_not_parted(tokenizer: Any, characters: list[str]) -> None:
    """Emoji sequences, flags, accents and conjuncts stay whole wherever they take less than half of a chunk."""
    text = "".join(characters)
    made = chunk([text], tokenizer, 64, 8)
    whole = {0, *accumulate(map(len, characters))}
    assert whole.issuperset(made.start.tolist())
    assert whole.issuperset(made.stop.tolist())


@EACH
@settings(CHEAP, max_examples=40)
@given(
    st.integers(0, 12), st.lists(st.sampled_from(HOSTILE + CORPUS.split(" ")), min_size=1, max_size=30).map(" ".join)
)
def test_a_document_that_grows_keeps_its_chunks(tokenizer: Any, overlap: int, more: str) -> None:
    """A paragraph at the end changes at most the last two chunks."""
    made = chunk([CORPUS, CORPUS + "\n\n" + more], tokenizer, 40, overlap)
    kept = of(made, 0)[:-2]
    assert len(kept) > 5
    assert of(made, 1)[: len(kept)] == kept


@pytest.mark.usefixtures("small_pieces")
@EACH
@pytest.mark.parametrize("overlap", [0, 9])
def test_pieces_leave_no_trace(tokenizer: Any, overlap: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text in pieces has the very chunks that it has in one, and so it may grow beyond the limit."""
    text = CORPUS * 3
    in_pieces = of(chunk([text], tokenizer, 40, overlap), 0)
    monkeypatch.setattr(chunker, "HUGE", 1_000_000)
    assert in_pieces == of(chunk([text], tokenizer, 40, overlap), 0)


@pytest.mark.usefixtures("small_pieces")
def test_memory_is_bounded_by_the_sizes_of_calls() -> None:
    """No call gets more characters than a group has, and of a huge text no more than a piece; nearly all is tokenised
    twice only."""
    tokenizer = Counting(wordpiece())
    texts = ["a vector " * 20] * 30 + [CORPUS * 4] + ["short"] * 5
    made = chunk(texts, tokenizer, 30, 0, "doc: ")
    check(texts, made, wordpiece(), 30, "doc: ", longest_whole=400)
    assert max(tokenizer.offsets_calls) <= 1000
    assert max(tokenizer.count_calls) <= 1000
    assert sum(tokenizer.offsets_calls) < 1.6 * sum(map(len, texts))
    assert sum(tokenizer.count_calls) < 1.6 * sum(map(len, texts))
    huge = Counting(wordpiece())
    chunk([CORPUS * 4], huge, 30, 0, "doc: ")
    assert max(huge.offsets_calls) <= 1 + 400 + len("doc: ")


def test_texts_that_fit_are_tokenised_once() -> None:
    """Their first count is what the model will count, prompt and special tokens included."""
    tokenizer = Counting(wordpiece())
    made = chunk([" a vector ", "a point"], tokenizer, 8, 0, "query: ")
    assert made.texts == [" a vector ", "a point"]
    assert tokenizer.count_calls == []


@EACH
def test_an_overlap_repeats_whole_words(tokenizer: Any) -> None:
    """Each chunk begins with a word out of the end of the one before, about as many tokens before that end as were
    asked for."""
    spans = of(chunk([CORPUS], tokenizer, 60, 15), 0)
    repeated = [CORPUS[start:stop] for (_, stop), (start, _) in pairwise(spans)]
    assert len(repeated) > 5
    assert all(CORPUS[start - 1].isspace() for start, _ in spans)
    counts = [len(tokenizer.encode(text, add_special_tokens=False)) for text in repeated]
    assert 8 <= np.mean(counts) <= 18
    assert max(counts) <= 15 + chunker.LONG_WORD


def test_an_overlap_shorter_than_a_word_repeats_the_word() -> None:
    """Two tokens of a word of five would begin in its middle."""
    made = chunk(["zyxwv " * 40], wordpiece(), 42, 2)
    assert made.texts[0] == made.texts[1] == " ".join(["zyxwv"] * 8)
    assert made.start[1] == made.stop[0] - len("zyxwv")


def test_an_overlap_in_a_text_without_blanks_begins_anywhere() -> None:
    """Chinese has no blanks between words, and still repeats as many tokens."""
    spans = of(chunk(["我们今天去北京" * 20], byte_level(), 60, 15), 0)
    assert [stop - start for (_, stop), (start, _) in pairwise(spans)] == [5] * (len(spans) - 1)


def test_no_overlap_repeats_nothing() -> None:
    """Chunks lie behind each other."""
    spans = of(chunk([CORPUS], wordpiece(), 20, 0), 0)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(spans))


WORDS = "a b c d e f g h i j k l m n o p q r s t"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a b c d e f g h\n\ni.\nj k " + WORDS, "a b c d e f g h"),
        ("a b c d e f g h\r\n \r\ni.\r\nj k " + WORDS, "a b c d e f g h"),
        ("a b c d e f g h\ni. j k " + WORDS, "a b c d e f g h"),
        ("a b c d e f g h\r\ni! j k " + WORDS, "a b c d e f g h"),
        ("a b c d e f.\"' i k " + WORDS, "a b c d e f.\"'"),
        ("a b c d e f g؟ h i k l m" + WORDS, "a b c d e f g؟"),
        ("abcdefghi。jklmn" + WORDS, "abcdefghi。"),
        ("abcdefg。」klmno" + WORDS, "abcdefg。」"),
        ("a b c d e f g h i " + WORDS, "a b c d e f g h i a"),
        ("a b c d e f ghijklmnopqrs" + WORDS, "a b c d e f"),
        ("abcdefghijklmnopqrstuvwxyz" + WORDS, "abcdefghij"),
    ],
)
def test_the_best_place_in_the_room_is_taken(text: str, first: str) -> None:
    """A paragraph's end before a line's, a sentence's, a word's; only in a long word between any two tokens. 10 tokens
    have room."""
    assert chunk([text], wordpiece(), 12, 0).texts[0] == first


def test_a_slice_with_more_tokens_than_it_had_is_cut_again() -> None:
    """Without the blank before it a word can have more tokens; its chunk is halved at a word, others are left as they
    are."""
    assert len(byte_level().encode(" vec vec vec vec")) == 4
    assert len(byte_level().encode("vec vec vec vec")) == 5
    assert chunk(["vec" + " vec" * 10], byte_level(), 4, 0).texts == ["vec vec vec", *["vec vec"] * 4]


class Adding(Counting):
    """A tokenizer that makes five tokens more of every slice than the slice had in its text."""

    def encode_batch_fast(self, texts: Sequence[str], **options: Any) -> Any:
        return super().encode_batch_fast([text + "....." for text in texts], **options)


def test_what_is_cut_again_is_not_parted_within_a_character() -> None:
    """The middle of the chunk lies within the emoji sequence, of 25 tokens, and the nearest place is behind it."""
    text = " ".join([FAMILY + "xxx"] * 5)
    assert chunk([text], Adding(byte_level()), 30, 0).texts == [FAMILY, "xxx"] * 5


@EACH
def test_a_tokenizer_that_begins_texts_with_a_blank_fills_its_chunks_too(tokenizer: Any) -> None:
    """Its token is counted before a cut inside a word, and before a word that has a blank of its own; else each chunk
    would be halved."""
    for text in ("xyz" * 30, "zyx " * 300, "zyx" * 300):
        counts = [len(tokenizer.encode(piece)) for piece in chunk([text], tokenizer, 80, 0).texts]
        assert min(counts[:-1], default=80) > 70


def test_a_character_with_too_many_tokens_is_left() -> None:
    """Nothing smaller exists: the model cuts it."""
    assert chunk(["👍我x"], byte_level(), 2, 0).texts == ["👍", "我", "x"]


@pytest.mark.parametrize(
    "text", ["x" * 50_000, "👍" * 20_000, "e" + "\u0301" * 20_000, "🇩🇪" * 10_000, "\0" * 50_000 + "x", "." * 50_000]
)
def test_endless_words_end(text: str) -> None:
    """One word of any kind, however long, is cut in a time that grows with its length."""
    for tokenizer in (wordpiece(), byte_level(), unigram()):
        check([text], chunk([text], tokenizer, 128, 16), tokenizer, 128, "")


def test_a_blank_text_is_one_chunk() -> None:
    """However many tokens it has."""
    assert of(chunk(["", "\n" * 500, "a"], byte_level(), 8, 0), 1) == [(0, 500)]


@pytest.mark.usefixtures("small_pieces")
def test_a_huge_blank_text_is_one_chunk() -> None:
    """It has no pieces either."""
    assert of(chunk(["\n" * 5000], byte_level(), 8, 0), 0) == [(0, 5000)]


def test_no_texts_give_no_chunks() -> None:
    """An empty window has none."""
    made = chunk([], wordpiece(), 8, 0)
    check([], made, wordpiece(), 8, "")


@pytest.mark.parametrize(
    ("tokens", "overlap", "problem"), [(8, 8, "an overlap of 8"), (8, -1, "an overlap of -1"), (4, 0, "take 5")]
)
def test_what_cannot_be_is_refused(tokens: int, overlap: int, problem: str) -> None:
    """An overlap without an advance, and a prompt that leaves no room for the text."""
    with pytest.raises(ValueError, match=problem):
        chunk(["a text"], wordpiece(), tokens, overlap, "the vector:")
