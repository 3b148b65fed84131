"""A window of rows → documents: every row accounted for, or the first that cannot be one, by name."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_vector_sink import payload_types
from spark_vector_sink.errors import BadRowError
from spark_vector_sink.options import ID_NAMESPACE, SinkOptions
from spark_vector_sink.payload_types import JSON_MARK
from spark_vector_sink.rows.bad_rows import SET_ASIDE
from spark_vector_sink.rows.columns import choose
from spark_vector_sink.rows.converter import read, sift
from spark_vector_sink.rows.documents import Documents, Sifted
from spark_vector_sink.rows.vectors import Wanted


def everything(rows: pa.RecordBatch, **options: Any) -> Sifted:
    columns, problems = choose(SinkOptions.from_mapping({"path": "./a", **options}), rows.schema)
    assert problems == []
    return read(rows, columns, ID_NAMESPACE)


def documents(rows: pa.RecordBatch, **options: Any) -> Documents:
    return everything(rows, **options).documents


def refused(rows: pa.RecordBatch, **options: Any) -> BadRowError:
    with pytest.raises(BadRowError) as bad:
        documents(rows, **options)
    return bad.value


def payloads(found: Documents) -> list[dict[str, Any]]:
    columns = [
        payload_types.values(column, field)
        for field, column in zip(found.payload.schema, found.payload.columns, strict=True)
    ]
    return [dict(zip(found.payload.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def table(ids: list[Any], texts: list[str | None], **more: Any) -> pa.RecordBatch:
    return pa.record_batch(
        {
            "id": pa.array(ids, pa.int64() if ids and isinstance(ids[-1], int) else pa.string()),
            "text": pa.array(texts, pa.string()),
            **more,
        }
    )


def test_each_row_becomes_a_document() -> None:
    """Key, id, text and payload of a row lie at the same place."""
    found = documents(table(["a", "b"], ["one", "two"], n=[1, 2]))
    assert (found.keys, found.texts, found.vectors) == (["a", "b"], ["one", "two"], None)
    assert found.ids == [str(uuid.uuid5(ID_NAMESPACE, key)) for key in "ab"]
    assert payloads(found) == [{"id": "a", "text": "one", "n": 1}, {"id": "b", "text": "two", "n": 2}]


def test_an_empty_window_has_no_documents() -> None:
    """No rows are no error."""
    found = documents(table([], []))
    assert (len(found), found.texts, len(found.payload)) == (0, [], 0)


# --- refused ----------------------------------------------------------------------------------------------------------


def test_a_null_key_is_refused() -> None:
    """There is no key to name, so the place in the window is."""
    error = refused(table([1, None, 3], ["a", "b", "c"]))
    assert (error.key, error.column) == (None, "id")
    assert str(error) == f"a row cannot be written: column 'id' is null (row 2 of 3 in its window); {SET_ASIDE}"


def test_a_null_in_one_key_column_is_refused() -> None:
    """A key of several columns needs all of them; the one that is null is named."""
    assert refused(table([1, 2], ["a", "b"], part=["x", None]), id_column="id,part").column == "part"


def test_a_null_tenant_is_refused() -> None:
    """It is part of the key."""
    assert refused(table([1], ["a"], tenant=pa.array([None], pa.string())), tenant_column="tenant").column == "tenant"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "is null"),
        ("", "holds only blanks"),
        ("  \t\n", "holds only blanks"),
        ("\u00a0\u2003", "holds only blanks"),
    ],
)
def test_a_text_of_nothing_is_refused(text: str | None, reason: str) -> None:
    """Null and blanks of any kind have nothing to encode; key and column are named."""
    error = refused(table([7, 8], ["a", text]))
    assert (
        str(error)
        == f"the row with key '8' cannot be written: column 'text' {reason}; there is no text to encode; {SET_ASIDE}"
    )


def test_the_first_bad_row_is_the_one_named() -> None:
    """The job ends at the first."""
    assert refused(table([1, 2, 3], ["a", None, " "])).key == "2"


def test_a_content_key_of_nothing_is_refused() -> None:
    """Without a text there is no key either, so none is named."""
    error = refused(pa.record_batch({"text": ["a", " "]}), id_column="content")
    assert (error.key, error.column) == (None, "text")


def test_a_bad_payload_value_names_its_row_and_column() -> None:
    """A NaN deep in a column is found, and the row it is in."""
    rows = table([1, 2, 3], ["a", "b", "c"], scores=[[1.0], [0.5, float("nan")], [float("inf")]])
    assert (
        str(refused(rows))
        == "the row with key '2' cannot be written: column 'scores' holds nan, which a payload cannot; make it "
        f"null; {SET_ASIDE}"
    )


def test_a_bad_payload_value_is_named_by_the_users_name() -> None:
    """The message has the column as it is in the DataFrame, not as it would be in the payload."""
    assert refused(table([1], ["a"], price=[float("inf")]), payload_rename="price:cost").column == "price"


def test_a_bad_variant_names_its_row_and_column() -> None:
    """Numbers that JSON allows and a payload does not are told by the row."""
    field = pa.field("v", pa.string(), metadata=JSON_MARK)
    rows = table([1, 2], ["a", "b"]).append_column(field, pa.array(["1", "[1e400]"]))
    error = refused(rows)
    assert (error.key, error.column) == ("2", "v")


def test_a_superseded_row_cannot_be_bad_payload() -> None:
    """A row that a later one replaces is not written, so its payload does not matter."""
    found = documents(table([1, 1], ["a", "b"], n=[float("nan"), 1.0]))
    assert payloads(found) == [{"id": 1, "text": "b", "n": 1.0}]


# --- duplicates -------------------------------------------------------------------------------------------------------


def test_the_last_of_a_key_wins() -> None:
    """Text and payload are the last row's, the others are counted, and the order is kept."""
    rows = everything(table(["a", "b", "a", "c", "a"], ["1", "2", "3", "4", "5"]))
    found = rows.documents
    assert (found.keys, found.texts, rows.superseded.tolist()) == (["b", "c", "a"], ["2", "4", "5"], [0, 2])
    assert [row["text"] for row in payloads(found)] == ["2", "4", "5"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5), max_size=20))
