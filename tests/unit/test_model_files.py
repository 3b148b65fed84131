"""What the small files of a model tell, in the styles of all versions, and what is said of a folder that is damaged."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spark_vector_sink.encode import model_config, model_files
from spark_vector_sink.encode.model_files import ModelFiles
from spark_vector_sink.errors import EncodingError

JSON = dict[str, Any]
LIBRARY = "sentence_transformers.models"
BERT: JSON = {"model_type": "bert", "hidden_size": 16, "max_position_embeddings": 512}
OLD_MEAN: JSON = {"word_embedding_dimension": 16, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
OTHER_MODULE = "custom_code.Pooling"


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Files of a folder: bytes as they are, anything else as JSON."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


def listed(*kinds: str) -> list[JSON]:
    """modules.json; the first module is in the model's own folder, as transformers are."""
    names = [kind if "." in kind else f"{LIBRARY}.{kind}" for kind in kinds]
    return [
        {"idx": n, "name": str(n), "path": f"{n}_{kind.rpartition('.')[2]}" if n else "", "type": name}
        for n, (kind, name) in enumerate(zip(kinds, names, strict=True))
    ]


def safetensors(header: Any) -> bytes:
    """A file of weights without its weights, which nobody here reads."""
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written


def read(folder: Path, files: dict[str, Any]) -> ModelFiles:
    return model_files.read(str(write(folder, files)), None)


def bert(**changes: Any) -> dict[str, Any]:
    """A BERT with a mean, in the style of version 2, and other files beside it."""
    return {
        "modules.json": listed("Transformer", "Pooling"),
        "config.json": BERT,
        "1_Pooling/config.json": OLD_MEAN,
        **changes,
    }


# --- dimension --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pooling", "dimension"),
    [
        (OLD_MEAN, 16),
        ({**OLD_MEAN, "pooling_mode_max_tokens": True}, 32),
        (
            {"word_embedding_dimension": 16, "pooling_mode_lasttoken": True, "pooling_mode_weightedmean_tokens": True},
            32,
        ),
        ({"word_embedding_dimension": 16}, 16),
        ({"embedding_dimension": 16, "pooling_mode": "cls"}, 16),
        ({"embedding_dimension": 16, "pooling_mode": ["cls", "mean", "max"]}, 48),
        ({"embedding_dimension": 16, "pooling_mode": ["cls"]}, 16),
        ({"embedding_dimension": "x", "pooling_mode": 5}, None),
    ],
)
def test_a_pooling_multiplies_the_width_by_its_modes(tmp_path: Path, pooling: JSON, dimension: int | None) -> None:
    """In the style of before and of today; without a mode it is the mean."""
    assert read(tmp_path, bert(**{"1_Pooling/config.json": pooling})).dimension == dimension


@pytest.mark.parametrize(
    ("kinds", "config", "dimension"),
    [
        (("Dense",), {"in_features": 16, "out_features": 8}, 8),
        (("Dense",), {}, None),
        (("LayerNorm",), {"dimension": 16}, 16),
        (("Normalize",), {}, 16),
        (("Dropout",), {"dropout": 0.5}, 16),
        (("SomethingNew",), {}, None),
        ((OTHER_MODULE,), {"embedding_dimension": 16}, None),
    ],
)
def test_the_last_module_that_changes_the_length_tells_it(
    tmp_path: Path, kinds: tuple[str, ...], config: JSON, dimension: int | None
) -> None:
    """Of modules that are not known nothing is guessed, whatever their files say."""
    files = bert(
        **{
            "modules.json": listed("Transformer", "Pooling", *kinds),
            f"2_{kinds[0].rpartition('.')[2]}/config.json": config,
        }
    )
    assert read(tmp_path, files).dimension == dimension


@pytest.mark.parametrize(
    ("config", "dimension"),
    [
        ({"hidden_size": 16}, 16),
        ({"d_model": 16, "d_ff": 64}, 16),
        ({"dim": 16, "hidden_dim": 64}, 16),
        ({"n_embd": 16}, 16),
        ({"text_config": {"hidden_size": 16}}, 16),
        ({"hidden_size": 8, "text_config": {"hidden_size": 16}}, 8),
        ({"text_config": {"hidden_size": 16}, "projection_dim": 4}, 4),
        ({"hidden_size": True}, None),
        ({"hidden_size": [16], "text_config": []}, None),
        ({}, None),
    ],
)
def test_a_bare_transformer_tells_its_width(tmp_path: Path, config: JSON, dimension: int | None) -> None:
    """Without modules.json, Sentence Transformers takes a mean, which is as long as a token's vector."""
    files = read(tmp_path, {"config.json": config})
    assert (files.dimension, files.sparse) == (dimension, False)


