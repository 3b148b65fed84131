"""Encoders: the one that is loaded, those that users bring, and a real model against its own library."""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from spark_vector_sink.encode import device as devices
from spark_vector_sink.encode import loader, model_files
from spark_vector_sink.encode.encoder import Encoded, EncoderSpec
from spark_vector_sink.encode.loader import load
from spark_vector_sink.errors import EncodingError
from tests.unit.fakes import HashEncoder

ROOT = Path(__file__).parents[2]
HERE = __name__


def encode(encoder: Any, texts: Sequence[str]) -> Encoded:
    """What the engine does in two threads."""
    made: Encoded = encoder.encode(encoder.tokenise(texts))
    return made


CUSTOM = EncoderSpec("encoder x", "", factory="tests.unit.fakes:HashEncoder")


# --- what users bring -------------------------------------------------------------------------------------------------


class Counting:
    """Says how often it was made."""

    made = 0
    dimension = 2

    def __init__(self) -> None:
        type(self).made += 1

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float(len(text)), 1.0] for text in texts]


class Nested:
    """Holds a factory, as a class or a settings object may."""

    @staticmethod
    def factory() -> Counting:
        return Counting()


class Telling(Counting):
    """Says everything that an encoder can say."""

    identity, device, dtype = "mine@1", "cuda:3", "float16"

    def encode(self, texts: Sequence[str]) -> Encoded:  # type: ignore[override]
        ones = np.ones(len(texts), np.int64)
        return Encoded(np.ones((len(texts), 2), np.float32), ones * 5, ones)

    def encode_query(self, text: str) -> list[float]:
        return [9.0, 9.0]


class Wrong:
    """Returns what it is given as `answer`."""

    dimension = 2
    answer: Any = None

    def encode(self, texts: Sequence[str]) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class NoDimension:
    def encode(self, texts: Sequence[str]) -> None: ...


class Neither:
    pass


def fails() -> None:
    raise RuntimeError("first line\nsecond line")


def custom(name: str) -> EncoderSpec:
    return EncoderSpec("", "", factory=f"{HERE}:{name}")


def test_an_object_of_the_users_is_wrapped() -> None:
    """With just `dimension` and `encode` it gives float32 vectors, and tells nothing of tokens."""
    encoded = encode(load(custom("Counting")), ["a", "bcd"])
    assert (encoded.vectors.dtype, encoded.vectors.tolist()) == (np.float32, [[1.0, 1.0], [3.0, 1.0]])
    assert (encoded.tokens.tolist(), encoded.cut.tolist()) == ([0, 0], [0, 0])


def test_a_question_is_encoded_like_a_document() -> None:
    """Where the object has no other way."""
    assert load(custom("Counting")).encode_query("abc").vectors[0].tolist() == [3.0, 1.0]


def test_an_object_may_say_more() -> None:
    """Tokens, identity, device and a way of its own for questions are used."""
    encoder = load(custom("Telling"))
    assert (encoder.identity, encoder.device, encoder.dtype) == ("mine@1", "cuda:3", "float16")
    assert encode(encoder, ["a", "b"]).tokens.tolist() == [5, 5]
    assert encoder.encode_query("x").vectors[0].tolist() == [9.0, 9.0]


def test_a_factory_may_lie_deeper() -> None:
    """`module:object.attribute` is a way to name one."""
    assert load(custom("Nested.factory")).dimension == 2


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            "no_such_module_x:f",
            "option 'encoder' = 'no_such_module_x:f' failed: there is no module 'no_such_module_x' on host "
            f"{socket.gethostname()}; "
            "install it, or ship it to the executors: spark.sparkContext.addPyFile(…), or --py-files",
        ),
        (
            f"{HERE}:nothing",
            f"option 'encoder' = '{HERE}:nothing' failed: AttributeError: module '{HERE}' has no attribute 'nothing'",
        ),
        (f"{HERE}:fails", f"option 'encoder' = '{HERE}:fails' failed: RuntimeError: first line second line"),
        (f"{HERE}:NoDimension", f"option 'encoder' = '{HERE}:NoDimension' returned a NoDimension without dimension"),
        (f"{HERE}:Neither", f"option 'encoder' = '{HERE}:Neither' returned a Neither without dimension and encode"),
    ],
)
def test_a_factory_that_does_not_work_is_named(factory: str, message: str) -> None:
    """In one line, with the reason; nothing is left loaded."""
    with pytest.raises(EncodingError) as failed:
        load(EncoderSpec("", "", factory=factory))
    assert str(failed.value) == message
    assert loader._loaded is None