def test_every_row_is_a_document_or_superseded(ids: list[int]) -> None:
    """The two counts add up to the rows, and each key's document is its last row."""
    rows = everything(
        pa.record_batch(
            {"id": pa.array(ids, pa.int64()), "text": pa.array([f"t{i}" for i in range(len(ids))], pa.string())}
        )
    )
    found = rows.documents
    assert sorted([*found.rows, *rows.superseded]) == list(range(len(ids)))
    assert dict(zip(found.ids, found.texts, strict=True)) == {key: f"t{i}" for i, key in enumerate(ids)}


def test_vectors_follow_the_last_of_a_key() -> None:
    """A ready-made vector stays with its own row."""
    rows = pa.record_batch({"id": [1, 2, 1], "v": [[1.0], [2.0], [3.0]]})
    found = documents(rows, vector_column="v")
    assert found.vectors is not None
    assert (found.ids, found.vectors.to_pylist()) == ([2, 1], [[2.0], [3.0]])


def test_equal_content_is_one_document() -> None:
    """With the text as key, the same text twice is the same point."""
    found = documents(pa.record_batch({"text": ["a", "b", "a"]}), id_column="content")
    assert found.ids == [str(uuid.uuid5(ID_NAMESPACE, text)) for text in "ba"]


def test_equal_content_of_two_tenants_is_two() -> None:
    """The tenant comes first in the key."""
    found = documents(
        pa.record_batch({"text": ["a", "a"], "org": ["x", "y"]}), id_column="content", tenant_column="org"
    )
    assert found.ids == [str(uuid.uuid5(ID_NAMESPACE, f'["{org}","a"]')) for org in "xy"]


# --- text -------------------------------------------------------------------------------------------------------------

TWO = {"text_column": "title,body"}


def two(*rows: tuple[str | None, str | None]) -> pa.RecordBatch:
    columns: dict[str, Any] = {"id": list(range(len(rows)))}
    columns |= {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(("title", "body"))}
    return pa.record_batch(columns)


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        (None, ("a", "b"), "a\nb"),
        (None, (None, "b"), "\nb"),
        ("{title}: {body}", ("a", "b"), "a: b"),
        ("{title}: {body}", ("a", None), "a: "),
        ("{body} {{{title}}} {body}!", ("a", "b"), "b {a} b!"),
        ("{title}{body}", ("{body}", "b"), "{body}b"),
    ],
)
def test_several_columns_are_joined(template: str | None, row: tuple[str | None, str | None], text: str) -> None:
    """By the template, else by line breaks; a null counts as empty, and what a text holds is no template."""
    more = {} if template is None else {"text_template": template}
    assert documents(two(row), **TWO, **more).texts == [text]


@pytest.mark.parametrize("row", [(None, None), (" ", None), ("", "\n")])
def test_a_template_does_not_make_text_of_nothing(row: tuple[str | None, str | None]) -> None:
    """Where every column is null or blank, the words of the template alone are no text."""
    assert refused(two(("a", "b"), row), **TWO, text_template="Title: {title}, body: {body}").column == "title, body"


def test_a_template_works_for_one_column() -> None:
    """A prefix for each text needs no second column."""
    assert documents(table([1], ["x"]), text_template="passage: {text}").texts == ["passage: x"]


# --- payload ----------------------------------------------------------------------------------------------------------


