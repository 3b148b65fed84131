"""What the sink encodes is what Sentence Transformers encodes, one document at a time, whatever kind of model it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from spark_vector_sink.encode import loader, model_files
from spark_vector_sink.encode.encoder import Encoded, EncoderSpec
from tests import models

CLOSE = 1e-5
"""Float32 sums in another order differ by about 1e-7; a wrong mask, position or token by much more."""

TEXTS = [
    "a vector database stores points",
    "",
    "dog",
    " ",
    ".",
    "the quick brown fox jumps over the lazy dog " * 40,
    "Rain falls, SNOW melts, wind blows, and summer comes after spring.",
    "dog",
    "dog " * 45,
    "dog " * 46,
    "dog " * 47,
    "dog " * 61,
    "dog " * 62,
    "dog " * 63,
    "ünïcode, 漢字仮名, ﬁne, e\u0301, \u2028 and \u00a0 spaces",
    "🙂👩‍👩‍👧‍👦🇫🇷",
    "שלום עולם, مرحبا بالعالم",
    "zero\0and one\0",
    "line\none\r\nline\ttwo",
    "[SEP] is no end, and </s> is none",
    "x" * 500,
    "the dog and the fox " * 15_000,
]
"""One window: short, long, strange, one at the limit and one past it for each limit, and 300,000 characters."""

WITHOUT_COUNTS = {"slow-tokenizer"}
"""Kinds of which the encoder may say nothing about tokens: counting with Python would take longer than encoding."""

Folder = Callable[[str], Path]


@pytest.fixture(params=models.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def loaded(folder: Path, **changes: Any) -> Any:
    """The sink's encoder. A folder is named by its content, so the identity is read from it."""
    identity = model_files.read(str(folder), None).name
    return loader.load(EncoderSpec(identity, str(folder), device="cpu", dtype="float32", **changes), threads=1)


def encoded(encoder: Any, texts: Sequence[str]) -> Encoded:
    """A window's vectors, in one step or in two."""
    made: Encoded = encoder.encode(encoder.tokenise(texts)) if hasattr(encoder, "tokenise") else encoder.encode(texts)
    return made


def reference(folder: Path, *, most: int | None = None, normalize: bool | None = None) -> Any:
    """The model in its own library. most: read no more tokens. normalize: False takes its own last step away."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    first = _route(model)[0]
    if most is not None and type(first).__name__ == "StaticEmbedding":
        own = first.tokenizer.truncation
        first.tokenizer.enable_truncation(min(most, own["max_length"]) if own else most)
    elif most is not None:
        first.max_seq_length = most
        first.document_length = None
    if normalize is False and _normalizes(model):
        _route(model).pop(-1) if _is_router(model) else model.pop(-1)
    return model


def _is_router(model: Any) -> bool:
    return type(model[0]).__name__ == "Router"


def _route(model: Any) -> Any:
    """The modules that a document goes through."""
    return model[0].sub_modules["document"] if _is_router(model) else model


def _normalizes(model: Any) -> bool:
    return type(_route(model)[-1]).__name__ == "Normalize"


def unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Of length 1; a vector of zeros, as word vectors give for no words, stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    made: npt.NDArray[np.float32] = vectors / np.where(lengths > 0, lengths, 1)
    return made


@dataclass(frozen=True)
class Expected:
    """Of each text: its vector; the tokens that reach the model; the tokens of the whole text, special ones and prompt included."""

    vectors: npt.NDArray[np.float32]
    read: list[int]
    whole: list[int]
    normalizes: bool


@cache
def expected(folder: Path, *, whole: bool = False, most: int | None = None, normalize: bool | None = None, prompt: str | None = None) -> Expected:
    """What the library makes of TEXTS, or without `whole` of all but the huge one, each on its own and so without padding."""
    model = reference(folder, most=most, normalize=normalize)
    texts = TEXTS if whole else TEXTS[:-1]
    vectors = [model.encode_document(text, prompt=prompt, show_progress_bar=False, convert_to_numpy=True) for text in texts]
    if prompt is None:
        prompt = str(next((model.prompts[name] for name in ("document", "passage", "corpus") if name in model.prompts), ""))
    features = [model.preprocess([text], prompt=prompt, task="document") for text in texts]
    read = [int(one["attention_mask"].sum()) if "attention_mask" in one else len(one["input_ids"]) for one in features]
    tokenizer = _route(model)[0].tokenizer
    if type(_route(model)[0]).__name__ == "StaticEmbedding":
        tokenizer.no_truncation()
        counts = [len(tokenizer.encode(prompt + text, add_special_tokens=False)) for text in texts]
    else:
        counts = [len(tokenizer(prompt + text, truncation=False, verbose=False)["input_ids"]) for text in texts]
    return Expected(np.stack(vectors), read, counts, _normalizes(model))


def distance(made: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> float:
    """The largest difference of two numbers, after the shapes were found equal."""
    assert (made.dtype, made.shape) == (np.float32, wanted.shape)
    return float(np.abs(made - wanted).max())


def same_counts(kind: str, made: Encoded, wanted: Expected) -> None:
    """What was read and what was cut are the model's own numbers; of some kinds they may be unknown."""
    assert (made.tokens.dtype, made.cut.dtype) == (np.int64, np.int64)
    if kind in WITHOUT_COUNTS and not made.tokens.any():
        assert not made.cut.any()
        return
    assert made.tokens.tolist() == wanted.read
    assert (made.tokens + made.cut).tolist() == wanted.whole


