"""Values that lie in structs or variants: read from where they are, stored where they were, the same on every store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spark_vector_sink import reembed, search
from spark_vector_sink.encode import loader
from spark_vector_sink.errors import BadRowError
from spark_vector_sink.payload_types import JSON_MARK, VARIANT
from tests.jobs import Place, place
from tests.tiny_model import DIMENSION

__all__ = ["place"]

DOCUMENT = pa.struct(
    [
        ("id", pa.int64()),
        ("tenant", pa.string()),
        ("body", pa.string()),
        ("lang", pa.string()),
        ("emb", pa.list_(pa.float32())),
    ]
)
ENVELOPE = pa.schema([("before", DOCUMENT), ("after", DOCUMENT), ("op", pa.string()), ("ts_ms", pa.int64())])
FEED = {
    "id_column": "after.id",
    "tenant_column": "after.tenant",
    "vector_column": "after.emb",
    "op_column": "op",
    "version_column": "ts_ms",
    "dimension": "4",
}


def document(key: int, body: str = "a text", lang: str = "en") -> dict[str, Any]:
    return {"id": key, "tenant": "t", "body": body, "lang": lang, "emb": [1.0, float(key), 0.0, 0.0]}


def events(*rows: tuple[dict[str, Any] | None, dict[str, Any] | None, str, int]) -> pa.Table:
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=ENVELOPE)


def variants(*texts: str | None) -> pa.Array:
    return pa.array([None if text is None else (text, None) for text in texts], VARIANT)


def table(**columns: Any) -> Any:
    """A table whose columns of variants are marked as such."""
    arrays = [column if isinstance(column, pa.Array) else pa.array(column) for column in columns.values()]
    fields = [
        pa.field(
            name,
            pa.string() if array.type == VARIANT else array.type,
            metadata=JSON_MARK if array.type == VARIANT else None,
        )
        for name, array in zip(columns, arrays, strict=True)
    ]
    return Rows(arrays, pa.schema(fields))


class Rows:
    """A table as Spark's tasks have it: declared with JSON text where its batches hold variants."""

    def __init__(self, arrays: list[pa.Array], schema: pa.Schema) -> None:
        self.schema, self._arrays = schema, arrays

    def to_batches(self) -> list[pa.RecordBatch]:
        return [pa.RecordBatch.from_arrays(self._arrays, names=self.schema.names)]


# --- paths ------------------------------------------------------------------------------------------------------------


def test_an_envelope_of_debezium_is_written_as_it_comes(place: Place) -> None:
    """Keys, tenants and vectors from under `after`, of a deletion from under `before`; the payload has the document as
    it is now, and nothing else."""
    one, two, three = document(1), document(2), document(3)
    first = events((None, one, "r", 1), (None, two, "c", 2), (None, three, "c", 3))
    place.write(first, **FEED)
    report = place.write(
        events((one, document(1, "another", "de"), "u", 4), (two, None, "d", 5), (three, document(3, "late"), "u", 2)),
        **FEED,
    )
    assert (report.written, report.deleted, report.older) == (1, 1, 1)
    payloads = sorted((payload for payload in place.stored().values()), key=lambda payload: payload["after"]["id"])
    kept = [{key: value for key, value in payload.items() if key != "_sink"} for payload in payloads]
    assert kept == [
        {"after": {"id": 1, "tenant": "t", "body": "another", "lang": "de"}, "ts_ms": 4},
        {"after": {"id": 3, "tenant": "t", "body": "a text", "lang": "en"}, "ts_ms": 3},
    ]


def test_a_deletion_removes_the_very_point(place: Place) -> None:
    """Without versions too: the key before has the id of the key after."""
    feed = {name: value for name, value in FEED.items() if name != "version_column"}
    place.write(events((None, document(1), "c", 1), (None, document(2), "c", 1)), **feed)
    place.write(events((document(1), None, "d", 2)), **feed)
    assert [payload["after"]["id"] for payload in place.stored().values()] == [2]


