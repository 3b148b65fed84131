"""Messages for Qdrant: byte for byte in meaning what its own client would send."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import RestToGrpc, payload_to_grpc

from spark_vector_sink.payload_types import JSON_MARK, SparseVectors
from spark_vector_sink.store.qdrant.messages import upsert
from spark_vector_sink.store.write_batch import PointBatch

UUID = "550e8400-e29b-41d4-a716-446655440000"
HOSTILE = ["", "\0", "'\"\\", "🙂", "a.b", "a[0]", "_sink", "line\nbreak", "\u202e", "null", "ﬀ"]
TEXTS = st.sampled_from(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1, 0, -1, 2**53 + 1])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.null(), st.none()),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.bool_(), st.booleans()),
    (pa.int64(), INTEGERS),
    (pa.float64(), NUMBERS),
    (pa.list_(pa.string()), st.lists(st.none() | TEXTS, max_size=3)),
    (pa.list_(pa.int64()), st.lists(st.none() | INTEGERS, max_size=3)),
    (
        pa.struct([("a.b", pa.float64()), ("", pa.list_(pa.bool_()))]),
        st.fixed_dictionaries({"a.b": st.none() | NUMBERS, "": st.none() | st.lists(st.booleans())}),
    ),
    (pa.map_(pa.string(), pa.int64()), st.dictionaries(TEXTS, st.none() | INTEGERS, max_size=3)),
]


def sent(batch: PointBatch, ordering: str = "weak", collection: str = "articles") -> grpc.UpsertPoints:
    return grpc.UpsertPoints.FromString(upsert(collection, batch, ordering))


def clients(batch: PointBatch, rows: list[dict[str, Any]]) -> list[grpc.PointStruct]:
    """The same points by the client's own conversion."""
    made = []
    for row, identifier in enumerate(batch.ids):
        vectors = {name: one_vector(rows, row) for name, rows in batch.vectors.items()}
        made.append(
            RestToGrpc.convert_point_struct(
                models.PointStruct(
                    id=identifier, vector=vectors[""] if set(vectors) == {""} else vectors, payload=rows[row]
                )
            )
        )
    return made


def one_vector(rows: npt.NDArray[np.float32] | SparseVectors, row: int) -> Any:
    """A row as the client takes it."""
    if not isinstance(rows, SparseVectors):
        return rows[row].tolist()
    one = rows.slice(row, row + 1)
    return models.SparseVector(indices=one.indices.tolist(), values=one.values.tolist())


def sparse(*rows: dict[int, float]) -> SparseVectors:
    indices = np.array([index for row in rows for index in row], np.uint32)
    values = np.array([value for row in rows for value in row.values()], np.float32)
    return SparseVectors(np.cumsum([0, *map(len, rows)], dtype=np.int64), indices, values)


def payload_of(row: dict[str, Any]) -> Any:
    """A payload by the client's own conversion, which gives messages or their arguments, as its version has it."""
    return grpc.PointStruct(payload=payload_to_grpc(row)).payload


def batch_of(values: list[Any], field: pa.Field, names: tuple[str, ...] = ("",)) -> PointBatch:
    """Points numbered from 0, with one payload column."""
    arrow = [
        json.dumps(v)
        if field.metadata
        else list(v.items())
        if isinstance(v, dict) and pa.types.is_map(field.type)
        else v
        for v in values
    ]
    vectors = {name: np.arange(len(values) * 3, dtype=np.float32).reshape(-1, 3) / 7 for name in names}
    return PointBatch(
        list(range(len(values))), vectors, pa.record_batch([pa.array(arrow, field.type)], schema=pa.schema([field]))
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_points_are_what_the_client_would_send(data: st.DataObject) -> None:
    """Ids, vectors and payload of any column are the client's own messages."""
    name = data.draw(TEXTS)
    kind, values = data.draw(st.sampled_from(KINDS))
    rows = data.draw(st.lists(st.none() | values, min_size=1, max_size=4))
    vectors = data.draw(st.sampled_from([("",), ("dense",), ("a.b", "🙂")]))
    batch = batch_of(rows, pa.field(name, kind), vectors)
    ids = data.draw(st.lists(st.integers(0, 2**64 - 1) | st.uuids().map(str), min_size=len(rows), max_size=len(rows)))
    batch = PointBatch(ids, batch.vectors, batch.payload)
    assert list(sent(batch).points) == clients(batch, [{name: row} for row in rows])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.none() | JSON_VALUES, min_size=1, max_size=4))
def test_json_is_what_the_client_would_send(rows: list[Any]) -> None:
    """A variant column becomes the message of its value, not of its text."""
    batch = batch_of(rows, pa.field("v", pa.string(), metadata=JSON_MARK))
    assert [point.payload for point in sent(batch).points] == [payload_of({"v": row}) for row in rows]


@pytest.mark.parametrize("value", [[], {}, [[]], [{}], {"a": []}, {"a": {}}, None, [None], "", 0, False, 0.0])
def test_nothing_is_still_something(value: Any) -> None:
    """Empty lists and objects, empty text and zero are told from null, and from each other."""
    (point,) = sent(batch_of([value], pa.field("v", pa.string(), metadata=JSON_MARK))).points
    assert point.payload == payload_of({"v": value})
    assert point.payload["v"].WhichOneof("kind") is not None


@pytest.mark.parametrize("identifier", [0, 2**64 - 1, UUID])
def test_ids_are_exact(identifier: int | str) -> None:
    """The smallest and the largest number, and a UUID as text."""
    batch = PointBatch([identifier], {"": np.ones((1, 1), np.float32)}, pa.record_batch({"a": ["x"]}))
    (point,) = sent(batch).points
    assert point.id == RestToGrpc.convert_extended_point_id(identifier)