# --- what comes out ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [300, 4096])
def test_a_window_is_encoded_like_its_texts(model_of: Folder, kind: str, budget: int) -> None:
    """In the order of the texts, whatever is put into one batch, and with the prompt that the model puts before documents."""
    encoder = loaded(model_of(kind), token_budget=budget)
    made, wanted = encoded(encoder, TEXTS), expected(model_of(kind), whole=True)
    assert np.isfinite(made.vectors).all()
    assert distance(made.vectors, wanted.vectors) <= CLOSE
    assert distance(np.linalg.norm(made.vectors, axis=1), np.linalg.norm(wanted.vectors, axis=1)) <= CLOSE
    assert encoder.dimension == made.vectors.shape[1]


def test_tokens_are_those_of_the_models_own_tokenizer(model_of: Folder, kind: str) -> None:
    """What the model reads, and what of the whole text it does not."""
    same_counts(kind, encoded(loaded(model_of(kind)), TEXTS), expected(model_of(kind), whole=True))


def test_equal_texts_have_equal_vectors(model_of: Folder, kind: str) -> None:
    """Their places in the window are not theirs to see."""
    made = encoded(loaded(model_of(kind)), TEXTS[:-1]).vectors
    first, second = (place for place, text in enumerate(TEXTS) if text == "dog")
    assert distance(made[first], made[second]) <= CLOSE


def test_no_texts_are_no_vectors(model_of: Folder, kind: str) -> None:
    """An empty window has the right shape."""
    encoder = loaded(model_of(kind))
    made = encoded(encoder, [])
    assert (made.vectors.shape, made.tokens.shape, made.cut.shape) == ((0, encoder.dimension), (0,), (0,))


def test_a_question_is_encoded_like_the_library_does_it(model_of: Folder, kind: str) -> None:
    """With the prompt, and by the modules, that the model has for questions."""
    made = loaded(model_of(kind)).encode_query("which document is about dogs?").vectors[0]
    wanted = reference(model_of(kind)).encode_query("which document is about dogs?", show_progress_bar=False, convert_to_numpy=True)
    assert distance(made, wanted) <= CLOSE


def test_half_precision_is_near(model_of: Folder, kind: str) -> None:
    """Matrix products in bfloat16, all else in float32: any kind of Transformer gives nearly the same vectors."""
    encoder = loader.load(
        EncoderSpec(model_files.read(str(model_of(kind)), None).name, str(model_of(kind)), device="cpu", dtype="bfloat16"), threads=1
    )
    made, exact = encoded(encoder, TEXTS).vectors, encoded(loaded(model_of(kind)), TEXTS).vectors
    assert made.dtype == np.float32
    assert (np.linalg.norm(made - exact, axis=1) <= 0.05 * np.linalg.norm(exact, axis=1)).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_that_are_stored_in_half_precision(model_of: Folder, tmp_path: Path, dtype: str) -> None:
    """What computes in which precision is decided by the option, not by the file; also where modules follow that have weights."""
    import torch
    from sentence_transformers import SentenceTransformer

    stored = SentenceTransformer(str(model_of("dense-normalize")), device="cpu").to(torch.bfloat16)
    stored.save_pretrained(str(tmp_path / "half"), create_model_card=False)
    exact = SentenceTransformer(str(tmp_path / "half"), device="cpu").float()
    wanted = np.stack([exact.encode_document(text, show_progress_bar=False) for text in TEXTS[:8]])
    identity = model_files.read(str(tmp_path / "half"), None).name
    made = encoded(loader.load(EncoderSpec(identity, str(tmp_path / "half"), device="cpu", dtype=dtype), threads=1), TEXTS[:8]).vectors
    assert np.abs(made - wanted).max() <= (1e-5 if dtype == "float32" else 0.05)


