"""Where a value is read from: columns by exactly their names, paths into structs, and what is said of a name that
nothing has."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink.options import SinkOptions
from spark_vector_sink.payload_types import JSON_MARK
from spark_vector_sink.rows.column_paths import before, find, get
from spark_vector_sink.rows.columns import Columns, choose

AFTER = pa.struct(
    [("id", pa.int64()), ("body", pa.string()), ("at", pa.timestamp("us")), ("emb", pa.list_(pa.float32()))]
)


def choice(schema: pa.Schema, **options: Any) -> tuple[Columns, list[str]]:
    parsed, wrong = SinkOptions.parse({"path": "./s", **options}, columns=schema.names)
    assert wrong == []
    return choose(parsed, schema)


def problem(schema: pa.Schema, **options: Any) -> str:
    (only,) = choice(schema, **options)[1]
    return only


# --- names ------------------------------------------------------------------------------------------------------------

ODD = [" text", "text ", "a,b", 'a"b', "a.b", "a b", "[x]", "Text", "", "été", "a:b", "{x}"]


@pytest.mark.parametrize("name", ODD)
def test_any_column_can_be_named_in_a_list(name: str) -> None:
    """As a Python list, and as the JSON array that Spark's options can hold, whatever signs are in it."""
    schema = pa.schema([("id", pa.int64()), ("text", pa.string()), (name, pa.string())])
    for given in ([name], pa_json([name])):
        columns, problems = choice(schema, text_column=given)
        assert (columns.text, problems) == ((name,), [])


def pa_json(names: list[str]) -> str:
    import json

    return json.dumps(names)


@pytest.mark.parametrize("name", [" text", "text ", "  t"])
def test_blanks_belong_to_a_name_where_a_column_has_them(name: str) -> None:
    """A header such as `id, text` makes a column ` text`, which is named by just that."""
    schema = pa.schema([("id", pa.int64()), (name, pa.string())])
    assert choice(schema, text_column=name)[0].text == (name,)


def test_blanks_after_a_comma_are_none_of_a_name() -> None:
    """`title, body` names two columns, unless there is one ` body` and none `body`."""
    plain = pa.schema([("id", pa.int64()), ("title", pa.string()), ("body", pa.string())])
    assert choice(plain, text_column="title, body")[0].text == ("title", "body")
    odd = pa.schema([("id", pa.int64()), ("title", pa.string()), (" body", pa.string())])
    assert choice(odd, text_column="title, body")[0].text == ("title", " body")


def test_names_that_differ_in_case_are_two_columns() -> None:
    """Each is taken as it is written."""
    schema = pa.schema([("id", pa.int64()), ("ID", pa.string()), ("text", pa.string()), ("Text", pa.string())])
    columns, problems = choice(schema, id_column="ID", text_column="Text")
    assert (columns.key, columns.text, problems) == (("ID",), ("Text",), [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["a"', "what begins with [ is a JSON array of names, and this is none"),
        ("[1]", "each item of the array must be a text"),
    ],
)
def test_a_broken_array_is_no_list_of_names(text: str, reason: str) -> None:
    """It would name columns that nobody has."""
    _, problems = SinkOptions.parse({"path": "./s", "text_column": text})
    assert problems == [
        f"option 'text_column' must be names separated by commas, or a JSON array of names, got {text!r} ({reason})"
    ]


# --- what is meant ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "hint"),
    [
        ("te\u200bxt", "did you mean 'te<U+200B>xt' (only one of the two has U+200B ZERO WIDTH SPACE)?"),
        ("t\u0435xt", "did you mean 't\u0435xt' (only one of the two has U+0435 CYRILLIC SMALL LETTER IE)?"),
        (
            "text\u00a0",
            "did you mean 'text<U+00A0>' (with the blanks that it has; in a list of names, as a JSON array)?",
        ),
        ("TEXT", "did you mean 'TEXT'?"),
    ],
    ids=["zero width", "cyrillic", "hard blank", "capitals"],
)
def test_a_difference_that_nobody_sees_is_told_by_its_code(column: str, hint: str) -> None:
    """Two names that look the same are told apart."""
    schema = pa.schema([("id", pa.int64()), (column, pa.string())])
    assert (
        problem(schema, text_column="text")
        == f"column 'text' of option 'text_column' (its default) is missing; {hint}; give option 'text_column'"
    )