@pytest.mark.parametrize("shape", [(1, 2), (2, 3), (2,), (2, 2, 1)])
def test_a_wrong_shape_is_refused(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    """Vectors of another number or length would end up with the wrong rows."""
    monkeypatch.setattr(Wrong, "answer", np.zeros(shape))
    with pytest.raises(EncodingError) as failed:
        encode(load(custom("Wrong")), ["a", "b"])
    assert (
        str(failed.value)
        == f"the encoder '{HERE}:Wrong' returned an array of shape {shape} for 2 texts, it must be (2, 2)"
    )


@pytest.mark.parametrize(
    "answer",
    [[[1.0, 2.0], [3.0]], None, "vectors", RuntimeError("first line\nsecond line")],
    ids=["ragged", "None", "text", "raises"],
)
def test_an_answer_that_is_no_vectors_is_refused(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    """Whatever the object does, the error is ours, in one line, and names the encoder."""
    monkeypatch.setattr(Wrong, "answer", answer)
    with pytest.raises(EncodingError, match=f"{HERE}:Wrong") as failed:
        encode(load(custom("Wrong")), ["a", "b"])
    assert "\n" not in str(failed.value)


def test_a_wrong_shape_is_refused_of_encoded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that tells tokens can be wrong about vectors all the same."""
    ones = np.ones(2, np.int64)
    monkeypatch.setattr(Wrong, "answer", Encoded(np.zeros((2, 3), np.float32), ones, ones))
    with pytest.raises(EncodingError, match=r"must be \(2, 2\)"):
        encode(load(custom("Wrong")), ["a", "b"])


# --- one for each process ---------------------------------------------------------------------------------------------


def test_the_same_spec_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is used again has its model still."""
    monkeypatch.setattr(Counting, "made", 0)
    assert load(custom("Counting")) is load(custom("Counting"))
    assert Counting.made == 1


def test_another_spec_takes_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one is kept, so that a worker does not fill up with models."""
    monkeypatch.setattr(Counting, "made", 0)
    first = load(custom("Counting"))
    load(CUSTOM)
    assert load(custom("Counting")) is not first
    assert Counting.made == 2


OTHER: dict[str, Any] = {
    "identity": "other",
    "model": "other",
    "revision": "other",
    "device": "cuda",
    "dtype": "float16",
    "token_budget": 1,
    "prompt": "other",
    "normalize": True,
    "truncate_dim": 1,
    "max_tokens": 1,
    "trust_remote_code": True,
    "shipped": True,
    "is_sparse": True,
    "sparse": EncoderSpec("other", "other"),
}


@pytest.mark.parametrize("name", [f.name for f in fields(EncoderSpec) if f.name != "factory"])
def test_everything_that_changes_vectors_is_in_the_key(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A spec that differs in one field is another model."""
    monkeypatch.setattr(devices, "choose", lambda asked, gpus: asked)
    monkeypatch.setattr(loader, "_model", lambda spec, chosen, files: object())
    spec = EncoderSpec("identity", "model")
    first = load(spec)
    assert load(spec) is first
    assert load(replace(spec, **{name: OTHER[name]})) is not first


def test_another_gpu_is_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may be given another device by Spark."""
    monkeypatch.setattr(devices, "choose", lambda asked, gpus: f"cuda:{gpus[0]}")
    monkeypatch.setattr(loader, "_model", lambda spec, chosen, files: [chosen])
    spec = EncoderSpec("identity", "model")
    assert load(spec, gpus=("0",)) is not load(spec, gpus=("1",))
    assert load(spec, gpus=("1",)) == ["cuda:1"]


class Collecting(Counting):
    """Says whether Python collected garbage while it was made."""

    did: bool | None = None

    def __init__(self) -> None:
        Collecting.did = gc.isenabled()


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("factory", ["Collecting", "Neither"])
def test_python_collects_no_garbage_while_a_model_loads(
    monkeypatch: pytest.MonkeyPatch, factory: str, is_on: bool
) -> None:
    """It would look through half a million new objects again and again. Afterwards it does as it did before, also where
    loading fails."""
    monkeypatch.setattr(loader, "_loaded", None)
    before = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        with suppress(EncodingError):
            load(EncoderSpec("x", "", factory=f"{HERE}:{factory}"))
        assert gc.isenabled() is is_on
    finally:
        (gc.enable if before else gc.disable)()
    if factory == "Collecting":
        assert Collecting.did is False


def test_a_model_that_fails_to_load_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is not remembered in its place, nor is the model before it."""
    load(CUSTOM)
    with pytest.raises(EncodingError):
        load(custom("fails"))
    monkeypatch.setattr(Counting, "made", 0)
    assert load(custom("Counting")).dimension == 2


# --- a model's files --------------------------------------------------------------------------------------------------


def model_folder(folder: Path, modules: Sequence[tuple[str, dict[str, Any]]], **settings: Any) -> Path:
    """A folder with just the small files of a model."""
    folder.mkdir()
    listed = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}", "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, _) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    for i, (kind, config) in enumerate(modules):
        (folder / f"{i}_{kind}").mkdir()
        (folder / f"{i}_{kind}" / "config.json").write_text(json.dumps(config))
    return folder


