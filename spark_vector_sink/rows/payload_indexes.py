"""Check which payload index can hold a column as it is stored: a table of stored types and index types, and the paths
that lead into a column. The table is only here.

The table says which stored values an index of Qdrant takes (`tests/contract/test_index_types.py` counts them on each
store): a keyword index takes only text, and is empty over a column of integers. Each item of a list is taken by itself.
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
"""How much of a column an index takes: every value, or the values that it can parse as its own type. An index that the
table does not name for a column takes none of its values."""

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
"""Index types that hold a column, by what the column is stored as. A map is an object, a duration an integer; an array
within an array is "an array"."""

_CASTS = {
    "keyword": ("string", {"a boolean", "an integer", "a floating-point number"}),
    "text": ("string", {"a boolean", "an integer", "a floating-point number"}),
    "integer": ("bigint", {"a boolean", "text", "a decimal, stored as text"}),
    "float": ("double", {"a boolean", "text", "a decimal, stored as text"}),
    "bool": ("boolean", {"an integer", "text"}),
    "datetime": ("timestamp", {"an integer"}),
}
"""Spark type to cast to for each index type, and the stored types that can be cast to it."""

PATH = re.compile(r"""([\w-]+|"[^"\\]*")(?:\.(?:[\w-]+|"[^"\\]*")|\[[0-9]*\])*""")
"""Syntax of a path to a field of the payload in Qdrant: `a.b` is b in the object a, `a[].b` is b in each item of a,
`"a.b"` the field of that name."""

_STEP = re.compile(r'\[([0-9]*)\]|\.?(?:"([^"\\]*)"|([\w-]+))')

Step = str | int | None
"""One step of a path: a key of an object, the index of an array's item, or None for every item."""


def steps(path: str) -> tuple[Step, ...]:
    """Split a path of Qdrant into steps: `a[].b` becomes `("a", None, "b")`."""
    found: list[Step] = []
    for match in _STEP.finditer(path):
        place, quoted, plain = match.groups()
        found.append((int(place) if place else None) if place is not None else plain if plain is not None else quoted)
    return tuple(found)


def in_qdrants_words(name: str, roots: Iterable[str]) -> str:
    """Return the path of a payload index in Qdrant's syntax: the name of a payload field is put in quotes where it
    needs them; any other name is a path already."""
    return f'"{name}"' if name in roots and re.fullmatch(r"[\w-]+", name) is None else name


def of_tenant(field: pa.Field) -> str:
    """Return the type of payload index that holds a tenant column."""
    kind = _stored(_item(field))
    return {"an integer": "integer_tenant", "a boolean": "bool"}.get(kind, "tenant")


def holding(path: str, kind: str, roots: Mapping[str, pa.Field]) -> str | None:
    """Return how much of its column an index holds: `ALWAYS`, `VALUES`, or None for no value, also where the path leads
    to no column. roots: the payload's fields by name."""
    try:
        return TABLE[_stored(_item(_reached(path, roots)))].get(TENANT_INDEXES.get(kind, kind))
    except LookupError:
        return None


def never(path: str, kind: str, roots: Mapping[str, pa.Field]) -> str | None:
    """Return the reason why an index can hold no value of its column, with a hint; None where it can. path: a path in
    Qdrant's syntax, below one of `roots`."""
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
    """Yield hints how to make the index work."""
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
    """Return a hint that names an index on a value inside an object or an array, of the wanted type where possible."""
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
    """Return the field at the end of a path. Raises LookupError with the reason where nothing can be there."""
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
    """Return the field that an index looks at: the item of a list, but not the item of an item."""
    return field.type.value_field if is_list(field.type) and not is_json(field) else field


def _stored(field: pa.Field) -> str:
    """Return the key of `TABLE` for a field."""
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
    """Return whether a field may hold a coordinate of a geo point."""
    return _stored(field) in ("an integer", "a floating-point number", "a variant")