def test_only_what_would_work_is_suggested() -> None:
    """The nearest name is of a column, or of a field, that can play the part."""
    schema = pa.schema([("after", AFTER), ("id_", pa.float64()), ("text", pa.string())])
    assert problem(schema, id_column="after.ids").endswith("did you mean 'after.id'?")
    assert problem(schema, id_column="id").startswith(
        "column 'id' of option 'id_column' (its default) is missing; there are: after, id_, text"
    )


@pytest.mark.parametrize(
    ("field", "way"),
    [
        (pa.field("doc", pa.string(), metadata=JSON_MARK), "variant_get(doc, '$.id', 'string')"),
        (pa.field("doc", pa.map_(pa.string(), pa.string())), "doc['id']"),
    ],
    ids=["variant", "map"],
)
def test_a_path_leads_through_structs_only(field: pa.Field, way: str) -> None:
    """What has no fields of its own needs a column of its own, and the message shows how."""
    schema = pa.schema([field, ("text", pa.string())])
    assert problem(schema, id_column="doc.id").endswith(f"'doc' is no struct; make a column of it first, as in {way}")


# --- paths ------------------------------------------------------------------------------------------------------------


def test_a_column_of_exactly_that_name_comes_first() -> None:
    """Before the field of a struct; and of two ways through names with dots, the one that leads somewhere."""
    schema = pa.schema(
        [
            ("a", pa.struct([("b", pa.int64())])),
            ("a.b", pa.string()),
            ("x.y", pa.struct([("z.w", pa.int8())])),
            ("x", pa.struct([])),
        ]
    )
    assert [
        found and found[0]
        for found in (find("a.b", schema), find("x.y.z.w", schema), find("a.c", schema), find("a.b.c", schema))
    ] == [
        ("a.b",),
        ("x.y", "z.w"),
        None,
        None,
    ]


def test_a_field_of_a_null_is_null() -> None:
    """As deep as it lies, also in a slice."""
    kind = pa.struct([("b", pa.struct([("c", pa.int64())]))])
    rows = pa.record_batch(
        {"a": pa.array([{"b": {"c": 9}}, {"b": {"c": 1}}, None, {"b": None}, {"b": {"c": None}}], kind)}
    ).slice(1)
    assert get(rows, ("a", "b", "c")).to_pylist() == [1, None, None, None]


@pytest.mark.parametrize(
    ("option", "path", "fits"),
    [
        ("text_column", "after.body", True),
        ("id_column", "after.id", True),
        ("tenant_column", "after.body", True),
        ("shard_key_column", "after.body", True),
        ("version_column", "after.at", True),
        ("op_column", "after.body", True),
        ("vector_column", "after.emb", True),
        ("text_column", "after.id", False),
        ("version_column", "after.body", False),
    ],
)
def test_each_part_can_be_a_path(option: str, path: str, fits: bool) -> None:
    """With the same conditions on its type as a column's."""
    schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("after", AFTER)])
    place = {"url": "http://localhost:6333", "path": "articles"} if option == "shard_key_column" else {}
    columns, problems = choice(schema, **{option: path, **place})
    assert (problems == []) is fits
    assert "after" in columns.read


def test_the_key_before_a_deletion_stands_beside_the_key() -> None:
    """Where the path leads through `after` and the same fields lie under `before`; else there is no other."""
    envelope = pa.struct([("before", AFTER), ("after", AFTER)])
    schema = pa.schema([("payload", envelope), ("after", AFTER), ("before", pa.struct([("other", pa.int64())]))])
    assert before(("payload", "after", "id"), schema) == ("payload", "before", "id")
    assert before(("after", "id"), schema) is None