SHORT_CUT = {
    "bert-mean", "bert-cls-normalize", "mpnet", "roberta", "prompts", "passage-prompt", "dense-normalize", "max-pooling", "several-poolings", "lower-case",
    "lasttoken-left-padding", "document-limit", "no-modules-json", "decoder-without-modules-json",
}  # fmt: skip


def test_token_ids_go_straight_into_plain_models_only(model_of: Folder, kind: str) -> None:
    """Models that read texts in a way of their own get the texts."""
    assert (loaded(model_of(kind))._features is not None) == (kind in SHORT_CUT)


# --- what can be asked for --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [None, True, False])
@pytest.mark.parametrize("truncate_dim", [None, 8])
def test_vectors_are_cut_and_normalised_as_asked(model_of: Folder, kind: str, normalize: bool | None, truncate_dim: int | None) -> None:
    """Unless told, a model that ends in Normalize gives vectors of length 1, cut ones too; told not to, they keep their length."""
    encoder = loaded(model_of(kind), normalize=normalize, truncate_dim=truncate_dim)
    own = expected(model_of(kind), normalize=normalize)
    wanted = own.vectors[:, :truncate_dim]
    if normalize or (normalize is None and own.normalizes):
        wanted = unit(wanted)
    assert distance(encoded(encoder, TEXTS[:-1]).vectors, wanted) <= CLOSE
    assert encoder.dimension == wanted.shape[1]


@pytest.mark.parametrize("prompt", ["", "tell me of one document: "])
def test_a_prompt_takes_the_place_of_the_models_own(model_of: Folder, kind: str, prompt: str) -> None:
    """Also an empty one. Its tokens are counted, and take room from the text."""
    made, wanted = encoded(loaded(model_of(kind), prompt=prompt), TEXTS[:-1]), expected(model_of(kind), prompt=prompt)
    assert distance(made.vectors, wanted.vectors) <= CLOSE
    same_counts(kind, made, wanted)


@pytest.mark.parametrize("most", [4, 17])
def test_fewer_tokens_are_read_when_asked(model_of: Folder, kind: str, most: int) -> None:
    """`max_tokens` is the limit of every kind, special tokens and prompt included; a text that is cut keeps its special tokens."""
    made, wanted = encoded(loaded(model_of(kind), max_tokens=most), TEXTS[:-1]), expected(model_of(kind), most=most)
    assert distance(made.vectors, wanted.vectors) <= CLOSE
    assert max(wanted.read) <= most
    same_counts(kind, made, wanted)


def test_more_tokens_than_the_model_reads_change_nothing(model_of: Folder, kind: str) -> None:
    """A limit beyond the model's own has no effect."""
    made, wanted = encoded(loaded(model_of(kind), max_tokens=100_000), TEXTS[:-1]), expected(model_of(kind))
    assert distance(made.vectors, wanted.vectors) <= CLOSE
    same_counts(kind, made, wanted)


# --- the models themselves --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*models.KINDS, *models.SPARSE_KINDS])
def test_a_kind_is_small_and_always_the_same(model_of: Folder, tmp_path: Path, kind: str) -> None:
    """Two builds have the same bytes, and less than 1 MB of them."""
    first, second = model_of(kind), models.build(kind, tmp_path / kind)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert [path for path in files if (first / path).read_bytes() != (second / path).read_bytes()] == []
    assert sum((first / path).stat().st_size for path in files) < 1_000_000
