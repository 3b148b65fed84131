"""What there is to draw of types and values. A clean value is one that the documents promise to store; any other is
dirty."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable

import pyarrow as pa
import pyarrow.types as pat

from tests.fuzz.values import Raw, is_exotic, is_list_view, is_text

DAY = 86_400
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31 as days since 1970"""

TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

ZONES = (None, "UTC", "Europe/Berlin", "America/St_Johns", "+05:30", "Pacific/Apia")

SCALARS: tuple[Callable[[random.Random], pa.DataType], ...] = (
    lambda r: r.choice([pa.int8(), pa.int16(), pa.int32(), pa.int64()]),
    lambda r: r.choice([pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]),
    lambda r: r.choice([pa.float16(), pa.float32(), pa.float64()]),
    lambda r: pa.bool_(),
    lambda r: r.choice([pa.string(), pa.string(), pa.large_string()]),
    lambda r: r.choice([pa.binary(), pa.large_binary(), pa.binary(r.randint(1, 9))]),
    lambda r: _decimal(r),
    lambda r: r.choice([pa.date32(), pa.date64()]),
    lambda r: pa.timestamp(r.choice([*TICKS, "us"]), r.choice(ZONES)),
    lambda r: r.choice([pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]),
    lambda r: pa.duration(r.choice([*TICKS, "us"])),
    lambda r: pa.null(),
)

UNMAPPED: tuple[Callable[[random.Random], pa.DataType], ...] = (
    lambda r: pa.month_day_nano_interval(),
    lambda r: pa.string_view(),
    lambda r: pa.binary_view(),
    lambda r: pa.list_view(pa.int32()),
    lambda r: pa.large_list_view(pa.string()),
    lambda r: pa.run_end_encoded(pa.int32(), pa.string()),
    lambda r: pa.sparse_union([pa.field("a", pa.int8()), pa.field("b", pa.string())]),
    lambda r: pa.dense_union([pa.field("a", pa.int8())]),
    lambda r: pa.uuid(),
    lambda r: pa.map_(r.choice([pa.date32(), pa.float64(), pa.binary(), pa.bool_()]), pa.int8()),
    lambda r: pa.struct([pa.field("a", pa.int8()), pa.field("a", pa.string())]),
    lambda r: pa.list_(pa.month_day_nano_interval()),
    lambda r: pa.struct([pa.field("x", pa.map_(pa.timestamp("us"), pa.string()))]),
    lambda r: _deep(pa.int8(), 31),
)

FIELD_NAMES = ("a", "b", "a.b", "", "🙂", '"', "A", "x y", "[0]", "_sink", "ü", "null", "\0", "\n")

TEXTS = (
    "",
    " ",
    "a",
    "dog",
    "ü",
    "u\u0308",
    "🙂",
    "👩‍👩‍👧‍👦",
    "שלום",
    "مرحبا \u202eabc\u202c",
    "\0",
    "a\0b",
    "\n",
    "one\r\ntwo\u2028three",
    '"',
    "'",
    "\\",
    "\ufeff",
    "\u200b",
    "null",
    "NaN",
    "1",
    "-0",
    "true",
    "2024-02-29",
    "{}",
    "[]",
    '{"a": 1}',
    "a.b",
    "\uffff\U0010ffff",
    "%s {} ${x}",
    "<b>",
    "\x7f\x80",
    "; DROP TABLE",
    "550e8400-e29b-41d4-a716-446655440000",
    "550E8400-E29B-41D4-A716-446655440000",
)

BROKEN = (b"\xff", b"caf\xe9", b"\xed\xa0\x80", b"\xf0\x9f\x99", b"ok\xc0\x80", b"\xf5\x80\x80\x80", b"a\x80")
"""Bytes that are no UTF-8: a lone surrogate, Latin-1, a cut emoji, an overlong NUL, …"""

JSONS = (
    "null",
    "true",
    "-5",
    "1.5",
    '"x"',
    "[]",
    "{}",
    '{"a":[1,{"b":null}],"":"ü"}',
    "9223372036854775807",
    "[0.1, 1e300]",
    '"\\ud83d\\ude42"',
    "[[[1]]]",
)
BAD_JSONS = ("NaN", "[Infinity]", "1e400", "9223372036854775808", "{", "", '"\\ud800"', "[" * 40 + "]" * 40)


