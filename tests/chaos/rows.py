"""The documents of a run: drawn at random, written as Parquet for Spark, and the points that they must become.

What is expected is computed from the Python values by the rules that the documentation states (docs/rows.md), with
nothing of the package: the ids by `uuid`, the payload by hand.
"""

from __future__ import annotations

import base64
import json
import string
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.chaos.encoder import vectors
from tests.chaos.oracle import Content, Id

NAMESPACE = uuid.UUID("e6a15eeb-a4bd-56f8-a5c3-7cb9aec113f7")
"""The documented default of `id_namespace`."""

Row = dict[str, Any]

WORDS = (
    "river",
    "stone",
    "cloud",
    "winter",
    "glass",
    "étude",
    "Ærø",
    "naïve",
    "москва",
    "東京",
    "한국",
    "שלום",
    "مرحبا",
    "e\u0301",
    "🙂",
    "👩‍👩‍👧‍👦",
    "🇩🇰",
    "“quoted”",
    "back\\slash",
    '"',
    "tab\there",
    "line\nbreak",
    "nul\u0000less".replace("\u0000", ""),
    "\u200b",
    "𝒳",
    "𐍈",
)

PLACE = pa.struct(
    [("lat", pa.float64()), ("name", pa.string()), ("marks", pa.struct([("numbers", pa.list_(pa.int64()))]))]
)


@dataclass(frozen=True)
class Column:
    """A payload column: its type, a value drawn at random, and what the value is in the payload."""

    type: pa.DataType
    draw: Callable[[Random], Any]
    plain: Callable[[Any], Any] = lambda value: value


def _phrase(rng: Random, most: int = 6) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))


def _decimal(rng: Random) -> float:
    """A number of at most 15 digits: of some longer ones Qdrant (1.18.2) changes the last bit of 64 when it reads its
    own JSON."""
    return round(rng.uniform(-1000, 1000), rng.randint(0, 12))


def _or_null(rng: Random, value: Any, share: float = 0.2) -> Any:
    return None if rng.random() < share else value


def _moment(rng: Random) -> datetime:
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=rng.randint(-(10**15), 3 * 10**15))


def _place(rng: Random) -> Row:
    marks = _or_null(
        rng, {"numbers": _or_null(rng, [_or_null(rng, rng.randint(-9, 9)) for _ in range(rng.randint(0, 3))])}
    )
    return {"lat": _decimal(rng), "name": _or_null(rng, _phrase(rng)), "marks": marks}


COLUMNS = {
    "flag": Column(pa.bool_(), lambda rng: rng.random() < 0.5),
    "small": Column(pa.int8(), lambda rng: rng.randint(-128, 127)),
    "number": Column(
        pa.int64(), lambda rng: rng.choice([rng.randint(-9, 9), rng.randint(-(2**63), 2**63 - 1), 2**53 + 1])
    ),
    "ratio": Column(pa.float64(), lambda rng: rng.choice([_decimal(rng), float(f"{rng.randint(1, 9)}e-9"), 0.1, 2.0])),
    "title": Column(pa.string(), lambda rng: rng.choice(["", _phrase(rng)])),
    "price": Column(
        pa.decimal128(12, 2),
        lambda rng: Decimal(rng.randint(-(10**6), 10**6)).scaleb(-2),
        lambda value: format(value, "f"),
    ),
    "day": Column(
        pa.date32(), lambda rng: date(1970, 1, 1) + timedelta(days=rng.randint(-20_000, 40_000)), date.isoformat
    ),
    "moment": Column(pa.timestamp("us", "UTC"), _moment, lambda value: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
    "blob": Column(
        pa.binary(), lambda rng: rng.randbytes(rng.randint(0, 20)), lambda value: base64.b64encode(value).decode()
    ),
    "tags": Column(
        pa.list_(pa.string()), lambda rng: [_or_null(rng, _phrase(rng, 2)) for _ in range(rng.randint(0, 4))]
    ),
    "place": Column(PLACE, _place),
    "counts": Column(
        pa.map_(pa.string(), pa.int64()),
        lambda rng: [(f"{_phrase(rng, 1)}{n}", _or_null(rng, n)) for n in range(rng.randint(0, 3))],
        dict,
    ),
}
"""Every one may be null."""


@dataclass(frozen=True)
class Key:
    """Key columns: their types, the values of key number n, which no other number has, and its text where the id is
    derived."""

    types: Mapping[str, pa.DataType]
    draw: Callable[[Random, int], Sequence[Any]]
    plain: Callable[[Any], Any] = lambda value: value
    derived: bool = True
    options: Mapping[str, str] | None = None

    def id(self, row: Row) -> Id:
        values = [self.plain(row[name]) for name in self.types]
        if not self.derived:
            return values[0]  # type: ignore[no-any-return]
        if not values:
            return str(uuid.uuid5(NAMESPACE, row["text"]))
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":")) if len(values) > 1 else str(values[0])
        return str(uuid.uuid5(NAMESPACE, text))


