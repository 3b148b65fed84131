"""Small Sentence Transformers models of many kinds, built without a network: what is right for one kind may be wrong
for another.

They share the words of `tests.tiny_model` and are made of 1 to 2 layers of width 32, of seeded weights and of
vocabularies that are written down rather than trained, so every build of a kind gives the same weights. None is larger
than 1 MB.

    python -m tests.models KIND FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.tiny_model import DIMENSION, SPECIAL_TOKENS, wordpiece

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

MAX_TOKENS = 64
DOCUMENT_PROMPT = "read the document "


@pytest.fixture(scope="session")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`model_of(kind)` is the folder of that model, built when it is first asked for."""
    import sentence_transformers  # noqa: F401  # here, so that its half a million objects are there when `_frozen` of a module comes

    folder = tmp_path_factory.mktemp("kinds")

    def of(kind: str) -> Path:
        return folder / kind if (folder / kind).exists() else build(kind, folder / kind)

    return of


def build(kind: str, folder: Path) -> Path:
    """Write the model of `kind`, one of KINDS or SPARSE_KINDS, into `folder`, which must not exist yet, and return
    it."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        (KINDS | SPARSE_KINDS)[kind](folder)
    return folder


# --- kinds ------------------------------------------------------------------------------------------------------------


def _bert_mean(folder: Path) -> None:
    """The oldest kind: vectors of any length."""
    _save(folder, [_transformer(folder), _pooling()])


def _bert_cls_normalize(folder: Path) -> None:
    """As the BGE models are."""
    _save(folder, [_transformer(folder), _pooling("cls"), _normalize()])


def _mpnet(folder: Path) -> None:
    """Special tokens `<s>` and `</s>`, no token types, and two positions that no token can have."""
    from transformers import MPNetConfig

    config = MPNetConfig(**_sizes(), max_position_embeddings=MAX_TOKENS + 2)
    tokenizer = _words(["<s>", "<pad>", "</s>", "[UNK]", "<mask>"], "<s>", "</s>", types=False)
    _save(folder, [_transformer(folder, config, tokenizer), _pooling(), _normalize()])


def _roberta(folder: Path) -> None:
    """Byte-level BPE: any text has tokens, an emoji has four. Positions begin at two."""
    _save(folder, [_transformer(folder, *_roberta_parts(MAX_TOKENS)), _pooling(), _normalize()])


def _prompts(folder: Path) -> None:
    """Documents and questions have prompts of their own, and what is neither has a default one."""
    prompts = {"query": "query: ", "document": DOCUMENT_PROMPT, "other": "one text: "}
    _save(folder, [_transformer(folder), _pooling()], prompts=prompts, default_prompt_name="other")


def _passage_prompt(folder: Path) -> None:
    """The prompt of documents has another name, as in the E5 models. No "document" in the file: older versions wrote
    none."""
    _save(folder, [_transformer(folder), _pooling(), _normalize()])
    _edit(folder / "config_sentence_transformers.json", prompts={"query": "query: ", "passage": DOCUMENT_PROMPT})


def _exclude_prompt(folder: Path) -> None:
    """The model reads the prompt, the mean leaves it out, as in the Instructor models."""
    _save(folder, [_transformer(folder), _pooling("mean", include_prompt=False)], prompts={"document": DOCUMENT_PROMPT})


def _dense_normalize(folder: Path) -> None:
    """A last layer makes vectors shorter than the model is wide."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense

    dense = Dense(DIMENSION, DIMENSION // 2, activation_function=torch.nn.Tanh())
    _save(folder, [_transformer(folder), _pooling(), dense, _normalize()])


def _max_pooling(folder: Path) -> None:
    """Padding that is not masked shows at once in a maximum."""
    _save(folder, [_transformer(folder), _pooling("max")])


def _several_poolings(folder: Path) -> None:
    """Vectors of several modes one after the other, then a layer that keeps their length."""
    from sentence_transformers.sentence_transformer.modules import LayerNorm

    pooling = _pooling(("cls", "mean", "weightedmean"))
    _save(folder, [_transformer(folder), pooling, LayerNorm(3 * DIMENSION)])


def _lasttoken_left_padding(folder: Path) -> None:
    """A decoder: its last token has seen all others, and padding is put before the text."""
    _save(folder, [_transformer(folder, _llama_config(), _words(decoder=True)), _pooling("lasttoken"), _normalize()])


def _lower_case(folder: Path) -> None:
    """Lower case and a limit are settings beside the tokenizer, in a file as older versions wrote it."""
    _save(folder, [_transformer(folder, tokenizer=_words(lowercase=False)), _pooling(), _normalize()])
    _edit(folder / "sentence_bert_config.json", only=True, max_seq_length=48, do_lower_case=True)


def _document_limit(folder: Path) -> None:
    """Of a document it reads fewer tokens than it could."""
    _save(folder, [_transformer(folder, document_length=24), _pooling()])


def _static(folder: Path) -> None:
    """A mean of word vectors: no special tokens though the tokenizer knows some, no limit, and no vector for no
    words."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    _save(folder, [StaticEmbedding(wordpiece(), embedding_dim=DIMENSION)])


def _static_limited(folder: Path) -> None:
    """The same, with a limit in the tokenizer's own file, as tokenizers have that were taken from another model."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = wordpiece()
    tokenizer.enable_truncation(16)
    _save(folder, [StaticEmbedding(tokenizer, embedding_dim=DIMENSION), _normalize()])


def _router(folder: Path) -> None:
    """Two models, one for questions and one for documents, which reads less; both normalise."""
    from sentence_transformers.sentence_transformer.modules import Router

    query = [_transformer(folder), _pooling(), _normalize()]
    document = [_transformer(folder, tokenizer=_words(max_tokens=48)), _pooling("cls"), _normalize()]
    _save(folder, [Router.for_query_document(query, document)])


def _router_static_query(folder: Path) -> None:
    """Questions cost next to nothing: word vectors for them, a transformer for documents."""
    from sentence_transformers.sentence_transformer.modules import Router, StaticEmbedding

    query = [StaticEmbedding(wordpiece(), embedding_dim=DIMENSION)]
    _save(
        folder,
        [Router.for_query_document(query, [_transformer(folder), _pooling()])],
        prompts={"document": DOCUMENT_PROMPT},
    )


def _slow_tokenizer(folder: Path) -> None:
    """A tokenizer written in Python: one token for each byte."""
    from transformers import BertConfig, ByT5Tokenizer

    tokenizer = ByT5Tokenizer(model_max_length=MAX_TOKENS)
    config = BertConfig(**(_sizes() | {"vocab_size": len(tokenizer)}), max_position_embeddings=MAX_TOKENS)
    _save(folder, [_transformer(folder, config, tokenizer), _pooling(), _normalize()])


def _no_modules_json(folder: Path) -> None:
    """A bare transformers model; Sentence Transformers adds a mean."""
    _write_parts(folder, _bert_config(), _words())


def _decoder_without_modules_json(folder: Path) -> None:
    """A bare language model; Sentence Transformers takes the last token."""
    from transformers import LlamaForCausalLM

    _words(decoder=True, max_tokens=None).save_pretrained(str(folder))
    LlamaForCausalLM(_llama_config()).save_pretrained(str(folder))


def _splade(folder: Path) -> None:
    """A masked language model's scores over its vocabulary."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    _save(folder, [_masked(folder), SpladePooling("max")], SparseEncoder)


def _splade_static_query(folder: Path) -> None:
    """The same for documents, and a table of weights for questions."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sentence_transformer.modules import Router
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling

    words = _words()
    query = [SparseStaticEmbedding(words, weight=torch.rand(len(words)), frozen=True)]
    _save(folder, [Router.for_query_document(query, [_masked(folder), SpladePooling("max")])], SparseEncoder)


def _sparse_static(folder: Path) -> None:
    """A table of weights for documents too, such as inverse document frequencies: no special tokens, and a limit that
    its tokenizer tells."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

    words = _words()
    _save(
        folder, [SparseStaticEmbedding(words, weight=torch.linspace(0.5, 2.0, len(words)), frozen=True)], SparseEncoder
    )


KINDS: dict[str, Callable[[Path], None]] = {
    "bert-mean": _bert_mean,
    "bert-cls-normalize": _bert_cls_normalize,
    "mpnet": _mpnet,
    "roberta": _roberta,
    "prompts": _prompts,
    "passage-prompt": _passage_prompt,
    "exclude-prompt": _exclude_prompt,
    "dense-normalize": _dense_normalize,
    "max-pooling": _max_pooling,
    "several-poolings": _several_poolings,
    "lasttoken-left-padding": _lasttoken_left_padding,
    "lower-case": _lower_case,
    "document-limit": _document_limit,
    "static": _static,
    "static-limited": _static_limited,
    "router": _router,
    "router-static-query": _router_static_query,
    "slow-tokenizer": _slow_tokenizer,
    "no-modules-json": _no_modules_json,
    "decoder-without-modules-json": _decoder_without_modules_json,
}
"""Models with one vector of fixed length for each text, by the name of what is special about them."""

SPARSE_KINDS: dict[str, Callable[[Path], None]] = {
    "splade": _splade,
    "splade-static-query": _splade_static_query,
    "sparse-static": _sparse_static,
}
"""Models of `SparseEncoder`."""


# --- parts ------------------------------------------------------------------------------------------------------------


def _transformer(
    folder: Path,
    config: PretrainedConfig | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    **settings: Any,
) -> Any:
    """A Transformer module with new weights, BERT unless told otherwise. It is loaded from scratch files beside
    `folder`."""
    from sentence_transformers.base.modules import Transformer

    scratch = folder.with_name(f"{folder.name}-scratch")
    _write_parts(scratch, config or _bert_config(), tokenizer or _words())
    made = Transformer(str(scratch), **settings)
    shutil.rmtree(scratch)
    return made


def _masked(folder: Path) -> Any:
    """A Transformer module with the head of a masked language model."""
    from sentence_transformers.base.modules import Transformer
    from transformers import BertForMaskedLM

    scratch = folder.with_name(f"{folder.name}-scratch")
    _words().save_pretrained(str(scratch))
    BertForMaskedLM(_bert_config()).save_pretrained(str(scratch))
    made = Transformer(str(scratch), transformer_task="fill-mask")
    shutil.rmtree(scratch)
    return made


def _write_parts(folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    from transformers import AutoModel

    tokenizer.save_pretrained(str(folder))
    AutoModel.from_config(config).save_pretrained(str(folder))


def _pooling(mode: Any = "mean", **settings: Any) -> Any:
    from sentence_transformers.sentence_transformer.modules import Pooling

    return Pooling(DIMENSION, pooling_mode=mode, **settings)


def _normalize() -> Any:
    from sentence_transformers.base.modules import Normalize

    return Normalize()


def _save(folder: Path, modules: list[Any], library: Any = None, **settings: Any) -> None:
    from sentence_transformers import SentenceTransformer

    (library or SentenceTransformer)(modules=modules, device="cpu", **settings).save_pretrained(
        str(folder), create_model_card=False
    )


def _edit(path: Path, *, only: bool = False, **changes: Any) -> None:
    """Change a JSON file's settings, or with `only` write no others."""
    before = {} if only else json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(before | changes), encoding="utf-8")


