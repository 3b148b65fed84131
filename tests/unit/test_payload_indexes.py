"""Which payload index can hold a column: refused before the job where it never can, and counted where the values
decide."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink.driver import collection_spec
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.payload_types import JSON_MARK
from spark_vector_sink.rows import columns, payload_indexes
from spark_vector_sink.rows.payload_indexes import ALWAYS, VALUES
from spark_vector_sink.rows.unindexed_values import Unindexed

PRICE = pa.field("price", pa.decimal128(10, 2))
ANY = pa.field("any", pa.string(), metadata=JSON_MARK)
ITEM = pa.struct([PRICE, ("n", pa.int64()), ("a b", pa.string())])
META = pa.struct(
    [
        ("when", pa.string()),
        ("items", pa.list_(ITEM)),
        ("tags", pa.map_(pa.string(), pa.string())),
        ("any", pa.string()),
        ANY.with_name("json"),
    ]
)
ROOTS = {
    "price": PRICE,
    "meta": pa.field("meta", META),
    "a.b": pa.field("a.b", pa.struct([("c", pa.bool_())])),
    "any": ANY,
    "tags": pa.field("tags", pa.list_(pa.string())),
    "grid": pa.field("grid", pa.list_(pa.list_(pa.int64()))),
    "by_key": pa.field("by_key", pa.map_(pa.int64(), pa.float64())),
    "where": pa.field("where", pa.struct([("lon", pa.float64()), ("lat", pa.int32()), ("name", pa.string())])),
    "places": pa.field("places", pa.list_(pa.struct([("lon", pa.float32()), ("lat", pa.float32())]))),
    "nothing": pa.field("nothing", pa.null()),
    "id": pa.field("id", pa.int64()),
    "blob": pa.field("blob", pa.binary()),
    "word": pa.field("word", pa.dictionary(pa.int32(), pa.string())),
}


@pytest.mark.parametrize(
    ("path", "kind", "holds"),
    [
        ("price", "keyword", ALWAYS),
        ("price", "float", None),
        ("id", "float", ALWAYS),
        ("id", "keyword", None),
        ("id", "integer_tenant", ALWAYS),
        ("id", "tenant", None),
        ("meta.when", "datetime", VALUES),
        ("meta.items[].n", "integer", ALWAYS),
        ("meta.items[0].n", "integer", ALWAYS),
        ("meta.items[].price", "float", None),
        ('meta.items[]."a b"', "uuid", VALUES),
        ("meta.items.n", "integer", None),
        ("meta.nothing", "integer", None),
        ("meta", "keyword", None),
        ("meta.items", "geo", None),
        ("meta.tags.x", "keyword", ALWAYS),
        ("meta.tags.x", "integer", None),
        ("meta.json.any[].thing", "geo", VALUES),
        ('"a.b".c', "bool", ALWAYS),
        ('"a.b".c', "keyword", None),
        ("any", "integer", VALUES),
        ("any.x[].y", "integer", VALUES),
        ("tags", "keyword", ALWAYS),
        ("tags[]", "keyword", ALWAYS),
        ("tags[3]", "text", ALWAYS),
        ("tags", "integer", None),
        ("tags.x", "keyword", None),
        ("grid", "integer", None),
        ("grid[]", "integer", ALWAYS),
        ("grid[][]", "integer", ALWAYS),
        ("by_key.7", "float", ALWAYS),
        ("by_key", "geo", VALUES),
        ("where", "geo", VALUES),
        ("places", "geo", VALUES),
        ("places[]", "geo", VALUES),
        ("where.lon", "float", ALWAYS),
        ("where.lon", "geo", None),
        ("nothing.x", "geo", ALWAYS),
        ("word", "keyword", ALWAYS),
        ("word", "float", None),
        ("id[]", "integer", None),
        ("id.x", "integer", None),
    ],
)
def test_a_path_leads_into_the_column(path: str, kind: str, holds: str | None) -> None:
    """Into structs, maps, variants and arrays, as Qdrant reads it; an index holds what is there always, by value, or
    never."""
    assert payload_indexes.holding(path, kind, ROOTS) == holds
    assert (payload_indexes.never(path, kind, ROOTS) is None) == (holds is not None)


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        (
            "price",
            "float",
            "price is a decimal, stored as text; write cast(price as double); or name another index, price:keyword",
        ),
        ("id", "keyword", "id is an integer; write cast(id as string); or name another index, id:integer"),
        (
            "tags",
            "integer",
            "each item of tags is text; write cast(tags as array<bigint>); or name another index, tags:keyword",
        ),
        (
            "meta.items[].price",
            "float",
            "meta.items[].price is a decimal, stored as text; make it double; or name another index, "
            "meta.items[].price:keyword",
        ),
        (
            "where.name",
            "geo",
            "where.name is text; a geo index takes a struct of lon and lat, both double; or name another index, "
            "where.name:keyword",
        ),
        ("meta", "geo", "meta is an object; a geo index takes a struct of lon and lat, both double"),
        (
            "blob",
            "uuid",
            "blob is binary, stored as base64; write lower(hex(blob)); or name another index, blob:keyword",
        ),
        ("grid", "integer", "each item of grid is an array; name its items, such as grid[]:integer"),
        (
            "meta.items",
            "keyword",
            "each item of meta.items is an object; name a field of it, such as meta.items[].price:keyword",
        ),
        ("meta", "bool", "meta is an object; name a field of it, such as meta.json:bool"),
        ("by_key", "keyword", "by_key is a map of numbers; name a field of it, such as by_key.key:float"),
        (
            "meta.items.n",
            "integer",
            "meta.items is an array; its items are meta.items[], and their n is meta.items[].n",
        ),
        ("meta.thing", "keyword", "meta has no field 'thing'; it has when, items, tags, any, json"),
        ("id.x", "integer", "id is an integer, and has no fields; name id alone"),
        ("id[]", "integer", "id is an integer, and no array; leave the brackets out"),
    ],
)
def test_what_makes_it_work_is_said(path: str, kind: str, words: str) -> None:
    """With the cast, or the index that holds the column as it is."""
    assert payload_indexes.never(path, kind, ROOTS) == words


def problems(schema: dict[str, pa.DataType], **options: Any) -> list[str]:
    parsed = SinkOptions.from_mapping({"path": "./x", "vector_column": "v", **options})
    chosen, _ = columns.choose(parsed, pa.schema({"id": pa.int64(), "v": pa.list_(pa.float32()), **schema}))
    return list(collection_spec.index_problems(parsed, chosen))


def test_an_index_that_would_hold_nothing_is_refused() -> None:
    """In one line, with the column's own name in the cast where the payload has another."""
    assert problems(
        {"price": pa.decimal128(10, 2), "when": pa.string()}, payload_indexes="price:float, when:datetime"
    ) == [
        "option 'payload_indexes' asks for price:float, an index that would hold nothing: price is a decimal, stored "
        "as text; write cast(price as double); "
        "or name another index, price:keyword"
    ]
    (said,) = problems({"the price": pa.string()}, payload_rename={"the price": "p"}, payload_indexes="p:float")
    assert "write cast(`the price` as double); or name another index, p:keyword" in said


