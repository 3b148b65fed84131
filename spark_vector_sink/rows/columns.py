"""Which column is what, checked once against the schema, before any row is read."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from string import Formatter

import pyarrow as pa
import pyarrow.types as pat

from spark_vector_sink.options import CONTENT_KEY, SinkOptions
from spark_vector_sink.plain import RESERVED
from spark_vector_sink.rows import payload, versions

REJECT_COLUMNS = ("_reject_key", "_reject_reason", "_reject_message")
"""What rejects say of themselves. They are no payload unless asked for by name, so that mended rejects are written as they are."""


@dataclass(frozen=True)
class Columns:
    """The part each column plays.

    text: columns of the text, in order; empty where vectors exist already.
    key: columns of the document's key, the tenant first. With `content_key` the text follows them.
    payload: column and its name in the payload, in the order of the schema.
    fields: the schema's fields of the payload columns (their types decide the mapping).
    version, operation, shard_key: of a row; None where there is no such column.
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

    @property
    def read(self) -> tuple[str, ...]:
        """Every column that is read."""
        others = (name for name in (self.vector, self.version, self.operation, self.shard_key) if name)
        return tuple(dict.fromkeys((*self.key, *self.text, *(column for column, _ in self.payload), *others)))

    @property
    def text_field(self) -> str | None:
        """The payload's name of the one text column; None where the text is not kept, or is made of several columns."""
        return dict(self.payload).get(self.text[0]) if len(self.text) == 1 else None

    @property
    def payload_keys(self) -> tuple[str, ...]:
        """Names of the key columns in the payload, in the order of the key; none where a part of the key, the text, is no column of it."""
        names = dict(self.payload)
        return () if self.content_key else tuple(names.get(column, column) for column in self.key)


def choose(options: SinkOptions, schema: pa.Schema) -> tuple[Columns, list[str]]:
    """The part of each column, and one sentence for everything that does not fit."""
    names = list(schema.names)
    problems = [f"two columns are called '{name}'; rename one of them" for name, n in Counter(names).items() if n > 1]
    text = () if options.vector_column else options.text_column
    tenant = (options.tenant_column,) if options.tenant_column else ()
    content = options.content_key and (CONTENT_KEY not in names or text == (CONTENT_KEY,))
    if options.content_key and not content:
        problems.append("id_column=content means the text itself, but there is also a column called 'content'; rename that column")
    if options.content_key and options.vector_column:
        problems.append("id_column=content needs a text, and with 'vector_column' none is read; give option 'id_column'")
    key = tenant + (() if options.content_key else options.id_column)

    asked = {"text_column": text, "id_column": () if options.content_key else options.id_column, "tenant_column": tenant}
    asked |= {"vector_column": _one(options.vector_column), "payload_columns": options.payload_columns or ()}
    asked |= {"version_column": _one(options.version_column), "op_column": _one(options.op_column)}
    asked |= {"shard_key_column": _one(options.shard_key_column)}
    asked |= {"payload_exclude": options.payload_exclude, "payload_rename": tuple(options.payload_rename)}
    for option, columns in asked.items():
        problems.extend(_missing(option, column, names) for column in columns if column not in names)

    present = {name: schema.field(names.index(name)) for name in names}
    problems.extend(_text_problems(options, text, present))
    problems.extend(_key_problems(key, present))
    problems.extend(_order_problems(options, present))
    if options.vector_column in present:
        problems.extend(_vector_problems(present[options.vector_column]))
    kept, payload_problems = _payload(options, text, key, present)
    problems.extend(payload_problems)
    fields = tuple(present[column] for column, _ in kept)
    others = options.version_column, options.op_column, options.shard_key_column
    chosen = Columns(text, options.text_template, key, content, options.vector_column, kept, fields, *others)
    return chosen, problems


def _one(column: str | None) -> tuple[str, ...]:
    return (column,) if column else ()


def _of(present: dict[str, pa.Field], column: str | None) -> pa.Field | None:
    """The field of a column that is asked for; a column may have the empty name."""
    return None if column is None else present.get(column)


