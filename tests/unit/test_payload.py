"""The mapping of types, row by row of its table, and against an independent reading of it."""

from __future__ import annotations

import base64
import json
import math
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as pat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_vector_sink import payload_types
from spark_vector_sink.payload_types import JSON_MARK
from spark_vector_sink.rows.payload import is_text, plain_field, to_plain, unmappable

UTC = timezone.utc
MOMENT = datetime(2024, 2, 29, 12, 30, 0, 5)

# One line for each row of the table in rows/payload.py, and for each Arrow type in it: type, value, value in the
# payload.
MAPPING: list[tuple[pa.DataType, Any, Any]] = [
    (pa.bool_(), True, True),
    (pa.string(), "ü\0", "ü\0"),
    (pa.large_string(), "x", "x"),
    (pa.int8(), -128, -128),
    (pa.int16(), -5, -5),
    (pa.int32(), 2**31 - 1, 2**31 - 1),
    (pa.int64(), -(2**63), -(2**63)),
    (pa.uint8(), 255, 255),
    (pa.uint64(), 2**63 - 1, 2**63 - 1),
    (pa.float32(), 0.5, 0.5),
    (pa.float64(), 1e300, 1e300),
    (pa.decimal128(18, 0), Decimal(10**18 - 1), 10**18 - 1),
    *((pa.decimal32(9, 0), Decimal(-1), -1) for _ in "x" if hasattr(pa, "decimal32")),
    (pa.decimal128(19, 0), Decimal("12"), "12"),
    (pa.decimal128(10, 2), Decimal("12.50"), "12.50"),
    (pa.decimal128(10, 8), Decimal("0.00000001"), "0.00000001"),
    (
        pa.decimal128(38, 10),
        Decimal("-1234567890123456789012345678.0000000001"),
        "-1234567890123456789012345678.0000000001",
    ),
    (pa.decimal128(5, -2), Decimal("1.2E+3"), "1200"),
    (pa.date32(), date(2024, 2, 29), "2024-02-29"),
    (pa.date32(), date(1, 1, 1), "0001-01-01"),
    (pa.timestamp("us", "UTC"), MOMENT.replace(tzinfo=UTC), "2024-02-29T12:30:00.000005Z"),
    (pa.timestamp("us", "America/New_York"), MOMENT.replace(tzinfo=UTC), "2024-02-29T12:30:00.000005Z"),
    (pa.timestamp("us", "UTC"), datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
    (pa.timestamp("us", "UTC"), datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "1969-12-31T23:59:59.999999Z"),
    (pa.timestamp("us"), MOMENT, "2024-02-29T12:30:00.000005"),
    (pa.time64("us"), time(12, 30, 0, 5), "12:30:00.000005"),
    (pa.time64("ns"), time(12, 30), "12:30:00.000000"),
    (pa.duration("us"), timedelta(days=-1, microseconds=1), -86_399_999_999),
    (pa.binary(), b"\x00\xff", "AP8="),
    (pa.large_binary(), b"", ""),
    (pa.binary(2), b"ab", "YWI="),
    (pa.list_(pa.int8()), [1, None, 3], [1, None, 3]),
    (pa.large_list(pa.date32()), [date(2024, 2, 29)], ["2024-02-29"]),
    (pa.list_(pa.float32(), 2), [0.5, None], [0.5, None]),
    (pa.struct([("a", pa.int8()), ("b", pa.binary())]), {"a": None, "b": b"ab"}, {"a": None, "b": "YWI="}),
    (pa.struct([]), {}, {}),
    (pa.map_(pa.string(), pa.date32()), {"ü": date(2024, 2, 29), "": None}, {"ü": "2024-02-29", "": None}),
    (pa.map_(pa.int32(), pa.bool_()), {-5: True, 7: None}, {"-5": True, "7": None}),
    (pa.dictionary(pa.int8(), pa.string()), "x", "x"),
]
NESTABLE = [case for case in MAPPING if not pat.is_dictionary(case[0])]


def stored(values: list[Any], kind: pa.DataType) -> list[Any]:
    """What a store makes of a column."""
    return stored_array(pa.array(_items(values, kind), kind))


def stored_array(array: pa.Array) -> list[Any]:
    field = pa.field("c", array.type)
    made = to_plain(array, field)
    assert made.type == plain_field(field).type
    made.validate(full=True)
    return payload_types.values(made, plain_field(field))


def _items(values: list[Any], kind: pa.DataType) -> list[Any]:
    return [list(value.items()) if pat.is_map(kind) and value is not None else value for value in values]


@pytest.mark.parametrize(("kind", "value", "expected"), MAPPING, ids=lambda case: str(case)[:40])
def test_a_type_has_its_mapping(kind: pa.DataType, value: Any, expected: Any) -> None:
    """Value and Python type as the table says, and a null stays a null."""
    made = stored([value, None], kind)
    assert made == [expected, None]
    assert type(made[0]) is type(expected)


def test_a_column_of_nothing_but_nulls_is_one() -> None:
    """Spark's void."""
    assert stored([None, None], pa.null()) == [None, None]


@pytest.mark.parametrize(("kind", "value", "expected"), MAPPING, ids=lambda case: str(case)[:40])
def test_a_slice_is_the_slice(kind: pa.DataType, value: Any, expected: Any) -> None:
    """Rows before and after do not show."""
    array = pa.array(_items([None, value, value, None, value], kind), kind)
    assert stored_array(array.slice(1, 3)) == [expected, expected, None]
    assert stored_array(array.slice(5)) == []


@pytest.mark.parametrize(("kind", "value", "expected"), NESTABLE, ids=lambda case: str(case)[:40])
def test_a_type_keeps_its_mapping_in_a_list(kind: pa.DataType, value: Any, expected: Any) -> None:
    """A list of it is the list of its values; null, empty and null within are three things."""
    (item,) = _items([value], kind)
    array = pa.array([[item], None, [], [item, None], [None]], pa.list_(kind))
    assert stored_array(array) == [[expected], None, [], [expected, None], [None]]
    assert stored_array(array.slice(1, 3)) == [None, [], [expected, None]]


@pytest.mark.parametrize(("kind", "value", "expected"), NESTABLE, ids=lambda case: str(case)[:40])
def test_a_type_keeps_its_mapping_in_a_struct(kind: pa.DataType, value: Any, expected: Any) -> None:
    """A struct with it is an object; a null struct is null, and not an object of nulls."""
    (item,) = _items([value], kind)
    array = pa.array([{"x": item}, None, {"x": None}, {"x": item}], pa.struct([("x", kind)]))
    assert stored_array(array) == [{"x": expected}, None, {"x": None}, {"x": expected}]
    assert stored_array(array.slice(1, 3)) == [None, {"x": None}, {"x": expected}]


@pytest.mark.parametrize(("kind", "value", "expected"), NESTABLE, ids=lambda case: str(case)[:40])
def test_a_type_keeps_its_mapping_in_a_map(kind: pa.DataType, value: Any, expected: Any) -> None:
    """A map to it is an object; null, empty and null within are three things."""
    (item,) = _items([value], kind)
    array = pa.array([[("k", item)], None, [], [("a", None), ("b", item)]], pa.map_(pa.string(), kind))
    assert stored_array(array) == [{"k": expected}, None, {}, {"a": None, "b": expected}]
    assert stored_array(array.slice(1, 3)) == [None, {}, {"a": None, "b": expected}]


def test_a_float_keeps_its_own_value() -> None:
    """float32 0.1 is not the double 0.1, and what is stored is what was there."""
    assert stored([0.1], pa.float32()) == [0.10000000149011612]


# --- what is refused --------------------------------------------------------------------------------------------------

BAD = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("width", [pa.float32(), pa.float64()], ids=str)
def test_a_number_that_is_not_finite_is_refused(bad: float, width: pa.DataType) -> None:
    """JSON has none; the message says which, and what to do."""
    with pytest.raises(ValueError, match=rf"^holds {bad}, which a payload cannot; make it null$"):
        stored([1.0, None, bad], width)


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize(
    ("kind", "wrap"),
    [
        (pa.list_(pa.float64()), lambda bad: [0.0, bad]),
        (pa.list_(pa.float32(), 2), lambda bad: [0.0, bad]),
        (pa.struct([("x", pa.float32())]), lambda bad: {"x": bad}),
        (pa.map_(pa.string(), pa.float64()), lambda bad: [("k", bad)]),
        (pa.list_(pa.struct([("x", pa.map_(pa.int8(), pa.list_(pa.float64())))])), lambda bad: [{"x": [(1, [bad])]}]),
    ],
    ids=["list", "fixed", "struct", "map", "deep"],
)
def test_a_number_that_is_not_finite_is_refused_anywhere(bad: float, kind: pa.DataType, wrap: Any) -> None:
    """However deep it lies."""
    with pytest.raises(ValueError, match="which a payload cannot"):
        to_plain(pa.array([wrap(bad)], kind), pa.field("c", kind))


def test_a_bad_number_outside_of_the_slice_is_not_seen() -> None:
    """Only the rows that are written count."""
    kind = pa.list_(pa.float64())
    assert stored_array(pa.array([[math.nan], [1.0], [math.inf]], kind).slice(1, 1)) == [[1.0]]


def test_a_bad_number_under_a_null_is_not_seen() -> None:
    """What a null struct hides is nobody's value."""
    hidden = pa.StructArray.from_arrays([pa.array([math.nan, 1.0])], ["x"], mask=pa.array([True, False]))
    assert stored_array(hidden) == [None, {"x": 1.0}]


def test_an_unsigned_integer_above_int64_is_refused() -> None:
    """A payload's integers have 64 bits with a sign."""
    with pytest.raises(ValueError, match="9223372036854775808"):
        stored([2**63], pa.uint64())


@pytest.mark.parametrize(
    "kind",
    [
        pa.month_day_nano_interval(),
        pa.map_(pa.date32(), pa.string()),
        pa.map_(pa.string(), pa.month_day_nano_interval()),
    ],
    ids=str,
)
def test_a_type_without_mapping_has_a_reason(kind: pa.DataType) -> None:
    """It is known before the job, from the type alone."""
    assert unmappable(pa.field("c", kind)) is not None
    assert unmappable(pa.field("c", pa.struct([("x", pa.list_(kind))]))) is not None


@pytest.mark.parametrize(("kind", "value", "expected"), MAPPING, ids=lambda case: str(case)[:40])
def test_a_type_with_mapping_has_none(kind: pa.DataType, value: Any, expected: Any) -> None:
    """Nothing of the table is refused."""
    assert unmappable(pa.field("c", kind)) is None


FAR = [
    (pa.date32(), 2_932_897),
    (pa.date32(), -719_163),
    (pa.date32(), 2**31 - 1),
    (pa.date64(), 2_932_897 * 86_400_000),
    *(
        (pa.timestamp(unit, zone), tick)
        for unit in ("s", "ms", "us")
        for zone in (None, "UTC", "Europe/Berlin")
        for tick in (2**63 - 1, -(2**63))
    ),
    (pa.timestamp("us"), 2_932_897 * 86_400_000_000),
    (pa.timestamp("us"), -719_162 * 86_400_000_000 - 1),
]


@pytest.mark.parametrize(("kind", "tick"), FAR, ids=str)
def test_a_date_without_a_text_is_refused(kind: pa.DataType, tick: int) -> None:
    """Arrow writes a date outside of four digits for a year as another one, or as nothing that is one."""
    array = pa.array([0, tick], pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    with pytest.raises(
        ValueError,
        match=r"^holds a (date|timestamp) outside of the years 1 to 9999, .*; make it null, or cast it to string$",
    ):
        to_plain(array, pa.field("c", kind))


def test_the_digits_of_a_timestamp_are_those_of_its_unit() -> None:
    """None for seconds, 3, 6 or 9 for the others; nothing is cut off."""
    texts = [
        stored_array(pa.array([1], pa.int64()).view(pa.timestamp(unit, "UTC"))) for unit in ("s", "ms", "us", "ns")
    ]
    assert texts == [[f"1970-01-01T00:00:0{rest}Z"] for rest in ("1", "0.001", "0.000001", "0.000000001")]


@pytest.mark.parametrize(
    ("kind", "tick"), [(pa.time64("us"), -1), (pa.time64("us"), 86_400_000_000), (pa.time32("s"), 86_400)], ids=str
)
def test_a_time_of_no_day_is_refused(kind: pa.DataType, tick: int) -> None:
    """Arrow would write that it is out of range, as if that were its text."""
    array = pa.array([tick], pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    with pytest.raises(ValueError, match=r"^holds a time that is none of a day"):
        to_plain(array, pa.field("c", kind))


@pytest.mark.parametrize(
    ("kind", "tick"), [(pa.time64("ns"), 1), (pa.duration("ns"), 1), (pa.duration("s"), 2**62)], ids=str
)
def test_what_is_no_whole_microsecond_is_refused(kind: pa.DataType, tick: int) -> None:
    """Rather than rounded."""
    with pytest.raises(
        ValueError, match=r"^holds a .* that is no 64-bit number of whole microseconds; round it, or cast it to string$"
    ):
        to_plain(pa.array([tick], pa.int64()).view(kind), pa.field("c", kind))


@pytest.mark.parametrize("key", [pa.string(), pa.int32()], ids=str)
def test_a_map_with_a_key_twice_is_refused(key: pa.DataType) -> None:
    """Of two values in one object one would be lost. The same key in two rows is no matter."""
    one, two = ("a", "b") if pa.types.is_string(key) else (1, 2)
    kind = pa.map_(key, pa.int8())
    assert stored_array(pa.array([[(one, 1)], None, [(one, 2), (two, 1)]], kind)) == [
        {str(one): 1},
        None,
        {str(one): 2, str(two): 1},
    ]
    with pytest.raises(ValueError, match=rf"^holds a map with the key '{one}' twice, and an object has each key once$"):
        stored_array(pa.array([[(two, 1)], None, [(two, 1), (one, 1), (one, 2)]], kind))


@pytest.mark.parametrize("wrap", [lambda of: pa.list_(of, 2), pa.list_], ids=["fixed", "list"])
def test_a_slice_of_lists_of_lists_is_the_slice(wrap: Any) -> None:
    """Arrow's own cast of a slice of fixed-size lists ends the process."""
    array = pa.array(
        [[[1.0, None], None], None, [[0.5, 2.0], [1.0, 2.0]], [None, None]], wrap(pa.list_(pa.float64(), 2))
    )
    assert stored_array(array.slice(1, 3)) == [None, [[0.5, 2.0], [1.0, 2.0]], [None, None]]


def _of_bytes(*words: bytes) -> pa.Array:
    """Strings of any bytes."""
    return pa.array(words, pa.binary()).view(pa.string())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda words: words,
        lambda words: pa.ListArray.from_arrays([0, 1, 2, 3], words),
        lambda words: pa.FixedSizeListArray.from_arrays(words, 1),
        lambda words: pa.StructArray.from_arrays([words], ["x"]),
        lambda words: pa.MapArray.from_arrays([0, 1, 2, 3], words, pa.array([1, 2, 3])),
        lambda words: pa.MapArray.from_arrays([0, 1, 2, 3], pa.array([1, 2, 3]), words),
        lambda words: pa.DictionaryArray.from_arrays([0, 1, 2], words),
    ],
    ids=["string", "list", "fixed", "struct", "keys", "items", "dictionary"],
)
def test_only_the_row_with_bad_bytes_is_no_text(wrap: Any) -> None:
    """Its neighbours in the same array are."""
    column = wrap(_of_bytes(b"a", b"caf\xe9", b"b"))
    assert not is_text(column)
    assert [is_text(column.slice(row, 1)) for row in range(3)] == [True, False, True]


def test_bad_bytes_under_a_null_are_not_seen() -> None:
    """What a null hides is nobody's text."""
    assert is_text(pa.StructArray.from_arrays([_of_bytes(b"a", b"\xff")], ["x"], mask=pa.array([False, True])))


# --- variant ----------------------------------------------------------------------------------------------------------

VARIANT = pa.field("c", pa.string(), metadata=JSON_MARK)


@pytest.mark.parametrize(
    "text",
    ["null", "true", "-5", "1.5", '"x"', "[]", "{}", '{"a":[1,{"b":null}],"":"ü"}', str(2**63 - 1), str(-(2**63))],
)
def test_a_variant_is_its_value(text: str) -> None:
    """JSON text becomes what it stands for."""
    made = to_plain(pa.array([text, None]), VARIANT)
    assert payload_types.values(made, plain_field(VARIANT)) == [json.loads(text), None]


@pytest.mark.parametrize(
    "text", ["NaN", "[-Infinity]", '{"a": Infinity}', "1e400", "[-1e400]", str(2**63), f"[{-(2**63) - 1}]", "{", ""]
)
def test_a_variant_that_no_payload_holds_is_refused(text: str) -> None:
    """Not finite, too large for 64 bits, or no JSON at all."""
    with pytest.raises(ValueError, match=r".+"):
        to_plain(pa.array(["1", text]), VARIANT)


# --- any column -------------------------------------------------------------------------------------------------------

SIMPLE: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=6)),
    (pa.large_string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=6)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float32(), st.floats(allow_nan=False, allow_infinity=False, width=32)),
    (pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
    (pa.decimal128(18, 0), st.integers(-(10**17), 10**17).map(Decimal)),
    (pa.decimal128(20, 4), st.integers(-(10**19), 10**19).map(lambda n: Decimal(n).scaleb(-4))),
    (pa.date32(), st.dates(date(1, 1, 1), date(9999, 12, 31))),
    (pa.timestamp("us", "UTC"), st.datetimes().map(lambda t: t.replace(tzinfo=UTC))),
    (pa.timestamp("us"), st.datetimes()),
    (pa.time64("us"), st.times()),
    (pa.duration("us"), st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000))),
    (pa.binary(), st.binary(max_size=5)),
]