@pytest.mark.parametrize(
    ("header", "dimension"),
    [
        ({"embedding.weight": {"dtype": "F32", "shape": [1000, 64], "data_offsets": [0, 1]}}, 64),
        ({"__metadata__": {}, "mapping": {"shape": [5]}, "embeddings": {"dtype": "F16", "shape": [1000, 32]}}, 32),
        ({"something": {"shape": [1, 2]}}, None),
        ({"embedding.weight": {"shape": []}}, None),
    ],
)
def test_word_vectors_tell_their_length_in_the_header_of_their_weights(
    tmp_path: Path, header: JSON, dimension: int | None
) -> None:
    """StaticEmbedding has no settings of its own; models of model2vec have another name for the table."""
    files = {"modules.json": listed("StaticEmbedding"), "model.safetensors": safetensors(header)}
    assert read(tmp_path, files).dimension == dimension


def test_a_static_model_without_weights_here_tells_none(tmp_path: Path) -> None:
    """Of a hub model the driver has the small files only."""
    assert read(tmp_path, {"modules.json": listed("StaticEmbedding")}).dimension is None


def test_word_embeddings_are_read_too(tmp_path: Path) -> None:
    """The oldest models of all; a mean follows."""
    files = {
        "modules.json": [
            {"path": "0_WordEmbeddings", "type": f"{LIBRARY}.WordEmbeddings"},
            {"path": "1_Pooling", "type": f"{LIBRARY}.Pooling"},
        ],
        "0_WordEmbeddings/wordembedding_config.json": {"max_seq_length": 1000},
        "0_WordEmbeddings/model.safetensors": safetensors({"emb_layer.weight": {"shape": [10, 16]}}),
        "1_Pooling/config.json": OLD_MEAN,
    }
    assert read(tmp_path, files).dimension == 16
    assert read(tmp_path, {"modules.json": files["modules.json"][:1]}).dimension == 16


# --- other fields -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "dimension"),
    [
        (
            {
                "modules.json": listed("Transformer", "SpladePooling"),
                "config.json": {**BERT, "vocab_size": 99},
                "1_SpladePooling/config.json": {},
            },
            99,
        ),
        (
            {
                "modules.json": listed("MLMTransformer", "SpladePooling"),
                "config.json": BERT,
                "1_SpladePooling/config.json": {"embedding_dimension": 9},
            },
            9,
        ),
        (
            {
                "modules.json": listed("SparseStaticEmbedding"),
                "model.safetensors": safetensors({"weight": {"shape": [77]}}),
            },
            77,
        ),
        (
            bert(
                **{
                    "modules.json": listed("Transformer", "Pooling", "SparseAutoEncoder"),
                    "2_SparseAutoEncoder/config.json": {"hidden_dim": 64},
                }
            ),
            64,
        ),
        (bert(**{"config_sentence_transformers.json": {"model_type": "SparseEncoder"}}), 16),
    ],
)
def test_a_sparse_model_is_told_by_its_type_or_its_modules(
    tmp_path: Path, files: dict[str, Any], dimension: int | None
) -> None:
    """Its dimension is the number of indices."""
    found = read(tmp_path, files)
    assert (found.sparse, found.dimension) == (True, dimension)


@pytest.mark.parametrize(
    ("module", "parameters", "way", "dimension"),
    [
        ("Router", {}, "document", 8),
        ("Asym", {}, "document", 8),
        ("Router", {"default_route": "query", "route_mappings": {}}, "document", 8),
        ("Router", {"route_mappings": {"('document', 'text')": "long", "(None, None)": "query"}}, "long", 8),
        ("Router", {"route_mappings": {"(None, 'text')": "long"}}, "long", 8),
        ("Router", {}, "passage", None),
    ],
)
def test_a_router_is_followed_to_its_documents(
    tmp_path: Path, module: str, parameters: JSON, way: str, dimension: int | None
) -> None:
    """As the library follows it, by its old name too, under which its file had another; without a way for documents
    nothing is told."""
    router = {
        "types": {"a": f"{LIBRARY}.StaticEmbedding", "b": f"{LIBRARY}.StaticEmbedding", "c": f"{LIBRARY}.Normalize"},
        "structure": {"query": ["a"], way: ["b", "c"]},
        "parameters": parameters,
    }
    files = {
        "modules.json": [{"path": "0_Router", "type": f"{LIBRARY}.{module}"}],
        f"0_Router/{'config.json' if module == 'Asym' else 'router_config.json'}": router,
        "0_Router/a/model.safetensors": safetensors({"embedding.weight": {"shape": [10, 4]}}),
        "0_Router/b/model.safetensors": safetensors({"embedding.weight": {"shape": [10, 8]}}),
    }
    assert read(tmp_path, files).dimension == dimension