BERT = ("Transformer", {"hidden_size": 16})
MEAN = ("Pooling", {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})


@pytest.mark.parametrize(
    ("modules", "dimension"),
    [
        ([BERT, MEAN], 16),
        ([BERT, MEAN, ("Normalize", {})], 16),
        ([BERT, MEAN, ("Dense", {"in_features": 16, "out_features": 24}), ("Normalize", {})], 24),
        ([BERT, MEAN, ("Dense", {"out_features": 24}), ("Dropout", {}), ("LayerNorm", {"dimension": 24})], 24),
        (
            [
                BERT,
                (
                    "Pooling",
                    {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
                ),
            ],
            32,
        ),
        ([BERT, ("Pooling", {"embedding_dimension": 16, "pooling_mode": "mean"})], 16),
        ([BERT, MEAN, ("Mystery", {})], None),
        ([("StaticEmbedding", {})], None),
    ],
)
def test_the_files_tell_the_dimension(
    tmp_path: Path, modules: list[tuple[str, dict[str, Any]]], dimension: int | None
) -> None:
    """The last module that changes the length says it; where none does, nothing is guessed."""
    files = model_files.read(str(model_folder(tmp_path / "m", modules)), None)
    assert (files.dimension, files.revision) == (dimension, None)


def test_the_tiny_models_files_tell_its_dimension(tiny_model: Path) -> None:
    """A folder as today's library writes it."""
    files = model_files.read(str(tiny_model), None)
    assert (files.dimension, files.prompts) == (32, {"query": "query: ", "document": ""})


def test_a_copy_is_the_same_model(tmp_path: Path) -> None:
    """Identity is content, not a path, so that a collection outlives a move."""
    first = model_folder(tmp_path / "a", [BERT, MEAN])
    shutil.copytree(first, tmp_path / "b")
    assert model_files.read(str(first), None).name == model_files.read(str(tmp_path / "b"), None).name


def test_one_byte_makes_another_model(tmp_path: Path) -> None:
    """Weights that differ give vectors that differ, also where size and time are the same."""
    folder = model_folder(tmp_path / "a", [BERT, MEAN])
    weights = folder / "model.safetensors"
    weights.write_bytes(b"weights 1")
    names = [model_files.read(str(folder), None).name]
    weights.write_bytes(b"weights 2")
    names.append(model_files.read(str(folder), None).name)
    other = tmp_path / "b"
    shutil.copytree(folder, other)
    (other / "model.safetensors").write_bytes(b"weights 3")
    shutil.copystat(folder / "model.safetensors", other / "model.safetensors")
    names.append(model_files.read(str(other), None).name)
    assert len(set(names)) == 3


@pytest.mark.parametrize("extra", ["README.md", ".cache/x", "onnx/model.onnx", "openvino/model.bin"])
def test_what_is_not_the_model_does_not_count(tmp_path: Path, extra: str) -> None:
    """A description, hidden files and exports to other runtimes change no vector."""
    folder = model_folder(tmp_path / "a", [BERT, MEAN])
    before = model_files.read(str(folder), None).name
    (folder / extra).parent.mkdir(exist_ok=True)
    (folder / extra).write_text("x")
    assert model_files.read(str(folder), None).name == before


def test_the_name_of_a_folder_is_no_path(tmp_path: Path) -> None:
    """It is kept in the collection, where a path of one machine means nothing."""
    name = model_files.read(str(model_folder(tmp_path / "secret-place", [BERT, MEAN])), None).name
    assert name.startswith("sha256:")
    assert "secret-place" not in name


@pytest.mark.parametrize("model", ["/no/such/folder", "./no-such-folder", "~/no-such-folder", "a/b/c"])
def test_a_missing_folder_is_named(model: str) -> None:
    """What looks like a path is not looked for on the hub."""
    with pytest.raises(
        EncodingError, match=r"^the model folder '.*' does not exist on this machine; correct option 'model'$"
    ):
        model_files.read(model, None)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    """It says what it lacks."""
    with pytest.raises(
        EncodingError,
        match=r"holds no model: neither modules\.json nor config\.json is in it, as far as it can be read$",
    ):
        model_files.read(str(tmp_path), None)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """Which file, and why."""
    folder = model_folder(tmp_path / "m", [BERT])
    (folder / "modules.json").write_text("{")
    with pytest.raises(EncodingError, match=r"^the model's file modules\.json cannot be read: "):
        model_files.read(str(folder), None)


@pytest.mark.parametrize("revision", [None, "v1"])
def test_a_hub_model_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch, revision: str | None) -> None:
    """Offline, and not in the cache: one line with the ways out, and none of the hub's own pages of text."""
    import huggingface_hub

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("Cannot reach https://huggingface.co:\noffline mode is enabled.")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(EncodingError) as failed:
        model_files.read("org/model", revision)
    at = " at revision 'v1'" if revision else ""
    assert str(failed.value) == (
        f"the model 'org/model'{at} cannot be had: no folder of that name is here, it is not in this machine's cache, "
        "and the hub does not give it (OSError); give a folder as option 'model', or check name and network"
    )


