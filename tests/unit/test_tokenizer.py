"""Token ids of a window: what the model itself would read, what it would cut, and never more memory than a group of
texts takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_vector_sink.encode import tokenizer as tokens
from spark_vector_sink.encode.document_route import DocumentWay
from spark_vector_sink.encode.tokenizer import NO_LIMIT, Estimate, RustTokenizer, SlowTokenizer, groups, pieces
from spark_vector_sink.errors import EncodingError
from tests.tiny_model import wordpiece as _tokenizer

pytest.importorskip("tokenizers")

LIMIT = 12
TEXTS = ["dog", "the dog " * 5, "dog " * 10, "dog " * 11, "dog " * 500, "🙂 ü 漢字", "", "a\0b"]


@pytest.fixture(scope="module")
def own() -> Any:
    """The tokenizer as a model holds it: set to cut and to pad."""
    made = _tokenizer()
    made.enable_truncation(max_length=5)
    made.enable_padding(length=50)
    return made


def whole(text: str) -> list[int]:
    ids: list[int] = _tokenizer().encode(text).ids
    return ids


def cutting(text: str, limit: int = LIMIT) -> list[int]:
    made = _tokenizer()
    made.enable_truncation(max_length=limit)
    ids: list[int] = made.encode(text).ids
    return ids


def test_ids_are_cut_as_the_model_cuts_them(own: Any) -> None:
    """With the special tokens at both ends, and int32."""
    made = RustTokenizer(own.to_str(), LIMIT, "", "right")(TEXTS)
    assert made.ids is not None
    assert [ids.tolist() for ids in made.ids] == [cutting(text) for text in TEXTS]
    assert made.ids[0].dtype == np.int32


def test_read_and_cut_add_up(own: Any) -> None:
    """To the tokens of the whole text, also where it is exactly as long as the limit, or one longer."""
    made = RustTokenizer(own.to_str(), LIMIT, "", "right")(TEXTS)
    assert (made.read + made.cut).tolist() == [len(whole(text)) for text in TEXTS]
    assert made.cut[2:4].tolist() == [0, 1]
    assert made.exact


def test_the_prompt_is_read_too(own: Any) -> None:
    """And takes its room."""
    made = RustTokenizer(own.to_str(), LIMIT, "query: ", "right")(["dog " * 20])
    assert made.ids is not None
    assert made.ids[0].tolist() == cutting("query: " + "dog " * 20)
    assert made.cut.tolist() == [len(whole("query: " + "dog " * 20)) - LIMIT]


def test_the_models_own_tokenizer_keeps_its_state(own: Any) -> None:
    """It is used by the model at the same time."""
    before = own.to_str()
    DocumentWay(Model([Module(own)]), LIMIT, None).tokenizer(TEXTS)
    assert own.to_str() == before


def test_nothing_is_cut_without_a_limit(own: Any) -> None:
    """Some models read texts of any length."""
    made = RustTokenizer(own.to_str(), NO_LIMIT, "", "right")(TEXTS)
    assert made.cut.tolist() == [0] * len(TEXTS)
    assert made.read.tolist() == [len(whole(text)) for text in TEXTS]


def test_a_limit_without_room_is_refused(own: Any) -> None:
    """Two special tokens are no text."""
    with pytest.raises(
        EncodingError, match=r"^option 'max_tokens' = 2 leaves no room for text beside the 2 special tokens"
    ):
        RustTokenizer(own.to_str(), 2, "", "right")


@pytest.mark.parametrize("text", ["dog the " * 50, " " * 300 + "dog " * 100, "x" * 400, "dog" + " " * 900 + "cat"])
def test_a_huge_text_is_counted_piece_by_piece(own: Any, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The ids are those of the whole text, and so is the count where there are blanks to cut at."""
    monkeypatch.setattr(tokens, "LONGEST_PIECE", 128)  # longer than what this tokenizer takes for a word
    made = RustTokenizer(own.to_str(), LIMIT, "", "right")(["cat", text, "dog"])
    assert made.ids is not None
    assert [ids.tolist() for ids in made.ids] == [cutting("cat"), cutting(text), cutting("dog")]
    if " " in text:
        assert int(made.read[1] + made.cut[1]) == len(whole(text))


def test_texts_are_tokenised_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, none left out; a group ends where it has enough characters."""
    monkeypatch.setattr(tokens, "GROUP_CHARACTERS", 10)
    assert [list(group) for group in groups(["12345", "12345", "1", "123456789012", "1"])] == [[0, 1], [2, 3], [4]]
    assert list(groups([])) == []


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(st.sampled_from("ab \n\t"), max_size=200), st.integers(1, 20))
def test_pieces_are_the_whole_text(text: str, size: int) -> None:
    """Nothing is lost, and no piece is more than twice as long as asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "LONGEST_PIECE", size)
        made = list(pieces(text))
    assert "".join(made) == text
    assert all(len(piece) <= 2 * size for piece in made)


class PythonTokenizer:
    """Counts words, as slowly as it likes."""

    def __call__(self, text: str, truncation: bool, verbose: bool) -> dict[str, list[int]]:
        return {"input_ids": [0, *range(len(text.split())), 0]}


def test_a_tokenizer_in_python_counts_too() -> None:
    """It takes longer, but what is cut is said; the model tokenises again."""
    made = SlowTokenizer(PythonTokenizer(), 5, "p ")(["a b", "a b c d e"])
    assert (made.ids, made.read.tolist(), made.cut.tolist(), made.exact) == (None, [5, 5], [0, 3], True)


def test_without_a_tokenizer_lengths_are_estimates() -> None:
    """Enough to put like to like; they are not reported."""
    made = Estimate()(["a" * 8, "a" * 80])
    assert (made.ids, made.read.tolist(), made.cut.tolist(), made.exact) == (None, [3, 21], [0, 0], False)


class Module:
    """A Transformer as far as reading is concerned."""

    auto_model = None
    max_seq_length = 4

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer


class Model(list[Module]):
    """A model of one module."""

    prompts = None
    default_prompt_name = None


def fast(own: Any, side: str = "right") -> Any:
    """A tokenizer that has one in Rust behind it."""

    class Fast:
        backend_tokenizer = own
        truncation_side = side

    return Fast()


def test_the_fastest_tokenizer_is_taken(own: Any) -> None:
    """Rust's, bare or inside a fast one; else the one in Python; else none."""
    made = [
        DocumentWay(Model([Module(held)]), None, None).tokenizer for held in (own, fast(own), PythonTokenizer(), None)
    ]
    assert [type(one).__name__ for one in made] == ["RustTokenizer", "RustTokenizer", "SlowTokenizer", "Estimate"]


def test_the_side_that_is_cut_is_the_models(own: Any) -> None:
    """Some models read the end of a long text."""
    made = DocumentWay(Model([Module(fast(own, "left"))]), None, None).tokenizer(["dog cat dog fish"])
    assert made.ids is not None
    assert made.ids[0].tolist() == [2, *whole("dog fish")[1:-1], 3]
