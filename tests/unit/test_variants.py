"""The value inside a variant plays a part as if its column had that value's type, or the row is bad, with the part and
what the variant holds."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink.payload_types import VARIANT
from spark_vector_sink.rows.column_roles import Part
from spark_vector_sink.rows.variants import read


def variant(text: str | None, kind: str | None = None) -> pa.Array:
    return pa.array([None if text is None else (text, kind)], VARIANT)


def value(part: Part, text: str | None, kind: str | None = None) -> Any:
    array, misplaced = read(variant(text, kind), part)
    assert misplaced == {}
    return array[0].as_py()


def refusal(part: Part, text: str, kind: str | None = None) -> str:
    array, misplaced = read(variant(text, kind), part)
    assert array.to_pylist() == [None]
    return misplaced[0]


@pytest.mark.parametrize(
    ("part", "text", "kind", "expected"),
    [
        (Part.TEXT, '"a \\u00fc"', None, "a ü"),
        (Part.OPERATION, '"delete"', None, "delete"),
        (Part.KEY, '"7"', None, '"7"'),
        (Part.KEY, "7", None, "7"),
        (Part.KEY, "true", None, "true"),
        (Part.KEY, "18446744073709551615", "decimal", "18446744073709551615"),
        (Part.KEY, "1.50", "decimal", '"1.50"'),
        (Part.KEY, '"2024-02-29"', "date", '"2024-02-29"'),
        (Part.KEY, '"2024-02-29 12:30:00+00:00"', "timestamp", '"2024-02-29T12:30:00.000000Z"'),
        (Part.KEY, '"2024-02-29 12:30:00"', "timestamp_ntz", '"2024-02-29T12:30:00.000000"'),
        (Part.SHARD_KEY, '"eu"', None, '"eu"'),
        (Part.SHARD_KEY, "5", None, "5"),
        (Part.VERSION, "5", None, 5),
        (Part.VERSION, "5", "decimal", 5),
        (Part.VERSION, '"1970-01-02"', "date", 86_400_000_000),
        (Part.VERSION, '"1970-01-01 00:00:01+00:00"', "timestamp", 1_000_000),
        (Part.VECTOR, "[1, 2.5, null]", None, [1.0, 2.5, None]),
    ],
)
def test_the_value_inside_plays_the_part(part: Part, text: str, kind: str | None, expected: Any) -> None:
    """Keys and shard keys, which may be of several types in one column, are JSON text; the others of their own type."""
    assert value(part, text, kind) == expected


@pytest.mark.parametrize("part", list(Part))
def test_a_null_inside_is_a_null(part: Part) -> None:
    """A variant's own null, and a null instead of a variant."""
    assert (value(part, "null"), value(part, None)) == (None, None)


@pytest.mark.parametrize(
    ("part", "text", "kind", "holds"),
    [
        (Part.TEXT, "5", None, "the integer 5, and must hold a string"),
        (Part.TEXT, "true", None, "the boolean true, and must hold a string"),
        (Part.TEXT, '{"a": 1}', None, "an object, and must hold a string"),
        (Part.TEXT, '"2024-02-29"', "date", 'the date "2024-02-29", and must hold a string'),
        (Part.TEXT, '"aGk="', "binary", 'the binary "aGk=", and must hold a string'),
        (Part.OPERATION, "[]", None, "an array, and must hold a string"),
        (
            Part.KEY,
            "[1]",
            None,
            "an array, and must hold a string, an integer, a decimal, a boolean, a date or a timestamp",
        ),
        (
            Part.KEY,
            "1.5",
            "double",
            "the double 1.5, and must hold a string, an integer, a decimal, a boolean, a date or a timestamp",
        ),
        (Part.SHARD_KEY, "1.5", "decimal", "the decimal 1.5, and must hold a string or an integer"),
        (Part.VERSION, '"5"', None, "a string, and must hold an integer, a date or a timestamp"),
        (Part.VECTOR, '{"a": 1}', None, "an object, and must hold an array of numbers"),
        (Part.TEXT, "?", "unknown", "a value of a type that Spark does not hand to Python, and must hold a string"),
    ],
)
def test_another_value_is_refused_by_name(part: Part, text: str, kind: str | None, holds: str) -> None:
    """What the variant holds, and what it must hold."""
    assert refusal(part, text, kind) == f"is a variant that holds {holds}"


@pytest.mark.parametrize(
    ("part", "text", "kind"),
    [
        (Part.VECTOR, '[1, "2"]', None),
        (Part.VECTOR, "[true]", None),
        (Part.VERSION, "1.5", "decimal"),
        (Part.VERSION, str(2**53), None),
        (Part.TEXT, '"\\ud800"', None),
        (Part.VECTOR, "[1" + "0" * 400 + "]", None),
    ],
    ids=[
        "a text in a vector",
        "a boolean in a vector",
        "no whole version",
        "too great a version",
        "half a character",
        "no double",
    ],
)
def test_a_value_of_the_right_kind_may_still_be_none(part: Part, text: str, kind: str | None) -> None:
    """Refused with a reason, never as an error of its own."""
    assert refusal(part, text, kind)


def test_json_text_alone_is_as_good() -> None:
    """What JSON has a word for needs no kind beside it."""
    array, misplaced = read(pa.array(['"a"', "1", "null", None, "{}"]), Part.KEY)
    assert [json.loads(one) if one else one for one in array.to_pylist()] == ["a", 1, None, None, None]
    assert list(misplaced) == [4]