def test_the_payload_has_its_new_names() -> None:
    """Renamed columns appear under the new name, and their values are those of the old."""
    assert payloads(documents(table([1], ["a"], price=[0.5]), payload_rename="price:cost,id:key")) == [
        {"key": 1, "text": "a", "cost": 0.5}
    ]


def test_a_payload_may_be_empty() -> None:
    """With the content as key and no text kept nothing is left, for as many rows as there are."""
    found = documents(pa.record_batch({"text": ["a", "b", "a"]}), id_column="content", store_text="false")
    assert (found.payload.num_columns, len(found.payload), len(found)) == (0, 2, 2)


def test_a_slice_of_a_batch_is_read_as_such() -> None:
    """Rows before and after the slice do not show anywhere."""
    whole = pa.record_batch(
        {
            "id": list(range(9)),
            "text": [f"t{i}" for i in range(9)],
            "l": [[i] for i in range(9)],
            "v": [[float(i)] for i in range(9)],
        }
    )
    found = documents(whole.slice(3, 2))
    assert (found.ids, found.texts, [row["l"] for row in payloads(found)]) == ([3, 4], ["t3", "t4"], [[3], [4]])
    vectors = documents(whole.slice(3, 2), vector_column="v").vectors
    assert vectors is not None
    assert np.array_equal(vectors.flatten().to_numpy(), [3.0, 4.0])


@pytest.mark.parametrize(
    ("column", "row"), [("n", "the row with key '2'"), ("text", "the row with key '2'"), ("id", "a row")]
)
def test_bytes_that_are_no_text_are_refused(column: str, row: str) -> None:
    """Spark lets a string hold any bytes; they are found here, with the key, and not when a store reads them."""
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 3], np.int32).tobytes()), pa.py_buffer(b"2a\xff")]
    )
    rows = pa.RecordBatch.from_pydict(
        {"id": pa.array(["1", "2"]), "text": pa.array(["x", "y"]), "n": pa.array(["a", "b"])} | {column: bad}
    )
    assert (
        str(refused(rows)) == f"{row} cannot be written: column '{column}' holds bytes that are no UTF-8; {SET_ASIDE}"
    )


# --- rejected ---------------------------------------------------------------------------------------------------------


def sifted(
    rows: pa.RecordBatch, dimension: int | None = None, **options: Any
) -> tuple[Sifted, dict[int, tuple[str | None, str, str]]]:
    """What the rows are, and of each that is rejected its key, its column and the kind of its reason."""
    columns, _ = choose(SinkOptions.from_mapping({"path": "./a", **options}), rows.schema)
    found = sift(rows, columns, ID_NAMESPACE, Wanted(dimension) if dimension else None)
    assert len({one.row for one in found.bad}) == len(found.bad)
    return found, {one.row: (one.key, one.column, one.kind) for one in found.bad}


def broken(*texts: bytes) -> pa.Array:
    """Strings of any bytes."""
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(texts), [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(texts))]
    )


def test_bad_rows_of_every_kind_are_told_apart() -> None:
    """Each once, with its key where it has one; the others are documents, and know their places."""
    rows = pa.record_batch(
        {
            "id": pa.array([0, None, 2, 3, 4, None, 6], pa.int64()),
            "text": pa.array(["a", "b", None, " ", "e", None, "g"], pa.string()),
            "n": pa.array([0.5, 1, 2, 3, float("inf"), float("nan"), None]),
            "s": broken(b"x", b"x", b"x", b"x", b"x", b"x", b"\xff"),
        }
    )
    window, bad = sifted(rows)
    found = window.documents
    assert bad == {
        1: (None, "id", "null key"),
        2: ("2", "text", "blank text"),
        3: ("3", "text", "blank text"),
        4: ("4", "n", "payload value"),
        5: (None, "id", "null key"),
        6: ("6", "s", "bad bytes"),
    }
    assert (found.ids, found.texts, found.rows.tolist(), payloads(found)) == (
        [0],
        ["a"],
        [0],
        [{"id": 0, "text": "a", "n": 0.5, "s": "x"}],
    )


def test_a_rejected_row_does_not_supersede() -> None:
    """The window is read as if the bad row were not in it: the one before it has the key."""
    found, bad = sifted(table([1, 2, 1, 1], ["old", "b", "new", "newest"], n=[0.5, 1.0, 2.0, float("nan")]))
    assert bad == {3: ("1", "n", "payload value")}
    assert (found.documents.texts, found.documents.rows.tolist(), found.superseded.tolist()) == (
        ["b", "new"],
        [1, 2],
        [0],
    )


