"""What was found before, as small as `--shrink` makes it. Every run of the campaign and of the tests replays it on each
store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tests.fuzz.case import Case, Column
from tests.fuzz.oracle import POISON


@dataclass(frozen=True)
class Past:
    """sentence: what holds now. columns: name → type and raw values (see `values`), beside the keys and vectors that
    `on` adds."""

    sentence: str
    columns: Mapping[str, tuple[pa.DataType, Sequence[Any]]]
    options: Mapping[str, Any] = field(default_factory=dict)
    json: Sequence[str] = ()
    """columns that are variants"""
    hidden: bool = False
    where: str = ""
    tasks: Sequence[Sequence[int]] = ()

    def on(self, store: str) -> Case:
        """The case: with keys 0, 1, … in `id` and vectors of two numbers in `v`, where the entry has no such columns
        and no encoder."""
        rows = max((len(values) for _, values in self.columns.values()), default=1)
        columns, options = dict(self.columns), {"distance": "dot", **self.options}
        if "id_column" not in options:
            columns.setdefault("id", (pa.int64(), list(range(rows))))
        if "encoder" not in options:
            columns.setdefault("v", (pa.list_(pa.float32(), 2), [[1.0, float(row)] for row in range(rows)]))
            options.setdefault("vector_column", "v")
        made = [Column(name, kind, values, name in self.json, self.hidden) for name, (kind, values) in columns.items()]
        return Case(
            made,
            options,
            self.tasks,
            where=self.where,
            store=store,
            origin=f"python -m tests.fuzz --store {store} --past  # {self.sentence}",
        )


REJECT = {"rejects_path": "<tmp>/rejects"}
ENCODER = {"encoder": "tests.fuzz.oracle:Encoder"}
DAY = 86_400
STRINGS, MANY = pa.list_(pa.string()), pa.list_(pa.float32())
BROKEN = b"caf\xe9"


def _index(column: str, path: str, kind: str = "keyword") -> tuple[dict[str, Any], dict[str, Any]]:
    return {column: (pa.string(), [b"a"])}, {"payload_indexes": {path: kind}}


PAST: tuple[Past, ...] = (
    # dates, timestamps, times: Arrow wrote those that are far away as others
    Past(
        "a date after 9999 is refused, and not stored as one of the year 20599",
        {"c": (pa.date32(), [2**31 - 1, 0])},
        REJECT,
    ),
    Past("a date before year 1 is refused", {"c": (pa.date32(), [-719_163, -719_162])}, REJECT),
    Past(
        "a timestamp of Spark's furthest future is refused, and not stored as one of the year 32103",
        {"c": (pa.timestamp("us", "UTC"), [2**63 - 1, 0])},
        REJECT,
    ),
    Past("a timestamp of the furthest past is refused", {"c": (pa.timestamp("ms"), [-(2**63), 0])}, REJECT),
    Past(
        "the first and the last moment are stored",
        {"c": (pa.timestamp("us"), [-719_162 * DAY * 10**6, 2_932_897 * DAY * 10**6 - 1])},
    ),
    Past("a key that is a date after 9999 is refused by its column", {"id": (pa.date32(), [2**31 - 1, 0])}, REJECT),
    Past("a key that is a timestamp after 9999 is refused by its column", {"id": (pa.timestamp("us"), [0, 2**63 - 1])}),
    Past(
        "a time that is none of a day is refused as such, and not as bytes that are no UTF-8",
        {"c": (pa.time64("us"), [DAY * 10**6, -1, 0])},
        REJECT,
    ),
    Past("a time of one nanosecond is refused", {"c": (pa.time64("ns"), [1, 1000])}, REJECT),
    Past("a duration of one nanosecond is refused", {"c": (pa.duration("ns"), [1, 1000])}, REJECT),
    Past("a duration beyond 64 bits of microseconds is refused", {"c": (pa.duration("s"), [2**62, 5])}, REJECT),
    # values of which one was lost
    Past(
        "a map with a key twice is refused, and neither of the values lost",
        {"c": (pa.map_(pa.int32(), pa.bool_()), [[(-1, True)], [(-1, True), (-1, False)]])},
        REJECT,
    ),
    Past(
        "the same within a list",
        {"c": (pa.list_(pa.map_(pa.string(), pa.int8())), [[[(b"a", 1)], [(b"a", 2)]], [[(b"a", 1), (b"a", 1)]]])},
        REJECT,
    ),
    Past("a decimal of 32 bits is an integer like the others", {"c": (pa.decimal32(9, 0), [1, -999_999_999, None])}),
    Past("a dictionary of lists is its lists", {"c": (pa.dictionary(pa.int8(), STRINGS), [[b"a", None], None, []])}),
    Past("an unsigned integer beyond 64 bits with a sign is refused", {"c": (pa.uint64(), [2**63, 2**63 - 1])}, REJECT),
    # bytes that are no UTF-8 made neighbours bad
    Past(
        "of strings in lists only the row with bad bytes is rejected",
        {"c": (STRINGS, [[b"a"], [BROKEN], [b"b"]])},
        REJECT,
    ),
    Past("of strings in structs too", {"c": (pa.struct([("x", pa.string())]), [(b"a",), (BROKEN,), (b"b",)])}, REJECT),
    Past(
        "of maps too",
        {"c": (pa.map_(pa.string(), pa.string()), [[(b"a", b"b")], [(BROKEN, b"")], [(b"a", BROKEN)]])},
        REJECT,
    ),
    Past(
        "a map with a key twice may hold bad bytes as well, which are found first",
        {"c": (pa.map_(pa.string(), pa.string()), [[(b"a", b"b")], [(b"a", b"b"), (b"a", BROKEN)]])},
        REJECT,
    ),
    Past("of dictionaries too", {"c": (pa.dictionary(pa.int8(), pa.string()), [b"a", BROKEN, b"a", None])}, REJECT),
    Past(
        "a window is not bad for the bytes of another",
        {"c": (STRINGS, [[b"a"], [BROKEN], [b"b"], [b"c"]])},
        {**REJECT, "window_rows": 1},
    ),
    Past(
        "garbage that a null hides is nobody's",
        {"c": (pa.struct([("x", STRINGS), ("y", pa.float64())]), [None, ([b"a"], 1.0)])},
        hidden=True,
    ),
    Past(
        "garbage in a null map is nobody's",
        {"c": (pa.map_(pa.string(), pa.float64()), [None, [(b"a", 1.0)]])},
        hidden=True,
    ),
    Past(
        "a slice of fixed-size lists within lists does not end the process",
        {
            "c": (
                pa.list_(pa.list_(pa.float64(), 2), 2),
                [[[1.0, None], None], None, [[0.5, float("nan")], [1.0, 2.0]], [None, None]],
            )
        },
        {**REJECT, "window_rows": 2},
        tasks=[[1, 3]],
    ),
    Past(
        "rejects hold dictionaries and decimals of any scale also within large lists and lists of a fixed size",
        {
            "c": (pa.large_list(pa.dictionary(pa.int16(), pa.string())), [[b"a"], [BROKEN], None]),
            "d": (pa.list_(pa.decimal128(28, -2), 1), [[100], None, [None]]),
        },
        REJECT,
    ),
    # keys, twice
    Past(
        "a vector of no numbers does not take the place of an earlier row of its key",
        {"id": (pa.int64(), [1, 1, 2]), "v": (pa.list_(pa.float32(), 1), [[1.0], [float("nan")], [0.0]])},
        REJECT,
    ),
    Past(
        "only a row that the model finds bad does",
        {"id": (pa.int64(), [1, 1, 2]), "text": (pa.string(), [b"a", POISON.encode(), b"b"])},
        {**REJECT, **ENCODER},
    ),
    # vectors
    Past(
        "a vector is scaled to length 1 though its square is no float32",
        {"v": (pa.list_(pa.float32(), 1), [[1e30], [1e-30]])},
        {"normalize": True},
    ),
    Past(
        "a vector that is zero or infinite as float32 is refused",
        {"v": (pa.list_(pa.float64(), 1), [[1e300], [1e-300], [1.0]])},
        REJECT,
    ),
    Past(
        "by cosine a vector is compared by its direction, however short or long it is",
        {"v": (pa.list_(pa.float32(), 2), [[1e-4, 0.0], [1e20, 1e20], [1e-30, 1e-30], [0.5, 0.5]])},
        {"distance": "cosine"},
    ),
    # payload indexes
    Past("a column with a blank in its name can be indexed", *_index("a b", "a b")),
    Past("a column with an emoji for a name can be indexed", *_index("🙂", "🙂")),
    Past("a column with a dot in its name is indexed as one field", *_index("a.b", "a.b")),
    Past(
        "a path below such a column has quotes",
        {"a.b": (pa.struct([("c", pa.int8())]), [(1,)])},
        {"payload_indexes": {'"a.b".c': "integer"}},
    ),
    Past("a path that is none is refused by name", *_index("x:y", "x:y.a")),
    Past("a name with a quote has no path", *_index('x"y', 'x"y')),
    Past(
        "an index that could hold nothing of its column is refused",
        {"c": (pa.decimal128(10, 2), [1250])},
        {"payload_indexes": {"c": "float"}},
    ),
    Past(
        "so is one of a field that the column has not",
        {"c": (pa.struct([("a", pa.int8())]), [(1,)])},
        {"payload_indexes": {"c.b": "integer"}},
    ),
    Past(
        "a tenant's column is indexed whatever its name",
        {"id": (pa.int64(), [1, 2]), "te.na nt": (pa.string(), [b"a", b"b"])},
        {"tenant_column": "te.na nt"},
    ),
    Past(
        "a tenant's column whose name has a quote is refused",
        {"id": (pa.int64(), [1]), 'te"nant': (pa.string(), [b"a"])},
        {"tenant_column": 'te"nant'},
    ),
    # names and options
    Past("the name of a vector has at most 200 bytes", {}, {"vector_name": "🙂" * 51}),
    Past("the name of a vector is not ..", {}, {"vector_name": ".."}),
    Past("half a character is no text", {}, {"vector_name": "\ud800"}),
    Past("nor the name of a place", {}, where="\ud800"),
    Past("a name's bytes count, not its characters", {}, where="🙂" * 60),
    Past("no report goes to a path with NUL", {}, {"report_path": "<tmp>/\0"}),
)