def test_a_column_that_cannot_be_payload_is_refused_for_that() -> None:
    """And not a second time for its index."""
    assert problems({"x": pa.month_day_nano_interval()}, payload_indexes="x:keyword") == []


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        (pa.string(), "tenant"),
        (pa.large_string(), "tenant"),
        (pa.int8(), "integer_tenant"),
        (pa.uint64(), "integer_tenant"),
        (pa.decimal128(18, 0), "integer_tenant"),
        (pa.decimal128(20, 0), "tenant"),
        (pa.decimal128(10, 2), "tenant"),
        (pa.bool_(), "bool"),
        (pa.date32(), "tenant"),
        (pa.timestamp("us", "UTC"), "tenant"),
    ],
)
def test_a_tenant_gets_the_index_that_holds_it(kind: pa.DataType, made: str) -> None:
    """Every type that a tenant's column may have."""
    field = pa.field("t", kind)
    assert payload_indexes.of_tenant(field) == made
    assert payload_indexes.holding("t", made, {"t": field}) == ALWAYS


def test_another_index_for_the_tenant_is_refused() -> None:
    """A field has one index; what is asked for is not dropped in silence."""
    assert problems({"t": pa.string()}, tenant_column="t", payload_indexes="t:keyword") == []
    assert problems({"t": pa.int64()}, tenant_column="t", payload_indexes="t:integer") == []
    (said,) = problems({"t": pa.string()}, tenant_column="t", payload_indexes="t:uuid")
    assert (
        said
        == "option 'payload_indexes' asks for t:uuid, but that is the tenant, whose index is of type keyword; leave "
        "'t' out of that option"
    )


