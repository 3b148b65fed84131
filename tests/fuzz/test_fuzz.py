"""A part of the campaign in every run of the tests; and the judge itself, which must find what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from spark_vector_sink.encode import loader
from tests.fuzz.__main__ import Tally
from tests.fuzz.arenas import Arena, Found, Points
from tests.fuzz.case import STORES, Case, Column
from tests.fuzz.corpus import PAST, Past
from tests.fuzz.draw import draw_case, sweep
from tests.fuzz.judge import compare, judge, same
from tests.fuzz.oracle import expect
from tests.fuzz.shrink import shrink

pytest.importorskip("qdrant_edge")

CASES = {"embedded": 30, "fake": 30, "real": 20}
SEED = 20_240_229


@pytest.fixture(
    scope="module",
    params=[pytest.param(store, marks=pytest.mark.qdrant if store == "real" else ()) for store in STORES],
)
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """Each store in turn."""
    server = request.getfixturevalue("qdrant_server") if request.param == "real" else None
    with Arena(request.param, server) as made:
        yield made
    loader.unload()


@pytest.mark.parametrize("past", PAST, ids=lambda past: past.sentence)
def test_what_was_found_before(arena: Arena, past: Past) -> None:
    """Stays mended."""
    assert judge(past.on(arena.kind), arena).surprises == []


def test_each_value_of_each_option(arena: Arena) -> None:
    """A right one is taken, a wrong one refused by the option's name, in one line."""
    assert _surprises(arena, list(sweep(arena.kind))[:: 3 if arena.kind == "embedded" else 7]) == {}


def test_random_jobs(arena: Arena) -> None:
    """Each row is stored exactly or refused by name, and most are stored."""
    tally = Tally()
    cases = [draw_case(SEED, number, arena.kind) for number in range(CASES[arena.kind])]
    assert _surprises(arena, cases, tally) == {}
    assert tally.stored > tally.rows / 2, tally


def _surprises(arena: Arena, cases: list[Case], tally: Tally | None = None) -> dict[str, list[str]]:
    """What surprises, by the command that repeats it."""
    found = {}
    for case in cases:
        outcome = judge(case, arena)
        if tally is not None:
            tally.add(outcome)
        if outcome.surprises:
            found[case.origin] = outcome.surprises
    return found


# --- the judge --------------------------------------------------------------------------------------------------------

CASE = Case(
    [
        Column("id", pa.int64(), [1, 2]),
        Column("v", pa.list_(pa.float32(), 2), [[1.0, 0.5], [0.0, 2.0]]),
        Column("n", pa.int64(), [2**53 + 1, None]),
        Column("x", pa.list_(pa.float64()), [[0.1, -0.0], []]),
    ],
    {"vector_column": "v", "distance": "dot"},
    store="fake",
)


@pytest.fixture
def points() -> Points:
    """What a store must hold after CASE, written by hand."""
    return {
        1: Found({"id": 1, "n": 2**53 + 1, "x": [0.1, -0.0]}, {"": np.array([1.0, 0.5], np.float32)}),
        2: Found({"id": 2, "n": None, "x": []}, {"": np.array([0.0, 2.0], np.float32)}),
    }


def found(points: Points) -> list[str]:
    return list(compare(expect(CASE, CASE.options), points))


def test_what_is_right_is_right(points: Points) -> None:
    """The oracle and a hand agree."""
    assert found(points) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", float(2**53 + 1)),
        ("n", 2**53),
        ("n", str(2**53 + 1)),
        ("x", [0.1, 0.0]),
        ("x", [0.1]),
        ("x", [np.nextafter(0.1, 1).item(), -0.0]),
        ("id", True),
        ("new", 1),
    ],
)
def test_a_changed_value_is_found(points: Points, name: str, value: Any) -> None:
    """In its type, its last bit or its sign."""
    points[1].payload[name] = value
    assert [f"point 1: payload {name!r}" in surprise for surprise in found(points)] == [True]


