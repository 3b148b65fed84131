"""The sink's encoder, driven and timed by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode import device, loader, model_files
from spark_vector_sink.encode.encoder import EncoderSpec

WINDOW = 4096


def load(model: str, *, dtype: str = "auto", on: str = "cpu", threads: int | None = None) -> Any:
    """The encoder that a job with these options has."""
    files = model_files.read(model, None)
    spec = EncoderSpec(identity=files.name, model=files.place, revision=files.revision, device=on, dtype=dtype)
    return loader.load(spec, threads=threads)


def default_dtype() -> str:
    """What option `dtype` = `auto` means on this machine's CPU."""
    return device.dtype("auto", "cpu")


def encode(encoder: Any, texts: Sequence[str]) -> Any:
    """A window's `Encoded`, in the one step or the two that the encoder has."""
    return encoder.encode(encoder.tokenise(texts)) if hasattr(encoder, "tokenise") else encoder.encode(texts)


def vectors(encoder: Any, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """float32, shape (n, dimension); by windows, as a job does it."""
    parts = [encode(encoder, texts[start : start + WINDOW]).vectors for start in range(0, len(texts), WINDOW)]
    return np.concatenate(parts)


def model_of(encoder: Any) -> Any:
    """The torch model that the encoder holds."""
    from torch import nn

    for value in vars(encoder).values():
        if isinstance(value, nn.Module):
            return value
    raise TypeError(f"a {type(encoder).__name__} holds no torch model in its attributes")


class ForwardTimer:
    """Wall time inside the model's forward pass, for as long as the process lives. On a CPU the pass has ended when the
    call has."""

    def __init__(self, model: Any) -> None:
        self.seconds = 0.0
        self.calls = 0
        self._forward: Callable[..., Any] = model.forward
        model.forward = self._timed  # an attribute of the instance, which nn.Module.__call__ finds first

    def _timed(self, *arguments: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        try:
            return self._forward(*arguments, **named)
        finally:
            self.seconds += time.perf_counter() - begun
            self.calls += 1
