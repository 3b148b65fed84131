"""The names that options have elsewhere: each is answered with ours, and none with a name that only looks alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spark_vector_sink.options import option_table
from spark_vector_sink.other_names import INSTEAD, REFUSED, unknown

ROOT = Path(__file__).parents[2]


def said(name: str) -> str:
    return unknown(name, option_table())


def named(text: str) -> set[str]:
    """The options of ours in a line."""
    return set(re.findall(r"'(\w+)'", text)) & option_table().keys()


@pytest.mark.parametrize(
    ("names", "ours"),
    [
        ("qdrant_url host uri endpoint es.nodes milvus.uri https port location", {"url"}),
        (
            "collection_name index_name className milvus.collection.name es.resource pinecone.indexName table",
            {"collection"},
        ),
        ("id_field idField primary_key milvus.collection.primaryKeyField es.mapping.id", {"id_column"}),
        (
            "embedding_field embedding_column embeddingColumn vector_field milvus.collection.vectorField vector_fields",
            {"vector_column"},
        ),
        ("text_field text_key content_column embedding_source_column", {"text_column"}),
        ("batch_size batchSize pinecone.batchSize upload_batch_size es.batch.size.entries", {"batch_points"}),
        ("es.batch.size.bytes", {"batch_bytes"}),
        ("vector_size size dim embedding_dimension milvus.collection.vectorDim vectors_config", {"dimension"}),
        ("payload_fields metadata_columns es.mapping.include", {"payload_columns"}),
        ("content_payload_key", {"payload_rename"}),
        ("vector_names dense_vector_name", {"vector_name"}),
        ("sparse_vector_value_fields sparse_vector_index_fields sparse_embedding", {"sparse_model"}),
        ("model_name embedding_model model_name_or_path", {"model"}),
        ("metric metric_type similarity distance_strategy", {"distance"}),
        ("retries max_retries es.batch.write.retry.count retriesBackoff", {"retry_max_seconds"}),
        ("timeout request_timeout", {"timeout_seconds"}),
        ("shard_key_selector", {"shard_key_column"}),
        ("namespace tenant", {"tenant_column"}),
        ("api-key apiKey qdrant_api_key pinecone.apiKey", {"api_key"}),
        ("token password", {"api_key_env"}),
        ("hnsw_config on_disk_payload replication_factor", {"collection_config"}),
        ("badRecordsPath dead_letter_path on_bad_row", {"rejects_path"}),
        ("chunk_size chunk_overlap", {"long_text"}),
        ("num_workers parallelism", {"max_in_flight"}),
        ("sequence_by updated_at_column es.mapping.version", {"version_column"}),
        ("normalize_embeddings", {"normalize"}),
        ("max_seq_length", {"max_tokens"}),
        ("embeding_field", {"vector_column"}),
    ],
)
def test_a_name_from_elsewhere_is_answered_with_ours(names: str, ours: set[str]) -> None:
    """Of connectors, clients and libraries, in any spelling."""
    for name in names.split():
        assert ours <= named(said(name)), said(name)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("schema", "unknown option 'schema'; leave it out: the DataFrame has a schema"),
        ("wait", "unknown option 'wait'; leave it out: a job is done when its points are applied"),
        ("prefer_grpc", "unknown option 'prefer_grpc'; points are sent over gRPC, so leave it out"),
        ("multi_vector_names", "unknown option 'multi_vector_names'; this sink writes no multivectors"),
        ("drop_old", "unknown option 'drop_old'; use mode('overwrite') or mode('append')"),
    ],
)
def test_what_is_not_needed_or_not_there_is_said(name: str, answer: str) -> None:
    """No option of ours stands for it."""
    assert said(name) == answer


def test_no_name_of_the_table_is_taken_for_a_slip() -> None:
    """However alike one of ours is: `batch_size` is not `batch_bytes`."""
    for table, form in ((INSTEAD, "unknown option '{}'; {}"), (REFUSED, "option '{}' {}")):
        for answer, names in table.items():
            for name in names.split():
                assert said(name) == form.format(name, answer)


def test_a_name_has_one_answer_and_ours_have_none() -> None:
    """Each is in the table once, in whatever spelling, and an answer names options that there are."""
    names = [name.replace("_", "") for answer in (*INSTEAD.values(), *REFUSED.values()) for name in answer.split()]
    assert sorted(set(names)) == sorted(names)
    assert set(names) & {name.replace("_", "") for name in option_table()} == set()
    words = {word for answer in INSTEAD for word in re.findall(r"(?<!\()'(\w+)'(?!\))", answer)}
    assert words - option_table().keys() == {"merge", "chunk", "skip"}


@pytest.mark.parametrize("name", ["zzz", "given", "", "milvus.database.name", "x" * 1000, "es.nodes.wan.only"])
def test_another_name_is_led_to_the_page(name: str) -> None:
    """No suggestion is better than a wrong one."""
    assert said(name) == f"unknown option '{name}'; docs/options.md lists the options"


def test_migrating_says_the_same() -> None:
    """Each name in the first column of qdrant-spark's table is answered with options that its second column has."""
    page = (
        (ROOT / "docs" / "migrating.md")
        .read_text(encoding="utf-8")
        .partition("| qdrant-spark | here |\n")[2]
        .partition("\n\n")[0]
    )
    rows = [row.strip("|").split("|") for row in page.splitlines()[1:]]
    assert len(rows) > 10
    for theirs, here in rows:
        options = {word for span in re.findall(r"`([^`]+)`", here) for word in re.findall(r"\w+", span)}
        for name in re.findall(r"`(\w+)`", theirs):
            assert name in option_table() or named(said(name)) <= options, (name, said(name))
