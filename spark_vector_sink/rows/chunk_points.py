"""Turn documents into their chunks: one point for each chunk, with its document, its number and its span in the
text."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.rows import keys
from spark_vector_sink.rows.column_paths import leaf
from spark_vector_sink.rows.documents import Documents, no_columns
from spark_vector_sink.rows.projection import with_leaf

Integers = npt.NDArray[np.int64]

FIELDS = ("document", "chunk", "chunks", "span")
"""The fields that a chunk's payload has under `_sink`: the document's point id as text, the chunk's number from 0, the
count of the document's chunks, and the span as the first character and the one after the last, counted as Unicode code
points of the document's text."""


MOST_BYTES = 64 * 1024 * 1024
"""Approximate limit, in bytes, of the payloads of the chunks that are made at once."""


def at_once(found: Documents, text_path: Sequence[str] | None, most: int) -> int:
    """Return the number of chunks to make at once, at most `most`: each chunk has a copy of its document's payload
    columns, except the text."""
    text = None if text_path is None else text_path[0]
    others: int = sum(
        column.nbytes
        for field, column in zip(found.payload.schema, found.payload.columns, strict=True)
        if field.name != text
    )
    return max(1, min(most, MOST_BYTES * len(found) // max(1, others)))


def chunked(
    found: Documents,
    texts: Sequence[str],
    document: Integers,
    number: Integers,
    count: Integers,
    start: Integers,
    stop: Integers,
    *,
    namespace: uuid.UUID,
    text_path: Sequence[str] | None,
) -> Documents:
    """Return documents with one entry for each chunk. All arrays have the length of `texts`; `document` is a row of
    `found`, `count` the number of chunks of the document.

    text_path: the path of the text in the payload, where a chunk has its own piece; None where no text is kept.
    """
    rows = document.tolist()
    ids = [keys.chunk_id(found.ids[row], part, namespace) for row, part in zip(rows, number.tolist(), strict=True)]
    taken, places = [], pa.array(document)
    for field, column in zip(found.payload.schema, found.payload.columns, strict=True):
        if text_path is None or field.name != text_path[0]:
            taken.append(column.take(places))
            continue
        of_text = leaf(field, text_path[1:])
        pieces = pa.array(texts, pa.string() if of_text is None else of_text.type)
        taken.append(pieces if len(text_path) == 1 else with_leaf(column.take(places), text_path[1:], pieces))
    spans = pa.ListArray.from_arrays(
        pa.array(np.arange(len(rows) + 1) * 2, pa.int32()), pa.array(np.column_stack([start, stop]).ravel())
    )
    heads = [found.ids[row] for row in rows]
    ours = {name: values.take(places) for name, values in found.ours.items()}
    ours |= dict(
        zip(FIELDS, (pa.array(map(str, heads), pa.string()), pa.array(number), pa.array(count), spans), strict=True)
    )
    payload = pa.RecordBatch.from_arrays(taken, schema=found.payload.schema) if taken else no_columns(len(rows))
    versions = None if found.versions is None else found.versions[document]
    shard_keys = None if found.shard_keys is None else [found.shard_keys[row] for row in rows]
    return Documents(
        [found.keys[row] for row in rows],
        ids,
        list(texts),
        payload,
        None,
        found.rows[document],
        versions,
        ours,
        heads,
        shard_keys,
    )