def test_prompts_that_are_not_set_are_empty(tmp_path: Path) -> None:
    """As the library reads them."""
    files = read(
        tmp_path, bert(**{"config_sentence_transformers.json": {"prompts": {"query": "q: ", "document": None}}})
    )
    assert files.prompts == {"query": "q: ", "document": ""}


def test_an_adapter_has_the_architecture_of_another_model(tmp_path: Path) -> None:
    """Which is not here, so its own config.json may be missing."""
    files = bert(**{"adapter_config.json": {"base_model_name_or_path": "org/base"}})
    del files["config.json"]
    assert read(tmp_path, files).dimension == 16


# --- damage -----------------------------------------------------------------------------------------------------------

STATIC = {"modules.json": listed("StaticEmbedding")}
ROUTER = {"modules.json": [{"path": "", "type": f"{LIBRARY}.Router"}]}


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (bert(**{"modules.json": b'[{"idx": 0, "na'}), "modules.json"),
        (bert(**{"modules.json": {"0": "Transformer"}}), "modules.json"),
        (bert(**{"modules.json": b"null"}), "modules.json"),
        (bert(**{"modules.json": b""}), "modules.json"),
        (bert(**{"modules.json": ["Transformer"]}), "modules.json"),
        (bert(**{"modules.json": [{"path": ""}]}), "modules.json"),
        (bert(**{"modules.json": [{"path": None, "type": "x"}]}), "modules.json"),
        (bert(**{"modules.json": [{"path": "../other", "type": "x"}]}), "modules.json"),
        (bert(**{"modules.json": [{"path": "/etc", "type": "x"}]}), "modules.json"),
        (bert(**{"config.json": b'{"hidden_size": 16'}), "config.json"),
        (bert(**{"config.json": [1, 2]}), "config.json"),
        (bert(**{"config.json": b"null"}), "config.json"),
        (bert(**{"config.json": b"\xff\xfe\x00"}), "config.json"),
        (bert(**{"config.json": b"[" * 200_000}), "config.json"),
        ({"config.json": b"{}}"}, "config.json"),
        (bert(**{"1_Pooling/config.json": "mean"}), "1_Pooling/config.json"),
        (bert(**{"1_Pooling/config.json": b"{"}), "1_Pooling/config.json"),
        (bert(**{"sentence_bert_config.json": [512]}), "sentence_bert_config.json"),
        (bert(**{"config_sentence_transformers.json": []}), "config_sentence_transformers.json"),
        (bert(**{"config_sentence_transformers.json": {"prompts": ["query: "]}}), "config_sentence_transformers.json"),
        ({**STATIC, "model.safetensors": b""}, "model.safetensors"),
        ({**STATIC, "model.safetensors": b"\x10\x00"}, "model.safetensors"),
        ({**STATIC, "model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"}, "model.safetensors"),
        ({**STATIC, "model.safetensors": safetensors(b"\xff\xff\xff")}, "model.safetensors"),
        ({**STATIC, "model.safetensors": safetensors([1])}, "model.safetensors"),
        ({**STATIC, "model.safetensors": safetensors({"embeddings": {"shape": [10, 8]}})[:-4]}, "model.safetensors"),
        ({**STATIC, "model.safetensors": safetensors({"embeddings": [10, 8]})}, "model.safetensors"),
        ({**STATIC, "model.safetensors": safetensors({"embeddings": {"shape": "10x8"}})}, "model.safetensors"),
        ({**STATIC, "model.safetensors": safetensors({"embeddings": {"shape": [10, -8]}})}, "model.safetensors"),
        ({**ROUTER, "router_config.json": {"types": []}}, "router_config.json"),
        ({**ROUTER, "router_config.json": {"types": {}, "structure": {"document": ["a"]}}}, "router_config.json"),
        ({**ROUTER, "router_config.json": {"types": {}, "structure": {"document": "a"}}}, "router_config.json"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path: Path, files: dict[str, Any], named: str) -> None:
    """In one line, whichever it is and whatever is in it."""
    with pytest.raises(
        EncodingError, match=rf"^the model's file {re.escape(named)} (cannot be read: .|is damaged: .)"
    ) as failed:
        read(tmp_path, files)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize("missing", ["config.json", "1_Pooling/config.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    """One that the model cannot be without."""
    files = bert()
    del files[missing]
    with pytest.raises(EncodingError) as failed:
        read(tmp_path, files)
    assert str(failed.value) == f"the model's file {missing} is missing; copy or download the whole model"


@pytest.mark.parametrize(
    "missing", ["tokenizer_config.json", "sentence_bert_config.json", "config_sentence_transformers.json"]
)
def test_a_file_that_old_models_lack_may_be_missing(tmp_path: Path, missing: str) -> None:
    """Not every version wrote it."""
    files = bert(
        **{
            name: {}
            for name in ("tokenizer_config.json", "sentence_bert_config.json", "config_sentence_transformers.json")
        }
    )
    del files[missing]
    assert read(tmp_path, files).dimension == 16


@pytest.mark.parametrize("name", ["modules.json", "1_Pooling", "model.safetensors"])
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    """And a file in the place of a folder."""
    files = {**bert(), **(STATIC if name == "model.safetensors" else {})}
    write(tmp_path, {path: content for path, content in files.items() if not path.startswith(name)})
    (tmp_path / name).touch() if name == "1_Pooling" else (tmp_path / name).mkdir()
    with pytest.raises(EncodingError, match=rf"^the model's file {re.escape(name)}(/config\.json)? cannot be read: ."):
        model_files.read(str(tmp_path), None)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content is its name, so all of it must be readable."""

    def refuse(*_: object) -> str:
        raise PermissionError(13, "Permission denied", "model.safetensors")

    write(tmp_path, bert())
    monkeypatch.setattr(model_files, "_digest", refuse)
    with pytest.raises(EncodingError, match=r"^the model folder '.*' cannot be read: .*Permission denied"):
        model_files.read(str(tmp_path), None)


STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    10**40,
    float("nan"),
    "",
    "x",
    [],
    [1],
    ["x"],
    [[]],
    {},
    {"x": 1},
    {"x": []},
]
ROUTED = {
    "types": {"a": f"{LIBRARY}.Normalize"},
    "structure": {"document": ["a"]},
    "parameters": {"route_mappings": {"(None, 'text')": "document"}},
}
WHOLE: dict[str, JSON] = {
    "config.json": {
        **BERT,
        "text_config": BERT,
        "architectures": ["BertModel"],
        "pad_token_id": 1,
        "is_causal": True,
        "projection_dim": 4,
    },
    "1_Pooling/config.json": {**OLD_MEAN, "embedding_dimension": 16, "pooling_mode": "mean"},
    "router_config.json": ROUTED,
    "sentence_bert_config.json": {
        "max_seq_length": 64,
        "document_length": 64,
        "processing_kwargs": {"text": {"max_length": 64}},
        "processor_kwargs": {"model_max_length": 64},
        "tokenizer_args": {"model_max_length": 64},
        "module_output_name": "sentence_embedding",
    },
    "tokenizer_config.json": {"model_max_length": 64},
    "tokenizer.json": {"truncation": {"max_length": 64}},
    "config_sentence_transformers.json": {"prompts": {"query": "q: "}, "model_type": "SentenceTransformer"},
}
"""Files in which everything is told that anybody reads."""


def with_strange_values(content: Any) -> Iterator[Any]:
    """The same with each of its values, however deep, replaced by each strange one in turn."""
    yield from STRANGE
    if isinstance(content, dict):
        for key, value in content.items():
            yield from ({**content, key: changed} for changed in with_strange_values(value))


@pytest.mark.parametrize(
    ("base", "name"),
    [
        *((bert(), name) for name in WHOLE if name not in ("router_config.json", "tokenizer.json")),
        ({"config.json": BERT}, "config.json"),
        (ROUTER, "router_config.json"),
    ],
)
def test_a_strange_value_is_passed_over_or_refused(tmp_path: Path, base: dict[str, Any], name: str) -> None:
    """Nothing but our error is raised, and no dimension or limit is made of what is none."""
    write(tmp_path, {**WHOLE, **base})
    for content in with_strange_values(WHOLE[name]):
        write(tmp_path, {name: content})
        with contextlib.suppress(EncodingError):
            found = model_config.read(tmp_path)
            assert [value for value in (found.dimension,) if value is not None and value < 1] == []
            assert all(isinstance(text, str) for text in found.prompts.values())