def _sizes() -> dict[str, int]:
    return {
        "vocab_size": wordpiece().get_vocab_size(),
        "hidden_size": DIMENSION,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 2 * DIMENSION,
    }


def _bert_config() -> PretrainedConfig:
    from transformers import BertConfig

    return BertConfig(**_sizes(), max_position_embeddings=MAX_TOKENS)


def _llama_config() -> PretrainedConfig:
    from transformers import LlamaConfig

    special = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": 3}
    return LlamaConfig(**_sizes(), **special, num_key_value_heads=2, max_position_embeddings=MAX_TOKENS)


def _words(
    special: Sequence[str] = SPECIAL_TOKENS,
    begin: str = "[CLS]",
    end: str = "[SEP]",
    *,
    decoder: bool = False,
    lowercase: bool = True,
    types: bool = True,
    max_tokens: int | None = MAX_TOKENS,
) -> PreTrainedTokenizerBase:
    """The tiny model's words with these special tokens. A decoder's texts have no token at their begin, and are padded
    there."""
    from tokenizers import normalizers, processors

    tokenizer = wordpiece(special, begin, end)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    if decoder:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, special.index(end))]
        )
    names = {"cls_token": begin, "sep_token": end, "eos_token": end, "unk_token": "[UNK]"}
    names |= {f"{role}_token": next(token for token in special if role in token.lower()) for role in ("pad", "mask")}
    return _fast(
        tokenizer,
        types=types and not decoder,
        model_max_length=max_tokens,
        padding_side="left" if decoder else "right",
        **names,
    )


