"""The table of stored types and payload indexes, and what is said of single values, compared with what indexes really
hold: on an embedded store and on a real Qdrant. The in-test server has no indexes."""

from __future__ import annotations

import datetime
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

from spark_vector_sink.payload_types import INDEX_TYPES, JSON_MARK
from spark_vector_sink.rows import payload, payload_indexes, unindexed_values
from spark_vector_sink.rows.payload_indexes import ALWAYS, TABLE, VALUES
from spark_vector_sink.store.edge import index as edge
from spark_vector_sink.store.edge.layout import StoreDirectory
from tests.hangs import HANGS_AFTER_SECONDS
from tests.jobs import Place, server_place, vectors

UUID = "5f0c1e9a-0000-4000-8000-000000000001"
UTC = datetime.UTC if hasattr(datetime, "UTC") else datetime.timezone.utc


@dataclass
class Indexed:
    """A store whose indexes can be made and counted apart from the sink."""

    place: Place
    counts_wordless = False
    """Whether a point is in a text index by a text without a word in it. Either way no question finds it."""

    def counts(self, wanted: dict[str, str]) -> dict[str, int]:
        """How many points are in each of these indexes, made now: path → type."""
        directory = StoreDirectory(Path(self.place.options["path"]))
        with edge.opened(directory.shard(str(directory.current())), time.monotonic() + HANGS_AFTER_SECONDS) as shard:
            for path, kind in wanted.items():  # in the place of one that is there
                shard.update(
                    edge.qdrant_edge().UpdateOperation.create_field_index(
                        path, getattr(edge.qdrant_edge().PayloadSchemaType, kind.capitalize())
                    )
                )
            return {path: index.points for path, index in shard.info().payload_schema.items()}

    def count(self) -> int:
        """How many points the index of field t holds, as the sink has made it."""
        return self.counts({})["t"]


@dataclass
class IndexedByServer(Indexed):
    client: QdrantClient
    counts_wordless = True

    def counts(self, wanted: dict[str, str]) -> dict[str, int]:
        name = self.place.options["path"]
        for path, kind in wanted.items():
            self.client.create_payload_index(name, path, models.PayloadSchemaType(kind), wait=True)
        return {path: index.points for path, index in self.client.get_collection(name).payload_schema.items()}


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.qdrant)])
def indexed(request: pytest.FixtureRequest) -> Iterator[Indexed]:
    """Each store that has real indexes. The embedded one lies in memory, if the system has a directory there: an index
    is a dozen of files, all synced."""
    if request.param == "embedded":
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
            yield Indexed(Place({"path": str(Path(directory) / "store"), "vector_column": "v"}))
        return
    server = request.getfixturevalue("qdrant_server")
    client = QdrantClient(
        host=server.host, grpc_port=server.grpc_port, prefer_grpc=True, check_compatibility=False, timeout=60
    )
    yield IndexedByServer(server_place(server, vector_column="v"), client)
    client.close()


