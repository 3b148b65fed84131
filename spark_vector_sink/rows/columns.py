"""Assign each column its part, checked once against the schema, before any row is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from string import Formatter

import pyarrow as pa

from spark_vector_sink.options import CONTENT_KEY, SinkOptions
from spark_vector_sink.payload_types import RESERVED, is_json
from spark_vector_sink.rows import column_paths, payload
from spark_vector_sink.rows.column_paths import Source, children, listed
from spark_vector_sink.rows.column_roles import Part, unfit

REJECT_COLUMNS = ("_reject_key", "_reject_reason", "_reject_message")
"""Columns that describe a reject. They become payload only if asked for by name, so that corrected rejects can be
written without dropping these columns first."""

Steps = tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """The part that each column plays, by the name that an option gives: of a column, or of a path into structs.

    text: in order; empty where vectors exist already.
    key: columns of the document's key, the tenant first. With `content_key` the text follows them.
    payload: each column and its name in the payload, in the order of the schema.
    fields: the schema's fields of the payload columns (their types decide the mapping); structs have only the fields
    kept.
    version, operation, shard_key: one column each; None where there is no such column.
    sources: the place that each part is read from.
    """

    text: tuple[str, ...]
    text_template: str | None
    key: tuple[str, ...]
    content_key: bool
    vector: str | None
    payload: tuple[tuple[str, str], ...]
    fields: tuple[pa.Field, ...]
    version: str | None = None
    operation: str | None = None
    shard_key: str | None = None
    sources: tuple[Source, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        """Return every column of the table that is read."""
        parts = [steps[0] for source in self.sources for steps in (source.steps, source.before) if steps]
        return tuple(dict.fromkeys((*parts, *(column for column, _ in self.payload))))

    def source(self, part: Part, name: str | None = None) -> Source | None:
        """Return the source of a part; the first source where no name is given, None where the part has no source."""
        return next((one for one in self.sources if one.part is part and name in (None, one.name)), None)

    def payload_path(self, part: Part, name: str) -> Steps:
        """Return the path of a part's value in the payload: the name of its column there, then the fields of
        structs."""
        source = self.source(part, name)
        column, *below = (name,) if source is None else source.steps
        return (dict(self.payload).get(column, column), *below)

    @property
    def payload_fields(self) -> dict[str, pa.Field]:
        """Return the schema's field of each payload column, by its name in the payload; empty for a job that reads
        points, which has no schema."""
        return {name: field for (_, name), field in zip(self.payload, self.fields, strict=False)}

    @property
    def text_path(self) -> Steps | None:
        """Return the path of the text in the payload; None where the text is not kept, or is made of several
        columns."""
        if len(self.text) != 1:
            return None
        name, *below = self.payload_path(Part.TEXT, self.text[0])
        field = self.payload_fields.get(name)
        if name not in dict(self.payload).values() or (
            below and (field is None or column_paths.leaf(field, below) is None)
        ):
            return None
        return (name, *below)

    @property
    def text_field(self) -> str | None:
        """Return `text_path` as one dotted name, for the collection's metadata; None where there is no such path."""
        return None if self.text_path is None else ".".join(self.text_path)

    @property
    def payload_keys(self) -> tuple[str, ...]:
        """Return the names of the key columns in the payload, in the order of the key; empty with `content_key`, where
        the text, a part of the key, is not a key column."""
        return () if self.content_key else tuple(".".join(self.payload_path(Part.KEY, name)) for name in self.key)


def choose(options: SinkOptions, schema: pa.Schema) -> tuple[Columns, list[str]]:
    """Return the part of each column, and one sentence for each problem."""
    names = list(schema.names)
    problems = [
        f"two columns are called {column_paths.shown(name)}; rename one of them"
        for name, n in Counter(names).items()
        if n > 1
    ]
    text = () if options.vector_column else options.text_column
    tenant = _one(options.tenant_column)
    content = options.content_key and (CONTENT_KEY not in names or text == (CONTENT_KEY,))
    if options.content_key and not content:
        problems.append(
            "id_column=content means the text itself, but there is also a column called 'content'; rename that column"
        )
    if options.content_key and options.vector_column:
        problems.append(
            "id_column=content needs a text, and with 'vector_column' none is read; give option 'id_column'"
        )
    ids = () if options.content_key else options.id_column
    asked = {
        "text_column": (Part.TEXT, text),
        "id_column": (Part.KEY, ids),
        "tenant_column": (Part.KEY, tenant),
        "vector_column": (Part.VECTOR, _one(options.vector_column)),
        "version_column": (Part.VERSION, _one(options.version_column)),
        "op_column": (Part.OPERATION, _one(options.op_column)),
        "shard_key_column": (Part.SHARD_KEY, _one(options.shard_key_column)),
    }
    found, misfits = list[Source](), list[str]()
    for option, (part, wanted) in asked.items():
        for name in wanted:
            place = column_paths.find(name, schema)
            if place is None:
                problems.append(column_paths.missing(option, name, part, schema))
                continue
            steps, field = place
            before = (
                column_paths.before(steps, schema) if options.op_column and part in (Part.KEY, Part.SHARD_KEY) else None
            )
            found.append(Source(name, part, steps, field, before))
            misfits += [reason] if (reason := unfit(part, name, field)) else []
    others = {
        "payload_columns": options.payload_columns or (),
        "payload_exclude": options.payload_exclude,
        "payload_rename": options.payload_rename,
    }
    for option, columns in others.items():
        problems.extend(column_paths.missing(option, name, None, schema) for name in columns if name not in names)
    problems.extend(misfits)
    problems.extend(_text_problems(options, text))
    kept, fields, payload_problems = _payload(options, found, schema)
    problems.extend(payload_problems)
    chosen = Columns(
        text, options.text_template, tenant + ids, content, options.vector_column, kept, fields,
        options.version_column, options.op_column, options.shard_key_column, tuple(found),
    )  # fmt: skip
    return chosen, problems


