"""Which payload index can hold what a column is stored as: the table of both, and the paths that lead into a column.
The table lives here and nowhere else.

It says what Qdrant's index takes of the stored values (`tests/contract/test_index_types.py` counts them on each store):
a keyword index takes nothing but text, and is empty over a column of integers. Of a list each item is taken for itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.types as pat

from spark_vector_sink.errors import shorten
from spark_vector_sink.payload_types import INDEX_TYPES, TENANT_INDEXES, is_json, is_list
from spark_vector_sink.rows import payload

ALWAYS, VALUES = "always", "by value"
"""An index takes each value of the column, or those that it can read as its own; of what the table does not name it
takes none."""

_AS_TEXT = {"keyword": ALWAYS, "text": ALWAYS}

TABLE: Mapping[str, Mapping[str, str]] = {
    "a boolean": {"bool": ALWAYS},
    "an integer": {"integer": ALWAYS, "float": ALWAYS},
    "a floating-point number": {"float": ALWAYS, "integer": VALUES},
    "text": {**_AS_TEXT, "datetime": VALUES, "uuid": VALUES},
    "a date or a timestamp, stored as text": {**_AS_TEXT, "datetime": ALWAYS},
    "a decimal, stored as text": _AS_TEXT,
    "a time, stored as text": _AS_TEXT,
    "binary, stored as base64": _AS_TEXT,
    "an object with lon and lat": {"geo": VALUES},
    "a map of numbers": {"geo": VALUES},
    "an object": {},
    "an array": {},
    "a variant": dict.fromkeys(INDEX_TYPES, VALUES),
    "void": dict.fromkeys(INDEX_TYPES, ALWAYS),
}
"""What a column is stored as → the index types that hold it. A map is an object, a duration an integer; an array is one
within an array."""

_CASTS = {
    "keyword": ("string", {"a boolean", "an integer", "a floating-point number"}),
    "text": ("string", {"a boolean", "an integer", "a floating-point number"}),
    "integer": ("bigint", {"a boolean", "text", "a decimal, stored as text"}),
    "float": ("double", {"a boolean", "text", "a decimal, stored as text"}),
    "bool": ("boolean", {"an integer", "text"}),
    "datetime": ("timestamp", {"an integer"}),
}
"""Of an index type, the type of Spark's that it holds, and what can be cast to it."""

PATH = re.compile(r"""([\w-]+|"[^"\\]*")(?:\.(?:[\w-]+|"[^"\\]*")|\[[0-9]*\])*""")
"""Qdrant's way to name a field of the payload: `a.b` is b in the object a, `a[].b` that of each item, `"a.b"` the field
of that name."""

_STEP = re.compile(r'\[([0-9]*)\]|\.?(?:"([^"\\]*)"|([\w-]+))')

Step = str | int | None
"""One step of a path: a key of an object, the so-manieth item of an array, or None for each of its items."""


def steps(path: str) -> tuple[Step, ...]:
    """A path of Qdrant's, taken apart: `a[].b` is `("a", None, "b")`."""
    found: list[Step] = []
    for match in _STEP.finditer(path):
        place, quoted, plain = match.groups()
        found.append((int(place) if place else None) if place is not None else plain if plain is not None else quoted)
    return tuple(found)


def in_qdrants_words(name: str, roots: Iterable[str]) -> str:
    """The path of a payload index: a field of the payload by its own name, in quotes where it needs them; else a path
    already."""
    return f'"{name}"' if name in roots and re.fullmatch(r"[\w-]+", name) is None else name


def of_tenant(field: pa.Field) -> str:
    """The index that holds a tenant's column."""
    kind = _stored(_item(field))
    return {"an integer": "integer_tenant", "a boolean": "bool"}.get(kind, "tenant")


def holding(path: str, kind: str, roots: Mapping[str, pa.Field]) -> str | None:
    """Whether the index holds its column: `ALWAYS`, `VALUES`, or None for never, and for what is in no column. roots:
    the payload's fields by name."""
    try:
        return TABLE[_stored(_item(_reached(path, roots)))].get(TENANT_INDEXES.get(kind, kind))
    except LookupError:
        return None


def never(path: str, kind: str, roots: Mapping[str, pa.Field]) -> str | None:
    """Why an index can hold nothing of its column, and what makes it work; None where it can. path: one of Qdrant's,
    below one of `roots`."""
    wanted = TENANT_INDEXES.get(kind, kind)
    try:
        field = _reached(path, roots)
    except LookupError as error:
        return str(error.args[0])
    item = _item(field)
    stored = _stored(item)
    takes = TABLE[stored]
    if wanted in takes:
        return None
    return (
        f"{f'each item of {path}' if item is not field else path} is {stored}; "
        f"{'; or '.join(_ways(path, wanted, field, item))}"
    )


