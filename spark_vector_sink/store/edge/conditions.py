"""Convert a checked filter in Qdrant's JSON to Qdrant Edge's own objects, part by part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from spark_vector_sink.errors import CollectionError, shorten
from spark_vector_sink.store.search_query import Filter

_MATCHES = {
    "value": "MatchValue",
    "text": "MatchText",
    "text_any": "MatchTextAny",
    "phrase": "MatchPhrase",
    "prefix": "MatchPrefix",
    "substring": "MatchSubstring",
    "any": "MatchAny",
    "except": "MatchExcept",
}


def filter_of(edge: Any, asked: Filter) -> Any:
    """Convert the filter to objects of the module `edge` (Qdrant Edge); raise CollectionError where Qdrant Edge does
    not accept it, e.g. a key that is not a path of Qdrant's."""
    try:
        return _filter(edge, asked)
    except (ValueError, TypeError, OverflowError) as error:
        raise CollectionError(
            f"an embedded store cannot be searched with this filter: {shorten(str(error), 200)}; correct its "
            "key or value"
        ) from None


def _filter(edge: Any, asked: Mapping[str, Any]) -> Any:
    def conditions(given: Any) -> list[Any]:
        return [_condition(edge, one) for one in (given if isinstance(given, list) else [given])]

    parts = {name: conditions(asked[name]) for name in ("must", "should", "must_not") if name in asked}
    least = asked.get("min_should")
    return edge.Filter(
        **parts, min_should=edge.MinShould(conditions(least["conditions"]), least["min_count"]) if least else None
    )


def _condition(edge: Any, asked: Mapping[str, Any]) -> Any:
    if "key" in asked:
        tests = {
            name: _TESTS[name](edge, value) if name in _TESTS else value
            for name, value in asked.items()
            if name != "key"
        }
        return edge.FieldCondition(asked["key"], **tests)
    kinds: dict[str, Callable[[Any], Any]] = {
        "is_empty": lambda of: edge.IsEmptyCondition(of["key"]),
        "is_null": lambda of: edge.IsNullCondition(of["key"]),
        "has_id": lambda ids: edge.HasIdCondition(set(ids)),
        "has_vector": edge.HasVectorCondition,
        "slice": lambda of: edge.SliceCondition(**of),
        "nested": lambda of: edge.NestedCondition(of["key"], _filter(edge, of["filter"])),
    }
    made = [kinds[name](value) for name, value in asked.items() if name in kinds]
    return made[0] if made else _filter(edge, asked)


def _match(edge: Any, asked: Mapping[str, Any]) -> Any:
    ((kind, value),) = asked.items()
    # Qdrant Edge takes Python's own bool for an integer
    return getattr(edge, _MATCHES[kind])(np.bool_(value) if isinstance(value, bool) else value)


def _range(edge: Any, asked: Mapping[str, Any]) -> Any:
    are_times = any(isinstance(bound, str) for bound in asked.values())
    return (edge.RangeDateTime if are_times else edge.RangeFloat)(**asked)


def _line(edge: Any, asked: Mapping[str, Any]) -> list[Any]:
    return [edge.GeoPoint(**point) for point in asked["points"]]


_TESTS: dict[str, Callable[[Any, Any], Any]] = {
    "match": _match,
    "range": _range,
    "values_count": lambda edge, asked: edge.ValuesCount(**asked),
    "geo_radius": lambda edge, asked: edge.GeoRadius(edge.GeoPoint(**asked["center"]), asked["radius"]),
    "geo_bounding_box": lambda edge, asked: edge.GeoBoundingBox(
        *(edge.GeoPoint(**asked[corner]) for corner in ("top_left", "bottom_right"))
    ),
    "geo_polygon": lambda edge, asked: edge.GeoPolygon(
        _line(edge, asked["exterior"]), [_line(edge, one) for one in asked.get("interiors") or ()]
    ),
}