def _one(column: str | None) -> tuple[str, ...]:
    return () if column is None else (column,)


def _text_problems(options: SinkOptions, text: Sequence[str]) -> Iterable[str]:
    if (
        options.long_text == "chunk"
        and options.store_text
        and len(options.text_column) > 1
        and not options.vector_column
    ):
        yield (
            "long_text=chunk keeps each chunk's text in its text column, and there are several; join them into one "
            "column first (concat_ws), or set store_text=false"
        )
    if options.text_template is not None:
        yield from _template_problems(options.text_template, set(text))
    if options.op_column and options.content_key:
        yield (
            "id_column=content takes the text as the key, and rows of a change feed that delete have none; give "
            "option 'id_column'"
        )


def _template_problems(template: str, text: set[str]) -> Iterable[str]:
    try:
        fields = [
            (name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template) if name is not None
        ]
    except ValueError as error:
        yield f"option 'text_template' = {template!r} is no template: {error}; write a brace that is text twice"
        return
    named = {name for name, _, _ in fields}
    if named != text:
        yield (
            f"option 'text_template' names {listed(sorted(named)) or 'no column'}, option 'text_column' "
            f"{listed(sorted(text))}; they must name the same columns"
        )
    if any(spec or conversion for _, spec, conversion in fields):
        yield f"option 'text_template' = {template!r} may hold only names in braces, without ':' and '!'"


def _payload(
    options: SinkOptions, found: Collection[Source], schema: pa.Schema
) -> tuple[tuple[tuple[str, str], ...], tuple[pa.Field, ...], list[str]]:
    """Return the columns of the payload with their names there, their fields, and the problems found."""
    keys = {source.steps for source in found if source.part is Part.KEY}
    text = {source.steps for source in found if source.part is Part.TEXT}
    left_out = _left_out(options, found, keys)
    problems = [
        f"option 'payload_exclude' names the key column '{column}', which is always kept"
        for column in options.payload_exclude
        if (column,) in keys
    ]
    problems += [
        f"option 'payload_exclude' names the text column '{column}'; leave the text out with store_text=false"
        for column in options.payload_exclude
        if (column,) in text - keys
    ]
    wanted = set(schema.names) - {*REJECT_COLUMNS} if options.payload_columns is None else set(options.payload_columns)
    wanted -= {*options.payload_exclude}
    always = keys | (text if options.store_text else set())
    kept, fields = list[tuple[str, str]](), list[pa.Field]()
    for field in {field.name: field for field in schema}.values():
        only = None if field.name in wanted else always
        pruned = _pruned(field, (field.name,), left_out, only)
        if pruned is None:
            continue
        kept.append((field.name, options.payload_rename.get(field.name, field.name)))
        fields.append(_with_texts(pruned, (field.name,), text))
    for name, n in Counter(new for _, new in kept).items():
        if n > 1:
            problems.append(f"two columns would be called '{name}' in the payload; change option 'payload_rename'")
        if name == RESERVED:
            problems.append(
                f"the payload name '{RESERVED}' is the sink's own; leave that column out with option "
                "'payload_exclude', or rename it"
            )
    for old in options.payload_rename:
        if old in schema.names and old not in dict(kept):
            problems.append(f"option 'payload_rename' names '{old}', which is not in the payload")
    for field in fields:
        if reason := payload.unmappable(field):
            problems.append(
                f"column '{field.name}' cannot become payload: {reason}; cast it, or leave it out with option "
                "'payload_exclude'"
            )
    return tuple(kept), tuple(fields), problems


def _left_out(options: SinkOptions, found: Collection[Source], keys: Collection[Steps]) -> set[Steps]:
    """Return the steps of columns and fields that are left out of the payload: vectors, texts that are not stored, and,
    with no `payload_columns`, the operation and the state before it. Keys are never left out."""
    steps = {
        source.steps
        for source in found
        if source.part is Part.VECTOR or (source.part is Part.TEXT and not options.store_text)
    }
    if options.payload_columns is None:
        steps |= {source.steps for source in found if source.part is Part.OPERATION}
        steps |= {source.before[: source.before.index("before") + 1] for source in found if source.before is not None}
    return steps - set(keys)


def _pruned(
    field: pa.Field, steps: Steps, left_out: Collection[Steps], only: Collection[Steps] | None
) -> pa.Field | None:
    """Return the field without what is left out; None where nothing remains. only: the paths that are kept; None keeps
    all."""
    if steps in left_out:
        return None
    if only is not None and steps in only:
        only = None
    deeper = [path for path in (*left_out, *(only or ())) if len(path) > len(steps) and path[: len(steps)] == steps]
    if not deeper:
        return field if only is None else None
    inner = [
        made for child in children(field) if (made := _pruned(child, (*steps, child.name), left_out, only)) is not None
    ]
    return pa.field(field.name, pa.struct(inner), metadata=field.metadata) if inner else None


def _with_texts(field: pa.Field, steps: Steps, text: Collection[Steps]) -> pa.Field:
    """Return the field with the string type in place of variants that are the document's text, so that a chunk can have
    its own piece there."""
    if steps in text and is_json(field):
        return pa.field(field.name, pa.string())
    if not any(len(path) > len(steps) and path[: len(steps)] == steps for path in text):
        return field
    inner = [_with_texts(child, (*steps, child.name), text) for child in children(field)]
    return pa.field(field.name, pa.struct(inner), metadata=field.metadata) if inner else field
