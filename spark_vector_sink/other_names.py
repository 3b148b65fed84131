"""Answer unknown option names: names from other connectors, clients and libraries → options of this sink.

A name is looked up in small letters, without punctuation (`idField`, `id_field` and `id-field` are one name), and
without the prefixes that connectors put before names (`milvus.collection.primaryKeyField`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from functools import cache

CLOSE = 0.8
"""Least similarity (`difflib` ratio) at which a name is taken for a misspelling of another name."""

PREFIXES = (
    "qdrant",
    "pinecone",
    "milvuscollection",
    "milvus",
    "weaviate",
    "elasticsearch",
    "opensearch",
    "es",
    "pgvector",
    "chroma",
    "spark",
    "grpc",
)

INSTEAD = {
    # where
    "give its address as option 'url', e.g. "
    "http://localhost:6333": "urls qdrant_url host hosts hostname uri address addresses nodes endpoint location server "
    "server_url cluster_url base_url connection_string connection_url connection connection_args cloud_id client",
    "the port belongs to option 'url', e.g. http://localhost:6333; 'grpc_port' is for a gRPC port that cannot be "
    "found from it": "port ports http_port rest_port",
    "points are sent over gRPC, so leave it out": "prefer_grpc grpc use_grpc protocol grpc_options",
    "begin option 'url' with "
    "https:// instead": "https ssl tls use_ssl use_tls use_https secure scheme secured grpc_secured net_ssl grpc_tls",
    "use 'api_key_env' or 'api_key_file', or set the variable "
    "QDRANT_API_KEY": "token key password auth auth_token access_token credentials username user "
    "net_http_auth_pass net_http_auth_user",
    "use 'tls_ca_file'": "verify ca_cert ca_certs ca_file ssl_ca_cert tls_ca",
    "use 'timeout_seconds'": "timeout request_timeout timeout_ms timeout_sec http_timeout client_timeout",
    "use 'collection', or "
    ".save('articles')": "collection_name name index index_name class_name class table table_name dbtable resource "
    "resource_write target",
    "a store without a server is the directory in .save('./articles_store'), or option "
    "'collection'": "persist_directory db_path local_path directory dir folder",
    # columns
    "use 'id_column', one "
    "column or several": "id_field id_fields id_col id_columns id id_key ids primary_key primary_keys "
    "primary_key_field primary_field pk key_column key_columns "
    "key_field mapping_id doc_id doc_id_column document_id point_id record_key recordkey_field unique_key merge_key",
    "use 'text_column'": "text_field text_fields text_col text_columns text_key text texts content_field "
    "content_column content input_column input_col page_content page_content_column "
    "document_column document_field chunk_column embedding_source_column embedding_source_columns query_field body",
    "use 'vector_column' for vectors that exist; nothing is needed where the sink encodes "
    "'text_column'": "embedding_field embedding_fields embedding_column embedding_col embedding_key "
    "embeddings_column vector_field vector_fields vector_col vector_columns vector_key vector_query_field "
    "dense_vector_field dense_vector_column embedding_vector_column",
    "use 'vector_column' for vectors that exist, 'model' or 'encoder' "
    "to make them": "vector vectors embedding embeddings embedding_function embedding_functions",
    "use 'payload_columns', or "
    "'payload_exclude'": "payload payload_field payload_fields payload_column payload_keys payload_schema_fields "
    "fields columns metadata metadata_field metadata_fields "
    "metadata_column metadata_columns metadatas properties attributes columns_to_sync mapping_include include "
    "include_columns",
    "use 'payload_exclude'": "mapping_exclude exclude exclude_columns exclude_fields drop_columns ignore_columns",
    "use 'payload_rename'": "content_payload_key metadata_payload_key column_mapping field_mapping mapping mappings "
    "rename rename_columns",
    "use 'tenant_column', a column "
    "of the table": "tenant tenant_id tenant_field namespace namespace_column group_id partition_key "
    "partition_key_field partition_key_column",
    "use 'shard_key_column', a column "
    "of the table": "shard_key_selector shard_key shard_keys shard_key_field shard_key_name routing mapping_routing",
    "use 'op_column'": "op op_field op_col operation operation_column operation_field change_type change_type_column "
    "cdc_op_column delete_column row_kind apply_as_deletes",
    "use 'version_column'": "version version_field version_col mapping_version timestamp_column timestamp_field "
    "updated_at updated_at_column sequence_by sequence_column sequence_col "
    "ordering_column ordering_field precombine_field",
    "leave it out: the DataFrame "
    "has a schema": "schema payload_schema schema_json infer_schema merge_schema overwrite_schema auto_id "
    "enable_dynamic_field auto_schema",
    # vectors and models
    "use 'vector_name'; several vectors are a job each, with "
    "'existing' = 'merge'": "vector_names dense_vector_name dense_vector_names using named_vector named_vectors",
    "use 'sparse_vector_name'": "sparse_name sparse_vector_field",
    "'sparse_model' makes sparse vectors from the text; those that exist "
    "are not taken": "sparse_vector_value_fields sparse_vector_index_fields sparse_vector_names sparse_vector_column "
    "sparse_column sparse_field sparse_vectors sparse_vector sparse_values sparse_values_column sparse_vectors_config "
    "sparse_vector_params",
    "this sink writes no "
    "multivectors": "multi_vector_fields multi_vector_names multi_vectors multi_vector multi_vector_column "
    "multi_vector_config",
    "leave it out: a model tells it; 'dimension' is for a 'vector_column' in a "
    "new collection": "size vector_size vector_dim vector_dims vector_dimension vector_dimensions "
    "vector_length dim dims "
    "dimensions embedding_dim embedding_dims embedding_dimension embedding_dimensions embedding_size embedding_length",
    "use 'distance'": "metric metric_type metrics similarity similarity_metric similarity_function space "
    "distance_metric distance_func distance_function distance_strategy distance_type "
    "vector_distance",
    "leave it out: the sink makes the collection for its model; see 'distance', 'vector_name', 'dimension' and "
    "'collection_config'": "vectors_config vector_config vector_params vectorizer",
    "use 'model'": "model_name model_id model_path model_name_or_path model_folder embedding_model "
    "embedding_model_name embedding_model_id embedding_model_endpoint_name embed_model "
    "embedding_model_path sentence_transformer sentence_transformers hf_model encoder_model dense_model transformer",
    "use 'sparse_model'": "sparse_embedding sparse_model_name sparse_embedding_model sparse_encoder",
    "use 'model_revision'": "revision model_version model_rev",
    "use 'encoder', package.module:factory": "embedder embed_fn encode_fn embedding_fn model_fn model_provider "
    "provider embedding_provider",
    "use 'normalize'": "normalize_embeddings normalise normalize_vectors normalized l2_normalize",
    "use 'truncate_dim'": "truncate_dimension output_dimension output_dim matryoshka_dim",
    "use 'max_tokens'": "max_length max_seq_length max_len max_sequence_length model_max_length sequence_length",
    "use 'dtype'": "torch_dtype precision half fp16 bf16 compute_type",
    "use 'token_budget', the tokens of a batch "
    "for the model": "encode_batch_size embedding_batch_size embed_batch_size model_batch_size inference_batch_size "
    "gpu_batch_size max_batch_tokens",
    "use 'prompt', or 'prompt_name' for one of "
    "the model's own": "instruction document_prefix text_prefix passage_prefix query_prefix prompts",
    "use 'long_text' = 'chunk' with "
    "'chunk_tokens'": "chunk chunking chunk_text split split_text splitter text_splitter chunk_length "
    "chunk_max_tokens tokens_per_chunk",
    "use 'chunk_tokens' with 'long_text' = 'chunk'; 'batch_points' is for requests": "chunk_size",
    "use 'chunk_overlap_tokens' with 'long_text' = 'chunk'": "chunk_overlap overlap overlap_tokens stride",
    "use 'long_text'": "truncation truncate_text on_long_text",
    # collection
    "use 'create_collection'": "create_if_missing create_if_not_exists create_collection_if_not_exists auto_create "
    "create_index index_auto_create create auto_create_collection if_not_exists",
    "use mode('overwrite') or "
    "mode('append')": "mode save_mode write_mode overwrite recreate recreate_collection force_recreate "
    "force_recreate_collection drop_old "
    "pre_delete_collection drop_existing write_disposition reset",
    "use mode('overwrite') for a collection, 'long_text' for a text": "truncate",
    "use 'existing' or 'op_column'": "write_operation operation_type upsert update_mode insert_mode upsert_mode "
    "update_only insert_only write_strategy",
    "it is a key of 'collection_config'": "on_disk on_disk_payload shard_number number_of_shards replication_factor "
    "number_of_replicas write_consistency_factor hnsw_config hnsw "
    "optimizers_config "
    "optimizer_config quantization_config quantization wal_config sharding_method strict_mode_config "
    "indexing_threshold index_params index_type",
    "use 'payload_indexes'": "payload_index index_fields indexed_fields field_schema payload_schema_index "
    "create_payload_index indexes filter_fields filterable_fields scalar_indexes",
    # writing
    "use 'batch_points' for requests, 'token_budget' for the model; both have "
    "good defaults": "batch_size batch batch_rows upload_batch_size insert_batch_size write_batch_size "
    "max_insert_batch_size insert_max_batch_size",
    "use 'batch_points'": "bulk_size batch_size_entries batch_entries upsert_batch_size points_per_batch "
    "max_batch_size rows_per_batch",
    "use 'batch_bytes'": "batch_size_bytes max_batch_bytes request_bytes max_request_size",
    "use 'max_in_flight' for the requests of a task; there are as many tasks as the DataFrame "
    "has partitions": "parallel parallelism concurrency num_workers max_workers workers threads pool_threads "
    "max_parallelism upload_parallelism concurrent_writes async_req max_concurrent_requests num_partitions "
    "write_parallelism",
    "use 'max_points_per_second'": "rate_limit qps max_qps throttle rps requests_per_second points_per_second "
    "rows_per_second batch_delay",
    "use 'retry_max_seconds'": "retries retry max_retries upload_max_retries num_retries max_retry retry_count "
    "retry_interval retry_attempts retries_backoff retry_backoff retry_delay backoff "
    "batch_write_retry_count batch_write_retry_wait retry_wait retry_on_timeout",
    "leave it out: a job is done when its "
    "points are applied": "wait wait_for_result batch_write_refresh refresh flush sync acknowledged",
    "use 'ordering'": "write_ordering consistency consistency_level write_consistency write_concern",
    "use 'wait_for_index'": "wait_until_indexed wait_for_green wait_for_ready",
    # behaviour
    "use 'unchanged' = 'skip'": "skip_unchanged skip_existing incremental dedupe dedup deduplicate record_manager "
    "if_changed only_changed",
    "use 'delete_missing' with 'source'": "cleanup delete_orphans full_refresh delete_stale prune sync_mode",
    "use 'source', with 'delete_missing'": "source_id source_name source_key source_id_key",
    "use 'rejects_path'": "bad_records_path dead_letter_path dead_letter dead_letter_queue dlq dlq_path rejects "
    "reject_path error_path errors_path on_error on_errors error_handling error_handler "
    "ignore_errors continue_on_error skip_errors raise_on_error write_rest_error_handlers "
    "column_name_of_corrupt_record",
    "use 'max_rejects'": "max_errors max_bad_records max_bad_rows error_limit error_threshold max_rejected tolerance",
    "use 'report_path'": "metrics_path stats_path log_path report_file report",
    "use 'device'": "device_map use_gpu gpu cuda num_gpus accelerator",
    "use 'progress_seconds'": "show_progress show_progress_bar progress progress_bar log_interval verbose",
    "leave it out: a job that runs again writes "
    "the same points": "txn_app_id txn_version transaction_id idempotency_key",
}
"""Advice for unknown names, and the names that get it."""

REFUSED = {
    # Spark passes these options on, and an overwrite that ignored them would replace everything
    "cannot be followed: mode('overwrite') replaces all documents; write those that have changed with "
    "mode('append')": "replace_where partition_overwrite_mode",
    "is gone: 'rejects_path' alone means that bad rows are rejected; leave it out": "on_bad_row",
}
"""Messages for names that have a meaning that cannot be followed, and the names."""


def unknown(name: str, ours: Collection[str]) -> str:
    """Return the message for an unknown option, with what to do. ours: the names of all options."""
    answers = _answers(tuple(ours))
    given = _plain(name)
    found = _answer(given, answers) or next(
        (answers[close] for close in difflib.get_close_matches(given, answers, n=1, cutoff=CLOSE)), None
    )
    return (
        f"option '{name}' {found}"
        if found in REFUSED
        else f"unknown option '{name}'; {found or 'docs/options.md lists the options'}"
    )


def _answer(name: str, answers: dict[str, str]) -> str | None:
    """Return the answer to a name, or to the name without a known prefix; None without an answer."""
    if name in answers:
        return answers[name]
    return next(
        (
            found
            for prefix in PREFIXES
            if name.startswith(prefix) and (found := _answer(name.removeprefix(prefix), answers))
        ),
        None,
    )


@cache
def _answers(ours: tuple[str, ...]) -> dict[str, str]:
    """Return the answer for each known name."""
    others = {
        _plain(name): answer
        for table in (INSTEAD, REFUSED)
        for answer, names in table.items()
        for name in names.split()
    }
    return {**others, **{_plain(name): f"did you mean '{name}'?" for name in ours}}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
