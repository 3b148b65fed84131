"""Chunks of documents: ids that never change, payload that knows where it comes from, and the document's own
columns."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pyarrow as pa

from spark_vector_sink.options import ID_NAMESPACE, SinkOptions
from spark_vector_sink.rows import chunk_points, columns, converter
from spark_vector_sink.rows.documents import Documents


def read(batch: pa.RecordBatch, **options: Any) -> tuple[Documents, columns.Columns]:
    parsed = SinkOptions.from_mapping({"path": "./s", "long_text": "chunk", **options})
    chosen, problems = columns.choose(parsed, batch.schema)
    assert not problems
    return converter.read(batch, chosen, ID_NAMESPACE).documents, chosen


BATCH = pa.record_batch({"id": pa.array([7, 9], pa.int64()), "text": ["one two", "three"], "tag": ["a", None]})


def chunked(batch: pa.RecordBatch = BATCH, **options: Any) -> Documents:
    """The first text in two chunks, the second in one."""
    found, chosen = read(batch, **options)
    spans = np.array([[0, 3], [4, 7], [0, 5]])
    return chunk_points.chunked(
        found,
        ["one", "two", "three"],
        np.array([0, 0, 1]),
        np.array([0, 1, 0]),
        np.array([2, 2, 1]),
        spans[:, 0],
        spans[:, 1],
        namespace=ID_NAMESPACE,
        text_path=chosen.text_path,
    )


def test_the_first_chunk_has_the_documents_id() -> None:
    """The others an id that anyone can compute from it and the number."""
    assert chunked().ids == [7, str(uuid.uuid5(ID_NAMESPACE, "7#1")), 9]


def test_a_chunk_says_what_it_is_of() -> None:
    """Document, number, how many there are, and where it stands in the text."""
    assert [row["_sink"] for row in chunked().whole_payload.to_pylist()] == [
        {"document": "7", "chunk": 0, "chunks": 2, "span": [0, 3]},
        {"document": "7", "chunk": 1, "chunks": 2, "span": [4, 7]},
        {"document": "9", "chunk": 0, "chunks": 1, "span": [0, 5]},
    ]


def test_a_chunk_holds_its_own_text_and_the_documents_columns() -> None:
    """Not the whole text in each of them."""
    rows = chunked(payload_rename="text:body").payload.to_pylist()
    assert [(row["id"], row["body"], row["tag"]) for row in rows] == [
        (7, "one", "a"),
        (7, "two", "a"),
        (9, "three", None),
    ]


def test_without_the_text_there_is_none() -> None:
    """store_text=false leaves the text out of chunks too."""
    assert chunked(store_text="false").whole_payload.schema.names == ["id", "tag", "_sink"]


def test_messages_name_the_documents_key() -> None:
    """A chunk that fails is looked for by the key of its row."""
    assert chunked().keys == ["7", "7", "9"]


def test_several_text_columns_are_refused() -> None:
    """A chunk's text would belong to none of them; unless no text is kept."""
    batch = pa.record_batch({"id": pa.array([1]), "a": ["x"], "b": ["y"]})
    parsed = SinkOptions.from_mapping({"path": "./s", "long_text": "chunk", "text_column": "a,b"})
    _, problems = columns.choose(parsed, batch.schema)
    assert problems == [
        "long_text=chunk keeps each chunk's text in its text column, and there are several; join them into one column "
        "first (concat_ws), "
        "or set store_text=false"
    ]
    read(batch, text_column="a,b", store_text="false")


def test_documents_can_be_cut() -> None:
    """Chunks of long documents are spread over windows."""
    part = chunked().slice(1, 3)
    assert (part.keys, part.ids[1], part.texts, part.payload.num_rows) == (["7", "9"], 9, ["two", "three"], 2)


def test_large_columns_are_copied_for_few_chunks_at_a_time() -> None:
    """Each chunk has its document's columns; the text, which it does not copy, does not count."""
    batch = pa.record_batch({"id": pa.array([1, 2]), "text": ["x" * 1_000_000] * 2, "page": ["y" * 4_000_000] * 2})
    found, chosen = read(batch)
    assert chunk_points.at_once(found, chosen.text_path, 4096) == 16
    assert chunk_points.at_once(read(BATCH)[0], chosen.text_field, 4096) == 4096