def test_a_deletion_without_a_key_is_a_bad_row(place: Place) -> None:
    """Where the table's replica identity leaves `before` empty."""
    with pytest.raises(BadRowError, match=r"column 'after\.id' is null"):
        place.write(events((None, None, "d", 2)), **{**FEED, "tenant_column": None})


def test_what_was_before_is_kept_where_it_is_asked_for(place: Place) -> None:
    """By name; the operation too."""
    place.write(events((document(1, "old"), document(1), "u", 1)), **FEED, payload_columns="before,op")
    (payload,) = place.stored().values()
    assert (payload["before"]["body"], payload["op"], payload["after"]) == ("old", "u", {"id": 1, "tenant": "t"})


def test_a_key_and_a_text_from_a_struct_are_always_kept(place: Place) -> None:
    """Of the struct, nothing but these."""
    rows = pa.table({"doc": pa.array([{**document(5), "body": "kept"}], DOCUMENT), "other": ["x"]})
    options = {
        "vector_column": None,
        "encoder": "tests.fakes:Counting",
        "id_column": "doc.id",
        "text_column": "doc.body",
    }
    place.write(rows, **options, payload_columns="other", payload_rename="other:o")
    (payload,) = place.stored().values()
    assert payload == {"doc": {"id": 5, "body": "kept"}, "o": "x"}
    loader.unload()


def test_a_text_that_is_not_stored_is_in_no_struct_either(place: Place) -> None:
    """`store_text=false` leaves out the one field, and the rest of the struct stays."""
    rows = pa.table({"doc": pa.array([document(5)], DOCUMENT)})
    place.write(
        rows,
        vector_column=None,
        encoder="tests.fakes:Counting",
        id_column="doc.id",
        text_column="doc.body",
        store_text="false",
    )
    (payload,) = place.stored().values()
    assert sorted(payload["doc"]) == ["emb", "id", "lang", "tenant"]
    loader.unload()


@pytest.fixture
def reading(place: Place, tiny_model: Path) -> Place:
    """Every store in turn, for jobs that encode the text of a struct."""
    options = {name: value for name, value in place.options.items() if name != "vector_column"}
    return Place(
        {
            **options,
            "model": str(tiny_model),
            "id_column": "doc.id",
            "text_column": "doc.body",
            "device": "cpu",
            "dtype": "float32",
        }
    )


def test_a_collection_knows_key_and_text_by_their_path(reading: Place) -> None:
    """A search tells both, and the stored texts can be encoded again."""
    kind = pa.struct([("id", pa.string()), ("body", pa.string())])
    rows = pa.table({"doc": pa.array([{"id": "a", "body": "the dog"}, {"id": "b", "body": "the sun"}], kind)})
    reading.write(rows)
    kept = {
        name: value
        for name, value in reading.options.items()
        if name in ("url", "grpc_port", "device", "dtype", "model")
    }
    found = search(reading.options["path"], "the dog", **kept)
    assert sorted((hit.key, hit.text) for hit in found) == [("a", "the dog"), ("b", "the sun")]
    reading.write(rows, mode="overwrite")
    assert reembed(reading.options["path"], **{**kept, "normalize": "true"}).written == 2


def test_chunks_have_their_own_piece_in_the_struct(reading: Place) -> None:
    """Its other fields are the document's; a change of one alone reaches every chunk."""
    kind = pa.struct([("id", pa.string()), ("body", pa.string()), ("lang", pa.string())])
    body = " ".join(
        f"the dog number {number} and the cat number {number + 1} sleep in the sun." for number in range(12)
    )

    def write(lang: str) -> Any:
        return reading.write(
            pa.table({"doc": pa.array([{"id": "a", "body": body, "lang": lang}], kind)}),
            long_text="chunk",
            unchanged="skip",
        )

    def stored() -> list[dict[str, Any]]:
        hits = reading.nearest([1.0] + [0.0] * (DIMENSION - 1))
        return sorted((dict(hit.payload) for hit in hits), key=lambda payload: payload["_sink"]["chunk"])

    write("en")
    assert len(stored()) > 2
    for payload in stored():
        start, stop = payload["_sink"]["span"]
        assert payload["doc"] == {"id": "a", "body": body[start:stop], "lang": "en"}
    assert write("en").unchanged == 1
    assert write("de").written == 1
    assert {payload["doc"]["lang"] for payload in stored()} == {"de"}