def counted(wanted: dict[str, str], **given: Any) -> dict[str, int]:
    made = {name: one if isinstance(one, pa.Array) else pa.array(one) for name, one in given.items()}
    batch = pa.RecordBatch.from_arrays(
        list(made.values()), schema=pa.schema([pa.field(name, one.type) for name, one in made.items()])
    )
    chosen = columns.Columns((), None, ("id",), False, "v", tuple((name, name) for name in made), tuple(batch.schema))
    return Unindexed(chosen, wanted).count(batch)


def test_points_with_a_value_that_is_left_out_are_counted() -> None:
    """Once each; a null, an empty array and a missing field are no values."""
    texts = ["2024-02-29", "yesterday", None, ""]
    assert counted({"when": "datetime"}, when=texts) == {"when:datetime": 2}
    assert counted({"when": "datetime"}, when=[["2024-02-29", "x", "y"], [], None, ["2024-02-29", None]]) == {
        "when:datetime": 1
    }
    assert counted({"when": "datetime"}, when=["2024-02-29"]) == {}
    items = [[{"at": "x"}, {"at": "y"}], [{"at": None}], None, [{"at": "2024-02-29"}]]
    assert counted({"items[].at": "datetime", "items[0].at": "datetime", "items.at": "datetime"}, items=items) == {
        "items[].at:datetime": 1,
        "items[0].at:datetime": 1,
    }


def test_of_columns_whose_type_tells_nothing_is_looked_at() -> None:
    """Neither where the index holds every value nor where it holds none, nor at fields that are not in the payload."""
    assert counted({"n": "integer", "t": "float", "x": "uuid", "_sink.run": "uuid"}, n=[1], t=["x"]) == {}


def test_a_field_that_is_not_written_is_not_looked_at() -> None:
    """Of a chunk whose payload alone is written the text is left as it is."""
    field = pa.field("text", pa.string())
    chosen = columns.Columns(("text",), None, ("id",), False, None, (("text", "text"),), (field,))
    assert Unindexed(chosen, {"text": "datetime"}).count(pa.RecordBatch.from_pydict({"other": ["x"]})) == {}
    assert Unindexed(chosen, {"text": "datetime"}).count(pa.RecordBatch.from_pydict({"text": ["x"]})) == {
        "text:datetime": 1
    }


def test_dates_are_read_quickly() -> None:
    """A text that is long, or nearly a date, costs no more than its length."""
    begun = datetime.datetime.now()
    assert counted(
        {"when": "datetime"},
        when=[
            " " * 100_000,
            "2024-01-01" + " " * 100_000 + "x",
            "1" * 100_000,
            "+" + "1" * 5000 + "-01-01",
            "2024-01-01T12:30:00" + " " * 100_000 + "x",
        ],
    ) == {"when:datetime": 5}
    assert counted({"when": "datetime"}, when=["+" + "0" * 5000 + "2024-01-01"]) == {}
    assert (datetime.datetime.now() - begun).total_seconds() < 10


def test_steps() -> None:
    """A path of Qdrant's, taken apart."""
    assert payload_indexes.steps('a[].b-1."c.d"[3]') == ("a", None, "b-1", "c.d", 3)
    assert payload_indexes.steps('""."x"') == ("", "x")
    assert re.fullmatch(payload_indexes.PATH, 'a[].b-1."c.d"[3]')
