"""Each option with another value than its usual one: what changes a stored vector changes the fingerprint, so that
`unchanged=skip` encodes it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pytest

from spark_vector_sink import inspect
from spark_vector_sink.options import option_table
from tests.fake_server import FakeServer, StoredPoint
from tests.jobs import points_on, server_place

LONG = " ".join(["dog snow tree house"] * 40)
ROWS = pa.table(
    {
        "id": [1, 2],
        "key": ["a", "b"],
        "text": ["dog house", LONG],
        "title": ["snow", "tree"],
        "city": ["Oslo", "Rome"],
        "op": ["insert", "insert"],
        "n": [3, 4],
        "v": [[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]],
        "w": [[2.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 2.0]],
    }
)
USUAL = {"distance": "dot", "unchanged": "skip", "dtype": "float32", "payload_columns": "text,city", "device": "cpu"}
CHUNKS = {"long_text": "chunk", "chunk_tokens": 24, "chunk_overlap_tokens": 4}
READY_MADE = {"vector_column": "v", "model": None, "dtype": None, "device": None}


@dataclass(frozen=True)
class Another:
    """Another value of an option. changes: whether it makes other vectors. beside: options of both jobs. A text in
    braces is a model of that kind."""

    value: Any
    changes: bool = False
    beside: Mapping[str, Any] = field(default_factory=dict)


ANOTHER = {
    "api_key": Another("secret"),
    "api_key_env": Another("ANOTHER_KEY"),
    "timeout_seconds": Another(30),
    "text_column": Another("title", changes=True),
    "text_template": Another("{title} {text}", changes=True, beside={"text_column": "text,title"}),
    "id_column": Another("key"),
    "id_namespace": Another("6ba7b810-9dad-11d1-80b4-00c04fd430c8", beside={"id_column": "key"}),
    "tenant_column": Another("city"),
    "version_column": Another("n"),
    "op_column": Another("op"),
    "payload_columns": Another("text,n"),
    "payload_exclude": Another("city", beside={"payload_columns": None}),
    "payload_rename": Another("city:town"),
    "vector_column": Another("v", changes=True, beside=READY_MADE | {"dimension": 4, "vector_column": "w"}),
    "vector_name": Another("body", changes=True),
    "sparse_vector_name": Another("words", changes=True, beside={"sparse_model": "{splade}"}),
    "model": Another("{bert-cls-normalize}", changes=True),
    "sparse_model": Another("{splade}", changes=True),
    "encoder": Another(
        "tests.fakes:Four", changes=True, beside={"dtype": None, "model": None, "encoder": "tests.fakes:Five"}
    ),
    "dtype": Another("bfloat16", changes=True),
    "token_budget": Another(64),
    "window_rows": Another(1),
    "prompt_name": Another("query", changes=True, beside={"model": "{prompts}"}),
    "prompt": Another("house: ", changes=True),
    "normalize": Another("true", changes=True),
    "truncate_dim": Another(8, changes=True),
    "max_tokens": Another(8, changes=True),
    "trust_remote_code": Another("true"),
    "long_text": Another("chunk", changes=True, beside={"max_tokens": 40}),
    "chunk_tokens": Another(16, changes=True, beside=CHUNKS),
    "chunk_overlap_tokens": Another(8, changes=True, beside=CHUNKS),
    "store_text": Another("false", beside={"payload_columns": "city"}),
    "distance": Another("euclid", changes=True),
    "collection_config": Another(json.dumps({"shard_number": 1})),
    "versioned": Another("false"),
    "payload_indexes": Another("city:keyword"),
    "keep_versions": Another(2),
    "replace_collection": Another("true"),
    "adopt_collection": Another("true"),
    "batch_points": Another(1),
    "batch_bytes": Another(2048),
    "max_in_flight": Another(1),
    "max_points_per_second": Another(1000),
    "ordering": Another("strong"),
    "wait_for_index": Another("true"),
    "existing": Another("merge"),
    "delete_missing": Another("true", beside={"source": "s"}),
    "source": Another("s"),
    "max_delete_share": Another(0.5, beside={"source": "s", "delete_missing": "true"}),
    "tombstone_days": Another(1, beside={"version_column": "n", "op_column": "op"}),
    "rejects_path": Another("{folder}/rejects"),
    "max_rejects": Another(1, beside={"rejects_path": "{folder}/rejects"}),
    "retry_max_seconds": Another(60),
    "report_path": Another("{folder}/report.json"),
    "progress_seconds": Another(0),
}
NOT_HERE = {
    "url": "it is the server's",
    "grpc_port": "it is the server's",
    "collection": "it is the place",
    "api_key_file": "as api_key, and the file must be there",
    "tls_ca_file": "the server has no certificate",
    "model_revision": "of a hub, and a part of the model's identity",
    "device": "of a machine that has several",
    "dimension": "the length of the vectors in the table",
    "create_collection": "there is nothing to write to then",
    "shard_key_column": "of a collection with custom sharding",
    "unchanged": "without skip there is no fingerprint",
}


def test_each_option_has_another_value_here() -> None:
    """Or a reason why it has none: a new option comes with its answer."""
    assert ANOTHER.keys() | NOT_HERE.keys() == option_table().keys()
    assert not ANOTHER.keys() & NOT_HERE.keys()


Stored: TypeAlias = "Callable[[Mapping[str, Any]], list[Document]]"


@pytest.fixture(scope="module")
def stored(
    shared_fake: FakeServer, model_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Stored:
    """What is stored of the rows by a job with these options; the same options are written once."""
    folder, seen = tmp_path_factory.mktemp("options"), dict[str, list[Document]]()

    def write(options: Mapping[str, Any]) -> list[Document]:
        asked = json.dumps(options, sort_keys=True)
        if asked not in seen:
            place = server_place(
                shared_fake,
                **{key: _filled(value, model_of, folder) for key, value in options.items() if value is not None},
            )
            place.write(ROWS)
            there = inspect(place.options["path"], url=shared_fake.url, grpc_port=shared_fake.grpc_port)
            seen[asked] = documents(
                points_on(shared_fake, place.options["path"]),
                {vector.name: vector.distance for vector in there.vectors},
            )
        return seen[asked]

    return write


@pytest.mark.parametrize("name", ANOTHER)
def test_what_changes_a_vector_changes_its_fingerprint(stored: Stored, name: str) -> None:
    """Read from what the store holds: for each document, the vectors of its points by name and place, and the half of
    its fingerprint that is of the vector."""
    another = ANOTHER[name]
    usual = USUAL | {"model": "{bert-mean}"} | dict(another.beside)
    pairs = list(zip(stored(usual), stored(usual | {name: another.value}), strict=True))
    changed = [differ(before, after) for before, after in pairs]
    assert any(changed) == another.changes
    assert all(
        before.fingerprint != after.fingerprint
        for (before, after), has_changed in zip(pairs, changed, strict=True)
        if has_changed
    )


def _filled(value: Any, model_of: Callable[[str], Path], folder: Path) -> Any:
    """The value, a model of a kind or a place in the test's folder in the place of a name in braces."""
    text = str(value)
    if text.startswith("{folder}"):
        return text.replace("{folder}", str(folder))
    return (
        str(model_of(text[1:-1]))
        if text.startswith("{") and text.endswith("}") and "}" not in text[:-1] and ":" not in text
        else value
    )


