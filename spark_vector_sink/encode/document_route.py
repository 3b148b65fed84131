"""Determine how a loaded model of Sentence Transformers reads a document: its modules, its token limit, its prompt."""

from __future__ import annotations

from typing import Any

from spark_vector_sink.encode.tokenizer import NO_LIMIT, Estimate, RustTokenizer, SlowTokenizer


class DocumentWay:
    """The way of a document through a model, with its tokenizer; sets the model's limit to `max_tokens` where that is
    less.

    limit: tokens that the model reads of a text, NO_LIMIT where it reads all. prompt: put before each document. width:
    length of a token's vector inside the model.
    """

    def __init__(self, model: Any, max_tokens: int | None, prompt: str | None) -> None:
        self.modules = documents_way(model)
        first = self.modules[0]
        own = getattr(first, "tokenizer", None)
        # StaticEmbedding: no special tokens, and a limit only in the tokenizer itself
        is_bag = not hasattr(first, "auto_model")
        self.limit = _limit_of_bag(own, max_tokens) if is_bag else _limit(first, max_tokens)
        self.prompt = _document_prompt(model) if prompt is None else prompt
        self.tokenizer = _tokenizer(own, self.limit, self.prompt, special=not is_bag)
        config = getattr(first, "config", None) or getattr(getattr(first, "auto_model", None), "config", None)
        self.width = int(getattr(config, "hidden_size", None) or 1024)


def documents_way(model: Any) -> list[Any]:
    """Return the modules that a document goes through, also where documents and queries go different ways (a
    Router)."""
    way = []
    for module in model:
        if type(module).__name__ in ("Router", "Asym"):
            resolve = getattr(module, "_resolve_route", None)  # before version 5.2 the route has the name of the task
            way += list(module.sub_modules[resolve(task="document", modality="text") if resolve else "document"])
        else:
            way.append(module)
    return way


def without_normalize(model: Any) -> None:
    """Remove the Normalize module from the end of a model, and of every way through it."""
    for module in [
        model,
        *(way for router in model if hasattr(router, "sub_modules") for way in router.sub_modules.values()),
    ]:
        if type(module[-1]).__name__ == "Normalize":
            del module[-1]


def _limit(transformer: Any, asked: int | None) -> int:
    """Return the token limit of a transformer, set to `asked` where that is less; NO_LIMIT where its own limit is
    infinite or missing."""
    own = getattr(transformer, "document_length", None) or transformer.max_seq_length
    limit = int(own) if own is not None and own < NO_LIMIT else NO_LIMIT
    if asked is None or asked >= limit:
        return limit
    transformer.max_seq_length = asked
    if getattr(transformer, "document_length", None):
        transformer.document_length = asked
    return asked


def _limit_of_bag(tokenizer: Any, asked: int | None) -> int:
    """Return the token limit of a model without a transformer, set to `asked` where that is less. Its tokenizer comes
    from the library tokenizers, or from transformers (SparseStaticEmbedding), where the limit is an attribute."""
    truncation = getattr(tokenizer, "truncation", None)
    own = truncation["max_length"] if truncation else getattr(tokenizer, "model_max_length", None)
    limit = int(own) if own is not None and own < NO_LIMIT else NO_LIMIT
    if asked is None or asked >= limit or tokenizer is None:
        return limit
    if hasattr(tokenizer, "model_max_length"):
        tokenizer.model_max_length = asked
    else:
        tokenizer.enable_truncation(max_length=asked)
    return asked


def _document_prompt(model: Any) -> str:
    """Return the prompt that `encode_document` itself puts before a text, so that its tokens are counted too."""
    prompts = model.prompts or {}
    names = ("document", "passage", "corpus", model.default_prompt_name)
    return str(next((prompts[name] for name in names if name in prompts), ""))


def _tokenizer(own: Any, limit: int, prompt: str, special: bool) -> RustTokenizer | SlowTokenizer | Estimate:
    from tokenizers import Tokenizer

    rust = own if isinstance(own, Tokenizer) else getattr(own, "backend_tokenizer", None)
    json = _json(rust) if isinstance(rust, Tokenizer) else None
    if json is not None:
        return RustTokenizer(json, limit, prompt, getattr(own, "truncation_side", "right"), special)
    return SlowTokenizer(own, limit, prompt) if callable(own) else Estimate()


def _json(rust: Any) -> str | None:
    """Return the tokenizer's JSON, from which a copy is made; None where a part of it is written in Python."""
    try:
        return str(rust.to_str())
    except Exception:  # the library has no exception class of its own
        return None
