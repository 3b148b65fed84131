"""A collection through another model: the stored text of every point is encoded again, into a fresh version, which then takes the name.

plan() → sink.prepare → pages → write_pages, in this process or in tasks of Spark → sink.finish, as an overwrite is.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pyarrow as pa

from spark_vector_sink import models, sink, specs, stores
from spark_vector_sink import plan as planning
from spark_vector_sink.admin import place_of
from spark_vector_sink.delivery import places, rejects
from spark_vector_sink.delivery.fingerprint import Fingerprints
from spark_vector_sink.encode.windows import windows
from spark_vector_sink.encoding import Task, TaskEncoder
from spark_vector_sink.errors import CollectionError, EncodingError, MissingPackageError, OptionError
from spark_vector_sink.options import COLUMNS, SinkOptions, option_table
from spark_vector_sink.plain import RESERVED, SPREAD_MARK, at, is_below
from spark_vector_sink.plan import Plan
from spark_vector_sink.reading import WRITTEN, Beside, ModelWanted, Read, Window, timed, what_decides
from spark_vector_sink.report import PartitionReport, WriteReport
from spark_vector_sink.rows import bad
from spark_vector_sink.rows.bad import BadRow
from spark_vector_sink.rows.columns import Columns
from spark_vector_sink.rows.documents import Documents
from spark_vector_sink.store.pages import Page, shard_keys
from spark_vector_sink.store.points import id_of_text
from spark_vector_sink.store.remembered import VECTORS
from spark_vector_sink.store.store import VectorStore

PAGE_POINTS = 4096
"""Points that one task reads in a row; the driver lists where each page begins."""

Write = Callable[[Plan, Sequence[Page]], Sequence[PartitionReport]]
"""Writes all pages; a report for each partition"""


_KEPT = ("vector_name", "sparse_vector_name", "distance", "id_namespace")
"""Options that are as the collection has them, where they are not given."""

_WITHOUT_EFFECT = frozenset(
    (
        "chunk_tokens", "chunk_overlap_tokens", "store_text", "payload_indexes", "dimension", "adopt_collection", "versioned", "create_collection",
        "unchanged", "existing", "delete_missing", "source", "max_delete_share", "tombstone_days",
    )
)  # fmt: skip
_OF_TEXTS = frozenset(("text_template", "vector_name", "sparse_vector_name"))
"""Options of columns that say something here, too."""


def reembed(where: str, model: str | None = None, *, spark: Any = None, **options: Any) -> WriteReport:
    """Encode the stored text of every point with another model, into a fresh version of the collection, and let the name stand for that one.

    where: as for `search`. model, options: those of a job that say how texts are encoded and points are sent. No table is needed: ids, payloads and
    what the sink keeps in each point are as they were. Readers see the old version until everything is there, and `rollback` goes back to it;
    what others write to it meanwhile is not in the new one. spark: a SparkSession, whose tasks do the work; without one this process does it.
    Raises RefusedError before anything is written.
    """
    given = {**options, **({} if model is None else {"model": model})}
    if spark is None:
        return run(plan(where, given), lambda plan, pages: [write_pages(plan, pages, Task())])
    from spark_vector_sink.spark import reembed as tasks

    return run(plan(where, given, tasks.shipped_files()), tasks.writing(spark))


def run(checked: Plan, write: Write) -> WriteReport:
    """Do what was planned."""

    def tasks(plan: Plan) -> Sequence[PartitionReport]:
        with stores.collections(plan.options, plan.place) as collections:
            pages = collections.pages(sink.target_of(plan), plan.run, PAGE_POINTS)
        return write(plan, pages)

    return sink.run(checked, tasks)


def plan(where: str, options: Mapping[str, Any], shipped: Path | None = None) -> Plan:
    """The plan of a run that can be done; looks, and changes nothing. shipped: as for `plan.check`. Raises RefusedError, with every problem of a kind."""
    parsed, wrong = SinkOptions.parse({**place_of(where), **options})
    if problems := [*wrong, *_without_effect(parsed)]:
        raise OptionError(problems)
    if parsed.rejects_path:
        parsed = replace(parsed, rejects_path=places.absolute(parsed.rejects_path))
    if problems := [*planning.report_problems(parsed), *rejects.problems(parsed)]:
        raise OptionError(problems)
    place, warnings = stores.find(parsed)
    name = place.name(parsed)
    with stores.collections(parsed, place) as collections:
        remembered = collections.metadata(name)
        text = _text_field(name, remembered)
        _alone(name, remembered)
        parsed = _as_it_was(parsed, remembered, text)
        try:
            encoder, dimension = models.spec(parsed, shipped)
            if dimension is None:
                encoder, dimension = models.measured(encoder, shipped)
        except (EncodingError, MissingPackageError) as error:
            raise OptionError(str(error)) from error
        columns = Columns((text,), parsed.text_template, (), False, None, ((text, text),), ())
        made = specs.collection_spec(parsed, columns, encoder, dimension)
        if remembered.get("sparse_vector_name") and not made.sparse_vector_name:
            raise OptionError(f"the points of '{name}' have the sparse vector '{remembered['sparse_vector_name']}'; give option 'sparse_model', too")
        kept = {key: remembered[key] for key in ("key", "id_namespace", "text", "chunked") if key in remembered}
        settings = {**made.metadata["settings"], **_settings_of_chunks(remembered)}
        metadata = {**remembered, **made.metadata, **kept, "settings": settings}
        spec = replace(made, metadata=metadata, overwrite=True, inherits=True, replace_plain=parsed.replace_collection, reads=False)
        target = collections.resolve(name, spec)
    if target.problems:
        raise CollectionError(target.problems)
    return Plan(
        parsed, columns, encoder, spec, place, target, run=uuid.uuid4().hex, started=time.time(), warnings=(*warnings, *target.warnings)
    )  # fmt: skip


def write_pages(plan: Plan, pages: Iterable[Page], task: Task) -> PartitionReport:
    """Write the points of these pages, as a task: see `sink.write_partition`."""
    with stores.collections(plan.options, plan.place.of_this_process(plan.options), patient=True) as collections:
        return sink.write_partition(plan, (batch for page in pages for batch in collections.read(page)), task, Rereading)


class Rereading:
    """One task's points on their way to the model; used by one thread at a time."""

    loads_late = False

    def __init__(self, plan: Plan, store: VectorStore, encoder: TaskEncoder | None, report: PartitionReport) -> None:
        if encoder is None:
            raise ValueError("points are read again only to be encoded again")
        self._plan, self._encoder, self._report = plan, encoder, report
        self._fingerprints = Fingerprints(*what_decides(plan))

    def windows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Window | ModelWanted]:
        """Points with their texts, and tombstones beside them."""
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
                found.append(BadRow(place, self._key(payload, rows.column("id")[place].as_py()), self._plan.columns.text[0], bad.BLANK_TEXT, reason))
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

    def _documents(self, rows: pa.RecordBatch, payloads: Sequence[Mapping[str, Any]], chosen: Sequence[int]) -> Documents:
        """Points as documents, whose payload is what it was."""
        ids = rows.column("id").to_pylist()
        json_texts = pa.array([json.dumps(payloads[place], ensure_ascii=False) for place in chosen], pa.string())
        payload = pa.RecordBatch.from_arrays([json_texts], schema=pa.schema([pa.field("payload", pa.string(), metadata=SPREAD_MARK)]))
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
        """What the model reads: a chunk's text is a piece of what the template made."""
        text, template = str(at(payload, self._plan.columns.text[0])), self._plan.columns.text_template
        if template is None or _is_chunk(payload):
            return text
        return "".join(literal + (text if name is not None else "") for literal, name, _, _ in Formatter().parse(template))

    def _key(self, payload: Mapping[str, Any], point: str) -> str:
        """The document's key, for messages."""
        values = [at(payload, name) for name in self._plan.spec.metadata.get("key") or ()]
        if not values or None in values:
            return point
        return str(values[0]) if len(values) == 1 else json.dumps(values, ensure_ascii=False)