@dataclass(frozen=True)
class Document:
    """What is stored of a document. vectors: by name, the number of the chunk and the distance. fingerprint: the half
    that is of the vector."""

    vectors: dict[tuple[str, int, str | None], Any]
    fingerprint: str


def documents(points: Mapping[Any, StoredPoint], distances: Mapping[str, str | None]) -> list[Document]:
    """The two documents, whatever their ids and payloads are."""
    both = [Document({}, ""), Document({}, "")]
    for point in points.values():
        number = 0 if {"Oslo", 3} & {value for value in point.payload.values() if isinstance(value, (str, int))} else 1
        ours = point.payload["_sink"]
        chunk = int(ours.get("chunk", 0))
        for name, vector in point.vectors.items():
            both[number].vectors[name, chunk, distances[name]] = vector
        for name, weights in point.sparse.items():
            both[number].vectors[name, chunk, None] = [part for pair in sorted(weights.items()) for part in pair]
        both[number] = replace(both[number], fingerprint=ours["fingerprint"][: len(ours["fingerprint"]) // 2])
    return both


def differ(before: Document, after: Document) -> bool:
    """Whether a search would see other vectors; bits that depend on the batch are none."""
    if before.vectors.keys() != after.vectors.keys():
        return True
    return any(
        len(one) != len(other := after.vectors[key]) or not np.allclose(one, other, atol=1e-5)
        for key, one in before.vectors.items()
    )
