"""Plan a job on the driver: run every check, before a row is read and before a model is loaded for encoding. Nothing is
changed."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from spark_vector_sink import files, rejects
from spark_vector_sink.driver import collection_spec, model_spec
from spark_vector_sink.errors import CollectionError, OptionError, RefusedError, SchemaError, VectorSinkError
from spark_vector_sink.job import APPEND, OVERWRITE, Plan
from spark_vector_sink.options import SinkOptions, place_problems
from spark_vector_sink.rows import columns as column_rules
from spark_vector_sink.store import registry


def plan(options: Mapping[str, Any], schema: pa.Schema, mode: str = APPEND) -> Plan:
    """Return the plan of a job that can run. Raises RefusedError, or the fitting subclass, with every problem in one
    line."""
    return check(options, schema, mode=mode).accepted()


def check(
    options: Mapping[str, Any],
    schema: pa.Schema,
    unreadable: Mapping[str, str] | None = None,
    shipped: Path | None = None,
    mode: str = APPEND,
) -> Plan:
    """Return the plan of a job, with its problems instead of an error. unreadable: columns that never reach a task,
    each with a sentence. shipped: the driver's own folder of the files that Spark ships to tasks. mode: `append` or
    `overwrite`.

    Looks at the server or the directory, and changes nothing there.
    """
    found = _Found()
    parsed, wrong = SinkOptions.parse(options, columns=schema.names)
    columns, misfits = column_rules.choose(parsed, schema)
    if parsed.rejects_path:
        parsed = replace(parsed, rejects_path=files.absolute(parsed.rejects_path))
    found.add(
        OptionError,
        [
            *wrong,
            *_mode_problems(parsed, mode),
            *report_problems(parsed),
            *rejects.problems(parsed),
            *collection_spec.index_problems(parsed, columns),
        ],
    )
    found.add(SchemaError, (unreadable or {}).values())
    found.add(
        SchemaError,
        (
            text
            for text in misfits
            if not any(text.startswith(f"column '{name}' cannot become payload") for name in unreadable or ())
        ),
    )

    place, target = registry.Place(), None
    warnings: list[str] = []
    reachable = False
    if not place_problems(parsed):
        with found.catching(CollectionError):
            place, warnings = registry.find(parsed)
            reachable = True

    encoder, dimension = None, parsed.dimension or _fixed_size(schema, parsed.vector_column)
    if parsed.vector_column is None:
        with found.catching(OptionError):
            encoder, dimension = model_spec.spec(parsed, shipped)
            if dimension is None and not found:
                encoder, dimension = model_spec.measured(encoder, shipped)
    spec = replace(
        collection_spec.collection_spec(parsed, columns, encoder, dimension),
        overwrite=mode == OVERWRITE,
        replace_plain=parsed.replace_collection,
    )

    if reachable:
        with found.catching(CollectionError):
            with registry.collections(parsed, place) as collections:
                target = collections.resolve(place.name(parsed), spec)
            found.add(CollectionError, target.problems)
            warnings += [*target.warnings, *collection_spec.index_warnings(columns, target, spec.payload_indexes)]
            spec = replace(spec, dimension=spec.dimension or target.dimension, reads=spec.reads or target.has_chunks)
            if parsed.vector_column and spec.dimension is None:
                found.add(
                    OptionError,
                    [
                        f"'{target.name}' does not exist, and the length of the vectors in '{parsed.vector_column}' "
                        "is not known before they are read; "
                        "give option 'dimension'"
                    ],
                )
    return Plan(
        parsed, columns, encoder, spec, place, target, run=uuid.uuid4().hex, started=time.time(),
        problems=found.texts, warnings=tuple(warnings), refusal=found.kind,
    )  # fmt: skip


def _mode_problems(options: SinkOptions, mode: str) -> Iterator[str]:
    """Yield a problem for an unknown mode, and for each option that has no effect in this mode or is excluded by it."""
    if mode not in (APPEND, OVERWRITE):
        yield f"mode must be 'append' or 'overwrite', got {mode!r}"
    if mode != OVERWRITE:
        return
    for name, refused in options.not_in("overwrite"):
        yield (
            f"option '{name}' = '{str(refused.value).lower()}' has no effect with mode('overwrite'): {refused.why}; "
            "leave it out, or use mode('append')"
        )
    if options.op_column is not None:
        yield (
            "option 'op_column' and mode('overwrite') exclude each other: a change feed is no full table; use "
            "mode('append')"
        )


class _Found:
    """Problems found, each with the error class that reports it."""

    def __init__(self) -> None:
        self._found: list[tuple[type[RefusedError], str]] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, kind: type[RefusedError], texts: Iterable[str]) -> None:
        self._found.extend((kind, text) for text in texts)

    @contextmanager
    def catching(self, kind: type[RefusedError]) -> Iterator[None]:
        """Record an error of this package as a problem of this kind."""
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
    """Return the vector length that the type of a column of ready-made vectors tells; None for Spark's arrays, whose
    type tells no length."""
    index = schema.get_field_index(column) if column is not None else -1  # -1 also where two columns have the name
    return (
        schema.field(index).type.list_size if index >= 0 and pat.is_fixed_size_list(schema.field(index).type) else None
    )


def report_problems(options: SinkOptions) -> Iterator[str]:
    """Yield the reasons why the report cannot be written to `report_path`, as far as they show before the job."""
    path = options.report_path
    if path is None:
        return
    option = f"option 'report_path' = {files.shown(path)}"
    try:
        filesystem, name = files.located(path)
    except (OSError, pa.ArrowException) as error:
        yield (
            f"{option} is no place that Arrow can write to ({type(error).__name__}); name a file, or a URL such as "
            "s3://bucket/report.json"
        )
        return
    if filesystem.type_name != "local":
        return
    file = Path(name)
    if not files.is_folder(file.parent):
        yield f"{option}: the directory does not exist, or cannot be seen"
    elif (
        "\0" in path
        or path.endswith("/")
        or files.is_folder(file)
        or not os.access(file if files.is_file(file) else file.parent, os.W_OK)
    ):
        yield f"{option} is no file that can be written; name one in a directory that you may write to"
