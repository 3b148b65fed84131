"""Filters: what a point must be, should be and must not be. What is not here is UNIMPLEMENTED, with its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from tests.fake_qdrant.payload import at, steps
from tests.fake_qdrant.points import Point
from tests.fake_qdrant.values import Message, PointKey, invalid, key_of, unimplemented

Judge: TypeAlias = Callable[[PointKey, Point], bool]


def chosen(given: Message, points: dict[PointKey, Point]) -> list[PointKey]:
    """The points that match the filter, in no order."""
    fits, named = judge_of(given), _named(given)
    keys = points if named is None else named & points.keys()
    return [key for key in keys if fits(key, points[key])]


def judge_of(given: Message) -> Judge:
    """Says of a point whether it matches; a filter without conditions takes everything."""
    must, should, must_not, least = (
        _judges(part) for part in (given.must, given.should, given.must_not, given.min_should.conditions)
    )

    def fits(key: PointKey, point: Point) -> bool:
        return (
            all(judge(key, point) for judge in must)
            and not any(judge(key, point) for judge in must_not)
            and (not should or any(judge(key, point) for judge in should))
            and (not least or sum(judge(key, point) for judge in least) >= given.min_should.min_count)
        )

    return fits


def _named(given: Message) -> set[PointKey] | None:
    """Ids that a match must be among, where the filter names them; None where it may be any point. It only saves
    looking at all of them."""
    found = [ids for condition in given.must if (ids := _named_by(condition)) is not None]
    either = [_named_by(condition) for condition in given.should]
    if either and None not in either:
        found.append(set().union(*(ids for ids in either if ids is not None)))
    return set.intersection(*found) if found else None


def _named_by(condition: Message) -> set[PointKey] | None:
    kind = condition.WhichOneof("condition_one_of")
    if kind == "has_id":
        return set(map(key_of, condition.has_id.has_id))
    return _named(condition.filter) if kind == "filter" else None


def _judges(conditions: Iterable[Message]) -> list[Judge]:
    return [_condition(condition) for condition in conditions]


def _condition(condition: Message) -> Judge:
    kind = condition.WhichOneof("condition_one_of")
    if kind == "filter":
        return judge_of(condition.filter)
    if kind == "has_id":
        keys = set(map(key_of, condition.has_id.has_id))
        return lambda key, point: key in keys
    if kind == "has_vector":
        name = condition.has_vector.has_vector
        return lambda key, point: name in point.vectors
    if kind == "is_empty":
        return _of_value(condition.is_empty.key, _is_empty)
    if kind == "is_null":
        return _of_value(condition.is_null.key, _is_null)
    if kind == "field":
        return _field(condition.field)
    raise unimplemented(f"condition {kind}")  # a real server takes one that it does not know as matching everything


def _field(condition: Message) -> Judge:
    """Of several kinds in one condition, one is enough."""
    tests: list[Callable[[Message | None], bool]] = []
    for descriptor, given in condition.ListFields():
        if descriptor.name == "match":
            tests.append(_match(given))
        elif descriptor.name == "range":
            tests.append(_range(given))
        elif descriptor.name in ("is_empty", "is_null"):
            test = _is_empty if descriptor.name == "is_empty" else _is_null
            tests.append(lambda value, test=test, given=given: test(value) == given)  # type: ignore[misc]
        elif descriptor.name != "key":
            raise unimplemented(f"field condition {descriptor.name}")
    if not tests:
        raise unimplemented("field condition without a test")
    return _of_value(condition.key, lambda value: any(test(value) for test in tests))


def _of_value(path: str, test: Callable[[Message | None], bool]) -> Judge:
    way = steps(path)
    return lambda key, point: test(at(point.payload.payload, way))


def _items(value: Message | None) -> list[Message]:
    """A list's items, or the value itself; of nothing and of null none."""
    kind = value.WhichOneof("kind") if value is not None else None
    if value is None or kind in (None, "null_value"):
        return []
    return list(value.list_value.values) if kind == "list_value" else [value]


def _is_empty(value: Message | None) -> bool:
    """Not there, null, or a list of nothing."""
    return not _items(value)


def _is_null(value: Message | None) -> bool:
    """Null, or a list with a null in it; what is not there is not null."""
    if value is None:
        return False
    parts = value.list_value.values if value.HasField("list_value") else [value]
    return any(part.WhichOneof("kind") in (None, "null_value") for part in parts)


def _match(given: Message) -> Callable[[Message | None], bool]:
    kind = given.WhichOneof("match_value")
    if kind is None:
        raise invalid("Malformed Match condition")
    fields = {
        "keyword": "string_value",
        "keywords": "string_value",
        "except_keywords": "string_value",
        "integer": "integer_value",
        "integers": "integer_value",
        "except_integers": "integer_value",
        "boolean": "bool_value",
    }
    if kind not in fields:
        raise unimplemented(f"match {kind}")
    field, sought = fields[kind], getattr(given, kind)
    wanted = (
        {sought}
        if kind in ("keyword", "integer", "boolean")
        else set(sought.strings if "keyword" in kind else sought.integers)
    )
    unwanted = kind.startswith("except")

    def test(value: Message | None) -> bool:
        return any(
            (item.WhichOneof("kind") == field and getattr(item, field) in wanted) != unwanted for item in _items(value)
        )

    return test


def _range(given: Message) -> Callable[[Message | None], bool]:
    """Numbers alone, all as float64: 2**53 + 1 is not greater than 2**53."""

    def within(number: float) -> bool:
        return (
            (not given.HasField("lt") or number < given.lt)
            and (not given.HasField("gt") or number > given.gt)
            and (not given.HasField("lte") or number <= given.lte)
            and (not given.HasField("gte") or number >= given.gte)
        )

    numbers = ("integer_value", "double_value")
    return lambda value: any(
        kind in numbers and within(float(getattr(item, kind)))
        for item in _items(value)
        if (kind := item.WhichOneof("kind"))
    )