def test_a_hub_model_is_named_with_its_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A branch moves, a commit does not; short names are those of sentence-transformers."""
    import huggingface_hub

    folder = model_folder(tmp_path / "c0ffee", [BERT, MEAN])
    asked = []

    def download(repository: str, **kwargs: object) -> str:
        asked.append((repository, kwargs["revision"]))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    files = model_files.read("all-tiny", "main")
    assert (files.name, files.revision, asked) == (
        "all-tiny@c0ffee",
        "c0ffee",
        [("sentence-transformers/all-tiny", "main")],
    )


def test_reading_files_does_not_import_torch(tmp_path: Path) -> None:
    """The driver is checked and the collection created without it."""
    folder = model_folder(tmp_path / "m", [BERT, MEAN])
    script = (
        "import sys; from spark_vector_sink.encode import model_files, encoder; "
        f"assert model_files.read({str(folder)!r}, None).dimension == 16; print({{'torch', 'sentence_transformers'}} "
        "& set(sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert printed.strip() == "set()"


# --- a real model -----------------------------------------------------------------------------------------------------

TEXTS = [
    "a vector database stores points",
    "dog",
    "the quick brown fox jumps over the lazy dog " * 12,
    "Rain falls, snow melts, wind blows, and summer comes after spring.",
    "🙂 ünïcode 漢字",
    "x",
    "dog " * 62,
    "dog " * 63,
]


def tiny(model: Path, **changes: Any) -> Any:
    return load(
        replace(
            EncoderSpec(model_files.read(str(model), None).name, str(model), device="cpu", dtype="float32"), **changes
        )
    )


@pytest.fixture(scope="module")
def reference(tiny_model: Path) -> Any:
    """The same model in its own library."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(tiny_model), device="cpu")


def one_by_one(model: Any, texts: Sequence[str], **how: Any) -> npt.NDArray[np.float32]:
    vectors: npt.NDArray[np.float32] = np.stack(
        [model.encode_document([text], show_progress_bar=False, **how)[0] for text in texts]
    )
    return vectors


