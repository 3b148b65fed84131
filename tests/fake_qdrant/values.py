"""Ids, vectors, plain values and refusals: what passes between a client and the server."""

from __future__ import annotations

import math
import uuid
from typing import Any, TypeAlias

import grpc
import numpy as np
import numpy.typing as npt
from qdrant_client import grpc as q

Message: TypeAlias = Any
"""A protobuf message; the generated classes are not typed in a way that checkers can follow."""
PointKey: TypeAlias = int | str
"""An unsigned integer or a lower-case UUID."""
Matrix: TypeAlias = npt.NDArray[np.float32]


class RefusedError(Exception):
    """The server does not do what was asked: a status code and Qdrant's words."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


class UnheardError(RefusedError):
    """A refusal that only shows when the update is applied: who does not wait for that never hears of it."""


def invalid(words: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, words)


def not_found(words: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.NOT_FOUND, f"Not found: {words}")


def unimplemented(words: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.UNIMPLEMENTED, f"the fake server knows no {words}")


def key_of(point_id: Message) -> PointKey:
    """The Python value of a PointId message; UUIDs in their canonical form."""
    kind = point_id.WhichOneof("point_id_options")
    if kind is None:
        raise invalid("No ID options provided")
    if kind == "num":
        return int(point_id.num)
    try:
        return str(uuid.UUID(point_id.uuid))
    except ValueError:
        raise invalid(f"Unable to parse UUID: {point_id.uuid}") from None


def id_of(key: PointKey) -> Message:
    """The PointId message of a Python value."""
    return q.PointId(num=key) if isinstance(key, int) else q.PointId(uuid=key)


def order_of(key: PointKey) -> tuple[bool, int]:
    """Points are in the order of their ids: numbers first."""
    return (False, key) if isinstance(key, int) else (True, uuid.UUID(key).int)


def vector_output(vector: Message) -> Message:
    """The vector as the server gives it back: the fields have the same numbers, but the old way to send one is not the
    way it is returned, and the entries of a sparse one are sorted."""
    kind = vector.WhichOneof("vector")
    if kind is None and not vector.HasField("indices"):
        return q.VectorOutput(dense=q.DenseVector(data=vector.data))
    if kind not in (None, "sparse"):
        return q.VectorOutput.FromString(vector.SerializeToString())
    indices, values = (vector.sparse.indices, vector.sparse.values) if kind else (vector.indices.data, vector.data)
    entries = sorted(zip(indices, values, strict=True))
    return q.VectorOutput(
        sparse=q.SparseVector(indices=[index for index, _ in entries], values=[value for _, value in entries])
    )


def vectors_by_name(vectors: Message) -> dict[str, Message]:
    kind = vectors.WhichOneof("vectors_options")
    if kind is None:
        raise invalid("No Vector Provided")
    if kind == "vectors":
        return {name: vector_output(vector) for name, vector in vectors.vectors.vectors.items()}
    unnamed = vector_output(vectors.vector)
    if not unnamed.HasField("dense") and not unnamed.HasField("multi_dense"):
        raise invalid("Sparse vector must be named")
    return {"": unnamed}


def check_numbers(value: Message) -> None:
    """Neither payload nor metadata have NaN or infinity: JSON has none."""
    kind = value.WhichOneof("kind")
    if kind == "double_value" and not math.isfinite(value.double_value):
        raise invalid("cannot convert to json number")
    for part in (
        value.struct_value.fields.values()
        if kind == "struct_value"
        else value.list_value.values
        if kind == "list_value"
        else ()
    ):
        check_numbers(part)


def check_payload(fields: Message) -> None:
    """The same of a whole payload."""
    for value in fields.values():
        check_numbers(value)


def plain(value: Message) -> Any:
    """A protobuf Value as a plain Python value."""
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    if kind == "struct_value":
        return {name: plain(part) for name, part in value.struct_value.fields.items()}
    if kind == "list_value":
        return [plain(part) for part in value.list_value.values]
    return getattr(value, kind)
