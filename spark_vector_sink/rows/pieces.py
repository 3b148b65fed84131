"""Documents → their chunks: one point for each, which knows its document, its number and where in the text it stands."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.rows import keys
from spark_vector_sink.rows.columns import RESERVED
from spark_vector_sink.rows.documents import Documents

Integers = npt.NDArray[np.int64]

FIELDS = ("document", "chunk", "chunks", "span")
"""What a chunk's payload says of itself: the document's point id as text, the chunk's number from 0, how many there are, and the first
character and the one after the last, counted as Unicode code points of the document's text."""


def chunked(
    found: Documents, texts: Sequence[str], document: Integers, number: Integers, start: Integers, stop: Integers,
    *, namespace: uuid.UUID, text_field: str | None,
) -> Documents:  # fmt: skip
    """A document for each chunk. All arrays have the length of `texts`; `document` is a row of `found`.

    text_field: the payload's name of the text, in whose place a chunk has its own piece; None where no text is kept.
    """
    ids = [keys.chunk_id(found.ids[row], part, namespace) for row, part in zip(document.tolist(), number.tolist(), strict=True)]
    payload = found.payload.take(pa.array(document))
    if text_field is not None:
        place = payload.schema.get_field_index(text_field)
        payload = payload.set_column(place, payload.schema.field(place), pa.array(texts, payload.schema.field(place).type))
    counts = np.bincount(document, minlength=len(found))[document]
    spans = pa.FixedSizeListArray.from_arrays(pa.array(np.column_stack([start, stop]).ravel()), 2).cast(pa.list_(pa.int64()))
    names = pa.array([str(found.ids[row]) for row in document.tolist()], pa.string())
    sink = pa.StructArray.from_arrays([names, pa.array(number), pa.array(counts), spans], names=list(FIELDS))
    payload = pa.RecordBatch.from_arrays([*payload.columns, sink], names=[*payload.schema.names, RESERVED])
    return Documents([found.keys[row] for row in document.tolist()], ids, list(texts), payload, None, found.rows[document], found.superseded)