def _ways(path: str, wanted: str, field: pa.Field, item: pa.Field) -> Iterable[str]:
    """What makes the index work."""
    stored, column = (
        _stored(item),
        (field.name if re.fullmatch(r"\w+", field.name) else f"`{field.name}`") if len(steps(path)) == 1 else "",
    )
    to, of = _CASTS.get(wanted, ("", set()))
    if stored in of:
        whole = f"array<{to}>" if item is not field else to
        yield f"write cast({column} as {whole})" if column else f"make it {to}"
    elif wanted == "geo":
        yield "a geo index takes a struct of lon and lat, both double"
    elif wanted == "uuid" and stored.startswith("binary") and column:
        yield f"write lower(hex({column}))"
    if (others := next(iter(TABLE[stored]), None)) and not pat.is_nested(item.type):
        yield f"name another index, {path}:{others}"
    elif wanted != "geo":
        yield (
            f"name {'its items' if stored == 'an array' else 'a field of it'}, "
            f"{_inner(path, wanted, item, '[]' if item is not field else '')}"
        )


def _inner(path: str, wanted: str, item: pa.Field, brackets: str) -> str:
    """An index of something in an object or an array, of the type that is wanted if there is such a thing."""
    kind = item.type
    if pat.is_struct(kind):
        inner = {f"{path}{brackets}.{in_qdrants_words(child.name, (child.name,))}": child for child in kind}
    else:
        inner = {f"{path}{brackets}.key": kind.item_field} if pat.is_map(kind) else {f"{path}[]": item}
    takes = {name: TABLE[_stored(_item(child))] for name, child in inner.items()}
    fitting = [f"{name}:{wanted}" for name in takes if wanted in takes[name]]
    others = [f"{name}:{next(iter(takes[name]))}" for name in takes if takes[name]]
    return f"such as {next(iter([*fitting, *others]))}" if fitting or others else "that is a single value"


def _reached(path: str, roots: Mapping[str, pa.Field]) -> pa.Field:
    """The field at the end of a path. LookupError with the reason where nothing can be there."""
    root, *rest = steps(path)
    field, walked = roots[str(root)], in_qdrants_words(str(root), (str(root),))
    for step in rest:
        kind = field.type
        if pat.is_dictionary(kind):
            field = pa.field(field.name, kind.value_type)
            kind = field.type
        if is_json(field) or pat.is_null(kind):
            return field
        if isinstance(step, str):
            shown = in_qdrants_words(step, (step,))
            if pat.is_map(kind):
                field = kind.item_field
            elif pat.is_struct(kind):
                names = [child.name for child in kind]
                if step not in names:
                    raise LookupError(f"{walked} has no field '{step}'; it has {shorten(', '.join(names)) or 'none'}")
                field = kind.field(names.index(step))
            elif is_list(kind):
                raise LookupError(
                    f"{walked} is an array; its items are {walked}[], and their {shown} is {walked}[].{shown}"
                )
            else:
                raise LookupError(f"{walked} is {_stored(field)}, and has no fields; name {walked} alone")
            walked = f"{walked}.{shown}"
        elif is_list(kind):
            field, walked = kind.value_field, f"{walked}[{'' if step is None else step}]"
        else:
            raise LookupError(f"{walked} is {_stored(field)}, and no array; leave the brackets out")
    return field


def _item(field: pa.Field) -> pa.Field:
    """What an index looks at: each item of a list, but no items of items."""
    return field.type.value_field if is_list(field.type) and not is_json(field) else field


def _stored(field: pa.Field) -> str:
    """The line of the table."""
    kind = field.type
    if is_json(field):
        return "a variant"
    if pat.is_dictionary(kind):
        return _stored(pa.field(field.name, kind.value_type))
    if pat.is_null(kind):
        return "void"
    if is_list(kind):
        return "an array"
    if pat.is_map(kind):
        return "a map of numbers" if _is_number(kind.item_field) else "an object"
    if pat.is_struct(kind):
        numbers = {child.name for child in kind if _is_number(child)}
        return "an object with lon and lat" if {"lon", "lat"} <= numbers else "an object"
    plain = payload.plain_field(field).type
    if pat.is_boolean(plain):
        return "a boolean"
    if pat.is_integer(plain):
        return "an integer"
    if pat.is_floating(plain):
        return "a floating-point number"
    if pat.is_decimal(kind):
        return "a decimal, stored as text"
    if pat.is_date(kind) or pat.is_timestamp(kind):
        return "a date or a timestamp, stored as text"
    if pat.is_time(kind):
        return "a time, stored as text"
    return "text" if pat.is_string(kind) or pat.is_large_string(kind) else "binary, stored as base64"


def _is_number(field: pa.Field) -> bool:
    """Whether a part of a place on the globe may be here."""
    return _stored(field) in ("an integer", "a floating-point number", "a variant")