def _roberta_parts(max_tokens: int | None) -> tuple[PretrainedConfig, PreTrainedTokenizerBase]:
    """Byte-level BPE with a few merges by hand. max_tokens: as the tokenizer tells it; None where it does not."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import RobertaConfig

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [
        ("t", "h"),
        ("th", "e"),
        ("\u0120", "the"),
        ("a", "n"),
        ("an", "d"),
        ("\u0120", "and"),
        ("d", "o"),
        ("do", "g"),
        ("i", "n"),
        ("o", "n"),
    ]
    vocabulary = [*special, *letters, *(left + right for left, right in merges)]
    tokenizer = Tokenizer(
        models.BPE({token: number for number, token in enumerate(vocabulary)}, merges, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    config = RobertaConfig(
        **(_sizes() | {"vocab_size": len(vocabulary)}),
        max_position_embeddings=MAX_TOKENS + 2,
        type_vocab_size=1,
        pad_token_id=1,
    )
    names = {
        "cls_token": "<s>",
        "sep_token": "</s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    return config, _fast(tokenizer, types=False, model_max_length=max_tokens, **names)


def _fast(tokenizer: Tokenizer, *, types: bool, **settings: Any) -> PreTrainedTokenizerBase:
    from transformers import PreTrainedTokenizerFast

    inputs = ["input_ids", *["token_type_ids"] * types, "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **settings)


if __name__ == "__main__":
    print(build(sys.argv[1], Path(sys.argv[2])))