# --- variants ---------------------------------------------------------------------------------------------------------


def test_a_variant_has_the_id_of_its_value(place: Place) -> None:
    """A number its own, a text that of the text."""
    numbers = [[1.0, float(n), 0.0, 0.0] for n in range(2)]
    place.write(table(id=variants("7", '"a"'), v=pa.array(numbers, pa.list_(pa.float32()))), dimension="4")
    plainly = Place({**place.options, "path": f"{place.options['path']}2"})
    plainly.write(pa.table({"id": ["a"], "v": pa.array(numbers[:1], pa.list_(pa.float32()))}), dimension="4")
    assert place.stored().keys() == {7, *plainly.stored()}
    assert [payload["id"] for payload in place.stored().values() if payload["id"] != 7] == ["a"]


def test_all_parts_of_a_job_can_be_variants(place: Place) -> None:
    """Key, tenant, vector, version and operation at once: written, and deleted again."""
    options = {"tenant_column": "t", "version_column": "n", "op_column": "op", "dimension": "4"}

    def rows(version: str, op: str) -> Any:
        return table(
            id=variants("1"), t=variants('"x"'), v=variants("[1, 0.5, 0, 0]"), n=variants(version), op=variants(op)
        )

    assert place.write(rows("3", '"insert"'), **options).written == 1
    assert place.write(rows("2", '"delete"'), **options).older == 1
    (hit,) = place.nearest([1.0, 0.5, 0.0, 0.0])
    assert (hit.payload["id"], hit.payload["t"], hit.payload["n"]) == (1, "x", 3)
    assert place.write(rows("4", '"delete"'), **options).deleted == 1
    assert place.nearest([1.0, 0.5, 0.0, 0.0]) == []


def test_a_variant_that_cannot_play_its_part_is_a_bad_row(place: Place, tmp_path: Path) -> None:
    """With its key and the reason, while the others are written; a null is a null."""
    rows = table(id=pa.array([1, 2, 3]), text=variants('"ok"', '{"a": 1}', "null"))
    told = place.write(rows, vector_column=None, encoder="tests.fakes:Counting", rejects_path=str(tmp_path / "rejects"))
    assert (told.written, told.rejected) == (1, 2)
    found = pq.read_table(tmp_path / "rejects").to_pylist()
    assert [(row["_reject_key"], row["_reject_reason"], row["text"]) for row in found] == [
        ("2", "variant", '{"a": 1}'),
        ("3", "blank text", "null"),
    ]
    loader.unload()


def test_two_keys_are_never_one_point(place: Place) -> None:
    """A number and a text that are written the same have the same id: refused, and not written over one another."""
    vector = pa.array([[1.0, 0.0, 0.0, 0.0]] * 2, pa.list_(pa.float32()))
    with pytest.raises(BadRowError, match="both would be one point"):
        place.write(table(id=variants("-5", '"-5"'), v=vector), dimension="4")


def test_a_variant_text_is_cut_into_chunks(place: Place, tiny_model: Path) -> None:
    """Each chunk has its piece as a text, and the store stays what it is."""
    body = " ".join(
        f"the dog number {number} and the cat number {number + 1} sleep in the sun." for number in range(12)
    )
    options = {
        "vector_column": None,
        "model": str(tiny_model),
        "long_text": "chunk",
        "device": "cpu",
        "dtype": "float32",
    }
    place.write(table(id=pa.array([1]), text=variants(f'"{body}"')), **options)
    hits = Place({**place.options, **options}).nearest([1.0] + [0.0] * (DIMENSION - 1))
    assert len(hits) > 2
    assert all(hit.payload["text"] == body[slice(*hit.payload["_sink"]["span"])] for hit in hits)
