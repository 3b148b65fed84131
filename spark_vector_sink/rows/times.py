"""Convert dates, timestamps, times and durations to their form in a payload, text in ISO 8601 or microseconds: exactly,
or with an error.

Arrow's own conversion silently writes another date or timestamp where a value is too far away.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""Days since 1970 of 0001-01-01 and 9999-12-31: the years that ISO 8601 and RFC 3339 write with four digits."""

DAY = 86_400
TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def written(array: pa.Array) -> pa.Array:
    """Write dates as `2024-02-29`; timestamps as `2024-02-29T12:30:00.000000`, in UTC with a Z where they have a zone,
    with as many digits as their unit has; times as `12:30:00.000000`. Raises ValueError for a value outside of the
    years 1 to 9999, for a time outside of a day, and for a time that is not in whole microseconds."""
    kind = array.type
    if pat.is_date(kind):
        unit = 1 if pat.is_date32(kind) else DAY * TICKS["ms"]
        _check(array, FIRST_DAY * unit, (LAST_DAY + 1) * unit - 1, _OUTSIDE.format(what="date"))
        return array.cast(pa.date32()).cast(pa.string())
    if pat.is_timestamp(kind):
        day = DAY * TICKS[kind.unit]
        _check(array, FIRST_DAY * day, (LAST_DAY + 1) * day - 1, _OUTSIDE.format(what="timestamp"))
        moments = array.cast(pa.timestamp(kind.unit, "UTC")) if kind.tz else array
        return pc.strftime(moments, format="%Y-%m-%dT%H:%M:%S" + ("Z" if kind.tz else ""))
    _check(array, 0, DAY * TICKS[kind.unit] - 1, "holds a time that is none of a day; cast it to string")
    return _exactly(array, pa.time64("us")).cast(pa.string())


def microseconds(array: pa.Array) -> pa.Array:
    """Convert durations to integers, in microseconds. Raises ValueError where a duration is not a 64-bit number of
    whole microseconds."""
    return _exactly(array, pa.duration("us")).cast(pa.int64())


_OUTSIDE = (
    "holds a {what} outside of the years 1 to 9999, for which ISO 8601 has no text; make it null, or cast it to string"
)


def _check(array: pa.Array, least: int, most: int, reason: str) -> None:
    """Raise ValueError with the reason where a tick is less than `least` or more than `most`."""
    ticks = array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())
    ends = pc.min_max(ticks).as_py()
    if ends["min"] is not None and not least <= ends["min"] <= ends["max"] <= most:
        raise ValueError(reason)


def _exactly(array: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return array.cast(kind)
    except pa.ArrowInvalid:
        raise ValueError(
            f"holds a {array.type} that is no 64-bit number of whole microseconds; round it, or cast it to string"
        ) from None