def test_every_bit_of_a_vector_arrives() -> None:
    """Denormal, negative zero, largest and smallest floats are the same four bytes on the other side."""
    numbers = np.array([[0.1, -0.0, 1e-45, 3.4028235e38, -1.1754944e-38, 1 / 3]], np.float32)
    (point,) = sent(PointBatch([1], {"": numbers}, pa.record_batch({"a": ["x"]}))).points
    assert struct.pack("<6f", *point.vectors.vector.dense.data) == numbers.tobytes()


@pytest.mark.parametrize("dimension", [1, 31, 32, 384, 4096, 65_535])
def test_a_vector_of_any_length_arrives(dimension: int) -> None:
    """The length on the wire is written in as many bytes as it takes."""
    matrix = np.random.default_rng(0).standard_normal((2, dimension)).astype(np.float32)
    points = sent(PointBatch([1, 2], {"": matrix}, pa.record_batch({"a": ["x", "y"]}))).points
    assert all(
        np.array_equal(np.array(point.vectors.vector.dense.data, np.float32), row)
        for point, row in zip(points, matrix, strict=True)
    )


def test_a_vector_need_not_lie_in_one_piece() -> None:
    """A strided or big-endian matrix gives the same numbers."""
    matrix = np.arange(12, dtype=">f4").reshape(2, 6)[:, ::2]
    points = sent(PointBatch([1, 2], {"": matrix}, pa.record_batch({"a": ["x", "y"]}))).points
    assert [list(point.vectors.vector.dense.data) for point in points] == [[0, 2, 4], [6, 8, 10]]


INDICES = st.integers(0, 2**32 - 1) | st.sampled_from(
    [0, 127, 128, 2**14 - 1, 2**14, 2**21 - 1, 2**21, 2**28 - 1, 2**28, 2**32 - 1]
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.dictionaries(INDICES, st.floats(width=32, allow_nan=False), max_size=200), min_size=1, max_size=4),
    st.sampled_from([None, "", "body"]),
)
def test_sparse_vectors_are_what_the_client_would_send(rows: list[dict[int, float]], dense: str | None) -> None:
    """Any indices in any order, alone or beside a dense vector with a name or without; vectors without entries too."""
    numbers = list(range(len(rows)))
    beside = {} if dense is None else {dense: np.arange(len(rows) * 3, dtype=np.float32).reshape(-1, 3)}
    batch = PointBatch(numbers, {**beside, "sp": sparse(*rows)}, pa.record_batch({"n": pa.array(numbers, pa.int64())}))
    assert list(sent(batch).points) == clients(batch, [{"n": n} for n in numbers])
    assert list(sent(batch.slice(1, len(rows))).points) == list(sent(batch).points)[1:]


def test_a_sparse_vector_without_entries_is_sent() -> None:
    """It is there, and empty: left out, the point would keep its old one in a segment that the server has optimised."""
    batch = PointBatch([1], {"": np.ones((1, 2), np.float32), "sp": sparse({})}, pa.record_batch({"a": ["x"]}))
    vectors = sent(batch).points[0].vectors.vectors.vectors
    assert set(vectors) == {"", "sp"}
    assert vectors["sp"].WhichOneof("vector") == "sparse"
    assert (list(vectors["sp"].sparse.indices), list(vectors["sp"].sparse.values)) == ([], [])


def test_sparse_vectors_need_not_lie_in_one_piece() -> None:
    """Strided parts of other types give the same numbers."""
    indices, values = np.arange(8, dtype=np.int64)[::2], np.arange(8, dtype=">f4")[::2]
    rows = SparseVectors(np.array([0, 1, 4], np.int32), indices, values)  # type: ignore[arg-type]
    points = sent(PointBatch([1, 2], {"sp": rows}, pa.record_batch({"a": ["x", "y"]}))).points
    found = [point.vectors.vectors.vectors["sp"].sparse for point in points]
    assert [dict(zip(vector.indices, vector.values, strict=True)) for vector in found] == [{0: 0}, {2: 2, 4: 4, 6: 6}]


def test_a_slice_sends_its_own_points() -> None:
    """Ids, vectors and payload of a slice belong together."""
    batch = batch_of(["a", "b", "c", "d"], pa.field("t", pa.string()))
    assert list(sent(batch.slice(1, 3)).points) == list(sent(batch).points)[1:3]


def test_several_columns_are_one_payload() -> None:
    """Each point has every column, and no column of another point."""
    payload = pa.record_batch({"a": ["x", None], "b": pa.array([None, 2], pa.int64())})
    batch = PointBatch([1, 2], {"": np.ones((2, 1), np.float32)}, payload)
    assert list(sent(batch).points) == clients(batch, [{"a": "x", "b": None}, {"a": None, "b": 2}])


def test_a_payload_may_have_no_columns() -> None:
    """A point without payload is one."""
    empty = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    batch = PointBatch([1, 2], {"": np.ones((2, 1), np.float32)}, empty)
    assert list(sent(batch).points) == clients(batch, [{}, {}])


@pytest.mark.parametrize(
    ("ordering", "number"), [("medium", grpc.WriteOrderingType.Medium), ("strong", grpc.WriteOrderingType.Strong)]
)
def test_a_request_carries_its_ordering(ordering: str, number: int) -> None:
    """As asked, and nothing where it is Qdrant's default."""
    batch = batch_of(["a"], pa.field("t", pa.string()))
    assert sent(batch, ordering).ordering.type == number
    assert not sent(batch, "weak").HasField("ordering")


def test_a_request_waits_until_it_is_applied() -> None:
    """It names its collection, and an answer means that the points are there."""
    request = sent(batch_of(["a"], pa.field("t", pa.string())), collection="articles__v1")
    assert (request.collection_name, request.wait) == ("articles__v1", True)
