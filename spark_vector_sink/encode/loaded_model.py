"""Load a model of Sentence Transformers and run it on a window in batches: the part common to dense and sparse
models."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode import device as devices
from spark_vector_sink.encode import memory, precision
from spark_vector_sink.encode.document_route import DocumentWay
from spark_vector_sink.encode.encoder import Encoded, EncoderSpec, Tokenised
from spark_vector_sink.encode.model_modules import TRANSFORMERS
from spark_vector_sink.encode.token_batches import Rows, TokenBatches
from spark_vector_sink.errors import EncodingError, first_line
from spark_vector_sink.payload_types import SparseVectors

Vectors = tuple[npt.NDArray[np.float32], SparseVectors | None]
"""Dense vectors, shape (n, dimension), and sparse vectors"""


class LoadedModel(ABC):
    """A model on its device, in its arithmetic, with a copy of its tokenizer; its batches are as large as memory
    allows."""

    def __init__(self, kind: Any, spec: EncoderSpec, device: str) -> None:
        """Load the model. kind: the class of Sentence Transformers. Raises EncodingError, with a message of one line,
        where the model cannot be loaded."""
        model = _loaded(kind, spec, device)
        self.identity, self.device = spec.identity, device
        self.dtype = devices.dtype(spec.dtype, device) if type(model[0]).__name__ in TRANSFORMERS else "float32"
        if self.dtype != "float32":
            precision.lower(model[0], self.dtype, device)
            if device != "cpu":  # on a CPU the token budget does not depend on free memory
                memory.give_back(device)  # the weights in float32
        self._model = model.eval()
        self._asked_prompt = spec.prompt
        self._reading = DocumentWay(model, spec.max_tokens, spec.prompt)
        self._batches = TokenBatches(devices.token_budget(spec.token_budget, device, self._reading.width), device)

    @property
    def token_budget(self) -> int:
        return self._batches.budget

    @property
    def tokens_done(self) -> int:
        return self._batches.done

    def tokenise(self, texts: Sequence[str]) -> Tokenised:
        begun = time.perf_counter()
        tokens = self._reading.tokenizer(texts)
        return Tokenised(texts, tokens, time.perf_counter() - begun)

    def encode(self, tokenised: Tokenised) -> Encoded:
        begun, halvings = time.perf_counter(), self._batches.halvings
        failed: dict[int, str] = {}
        vectors, sparse = self._vectors(tokenised, failed)
        memory.trim()
        seconds, halvings = time.perf_counter() - begun, self._batches.halvings - halvings
        return Encoded(vectors, *tokenised.tokens.counts, sparse, failed, seconds, halvings)

    def _documents(self, tokenised: Tokenised, rows: Rows, **how: Any) -> Any:
        """Return the result of the model's own `encode_document` for some of the texts. how: arguments that select the
        kind of tensor."""
        texts = [tokenised.texts[row] for row in rows]
        return self._model.encode_document(
            texts, batch_size=len(texts), show_progress_bar=False, prompt=self._asked_prompt, **how
        )

    @abstractmethod
    def _vectors(self, tokenised: Tokenised, failed: dict[int, str]) -> Vectors:
        """Return the vectors in the order of the texts. failed: receives each text that the model could not encode,
        with the reason."""


def _loaded(kind: Any, spec: EncoderSpec, device: str) -> Any:
    from transformers.utils import logging as transformers_logging

    # else every worker writes a progress bar to the log
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = kind(spec.model, revision=spec.revision, device=device, trust_remote_code=spec.trust_remote_code)
        # some models are stored in half precision, and the arithmetic is decided here, not by a file
        return model.float()
    except Exception as error:
        raise EncodingError(
            f"the model {spec.model!r} cannot be loaded on this machine: {type(error).__name__}: {first_line(error)}"
        ) from error