DAY, NOON = datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, 30)
PLACE = pa.struct([("lon", pa.float64()), ("lat", pa.float64())])
JSON_TEXTS = [json.dumps(one) for one in ("x", 7, 0.5, True, "2024-02-29", UUID, {"lon": 1, "lat": 2}, [7], {"a": 1})]
COLUMNS: list[tuple[str, pa.DataType, list[Any]]] = [
    ("a boolean", pa.bool_(), [True, False]),
    ("an integer", pa.int64(), [0, -(2**63), 2**63 - 1, 2**53 + 1]),
    ("an integer", pa.int8(), [1, -1]),
    ("an integer", pa.uint64(), [1, 2**63 - 1]),
    ("an integer", pa.decimal128(18, 0), [Decimal(1), Decimal(10**18 - 1)]),
    ("an integer", pa.duration("us"), [datetime.timedelta(seconds=1)]),
    ("a floating-point number", pa.float64(), [0.5, 1.0, -0.0, 1e300, 2.0**63, 2.0**64, -(2.0**63), 1e-320]),
    ("a floating-point number", pa.float32(), [0.25, 3.0]),
    ("text", pa.string(), ["x", "", "2024-02-29", UUID, "7", "0.5", "true"]),
    ("text", pa.large_string(), ["x"]),
    ("text", pa.dictionary(pa.int32(), pa.string()), ["x", UUID]),
    ("a date or a timestamp, stored as text", pa.date32(), [DAY, datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]),
    (
        "a date or a timestamp, stored as text",
        pa.timestamp("us", "UTC"),
        [NOON.replace(tzinfo=UTC), datetime.datetime(1, 1, 1, tzinfo=UTC)],
    ),
    (
        "a date or a timestamp, stored as text",
        pa.timestamp("us"),
        [NOON, datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)],
    ),
    ("a date or a timestamp, stored as text", pa.timestamp("ns"), [NOON]),
    ("a decimal, stored as text", pa.decimal128(10, 2), [Decimal("12.50"), Decimal("2024.00")]),
    ("a decimal, stored as text", pa.decimal128(20, 0), [Decimal(20240229), Decimal(10**19)]),
    ("a time, stored as text", pa.time64("us"), [datetime.time(12, 30)]),
    ("binary, stored as base64", pa.binary(), [b"", b"x", UUID.encode(), bytes(range(16))]),
    (
        "an object with lon and lat",
        PLACE,
        [
            {"lon": 10.7, "lat": 59.9},
            {"lon": 181.0, "lat": 0.0},
            {"lon": 0.0, "lat": None},
            {"lon": -180.0, "lat": -90.0},
        ],
    ),
    ("a map of numbers", pa.map_(pa.string(), pa.int64()), [[("lon", 1), ("lat", 2)], [("lon", 1)], []]),
    ("an object", pa.struct([("a", pa.int64())]), [{"a": 1}]),
    ("an object", pa.struct([("lon", pa.string()), ("lat", pa.string())]), [{"lon": "1", "lat": "2"}]),
    (
        "an object",
        pa.struct([("lon", pa.decimal128(9, 6)), ("lat", pa.decimal128(9, 6))]),
        [{"lon": Decimal("1.5"), "lat": Decimal("2.5")}],
    ),
    ("an object", pa.map_(pa.string(), pa.string()), [[("lon", "1"), ("lat", "2")]]),
    ("an array", pa.list_(pa.list_(pa.int64())), [[[1], [2]]]),
    ("an array", pa.list_(pa.list_(pa.string())), [[["x"]]]),
    ("a variant", pa.string(), JSON_TEXTS),
    ("void", pa.null(), []),
]
"""What a column is stored as, its type, and some values, with the ends of what it can hold."""

