"""The seam between the engine and a model, and the one model that this process has loaded."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode import device, memory, model_files
from spark_vector_sink.encode.chunks import Chunks
from spark_vector_sink.encode.tokens import Tokens
from spark_vector_sink.errors import EncodingError
from spark_vector_sink.options import AUTO
from spark_vector_sink.plain import SparseVectors


@dataclass(frozen=True)
class Tokenised:
    """Texts of a window, read by the tokenizer, and by the second model's where there are two. seconds: wall time of it."""

    texts: Sequence[str]
    tokens: Tokens
    seconds: float = 0.0
    second: Tokenised | None = None


@dataclass(frozen=True)
class Encoded:
    """Vectors of a window, in the order of its texts.

    vectors: float32, shape (n, dimension). tokens, cut: int64, shape (n,), tokens the model has read of each text and tokens
    it has not; zeros where the encoder does not tell. sparse: n sparse vectors, where a sparse model made some.
    failed: texts that the model could not take, by index, with the reason; their vectors mean nothing.
    seconds: wall time in the model. halvings: how often memory ran out and the token budget was halved.
    """

    vectors: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int64]
    cut: npt.NDArray[np.int64]
    sparse: SparseVectors | None = None
    failed: Mapping[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    halvings: int = 0


class Encoder(Protocol):
    """Turns texts into vectors. A custom factory may return an object with just `dimension` and `encode(texts)`."""

    dimension: int
    """length of a dense vector; 0 where all are sparse"""
    identity: str
    """what the model guard compares: the model and everything that changes its vectors"""
    device: str
    dtype: str

    @property
    def token_budget(self) -> int:
        """Tokens of one forward pass, as of now: it is halved when memory runs out. 0 where the encoder has none."""

    @property
    def tokens_done(self) -> int:
        """Tokens that have gone through the model since it was loaded, as of now. 0 where the encoder does not tell."""

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        """Read the texts of a window; may run in another thread while `encode` works on the window before."""

    def encode(self, tokenised: Tokenised) -> Encoded:
        """The vectors of documents."""

    def encode_query(self, text: str) -> Encoded:
        """The vectors of one question."""

    def chunk(self, texts: Sequence[str], tokens: int | None, overlap: int) -> Chunks:
        """Cut texts into chunks of at most so many tokens; None: as many as the model reads."""


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that decides which vectors come out and where; equal specs mean the same loaded model."""

    identity: str
    model: str
    """hub name, absolute folder, or with `shipped` a name among the files that Spark brings to each task"""
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
    shipped: bool = False
    is_sparse: bool = False
    sparse: EncoderSpec | None = None
    """a sparse model beside this one, for both vectors in one pass over the rows"""

    @property
    def full_identity(self) -> str:
        """The identity of both models."""
        return self.identity if self.sparse is None else f"{self.identity} + {self.sparse.identity}"


_lock = threading.RLock()
_loaded: tuple[tuple[EncoderSpec, str], Encoder] | None = None


def load(spec: EncoderSpec, *, gpus: Sequence[str] = (), threads: int | None = None, files: str | None = None) -> Encoder:
    """The encoder for `spec`, loaded once in this process; another one that was loaded before is let go.

    gpus: addresses of the GPUs that Spark has given to the task. threads: CPU threads the task may use; None leaves them alone.
    files: the folder in which Spark puts the files that it ships.
    Raises EncodingError in one line where the model cannot be loaded.
    """
    global _loaded
    with _lock, memory.without_collections():
        if spec.factory is not None:
            from spark_vector_sink.encode import custom

            factory = custom.factory(spec.factory)
            chosen = device.choose(spec.device, gpus) if custom.takes_device(factory) else AUTO
        else:
            chosen = device.choose(spec.device, gpus)
            if threads is not None:
                device.use_threads(threads)
        key = (spec, chosen)
        if _loaded is not None and _loaded[0] == key:
            return _loaded[1]
        unload()  # before the next model takes its memory
        encoder = custom.made(spec.factory, factory, chosen) if spec.factory is not None else _model(spec, chosen, files)
        _loaded = (key, encoder)
        return encoder


def unload() -> None:
    """Let go of the loaded encoder and of its memory: a driver that has only asked for a dimension needs it no more."""
    global _loaded
    with _lock:
        if _loaded is not None:
            before, _loaded = _loaded[0][1], None
            memory.give_back(before)


def _model(spec: EncoderSpec, chosen: str, files: str | None) -> Encoder:
    if spec.sparse is not None:
        from spark_vector_sink.encode.hybrid import HybridEncoder

        return HybridEncoder(_model(replace(spec, sparse=None), chosen, files), _model(spec.sparse, chosen, files))
    placed = _placed(spec, files)
    if spec.is_sparse:
        from spark_vector_sink.encode.sparse_encoder import SparseSentenceEncoder

        return SparseSentenceEncoder(placed, chosen)
    from spark_vector_sink.encode.sentence_transformer import SentenceTransformerEncoder

    return SentenceTransformerEncoder(placed, chosen)


def _placed(spec: EncoderSpec, files: str | None) -> EncoderSpec:
    """The spec with the model's folder on this machine, which must hold what the driver's holds: else vectors of two models would get
    under one name."""
    if not spec.shipped and not Path(spec.model).is_absolute():
        return spec
    folder = Path(files or "", spec.model) if spec.shipped else Path(spec.model)
    host = socket.gethostname()
    if not folder.is_dir():
        way_out = (
            "ship it again" if spec.shipped else "put it at the same path on every executor, ship it with Spark (see 'model'), or give a hub name"
        )
        raise EncodingError(f"the model folder {spec.model!r} is not on host {host}; {way_out}")
    here = model_files.read(str(folder), None).name
    if here != spec.identity.split(" ", 1)[0]:
        raise EncodingError(
            f"the model folder {spec.model!r} on host {host} holds {here}, the driver's is {spec.identity}; put the same model on every machine"
        )
    return replace(spec, model=str(folder))
