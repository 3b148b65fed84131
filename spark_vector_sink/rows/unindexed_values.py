"""Count values that a payload index leaves out, such as a text that is not a date under a datetime index. Qdrant stores
such a value without an error.

The counts cannot come from a store: its figures for an index are sums over segments, in which a point may count twice
while segments are optimised, in which nulls are rightly missing, and which include the points of other jobs. So each
task checks the values of the points that it writes, and only where the column's type does not decide. `takes` does what
Qdrant's index does with a value; `tests/contract/test_index_types.py` compares both.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from spark_vector_sink import payload_types
from spark_vector_sink.payload_types import TENANT_INDEXES
from spark_vector_sink.rows import payload_indexes
from spark_vector_sink.rows.columns import Columns
from spark_vector_sink.rows.payload_indexes import VALUES, Step

TAKES = {
    "keyword": "text",
    "text": "text",
    "integer": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "datetime": "a date or time as Qdrant reads it, such as 2024-02-29T12:30:00Z",
    "uuid": "a UUID",
    "geo": "an object of lon and lat on the globe",
}
"""Values that each type of index takes, in words."""

_HEX = "[0-9a-fA-F]"
_HYPHENATED = f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}"
_UUID = re.compile(rf"{_HEX}{{32}}|{_HYPHENATED}|\{{{_HYPHENATED}\}}|urn:uuid:{_HYPHENATED}")

_BLANK = r"[^\S\x1c-\x1f]"
_W = f"{_BLANK}*"


def _date(blank: str) -> str:
    """Return the pattern of a date. A day takes both of the following digits where there are two."""
    year = "(?P<sign>[+-]0*)?(?P<year>(?(sign)[0-9]{1,6}|[0-9]{1,4}))"
    return rf"{_W}{year}{blank}-{_W}(?P<month>[0-9]{{1,2}}){blank}-{_W}(?=(?P<day>[0-9]{{1,2}}))(?P=day)"


def _time(blank: str, seconds: str) -> str:
    clock = rf"{_W}(?P<hour>[0-9]{{1,2}}){blank}:{_W}(?P<minute>[0-9]{{1,2}})"
    return clock + rf"(?:{blank}:{_W}(?P<second>[0-9]{{1,2}})(?:\.[0-9]+)?){seconds}"


_ZONE = rf"(?:[Zz]|[+\-\u2212](?P<zone>[0-9]{{2}})(?:{_BLANK}|:)*"
_DATETIMES = [
    re.compile(form)
    for form in (
        rf"{_date(_W)}[Tt ]{_time(_W, '')}{_W}(?:[Uu][Tt][Cc]|{_ZONE}[0-5][0-9])){_W}",
        rf"{_date('')}T?{_time('', '')}{_W}{_ZONE}(?:[0-5][0-9])?)",
        rf"{_date('')}(?:T?{_time('', '?')})?",
    )
]
"""Forms of a date that Qdrant reads with the Rust library chrono: RFC 3339 with blanks, with a short zone, and without
a zone."""

_USUAL = re.compile(
    "[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?)?"
)
"""Pattern of all dates but leap days in the usual form, which needs no calendar check: ten times as fast."""

_MOST = {"month": 12, "hour": 23, "minute": 59, "second": 60, "zone": 23}


def takes(kind: str, value: Any) -> bool:
    """Return whether a payload index of this type takes a payload value, which must be neither null nor a list."""
    if kind in ("keyword", "text"):
        return isinstance(value, str)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "float":
        return _is_number(value)
    if kind == "integer":
        return _is_number(value) and value == value // 1 and -(2**63) <= value <= 2**63
    if kind == "uuid":
        return isinstance(value, str) and _UUID.fullmatch(value) is not None
    if kind == "datetime":
        if isinstance(value, str) and _USUAL.fullmatch(value):
            return True
        return isinstance(value, str) and any(
            _is_date(match) for form in _DATETIMES if (match := form.fullmatch(value))
        )
    return isinstance(value, dict) and all(
        _is_number(value.get(name)) and abs(value[name]) <= most for name, most in (("lon", 180), ("lat", 90))
    )


class Unindexed:
    """Counter of payload values that the collection's indexes leave out. wanted: index type by path, as a store has
    them."""

    def __init__(self, columns: Columns, wanted: Mapping[str, str]) -> None:
        roots = columns.payload_fields
        named = [(path, TENANT_INDEXES.get(kind, kind), payload_indexes.steps(path)) for path, kind in wanted.items()]
        self._looked_at = [
            (f"{path}:{kind}", kind, steps)
            for path, kind, steps in named
            if steps[0] in roots and payload_indexes.holding(path, kind, roots) == VALUES
        ]

    def count(self, payload: pa.RecordBatch) -> dict[str, int]:
        """Return the count of these points that have a value which its index leaves out, by `path:type`; only counts
        above 0."""
        counts = {}
        for name, kind, (root, *rest) in self._looked_at:
            place = payload.schema.get_field_index(root)
            if place < 0:  # a chunk whose text stays as stored is written without it
                continue
            listed = payload_types.values(payload.column(place), payload.schema.field(place))
            if left := sum(any(not takes(kind, one) for one in _values(value, rest)) for value in listed):
                counts[name] = left
        return counts


def said(name: str, left: int, points: int) -> str:
    """Return the sentence for the report. name: `path:type`. left: count of points with values left out."""
    path, _, kind = name.rpartition(":")
    return (
        f"the payload index {name} lacks values of {left:,} of the {points:,} points written: it takes {TAKES[kind]}, "
        f"and what they have at {path} is not; "
        "they are stored, and filters on it do not find them"
    )


def _values(value: Any, steps: Sequence[Step]) -> Iterator[Any]:
    """Yield the values that an index looks at: the values at the end of the path, every item of a list by itself, no
    nulls."""
    found = [value]
    for step in steps:
        found = list(_inner(found, step))
    for one in found:
        yield from (item for item in (one if isinstance(one, list) else [one]) if item is not None)


def _inner(values: Iterable[Any], step: Step) -> Iterator[Any]:
    for value in values:
        if isinstance(step, str):
            if isinstance(value, dict) and step in value:
                yield value[step]
        elif isinstance(value, list):
            yield from value if step is None else value[step : step + 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_date(match: re.Match[str]) -> bool:
    """Return whether the matched day exists in the calendar, and the matched time in a day."""
    parts = {name: int(number) for name, number in match.groupdict().items() if number is not None and name != "sign"}
    if parts["month"] == 0 or any(parts.get(name, 0) > most for name, most in _MOST.items()) or parts["year"] > 262_142:
        return False
    # the calendar repeats every 400 years, so take an equivalent year that Python supports
    return 1 <= parts["day"] <= calendar.monthrange(parts["year"] % 400 + 2000, parts["month"])[1]