TAKEN: dict[str, list[Any]] = {
    "datetime": [
        "2024-02-29",
        "2024-2-9",
        " 2024- 2- 9",
        "0001-01-01",
        "0000-02-29",
        "1-1-1",
        "+12024-01-01",
        "-0001-12-31",
        "-4-02-29",
        "+262142-12-31",
        "+" + "0" * 30 + "2024-01-01",
        "2024-02-29T12:30:00Z",
        "2024-02-29t12:30:00z",
        "2024-02-29 12:30:00Z",
        "2024-02-29T12:30:00+01:00",
        "2024-02-29T12:30:00.123456789123-23:59",
        "2024-02-29T12:30:00+0100",
        "2024-02-29T12:30:00 +01 : 00",
        "2024-02-29T12:30:00+01",
        "2024-02-29T12:30:00UTC",
        "2024-02-29T12:30:00 utc ",
        "2024-02-29T12:30:00 Z  ",
        "2024 - 02 -29T12 : 30 : 00Z",
        "2024-02-29T12:30:60Z",
        "2024-02-29T12:30:00\u221201:00",
        "2024-02-29T12:30",
        "2024-02-29 12:30",
        "2024-02-29T12:30:00",
        "2024-02-29 12:30:00.5",
        "2024-02-2912:30",
        "2024-02-29 1:2:3",
        "2024-02-29T 1: 2: 3",
        "2024-02-291:2",
        "2024-02-29T23:59:60",
        "2024-02-29\t12:30",
        "2024-02-29T12:30:00\u2003Z",
        "2000-02-29",
        "2024-02-29T00:00:00.000000Z",
        "2024-02-28T12:30:00.000000Z",
        "2024-11-30 23:59:59-23:59",
        "2024-09-10",
        "2024-12-31",
        "2024-04-30",
        "2024-01-29",
    ],
    "uuid": [UUID, UUID.upper(), UUID.replace("-", ""), f"{{{UUID}}}", f"urn:uuid:{UUID}", "0" * 32, "f" * 32],
    "integer": [0.0, -0.0, 1.0, 2.0**53, 2.0**63, -(2.0**63), 9.2e18, 1e15],
    "geo": [{"lon": 180, "lat": 90}, {"lon": -180, "lat": -90}, {"lon": 0.5, "lat": 0, "x": "y"}],
}
LEFT: dict[str, list[Any]] = {
    "datetime": [
        "",
        "x",
        "yesterday",
        "2024",
        "2024-02",
        "20240229",
        "2023-02-29",
        "1900-02-29",
        "2024-00-01",
        "2024-13-01",
        "2024-01-00",
        "2024-04-31",
        "2024-02-30",
        "2024-11-31T12:30:00Z",
        "2024-02-29 ",
        "24/02/29",
        "29.02.2024",
        "12024-01-01",
        "2024-02-29T24:00:00Z",
        "2024-02-29T12:60:00Z",
        "2024-02-29T12:30:61Z",
        "2024-02-29T12:30Z",
        "2024-02-29T12:30:00+24:00",
        "2024-02-29T12:30:00+01:60",
        "2024-02-29T12:30:00+1",
        "2024-02-29T12:30:00.Z",
        "2024-02-29T12:30:00.",
        "2024-02-29 12",
        "12:30:00",
        "2024-02-12:00",
        "1709209800",
        "2024-02-29T12:30:00 CET",
        "Thu, 29 Feb 2024 12:30:00 GMT",
        "2024-02-29T12:30:00Z x",
        "2024-02-29T12:30 ",
        "+262143-01-01",
        "+" + "1" * 30 + "-01-01",
        "\u0662024-02-29",
        "2024-02-29\x1c12:30",
    ],
    "uuid": [
        "",
        "x",
        UUID[:-1],
        UUID + "0",
        UUID.replace("-", "_"),
        UUID.replace("-", "")[:-1],
        f"({UUID})",
        f" {UUID}",
        "g" * 32,
        "a" * 16,
    ],
    "integer": [0.5, -1e-300, 1e300, 2.0**64, -(2.0**63) * 1.01, 1.5e15 + 0.5],
    "geo": [
        {"lon": 180.1, "lat": 0},
        {"lon": 0, "lat": -90.1},
        {"lon": "1", "lat": 2},
        {"lat": 1},
        {"lng": 1, "lat": 2},
        {"lon": True, "lat": 1},
        {},
        {"lon": None, "lat": 1},
    ],
}