def draw_type(r: random.Random, depth: int = 0) -> pa.DataType:
    """A type that has a mapping."""
    if depth >= 3 or r.random() < (0.72 if depth == 0 else 0.6):
        return r.choice(SCALARS)(r)
    if depth == 0 and r.random() < 0.03:
        return _deep(r.choice(SCALARS)(r), 30)
    if r.random() < 0.12:
        words = r.choice([pa.string(), pa.int64(), pa.date32(), pa.binary(), pa.float32()])
        return pa.dictionary(r.choice([pa.int16(), pa.int32(), pa.uint16()]), words)
    inner = lambda: draw_type(r, depth + 1)  # noqa: E731
    shape = r.choice(["list", "large", "fixed", "struct", "map", "map"])
    if shape == "struct":
        return pa.struct([pa.field(name, inner()) for name in r.sample(FIELD_NAMES, r.choice([0, 1, 1, 2, 3]))])
    if shape == "map":
        return pa.map_(r.choice([pa.string(), pa.large_string(), pa.int32(), pa.int64(), pa.uint64()]), inner())
    return {"list": pa.list_, "large": pa.large_list, "fixed": lambda of: pa.list_(of, r.randint(1, 3))}[shape](inner())


def draw_unmapped(r: random.Random) -> pa.DataType:
    """A type without a mapping."""
    return r.choice(UNMAPPED)(r)


def draw_value(r: random.Random, kind: pa.DataType, dirty: float, nulls: float = 0.1, depth: int = 0) -> Raw:
    """A value of this type. dirty: how likely it is one that no payload holds. nulls: how likely a value within a
    nested one is null."""
    if pat.is_null(kind) or is_exotic(kind):
        return None
    wrong = r.random() < dirty
    if isinstance(kind, pa.BaseExtensionType):
        return draw_value(r, kind.storage_type, 0, nulls, depth)
    if pat.is_dictionary(kind):
        return draw_value(r, kind.value_type, dirty, nulls, depth)
    if pat.is_struct(kind):
        return tuple(_inner(r, kind.field(i).type, dirty, nulls, depth) for i in range(kind.num_fields))
    if pat.is_map(kind):
        pairs = {
            draw_value(r, kind.key_type, 0): _inner(r, kind.item_type, dirty, nulls, depth)
            for _ in range(r.choice([0, 1, 1, 2, 4]) if depth < 2 else 1)
        }
        entries = list(pairs.items())
        return [*entries, (entries[0][0], _inner(r, kind.item_type, 0, nulls, depth))] if wrong and entries else entries
    if pat.is_fixed_size_list(kind):
        return [_inner(r, kind.value_type, dirty, nulls, depth) for _ in range(kind.list_size)]
    if pat.is_list(kind) or pat.is_large_list(kind) or is_list_view(kind):
        return [
            _inner(r, kind.value_type, dirty, nulls, depth)
            for _ in range(r.choice([0, 1, 2, 3, 7]) if depth < 2 else 1)
        ]
    if is_text(kind) or pat.is_string_view(kind):
        return r.choice(BROKEN) if wrong else draw_text(r).encode()
    if pat.is_fixed_size_binary(kind):
        return r.randbytes(kind.byte_width)
    if pat.is_boolean(kind):
        return r.random() < 0.5
    if pat.is_floating(kind):
        return r.choice([float("nan"), float("inf"), float("-inf")]) if wrong else _float(r, kind)
    if pat.is_decimal(kind):
        most = 10**kind.precision - 1
        return r.choice([0, 1, -1, most, -most, r.randint(-most, most)])
    if pat.is_integer(kind):
        return _integer(r, kind, wrong)
    if pat.is_temporal(kind):
        return _time(r, kind, wrong)
    return r.choice([b"", b"\0\xff", r.randbytes(r.randint(1, 40))])  # binary


def draw_text(r: random.Random) -> str:
    """Any text that is one."""
    draw = r.random()
    if draw < 0.5:
        return r.choice(TEXTS)
    if draw < 0.97:
        return "".join(
            r.choice(["a", "B", " ", "é", "漢", "🙂", "\u0301", "\n", '"', "\\", "x" * 20])
            for _ in range(r.randint(1, 12))
        )
    return r.choice(["long ", "ü", "🙂\n"]) * r.choice([300, 3000, 20_000])


def draw_json(r: random.Random, dirty: float) -> bytes:
    """The text of a variant."""
    if r.random() < dirty:
        return r.choice(BAD_JSONS).encode()
    if r.random() < 0.3:
        return json.dumps(
            {draw_text(r): [draw_text(r), r.randint(-(2**63), 2**63 - 1), r.uniform(-1e9, 1e9)]},
            ensure_ascii=r.random() < 0.5,
        ).encode()
    return r.choice(JSONS).encode()