@pytest.mark.parametrize("budget", [1, 100, 4096])
def test_the_tiny_model_encodes_a_window_like_its_texts(tiny_model: Path, reference: Any, budget: int) -> None:
    """In the order of the texts, whatever was put together with what."""
    encoded = encode(tiny(tiny_model, token_budget=budget), TEXTS)
    assert (encoded.vectors.dtype, encoded.vectors.shape) == (np.float32, (len(TEXTS), 32))
    assert np.abs(encoded.vectors - one_by_one(reference, TEXTS)).max() <= 1e-5


def test_an_empty_window_has_the_right_shape(tiny_model: Path) -> None:
    """An empty window has the right shape."""
    encoded = encode(tiny(tiny_model), [])
    assert (encoded.vectors.shape, len(encoded.tokens), len(encoded.cut)) == ((0, 32), 0, 0)


def test_tokens_are_counted_exactly(tiny_model: Path, reference: Any) -> None:
    """Read and cut add up to what the tokenizer makes of the whole text, its two special tokens included."""
    encoded = encode(tiny(tiny_model), TEXTS)
    whole = [len(reference.tokenizer(text, truncation=False)["input_ids"]) for text in TEXTS]
    assert (encoded.tokens + encoded.cut).tolist() == whole
    assert encoded.tokens.tolist() == [min(64, count) for count in whole]
    assert whole[-2:] == [64, 65]  # of the two last texts just one is cut, by one token
    assert encoded.cut[-2:].tolist() == [0, 1]


def test_a_text_is_cut_to_max_tokens(tiny_model: Path, reference: Any) -> None:
    """`max_tokens` is the limit, and the vector is that of the shorter text."""
    encoded = encode(tiny(tiny_model, max_tokens=8), ["dog " * 20, "dog " * 6])
    assert (encoded.tokens.tolist(), encoded.cut.tolist()) == ([8, 8], [14, 0])
    assert np.abs(encoded.vectors[0] - one_by_one(reference, ["dog " * 6])[0]).max() <= 1e-5


def test_more_tokens_than_the_model_has_change_nothing(tiny_model: Path) -> None:
    """A model reads no more than it can."""
    assert encode(tiny(tiny_model, max_tokens=5000), ["dog " * 100]).tokens.tolist() == [64]


def test_a_prompt_is_put_before_and_counted(tiny_model: Path, reference: Any) -> None:
    """Its tokens take room from the text."""
    encoded = encode(tiny(tiny_model, prompt="read the document "), ["dog", "dog " * 62])
    assert (encoded.tokens.tolist(), encoded.cut.tolist()) == ([6, 64], [0, 3])
    assert np.abs(encoded.vectors[:1] - one_by_one(reference, ["read the document dog"])).max() <= 1e-5


def test_the_models_own_document_prompt_is_counted(tiny_model: Path, tmp_path: Path) -> None:
    """The one that its library puts before each document without being asked."""
    folder = tmp_path / "prompted"
    shutil.copytree(tiny_model, folder)
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({**settings, "prompts": {"document": "read the document "}})
    )
    assert encode(tiny(folder), ["dog"]).tokens.tolist() == [6]


def test_a_question_has_the_models_query_prompt(tiny_model: Path, reference: Any) -> None:
    """Documents and questions are told apart as the model was trained to."""
    made = tiny(tiny_model).encode_query("dog").vectors[0]
    assert np.abs(made - reference.encode(["query: dog"], prompt="")[0]).max() <= 1e-5


@pytest.mark.parametrize("normalize", [None, True])
def test_vectors_have_length_one(tiny_model: Path, normalize: bool | None) -> None:
    """As the model does it, and as asked."""
    lengths = np.linalg.norm(encode(tiny(tiny_model, normalize=normalize), TEXTS).vectors, axis=1)
    assert np.allclose(lengths, 1, atol=1e-6)


def test_vectors_keep_their_length_when_asked(tiny_model: Path, reference: Any) -> None:
    """normalize=false undoes the model's own last step, and the direction is the same."""
    vectors = encode(tiny(tiny_model, normalize=False), TEXTS).vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 0.01
    assert np.abs(vectors / lengths - one_by_one(reference, TEXTS)).max() <= 1e-5


