"""Document keys → point ids: reproducible by anybody, and never the same for two keys."""

from __future__ import annotations

import json
import uuid
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_vector_sink.rows.keys import key_text, key_values, point_ids

NAMESPACE = uuid.UUID("e6a15eeb-a4bd-56f8-a5c3-7cb9aec113f7")
CANONICAL = "550e8400-e29b-41d4-a716-446655440000"
CHEAP = settings(max_examples=60, deadline=None, derandomize=True)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COLUMN_TYPES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), TEXTS | st.sampled_from(['a","b', '","', "null", "1", '"', "\\", "1,2", "[]", CANONICAL])),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
    (pa.bool_(), st.booleans()),
    (pa.date32(), st.dates(date(1, 1, 1), date(9999, 12, 31))),
    (
        pa.timestamp("us", "UTC"),
        st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(lambda t: t.replace(tzinfo=timezone.utc)),
    ),
    (pa.decimal128(20, 2), st.integers(-(10**19), 10**19).map(lambda n: Decimal(n).scaleb(-2))),
]


def id_of(value: Any, kind: pa.DataType, namespace: uuid.UUID = NAMESPACE) -> int | str:
    return point_ids([(only,) for only in key_values(pa.array([value], kind))], namespace)[0]


def text_of(*columns: tuple[Any, pa.DataType]) -> str:
    return key_text([key_values(pa.array([value], kind))[0] for value, kind in columns])


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0, pa.int64()), (1, pa.int8()), (2**63 - 1, pa.int64()), (2**63, pa.uint64()), (2**64 - 1, pa.uint64())],
)
def test_unsigned_integers_pass_through(value: int, kind: pa.DataType) -> None:
    """An integer that Qdrant takes as an id is the id, and stays an integer."""
    made = id_of(value, kind)
    assert (made, type(made)) == (value, int)


def test_canonical_uuids_pass_through() -> None:
    """A lower-case UUID with hyphens is the id."""
    assert id_of(CANONICAL, pa.string()) == CANONICAL


@pytest.mark.parametrize(
    "text",
    [
        CANONICAL.upper(),
        CANONICAL.replace("-", ""),
        f"{{{CANONICAL}}}",
        f"urn:uuid:{CANONICAL}",
        f" {CANONICAL}",
        CANONICAL + "\n",
        "5",
    ],
)
def test_other_spellings_are_hashed(text: str) -> None:
    """Two spellings are two keys, since nobody said that they mean the same; a string of digits is a string."""
    assert id_of(text, pa.string()) == str(uuid.uuid5(NAMESPACE, text))


@CHEAP
@given(text=TEXTS.map(lambda text: "x" + text), namespace=st.uuids())
def test_the_standard_library_gives_the_same_id(text: str, namespace: uuid.UUID) -> None:
    """Anybody can compute the id again with uuid5."""
    assert id_of(text, pa.string(), namespace) == str(uuid.uuid5(namespace, text))


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (-1, pa.int64(), "-1"),
        (-(2**63), pa.int64(), "-9223372036854775808"),
        (True, pa.bool_(), "true"),
        (False, pa.bool_(), "false"),
        (date(2024, 2, 29), pa.date32(), "2024-02-29"),
        (datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc), pa.timestamp("us", "UTC"), "2024-02-29T12:30:00.000000Z"),
        (
            datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc),
            pa.timestamp("us", "Europe/Berlin"),
            "2024-02-29T12:30:00.000000Z",
        ),
        (datetime(2024, 2, 29, 12, 30), pa.timestamp("us"), "2024-02-29T12:30:00.000000"),
        (Decimal("12.50"), pa.decimal128(10, 2), "12.50"),
        (Decimal("-7"), pa.decimal128(10, 0), "-7"),
        (Decimal("7.0"), pa.decimal128(10, 1), "7.0"),
        (Decimal(2**64), pa.decimal128(20, 0), "18446744073709551616"),
        (Decimal("0.0000001"), pa.decimal128(10, 7), "0.0000001"),
    ],
)
def test_the_text_of_a_key_is_the_written_one(value: Any, kind: pa.DataType, text: str) -> None:
    """Each type has one spelling, and the id is uuid5 of it."""
    assert text_of((value, kind)) == text
    assert id_of(value, kind) == str(uuid.uuid5(NAMESPACE, text))


@pytest.mark.parametrize("number", [0, 7, 2**63, 2**64 - 1])
def test_a_whole_decimal_is_the_integer(number: int) -> None:
    """As Spark reads Parquet's UINT_64, `decimal(20,0)`: the point has the id that it had before a collection was
    moved."""
    assert id_of(Decimal(number), pa.decimal128(20, 0)) == number


def test_several_columns_are_a_compact_json_array() -> None:
    """Types keep their JSON forms, text is not escaped to ASCII, and no blanks are put in."""
    columns = [
        ('ü"x', pa.string()),
        (-5, pa.int64()),
        (True, pa.bool_()),
        (date(2024, 2, 29), pa.date32()),
        (Decimal("1.50"), pa.decimal128(5, 2)),
        (Decimal("3"), pa.decimal128(5, 0)),
    ]
    expected = json.dumps(['ü"x', -5, True, "2024-02-29", "1.50", "3"], ensure_ascii=False, separators=(",", ":"))
    assert text_of(*columns) == expected == '["ü\\"x",-5,true,"2024-02-29","1.50","3"]'


def test_a_key_of_several_columns_never_passes_through() -> None:
    """Its id is the hash of the array, also where every column alone would be an id."""
    assert point_ids([(1, CANONICAL)], NAMESPACE) == [str(uuid.uuid5(NAMESPACE, f'[1,"{CANONICAL}"]'))]


@CHEAP
@given(data=st.data())
def test_no_two_keys_share_an_id(data: st.DataObject) -> None:
    """Of two different tuples of the same column types neither the text nor the id is the same."""
    columns = data.draw(st.lists(st.sampled_from(COLUMN_TYPES), min_size=1, max_size=3))
    tuples = st.tuples(*(values for _, values in columns))
    rows = data.draw(st.lists(tuples, min_size=2, max_size=6, unique=True))
    values = [key_values(pa.array([row[i] for row in rows], kind)) for i, (kind, _) in enumerate(columns)]
    keys = list(zip(*values, strict=True))
    assert len({key_text(key) for key in keys}) == len(rows)
    assert len(set(point_ids(keys, NAMESPACE))) == len(rows)


@CHEAP
@given(data=st.data())
def test_neighbours_do_not_change_an_id(data: st.DataObject) -> None:
    """An id is a function of the key alone, not of the rows around it or of the slice it came in."""
    kind, values = data.draw(st.sampled_from(COLUMN_TYPES))
    rows = data.draw(st.lists(values, min_size=1, max_size=6))
    together = point_ids([(v,) for v in key_values(pa.array([rows[0], *rows], kind).slice(1))], NAMESPACE)
    assert together == [id_of(row, kind) for row in rows]


def test_a_null_stays_one() -> None:
    """Nulls come out as None for whoever refuses them, whatever the type."""
    assert [key_values(pa.array([None], kind)) for kind, _ in COLUMN_TYPES] == [[None]] * len(COLUMN_TYPES)