def _inner(r: random.Random, kind: pa.DataType, dirty: float, nulls: float, depth: int) -> Raw:
    return None if r.random() < nulls else draw_value(r, kind, dirty, nulls, depth + 1)


def _decimal(r: random.Random) -> pa.DataType:
    width, most = r.choice(
        [(pa.decimal32, 9), (pa.decimal64, 18), (pa.decimal128, 38), (pa.decimal128, 38), (pa.decimal256, 76)]
    )
    precision = r.choice([most, r.randint(1, most)])
    return width(precision, r.choice([0, 0, 2, precision, r.randint(0, precision), -2]))


def _deep(kind: pa.DataType, levels: int) -> pa.DataType:
    for _ in range(levels):
        kind = pa.list_(kind)
    return kind


def _integer(r: random.Random, kind: pa.DataType, wrong: bool) -> int:
    bits = kind.bit_width
    if pat.is_unsigned_integer(kind):
        if bits == 64:
            return r.choice([2**63, 2**64 - 1]) if wrong else r.choice([0, 1, 2**53 + 1, 2**63 - 1, r.randrange(2**63)])
        return r.choice([0, 1, 2**bits - 1, r.randrange(2**bits)])
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return r.choice(
        [0, 1, -1, least, most, min(most, 2**53 + 1), r.randint(least, most), r.randint(max(least, -9), min(most, 9))]
    )


def _float(r: random.Random, kind: pa.DataType) -> float:
    form = {16: "<e", 32: "<f", 64: "<d"}[kind.bit_width]
    extremes = {
        16: (6e-8, 65504.0, 0.1),
        32: (1e-45, 3.4028234663852886e38, 1.1754943508222875e-38),
        64: (5e-324, 1.7976931348623157e308, 2.2250738585072011e-308),
    }
    drawn = r.choice(
        [0.0, -0.0, 1.0, 0.1, -1.5, 1 / 3, *extremes[kind.bit_width], r.uniform(-1, 1), r.uniform(-6e4, 6e4)]
    )
    if kind.bit_width == 64 and r.random() < 0.4:  # any bits at all
        drawn = struct.unpack("<d", r.randbytes(8))[0]
        drawn = drawn if abs(drawn) < float("inf") else 0.1 + 0.2
    return float(struct.unpack(form, struct.pack(form, drawn))[0])


def _time(r: random.Random, kind: pa.DataType, wrong: bool) -> Raw:
    if kind == pa.month_day_nano_interval():
        return (r.randint(-99, 99), r.randint(-99, 99), r.randint(-(10**18), 10**18))
    if pat.is_date(kind):
        unit = 1 if pat.is_date32(kind) else DAY * 1000
        if wrong:
            return r.choice([FIRST_DAY - 400, LAST_DAY + 1, 2**31 - 1, -(2**31)]) * unit
        return r.choice([FIRST_DAY, LAST_DAY, 0, -1, r.randint(FIRST_DAY, LAST_DAY)]) * unit
    ticks = TICKS[kind.unit]
    if pat.is_time(kind):
        if wrong:
            return r.choice([-1, DAY * ticks, DAY * ticks + 1, 1])  # 1 ns is less than a microsecond
        return r.choice(
            [0, DAY * ticks - (1000 if kind.unit == "ns" else 1), _whole(r.randrange(DAY * ticks), kind.unit)]
        )
    least, most = -(2**63), 2**63 - 1
    if pat.is_duration(kind):
        if wrong:
            return r.choice([least, most, 1])
        return r.choice(
            [
                0,
                -1000,
                1000,
                _whole(r.randint(-(10**12), 10**12), kind.unit),
                _whole(most, kind.unit) if kind.unit in ("us", "ns") else 5,
            ]
        )
    if wrong and kind.unit == "s":
        return r.choice([-(2**52), 2**52, (LAST_DAY + 1) * DAY])  # no more of them goes into Parquet
    if wrong:
        return r.choice(
            [least, most, (LAST_DAY + 1) * DAY * min(ticks, 10**6), FIRST_DAY * DAY * min(ticks, 10**6) - 1, least + 1]
        )
    first, last = max(FIRST_DAY * DAY * ticks, least), min((LAST_DAY + 1) * DAY * ticks - 1, most)
    return r.choice([0, -1, first, last, r.randint(first, last), r.randint(0, 2 * 10**9) * ticks + r.randrange(ticks)])


def _whole(number: int, unit: str) -> int:
    """Without what is less than a microsecond, which times and durations in a payload do not have."""
    return number // 1000 * 1000 if unit == "ns" else number
