"""Encode a collection with another model: the stored text of every point is encoded again, into a fresh version, to
which the name then moves.

plan() → committer.prepare → pages → write_pages, in this process or in Spark tasks → committer.commit, as for an
overwrite.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import Formatter
from typing import Any

from spark_vector_sink import files, job, rejects
from spark_vector_sink.driver import collection_spec, committer, model_spec
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import CollectionError, EncodingError, MissingPackageError, OptionError
from spark_vector_sink.job import Plan
from spark_vector_sink.options import OF_COLLECTION, OF_TABLE, SinkOptions, marked
from spark_vector_sink.report import PartitionReport, WriteReport
from spark_vector_sink.rows.columns import Columns
from spark_vector_sink.store import registry
from spark_vector_sink.store.collection_metadata import DENSE, SPARSE, CollectionMetadata, of_kind
from spark_vector_sink.store.scan import Page

PAGE_POINTS = 4096
"""Most points of a page, which one task reads in a row; the driver lists where each page begins."""

Write = Callable[[Plan, Sequence[Page]], Sequence[PartitionReport]]
"""Function that writes all pages and returns a report for each partition."""


def run(checked: Plan, write: Write) -> WriteReport:
    """Run a planned re-embedding: list the pages, and write them with `write`."""

    def tasks(plan: Plan) -> Sequence[PartitionReport]:
        with registry.collections(plan.options, plan.place) as collections:
            pages = collections.pages(job.target_of(plan), plan.run, PAGE_POINTS)
        return write(plan, pages)

    return committer.run(checked, tasks)


def plan(options: Mapping[str, Any], shipped: Path | None = None) -> Plan:
    """Return the plan of a re-embedding that can run; changes nothing. shipped: as for `plan.check`. Raises
    RefusedError, with every problem of a kind."""
    parsed, wrong = SinkOptions.parse(options)
    if problems := [*wrong, *_without_effect(parsed)]:
        raise OptionError(problems)
    if parsed.rejects_path:
        parsed = replace(parsed, rejects_path=files.absolute(parsed.rejects_path))
    if problems := [*planning.report_problems(parsed), *rejects.problems(parsed)]:
        raise OptionError(problems)
    place, warnings = registry.find(parsed)
    name = place.name(parsed)
    with registry.collections(parsed, place) as collections:
        remembered = collections.metadata(name)
        if remembered is None:
            raise CollectionError(
                f"'{name}' does not exist, or was not written by this sink: it does not say where the text of "
                "its points is"
            )
        text = _text_field(name, remembered)
        _alone(name, remembered)
        parsed = _as_it_was(parsed, remembered, text)
        try:
            encoder, dimension = model_spec.spec(parsed, shipped)
            if dimension is None:
                encoder, dimension = model_spec.measured(encoder, shipped)
        except (EncodingError, MissingPackageError) as error:
            raise OptionError(str(error)) from error
        columns = Columns((text,), parsed.text_template, (), False, None, ((text, text),), ())
        made = collection_spec.collection_spec(parsed, columns, encoder, dimension)
        if (sparse := of_kind(SPARSE, remembered.first)) and not made.sparse_vector_name:
            raise OptionError(
                f"the points of '{name}' have the sparse vector '{sparse.name}'; give option 'sparse_model', too"
            )
        cut = _settings_of_chunks(remembered)
        vectors = tuple(replace(vector, settings={**vector.settings, **cut}) for vector in made.metadata.vectors)
        metadata = replace(remembered, library=made.metadata.library, vectors=vectors)
        spec = replace(
            made, metadata=metadata, overwrite=True, inherits=True, replace_plain=parsed.replace_collection, reads=False
        )
        target = collections.resolve(name, spec)
    if target.problems:
        raise CollectionError(target.problems)
    return Plan(
        parsed,
        columns,
        encoder,
        spec,
        place,
        target,
        run=uuid.uuid4().hex,
        started=time.time(),
        warnings=(*warnings, *target.warnings),
    )


def _without_effect(options: SinkOptions) -> Iterator[str]:
    if not options.given & {"model", "sparse_model", "encoder"}:
        yield "reembed() needs the new model: give it as 'model', 'sparse_model' or 'encoder'"
    for name in sorted(options.given & set(marked(OF_TABLE))):
        yield (
            f"option '{name}' has no effect in reembed(), which reads no table and leaves ids and payloads as they "
            "are; leave it out"
        )
    if options.long_text == "chunk":
        yield (
            "option 'long_text' = 'chunk' has no effect in reembed(), where chunks stay as they are; to cut texts "
            "anew, write the table with mode('overwrite')"
        )


def _text_field(name: str, remembered: CollectionMetadata) -> str:
    """Return the payload field with the text of each point. Raises CollectionError where the collection does not hold
    the text."""
    if remembered.text is None:
        raise CollectionError(
            f"'{name}' does not hold the text of its points: it was written with store_text=false, from several text "
            "columns, or from ready-made vectors; "
            "write the table again, with the new model and mode('overwrite')"
        )
    return remembered.text


def _alone(name: str, remembered: CollectionMetadata) -> None:
    """Raise CollectionError where the collection has vectors of several models, because the fresh version would have
    only one."""
    if guests := [job[0].job for job in remembered.jobs[1:]]:
        raise CollectionError(
            f"'{name}' has vectors of several models ({', '.join(map(repr, guests))} too), and the fresh version "
            "would have one; "
            "let the new model's move in beside them, with existing=merge and a 'vector_name' of its own"
        )


def _as_it_was(options: SinkOptions, remembered: CollectionMetadata, text: str) -> SinkOptions:
    """Return the options, with the collection's own values for those that are not given."""
    was = _as_options(remembered)
    kept = {
        name: was[name] for name in marked(OF_COLLECTION) if was.get(name) is not None and name not in options.given
    }
    if "id_namespace" in kept:
        kept["id_namespace"] = uuid.UUID(kept["id_namespace"])
    template = options.text_template or was.get("text_template")
    if template is not None and "text_template" in options.given:
        named = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        if len(named) != 1:
            raise OptionError(
                f"option 'text_template' = {template!r} must name one column, whose text is stored as '{text}'"
            )
    return replace(options, **kept, text_template=template)


def _as_options(remembered: CollectionMetadata) -> dict[str, Any]:
    """Return the remembered settings by option name."""
    dense, sparse = of_kind(DENSE, remembered.first), of_kind(SPARSE, remembered.first)
    named = {} if dense is None else {"vector_name": dense.name, "distance": dense.distance}
    named |= {} if sparse is None else {"sparse_vector_name": sparse.name}
    return {**remembered.vectors[0].settings, **named, "id_namespace": remembered.id_namespace}


def _settings_of_chunks(remembered: CollectionMetadata) -> dict[str, Any]:
    """Return the settings by which the texts were cut into chunks; they stay valid, because chunks stay unchanged.
    Empty where the collection has no chunks."""
    names = ("long_text", "chunk_tokens", "chunk_overlap_tokens") if remembered.chunked else ()
    return {name: value for name, value in remembered.vectors[0].settings.items() if name in names}
