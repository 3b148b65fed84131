"""Read the values of each part and the columns of the payload from a window's rows: follow paths into structs, and
unwrap variants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from spark_vector_sink.payload_types import JSON_MARK, is_json
from spark_vector_sink.rows import change_feed, variants
from spark_vector_sink.rows.bad_rows import VARIANT, BadRow
from spark_vector_sink.rows.column_paths import Source, get, leaf
from spark_vector_sink.rows.column_roles import Part
from spark_vector_sink.rows.columns import Columns


@dataclass(frozen=True)
class Projected:
    """The values read from the rows of a window.

    parts: a column for each source, by its label. payload: the payload columns, under their names in the table.
    misplaced: rows with a variant whose value cannot play its part.
    """

    parts: pa.RecordBatch
    payload: pa.RecordBatch
    misplaced: Sequence[BadRow]

    def take(self, rows: pa.Array) -> Projected:
        """Return the rows at these places, in this order."""
        payload = self.payload.take(rows) if self.payload.num_columns else self.payload
        return Projected(self.parts.take(rows), payload, self.misplaced)


def project(rows: pa.RecordBatch, columns: Columns) -> Projected:
    """Read the values of all parts and of the payload from a window's rows."""
    deletes = _deletes(rows, columns) if any(source.before for source in columns.sources) else None
    arrays, fields, misplaced = dict[str, pa.Array](), list[pa.Field](), list[BadRow]()
    for source in columns.sources:
        array = get(rows, source.steps)
        if source.before and deletes is not None:
            array = _either(deletes, get(rows, source.before), array)
        mark = None
        if is_json(source.field):
            array, reasons = variants.read(array, source.part)
            misplaced += [BadRow(row, None, source.name, VARIANT, reason) for row, reason in reasons.items()]
            mark = None if source.part in variants.TYPES else JSON_MARK
        arrays[source.label] = array
        fields.append(pa.field(source.label, array.type, metadata=mark))
    parts = pa.RecordBatch.from_arrays(list(arrays.values()), schema=pa.schema(fields))
    payload = [_payload(rows, field, columns.sources, arrays) for field in columns.fields]
    return Projected(
        parts, pa.RecordBatch.from_arrays(payload, names=[field.name for field in columns.fields]), misplaced
    )


def _deletes(rows: pa.RecordBatch, columns: Columns) -> pa.Array | None:
    """Return a mask of the rows that delete; None where there is no operation column."""
    source = columns.source(Part.OPERATION)
    if source is None:
        return None
    words = get(rows, source.steps)
    if is_json(source.field):
        words, _ = variants.read(words, Part.OPERATION)
    return pa.array(change_feed.operations(words) == change_feed.DELETE)


def _either(mask: pa.Array, one: pa.Array, other: pa.Array) -> pa.Array:
    """Return `one` where the mask is true, else `other`."""
    places = pc.if_else(
        mask, pa.array(range(len(mask)), pa.int64()), pa.array(range(len(mask), 2 * len(mask)), pa.int64())
    )
    return pa.concat_arrays([one, other.cast(one.type)] if one.type != other.type else [one, other]).take(places)


def _payload(
    rows: pa.RecordBatch, field: pa.Field, sources: Sequence[Source], parts: Mapping[str, pa.Array]
) -> pa.Array:
    """Return a column of the payload, with only the fields that are kept, and with strings for the variants that are
    texts."""
    array = rows.column(field.name)
    if is_json(field) or not pat.is_struct(field.type):
        text = next((s for s in sources if s.part is Part.TEXT and s.steps == (field.name,) and is_json(s.field)), None)
        return array if text is None else parts[text.label]
    array = _fitted(array, field.type)
    for source in sources:
        if (
            source.part is Part.TEXT
            and source.steps[0] == field.name
            and is_json(source.field)
            and leaf(field, source.steps[1:]) is not None
        ):
            array = with_leaf(array, source.steps[1:], parts[source.label])
    return array


def _fitted(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return a struct with only the fields that the type has."""
    named = {field.name: array.type.get_field_index(field.name) for field in kind}
    if len(named) == array.type.num_fields and not any(pat.is_struct(field.type) for field in kind):
        return array
    inner = array.flatten()
    found = [inner[place] for place in named.values()]
    found = [
        _fitted(one, field.type) if pat.is_struct(field.type) and not is_json(field) else one
        for one, field in zip(found, kind, strict=True)
    ]
    return struct(found, list(named), array)


def struct(arrays: Sequence[pa.Array], names: Sequence[str], like: pa.Array) -> pa.Array:
    """Return a struct of these fields that is null where the array `like` is null."""
    if not arrays:
        return pa.array([None if null else {} for null in like.is_null().to_pylist()], pa.struct([]))
    return pa.StructArray.from_arrays(arrays, names=list(names), mask=like.is_null() if like.null_count else None)


def with_leaf(array: pa.Array, steps: Sequence[str], values: pa.Array) -> pa.Array:
    """Return a column with other values at a path in it; an empty path replaces the column itself."""
    if not steps:
        return values
    inner, names = array.flatten(), [field.name for field in array.type]
    place = names.index(steps[0])
    inner[place] = with_leaf(inner[place], steps[1:], values)
    fields = [
        pa.field(name, one.type, metadata=field.metadata)
        for name, one, field in zip(names, inner, array.type, strict=True)
    ]
    return pa.StructArray.from_arrays(inner, fields=fields, mask=array.is_null() if array.null_count else None)


def nested(leaves: Mapping[tuple[str, ...], tuple[pa.Field, pa.Array]]) -> Iterator[tuple[pa.Field, pa.Array]]:
    """Yield columns that have only these leaves. leaves: field and values at each path, the column's name first."""
    for root in dict.fromkeys(steps[0] for steps in leaves):
        inner = {steps[1:]: leaf for steps, leaf in leaves.items() if steps[0] == root}
        if () in inner:
            field, array = inner[()]
            yield field.with_name(root), array
            continue
        columns = list(nested(inner))
        kind = pa.struct([field for field, _ in columns])
        yield pa.field(root, kind), pa.StructArray.from_arrays([array for _, array in columns], fields=list(kind))