def test_the_table_is_what_indexes_hold(indexed: Indexed) -> None:
    """Of every stored type under every type of index, as many points are in it as the table and the values say: all,
    none, or those with a fitting value."""
    length = 1 + max(len(values) for _, _, values in COLUMNS)
    fields = [
        pa.field(f"c{n}", kind, metadata=JSON_MARK if stored == "a variant" else None)
        for n, (stored, kind, _) in enumerate(COLUMNS)
    ]
    arrays = [
        pa.array([*values, *[None] * (length - len(values))], pa.string() if pa.types.is_dictionary(kind) else kind)
        for _, kind, values in COLUMNS
    ]
    arrays = [
        array.dictionary_encode() if pa.types.is_dictionary(field.type) else array
        for array, field in zip(arrays, fields, strict=True)
    ]
    arrays += [
        pa.array([[value] if value is not None else None for value in arrays[n].to_pylist()], pa.list_(COLUMNS[n][1]))
        for n in (1, 8, 19)
    ]
    fields += [pa.field(f"l{n}", pa.list_(COLUMNS[n][1])) for n in (1, 8, 19)]
    rows = vectors(length)
    for field, array in zip(fields, arrays, strict=True):
        rows = rows.append_column(field, array)
    indexed.place.write(rows)
    stored = indexed.place.stored().values()
    roots = {field.name: field for field in fields}
    assert [payload_indexes._stored(field) for field in fields[: len(COLUMNS)]] == [name for name, _, _ in COLUMNS]
    assert {name for name, _, _ in COLUMNS} == set(TABLE)
    wrong = []
    for kind in INDEX_TYPES:
        counts = indexed.counts(dict.fromkeys(roots, kind))
        for name in roots:
            verdict, found = (
                payload_indexes.holding(name, kind, roots),
                [one[name] for one in stored if one[name] is not None],
            )
            taken = [
                one
                for one in found
                if any(unindexed_values.takes(kind, item) for item in (one if isinstance(one, list) else [one]))
            ]
            expected = {ALWAYS: len(found), VALUES: len(taken), None: 0}[verdict]
            if kind == "text" and not indexed.counts_wordless:
                expected -= sum(one in ("", [""]) for one in found if verdict)
            if (
                counts[name] != expected
                or (verdict is None and taken)
                or (verdict == ALWAYS and len(taken) < len(found))
            ):
                wrong.append(
                    f"{name} ({roots[name].type}) as {kind}: {counts[name]} points in the index, {expected} expected "
                    f"({verdict}), {len(taken)} taken"
                )
    assert wrong == []


@pytest.mark.parametrize("kind", TAKEN)
def test_the_values_that_an_index_takes(indexed: Indexed, kind: str) -> None:
    """Each that is said to be taken is in the index, and of those that are said to be left out none."""
    assert [value for value in TAKEN[kind] if not unindexed_values.takes(kind, value)] == []
    assert [value for value in LEFT[kind] if unindexed_values.takes(kind, value)] == []
    length = max(len(TAKEN[kind]), len(LEFT[kind]))
    rows = vectors(length)
    for name, values in (("taken", TAKEN[kind]), ("left", LEFT[kind])):
        texts = pa.array([json.dumps(value) for value in values] + [None] * (length - len(values)), pa.string())
        rows = rows.append_column(pa.field(name, pa.string(), metadata=JSON_MARK), texts)
    indexed.place.write(rows)
    assert indexed.counts({"taken": kind, "left": kind}) == {"taken": len(TAKEN[kind]), "left": 0}


TENANTS = [
    (kind, values)
    for stored, kind, values in COLUMNS
    if values
    and not (pa.types.is_nested(kind) or pa.types.is_floating(kind) or stored[:6] in ("a vari", "binary", "a time"))
]


@pytest.mark.parametrize(
    ("kind", "values"), [pytest.param(*one, id=str(one[0])) for one in TENANTS if not pa.types.is_duration(one[0])]
)
def test_a_tenant_of_any_type_is_in_its_index(indexed: Indexed, kind: pa.DataType, values: list[Any]) -> None:
    """Each of its points."""
    indexed.place.write(
        vectors(len(values), t=pa.array(values, kind.value_type if pa.types.is_dictionary(kind) else kind)),
        tenant_column="t",
    )
    assert indexed.count() == len(values)


def test_every_pair_is_in_the_table_once() -> None:
    """No type of index is named that Qdrant has not."""
    assert all(set(takes) <= set(INDEX_TYPES) for takes in TABLE.values())
    assert set(unindexed_values.TAKES) == set(INDEX_TYPES)
    assert payload.unmappable(pa.field("x", PLACE)) is None