def test_a_cut_vector_is_normalised_again(tiny_model: Path, reference: Any) -> None:
    """The first numbers, of length 1, and the dimension says so."""
    encoder = tiny(tiny_model, truncate_dim=8)
    made = encode(encoder, TEXTS).vectors
    cut = one_by_one(reference, TEXTS)[:, :8]
    assert (encoder.dimension, made.shape) == (8, (len(TEXTS), 8))
    assert np.abs(made - cut / np.linalg.norm(cut, axis=1, keepdims=True)).max() <= 1e-5
    assert encoder.encode_query("dog").vectors.shape == (1, 8)


def test_half_precision_comes_out_as_float32(tiny_model: Path, reference: Any) -> None:
    """bfloat16 is near, and lengths are still one."""
    made = encode(tiny(tiny_model, dtype="bfloat16"), TEXTS).vectors
    assert made.dtype == np.float32
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)
    assert (made * one_by_one(reference, TEXTS)).sum(axis=1).min() > 0.999


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truncate_dim": 33}, "option 'truncate_dim' = 33 is more than the model's 32 dimensions"),
        ({"device": "cuda"}, "option 'device' = 'cuda', but torch finds no CUDA device on this machine"),
    ],
)
def test_what_the_model_cannot_do_is_said(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, changes: dict[str, Any], message: str
) -> None:
    """In one line, when it is loaded."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EncodingError) as failed:
        tiny(tiny_model, **changes)
    assert str(failed.value) == message


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """One line of whatever the library says."""
    folder = model_folder(tmp_path / "m", [BERT, MEAN])
    with pytest.raises(EncodingError, match=r"^the model '.*' cannot be loaded on this machine: ") as failed:
        tiny(folder)
    assert "\n" not in str(failed.value)


def test_another_model_under_the_drivers_path_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """An executor whose folder holds other files, or no folder, says so instead of writing other vectors."""
    identity = model_files.read(str(tiny_model), None).name
    shutil.copytree(tiny_model, tmp_path / "m")
    (tmp_path / "m" / "extra.json").write_text("{}")
    with pytest.raises(
        EncodingError,
        match=rf"host .* holds sha256:.*, the driver's is {identity}; put the same model on every machine",
    ):
        load(EncoderSpec(identity, str(tmp_path / "m")))
    with pytest.raises(EncodingError, match=r"is not on host .*; put it at the same path on every executor"):
        load(EncoderSpec(identity, str(tmp_path / "nowhere")))


@pytest.mark.parametrize("dimension", ["x", 0, None, 2.5])
def test_a_factory_must_tell_a_dimension(monkeypatch: pytest.MonkeyPatch, dimension: Any) -> None:
    """A dimension that is no positive integer is refused when the encoder is made."""
    monkeypatch.setattr(HashEncoder, "dimension", dimension)
    with pytest.raises(EncodingError, match="no positive integer"):
        load(replace(CUSTOM, identity=str(dimension)))


def test_a_dimension_may_be_a_number_of_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `weights.shape[1]` of some libraries is."""
    monkeypatch.setattr(HashEncoder, "dimension", np.int64(64))
    assert load(replace(CUSTOM, identity="numpy")).dimension == 64


def test_threads_are_those_of_the_task(tiny_model: Path) -> None:
    """torch's own default, every core in every worker, is three times slower."""
    import torch

    before = torch.get_num_threads()
    try:
        load(EncoderSpec(model_files.read(str(tiny_model), None).name, str(tiny_model), device="cpu"), threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
        os.environ.pop("TOKENIZERS_PARALLELISM", None)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx512_bf16"}, "bfloat16"),
        ({"amx_bf16", "avx512f"}, "bfloat16"),
        ({"avx512f"}, "float32"),
        (set(), "float32"),
    ],
)
def test_auto_is_half_precision_where_it_is_native(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: str
) -> None:
    """Emulated it would be three times slower; who asks for one gets it."""
    monkeypatch.setattr(devices, "_cpu_flags", lambda: frozenset(flags))
    assert devices.dtype("auto", "cpu") == expected
    assert devices.dtype("float16", "cpu") == "float16"
