"""Where `check` gets a table's schema from, without Spark: Spark's own words for it, or what the options themselves name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from spark_vector_sink.errors import SchemaError, shorten
from spark_vector_sink.options import CONTENT_KEY, SinkOptions
from spark_vector_sink.plain import JSON_MARK

_TYPES: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(("string", "varchar", "char"), pa.string),
    **dict.fromkeys(("long", "bigint"), pa.int64),
    **dict.fromkeys(("int", "integer"), pa.int32),
    **dict.fromkeys(("short", "smallint"), pa.int16),
    **dict.fromkeys(("byte", "tinyint"), pa.int8),
    **dict.fromkeys(("float", "real"), pa.float32),
    "double": pa.float64,
    "boolean": pa.bool_,
    "binary": pa.binary,
    "date": pa.date32,
    **dict.fromkeys(("timestamp", "timestamp_ltz"), lambda: pa.timestamp("us", "UTC")),
    "timestamp_ntz": lambda: pa.timestamp("us"),
    "void": pa.null,
    "variant": pa.string,
    "time": lambda: pa.time64("ns"),
}
"""Spark's names of its types, in Arrow's as Spark hands them to Python."""

_TOKEN = re.compile(r"\s*(`(?:[^`]|``)*`|'(?:[^'\\]|\\.)*'|[^\s<>(),:`]+|[<>(),:])")


def from_words(text: str) -> pa.Schema:
    """The schema that `id long, text string` describes, or Spark's `struct<id:bigint,text:string>`. Raises SchemaError."""
    return pa.schema(_Words(text).fields_of_a_table())


def assumed(options: Mapping[str, Any]) -> pa.Schema:
    """A table that has every column which the options name, of a fitting type: so that all but the columns is checked."""
    parsed, _ = SinkOptions.parse(options)
    fields: dict[str, Any] = {}
    if parsed.vector_column is not None:
        fields[parsed.vector_column] = pa.list_(pa.float32())
    if parsed.version_column is not None:
        fields[parsed.version_column] = pa.int64()
    key = () if parsed.id_column == (CONTENT_KEY,) else parsed.id_column
    text = parsed.text_column if parsed.vector_column is None or "text_column" in parsed.given else ()
    named = [*key, *text, *(parsed.payload_columns or ()), *parsed.payload_exclude, *parsed.payload_rename]
    named += [name for name in (parsed.tenant_column, parsed.op_column, parsed.shard_key_column) if name is not None]
    renamed = set(parsed.payload_rename.values())
    roots = {root for path in parsed.payload_indexes if (root := _root(path)) not in renamed}
    others = [name for name in dict.fromkeys((*named, *roots)) if name not in fields]
    return pa.schema([*fields.items(), *(pa.field(name, pa.string(), metadata=JSON_MARK if name in roots else None) for name in others)])


def _root(path: str) -> str:
    """The field of the payload in which a path of Qdrant's begins."""
    quoted = re.match(r'"([^"]*)"', path)
    return quoted[1] if quoted else re.split(r"[.\[]", path, maxsplit=1)[0]


def _map(keys: pa.DataType, items: pa.DataType) -> pa.DataType:
    """A map; one whose keys are of no type, of which Arrow makes none, is empty, whatever they are."""
    return pa.map_(pa.string() if keys == pa.null() else keys, items)


