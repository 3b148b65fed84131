"""Adapt encoders that users bring: an object made by a factory of theirs, behind the same `Encoder` protocol."""

from __future__ import annotations

import importlib
import inspect
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode.chunker import Chunks
from spark_vector_sink.encode.encoder import Encoded, Tokenised
from spark_vector_sink.encode.tokenizer import Tokens
from spark_vector_sink.errors import EncodingError
from spark_vector_sink.options import AUTO


def factory(path: str) -> Callable[..., Any]:
    """Import the factory that `package.module:name` names. Raises EncodingError where it cannot be imported."""
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        way_out = "install it, or ship it to the executors: spark.sparkContext.addPyFile(…), or --py-files"
        raise EncodingError(
            f"option 'encoder' = {path!r} failed: there is no module {error.name!r} on host "
            f"{socket.gethostname()}; {way_out}"
        ) from error
    except Exception as error:
        raise EncodingError(f"option 'encoder' = {path!r} failed: {type(error).__name__}: {error}") from error
    return found  # type: ignore[no-any-return]


def takes_device(found: Callable[..., Any]) -> bool:
    """Return whether the factory has a parameter `device`, which then receives the torch device, such as `cuda:1`."""
    try:
        return "device" in inspect.signature(found).parameters
    except (TypeError, ValueError):
        return False


def made(path: str, found: Callable[..., Any], device: str) -> CustomEncoder:
    """Make the encoder with the factory. Raises EncodingError where the factory fails, or its object lacks `dimension`
    or `encode`."""
    try:
        wrapped = found(device=device) if device != AUTO else found()
    except Exception as error:
        raise EncodingError(f"option 'encoder' = {path!r} failed: {type(error).__name__}: {error}") from error
    missing = [attribute for attribute in ("dimension", "encode") if not hasattr(wrapped, attribute)]
    if missing:
        raise EncodingError(
            f"option 'encoder' = {path!r} returned a {type(wrapped).__name__} without {' and '.join(missing)}"
        )
    return CustomEncoder(wrapped, path, device)


class CustomEncoder:
    """An encoder around a user's object with `dimension` and `encode(texts) -> array (n, dimension)`, and optionally
    `encode_query(text)`."""

    token_budget = 0
    tokens_done = 0

    def __init__(self, wrapped: Any, name: str, device: str) -> None:
        self._wrapped, self._name = wrapped, name
        dimension = int(wrapped.dimension) if isinstance(wrapped.dimension, int | np.integer) else 0
        if dimension < 1:
            raise EncodingError(
                f"option 'encoder' = {name!r} returned a {type(wrapped).__name__} whose dimension is "
                f"{wrapped.dimension!r}, no positive integer"
            )
        self.dimension = dimension
        self.identity = str(getattr(wrapped, "identity", f"encoder {name}"))
        self.device = str(getattr(wrapped, "device", "" if device == AUTO else device))
        self.dtype = str(getattr(wrapped, "dtype", ""))

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        """Return the texts without tokens, because the user's object takes texts."""
        zeros = np.zeros(len(texts), np.int64)
        return Tokenised(texts, Tokens(None, zeros, zeros, exact=False))

    def encode(self, tokenised: Tokenised) -> Encoded:
        texts = tokenised.texts
        if not texts:
            return Encoded(np.zeros((0, self.dimension), np.float32), tokenised.tokens.read, tokenised.tokens.cut)
        begun = time.perf_counter()
        try:
            answer = self._wrapped.encode(list(texts))
            vectors = np.ascontiguousarray(answer.vectors if isinstance(answer, Encoded) else answer, dtype=np.float32)
        except Exception as error:
            raise EncodingError(
                f"the encoder {self._name!r} failed on {len(texts)} texts: {type(error).__name__}: {error}"
            ) from error
        if vectors.shape != (len(texts), self.dimension):
            raise EncodingError(
                f"the encoder {self._name!r} returned an array of shape {vectors.shape} for {len(texts)} texts, it "
                f"must be ({len(texts)}, {self.dimension})"
            )
        seconds = time.perf_counter() - begun
        if isinstance(answer, Encoded):
            if not len(answer.tokens) == len(answer.cut) == len(texts):
                raise EncodingError(
                    f"the encoder {self._name!r} returned {len(answer.tokens)} and {len(answer.cut)} counts of tokens "
                    f"for {len(texts)} texts"
                )
            return replace(answer, vectors=vectors, seconds=seconds)
        return Encoded(vectors, tokenised.tokens.read, tokenised.tokens.cut, seconds=seconds)

    def encode_query(self, text: str) -> Encoded:
        if not hasattr(self._wrapped, "encode_query"):
            return self.encode(self.tokenise([text]))
        zero = np.zeros(1, np.int64)
        vector: npt.NDArray[np.float32] = np.asarray(self._wrapped.encode_query(text), dtype=np.float32)
        return Encoded(vector.reshape(1, -1), zero, zero)

    def chunk(self, texts: Sequence[str], tokens: int | None, overlap: int) -> Chunks:
        raise EncodingError(
            f"option 'long_text' = 'chunk' needs a model with a tokenizer, and the encoder {self._name!r} shows none"
        )
