"""Which column is what: checked against the schema, with a hint where it does not fit."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink.driver import plan as planning
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.rows.columns import Columns, choose

SCHEMA = pa.schema(
    [("id", pa.int64()), ("text", pa.string()), ("title", pa.string()), ("size", pa.int32()), ("price", pa.float64())]
)
VECTORS = pa.schema([("id", pa.int64()), ("v", pa.list_(pa.float32())), ("text", pa.string())])


def chosen(schema: pa.Schema = SCHEMA, **options: Any) -> tuple[Columns, list[str]]:
    return choose(SinkOptions.from_mapping({"path": "./a", **options}), schema)


def problem(schema: pa.Schema = SCHEMA, **options: Any) -> str:
    (only,) = chosen(schema, **options)[1]
    return only


def good(schema: pa.Schema = SCHEMA, **options: Any) -> Columns:
    columns, problems = chosen(schema, **options)
    assert problems == []
    return columns


def with_key(kind: pa.DataType) -> pa.Schema:
    return pa.schema([("id", kind), ("text", pa.string())])


# --- missing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text_column": "titel"}, "column 'titel' of option 'text_column' is missing; did you mean 'title'?"),
        (
            {"id_column": "key"},
            "column 'key' of option 'id_column' is missing; there are: id, text, title, size, price",
        ),
        ({"tenant_column": "sise"}, "column 'sise' of option 'tenant_column' is missing; did you mean 'size'?"),
        ({"payload_columns": "prise"}, "column 'prise' of option 'payload_columns' is missing; did you mean 'price'?"),
        ({"payload_exclude": "prise"}, "column 'prise' of option 'payload_exclude' is missing; did you mean 'price'?"),
        (
            {"payload_rename": "prise:cost"},
            "column 'prise' of option 'payload_rename' is missing; did you mean 'price'?",
        ),
        (
            {"vector_column": "emb"},
            "column 'emb' of option 'vector_column' is missing; there are: id, text, title, size, price",
        ),
    ],
)
def test_a_missing_column_gets_a_hint(options: dict[str, str], message: str) -> None:
    """The nearest name, or all names, and the option that asked for it."""
    assert problem(**options) == message


@pytest.mark.parametrize(("column", "option"), [("text", "text_column"), ("id", "id_column")])
def test_a_missing_default_says_that_it_is_one(column: str, option: str) -> None:
    """Who never set the option learns where the name comes from."""
    schema = pa.schema([field for field in SCHEMA if field.name != column])
    told = problem(schema)
    assert f"column '{column}' of option '{option}' (its default) is missing; " in told
    assert f"; give option '{option}'" in told


def test_many_columns_are_not_all_listed() -> None:
    """Twelve names are enough, with their number."""
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())] + [(f"c{i}", pa.int64()) for i in range(20)])
    assert problem(schema, tenant_column="zzzzzzzz").endswith(
        "there are: id, text, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, … (22 in all)"
    )


def test_a_payload_column_that_is_there_twice_is_refused() -> None:
    """Which one is meant cannot be told."""
    assert problem(pa.schema([*SCHEMA, ("size", pa.int8())])) == "two columns are called 'size'; rename one of them"


# --- text -------------------------------------------------------------------------------------------------------------


def test_text_must_be_strings() -> None:
    """Another type needs a cast, which the message says."""
    assert problem(text_column="size") == "text column 'size' must hold strings, it holds int32; cast it to string"


def test_large_strings_are_text() -> None:
    """Spark may be set to hand out large strings."""
    assert good(pa.schema([("id", pa.int64()), ("text", pa.large_string())])).text == ("text",)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{title}",
            "option 'text_template' names title, option 'text_column' text, title; they must name the same columns",
        ),
        (
            "nothing",
            "option 'text_template' names no column, option 'text_column' text, title; they must name the same columns",
        ),
        (
            "{}{text}{title}",
            "option 'text_template' names , text, title, option 'text_column' text, title; they must name the "
            "same columns",
        ),
        (
            "{title.x}{text}{title}",
            "option 'text_template' names text, title, title.x, option 'text_column' text, title; they must name the "
            "same columns",
        ),
        (
            "{title:>9}{text}",
            "option 'text_template' = '{title:>9}{text}' may hold only names in braces, without ':' and '!'",
        ),
        (
            "{title!r}{text}",
            "option 'text_template' = '{title!r}{text}' may hold only names in braces, without ':' and '!'",
        ),
        (
            "{title}{text",
            "option 'text_template' = '{title}{text' is no template: expected '}' before end of string; write a brace "
            "that is text twice",
        ),
    ],
)
def test_a_wrong_template_is_refused(template: str, message: str) -> None:
    """It names just the text columns, and formats nothing."""
    assert problem(text_column="title,text", text_template=template) == message


def test_a_good_template_is_taken() -> None:
    """Names may come in any order and more than once, and doubled braces are text."""
    assert (
        good(text_column="title,text", text_template="{{{text}}} {title} {text}").text_template
        == "{{{text}}} {title} {text}"
    )


# --- key --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.int8(),
        pa.int64(),
        pa.uint64(),
        pa.bool_(),
        pa.decimal128(9, 2),
        pa.date32(),
        pa.timestamp("us", "UTC"),
        pa.timestamp("us"),
    ],
    ids=str,
)
def test_these_types_are_keys(kind: pa.DataType) -> None:
    """Everything that has one spelling."""
    assert good(with_key(kind)).key == ("id",)


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()], ids=str)
def test_floats_are_no_keys(kind: pa.DataType) -> None:
    """They have no one spelling."""
    assert problem(with_key(kind)) == (
        f"key column 'id' holds {kind}, and floating-point numbers are no keys; cast it to string or to an integer"
    )


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        (pa.binary(), "decode(id, 'UTF-8') makes strings of bytes that are text, hex(id) of others"),
        (pa.list_(pa.int64()), "take an item of it, as in element_at(id, 1)"),
        (pa.struct([("x", pa.float64()), ("a", pa.int64())]), "name the field, as in 'id.a'"),
        (pa.struct([("x", pa.float64())]), "cast it to string"),
        (pa.map_(pa.string(), pa.int64()), "take a value of it, as in id['…']"),
        (pa.duration("us"), "cast it to string"),
        (pa.time64("us"), "cast it to string"),
    ],
    ids=str,
)
def test_other_types_are_no_keys(kind: pa.DataType, way_out: str) -> None:
    """The message lists what a key is made of, and how the value gets out of what it is wrapped in."""
    assert problem(with_key(kind)) == (
        f"key column 'id' holds {kind}; a key is made of strings, integers, decimals, booleans, dates or "
        f"timestamps; {way_out}"
    )


def test_a_float_tenant_is_refused_too() -> None:
    """The tenant is part of the key."""
    assert problem(tenant_column="price").startswith("key column 'price' holds double")


def test_the_tenant_comes_first() -> None:
    """Then the key columns, in the order of the option."""
    assert good(tenant_column="title", id_column="size,id").key == ("title", "size", "id")


def test_the_content_can_be_the_key() -> None:
    """The text is the key, after the tenant, and no column of that name is looked for."""
    columns = good(id_column="content", tenant_column="title")
    assert (columns.content_key, columns.key) == (True, ("title",))


def test_a_column_called_content_is_told_from_the_word() -> None:
    """Nobody can tell which is meant, so it is refused, but for a column that is the text anyway."""
    schema = pa.schema([("content", pa.string()), ("text", pa.string())])
    assert (
        problem(schema, id_column="content")
        == "id_column=content means the text itself, but there is also a column called 'content'; rename that column"
    )
    assert good(schema, id_column="content", text_column="content").content_key


def test_the_content_is_no_key_of_ready_made_vectors() -> None:
    """No text is read there."""
    assert problem(VECTORS, id_column="content", vector_column="v") == (
        "id_column=content needs a text, and with 'vector_column' none is read; give option 'id_column'"
    )


# --- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 4),
        pa.list_(pa.int16()),
    ],
    ids=str,
)
def test_arrays_of_numbers_are_vectors(kind: pa.DataType) -> None:
    """Floats and integers, in any kind of list; no text column is asked for then."""
    columns = good(pa.schema([("id", pa.int64()), ("v", kind)]), vector_column="v")
    assert (columns.vector, columns.text, columns.payload) == ("v", (), (("id", "id"),))


FLOATS, INTS = pa.list_(pa.float64()), pa.list_(pa.int32())
SPARSE = "ready-made sparse vectors are not taken, option 'sparse_model' makes them from a text"


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        (
            pa.struct({"type": pa.int8(), "size": pa.int32(), "indices": INTS, "values": FLOATS}),
            "turn it into an array with pyspark.ml.functions.vector_to_array",
        ),
        (pa.struct({"indices": INTS, "values": FLOATS}), SPARSE),
        (pa.map_(pa.int64(), pa.float32()), SPARSE),
        (pa.list_(pa.struct({"index": pa.int32(), "value": pa.float32()})), SPARSE),
        (pa.string(), "turn JSON text into an array with from_json(v, 'array<float>')"),
        (pa.binary(), "unpack the bytes into an array<float>, as numpy.frombuffer does in a pandas_udf"),
        (pa.list_(pa.decimal128(10, 2)), "cast it to array<float>"),
        (pa.list_(pa.string()), "cast it to array<float>"),
        (
            pa.list_(FLOATS),
            "a row has one vector: take one of them with element_at, or explode them into rows with keys of their own",
        ),
        (pa.struct({"a": FLOATS, "b": pa.string()}), "name the field, as in 'v.a'"),
        *(
            (kind, "")
            for kind in (
                pa.float32(),
                pa.list_(pa.bool_()),
                pa.map_(pa.string(), pa.float32()),
                pa.null(),
            )
        ),
    ],
    ids=str,
)
def test_other_types_are_no_vectors(kind: pa.DataType, way_out: str) -> None:
    """The type that is there is named, with what makes vectors of it where there is such a thing."""
    said = problem(pa.schema([("id", pa.int64()), ("v", kind)]), vector_column="v")
    assert said == f"vector column 'v' must hold arrays of numbers, it holds {kind}" + (
        f"; {way_out}" if way_out else ""
    )


# --- payload ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["id", "text", "title", "size", "price"]),
        ({"store_text": "false"}, ["id", "title", "size", "price"]),
        ({"payload_columns": "price"}, ["id", "text", "price"]),
        ({"payload_columns": "price", "store_text": "false"}, ["id", "price"]),
        ({"payload_columns": ""}, ["id", "text"]),
        ({"payload_columns": "", "store_text": "false"}, ["id"]),
        ({"payload_exclude": "price,size"}, ["id", "text", "title"]),
        ({"payload_rename": "price:cost"}, ["id", "text", "title", "size", "cost"]),
        ({"payload_rename": "price:size,size:price"}, ["id", "text", "title", "price", "size"]),
        ({"payload_rename": "id:key"}, ["key", "text", "title", "size", "price"]),
        (
            {"text_column": "title", "id_column": "title", "store_text": "false"},
            ["id", "text", "title", "size", "price"],
        ),
        ({"tenant_column": "size", "payload_columns": "price"}, ["id", "text", "size", "price"]),
    ],
)
def test_the_payload_is_what_was_asked_for(options: dict[str, str], names: list[str]) -> None:
    """Key columns always, the text unless it is unwanted, the rest as listed, in the order of the schema."""
    assert [new for _, new in good(**options).payload] == names


def test_fields_belong_to_the_payload() -> None:
    """The types that decide the mapping are those of the kept columns."""
    columns = good(payload_columns="price")
    assert columns.fields == (SCHEMA.field("id"), SCHEMA.field("text"), SCHEMA.field("price"))


def test_payload_keys_are_the_names_in_the_payload() -> None:
    """A search finds the key of an answer under its new name."""
    assert good(tenant_column="title", payload_rename="id:key").payload_keys == ("title", "key")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"payload_exclude": "id"}, "option 'payload_exclude' names the key column 'id', which is always kept"),
        (
            {"payload_rename": "price:size"},
            "two columns would be called 'size' in the payload; change option 'payload_rename'",
        ),
        (
            {"payload_columns": "size", "payload_rename": "price:p"},
            "option 'payload_rename' names 'price', which is not in the payload",
        ),
        (
            {"payload_rename": "price:_sink"},
            "the payload name '_sink' is the sink's own; leave that column out with option 'payload_exclude', "
            "or rename it",
        ),
    ],
)
def test_a_payload_that_cannot_be_is_refused(options: dict[str, str], message: str) -> None:
    """Keys cannot be left out, names are unique, and ours is ours."""
    assert problem(**options) == message


def test_excluding_the_text_is_not_ignored() -> None:
    """Either it is left out, or somebody says that store_text=false does that."""
    columns, problems = chosen(payload_exclude="text")
    assert problems or "text" not in dict(columns.payload)


def test_a_user_column_of_our_name_is_refused() -> None:
    """`_sink` is where our own fields lie; renamed or left out, it is welcome."""
    schema = pa.schema([*SCHEMA, ("_sink", pa.string())])
    assert "'_sink' is the sink's own" in problem(schema)
    assert good(schema, payload_rename="_sink:theirs").payload[-1] == ("_sink", "theirs")
    assert len(good(schema, payload_exclude="_sink").payload) == 5


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (pa.month_day_nano_interval(), "its type month_day_nano_interval has no mapping"),
        (pa.list_(pa.month_day_nano_interval()), "its type month_day_nano_interval has no mapping"),
        (pa.map_(pa.float64(), pa.string()), "it is a map with keys of type double, and an object's keys are strings"),
        (
            pa.struct([pa.field("a", pa.int8()), pa.field("a", pa.int8())]),
            "it is a struct with two fields of the same name",
        ),
    ],
)
def test_a_column_without_mapping_is_named(kind: pa.DataType, reason: str) -> None:
    """Column, reason and both ways out, also where it lies deep inside."""
    schema = pa.schema([*SCHEMA, ("odd", kind)])
    assert (
        problem(schema)
        == f"column 'odd' cannot become payload: {reason}; cast it, or leave it out with option 'payload_exclude'"
    )
    assert good(schema, payload_exclude="odd")


def test_spark_names_its_own_type() -> None:
    """Where Arrow has no such type, the message uses Spark's word for it."""
    odd = pa.field("odd", pa.month_day_nano_interval(), metadata={b"type": b"interval year to month"})
    assert "its type interval year to month has no mapping" in problem(pa.schema([*SCHEMA, odd]))


def test_all_problems_come_together() -> None:
    """Text, key, vector and payload are all looked at, whatever is wrong with the others."""
    schema = pa.schema([("id", pa.float64()), ("text", pa.int8()), ("odd", pa.month_day_nano_interval())])
    assert len(chosen(schema, tenant_column="none")[1]) == 4


@pytest.mark.parametrize("options", [{}, {"tenant_column": "tenant"}, {"id_column": "a,b"}])
def test_a_missing_key_is_one_of_the_problems(options: dict[str, str]) -> None:
    """The commonest mistake, no column 'id', is named like any other; so is a schema without columns."""
    for schema in (pa.schema([("text", pa.string())]), pa.schema([])):
        checked = planning.check({"path": "./nowhere", "encoder": "tests.fakes:Four", **options}, schema)
        missing = (options.get("id_column") or "id").split(",") + list(filter(None, [options.get("tenant_column")]))
        for name in missing:
            assert any(f"column '{name}' of option" in problem for problem in checked.problems)