_ID = {"id": pa.string()}
_NUMBER = {"id": pa.int64()}

KEYS = {
    "integers": Key(_NUMBER, lambda rng, n: [n * 1_000_003 + rng.randint(0, 1_000_000)], derived=False),
    "negative integers": Key(_NUMBER, lambda rng, n: [-1 - n]),
    "strings": Key(_ID, lambda rng, n: [f"{_phrase(rng, 2)} {n}"]),
    "UUIDs": Key(_ID, lambda rng, n: [str(uuid.UUID(int=rng.getrandbits(128), version=4))], derived=False),
    "other UUIDs": Key(_ID, lambda rng, n: [str(uuid.UUID(int=rng.getrandbits(127) | 0xA << 124)).upper()]),
    "decimals": Key(
        {"id": pa.decimal128(20, 3)},
        lambda rng, n: [Decimal(n * 1000 + rng.randint(0, 999)).scaleb(-3)],
        lambda value: format(value, "f"),
    ),
    "two columns": Key(
        {"since": pa.date32(), "id": pa.int64()},
        lambda rng, n: [date(2024, 1, 1) + timedelta(days=n % 50), n],
        lambda value: value.isoformat() if isinstance(value, date) else value,
        options={"id_column": "since,id"},
    ),
    "tenants": Key(
        {"tenant": pa.string(), "id": pa.int64()},
        lambda rng, n: [rng.choice(WORDS), n],
        options={"tenant_column": "tenant"},
    ),
    "content": Key({}, lambda rng, n: [], options={"id_column": "content"}),
}


@dataclass(frozen=True)
class Documents:
    """What a job is given, and what must be there after it."""

    files: tuple[tuple[Row, ...], ...]
    """one for each partition"""
    key: Key
    columns: tuple[str, ...]
    """of COLUMNS"""
    stores_text: bool = True

    @property
    def count(self) -> int:
        """Rows, duplicates of a key included."""
        return sum(map(len, self.files))

    @property
    def schema(self) -> pa.Schema:
        named = {
            **self.key.types,
            "text": pa.string(),
            "version": pa.string(),
            **{name: COLUMNS[name].type for name in self.columns},
        }
        return pa.schema(list(named.items()))

    def save(self, folder: Path) -> None:
        """A Parquet file for each partition."""
        folder.mkdir()
        for number, rows in enumerate(self.files):
            pq.write_table(pa.Table.from_pylist(list(rows), self.schema), folder / f"part-{number:03}.parquet")

    def points(self) -> dict[Id, Content]:
        """Of two rows of one key, the later one of the file."""
        rows = [row for file in self.files for row in file]
        return {
            self.key.id(row): Content.of(vector, self._payload(row))
            for row, vector in zip(rows, vectors([row["text"] for row in rows]), strict=True)
        }

    def _payload(self, row: Row) -> Row:
        kept = {name: self.key.plain(row[name]) for name in self.key.types} | {"version": row["version"]}
        if self.stores_text:
            kept["text"] = row["text"]
        return kept | {name: None if row[name] is None else COLUMNS[name].plain(row[name]) for name in self.columns}


def draw(
    rng: Random, sizes: Sequence[int], kind: str, columns: Sequence[str], *, twice: float, stores_text: bool
) -> Documents:
    """Documents for a job. sizes: rows of each partition. twice: the share of keys that have an older row right
    before."""
    key, number, files = KEYS[kind], 0, []
    for size in sizes:
        rows: list[Row] = []
        while len(rows) < size:
            values = dict(zip(key.types, key.draw(rng, number), strict=True))
            text = f"{_phrase(rng, 12)} {number}"
            number += 1
            for _ in range(2 if rng.random() < twice and len(rows) + 1 < size else 1):
                own = text if not key.types else f"{text} {rng.choice(string.ascii_letters)}"
                rows.append({**values, "text": own, "version": "new", **_values(rng, columns)})
        files.append(tuple(rows))
    return Documents(tuple(files), key, tuple(columns), stores_text)


def earlier(rng: Random, documents: Documents, share: float) -> Documents:
    """Other content for a share of the keys, in other partitions: what a job before wrote."""
    latest = {documents.key.id(row): row for file in documents.files for row in file}
    rows = [row for row in latest.values() if rng.random() < share]
    rng.shuffle(rows)
    changed = [
        {
            **row,
            "version": "old",
            "text": row["text"] if not documents.key.types else f"was: {row['text']}",
            **_values(rng, documents.columns),
        }
        for row in rows
    ]
    return Documents((tuple(changed),), documents.key, documents.columns, documents.stores_text)


def _values(rng: Random, columns: Sequence[str]) -> Row:
    return {name: _or_null(rng, COLUMNS[name].draw(rng)) for name in columns}