def test_a_value_that_is_gone_is_found(points: Points) -> None:
    """A null is a value."""
    del points[2].payload["n"]
    assert found(points) == ["point 2: payload 'n' is missing; it must be None"]


def test_a_changed_vector_is_found(points: Points) -> None:
    """In one bit, or under another name."""
    points[1].vectors[""][1] = np.nextafter(np.float32(0.5), np.float32(1))
    points[2] = replace(points[2], vectors={"other": points[2].vectors[""]})
    assert len(found(points)) == 2


def test_a_lost_point_is_found(points: Points) -> None:
    """By its id."""
    del points[2]
    assert found(points) == ["1 of 2 points are not there, such as 2"]


def test_an_extra_point_is_found(points: Points) -> None:
    """By its id."""
    points["00000000-0000-0000-0000-000000000000"] = points[1]
    assert found(points) == ["1 points are there that no row makes, such as '00000000-0000-0000-0000-000000000000'"]


def test_two_points_that_were_swapped_are_found(points: Points) -> None:
    """Both of them."""
    assert len(found({1: points[2], 2: points[1]})) == 2


@pytest.mark.parametrize(("name", "value"), [("n", pa.float64()), ("x", pa.month_day_nano_interval())])
def test_a_refusal_without_a_reason_is_found(monkeypatch: pytest.MonkeyPatch, name: str, value: pa.DataType) -> None:
    """And one with a reason that does not name it."""
    from spark_vector_sink.errors import SchemaError

    def refuse(*_: Any) -> None:
        raise SchemaError("???")

    monkeypatch.setattr("spark_vector_sink.driver.plan.plan", refuse)
    with Arena("embedded") as arena:
        assert judge(CASE, arena).surprises == ["refused, though nothing is wrong: ???"]
        wrong = replace(
            CASE,
            columns=[
                replace(column, kind=value, values=[None, None]) if column.name == name else column
                for column in CASE.columns
            ],
        )
        wrong = replace(wrong, options={**CASE.options, "id_column": "n"}) if name == "n" else wrong
        assert judge(wrong, arena).surprises == [f"the refusal does not name ('{name}',): ???"]


@pytest.mark.parametrize("error", [ValueError("two\nlines"), KeyError("x"), RecursionError()])
def test_any_other_error_is_found(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Whatever it is, it ends the job and not the campaign."""

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("spark_vector_sink.task.partition_writer.write_partition", fail)
    with Arena("embedded") as arena:
        (surprise,) = judge(CASE, arena).surprises
    assert surprise.startswith(f"{type(error).__name__} at test_fuzz.py:")


def test_a_case_is_the_same_each_time() -> None:
    """Its seed and number tell all of it."""
    for number in range(20):
        assert repr(draw_case(7, number, "fake")) == repr(draw_case(7, number, "fake"))


def test_a_case_is_made_smaller() -> None:
    """Down to the row, the column and the option that it is about."""
    case = replace(draw_case(1, 9, "fake"), options={"a": 1, "b": 2})
    about = case.columns[-1]
    smaller = shrink(
        case,
        lambda it: "b" in it.options and it.rows > 0 and any(column.name == about.name for column in it.columns),
        most=2000,
    )
    assert (smaller.rows, [column.name for column in smaller.columns], smaller.options) == (1, [about.name], {"b": 2})


def test_values_are_compared_with_their_types() -> None:
    """True is not 1, 1 is not 1.0, and 0.0 is not -0.0."""
    assert not any(
        same(*pair)
        for pair in [(True, 1), (1, 1.0), (0.0, -0.0), ([1], [1.0]), ({"a": 1}, {"a": 1, "b": 2}), ("1", 1), (None, 0)]
    )
    assert same({"a": [0.1, None, "x"]}, {"a": [0.1, None, "x"]})
    assert same(1.0, np.nextafter(1.0, 2).item(), ulps=1)
    assert not same(1.0, np.nextafter(1.0, 2).item())
