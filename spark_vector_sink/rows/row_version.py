"""Convert the version column to integers that a store compares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

LARGEST = 2**53 - 1
"""Greatest version: Qdrant compares numbers as float64, which represents every integer up to here exactly."""


def unusable_type(kind: pa.DataType) -> str | None:
    """Return the reason why a column of this type cannot be a version; None where it can."""
    if pat.is_integer(kind) or pat.is_date(kind) or pat.is_timestamp(kind):
        return None
    if pat.is_decimal(kind) and kind.scale == 0:
        return None
    return f"holds {kind}; a version is an integer, a date or a timestamp"


def versions(column: pa.Array) -> npt.NDArray[np.int64]:
    """Return the versions as int64: integers as they are, dates and timestamps as microseconds since 1970 (UTC). Raises
    ValueError for a null, and for a value beyond `LARGEST`, positive or negative."""
    if column.null_count:
        raise ValueError("is null; a row without a version cannot be ordered")
    kind = column.type
    try:
        if pat.is_date(kind):
            column = column.cast(pa.timestamp("s")).cast(pa.timestamp("us"))
        if pat.is_timestamp(column.type):
            # nanoseconds are truncated to microseconds; Spark has no nanoseconds
            column = pc.cast(column, pa.timestamp("us", column.type.tz), safe=False)
        found: npt.NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        raise ValueError(_BEYOND) from None
    if len(found) and (found.max() > LARGEST or found.min() < -LARGEST):
        raise ValueError(_BEYOND)
    return found


_BEYOND = (
    "is a version beyond 2^53, which a store cannot compare exactly; take a smaller number, or a timestamp of "
    "the years 1684 to 2255"
)