def _nested(
    inner: tuple[pa.DataType, st.SearchStrategy[Any]],
) -> st.SearchStrategy[tuple[pa.DataType, st.SearchStrategy[Any]]]:
    kind, values = inner
    some = st.none() | values
    lists = st.lists(some, max_size=3)
    return st.sampled_from(
        [
            (pa.list_(kind), lists),
            (pa.large_list(kind), lists),
            (pa.list_(kind, 2), st.lists(some, min_size=2, max_size=2)),
            (
                pa.struct([("a", kind), ("b", pa.int8())]),
                st.fixed_dictionaries({"a": some, "b": st.none() | st.integers(-5, 5)}),
            ),
            (
                pa.map_(pa.string(), kind),
                st.dictionaries(st.text("abü", max_size=2), some, max_size=3).map(lambda d: list(d.items())),
            ),
            (
                pa.map_(pa.int32(), kind),
                st.dictionaries(st.integers(-9, 9), some, max_size=3).map(lambda d: list(d.items())),
            ),
        ]
    )


COLUMNS = st.recursive(st.sampled_from(SIMPLE), lambda inner: inner.flatmap(_nested), max_leaves=3)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_column_becomes_what_the_table_says(data: st.DataObject) -> None:
    """Whatever the nesting, the nulls and the slice, an independent reading of the table gives the same."""
    kind, values = data.draw(COLUMNS)
    rows = data.draw(st.lists(st.none() | values, max_size=6))
    start = data.draw(st.integers(0, len(rows)))
    length = data.draw(st.integers(0, len(rows) - start))
    assert stored_array(pa.array(rows, kind).slice(start, length)) == [
        _as_documented(v, kind) for v in rows[start : start + length]
    ]


def _as_documented(value: Any, kind: pa.DataType) -> Any:
    """The table in rows/payload.py, read by somebody who has not seen the code below it."""
    if value is None:
        return None
    if pat.is_map(kind):
        return {str(key): _as_documented(item, kind.item_type) for key, item in value}
    if pat.is_struct(kind):
        return {child.name: _as_documented(value[child.name], child.type) for child in kind}
    if isinstance(value, list):
        return [_as_documented(item, kind.value_type) for item in value]
    if isinstance(value, Decimal):
        return int(value) if kind.scale == 0 and kind.precision <= 18 else f"{value:f}"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="microseconds") + ("Z" if kind.tz else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value
