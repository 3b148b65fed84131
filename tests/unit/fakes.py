"""Stand-ins for what unit tests do not start: a model, and a server that answers with an error."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import grpc
import numpy as np
import numpy.typing as npt

DIMENSION = 8


class HashEncoder:
    """A vector of length 1 from a hash of the text: the same everywhere, and another for each text."""

    dimension = DIMENSION

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        digests = [hashlib.sha256(text.encode()).digest()[:DIMENSION] for text in texts]
        vectors = (
            np.array([np.frombuffer(digest, np.uint8) for digest in digests], np.float32).reshape(-1, DIMENSION) - 127.5
        )
        lengths: npt.NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / lengths


class ZeroEncoder(HashEncoder):
    """Vectors without a direction."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.zeros((len(texts), DIMENSION), np.float32)


class RpcFailure(grpc.RpcError):
    """What a gRPC channel raises."""

    def __init__(
        self, code: grpc.StatusCode, details: str | None = "details", trailing: tuple[tuple[str, str], ...] | None = ()
    ) -> None:
        self._said = code, details, trailing

    def code(self) -> grpc.StatusCode:
        return self._said[0]

    def details(self) -> str | None:
        return self._said[1]

    def trailing_metadata(self) -> tuple[tuple[str, str], ...] | None:
        return self._said[2]
