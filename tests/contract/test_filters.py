"""Searches among the points that match a filter, in Qdrant's own JSON: the same answers from every store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink import search
from spark_vector_sink.errors import CollectionError, OptionError
from tests.jobs import Place, place, vectors

__all__ = ["place"]

CITIES = ["Oslo", "Rome", None, "Oslo", "Lima"]
YEARS = [2019, 2020, 2021, 2022, 2023]
NESTED: list[Any] = [[{"a": 1, "b": 2}], [{"a": 1, "b": 3}, {"a": 2, "b": 2}], None, [], None]
POINTS: list[Any] = [{"lon": 10.7, "lat": 59.9}, {"lon": 12.5, "lat": 41.9}, None, None, {"lon": -77.0, "lat": -12.0}]
EUROPE = [
    {"lon": -10.0, "lat": 35.0},
    {"lon": 30.0, "lat": 35.0},
    {"lon": 30.0, "lat": 70.0},
    {"lon": -10.0, "lat": 70.0},
    {"lon": -10.0, "lat": 35.0},
]
DAYS = [f"2024-0{month}-01T12:00:00Z" for month in range(1, 6)]


def written(place: Place) -> None:
    columns = {
        "city": CITIES,
        "year": YEARS,
        "good": [True, False, True, None, False],
        "tags": [["x"], ["x", "y"], [], None, ["z"]],
        "day": DAYS,
    }
    place.write(
        vectors(5, **columns, parts=pa.array(NESTED), at=pa.array(POINTS)), payload_indexes="city:keyword, year:integer"
    )


def field(key: str, **test: Any) -> dict[str, Any]:
    return {"must": [{"key": key, **test}]}


EVERYWHERE: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [0, 1, 2, 3, 4]),
    (field("city", match={"value": "Oslo"}), [0, 3]),
    (field("year", match={"value": 2021}), [2]),
    (field("good", match={"value": False}), [1, 4]),
    (field("city", match={"any": ["Rome", "Lima"]}), [1, 4]),
    (field("city", match={"except": ["Rome", "Lima"]}), [0, 3]),
    (field("year", match={"any": [2019, 2023]}), [0, 4]),
    (field("tags", match={"value": "x"}), [0, 1]),
    (field("year", range={"gt": 2019, "lte": 2021.5}), [1, 2]),
    (field("year", range={"gte": 2020, "lt": 2022}), [1, 2]),
    (field("city", is_empty=True), [2]),
    (field("city", is_null=False), [0, 1, 3, 4]),
    ({"must": {"is_empty": {"key": "tags"}}}, [2, 3]),
    ({"must": [{"is_null": {"key": "tags"}}]}, [3]),
    ({"must": [{"has_id": [4, 1, 9]}]}, [1, 4]),
    ({"must_not": [{"key": "city", "match": {"value": "Oslo"}}, {"key": "year", "range": {"gt": 2022}}]}, [1, 2]),
    (
        {
            "should": [
                {"key": "city", "match": {"value": "Lima"}},
                {"must": [{"key": "good", "match": {"value": True}}]},
            ]
        },
        [0, 2, 4],
    ),
    (
        {
            "min_should": {
                "conditions": [field("city", match={"value": "Oslo"}), field("year", range={"lt": 2021})],
                "min_count": 2,
            }
        },
        [0],
    ),
]
"""Filters, and the ids that match, nearest first"""

OF_REAL_ONES: list[tuple[dict[str, Any], list[int]]] = [
    (field("day", range={"gte": "2024-02-15T00:00:00Z", "lt": "2024-05-01T00:00:00+00:00"}), [2, 3]),
    (field("tags", values_count={"gte": 2}), [1]),
    (field("city", match={"text": "Rome"}), [1]),
    (field("at", geo_radius={"center": {"lon": 12.4, "lat": 41.8}, "radius": 50_000}), [1]),
    (field("at", geo_bounding_box={"top_left": {"lon": -80, "lat": 0}, "bottom_right": {"lon": -70, "lat": -20}}), [4]),
    (field("at", geo_polygon={"exterior": {"points": EUROPE}}), [0, 1]),
    (
        {
            "must": [
                {
                    "nested": {
                        "key": "parts",
                        "filter": {"must": [{"key": "a", "match": {"value": 1}}, {"key": "b", "match": {"value": 2}}]},
                    }
                }
            ]
        },
        [0],
    ),
    ({"must": [{"slice": {"total": 1, "index": 0}}]}, [0, 1, 2, 3, 4]),
    ({"must": [{"has_vector": "body"}]}, []),
]
"""What the server of the tests does not know"""


def test_a_search_among_some(place: Place) -> None:
    """Only points that match are found, and as many as were asked for where there are so many."""
    written(place)
    for asked, ids in EVERYWHERE:
        assert [hit.id for hit in place.nearest([1.0, 0.0, 0.0, 0.0], among=asked)] == ids, asked
    assert [hit.id for hit in place.nearest([0.0, 1.0, 0.0, 0.0], 1, among=field("city", match={"value": "Oslo"}))] == [
        3
    ]


@pytest.mark.parametrize("place", ["embedded", pytest.param("real", marks=pytest.mark.qdrant)], indirect=True)
def test_every_kind_of_condition(place: Place) -> None:
    """An embedded store knows all that a server knows: times, counts, places, parts of texts, nested objects."""
    written(place)
    for asked, ids in OF_REAL_ONES:
        assert [hit.id for hit in place.nearest([1.0, 0.0, 0.0, 0.0], among=asked)] == ids, asked


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"musst": []}, "none of Qdrant's: musst: []"),
        ({"key": "city"}, "none of Qdrant's: key: 'city'"),
        ({"must": [{"key": "city"}]}, "none of Qdrant's: {'key': 'city'} does not say what 'city' must be"),
        (
            {"should": [{"nested": {"key": "a", "filter": {"must_not": {"key": "b"}}}}]},
            "{'key': 'b'} does not say what 'b' must be",
        ),
        (
            {"must": [{"key": "city"}, {"ky": "city", "match": {"value": 1}}]},
            "must.1: {'ky': 'city', 'match': {'value': 1}}",
        ),
        ({"must": [{"key": "year", "match": {"value": 1.5}}]}, "must.0.match.value: 1.5"),
        ({"must": [{"key": "year", "range": {"above": 3}}]}, "must.0.range: {'above': 3}|must.0.range.above: 3"),
    ],
)
def test_a_filter_that_is_none(tmp_path: Path, asked: dict[str, Any], shown: str) -> None:
    """Is refused before the store is looked for, in one line that shows the wrong part, and how it is written."""
    with pytest.raises(OptionError) as refused:
        search(str(tmp_path / "nothing"), "a question", filter=asked)
    line = str(refused.value)
    assert any(part in line for part in shown.split("|")), line
    assert line.endswith(
        'write it as in {"must": [{"key": "city", "match": {"value": "Oslo"}}, {"key": "year", "range": '
        '{"gte": 2020}}]}'
    )


@pytest.mark.parametrize(
    "asked",
    [field("year", match={"value": 2**63}), field("tags", values_count={"gte": -1}), {"must": [{"has_id": [-1]}]}],
)
def test_a_number_that_cannot_be_sent(tmp_path: Path, asked: dict[str, Any]) -> None:
    """One that is beyond 64 bits, or below zero where things are counted: an error of ours too, whichever the store."""
    with pytest.raises(OptionError, match=r"^the filter cannot be sent: Value out of range: .*; write it as in "):
        search(str(tmp_path / "nothing"), "a question", filter=asked)


def test_a_filter_that_the_store_cannot_take(place: Place) -> None:
    """A name that is no path of a payload: an error of ours, in one line, and never an answer."""
    written(place)
    with pytest.raises(CollectionError) as refused:
        place.nearest([1.0, 0.0, 0.0, 0.0], among=field("a b[", match={"value": "x"}))
    assert "\n" not in str(refused.value)