def _renew_fingerprint(payload: dict[str, Any], text: str, fingerprints: Fingerprints) -> None:
    """A document's fingerprint says what its vector was made of; that of a chunk is of the whole text, which is not there."""
    ours = payload.get(RESERVED)
    if not isinstance(ours, dict) or "fingerprint" not in ours:
        return
    made = None if _is_chunk(payload) else fingerprints.of_new_vector(text, ours["fingerprint"])
    payload[RESERVED] = {name: value for name, value in ours.items() if name != "fingerprint"} | ({} if made is None else {"fingerprint": made})


def _is_chunk(payload: Mapping[str, Any]) -> bool:
    ours = payload.get(RESERVED)
    return isinstance(ours, dict) and "chunk" in ours


def _without_effect(options: SinkOptions) -> Iterator[str]:
    if not options.given & {"model", "sparse_model", "encoder"}:
        yield "reembed() needs the new model: give it as 'model', 'sparse_model' or 'encoder'"
    table = option_table()
    for name in sorted(options.given):
        if name in _WITHOUT_EFFECT or (table[name].doc.group == COLUMNS and name not in _OF_TEXTS):
            yield f"option '{name}' has no effect in reembed(), which reads no table and leaves ids and payloads as they are; leave it out"
    if options.long_text == "chunk":
        yield "option 'long_text' = 'chunk' has no effect in reembed(), where chunks stay as they are; to cut texts anew, write the table with mode('overwrite')"


def _text_field(name: str, remembered: Mapping[str, Any]) -> str:
    """Where the text of each point is. Raises CollectionError where it is not kept."""
    if not remembered:
        raise CollectionError(f"'{name}' does not exist, or was not written by this sink: it does not say where the text of its points is")
    if remembered.get("text") is None:
        raise CollectionError(
            f"'{name}' does not hold the text of its points: it was written with store_text=false, from several text columns, or from ready-made vectors; "
            "write the table again, with the new model and mode('overwrite')"
        )
    return str(remembered["text"])


def _alone(name: str, remembered: Mapping[str, Any]) -> None:
    """CollectionError where the collection has vectors of several models: the fresh version would have one."""
    if remembered.get(VECTORS):
        raise CollectionError(
            f"'{name}' has vectors of several models ({', '.join(map(repr, remembered[VECTORS]))} too), and the fresh version would have one; "
            "let the new model's move in beside them, with existing=merge and a 'vector_name' of its own"
        )


def _as_it_was(options: SinkOptions, remembered: Mapping[str, Any], text: str) -> SinkOptions:
    """The options, with what is not given as the collection has it."""
    kept = {name: remembered[name] for name in _KEPT if remembered.get(name) is not None and name not in options.given}
    if "id_namespace" in kept:
        kept["id_namespace"] = uuid.UUID(kept["id_namespace"])
    template = options.text_template or (remembered.get("settings") or {}).get("text_template")
    if template is not None and "text_template" in options.given:
        named = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        if len(named) != 1:
            raise OptionError(f"option 'text_template' = {template!r} must name one column, whose text is stored as '{text}'")
    return replace(options, **kept, text_template=template)


def _settings_of_chunks(remembered: Mapping[str, Any]) -> dict[str, Any]:
    """How the texts were cut: they still are."""
    settings = remembered.get("settings") or {}
    if not remembered.get("chunked"):
        return {}
    return {name: settings[name] for name in ("long_text", "chunk_tokens", "chunk_overlap_tokens") if name in settings}
