"""Make windows from the points of a collection, so that their stored texts are encoded again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from string import Formatter
from typing import Any

import numpy as np
import pyarrow as pa

from spark_vector_sink import rejects
from spark_vector_sink.job import Plan
from spark_vector_sink.payload_types import RESERVED, SPREAD_MARK, at, is_below
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.rows import bad_rows
from spark_vector_sink.rows.bad_rows import BadRow
from spark_vector_sink.rows.documents import Documents
from spark_vector_sink.store import registry
from spark_vector_sink.store.protocols import VectorStore
from spark_vector_sink.store.scan import Page, shard_keys
from spark_vector_sink.store.write_batch import id_of_text
from spark_vector_sink.task.context import TaskContext
from spark_vector_sink.task.encoder_runner import EncoderRunner
from spark_vector_sink.task.fingerprint import Fingerprints, what_decides
from spark_vector_sink.task.partition_writer import write_partition
from spark_vector_sink.task.window import WRITTEN, Beside, ModelWanted, Read, Window, timed
from spark_vector_sink.task.windows import windows


def write_pages(plan: Plan, pages: Iterable[Page], task: TaskContext) -> PartitionReport:
    """Write the points of these pages as one task, like `write_partition`."""
    with registry.collections(plan.options, plan.place.of_this_process(plan.options), patient=True) as collections:
        return write_partition(plan, (batch for page in pages for batch in collections.read(page)), task, StoredWindows)


class StoredWindows:
    """Reader that makes windows from one task's stored points. Used by one thread at a time."""

    loads_late = False

    def __init__(self, plan: Plan, store: VectorStore, encoder: EncoderRunner | None, report: PartitionReport) -> None:
        if encoder is None:
            raise ValueError("points are read again only to be encoded again")
        self._plan, self._encoder, self._report = plan, encoder, report
        self._fingerprints = Fingerprints(*what_decides(plan))

    def windows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Window | ModelWanted]:
        """Yield windows of points with their texts, and of tombstones, which need no encoding."""
        source = self._encoder.watched(batches)
        for rows in timed(windows(source, self._plan.options.window_rows), self._report, "reading_seconds"):
            yield self._window(rows)

    def _window(self, rows: pa.RecordBatch) -> Window:
        payloads = [json.loads(text) for text in rows.column("payload").to_pylist()]
        texts: dict[int, str] = {}
        tombstones, found = list[int](), list[BadRow]()
        for place, payload in enumerate(payloads):
            ours = payload.get(RESERVED)
            if isinstance(ours, dict) and ours.get("deleted") is not None:
                tombstones.append(place)
            elif reason := self._no_text(payload):
                found.append(
                    BadRow(
                        place,
                        self._key(payload, rows.column("id")[place].as_py()),
                        self._plan.columns.text[0],
                        bad_rows.BLANK_TEXT,
                        reason,
                    )
                )
            else:
                texts[place] = self._text(payload)
                _renew_fingerprint(payload, texts[place], self._fingerprints)
        read = Read(rows, np.full(len(rows), WRITTEN, np.int8))
        rejects.refuse(self._plan.options, found)
        read.refuse(found)
        points = self._documents(rows, payloads, list(texts))
        points = replace(points, texts=list(texts.values()))
        nothing = points.slice(0, 0)
        beside = Beside(nothing, nothing, {}, {}, {}, self._documents(rows, payloads, tombstones))
        return Window(read, points, self._encoder.tokenise(points.texts) if len(points) else None, beside)

    def _documents(
        self, rows: pa.RecordBatch, payloads: Sequence[Mapping[str, Any]], chosen: Sequence[int]
    ) -> Documents:
        """Return points as documents with the given payloads."""
        ids = rows.column("id").to_pylist()
        json_texts = pa.array([json.dumps(payloads[place], ensure_ascii=False) for place in chosen], pa.string())
        payload = pa.RecordBatch.from_arrays(
            [json_texts], schema=pa.schema([pa.field("payload", pa.string(), metadata=SPREAD_MARK)])
        )
        shown = [self._key(payloads[place], ids[place]) for place in chosen]
        points, keys = [id_of_text(ids[place]) for place in chosen], shard_keys(rows)
        mine = None if keys is None else [keys[place] for place in chosen]
        return Documents(shown, points, [], payload, None, np.array(chosen, np.int64), shard_keys=mine)

    def _no_text(self, payload: Mapping[str, Any]) -> str | None:
        field = self._plan.columns.text[0]
        text = at(payload, field)
        if isinstance(text, str) and text.strip():
            return None
        if not is_below(field, payload):
            what = "is not in its payload"
        else:
            what = "is null" if text is None else "holds only blanks" if isinstance(text, str) else "is no text"
        return f"{what}; there is no text to encode"

    def _text(self, payload: Mapping[str, Any]) -> str:
        """Return the text for the model: a document's text in the template, or a chunk's text as it is, because a chunk
        is a piece of text that the template has already made."""
        text, template = str(at(payload, self._plan.columns.text[0])), self._plan.columns.text_template
        if template is None or _is_chunk(payload):
            return text
        return "".join(
            literal + (text if name is not None else "") for literal, name, _, _ in Formatter().parse(template)
        )

    def _key(self, payload: Mapping[str, Any], point: str) -> str:
        """Return the document's key, for messages; the point's id where the payload has no complete key."""
        values = [at(payload, name) for name in self._plan.spec.metadata.key or ()]
        if not values or None in values:
            return point
        return str(values[0]) if len(values) == 1 else json.dumps(values, ensure_ascii=False)


def _renew_fingerprint(payload: dict[str, Any], text: str, fingerprints: Fingerprints) -> None:
    """Replace the fingerprint in a payload by that of the new vector. A chunk's fingerprint is removed, because it is
    of the document's whole text, which is not known here."""
    ours = payload.get(RESERVED)
    if not isinstance(ours, dict) or "fingerprint" not in ours:
        return
    made = None if _is_chunk(payload) else fingerprints.of_new_vector(text, ours["fingerprint"])
    payload[RESERVED] = {name: value for name, value in ours.items() if name != "fingerprint"} | (
        {} if made is None else {"fingerprint": made}
    )


def _is_chunk(payload: Mapping[str, Any]) -> bool:
    ours = payload.get(RESERVED)
    return isinstance(ours, dict) and "chunk" in ours
