"""What a job will do, worked out on the driver: every check, before a row is read and before a model is loaded."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from spark_vector_sink import models, paths, specs, stores
from spark_vector_sink.delivery import places, rejects
from spark_vector_sink.encode.encoder import EncoderSpec
from spark_vector_sink.errors import CollectionError, OptionError, RefusedError, SchemaError, VectorSinkError
from spark_vector_sink.options import SinkOptions, place_problems
from spark_vector_sink.rows import columns as column_rules
from spark_vector_sink.rows.columns import Columns
from spark_vector_sink.rows.vectors import FLOAT32, UINT8, Wanted
from spark_vector_sink.store.store import CollectionSpec, Target

APPEND, OVERWRITE = "append", "overwrite"


_OVERWRITE_IGNORES = (
    ("unchanged", "skip", "every document is written into a fresh collection"),
    ("existing", "merge", "a fresh collection has no points to merge with"),
    ("delete_missing", True, "a fresh collection has only what the table has"),
    ("adopt_collection", True, "what is there is replaced as a whole"),
    ("versioned", False, "the new version needs the alias"),
    ("create_collection", False, "it fills a collection of its own"),
)
"""Of options, the values that an overwrite cannot follow, and why."""


@dataclass(frozen=True)
class Plan:
    """Everything a task needs, and everything that was found wrong. Pickled into each task; its repr shows no key."""

    options: SinkOptions
    columns: Columns
    encoder: EncoderSpec | None
    """None where vectors are ready-made"""
    spec: CollectionSpec
    place: stores.Place
    target: Target | None
    run: str
    started: float
    """seconds since 1970"""
    problems: tuple[str, ...] = ()
    """one sentence for each thing that must be changed before the job can run"""
    warnings: tuple[str, ...] = ()
    refusal: type[RefusedError] = field(default=RefusedError, repr=False)
    """the error that says them"""

    @property
    def has_chunks(self) -> bool:
        """Whether documents may have several points: those of this job, or those that earlier ones have left in the collection."""
        return self.options.long_text == "chunk" or (self.target is not None and bool(self.target.remembered.get("chunked")))

    @property
    def ready_made(self) -> Wanted | None:
        """What vectors of the table must be; None where a model makes them. The length is known: `check` refuses a job where it is not."""
        if self.columns.vector is None:
            return None
        datatype = self.datatypes.get(self.spec.vector_name, FLOAT32)
        return Wanted(self.spec.dimension or 0, bool(self.options.normalize), self.is_scaled, datatype)

    @property
    def datatypes(self) -> Mapping[str, str]:
        """See `Target.datatypes`."""
        return self.target.datatypes if self.target is not None else {}

    @property
    def is_scaled(self) -> bool:
        """Whether the store scales dense vectors to length 1, as it does with those of cosine, but not with bytes."""
        return self.spec.distance == "cosine" and self.datatypes.get(self.spec.vector_name) != UINT8

    def accepted(self) -> Plan:
        """The plan itself where nothing is wrong; else raises RefusedError, or the subclass that fits, with every problem."""
        if self.problems:
            raise self.refusal(self.problems)
        return self

    def _model(self) -> str:
        """Its identity, and for a folder, of which that tells nothing, its path too."""
        identity = str(self.spec.metadata.get("model") or "unknown")
        return f"{identity} (of {self.options.model})" if identity.startswith("sha256:") else identity

    def __str__(self) -> str:
        """The plan, for people."""
        columns = self.columns
        key = (
            "the text itself"
            if columns.content_key and not columns.key
            else ", ".join((*columns.key, *(["the text"] if columns.content_key else [])))
        )
        source = f"vectors of column {columns.vector}" if columns.vector else f"text of {', '.join(columns.text)}"
        lines = [
            f"reads    {source}",
            f"key      {key}",
            f"payload  {', '.join(new if old == new else f'{old} as {new}' for old, new in columns.payload) or 'nothing'}",
            f"model    {self._model()}, {self.spec.dimension or 'unknown'} dimensions",
        ]
        lines += [f"will     {step}" for step in (self.target.plan if self.target else ())]
        lines += [f"warning  {warning}" for warning in self.warnings]
        lines += [f"problem  {problem}" for problem in self.problems]
        return "\n".join(lines)


def plan(options: Mapping[str, Any], schema: pa.Schema, mode: str = APPEND) -> Plan:
    """The plan of a job that can run. Raises RefusedError, or the subclass that fits, with every problem in one line."""
    return check(options, schema, mode=mode).accepted()


def check(
    options: Mapping[str, Any], schema: pa.Schema, unreadable: Mapping[str, str] | None = None, shipped: Path | None = None, mode: str = APPEND
) -> Plan:
    """The plan of a job, with its problems instead of an error. unreadable: columns that never reach a task, each with a sentence.
    shipped: the folder, here on the driver, of the files that Spark ships to tasks. mode: `append` or `overwrite`.

    Looks at the server or the directory, and changes nothing there.
    """
    found = _Found()
    parsed, wrong = SinkOptions.parse(options, columns=schema.names)
    columns, misfits = column_rules.choose(parsed, schema)
    if parsed.rejects_path:
        parsed = replace(parsed, rejects_path=places.absolute(parsed.rejects_path))
    found.add(
        OptionError,
        [*wrong, *_mode_problems(parsed, mode), *report_problems(parsed), *rejects.problems(parsed), *specs.index_problems(parsed, columns)],
    )
    found.add(SchemaError, (unreadable or {}).values())
    found.add(
        SchemaError, (text for text in misfits if not any(text.startswith(f"column '{name}' cannot become payload") for name in unreadable or ()))
    )

    place, target = stores.Place(), None
    warnings: list[str] = []
    reachable = False
    if not place_problems(parsed):
        with found.catching(CollectionError):
            place, warnings = stores.find(parsed)
            reachable = True

    encoder, dimension = None, parsed.dimension or _fixed_size(schema, parsed.vector_column)
    if parsed.vector_column is None:
        with found.catching(OptionError):
            encoder, dimension = models.spec(parsed, shipped)
            if dimension is None and not found:
                encoder, dimension = models.measured(encoder, shipped)
    spec = replace(specs.collection_spec(parsed, columns, encoder, dimension), overwrite=mode == OVERWRITE, replace_plain=parsed.replace_collection)

    if reachable:
        with found.catching(CollectionError):
            with stores.collections(parsed, place) as collections:
                target = collections.resolve(place.name(parsed), spec)
            found.add(CollectionError, target.problems)
            warnings += [*target.warnings, *specs.index_warnings(columns, target, spec.payload_indexes)]
            spec = replace(spec, dimension=spec.dimension or target.dimension, reads=spec.reads or bool(target.remembered.get("chunked")))
            if parsed.vector_column and spec.dimension is None:
                found.add(
                    OptionError,
                    [
                        f"'{target.name}' does not exist, and the length of the vectors in '{parsed.vector_column}' is not known before they are read; "
                        "give option 'dimension'"
                    ],
                )
    return Plan(
        parsed, columns, encoder, spec, place, target, run=uuid.uuid4().hex, started=time.time(),
        problems=found.texts, warnings=tuple(warnings), refusal=found.kind,
    )  # fmt: skip


def _mode_problems(options: SinkOptions, mode: str) -> Iterator[str]:
    """Options that say nothing in this mode."""
    if mode not in (APPEND, OVERWRITE):
        yield f"mode must be 'append' or 'overwrite', got {mode!r}"
    if mode != OVERWRITE:
        return
    for name, value, why in _OVERWRITE_IGNORES:
        if getattr(options, name) == value:
            yield f"option '{name}' = '{str(value).lower()}' has no effect with mode('overwrite'): {why}; leave it out, or use mode('append')"
    if options.op_column is not None:
        yield "option 'op_column' and mode('overwrite') exclude each other: a change feed is no full table; use mode('append')"


class _Found:
    """Problems, each with the kind of error that says it."""

    def __init__(self) -> None:
        self._found: list[tuple[type[RefusedError], str]] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, kind: type[RefusedError], texts: Iterable[str]) -> None:
        self._found.extend((kind, text) for text in texts)

    @contextmanager
    def catching(self, kind: type[RefusedError]) -> Iterator[None]:
        """Take an error of ours as a problem of this kind."""
        try:
            yield
        except VectorSinkError as error:
            self.add(kind, getattr(error, "problems", (str(error),)))

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text for _, text in self._found)

    @property
    def kind(self) -> type[RefusedError]:
        kinds = {kind for kind, _ in self._found}
        return kinds.pop() if len(kinds) == 1 else RefusedError


def _fixed_size(schema: pa.Schema, column: str | None) -> int | None:
    """The length that the type of a column of ready-made vectors tells; Spark's arrays tell none."""
    index = schema.get_field_index(column) if column is not None else -1  # -1 also where two columns have the name
    return schema.field(index).type.list_size if index >= 0 and pat.is_fixed_size_list(schema.field(index).type) else None


def report_problems(options: SinkOptions) -> Iterator[str]:
    """Why no report can be put at `report_path`, as far as it shows before the job."""
    path = options.report_path
    if path is None:
        return
    option = f"option 'report_path' = {places.shown(path)}"
    try:
        filesystem, name = places.located(path)
    except (OSError, pa.ArrowException) as error:
        yield f"{option} is no place that Arrow can write to ({type(error).__name__}); name a file, or a URL such as s3://bucket/report.json"
        return
    if filesystem.type_name != "local":
        return
    file = Path(name)
    if not paths.is_folder(file.parent):
        yield f"{option}: the directory does not exist, or cannot be seen"
    elif "\0" in path or path.endswith("/") or paths.is_folder(file) or not os.access(file if paths.is_file(file) else file.parent, os.W_OK):
        yield f"{option} is no file that can be written; name one in a directory that you may write to"