def _missing(option: str, column: str, names: list[str]) -> str:
    close = difflib.get_close_matches(column, names, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'?" if close else f"there are: {_listed(names)}"
    if (option, column) not in (("text_column", "text"), ("id_column", "id")):
        return f"column '{column}' of option '{option}' is missing; {hint}"
    content = ", or id_column=content where a document has no other key than its text" if option == "id_column" else ""
    return f"column '{column}' of option '{option}' (its default) is missing; {hint}; give option '{option}'{content}"


def _text_problems(options: SinkOptions, text: Iterable[str], present: dict[str, pa.Field]) -> Iterable[str]:
    for column in text:
        if column in present and not _is_text(present[column].type):
            yield f"text column '{column}' must hold strings, it holds {present[column].type}; cast it to string"
    if options.long_text == "chunk" and options.store_text and len(options.text_column) > 1 and not options.vector_column:
        yield "long_text=chunk keeps each chunk's text in its text column, and there are several; join them into one column first (concat_ws), or set store_text=false"
    if options.text_template is not None:
        yield from _template_problems(options.text_template, set(text))


def _template_problems(template: str, text: set[str]) -> Iterable[str]:
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template) if name is not None]
    except ValueError as error:
        yield f"option 'text_template' = {template!r} is no template: {error}; write a brace that is text twice"
        return
    named = {name for name, _, _ in fields}
    if named != text:
        yield f"option 'text_template' names {_listed(sorted(named)) or 'no column'}, option 'text_column' {_listed(sorted(text))}; they must name the same columns"
    if any(spec or conversion for _, spec, conversion in fields):
        yield f"option 'text_template' = {template!r} may hold only names in braces, without ':' and '!'"


def _key_problems(key: Iterable[str], present: dict[str, pa.Field]) -> Iterable[str]:
    for column in key:
        if column not in present:
            continue
        kind = present[column].type
        if pat.is_floating(kind):
            yield f"key column '{column}' holds {kind}, and floating-point numbers are no keys; cast it to string or to an integer"
        elif not (
            _is_text(kind) or pat.is_integer(kind) or pat.is_boolean(kind) or pat.is_decimal(kind) or pat.is_date(kind) or pat.is_timestamp(kind)
        ):
            yield f"key column '{column}' holds {kind}; a key is made of strings, integers, decimals, booleans, dates or timestamps"


def _order_problems(options: SinkOptions, present: dict[str, pa.Field]) -> Iterable[str]:
    version, operation = _of(present, options.version_column), _of(present, options.op_column)
    if version is not None and (reason := versions.unusable_type(version.type)):
        yield f"version column '{version.name}' {reason}"
    if operation is not None and not _is_text(operation.type):
        yield f"op column '{operation.name}' must hold the words of a change feed, it holds {operation.type}"
    shard_key = _of(present, options.shard_key_column)
    if shard_key is not None and not (_is_text(shard_key.type) or pat.is_integer(shard_key.type)):
        yield f"shard key column '{shard_key.name}' must hold strings or integers, it holds {shard_key.type}; cast it to string"
    if options.op_column and options.content_key:
        yield "id_column=content takes the text as the key, and rows of a change feed that delete have none; give option 'id_column'"


def _vector_problems(field: pa.Field) -> Iterable[str]:
    kind = field.type
    is_list = pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind)
    if not (is_list and (pat.is_floating(kind.value_type) or pat.is_integer(kind.value_type))):
        hint = "; turn it into an array with pyspark.ml.functions.vector_to_array" if pat.is_struct(kind) else ""
        yield f"vector column '{field.name}' must hold arrays of numbers, it holds {kind}{hint}"


def _payload(
    options: SinkOptions, text: tuple[str, ...], key: tuple[str, ...], present: dict[str, pa.Field]
) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    """Columns of the payload with their names there, and what is wrong with them."""
    problems = [
        f"option 'payload_exclude' names the key column '{column}', which is always kept" for column in options.payload_exclude if column in key
    ]
    problems += [
        f"option 'payload_exclude' names the text column '{column}'; leave the text out with store_text=false"
        for column in options.payload_exclude
        if column in text and column not in key
    ]
    # what happened to a document is no part of it
    wanted = present.keys() - {*REJECT_COLUMNS, options.op_column} if options.payload_columns is None else set(options.payload_columns)
    wanted -= {*options.payload_exclude, options.vector_column}
    if not options.vector_column:
        wanted = wanted | set(text) if options.store_text else wanted - set(text)
    wanted |= set(key)
    kept = tuple((name, options.payload_rename.get(name, name)) for name in present if name in wanted)
    for name, n in Counter(new for _, new in kept).items():
        if n > 1:
            problems.append(f"two columns would be called '{name}' in the payload; change option 'payload_rename'")
        if name == RESERVED:
            problems.append(f"the payload name '{RESERVED}' is the sink's own; leave that column out with option 'payload_exclude', or rename it")
    for old in options.payload_rename:
        if old in present and old not in wanted:
            problems.append(f"option 'payload_rename' names '{old}', which is not in the payload")
    for column, _ in kept:
        reason = payload.unmappable(present[column])
        if reason:
            problems.append(f"column '{column}' cannot become payload: {reason}; cast it, or leave it out with option 'payload_exclude'")
    return kept, problems


def _is_text(kind: pa.DataType) -> bool:
    return bool(pat.is_string(kind) or pat.is_large_string(kind))


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return shown + (f", … ({len(names)} in all)" if len(names) > 12 else "")
