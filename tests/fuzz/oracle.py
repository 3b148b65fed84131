"""What must come of a case, by docs/rows.md, docs/delivery.md and the README's table of options: the points, the
rejects, the counts; or what a refusal must name. Written from the documents, and sharing no code with the package."""

from __future__ import annotations

import base64
import json
import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pat

from tests.fakes import Four
from tests.fuzz import options as drawn
from tests.fuzz.case import Case, Column
from tests.fuzz.types import DAY, FIRST_DAY, LAST_DAY, TICKS
from tests.fuzz.values import Raw, is_bytes, is_text

NULL_KEY, BLANK_TEXT, BAD_BYTES, PAYLOAD_VALUE, VECTOR = (
    "null key",
    "blank text",
    "bad bytes",
    "payload value",
    "vector",
)
REJECT_COLUMNS = ("_reject_key", "_reject_reason", "_reject_message")
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NAMESPACE = "e6a15eeb-a4bd-56f8-a5c3-7cb9aec113f7"
MOST_LEVELS = 30
POISON = "POISON"
"""A text of which the encoder of the campaign makes NaN."""


class UnfitError(Exception):
    """A value that no payload, or no key, holds; `args[0]` is the kind of the reason."""


@dataclass
class Row:
    """One row: what it must become, or why it cannot become a point (any one of `faults` may be said)."""

    number: int
    task: int
    window: int
    key: str | None = None
    id: int | str | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    vector: npt.NDArray[np.float32] | None = None
    faults: list[tuple[str, str]] = field(default_factory=list)
    """kind of the reason, and column"""
    by_model: bool = False
    """whether only the encoder finds out"""


@dataclass
class Expected:
    """problems: what a refusal must name, one of each group; empty where the job must not be refused. excuses: names
    for whose sake it may be refused."""

    problems: list[tuple[str, ...]]
    excuses: set[str]
    wishes: Wishes
    ulps: int = 0
    """how far off a float of the payload may come back: Qdrant keeps numbers as text, and reads them again to within
    two units of the last bit"""
    rows: list[Row] = field(default_factory=list)

    @property
    def bad(self) -> list[Row]:
        return [row for row in self.rows if row.faults]

    def kept(self) -> tuple[list[Row], set[int]]:
        """The rows that are written, in their order; and the numbers of bad rows that may just as well be superseded,
        because a good row of the same key comes later in the window."""
        written, either = [], set()
        windows: dict[tuple[int, int], list[Row]] = {}
        for row in self.rows:
            windows.setdefault((row.task, row.window), []).append(row)
        for rows in windows.values():
            last: dict[int | str, Row] = {}
            for row in rows:
                if row.id is not None and (not row.faults or row.by_model):
                    last[row.id] = row
            written += [row for row in sorted(last.values(), key=lambda row: row.number) if not row.faults]
            either |= {row.number for row in rows if row.faults and row.id in last and last[row.id].number > row.number}
        return written, either

    def points(self) -> dict[int | str, list[Row]]:
        """For each id the rows of which one must be stored: the last of each task."""
        found: dict[int | str, dict[int, Row]] = {}
        for row in self.kept()[0]:
            assert row.id is not None
            found.setdefault(row.id, {})[row.task] = row
        return {point: list(of.values()) for point, of in found.items()}