class _Words:
    """Reads Spark's words for a schema from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [match[1] for match in _TOKEN.finditer(text)]
        if re.sub(r"\s", "", text) != re.sub(r"\s", "", "".join(self._tokens)):
            raise self._wrong("a name of other signs than letters, digits and _ stands in backquotes")

    def fields_of_a_table(self) -> list[pa.Field]:
        whole = [token.lower() for token in self._tokens[:2]] == ["struct", "<"] and self._tokens[-1] == ">"
        if whole:
            self._tokens = self._tokens[2:-1]
        fields = self._fields()
        if self._tokens:
            raise self._wrong(f"{self._tokens[0]!r} is one too many")
        return fields

    def _fields(self) -> list[pa.Field]:
        fields = [self._field()]
        while self._takes(","):
            fields.append(self._field())
        return fields

    def _field(self) -> pa.Field:
        name = self._next("a column's name")
        if name.startswith("`"):
            name = name[1:-1].replace("``", "`")
        self._takes(":")
        kind = self._type()
        if self._takes("not") and not self._takes("null"):
            raise self._wrong("after NOT comes NULL")
        if self._takes("comment"):
            self._next("a comment")
        return pa.field(name, kind)

    def _type(self) -> Any:
        word = self._next("a type").lower()
        if word == "array":
            return pa.list_(self._within(self._type))
        if word == "map":
            return self._within(lambda: _map(self._type(), self._then(",", self._type)))
        if word == "struct":
            return pa.struct(self._within(lambda: [] if self._tokens[:1] == [">"] else self._fields()))
        if word in ("decimal", "dec", "numeric"):
            return self._decimal(self._numbers() or [10])
        if word == "interval":
            return self._interval()
        if word in ("varchar", "char", "time"):
            self._numbers()
        if word not in _TYPES:
            raise self._wrong(
                f"{shorten(word)!r} is no type of Spark's that is known here; known are {', '.join((*_TYPES, 'decimal', 'interval', 'array', 'map', 'struct'))}"
            )
        if self._takes("collate"):
            self._next("the name of a collation")
        return _TYPES[word]()

    def _interval(self) -> Any:
        """Months apart, which Spark cannot hand to Python."""
        units = [self._next("a unit, as in interval day to second").lower()]
        if self._takes("to"):
            units.append(self._next("a unit, as in interval day to second").lower())
        if not set(units) <= {"day", "hour", "minute", "second"}:
            raise self._wrong(f"Spark cannot hand an interval of {' to '.join(map(shorten, units))} to Python; drop it, or cast it to string")
        return pa.duration("us")

    def _decimal(self, numbers: list[int]) -> Any:
        precision, scale = (*numbers, 0)[:2]
        if len(numbers) > 2 or not 1 <= precision <= 38 or scale > precision:
            raise self._wrong("a decimal has 1 to 38 digits, and at most so many of them behind the point, as in decimal(10,2)")
        return pa.decimal128(precision, scale)

    def _within(self, read: Callable[[], Any]) -> Any:
        return self._then("<", lambda: self._closed(read(), ">"))

    def _numbers(self) -> list[int]:
        """Those in parentheses; none where there are no parentheses."""
        numbers = []
        if self._takes("("):
            numbers = [self._number()]
            while self._takes(","):
                numbers.append(self._number())
            self._closed(None, ")")
        return numbers

    def _number(self) -> int:
        word = self._next("a number")
        if not word.isdecimal():
            raise self._wrong(f"{shorten(word)!r} is no number")
        return int(word)

    def _then(self, token: str, read: Callable[[], Any]) -> Any:
        if not self._takes(token):
            raise self._wrong(f"there must be a {token!r}")
        return read()

    def _closed(self, value: Any, token: str) -> Any:
        return self._then(token, lambda: value)

    def _takes(self, token: str) -> bool:
        found = bool(self._tokens) and self._tokens[0].lower() == token
        if found:
            del self._tokens[0]
        return found

    def _next(self, what: str) -> str:
        if not self._tokens or self._tokens[0] in "<>(),:":
            raise self._wrong(f"{what} is missing")
        return self._tokens.pop(0)

    def _wrong(self, reason: str) -> SchemaError:
        rest = f" before {shorten(' '.join(self._tokens), 40)!r}" if getattr(self, "_tokens", None) else ""
        return SchemaError(f"{shorten(self._text)!r} is no schema{rest}: {reason}; write it as in 'id long, text string'")
