"""Encode a window of texts to vectors with a Sentence Transformers model, and count the tokens read of each text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spark_vector_sink.encode import memory, model_inputs
from spark_vector_sink.encode.chunker import Chunks, chunk
from spark_vector_sink.encode.document_route import without_normalize
from spark_vector_sink.encode.encoder import Encoded, EncoderSpec, Tokenised
from spark_vector_sink.encode.loaded_model import LoadedModel, Vectors
from spark_vector_sink.encode.token_batches import Rows
from spark_vector_sink.encode.tokenizer import NO_LIMIT, RustTokenizer
from spark_vector_sink.errors import EncodingError, first_line


class SentenceTransformerEncoder(LoadedModel):
    """An encoder that gives the vectors of `encode_document` for each text alone, in batches of equal token counts:
    float32, of length 1 where the model normalises."""

    def __init__(self, spec: EncoderSpec, device: str) -> None:
        from sentence_transformers import SentenceTransformer

        super().__init__(SentenceTransformer, spec, device)
        ends = type(self._reading.modules[-1]).__name__ == "Normalize"
        self._normalizes = ends if spec.normalize is None else spec.normalize
        if spec.normalize is False:
            without_normalize(self._model)
        full = int(_full_dimension(self._model))
        if spec.truncate_dim and spec.truncate_dim > full:
            raise EncodingError(
                f"option 'truncate_dim' = {spec.truncate_dim} is more than the model's {full} dimensions"
            )
        self.dimension = spec.truncate_dim or full
        self._features = model_inputs.provable(self._model, self._reading.tokenizer, self._reading.prompt)

    def _vectors(self, tokenised: Tokenised, failed: dict[int, str]) -> Vectors:
        import torch

        vectors = np.zeros((len(tokenised.texts), self.dimension), np.float32)
        kept: list[tuple[Rows, Any]] = []
        with torch.inference_mode():
            for rows, made in self._batches.run(tokenised.tokens.read, self._forward(tokenised), failed):
                if self.device == "cpu":
                    vectors[rows] = self._finished(made).numpy()
                else:  # keep the vectors on the device, without waiting for it; one copy for the whole window
                    kept.append((rows, made[:, : self.dimension]))
            if kept:
                self._fetch(kept, vectors)
        return vectors, None

    def encode_query(self, text: str) -> Encoded:
        """Return the query's vector, with the model's query prompt where it has one."""
        made = self._model.encode_query([text], convert_to_tensor=True, show_progress_bar=False)
        zero = np.zeros(1, np.int64)
        return Encoded(_on_host(self._finished(made)), zero, zero)

    def chunk(self, texts: Sequence[str], tokens: int | None, overlap: int) -> Chunks:
        tokenizer, limit = self._reading.tokenizer, self._reading.limit
        if not isinstance(tokenizer, RustTokenizer):
            raise EncodingError(
                "option 'long_text' = 'chunk' needs a model with a fast tokenizer, and this model's is "
                "written in Python"
            )
        if tokens is None and limit == NO_LIMIT:
            raise EncodingError("the model reads texts of any length; say how long a chunk is by option 'chunk_tokens'")
        most = min(tokens or limit, limit)
        if overlap >= most:
            raise EncodingError(
                f"option 'chunk_overlap_tokens' = {overlap} leaves nothing new in a chunk of {most} tokens; give "
                "a smaller one"
            )
        try:
            return chunk(texts, tokenizer.whole, most, overlap, self._reading.prompt)
        except ValueError as error:  # where the prompt leaves no room
            raise EncodingError(
                f"options 'long_text' = 'chunk' and 'chunk_tokens' = {most} do not fit the model: {error}"
            ) from error

    def _forward(self, tokenised: Tokenised) -> Callable[[Rows], Any]:
        """Return the function that turns rows of this window into vectors on the device."""
        build, ids = self._features, tokenised.tokens.ids
        if build is None or ids is None:
            return lambda rows: self._documents(tokenised, rows, convert_to_tensor=True)
        return lambda rows: self._model(_moved(build([ids[row] for row in rows]), self.device))["sentence_embedding"]

    def _fetch(self, kept: list[tuple[Rows, Any]], vectors: npt.NDArray[np.float32]) -> None:
        """Copy a window's vectors from the device, all at once or, where memory is not enough, batch by batch. Errors
        of a GPU in earlier batches are raised here."""
        import torch

        try:
            try:
                vectors[np.concatenate([rows for rows, _ in kept])] = _on_host(
                    self._finished(torch.cat([made for _, made in kept]))
                )
                return
            except Exception as error:
                if not memory.is_lack_of_memory(error):
                    raise
            memory.give_back(self.device)
            for rows, made in kept:
                vectors[rows] = self._finished(made.cpu()).numpy()
        except Exception as error:
            raise EncodingError(
                f"the vectors cannot be had from {self.device}: {type(error).__name__}: {first_line(error)}"
            ) from error

    def _finished(self, made: Any) -> Any:
        """Cut the vectors to the dimension, and normalise them again in float32 where the model normalises: in bfloat16
        lengths are up to 0.4 % off, and a cut vector is shorter."""
        import torch

        vectors = made[:, : self.dimension].float()
        return torch.nn.functional.normalize(vectors, dim=1) if self._normalizes else vectors


def _full_dimension(model: Any) -> int:
    ask = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
    dimension: int | None = ask()
    if dimension is None:
        raise EncodingError("the model does not tell the length of its vectors")
    return dimension


def _moved(batch: dict[str, Any], device: str) -> dict[str, Any]:
    """Move a batch to the device. From pinned memory a GPU fetches the batch while it still works on the one before."""
    import torch

    if device == "cpu":
        return batch
    is_cuda = device.startswith("cuda")

    def move(tensor: Any) -> Any:
        return (tensor.pin_memory() if is_cuda else tensor).to(device, non_blocking=is_cuda)

    return {name: move(value) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def _on_host(tensor: Any) -> npt.NDArray[np.float32]:
    """Return a tensor as a NumPy array; from a GPU it is copied through pinned memory."""
    import torch

    if not tensor.is_cuda:
        return tensor.cpu().numpy()  # type: ignore[no-any-return]
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return host.numpy()  # type: ignore[no-any-return]
