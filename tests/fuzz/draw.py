"""A random case for each seed and number: the same on every machine."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from tests.fuzz import options as known
from tests.fuzz.case import Case, Column
from tests.fuzz.oracle import POISON
from tests.fuzz.types import BROKEN, draw_json, draw_text, draw_type, draw_unmapped, draw_value
from tests.fuzz.values import Raw, is_text

NAMES = (
    "a.b",
    "a..b",
    ".",
    '"',
    'x"y',
    "'",
    "`x`",
    "[0]",
    "a[b]",
    "x:y",
    "🙂",
    "ü",
    "u\u0308",
    "Name",
    "name",
    "NAME",
    "a b",
    "\t",
    "a\nb",
    "_sink.x",
    "_reject_key",
    "_reject_reason",
    "\0",
    "null",
    "0",
    "-1",
    "\u202eabc",
    "x" * 300,
    "content",
    "text",
    "id",
    "vector",
    "$",
    "%s",
    "\\",
    "__proto__",
    "\ufeff",
    "\u200b",
    "a,b",
    "{x}",
    " lead",
    "",
    "column '",
    "option",
)
"""Names of columns that ask for trouble. A few cannot be said in an option, and only stand by."""

SAYABLE = [name for name in NAMES if name and name == name.strip() and "," not in name and name != "content"]


@dataclass
class _Draft:
    """A case in the making."""

    r: random.Random
    rows: int
    dirty: float
    """how likely a value is one that no point holds"""
    columns: list[Column] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def name(self, usual: str, hostile: float = 0.25, pool: Sequence[str] = SAYABLE) -> str:
        """A name that is not taken."""
        taken = {column.name for column in self.columns}
        drawn = self.r.choice(pool) if self.r.random() < hostile else usual
        return drawn if drawn not in taken else next(f"{usual}{n}" for n in range(99) if f"{usual}{n}" not in taken)

    def some(self, values: Sequence[Any], chance: float, option: str) -> None:
        """Set an option now and then."""
        if self.r.random() < chance:
            self.options[option] = self.r.choice(values)

    def add(self, name: str, kind: pa.DataType, values: Sequence[Raw], json: bool = False) -> str:
        self.columns.append(Column(name, kind, values, json, hidden=self.r.random() < 0.3))
        return name

    def bad(self) -> bool:
        return self.r.random() < self.dirty


def draw_case(seed: int, number: int, store: str) -> Case:
    """The case of this number."""
    r = random.Random(f"{seed}/{number}")
    rows = r.choice([r.randint(5, 30), r.randint(5, 30), r.randint(30, 100), r.randint(100, 200)])
    draft = _Draft(r, rows, 0.0 if r.random() < 0.6 else r.choice([0.005, 0.02, 0.1]))
    ready = r.random() < 0.6
    if ready:
        _ready_vectors(draft)
    else:
        _texts(draft)
    _key(draft, ready)
    _payload(draft)
    _shape(draft)
    r.shuffle(draft.columns)
    _options(draft)
    _server(draft, store)
    if r.random() < 0.06:
        name, value = known.draw_wrong(r)
        draft.options[name] = value
    if r.random() < 0.05:
        draft.options = {
            r.choice([str.upper, str.title, str.lower])(name): value for name, value in draft.options.items()
        }
    tasks = _tasks(r, rows)
    separate, runs = r.random() < 0.3, 2 if r.random() < 0.1 else 1
    places = (
        known.GOOD_PLACES if r.random() < 0.97 else known.BAD_PLACES["embedded" if store == "embedded" else "server"]
    )
    origin = f"python -m tests.fuzz --store {store} --seed {seed} --only {number}"
    return Case(draft.columns, draft.options, tasks, separate, r.choice(places), runs, store, origin)


def sweep(store: str) -> Iterator[Case]:
    """Each wrong value of each option, each name of a collection, and each right value, in a job that is right without
    it."""
    rows = 3
    columns = [
        Column("id", pa.int64(), range(rows)),
        Column("text", pa.string(), [b"a", b"b", b"c"]),
        Column("v", pa.list_(pa.float32(), 1), [[1.0]] * rows),
    ]
    encoding, ready = (
        {"encoder": "tests.fuzz.oracle:Encoder", "distance": "dot"},
        {"vector_column": "v", "distance": "dot"},
    )
    drawn = [(name, value) for name, values in (*known.WRONG.items(), *known.ANYWHERE.items()) for value in values]
    drawn += [(name, "x") for name in known.UNKNOWN]
    drawn += [] if store == "embedded" else [(name, value) for name, values in known.SERVER.items() for value in values]
    for name, value in drawn:
        base = ready if name in ("vector_column", "dimension", "normalize") else encoding
        more = {"rejects_path": "<tmp>/r"} if name == "max_rejects" else {}
        yield Case(
            columns,
            {**base, **more, name: value},
            store=store,
            origin=f"python -m tests.fuzz --store {store} --sweep  # {name}={value!r:.100}",
        )
    for place in (*known.GOOD_PLACES, *known.BAD_PLACES["embedded" if store == "embedded" else "server"]):
        yield Case(
            columns,
            encoding,
            where=place,
            store=store,
            origin=f"python -m tests.fuzz --store {store} --sweep  # a place called {place!r:.100}",
        )


def _ready_vectors(draft: _Draft) -> None:
    r, width = draft.r, draft.r.choice([1, 2, 3, 4, 4, 8, 33])
    number = r.choice([pa.float32(), pa.float32(), pa.float64(), pa.float16(), pa.int32(), pa.uint8(), pa.int64()])
    is_fixed = r.random() < 0.4
    kind = pa.list_(number, width) if is_fixed else r.choice([pa.list_, pa.large_list])(number)
    vectors = [_vector(draft, number, width, is_fixed) for _ in range(draft.rows)]
    draft.options["vector_column"] = draft.add(draft.name("v"), kind, vectors)
    if not is_fixed or r.random() < 0.1:
        draft.options["dimension"] = r.choice([width, str(width)])
    draft.some([True, "false", "TRUE"], 0.1, "normalize")


def _vector(draft: _Draft, number: pa.DataType, width: int, is_fixed: bool) -> Raw:
    r = draft.r
    if draft.bad():
        wrong: list[Raw] = [None, [0] * width, [None] * width]
        wrong += [] if is_fixed else [[1] * (width + 1), []]
        wrong += [[float("nan")] * width, [float("inf")] * width] if pat.is_floating(number) else []
        wrong += [[1e300] * width, [1e-300] * width] if number == pa.float64() else []
        return r.choice(wrong)
    if pat.is_integer(number):
        return [r.randint(1, 100), *(r.randint(0, 100) for _ in range(width - 1))]
    drawn = [
        r.choice([r.uniform(-1, 1), r.uniform(-1, 1), r.uniform(-1, 1), 0.0, -0.0, 1e-4, 1 / 3]) for _ in range(width)
    ]
    drawn[r.randrange(width)] = r.uniform(0.5, 1)
    if r.random() < 0.02:
        scale = (
            {16: 60000.0, 32: 1e19, 64: 1e30}[number.bit_width]
            if r.random() < 0.5
            else {16: 1e-4, 32: 1e-22, 64: 1e-30}[number.bit_width]
        )
        drawn = [value * scale for value in drawn]
    form = {16: "<e", 32: "<f", 64: "<d"}[number.bit_width]
    return [float(struct.unpack(form, struct.pack(form, value))[0]) for value in drawn]


def _texts(draft: _Draft) -> None:
    r = draft.r
    draft.options["encoder"] = "tests.fuzz.oracle:Encoder"
    names = []
    for n in range(r.choice([1, 1, 1, 2, 3])):
        texts = [_text(draft) for _ in range(draft.rows)]
        if n:
            texts = [None if r.random() < 0.2 else text for text in texts]
        names.append(
            draft.add(draft.name("text" if n == 0 else f"text{n}"), r.choice([pa.string(), pa.large_string()]), texts)
        )
    if names != ["text"] or r.random() < 0.1:
        draft.options["text_column"] = r.choice([names, ",".join(names), " , ".join(names)])
    if r.random() < 0.2:
        draft.options["text_template"] = (
            r.choice(["{{", "", "\n", "🙂 "]) + " / ".join(f"{{{name}}}" for name in names) + r.choice(["}}", "", "."])
        )
    draft.some([False, "false", "true"], 0.2, "store_text")


def _text(draft: _Draft) -> Raw:
    r = draft.r
    if draft.bad():
        return r.choice([None, b"", b" ", b"\t\n", "\u3000\u2028".encode(), POISON.encode(), *BROKEN])
    drawn = draw_text(r)
    return (drawn if drawn.strip() else f"{drawn}x").encode()


def _key(draft: _Draft, ready: bool) -> None:
    r = draft.r
    if not ready and r.random() < 0.08:
        draft.options["id_column"] = "content"
        if r.random() < 0.5:
            return
    else:
        names = [_key_column(draft, "id" if n == 0 else f"id{n}") for n in range(r.choice([1, 1, 1, 1, 2, 3]))]
        if names != ["id"] or r.random() < 0.1:
            draft.options["id_column"] = r.choice([names, ",".join(names), ", ".join(names)])
    if r.random() < 0.1:
        draft.options["tenant_column"] = _key_column(draft, "tenant")


def _key_column(draft: _Draft, usual: str) -> str:
    r, rows = draft.r, draft.rows
    numbers = list(range(rows)) if r.random() < 0.7 else [r.randrange(max(1, rows // 3)) for _ in range(rows)]
    if r.random() < 0.3:
        r.shuffle(numbers)
    draw = r.random()
    kind: pa.DataType
    values: list[Raw]
    if draw < 0.4:
        kind = r.choice([pa.int16(), pa.int32(), pa.int64(), pa.uint32(), pa.uint64()])
        start = r.choice(
            [0, 0, -5, 2**63 - 1 - rows] if kind == pa.int64() else [0, 2**62] if kind == pa.uint64() else [0]
        )
        values = [start + number for number in numbers]
    elif draw < 0.75:
        kind = r.choice([pa.string(), pa.large_string()])
        form = r.choice(
            [
                "{}",
                "k{}",
                'ü"{}',
                "{}\n",
                "00000000-0000-0000-0000-{:012x}",
                "00000000-0000-0000-0000-{:012X}A",
                "🙂{}",
                "x" * 200 + "{}",
                "{}\0",
            ]
        )
        values = [form.format(number).encode() for number in numbers]
    elif draw < 0.8:
        kind, values = pa.uint64(), [2**63 - 3 + number if draft.bad() else number for number in numbers]
    else:
        kind = r.choice(
            [
                pa.date32(),
                pa.timestamp("us", "UTC"),
                pa.timestamp("ms"),
                pa.decimal128(10, 0),
                pa.decimal128(20, 3),
                pa.bool_(),
                pa.int8(),
                pa.string(),
            ]
        )
        if r.random() < 0.06:
            kind = r.choice(
                [pa.float64(), pa.binary(), pa.list_(pa.int8()), pa.time64("us"), pa.duration("us"), pa.null()]
            )
        values = [draw_value(r, kind, draft.dirty) for _ in range(rows)]
    if is_text(kind):
        values = [r.choice(BROKEN) if draft.dirty and r.random() < draft.dirty / 3 else value for value in values]
    values = [None if draft.dirty and r.random() < draft.dirty / 3 else value for value in values]
    return draft.add(draft.name(usual, hostile=0.2), kind, values)


def _payload(draft: _Draft) -> None:
    r = draft.r
    for n in range(r.choice([0, 1, 2, 3, 4, 6])):
        nulls = r.choice([0, 0, 0.1, 0.5, 1])
        name = draft.name(f"c{n}", hostile=0.4, pool=NAMES)
        if r.random() < 0.05:
            values = [None if r.random() < nulls else draw_json(r, draft.dirty) for _ in range(draft.rows)]
            draft.add(name, pa.string(), values, json=True)
            continue
        is_mapped = r.random() < 0.985
        kind = draw_type(r) if is_mapped else draw_unmapped(r)
        draft.add(
            name,
            kind,
            [None if r.random() < nulls else draw_value(r, kind, draft.dirty / 2) for _ in range(draft.rows)],
        )
        if not is_mapped and r.random() < 0.6:
            draft.options["payload_exclude"] = [*draft.options.get("payload_exclude", []), name]
    if r.random() < 0.01:  # two of one name, or the reserved one
        draft.add(r.choice([draft.columns[0].name, "_sink"]), pa.int8(), [1] * draft.rows)


def _shape(draft: _Draft) -> None:
    """Which columns become payload, and how they are called there."""
    r = draft.r
    names = [column.name for column in draft.columns]
    others = [name for name in names if name not in (draft.options.get("vector_column"), "")]
    if r.random() < 0.1 and "payload_exclude" not in draft.options:
        draft.options["payload_columns"] = r.sample(others, r.randint(0, len(others)))
    elif r.random() < 0.1:
        draft.options["payload_exclude"] = [*draft.options.get("payload_exclude", []), r.choice(names)]
    if r.random() < 0.15:
        news = r.sample([*NAMES[:-3], "n1", "n2", "n3"], 2)
        renamed = dict(zip(r.sample(others, min(len(others), r.randint(1, 2))), news, strict=False))
        draft.options["payload_rename"] = renamed
    if r.random() < 0.12:
        root = r.choice(names)
        # no uuid: a real Qdrant panics at the text {} in such a field, and refuses the point
        # (tests/integration/test_real_faults.py)
        kinds = ["keyword", "integer", "float", "bool", "datetime", "text", "keyword", "geo"]
        draft.options["payload_indexes"] = {root if r.random() < 0.7 else f"{root}.a": r.choice(kinds)}


def _options(draft: _Draft) -> None:
    r = draft.r
    for option, values in known.ANYWHERE.items():
        draft.some(values, {"distance": 0.9, "window_rows": 0.4}.get(option, 0.08), option)
    if r.random() < (0.75 if draft.dirty else 0.15):
        draft.options["rejects_path"] = r.choice(["<tmp>/rejects", "<tmp>/r 🙂#?", "file://<tmp>/r", "<tmp>/a/b"])
        draft.some(["0", "1", 5, "100%", "50%", "1.5%", " 10 "], 0.2, "max_rejects")


def _server(draft: _Draft, store: str) -> None:
    """The same draws for every store, so that a case is the same everywhere but for what only servers have."""
    drawn = _Draft(draft.r, draft.rows, 0)
    for option, values in known.SERVER.items():
        drawn.some(values, 0.1 if option != "batch_points" else 0.3, option)
    stray = draft.r.random() < 0.01
    if store != "embedded" or (stray and "url" not in drawn.options):
        draft.options |= drawn.options


def _tasks(r: random.Random, rows: int) -> list[list[int]]:
    """Lengths of batches for each task; now and then an empty batch, or an empty task."""
    places = sorted(r.randint(0, rows) for _ in range(r.choice([0, 0, 1, 2])))
    tasks = []
    for start, stop in zip([0, *places], [*places, rows], strict=True):
        cuts = sorted(r.randint(start, stop) for _ in range(r.choice([0, 0, 1, 3])))
        tasks.append([right - left for left, right in zip([start, *cuts], [*cuts, stop], strict=True)])
    return tasks
