"""Check that the index accepts staged operations. The task checks an operation when it stages it, and a process that
ingests a run checks all of its operations before the first is applied.

Qdrant Edge keeps an operation in its log before it applies it, so an operation that it cannot read again, or that makes
it panic, would make the index unusable for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from spark_vector_sink.errors import shorten
from spark_vector_sink.payload_types import RESERVED, SUSPICIOUS, check_json, is_json, is_spread
from spark_vector_sink.store.collection import FINGERPRINT
from spark_vector_sink.store.edge.layout import StoreFacts
from spark_vector_sink.store.edge.staged_file import REMOVE, TOUCH, Operation, UnfitError, damage, read_operations
from spark_vector_sink.store.edge.staged_points import UUID, column_name
from spark_vector_sink.store.write_batch import How

MOST_LEVELS = 100
"""Deepest nesting of a payload, of any types. Qdrant Edge cannot read an object or list of 123 levels back from its
log."""

_NUMBERS, _TEXTS = ("chunk", "chunks", "version", "deleted"), ("document", FINGERPRINT)
"""Fields of `_sink` that decisions depend on, by their type."""

_UUID = re.compile(UUID)


def check_file(path: Path, facts: StoreFacts) -> None:
    """Raise UnfitError, which names the row, unless the index accepts all operations of a staged file."""
    with damage(path):
        _check(path, facts)


def _check(path: Path, facts: StoreFacts) -> None:
    before = 0
    for operation in read_operations(path):
        try:
            operation.rows.validate(full=True)
        except pa.ArrowInvalid as error:
            raise UnfitError(f"{path.name} is damaged from row {before + 1:,} on: {shorten(str(error))}") from None
        if wrong := form_fault(operation, facts):
            raise UnfitError(f"from row {before + 1:,} on {path.name} holds what no task writes: {wrong}")
        for row, reason in unfit_rows(operation).items():
            id = next(
                (
                    value
                    for name in ("id_number", "id_uuid")
                    if (value := operation.rows.column(name)[row].as_py()) is not None
                ),
                "without an id",
            )
            raise UnfitError(f"row {before + row + 1:,} of {path.name}, point {id}: {reason}")
        before += operation.rows.num_rows


def form_fault(operation: Operation, facts: StoreFacts) -> str | None:
    """Return the kind, column or type of the operation that this store does not ingest, in words; None where all
    fit."""
    return next(_misforms(operation, facts), None)


def unfit_rows(operation: Operation) -> dict[int, str]:
    """Return the rows that the index would not accept, each with its reason. The form of the operation must be checked
    before."""
    rows = operation.rows
    looks: list[tuple[pa.Array, Callable[[pa.Array], str | None]]] = [
        (
            pa.StructArray.from_arrays([rows.column("id_number"), rows.column("id_uuid")], names=["number", "uuid"]),
            _id_fault,
        )
    ]
    for name in rows.schema.names:
        kind, _, vector = name.partition(":")
        if kind in ("vector", "sparse_values"):
            looks.append((rows.column(name), _vector_fault))
        elif kind == "sparse_indices":
            values = rows.column(":".join(filter(None, ("sparse_values", vector))))
            looks.append(
                (pa.StructArray.from_arrays([rows.column(name), values], names=["indices", "values"]), _sparse_fault)
            )
    if "payload" in rows.schema.names:
        payload, kind = rows.column("payload"), rows.schema.field("payload").type
        for place, field in enumerate(kind):
            if field.name == RESERVED:
                looks.append((payload.field(place), _ours_fault))
            if _is_looked_at(field):
                looks.append((payload.field(place), partial(_fault, field, 1)))
    found: dict[int, str] = {}
    for array, look in looks:
        if look(array) is not None:
            found = {
                row: reason for row in range(len(array)) if (reason := look(array.slice(row, 1))) is not None
            } | found
    return found


def unreadable_rows(rows: pa.RecordBatch) -> dict[int, str]:
    """Return the rows with bytes that are not UTF-8. Only for rows that a task has made: rows of a damaged file may not
    even be readable as rows."""
    try:
        rows.validate(full=True)
        return {}
    except pa.ArrowInvalid:
        return {
            row: f"it holds what Arrow cannot read: {reason}"
            for row in range(len(rows))
            if (reason := _unreadable(rows.take(pa.array([row]))))
        }


def _unreadable(row: pa.RecordBatch) -> str:
    try:
        row.validate(full=True)
        return ""
    except pa.ArrowInvalid as error:
        return shorten(str(error))


def _misforms(operation: Operation, facts: StoreFacts) -> Iterator[str]:
    """Yield the problems of kind, columns and types."""
    kind, schema = operation.kind, operation.rows.schema
    if kind not in (REMOVE, TOUCH, *(how.value for how in How)):
        yield f"it has no operation {shorten(kind)!r}"
        return
    if kind == TOUCH and not all(isinstance(value, str | int) for value in operation.fields.values()):
        yield f"a touch sets texts and integers, but got {shorten(str(operation.fields))}"
    expected: dict[str, Callable[[pa.DataType], Any]] = {"id_number": pat.is_uint64, "id_uuid": pat.is_string}
    if kind != TOUCH:
        expected["version"] = pat.is_int64
    if kind not in (REMOVE, TOUCH):
        expected["payload"] = pat.is_struct
    if kind in (How.REPLACE.value, How.MERGE.value):
        for name, (dimension, _) in facts.dense_vectors.items():
            expected[column_name("vector", name, facts)] = partial(_is_dense, dimension)
        for name in facts.sparse_vectors:
            expected[column_name("sparse_indices", name, facts)] = partial(_is_list_of, pa.uint32())
            expected[column_name("sparse_values", name, facts)] = partial(_is_list_of, pa.float32())
    names = schema.names
    for name in (
        "id_number",
        "id_uuid",
        *(name.replace("sparse_indices", "sparse_values", 1) for name in names if name.startswith("sparse_indices")),
    ):
        if names.count(name) != 1:
            yield f"it has {names.count(name)} columns {name!r} where one is needed"
    for field in schema:
        if field.name not in expected:
            yield (
                f"it has a column {shorten(field.name)!r} of type {shorten(str(field.type))}, which a {kind} into "
                "this store has not"
            )
        elif not expected[field.name](field.type):
            yield f"its column {field.name!r} is of type {shorten(str(field.type))}"
        elif field.name == "payload":
            yield from filter(
                None, (_ours_misform(child) if child.name == RESERVED else _misform(child, 1) for child in field.type)
            )
            yield from _twice(field)


def _is_dense(dimension: int, kind: pa.DataType) -> bool:
    return bool(pat.is_fixed_size_list(kind) and kind.value_type == pa.float32() and kind.list_size == dimension)


def _is_list_of(entries: pa.DataType, kind: pa.DataType) -> bool:
    return bool(pat.is_large_list(kind) and kind.value_type == entries)


def _twice(field: pa.Field) -> Iterator[str]:
    names = [child.name for child in field.type]
    yield from (
        f"{shorten(name)!r} is twice in {shorten(field.name)!r}"
        for name in {name for name in names if names.count(name) > 1}
    )


def _misform(field: pa.Field, level: int) -> str | None:
    """Return the reason why a field of the payload is not of plain types (see `payload_types`), or is nested too deep;
    None where it fits."""
    kind = field.type
    name = shorten(field.name)
    if level > MOST_LEVELS:
        return f"'{name}' is nested deeper than {MOST_LEVELS} levels"
    if pat.is_string(kind) or pat.is_large_string(kind):
        return None
    if is_json(field):
        return f"'{name}' is marked as JSON, and of type {shorten(str(kind))}"
    if pat.is_list(kind) or pat.is_large_list(kind):
        return _misform(kind.value_field, level + 1)
    if pat.is_map(kind):
        return (
            _misform(kind.item_field, level + 1)
            if pat.is_string(kind.key_type)
            else f"'{name}' has keys that are no texts"
        )
    if pat.is_struct(kind):
        return next(_twice(field), None) or next(filter(None, (_misform(child, level + 1) for child in kind)), None)
    is_plain = pat.is_null(kind) or pat.is_boolean(kind) or pat.is_int64(kind) or pat.is_float64(kind)
    return None if is_plain else f"'{name}' is of type {shorten(str(kind))}, which no payload has"


def _ours_misform(field: pa.Field) -> str | None:
    """Return the reason why `_sink` does not have the types that the sink reads; None where it fits."""
    if not pat.is_struct(field.type):
        return f"'{RESERVED}' is no object"
    for child in field.type:
        fits = pat.is_int64 if child.name in _NUMBERS else pat.is_string if child.name.startswith(_TEXTS) else None
        if fits is not None and not (fits(child.type) or pat.is_null(child.type)):
            return f"'{RESERVED}.{child.name}' is of type {shorten(str(child.type))}"
    return _misform(field, 1)


def _is_looked_at(field: pa.Field) -> bool:
    """Return whether a field holds, at any depth, values that may be wrong in one row and right in another."""
    kind = field.type
    if is_json(field) or pat.is_floating(kind):
        return True
    inner = (
        [kind.item_field]
        if pat.is_map(kind)
        else [kind.field(place) for place in range(kind.num_fields)]
        if pat.is_nested(kind)
        else []
    )
    return any(map(_is_looked_at, inner))


def _fault(field: pa.Field, level: int, array: pa.Array) -> str | None:
    """Return the reason why some value of a payload field is not accepted by the index; None where all are."""
    kind, name = field.type, shorten(field.name)
    if is_json(field):
        texts = zip(array.to_pylist(), pc.match_substring_regex(array, SUSPICIOUS).to_pylist(), strict=True)
        look = partial(_json_fault, is_spread(field), MOST_LEVELS - level)
        return next(
            (f"'{name}' {reason}" for text, careful in texts if text is not None and (reason := look(text, careful))),
            None,
        )
    if pat.is_floating(kind):
        return (
            None if pc.all(pc.is_finite(array)).as_py() is not False else f"'{name}' holds a number that is not finite"
        )
    if not _is_looked_at(field):
        return None
    if pat.is_map(kind):
        start, stop = (array.offsets[place].as_py() for place in (0, -1))
        return _fault(kind.item_field, level + 1, array.items[start:stop])
    if pat.is_struct(kind):
        inner = zip(kind, array.flatten(), strict=True)
        return next(filter(None, (_fault(child, level + 1, values) for child, values in inner)), None)
    return _fault(kind.value_field, level + 1, array.flatten())


def _json_fault(spread: bool, levels: int, text: str, careful: bool) -> str | None:
    try:
        value = check_json(text, levels, careful)
    except ValueError as error:
        return str(error)
    if not spread:
        return None
    if not isinstance(value, dict):
        return "holds no JSON object"
    ours = value.get(RESERVED)
    if not isinstance(ours, dict):
        return None
    for name, one in ours.items():
        fits = isinstance(one, int) if name in _NUMBERS else isinstance(one, str) if name.startswith(_TEXTS) else True
        if one is not None and not (fits and (name != "document" or _is_id(one))):
            return f"holds {shorten(str(one))!r} as '{RESERVED}.{name}'"
    return None


def _ours_fault(array: pa.Array) -> str | None:
    if array.type.get_field_index("document") < 0:
        return None
    wrong = next((text for text in array.field("document").to_pylist() if text and not _is_id(text)), None)
    return None if wrong is None else f"'{RESERVED}.document' is {shorten(wrong)!r}, which is no point id"


def _is_id(text: str) -> bool:
    return (
        int(text) < 2**64
        if text.isascii() and text.isdigit() and len(text) <= 20
        else _UUID.fullmatch(text) is not None
    )


def _id_fault(array: pa.Array) -> str | None:
    number, uuid = array.field("number"), array.field("uuid")
    if not pc.all(pc.xor(pc.is_valid(number), pc.is_valid(uuid))).as_py():
        return "it needs one id"
    fits = pc.all(pc.match_substring_regex(uuid, f"^{UUID}$")).as_py()
    return "its id is no point id: an unsigned 64-bit integer or a lower-case UUID is" if fits is False else None


def _vector_fault(array: pa.Array) -> str | None:
    values = array.flatten()
    if array.null_count or values.null_count:
        return "its vector, or a number in it, is null"
    return None if pc.all(pc.is_finite(values)).as_py() is not False else "its vector holds a number that is not finite"


def _sparse_fault(array: pa.Array) -> str | None:
    indices, values = array.field("indices"), array.field("values")
    if indices.null_count or indices.flatten().null_count:
        return "its sparse vector, or an index in it, is null"
    return (
        None
        if pc.list_value_length(indices).equals(pc.list_value_length(values))
        else "its sparse vector has more indices or values than the other"
    )
