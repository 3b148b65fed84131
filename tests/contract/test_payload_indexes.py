"""Indexes that cannot hold what is written, on every store: refused before the job, or counted at its end."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink.errors import OptionError
from spark_vector_sink.payload_types import JSON_MARK
from tests.jobs import Place, place, vectors

__all__ = ["place"]

PRICES = pa.array([Decimal("12.50"), Decimal("7.00"), None], pa.decimal128(10, 2))


def test_an_index_that_can_hold_nothing_is_refused(place: Place) -> None:
    """Before the job, and nothing is made; cast as it says, the column is taken."""
    rows = vectors(3, price=PRICES)
    with pytest.raises(
        OptionError,
        match=r"asks for price:float, an index that would hold nothing: .* write cast\(price as double\); or .* "
        r"price:keyword",
    ):
        place.write(rows, payload_indexes="price:float")
    assert "create the collection" in (plan := str(place.check(rows))) or "create the embedded store" in plan
    assert place.write(vectors(3, price=PRICES.cast(pa.float64())), payload_indexes="price:float").unindexed == {}


def test_values_that_are_in_no_index_are_counted(place: Place) -> None:
    """Over all tasks, and said at the end; nulls, and columns whose index holds each value, are not."""
    variant = pa.field("any", pa.string(), metadata=JSON_MARK)
    tables = []
    for start, days, values in (
        (0, ["2024-02-29", "tomorrow", None], ["7", '"x"', "null"]),
        (10, ["soon", "", "2024-02-29T12:30:00Z"], ["0.5", "1.0", "[1]"]),
    ):
        tables.append(vectors(3, start=start, day=days, n=[1, 2, 3]).append_column(variant, pa.array(values)))
    report = place.write(*tables, payload_indexes="day:datetime, any:integer, n:integer")
    assert (report.points, report.unindexed) == (6, {"day:datetime": 3, "any:integer": 2})
    assert [warning for warning in report.warnings if "payload index" in warning] == [
        "the payload index day:datetime lacks values of 3 of the 6 points written: it takes a date or time as Qdrant "
        "reads it, such as 2024-02-29T12:30:00Z, and what "
        "they have at day is not; they are stored, and filters on it do not find them",
        "the payload index any:integer lacks values of 2 of the 6 points written: it takes a whole number, and what "
        "they have at any is not; they are stored, and filters "
        "on it do not find them",
    ]


def test_an_index_that_is_there_counts_too(place: Place) -> None:
    """Though the job does not name it: the plan warns where it can hold nothing, the report counts where values
    decide."""
    place.write(vectors(1, day=["2024-02-29"], price=[1.5]), payload_indexes="day:datetime, price:float")
    rows = vectors(2, start=5, day=["2024-02-29", "x"], price=PRICES[:2])
    (said,) = [warning for warning in place.check(rows).warnings if "payload index" in warning]
    assert (
        "has the payload index price:float, which will hold nothing of what this job writes: price is a decimal, "
        "stored as text; write cast(price" in said
    )
    assert place.write(rows).unindexed == {"day:datetime": 1}


def test_what_is_not_written_is_not_counted(place: Place, tmp_path: Path) -> None:
    """Of a row that is rejected, or that another of the same key takes the place of, no point is written."""
    rows = pa.table(
        {
            "id": [1, 1, 2],
            "v": pa.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0.0, 0, 0, 0]], pa.list_(pa.float32())),
            "day": ["x", "2024-02-29", "x"],
        }
    )
    report = place.write(rows, dimension=4, payload_indexes="day:datetime", rejects_path=str(tmp_path / "rejects"))
    assert (report.points, report.rejected, report.superseded, report.unindexed) == (1, 1, 1, {})


MOMENT = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)
TENANTS: list[tuple[pa.Array, str, Any, dict[str, Any]]] = [
    (pa.array(["x", "y", "y"]), "tenant", "y", {"value": "y"}),
    (pa.array([7, -1, -1], pa.int32()), "integer_tenant", -1, {"value": -1}),
    (pa.array([Decimal(7), Decimal(8), Decimal(8)], pa.decimal128(9, 0)), "integer_tenant", 8, {"value": 8}),
    (
        pa.array([Decimal("7.5"), Decimal("8.5"), Decimal("8.5")], pa.decimal128(9, 1)),
        "tenant",
        "8.5",
        {"value": "8.5"},
    ),
    (pa.array([True, False, False]), "bool", False, {"value": False}),
    (
        pa.array([datetime.date(2024, 1, 1), MOMENT.date(), MOMENT.date()]),
        "tenant",
        "2024-02-29",
        {"value": "2024-02-29"},
    ),
    (
        pa.array([None, MOMENT, MOMENT], pa.timestamp("us", "UTC")).fill_null(MOMENT.replace(year=2020)),
        "tenant",
        "2024-02-29T12:30:00.000000Z",
        {"value": "2024-02-29T12:30:00.000000Z"},
    ),
]


@pytest.mark.parametrize(("tenants", "made", "stored", "match"), TENANTS, ids=[f"{kind.type}" for kind, *_ in TENANTS])
def test_a_tenant_of_any_type_is_indexed(
    place: Place, tenants: pa.Array, made: str, stored: Any, match: dict[str, Any]
) -> None:
    """By an index that holds what it is stored as, and a filter finds its documents; the next job finds the index
    there."""
    rows = vectors(3, t=tenants)
    assert f"create the payload index t:{made}" in str(place.check(rows, tenant_column="t"))
    report = place.write(rows, tenant_column="t")
    assert (report.unindexed, report.warnings) == ({}, [])
    found = place.nearest([1.0, 0.0, 0.0, 0.0], among={"must": [{"key": "t", "match": match}]})
    assert [hit.payload["t"] for hit in found] == [stored, stored]
    again = place.check(rows, tenant_column="t")
    assert not again.problems
    assert "create the payload index" not in str(again)
