"""The seam between the engine and a model, and the one model that this process has loaded."""

from __future__ import annotations

import importlib
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode import device, model_files
from spark_vector_sink.errors import EncodingError
from spark_vector_sink.options import AUTO


@dataclass(frozen=True)
class Encoded:
    """Vectors of a window, in the order of its texts.

    vectors: float32, shape (n, dimension). tokens, cut: int64, shape (n,), tokens the model has read of each text and tokens
    it has not; zeros where the encoder does not tell.
    tokenising_seconds, encoding_seconds: wall time of the two steps.
    """

    vectors: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int64]
    cut: npt.NDArray[np.int64]
    tokenising_seconds: float = 0.0
    encoding_seconds: float = 0.0


class Encoder(Protocol):
    """Turns texts into vectors. A custom factory may return an object with just `dimension` and `encode(texts)`."""

    dimension: int
    """length of a vector"""
    identity: str
    """what the model guard compares: the model and everything that changes its vectors"""
    device: str
    dtype: str

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The vectors of documents."""

    def encode_query(self, text: str) -> npt.NDArray[np.float32]:
        """The vector of a question, float32, shape (dimension,)."""


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that decides which vectors come out and where; equal specs mean the same loaded model."""

    identity: str
    model: str
    revision: str | None = None
    factory: str | None = None
    device: str = AUTO
    dtype: str = AUTO
    token_budget: int | str = AUTO
    prompt: str | None = None
    normalize: bool | None = None
    truncate_dim: int | None = None
    max_tokens: int | None = None
    trust_remote_code: bool = False


_lock = threading.Lock()
_loaded: tuple[tuple[EncoderSpec, str], Encoder] | None = None


def load(spec: EncoderSpec, *, gpus: Sequence[str] = (), threads: int | None = None) -> Encoder:
    """The encoder for `spec`, loaded once in this process; another one that was loaded before is let go.

    gpus: addresses of the GPUs that Spark has given to the task. threads: CPU threads the task may use; None leaves them alone.
    Raises EncodingError in one line where the model cannot be loaded.
    """
    global _loaded
    with _lock:
        chosen = AUTO if spec.factory else device.choose(spec.device, gpus)
        if threads is not None and not spec.factory:
            device.use_threads(threads)
        key = (spec, chosen)
        if _loaded is not None and _loaded[0] == key:
            return _loaded[1]
        _loaded = None  # before the next model takes its memory
        encoder = _from_factory(spec) if spec.factory else _sentence_transformer(spec, chosen)
        _loaded = (key, encoder)
        return encoder


def _sentence_transformer(spec: EncoderSpec, chosen: str) -> Encoder:
    from spark_vector_sink.encode.sentence_transformer import SentenceTransformerEncoder

    if Path(spec.model).is_absolute():
        _same_folder(spec)
    return SentenceTransformerEncoder(spec, chosen)


def _same_folder(spec: EncoderSpec) -> None:
    """The driver's folder must be here too, with the same content: else vectors of two models would get under one name."""
    host = socket.gethostname()
    if not Path(spec.model).is_dir():
        raise EncodingError(
            f"the model folder {spec.model!r} is not on host {host}; put it at the same path on every executor, or give a hub name as option 'model'"
        )
    here = model_files.read(spec.model, None).name
    if here != spec.identity.split(" ", 1)[0]:
        raise EncodingError(
            f"the model folder {spec.model!r} on host {host} holds {here}, the driver's is {spec.identity}; put the same model on every machine"
        )


def _from_factory(spec: EncoderSpec) -> Encoder:
    module, _, name = (spec.factory or "").partition(":")
    try:
        made: Any = importlib.import_module(module)
        for part in name.split("."):
            made = getattr(made, part)
        made = made()
    except Exception as error:
        raise EncodingError(f"option 'encoder' = {spec.factory!r} failed: {type(error).__name__}: {error}") from error
    missing = [attribute for attribute in ("dimension", "encode") if not hasattr(made, attribute)]
    if missing:
        raise EncodingError(f"option 'encoder' = {spec.factory!r} returned a {type(made).__name__} without {' and '.join(missing)}")
    return CustomEncoder(made, spec)


class CustomEncoder:
    """An object of the user's with `dimension` and `encode(texts) -> array (n, dimension)`, and if it likes `encode_query(text)`."""

    def __init__(self, wrapped: Any, spec: EncoderSpec) -> None:
        self._wrapped, self._name = wrapped, spec.factory
        if not isinstance(wrapped.dimension, int) or wrapped.dimension < 1:
            raise EncodingError(
                f"option 'encoder' = {spec.factory!r} returned a {type(wrapped).__name__} whose dimension is {wrapped.dimension!r}, no positive integer"
            )
        self.dimension = int(wrapped.dimension)
        self.identity = str(getattr(wrapped, "identity", f"encoder {spec.factory}"))
        self.device = str(getattr(wrapped, "device", ""))
        self.dtype = str(getattr(wrapped, "dtype", ""))

    def encode(self, texts: Sequence[str]) -> Encoded:
        try:
            made = self._wrapped.encode(list(texts))
            vectors = np.ascontiguousarray(made.vectors if isinstance(made, Encoded) else made, dtype=np.float32)
        except Exception as error:
            raise EncodingError(f"the encoder {self._name!r} failed on {len(texts)} texts: {type(error).__name__}: {error}") from error
        if vectors.shape != (len(texts), self.dimension):
            raise EncodingError(
                f"the encoder {self._name!r} returned an array of shape {vectors.shape} for {len(texts)} texts, it must be ({len(texts)}, {self.dimension})"
            )
        if isinstance(made, Encoded):
            return replace(made, vectors=vectors)
        zeros = np.zeros(len(texts), np.int64)
        return Encoded(vectors, zeros, zeros)

    def encode_query(self, text: str) -> npt.NDArray[np.float32]:
        if hasattr(self._wrapped, "encode_query"):
            return np.asarray(self._wrapped.encode_query(text), dtype=np.float32)
        vector: npt.NDArray[np.float32] = self.encode([text]).vectors[0]
        return vector