class Wishes:
    """What the options of a case ask for."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = {name.lower(): drawn.as_text(value) for name, value in options.items() if value is not None}
        self.given = given
        self.vector = given.get("vector_column")
        self.text = () if self.vector else self._names("text_column", ("text",))
        self.template = given.get("text_template")
        ids = self._names("id_column", ("id",))
        self.tenant = given.get("tenant_column")
        self.asks_content = ids == ("content",)
        self.key = ((self.tenant,) if self.tenant else ()) + (() if self.asks_content else ids)
        self.namespace = given.get("id_namespace", NAMESPACE).strip()
        self.columns = self._names("payload_columns", ()) if "payload_columns" in given else None
        self.exclude = self._names("payload_exclude", ())
        self.rename = _pairs(given.get("payload_rename", ""))
        self.indexes = _pairs(given.get("payload_indexes", ""))
        self.store_text = self._is("store_text", True)
        self.normalize = self._is("normalize", False)
        self.window = self._number("window_rows", 4096)
        self.dimension = self._number("dimension", 0) or None
        self.distance = given.get("distance", "cosine").strip().lower()
        self.vector_name = given.get("vector_name", "")
        self.rejects = "rejects_path" in given
        self.most = given.get("max_rejects", "").strip()

    def _names(self, option: str, default: tuple[str, ...]) -> tuple[str, ...]:
        return (
            tuple(name.strip() for name in self.given[option].split(",") if name.strip())
            if option in self.given
            else default
        )

    def _is(self, option: str, default: bool) -> bool:
        return self.given.get(option, str(default)).strip().lower() == "true"

    def _number(self, option: str, default: int) -> int:
        try:
            return int(self.given.get(option, default))
        except ValueError:
            return default  # a wrong value: the job is refused

    def most_rejects(self, rows: int) -> int | None:
        if not self.most:
            return None
        return math.floor(float(self.most[:-1]) * rows / 100 + 1e-9) if self.most.endswith("%") else int(self.most)


def expect(case: Case, options: Mapping[str, Any]) -> Expected:
    """What must come of it. options: those of the case with its places filled in."""
    wishes = Wishes(options)
    problems, excuses = [*_problems(case, wishes)], set(_excuses(case, wishes))
    made = Expected(problems, excuses, wishes, ulps=0 if case.store == "fake" else 2)
    if not problems:
        made.rows = _rows(case, wishes)
    return made


# --- before the first row ---------------------------------------------------------------------------------------------


def _problems(case: Case, wishes: Wishes) -> Iterator[tuple[str, ...]]:
    yield from ((name,) for name in drawn.wrong(case, wishes.given))
    names = [column.name for column in case.columns]
    by_name = {column.name: column for column in case.columns}
    yield from ((name,) for name in set(names) if names.count(name) > 1)
    wanted = [
        *wishes.text,
        *wishes.key,
        *([wishes.vector] if wishes.vector else []),
        *(wishes.columns or ()),
        *wishes.exclude,
        *wishes.rename,
    ]
    yield from ((name,) for name in wanted if name not in by_name)
    if not wishes.store_text:
        yield from ((name,) for name in wishes.text if name in (wishes.columns or ()) and name not in wishes.key)
    if wishes.asks_content and (wishes.vector or ("content" in by_name and wishes.text != ("content",))):
        yield ("content",)
    yield from ((name,) for name in wishes.key if wishes.key.count(name) > 1)
    for name in wishes.text:
        if name in by_name and not is_text(by_name[name].kind):
            yield (name,)
    for name in wishes.key:
        if name in by_name and not _is_key(by_name[name].kind):
            yield (name,)
    if wishes.vector in by_name and not _is_vector(by_name[wishes.vector].kind):
        yield (str(wishes.vector),)
    if wishes.vector in by_name and _dimension(case, wishes) is None:
        yield ("dimension",)
    if wishes.template is not None and not wishes.vector:
        named = _template(wishes.template)
        if named is None or {name for _, name in named if name is not None} != set(wishes.text):
            yield ("text_template",)
    payload = dict(_payload_names(case, wishes))
    for name in wishes.exclude:
        if name in wishes.key or name in wishes.text:
            yield (name,)
    for old, new in wishes.rename.items():
        if old in by_name and old not in payload:
            yield (old,)
        if not new:
            yield (old,)
    news = list(payload.values())
    yield from ((name,) for name in set(news) if news.count(name) > 1)
    if "_sink" in news:
        yield ("_sink",)
    yield from ((name,) for name in payload if name in by_name and not mappable(by_name[name].kind))
    roots = set(news)
    for path in wishes.indexes:
        root = re.match(r'"([^"]*)"|([^.\[]*)', path)
        if path not in roots and (root is None or (root[1] or root[2] or "") not in roots):
            yield (path,)
    for path, index in wishes.indexes.items():
        root, _, below = (path, "", "") if path in roots else path.partition(".")
        column = next((by_name[old] for old, new in payload.items() if new == root and old in by_name), None)
        if (
            column is not None
            and mappable(column.kind)
            and re.fullmatch(r"[\w-]+", root)
            and not _can_hold(column.kind, column.json, below, index)
        ):
            yield (path,)


def _excuses(case: Case, wishes: Wishes) -> Iterator[str]:
    """Names for whose sake a job may be refused, though nothing in it must be."""
    for path in (
        *wishes.indexes,
        *([dict(_payload_names(case, wishes)).get(wishes.tenant, "")] if wishes.tenant else []),
    ):
        if not re.fullmatch(r"[A-Za-z0-9_-]+", path) or (wishes.tenant and path in wishes.indexes):
            yield path  # the store's own language of paths cannot say every name; and a tenant has an index already
    yield from drawn.without_effect(case, wishes.given)


def _can_hold(kind: pa.DataType, is_json: bool, below: str, index: str) -> bool:
    """Whether an index may hold anything of what the column is stored as. below: the key of an object in it, or
    nothing."""
    if pat.is_dictionary(kind):
        return _can_hold(kind.value_type, is_json, below, index)
    if is_json or pat.is_null(kind):
        return True
    if below:
        inner = (
            [kind.item_type]
            if pat.is_map(kind)
            else [kind.field(below).type]
            if pat.is_struct(kind) and below in [child.name for child in kind]
            else []
        )
        return any(_can_hold(one, False, "", index) for one in inner)
    if pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind):
        kind = kind.value_type
    if pat.is_dictionary(kind):
        kind = kind.value_type
    whole = (
        pat.is_integer(kind)
        or pat.is_duration(kind)
        or (pat.is_decimal(kind) and kind.scale == 0 and kind.precision <= 18)
    )
    if index in ("integer", "float"):
        return whole or pat.is_floating(kind) or pat.is_null(kind)
    if index == "bool":
        return pat.is_boolean(kind) or pat.is_null(kind)
    if index == "geo":
        item = kind.item_type if pat.is_map(kind) else pa.null()
        numbers = not pat.is_nested(item) and not pat.is_null(item) and _can_hold(item, False, "", "float")
        return numbers or pat.is_null(kind)  # the names that are drawn for structs are neither lon nor lat
    if index in ("keyword", "text"):
        return not (whole or pat.is_floating(kind) or pat.is_boolean(kind) or pat.is_nested(kind))
    return is_text(kind) or pat.is_null(kind) or (index == "datetime" and (pat.is_date(kind) or pat.is_timestamp(kind)))


def mappable(kind: pa.DataType) -> bool:
    """Whether the table of types in docs/rows.md has a line for it."""
    return _mappable(kind) and _levels(kind) <= MOST_LEVELS


def _mappable(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType) or pat.is_union(kind) or pat.is_run_end_encoded(kind):
        return False
    if pat.is_dictionary(kind):
        return _mappable(kind.value_type)
    if pat.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        return len(set(names)) == len(names) and all(_mappable(kind.field(i).type) for i in range(kind.num_fields))
    if pat.is_map(kind):
        return (is_text(kind.key_type) or pat.is_integer(kind.key_type)) and _mappable(kind.item_type)
    if pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind):
        return _mappable(kind.value_type)
    known = (
        pat.is_null,
        pat.is_boolean,
        is_bytes,
        pat.is_integer,
        pat.is_floating,
        pat.is_decimal,
        pat.is_date,
        pat.is_time,
    )
    return any(is_one(kind) for is_one in known) or pat.is_timestamp(kind) or pat.is_duration(kind)


def _levels(kind: pa.DataType) -> int:
    if pat.is_dictionary(kind):
        return _levels(kind.value_type)
    if not pat.is_nested(kind):
        return 0
    inner = [kind.item_type] if pat.is_map(kind) else [kind.field(i).type for i in range(kind.num_fields)]
    return 1 + max(map(_levels, inner), default=0)


def _is_key(kind: pa.DataType) -> bool:
    return bool(
        is_text(kind)
        or pat.is_integer(kind)
        or pat.is_boolean(kind)
        or pat.is_decimal(kind)
        or pat.is_date(kind)
        or pat.is_timestamp(kind)
    )


def _is_vector(kind: pa.DataType) -> bool:
    is_list = pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind)
    return bool(is_list and (pat.is_floating(kind.value_type) or pat.is_integer(kind.value_type)))


def _dimension(case: Case, wishes: Wishes) -> int | None:
    kind = next((column.kind for column in case.columns if column.name == wishes.vector), None)
    fixed = kind.list_size if kind is not None and pat.is_fixed_size_list(kind) else None
    return wishes.dimension or fixed or None


def _payload_names(case: Case, wishes: Wishes) -> Iterator[tuple[str, str]]:
    """Column and name in the payload."""
    for column in case.columns:
        name = column.name
        asked = name in wishes.columns if wishes.columns is not None else name not in REJECT_COLUMNS
        if name in wishes.text:
            asked = wishes.store_text
        elif name in wishes.exclude or name == wishes.vector:
            asked = False
        if asked or name in wishes.key:
            yield name, wishes.rename.get(name, name)


def _template(text: str) -> list[tuple[str, str | None]] | None:
    """Literal texts, each with the column after it; None where it is no template of names in braces."""
    made, literal, rest = list[tuple[str, str | None]](), "", text
    while rest:
        if rest[:2] in ("{{", "}}"):
            literal, rest = literal + rest[0], rest[2:]
        elif rest[0] == "{":
            name, brace, rest = rest[1:].partition("}")
            if not brace or re.search(r"[{}:!]", name):
                return None
            made.append((literal, name))
            literal = ""
        elif rest[0] == "}":
            return None
        else:
            literal, rest = literal + rest[0], rest[1:]
    return [*made, (literal, None)]


def _pairs(text: str) -> dict[str, str]:
    if text.lstrip().startswith("{"):
        try:
            return {str(key): str(value) for key, value in json.loads(text).items()}
        except ValueError:
            return {}
    parts = [part.partition(":") for part in text.split(",") if part.strip()]
    return {left.strip(): right.strip() for left, _, right in parts}


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows(case: Case, wishes: Wishes) -> list[Row]:
    columns = {column.name: column for column in case.columns}
    payload = list(_payload_names(case, wishes))
    namespace = uuid.UUID(wishes.namespace)
    dimension = _dimension(case, wishes)
    made, number = list[Row](), 0
    for task, lengths in enumerate(case.cuts()):
        for place in range(sum(lengths)):
            row = Row(number, task, place // wishes.window)
            number += 1
            made.append(row)
            _fill(row, columns, payload, wishes, namespace, dimension)
    if not wishes.vector:
        whole = [row for row in made if not row.faults]
        vectors = Encoder().encode([row.payload.pop("\0text") for row in whole]) if whole else []
        for row, vector in zip(whole, vectors, strict=True):
            row.vector = vector
            if not np.isfinite(vector).all():
                row.faults, row.by_model = [(VECTOR, ", ".join(wishes.text))], True
    return made


def _fill(
    row: Row,
    columns: Mapping[str, Column],
    payload: Sequence[tuple[str, str]],
    wishes: Wishes,
    namespace: uuid.UUID,
    dimension: int | None,
) -> None:
    parts: list[Any] = []
    text: str | None = None
    if not wishes.vector:
        text, faults = _text(row.number, columns, wishes)
        row.faults += faults
    for name in wishes.key:
        raw = columns[name].values[row.number]
        try:
            parts.append(None if raw is None else _key_part(columns[name].kind, raw))
        except UnfitError as unfit:
            row.faults.append((unfit.args[0], name))
            parts.append(None)
            continue
        if raw is None:
            row.faults.append((NULL_KEY, name))
    if wishes.asks_content:
        parts.append(text)
    if None not in parts:
        row.key, row.id = _key_text(parts), _id(parts, namespace)
    for name, new in payload:
        try:
            row.payload[new] = plain(columns[name].kind, columns[name].values[row.number], columns[name].json)
        except UnfitError as unfit:
            kinds = {unfit.args[0]} | (
                {BAD_BYTES} if _has_bad_bytes(columns[name].kind, columns[name].values[row.number]) else set()
            )
            row.faults += [(kind, name) for kind in sorted(kinds)]
    if wishes.vector:
        row.vector, wrong = _vector(columns[wishes.vector], row.number, dimension or 0, wishes.normalize)
        row.faults += [(VECTOR, wishes.vector)] * wrong
    elif not row.faults:
        row.payload["\0text"] = text  # taken out again by the encoder


def _text(number: int, columns: Mapping[str, Column], wishes: Wishes) -> tuple[str | None, list[tuple[str, str]]]:
    """The text to encode, and what is wrong with it."""
    raws = {name: columns[name].values[number] for name in wishes.text}
    try:
        parts = {name: None if raw is None else raw.decode() for name, raw in raws.items()}
    except UnicodeDecodeError:
        return None, [(BAD_BYTES, name) for name, raw in raws.items() if raw is not None and not _is_utf8(raw)]
    blank = [(BLANK_TEXT, ", ".join(wishes.text))]
    if all(not (part or "").strip() for part in parts.values()):
        return None, blank
    if wishes.template is not None:
        pieces = _template(wishes.template) or []
        return "".join(literal + ((parts[name] or "") if name is not None else "") for literal, name in pieces), []
    return "\n".join(part or "" for part in parts.values()), []


class _Whole(str):
    """A decimal without a scale: alone it is an integer, among others a text."""


def _key_part(kind: pa.DataType, raw: Raw) -> Any:
    if pat.is_decimal(kind):
        text = _decimal(raw, kind.scale)
        return _Whole(text) if text is not None and kind.scale == 0 else text
    if pat.is_integer(kind):
        return raw
    return plain(kind, raw)


def _key_text(parts: Sequence[Any]) -> str:
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    return json.dumps(parts[0] if len(parts) == 1 else list(parts), ensure_ascii=False, separators=(",", ":"))


def _id(parts: Sequence[Any], namespace: uuid.UUID) -> int | str:
    if len(parts) == 1:
        only = parts[0]
        if type(only) is int and 0 <= only < 2**64:
            return only
        if isinstance(only, _Whole) and 0 <= int(only) < 2**64:
            return int(only)
        if isinstance(only, str) and UUID.fullmatch(only):
            return only
    return str(uuid.uuid5(namespace, _key_text(parts)))


def _vector(
    column: Column, number: int, dimension: int, normalize: bool
) -> tuple[npt.NDArray[np.float32] | None, bool]:
    """The vector, and whether it is none."""
    raw = column.values[number]
    if raw is None or len(raw) != dimension or None in raw:
        return None, True
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.array([np.float32(number) for number in raw], np.float32)
    if not np.isfinite(made).all() or not made.any():
        return None, True
    if normalize:
        wide = made.astype(np.float64)
        made = (wide / np.sqrt(np.square(wide).sum())).astype(np.float32)
    return made, False


class Encoder(Four):
    """The campaign's encoder: four numbers from a hash of the text, and NaN for a text with POISON in it."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        made = super().encode(texts)
        made[[number for number, text in enumerate(texts) if POISON in text], 1] = np.nan
        return made


