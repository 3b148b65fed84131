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

TEXTS = (
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
)
"""One window: short, long, strange, and one at the limit and one past it for each limit."""

QUESTION = "which document is about dogs?"
MANY_BATCHES = 300
"""A token budget of which a window of TEXTS needs several batches."""

Folder = Callable[[str], Path]


@pytest.fixture(scope="module", params=models.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind, and all tests of one before those of the next: it is loaded once."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def encoder(model_of: Folder, kind: str) -> Any:
    """The kind with its defaults."""
    return loaded(model_of(kind), token_budget=MANY_BATCHES)


def loaded(folder: Path, **changes: Any) -> Any:
    """The sink's encoder. A folder is named by its content, so the identity is read from it."""
    identity = model_files.read(str(folder), None).name
    return loader.load(EncoderSpec(identity, str(folder), device="cpu", **{"dtype": "float32", **changes}), threads=1)


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
    """Of each text: its vector; the tokens that reach the model; the tokens of the whole text, special ones and prompt
    included."""

    vectors: npt.NDArray[np.float32]
    read: list[int]
    whole: list[int]
    normalizes: bool
    question: npt.NDArray[np.float32]


@cache
def expected(
    folder: Path,
    texts: tuple[str, ...] = TEXTS,
    *,
    most: int | None = None,
    normalize: bool | None = None,
    prompt: str | None = None,
) -> Expected:
    """What the library makes of the texts, each on its own and so without padding, and of QUESTION."""
    model = reference(folder, most=most, normalize=normalize)
    question = model.encode_query(QUESTION, show_progress_bar=False, convert_to_numpy=True)
    vectors = [
        model.encode_document(text, prompt=prompt, show_progress_bar=False, convert_to_numpy=True) for text in texts
    ]
    if prompt is None:
        prompt = str(
            next((model.prompts[name] for name in ("document", "passage", "corpus") if name in model.prompts), "")
        )
    features = [model.preprocess([text], prompt=prompt, task="document") for text in texts]
    read = [int(one["attention_mask"].sum()) if "attention_mask" in one else len(one["input_ids"]) for one in features]
    tokenizer = _route(model)[0].tokenizer
    if type(_route(model)[0]).__name__ == "StaticEmbedding":
        tokenizer.no_truncation()
        counts = [len(tokenizer.encode(prompt + text, add_special_tokens=False)) for text in texts]
    else:
        counts = [len(tokenizer(prompt + text, truncation=False, verbose=False)["input_ids"]) for text in texts]
    return Expected(np.stack(vectors), read, counts, _normalizes(model), question)


def distance(made: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> float:
    """The largest difference of two numbers, after the shapes were found equal."""
    assert (made.dtype, made.shape) == (np.float32, wanted.shape)
    return float(np.abs(made - wanted).max())


def same_counts(made: Encoded, wanted: Expected) -> None:
    """What was read and what was cut are the model's own numbers."""
    assert (made.tokens.dtype, made.cut.dtype) == (np.int64, np.int64)
    assert made.tokens.tolist() == wanted.read
    assert (made.tokens + made.cut).tolist() == wanted.whole


# --- each kind with its defaults --------------------------------------------------------------------------------------


def test_a_window_is_encoded_like_its_texts(model_of: Folder, kind: str, encoder: Any) -> None:
    """In the order of the texts, whatever is put into one batch, with the prompt that the model puts before documents;
    tokens are counted as the model's own tokenizer counts them, those that it does not read too."""
    made, wanted = encoded(encoder, TEXTS), expected(model_of(kind))
    assert distance(made.vectors, wanted.vectors) <= CLOSE
    assert distance(np.linalg.norm(made.vectors, axis=1), np.linalg.norm(wanted.vectors, axis=1)) <= CLOSE
    assert encoder.dimension == made.vectors.shape[1]
    same_counts(made, wanted)


def test_a_question_is_encoded_like_the_library_does_it(model_of: Folder, kind: str, encoder: Any) -> None:
    """With the prompt, and by the modules, that the model has for questions."""
    assert distance(encoder.encode_query(QUESTION).vectors[0], expected(model_of(kind)).question) <= CLOSE


SHORT_CUT = {
    "bert-mean",
    "bert-cls-normalize",
    "mpnet",
    "roberta",
    "prompts",
    "passage-prompt",
    "dense-normalize",
    "max-pooling",
    "several-poolings",
    "lower-case",
    "lasttoken-left-padding",
    "document-limit",
    "no-modules-json",
    "decoder-without-modules-json",
}


def test_token_ids_go_straight_into_plain_models_only(kind: str, encoder: Any) -> None:
    """Models that read texts in a way of their own get the texts."""
    assert (encoder._features is not None) == (kind in SHORT_CUT)


# --- what does not hang on the kind: the kinds whose mechanisms differ ------------------------------------------------


@pytest.mark.parametrize("kind", ["max-pooling", "lasttoken-left-padding", "exclude-prompt", "static"])
def test_a_window_of_one_batch_is_encoded_like_its_texts(model_of: Folder, kind: str) -> None:
    """However much is padded. Padding is ours after the text, ours before it, the library's, and none (word vectors lie
    end to end)."""
    made = encoded(loaded(model_of(kind), token_budget=100_000), TEXTS)
    assert distance(made.vectors, expected(model_of(kind)).vectors) <= CLOSE


@pytest.mark.parametrize("kind", ["bert-mean", "router", "slow-tokenizer", "static"])
def test_a_huge_text_is_encoded_like_any(model_of: Folder, kind: str) -> None:
    """60,000 characters among short texts. The tokenizer's ids are all that the model sees, or it gets the text itself,
    after it was counted in Rust or in Python; word vectors are made of all of it."""
    texts = ("dog", "the dog and the fox " * 3_000, "", "the fox")
    made, wanted = encoded(loaded(model_of(kind), token_budget=MANY_BATCHES), texts), expected(model_of(kind), texts)
    assert distance(made.vectors, wanted.vectors) <= CLOSE
    same_counts(made, wanted)


@pytest.mark.parametrize("kind", ["bert-mean", "router", "slow-tokenizer", "static"])
def test_no_texts_are_no_vectors(model_of: Folder, kind: str) -> None:
    """An empty window has the right shape, in each of the ways by which texts get to a model: as in the test of a huge
    text."""
    encoder = loaded(model_of(kind))
    made = encoded(encoder, [])
    assert (made.vectors.shape, made.tokens.shape, made.cut.shape) == ((0, encoder.dimension), (0,), (0,))


@pytest.mark.parametrize("kind", ["dense-normalize", "mpnet", "lasttoken-left-padding", "router"])
def test_half_precision_is_near(model_of: Folder, kind: str) -> None:
    """Matrix products in bfloat16, all else in float32, gives nearly the same vectors: by three architectures (BERT
    with a layer behind it that stays in float32, MPNet, Llama), and by a Router, which has no Transformer in front and
    stays as it is."""
    encoder = loaded(model_of(kind), dtype="bfloat16")
    made, exact = encoded(encoder, TEXTS).vectors, expected(model_of(kind)).vectors
    assert encoder.dtype == ("float32" if kind == "router" else "bfloat16")
    assert made.dtype == np.float32
    assert (np.linalg.norm(made - exact, axis=1) <= 0.05 * np.linalg.norm(exact, axis=1)).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_that_are_stored_in_half_precision(model_of: Folder, tmp_path: Path, dtype: str) -> None:
    """What computes in which precision is decided by the option, not by the file; also where modules follow that have
    weights."""
    import torch
    from sentence_transformers import SentenceTransformer

    stored = SentenceTransformer(str(model_of("dense-normalize")), device="cpu").to(torch.bfloat16)
    stored.save_pretrained(str(tmp_path / "half"), create_model_card=False)
    exact = SentenceTransformer(str(tmp_path / "half"), device="cpu").float()
    wanted = np.stack([exact.encode_document(text, show_progress_bar=False) for text in TEXTS[:8]])
    identity = model_files.read(str(tmp_path / "half"), None).name
    made = encoded(
        loader.load(EncoderSpec(identity, str(tmp_path / "half"), device="cpu", dtype=dtype), threads=1), TEXTS[:8]
    ).vectors
    assert np.abs(made - wanted).max() <= (1e-5 if dtype == "float32" else 0.05)


# --- what can be asked for, of the kinds whose mechanisms differ ------------------------------------------------------


@pytest.mark.parametrize(("normalize", "truncate_dim"), [(True, None), (False, None), (None, 8)])
@pytest.mark.parametrize("kind", ["bert-mean", "dense-normalize", "router", "static"])
def test_vectors_are_cut_and_normalised_as_asked(
    model_of: Folder, kind: str, normalize: bool | None, truncate_dim: int | None
) -> None:
    """Unless told, a model that ends in Normalize gives vectors of length 1, cut ones too; told not to, they keep their
    length. Normalize is nowhere, last, last in each way of a Router, and nowhere though vectors of zeros cannot be
    normalised."""
    encoder = loaded(model_of(kind), normalize=normalize, truncate_dim=truncate_dim)
    own = expected(model_of(kind), normalize=normalize)
    wanted = own.vectors[:, :truncate_dim]
    if normalize or (normalize is None and own.normalizes):
        wanted = unit(wanted)
    assert distance(encoded(encoder, TEXTS).vectors, wanted) <= CLOSE
    assert encoder.dimension == wanted.shape[1]


ANOTHER = "tell me of one document: "


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [
        ("prompts", ""),
        ("exclude-prompt", ""),
        ("prompts", ANOTHER),
        ("exclude-prompt", ANOTHER),
        ("static-limited", ANOTHER),
        ("slow-tokenizer", ANOTHER),
    ],
)
def test_a_prompt_takes_the_place_of_the_models_own(model_of: Folder, kind: str, prompt: str) -> None:
    """Also an empty one. Its tokens are counted, and take room from the text. A prompt is among our ids, or left out of
    the mean by the library and so given to it, among word vectors, and counted in Python; only a model that has one can
    be given none."""
    made, wanted = encoded(loaded(model_of(kind), prompt=prompt), TEXTS), expected(model_of(kind), prompt=prompt)
    assert distance(made.vectors, wanted.vectors) <= CLOSE
    same_counts(made, wanted)


LIMITED = ["document-limit", "static-limited", "slow-tokenizer", "router"]
"""A limit is one of documents alone, the tokenizer's own, one that only the model's Python tokenizer keeps, and one
inside a Router."""


@pytest.mark.parametrize("most", [4, 17])
@pytest.mark.parametrize("kind", LIMITED)
def test_fewer_tokens_are_read_when_asked(model_of: Folder, kind: str, most: int) -> None:
    """`max_tokens` is the limit of every kind, special tokens and prompt included; a text that is cut keeps its special
    tokens."""
    made, wanted = encoded(loaded(model_of(kind), max_tokens=most), TEXTS), expected(model_of(kind), most=most)
    assert distance(made.vectors, wanted.vectors) <= CLOSE
    assert max(wanted.read) <= most
    same_counts(made, wanted)


@pytest.mark.parametrize("kind", LIMITED)
def test_more_tokens_than_the_model_reads_change_nothing(model_of: Folder, kind: str) -> None:
    """A limit beyond the model's own has no effect."""
    made, wanted = encoded(loaded(model_of(kind), max_tokens=100_000), TEXTS), expected(model_of(kind))
    assert distance(made.vectors, wanted.vectors) <= CLOSE
    same_counts(made, wanted)


# --- the models themselves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert-mean", "static", "no-modules-json", "splade-static-query"])
def test_a_kind_is_always_the_same(model_of: Folder, tmp_path: Path, kind: str) -> None:
    """Two builds have the same bytes: new weights and a table in the library's format, those of transformers alone, and
    random ones that no module makes."""
    import torch

    first = model_of(kind)
    torch.rand(1)  # whatever was drawn before
    second = models.build(kind, tmp_path / kind)
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert [path for path in files if (first / path).read_bytes() != (second / path).read_bytes()] == []


def test_kinds_are_small(model_of: Folder) -> None:
    """Less than 1 MB each."""
    sizes = {
        kind: sum(path.stat().st_size for path in model_of(kind).rglob("*") if path.is_file())
        for kind in [*models.KINDS, *models.SPARSE_KINDS]
    }
    assert {kind for kind, size in sizes.items() if size >= 1_000_000} == set()