def test_a_null_key_keeps_its_place_in_the_window() -> None:
    """The message counts rows that were rejected before it."""
    rows = pa.record_batch(
        {"id": pa.array(["a", "b", None]), "part": broken(b"\xff", b"b", b"c"), "text": ["a", "b", "c"]}
    )
    columns, _ = choose(SinkOptions.from_mapping({"path": "./a", "id_column": "part,id"}), rows.schema)
    bad = sift(rows, columns, ID_NAMESPACE).bad
    assert str(bad[1].error()) == "a row cannot be written: column 'id' is null (row 3 of 3 in its window)"


def test_ready_made_vectors_that_do_not_fit_are_rejected() -> None:
    """Of another length, null, or with a null in them."""
    rows = pa.record_batch(
        {"id": [1, 2, 3, 4], "v": pa.array([[1.0], [1.0, 2.0], None, [None]], pa.list_(pa.float32()))}
    )
    found, bad = sifted(rows, dimension=1, vector_column="v")
    assert bad == {1: ("2", "v", "vector"), 2: ("3", "v", "vector"), 3: ("4", "v", "vector")}
    assert found.documents.ids == [1]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3) | st.none(), st.sampled_from(["a", " ", None]), st.sampled_from([0.5, float("nan")])
        ),
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_every_row_is_a_document_or_superseded_or_rejected(rows: list[tuple[int | None, str | None, float]]) -> None:
    """And documents are those of the window without the rejected rows."""
    columns = [
        pa.array([row[i] for row in rows], kind) for i, kind in enumerate((pa.int64(), pa.string(), pa.float64()))
    ]
    batch = pa.record_batch(columns, names=["id", "text", "n"])
    found, bad = sifted(batch)
    assert sorted([*found.documents.rows, *found.superseded, *bad]) == list(range(len(rows)))
    good = [row for row in range(len(rows)) if row not in bad]
    alone = everything(batch.take(pa.array(good, pa.int64())))
    assert (alone.documents.ids, alone.documents.texts, len(alone.superseded)) == (
        found.documents.ids,
        found.documents.texts,
        len(found.superseded),
    )


def test_columns_of_rejects_are_no_payload() -> None:
    """Mended rejects are written as they are read; who wants them in the payload names them."""
    rows = table([1], ["a"], _reject_key=["1"], _reject_reason=["blank text"], _reject_message=["m"])
    assert payloads(documents(rows)) == [{"id": 1, "text": "a"}]
    assert payloads(documents(rows, payload_columns="_reject_key")) == [{"id": 1, "text": "a", "_reject_key": "1"}]


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us", "UTC")], ids=str)
def test_a_key_without_a_text_is_refused(kind: pa.DataType) -> None:
    """By its column: a date after 9999 has no text in ISO 8601, and so no id."""
    far = pa.array(
        [0, 2**31 - 1 if kind == pa.date32() else 2**63 - 1], pa.int32() if kind == pa.date32() else pa.int64()
    ).view(kind)
    error = refused(pa.record_batch({"id": far, "text": ["a", "b"]}))
    assert (error.key, error.column) == (None, "id")
    columns, _ = choose(SinkOptions.from_mapping({"path": "./a"}), pa.schema([("id", kind), ("text", pa.string())]))
    found = sift(pa.record_batch({"id": far, "text": ["a", "b"]}), columns, ID_NAMESPACE)
    assert (found.documents.rows.tolist(), [(bad.row, bad.kind) for bad in found.bad]) == ([0], [(1, "payload value")])


def test_bad_bytes_in_a_list_are_those_of_one_row() -> None:
    """The rows beside it are documents."""
    words = pa.array([b"a", b"caf\xe9", b"b"], pa.binary()).view(pa.string())
    rows = table([1, 2, 3], ["x", "y", "z"], tags=pa.ListArray.from_arrays([0, 1, 2, 3], words))
    columns, _ = choose(SinkOptions.from_mapping({"path": "./a"}), rows.schema)
    found = sift(rows, columns, ID_NAMESPACE)
    assert (found.documents.ids, [(one.key, one.column, one.kind) for one in found.bad]) == (
        [1, 3],
        [("2", "tags", "bad bytes")],
    )


def test_a_vector_of_no_numbers_takes_no_place() -> None:
    """The row before it of the same key is the document."""
    rows = pa.record_batch({"id": [7, 7], "v": pa.array([[1.0], [float("nan")]], pa.list_(pa.float32()))})
    columns, _ = choose(SinkOptions.from_mapping({"path": "./a", "vector_column": "v"}), rows.schema)
    found = sift(rows, columns, ID_NAMESPACE, Wanted(1))
    assert (found.documents.rows.tolist(), found.superseded.tolist(), [one.row for one in found.bad]) == ([0], [], [1])


def test_columns_that_nobody_reads_may_be_of_any_type() -> None:
    """Arrow cannot take single rows of every type."""
    rows = table([1, 1], ["a", "b"], other=pa.array(["x", "y"], pa.string_view()))
    assert documents(rows, payload_exclude="other").rows.tolist() == [1]
