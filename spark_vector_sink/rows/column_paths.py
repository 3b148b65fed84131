"""Find the place that a value is read from: a column, or a path into structs (`after.id`). A column of exactly that
name comes first."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from spark_vector_sink.payload_types import is_json
from spark_vector_sink.rows.column_roles import Part, unfit

MOST_CANDIDATES = 5_000
"""Limit of the columns and fields that are searched for a name similar to a missing one."""


@dataclass(frozen=True)
class Source:
    """The place that the value of a part is read from.

    steps: the column, then fields of structs. field: the field there, a variant marked as such. before: the steps for a
    row that deletes, where the feed keeps the previous state in a struct of its own (see `before`); else None.
    """

    name: str
    part: Part
    steps: tuple[str, ...]
    field: pa.Field
    before: tuple[str, ...] | None = None

    @property
    def label(self) -> str:
        """Return the name of this source among the values that are read (see `projection`): a column may play several
        parts."""
        return label(self.part, self.name)


def label(part: Part, name: str) -> str:
    """Return the column name of a part's values."""
    return f"{part.value}:{name}"


def find(name: str, schema: pa.Schema) -> tuple[tuple[str, ...], pa.Field] | None:
    """Return the steps to the place that an option names, and its field; None where nothing is there."""
    return _walk(name, list(schema))


def _walk(name: str, fields: list[pa.Field]) -> tuple[tuple[str, ...], pa.Field] | None:
    for field in fields:
        if field.name == name:
            return (name,), field
    for field in fields:
        if name.startswith(f"{field.name}.") and (found := _walk(name[len(field.name) + 1 :], children(field))):
            return (field.name, *found[0]), found[1]
    return None


def children(field: pa.Field) -> list[pa.Field]:
    """Return the fields of a struct; an empty list for any other type."""
    return [field.type.field(i) for i in range(field.type.num_fields)] if pat.is_struct(field.type) else []


def leaf(field: pa.Field, steps: Sequence[str]) -> pa.Field | None:
    """Return the field at a path below this field; None where there is none."""
    for step in steps:
        found = {child.name: child for child in children(field)}.get(step)
        if found is None:
            return None
        field = found
    return field


def before(steps: tuple[str, ...], schema: pa.Schema) -> tuple[str, ...] | None:
    """Return the path that holds the value in rows that delete; None where there is no such path. In Debezium's
    envelope, `after` is null in such a row, and `before` has the value."""
    for place in range(len(steps) - 1):
        if steps[place] == "after":
            other = (*steps[:place], "before", *steps[place + 1 :])
            if (found := find(".".join(other), schema)) is not None and found[0] == other:
                return other
    return None


def get(rows: pa.RecordBatch, steps: tuple[str, ...]) -> pa.Array:
    """Return the values at a path; null where any struct on the path is null."""
    array = rows.column(steps[0])
    for step in steps[1:]:
        array = pc.struct_field(array, [array.type.get_field_index(step)])
    return array


def missing(option: str, name: str, part: Part | None, schema: pa.Schema) -> str:
    """Return the message that an option names a missing column, with the most similar name that fits. part: None where
    any column fits."""
    column = f"column {shown(name)} of option '{option}'"
    hint = _inside(name, schema) or _nearest(name, part, schema)
    if (option, name) not in (("text_column", "text"), ("id_column", "id")):
        return f"{column} is missing; {hint}"
    content = ", or id_column=content where a document has no other key than its text" if option == "id_column" else ""
    return f"{column} (its default) is missing; {hint}; give option '{option}'{content}"


def _inside(name: str, schema: pa.Schema) -> str | None:
    """Return a hint where the path leads into a variant or a map instead of a struct; else None."""
    for field in schema:
        if name.startswith(f"{field.name}.") and (is_json(field) or pat.is_map(field.type)):
            rest = name[len(field.name) + 1 :]
            way = f"variant_get({field.name}, '$.{rest}', 'string')" if is_json(field) else f"{field.name}['{rest}']"
            return f"'{field.name}' is no struct; make a column of it first, as in {way}"
    return None


def _nearest(name: str, part: Part | None, schema: pa.Schema) -> str:
    candidates = list(_candidates(part, schema))
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(_skeleton(candidate), candidate)
    close = difflib.get_close_matches(_skeleton(name), folded, n=1, cutoff=0.6)
    if not close:
        return f"there are: {listed(schema.names)}"
    found = folded[close[0]]
    return f"did you mean {shown(found)}{_unseen(name, found)}?"


def _candidates(part: Part | None, schema: pa.Schema) -> Iterator[str]:
    """Yield the names of the columns, and of the fields of structs, that could play the part."""
    waiting = [(field.name, field) for field in schema]
    for _ in range(MOST_CANDIDATES):
        if not waiting:
            return
        name, field = waiting.pop(0)
        if part is None or unfit(part, name, field) is None:
            yield name
        if part is not None:
            waiting += [(f"{name}.{child.name}", child) for child in children(field)]


def shown(name: str) -> str:
    """Return a name in quotes, with the code point in place of each character that cannot be seen."""
    return "'" + "".join(f"<U+{ord(sign):04X}>" if _is_unseen(sign) else sign for sign in name) + "'"


def listed(names: list[str]) -> str:
    """Return the first twelve names for a message, and the count where there are more."""
    seen = [shown(name)[1:-1] for name in names[:12]]
    return ", ".join(seen) + (f", … ({len(names)} in all)" if len(names) > 12 else "")


def _unseen(one: str, other: str) -> str:
    """Return the difference between two names that look the same, in words: blanks at the ends, or letters of another
    alphabet; "" where there is neither."""
    if one.strip() != one or other.strip() != other:
        return " (with the blanks that it has; in a list of names, as a JSON array)"
    if one != other and _skeleton(one) == _skeleton(other):
        ours, theirs = set(one), set(other)
        odd = [sign for sign in dict.fromkeys(one + other) if (sign in ours) != (sign in theirs) and not sign.isascii()]
        if odd:
            codes = ", ".join(f"U+{ord(sign):04X} {unicodedata.name(sign, '')}".strip() for sign in odd[:3])
            return f" (only one of the two has {codes})"
    return ""


def _is_unseen(sign: str) -> bool:
    return (
        unicodedata.category(sign) in ("Cc", "Cf", "Co", "Cn", "Zl", "Zp", "Zs") or unicodedata.combining(sign) > 0
    ) and sign != " "


_ALIKE = str.maketrans(
    "асеіјорѕхуһԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧΑВЕКМНОРСТУХІЈЅοανı", "aceijopsxyhdqwABEZHIKMNOPTYXABEKMHOPCTYXIJSoavi"
)
"""Translation of Cyrillic and Greek letters to the Latin letters that they look like."""


def _skeleton(name: str) -> str:
    """Return a name as a reader sees it: without blanks, marks and characters of no width, in lower case, look-alikes
    as Latin letters."""
    plain = unicodedata.normalize("NFKD", name).translate(_ALIKE)
    return "".join(sign for sign in plain if not _is_unseen(sign) and not sign.isspace()).casefold()