# --- values -----------------------------------------------------------------------------------------------------------


def plain(kind: pa.DataType, raw: Raw, is_json: bool = False) -> Any:
    """The value in the payload, by the table in docs/rows.md: None, bool, int, float, str, list or dict. Raises
    UnfitError."""
    if raw is None:
        return None
    if is_json:
        return _json(raw)
    if pat.is_dictionary(kind):
        return plain(kind.value_type, raw)
    if is_text(kind):
        if not _is_utf8(raw):
            raise UnfitError(BAD_BYTES)
        return raw.decode()
    if is_bytes(kind):
        return base64.b64encode(raw).decode()
    if pat.is_floating(kind) and not math.isfinite(raw):
        raise UnfitError(PAYLOAD_VALUE)
    if pat.is_boolean(kind) or pat.is_floating(kind):
        return raw
    if pat.is_decimal(kind):
        return raw if kind.scale == 0 and kind.precision <= 18 else _decimal(raw, kind.scale)
    if pat.is_date(kind):
        return _date(raw if pat.is_date32(kind) else raw // (DAY * 1000))
    if pat.is_timestamp(kind):
        days, rest = divmod(raw, DAY * TICKS[kind.unit])
        return f"{_date(days)}T{_clock(rest, kind.unit, DIGITS[kind.unit])}{'Z' if kind.tz else ''}"
    if pat.is_time(kind):
        if not 0 <= raw < DAY * TICKS[kind.unit]:
            raise UnfitError(PAYLOAD_VALUE)
        return _clock(_microseconds(raw, kind.unit), "us", 6)
    if pat.is_duration(kind):
        return _int64(_microseconds(raw, kind.unit))
    if pat.is_integer(kind):
        return _int64(raw)
    if pat.is_struct(kind):
        return {kind.field(i).name: plain(kind.field(i).type, raw[i]) for i in range(kind.num_fields)}
    if pat.is_map(kind):
        return _object(kind, raw)
    return [plain(kind.value_type, item) for item in raw]


DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def _object(kind: pa.DataType, raw: Raw) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, item in raw:
        name = str(key) if pat.is_integer(kind.key_type) else plain(kind.key_type, key)
        if name in made:
            raise UnfitError(PAYLOAD_VALUE)  # an object has each key once: one of the two would be lost
        made[name] = plain(kind.item_type, item)
    return made


def _json(raw: bytes) -> Any:
    if not _is_utf8(raw):
        raise UnfitError(BAD_BYTES)
    try:
        value = json.loads(raw)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise UnfitError(PAYLOAD_VALUE) from None
    _check_json(value, 0)
    return value


def _check_json(value: Any, levels: int) -> None:
    if isinstance(value, list | dict) and levels == MOST_LEVELS:
        raise UnfitError(PAYLOAD_VALUE)
    if isinstance(value, int) and not isinstance(value, bool):
        _int64(value)
    for item in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        _check_json(item, levels + 1)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _has_bad_bytes(kind: pa.DataType, raw: Raw) -> bool:
    """Whether any text in the value, or in a map's keys, is no UTF-8."""
    if raw is None:
        return False
    if is_text(kind):
        return not _is_utf8(raw)
    if pat.is_dictionary(kind):
        return _has_bad_bytes(kind.value_type, raw)
    if pat.is_struct(kind):
        return any(_has_bad_bytes(kind.field(i).type, raw[i]) for i in range(kind.num_fields))
    if pat.is_map(kind):
        return any(_has_bad_bytes(kind.key_type, key) or _has_bad_bytes(kind.item_type, item) for key, item in raw)
    return isinstance(raw, list) and any(_has_bad_bytes(kind.value_type, item) for item in raw)


def _int64(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise UnfitError(PAYLOAD_VALUE)
    return number


def _microseconds(ticks: int, unit: str) -> int:
    if ticks * 10**6 % TICKS[unit]:
        raise UnfitError(PAYLOAD_VALUE)  # what is less than a microsecond would be lost
    return ticks * 10**6 // TICKS[unit]


def _decimal(unscaled: int, scale: int) -> str:
    if scale <= 0:
        return str(unscaled * 10**-scale)
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    return f"{'-' if unscaled < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def _date(days: int) -> str:
    """A day since 1970 in the Gregorian calendar. ISO 8601 and RFC 3339 have four digits for a year."""
    if not FIRST_DAY <= days <= LAST_DAY:
        raise UnfitError(PAYLOAD_VALUE)
    return str(np.datetime64(days, "D"))


def _clock(ticks: int, unit: str, digits: int) -> str:
    seconds, rest = divmod(ticks, TICKS[unit])
    fraction = f".{rest:0{digits}d}" if digits else ""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"
