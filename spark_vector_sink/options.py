"""Declare the table of options: each field of `SinkOptions` declares name, type, default, checks and help.

Parsing, error messages and the tables in docs/options.md are made from these fields alone:
`python -m spark_vector_sink.options docs/options.md` writes the tables again.
"""

from __future__ import annotations

import json
import math
import re
import sys
import typing
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from spark_vector_sink import other_names
from spark_vector_sink.errors import OptionError, shorten

T = TypeVar("T")

ID_NAMESPACE = uuid.UUID("e6a15eeb-a4bd-56f8-a5c3-7cb9aec113f7")
"""Default `id_namespace`: uuid5(NAMESPACE_DNS, "spark-vector-sink"). Changing it would change every derived id."""

CONTENT_KEY = "content"
"""Value of `id_column` that makes the text itself the document's key."""

SPARK_KEYS = frozenset({"path", "checkpointlocation", "queryname"})
"""Keys that Spark adds to the options by itself."""


class Secret:
    """Text that no repr, message or log shows. Secrets are compared by identity, never by their text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the header of a request."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"


@dataclass(frozen=True)
class Doc:
    """Documentation of an option: its group in the table, and one sentence."""

    group: str
    help: str


@dataclass(frozen=True)
class Check:
    """Named condition on a value: `words` complete the sentence "must be …"."""

    words: str
    holds: Callable[[Any], bool]


class Mark(Enum):
    """Property of an option: where it has an effect, and what it decides. Code that treats several options alike asks
    for a mark, so that no list of option names is kept anywhere else."""

    ON_SERVER = "of a server alone: an embedded store has nothing like it"
    ENCODING = "of texts that are encoded: ready-made vectors have none"
    OWN_MODEL = "of a Sentence Transformers model: an encoder of the user's has its own ways"
    DENSE = "of a dense vector: with model=none there is none"
    CHUNKS = "of long_text=chunk alone"
    FILLED = "never an empty text"
    IN_IDENTITY = "changes the model's vectors: a part of the identity that the model guard compares"
    IN_FINGERPRINT = (
        "decides the vector besides the text and the model's identity: a part of each document's fingerprint"
    )
    IN_METADATA = "says how texts became vectors: kept in the collection where it is given"
    OF_TABLE = "of a table and its rows: re-embedding reads none"
    OF_COLLECTION = "where re-embedding is not given it, it is as the collection has it"
    OF_DOCUMENTS = "decides about a document as a whole: one job of all that merge may"


(
    ON_SERVER,
    ENCODING,
    OWN_MODEL,
    DENSE,
    CHUNKS,
    FILLED,
    IN_IDENTITY,
    IN_FINGERPRINT,
    IN_METADATA,
    OF_TABLE,
    OF_COLLECTION,
    OF_DOCUMENTS,
) = Mark


@dataclass(frozen=True)
class NotIn:
    """A value that one kind of write cannot follow. write: `overwrite` or `stream`. why: for an overwrite a reason, for a
    stream the rest of a sentence that begins with the option's name."""

    write: Literal["overwrite", "stream"]
    value: Any
    why: str


def at_least(least: float) -> Check:
    return Check(f">= {least:g}", lambda value: value == AUTO or least <= value < math.inf)


def between(least: float, most: float) -> Check:
    return Check(f"from {least:g} to {most:g}", lambda value: value == AUTO or least <= value <= most)


# torch knows the last three too, and a custom encoder may be made for them
DEVICE = Check(
    "like auto, cpu, cuda, cuda:1 or mps",
    lambda value: re.fullmatch(r"auto|cpu|mps|(cuda|xpu|hpu|npu)(:[0-9]{1,4})?", value) is not None,
)

COUNT_OR_SHARE = Check(
    "like 100 (rows) or 1% (of the rows read)",
    lambda value: re.fullmatch(r"[0-9]{1,15}|([0-9]{1,2}(\.[0-9]{1,9})?|100)%", value.strip()) is not None,
)

UNUSABLE_IN_NAMES = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
"""Pattern of characters that a collection's name must not have: those that Qdrant refuses, and control characters,
which Qdrant accepts."""

LONGEST_NAME = 240
"""Most bytes of a collection's name. A collection is a directory of the server, whose name has at most 255 bytes; the
remaining bytes are for the version."""

LONGEST_VECTOR_NAME = 200
"""Most bytes of a vector's name; the server's own limit."""

HALF_CHARACTER = re.compile("[\ud800-\udfff]")
"""Pattern of lone surrogates, which a Python text may hold and which cannot be encoded."""

NO_MODEL = "none"
"""Value of `model` for no dense vectors."""

AUTO = "auto"
Auto = Literal["auto"]

WHERE, COLUMNS, MODEL, LONG_TEXT, COLLECTION, WRITING, BEHAVIOUR = (
    "where", "columns", "model", "long text", "collection", "writing", "behaviour",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SinkOptions:
    """Options of `format("vectorsink")` and of `write()`; keys are case-insensitive, values are text."""

    # fmt: off
    url: Annotated[str | None, Doc(WHERE, "Qdrant's address, REST or gRPC, e.g. `http://localhost:6333`, or those of several nodes, separated by commas; without it, the store is a local directory.")] = field(default=None, repr=False)
    grpc_port: Annotated[int | None, Doc(WHERE, "gRPC port, if it cannot be found from `url` (6334, or the port after the REST port)."), between(1, 65535), ON_SERVER] = None
    collection: Annotated[str | None, Doc(WHERE, "Collection to write to, or the directory of an embedded store; `.save(name)` does the same.")] = None
    api_key: Annotated[Secret | None, Doc(WHERE, "API key; prefer the environment or a file, because Spark may show options."), ON_SERVER] = field(default=None, repr=False)
    api_key_env: Annotated[str, Doc(WHERE, "Environment variable that holds the API key, on executors or on the driver."), ON_SERVER, FILLED] = "QDRANT_API_KEY"
    api_key_file: Annotated[str | None, Doc(WHERE, "File that holds the API key, on executors or on the driver."), ON_SERVER, FILLED] = None
    tls_ca_file: Annotated[str | None, Doc(WHERE, "PEM file of the authority that signed the server's certificate (`https` only)."), ON_SERVER, FILLED] = None
    timeout_seconds: Annotated[float, Doc(WHERE, "Longest wait for one request, or for the lock of an embedded store."), between(0.1, 86_400)] = 60.0

    text_column: Annotated[tuple[str, ...], Doc(COLUMNS, "Column with the text, or a path into structs such as `after.body`; several are joined by `text_template`."), ENCODING, FILLED, OF_TABLE] = ("text",)
    text_template: Annotated[str | None, Doc(COLUMNS, "How several text columns become one text, e.g. `{title}: {body}`; by default, joined by line breaks."), ENCODING, IN_METADATA] = None
    id_column: Annotated[tuple[str, ...], Doc(COLUMNS, "Column or columns of the document's key, or paths into structs; `content` uses the text itself as key."), FILLED, OF_TABLE] = ("id",)
    id_namespace: Annotated[uuid.UUID, Doc(COLUMNS, "Namespace of the UUIDs derived from keys (RFC 4122, version 5)."), IN_FINGERPRINT, OF_TABLE, OF_COLLECTION] = ID_NAMESPACE
    tenant_column: Annotated[str | None, Doc(COLUMNS, "Column of the tenant: part of the key, and indexed as what keeps a tenant's points together."), FILLED, OF_TABLE] = None
    version_column: Annotated[str | None, Doc(COLUMNS, "Column that orders the rows of one key (integer, date or timestamp): an older row never replaces a newer point, in whatever order, task or job they arrive."), FILLED, OF_TABLE, OF_DOCUMENTS] = None
    op_column: Annotated[str | None, Doc(COLUMNS, "Column of a change feed that says what a row does: `insert`, `update`, `delete`, or the words of Delta, Iceberg, Debezium, AWS DMS, Flink, MongoDB and others."), FILLED, OF_TABLE, OF_DOCUMENTS] = None
    shard_key_column: Annotated[str | None, Doc(COLUMNS, "Column of the shard key, in a collection with custom sharding."), ON_SERVER, FILLED, OF_TABLE] = None
    payload_columns: Annotated[tuple[str, ...] | None, Doc(COLUMNS, "Columns to keep as payload, besides key and text; by default all; empty keeps none."), OF_TABLE] = None
    payload_exclude: Annotated[tuple[str, ...], Doc(COLUMNS, "Columns to leave out of the payload."), OF_TABLE] = ()
    payload_rename: Annotated[Mapping[str, str], Doc(COLUMNS, "Other names in the payload: `column:name, …`."), OF_TABLE] = field(default_factory=dict)
    vector_column: Annotated[str | None, Doc(COLUMNS, "Column of ready-made vectors; nothing is encoded."), FILLED, OF_TABLE] = None
    vector_name: Annotated[str, Doc(COLUMNS, "Name of the vector in the collection; empty is Qdrant's unnamed vector."), DENSE, IN_FINGERPRINT, OF_COLLECTION] = ""
    sparse_vector_name: Annotated[str, Doc(COLUMNS, "Name of the sparse vector in the collection, with `sparse_model`."), ENCODING, FILLED, IN_FINGERPRINT, OF_COLLECTION] = "sparse"

    model: Annotated[str, Doc(MODEL, "Sentence Transformers model: a hub name, a folder with the same path on every executor, or the name of a folder that Spark ships (`--archives model.tar.gz#name`)."), ENCODING, OWN_MODEL, FILLED] = "sentence-transformers/all-MiniLM-L6-v2"
    sparse_model: Annotated[str | None, Doc(MODEL, "Sparse encoder (SPLADE and its kin) beside the dense model, so that both vectors come from one pass; alone with `model=none`."), ENCODING, OWN_MODEL, FILLED] = None
    model_revision: Annotated[str | None, Doc(MODEL, "Branch, tag or commit of a hub model."), ENCODING, OWN_MODEL, DENSE] = None
    encoder: Annotated[str | None, Doc(MODEL, "`package.module:factory` that returns an object with `dimension` and `encode(texts)`, instead of a Sentence Transformers model; a factory with a parameter `device` gets the task's."), ENCODING, FILLED] = None
    device: Annotated[str, Doc(MODEL, "Where the model runs; auto takes the GPU that Spark gave to the task, else the one that the fewest processes use, else Apple's, else the CPU."), DEVICE, ENCODING] = AUTO
    dtype: Annotated[Literal["auto", "float32", "bfloat16", "float16"], Doc(MODEL, "Arithmetic of the model; auto is bfloat16 where the device computes it natively, else float32; vectors are always float32."), ENCODING, OWN_MODEL, IN_FINGERPRINT] = "auto"
    token_budget: Annotated[int | Auto, Doc(MODEL, "Most tokens, padding included, in one forward pass; auto is 4,096 on a CPU, and what fits (at most 32,768) on a GPU; halved when memory runs out."), at_least(1), ENCODING, OWN_MODEL] = "auto"
    window_rows: Annotated[int, Doc(MODEL, "Rows read ahead and encoded together, sorted by length."), at_least(1)] = 4096
    prompt_name: Annotated[str | None, Doc(MODEL, "Name of one of the model's own prompts, put before each text."), ENCODING, OWN_MODEL, IN_METADATA] = None
    prompt: Annotated[str | None, Doc(MODEL, "Text put before each text."), ENCODING, OWN_MODEL, IN_IDENTITY, IN_METADATA] = None
    normalize: Annotated[bool | None, Doc(MODEL, "Whether vectors get length 1; by default as the model does."), OWN_MODEL, DENSE, IN_IDENTITY, IN_FINGERPRINT, IN_METADATA] = None
    truncate_dim: Annotated[int | None, Doc(MODEL, "Keep only the first n numbers of each vector (Matryoshka models), normalised again if the model normalises."), at_least(1), ENCODING, OWN_MODEL, DENSE, IN_IDENTITY, IN_METADATA] = None
    max_tokens: Annotated[int | None, Doc(MODEL, "Most tokens of a text that the model reads; by default the model's own limit."), at_least(1), ENCODING, OWN_MODEL, IN_IDENTITY, IN_METADATA] = None
    trust_remote_code: Annotated[bool, Doc(MODEL, "Whether code that comes with a model may run."), ENCODING, OWN_MODEL] = False

    long_text: Annotated[Literal["truncate", "chunk", "reject", "fail"], Doc(LONG_TEXT, "What to do with a text longer than the model reads: cut and count it, write a point per chunk, put it at `rejects_path`, or end the job; a custom encoder must count tokens for it."), ENCODING, IN_FINGERPRINT, IN_METADATA] = "truncate"
    chunk_tokens: Annotated[int | None, Doc(LONG_TEXT, "Most tokens of a chunk, special tokens and prompt included; by default as many as the model reads."), at_least(8), ENCODING, CHUNKS, IN_FINGERPRINT, IN_METADATA, OF_TABLE] = None
    chunk_overlap_tokens: Annotated[int, Doc(LONG_TEXT, "About how many tokens of a chunk's end begin the next chunk."), at_least(0), ENCODING, CHUNKS, IN_FINGERPRINT, IN_METADATA, OF_TABLE] = 32
    store_text: Annotated[bool, Doc(LONG_TEXT, "Whether the text is kept in the payload."), ENCODING, OF_TABLE] = True

    create_collection: Annotated[bool, Doc(COLLECTION, "Whether a missing collection is created."), OF_TABLE, NotIn("overwrite", False, "it fills a collection of its own")] = True
    versioned: Annotated[bool, Doc(COLLECTION, "Whether the sink creates a collection as `name__v1` behind the alias `name`, so that a later overwrite switches without a gap."), ON_SERVER, OF_TABLE, NotIn("overwrite", False, "the new version needs the alias")] = True
    distance: Annotated[Literal["cosine", "dot", "euclid", "manhattan"], Doc(COLLECTION, "How vectors are compared."), DENSE, IN_FINGERPRINT, OF_COLLECTION] = "cosine"
    collection_config: Annotated[Mapping[str, Any], Doc(COLLECTION, "Qdrant's own create-collection body as JSON (quantization, on_disk, shard_number, …); vectors and metadata belong to the sink."), ON_SERVER] = field(default_factory=dict)
    payload_indexes: Annotated[Mapping[str, str], Doc(COLLECTION, "Payload indexes, created before the load: `field:type, …` with Qdrant's types (keyword, integer, float, bool, datetime, text, uuid, geo)."), OF_TABLE] = field(default_factory=dict)
    dimension: Annotated[int | None, Doc(COLLECTION, "Length of the vectors in `vector_column`, if the collection does not exist yet."), between(1, 65_536), OF_TABLE] = None
    keep_versions: Annotated[int, Doc(COLLECTION, "How many earlier versions of the collection an overwrite keeps, for `rollback()`."), between(0, 100)] = 1
    replace_collection: Annotated[bool, Doc(COLLECTION, "Whether an overwrite may replace a plain collection, one without an alias; it is then missing for a moment."), ON_SERVER] = False
    adopt_collection: Annotated[bool, Doc(COLLECTION, "Whether to write into a collection with points that this sink has not written."), OF_TABLE, NotIn("overwrite", True, "what is there is replaced as a whole")] = False

    batch_points: Annotated[int, Doc(WRITING, "Most points in one request."), at_least(1), ON_SERVER] = 512
    batch_bytes: Annotated[int, Doc(WRITING, "About the most bytes in one request."), at_least(1024), ON_SERVER] = 4 * 1024 * 1024
    max_in_flight: Annotated[int | Auto, Doc(WRITING, "Most requests of a task in flight at once; auto is about 2, grows to 8 while the task waits for the server, and halves when the server cannot keep up."), between(1, 8), ON_SERVER] = "auto"
    max_points_per_second: Annotated[int | None, Doc(WRITING, "Most points that each task sends per second; the server's own `write_rate_limit` caps all tasks together."), at_least(1), ON_SERVER] = None
    ordering: Annotated[Literal["weak", "medium", "strong"], Doc(WRITING, "Qdrant's write ordering."), ON_SERVER] = "weak"
    wait_for_index: Annotated[bool, Doc(WRITING, "Whether the job waits at its end until the server has indexed everything (status green), so that searches run at full speed; it fails when nothing changes for `retry_max_seconds`.")] = False

    unchanged: Annotated[Literal["encode", "skip"], Doc(BEHAVIOUR, "`skip`: a document already there with the same text, model and payload is not written, and one with only a new payload is not encoded."), OF_TABLE, NotIn("overwrite", "skip", "every document is written into a fresh collection")] = "encode"
    existing: Annotated[Literal["replace", "merge"], Doc(BEHAVIOUR, "`merge`: an existing point keeps its other payload keys and named vectors, so that several jobs can own parts of it."), OF_TABLE, NotIn("overwrite", "merge", "a fresh collection has no points to merge with")] = "replace"
    delete_missing: Annotated[bool, Doc(BEHAVIOUR, "Whether documents of this `source` that the table no longer has are deleted at the end of the job."), OF_TABLE, OF_DOCUMENTS, NotIn("overwrite", True, "a fresh collection has only what the table has"), NotIn("stream", True, "would delete all documents that are not in the micro-batch; leave it out in a stream: deletes come as rows, by option 'op_column', or from a job now and then that writes the whole table")] = False
    source: Annotated[str | None, Doc(BEHAVIOUR, "Name of the table that the documents come from, kept in each point for `delete_missing`."), FILLED, OF_TABLE, OF_DOCUMENTS] = None
    max_delete_share: Annotated[float, Doc(BEHAVIOUR, "Greatest share of the source's documents that `delete_missing` may delete; if there are more, it deletes none, and the job says so."), between(0, 1), OF_TABLE] = 0.1
    tombstone_days: Annotated[float, Doc(BEHAVIOUR, "How long a deletion under a `version_column` is remembered, so that a late row cannot bring the document back."), between(0, 36_500), OF_TABLE] = 30.0
    rejects_path: Annotated[str | None, Doc(BEHAVIOUR, "Parquet dataset for rows that cannot become points, each with the reason, while the others are written (without it, such a row ends the job); on any filesystem Arrow knows, to be read by Spark and written again."), FILLED] = None
    max_rejects: Annotated[str | None, Doc(BEHAVIOUR, "Most rows that may be rejected, as a count or as a share of the rows read; with more, the job fails."), COUNT_OR_SHARE] = None
    retry_max_seconds: Annotated[float, Doc(BEHAVIOUR, "How long a request is retried before the task fails."), between(0, 604_800), ON_SERVER] = 600.0
    report_path: Annotated[str | None, Doc(BEHAVIOUR, "File for the report as JSON, on any filesystem Arrow knows, also after a failure; in a stream, each micro-batch has its own (`report-17.json`)."), FILLED] = None
    progress_seconds: Annotated[float, Doc(BEHAVIOUR, "How often a task logs its progress to its executor's stderr: rows done, tokens encoded, the rates of both, rejects; 0 logs nothing."), between(0, 86_400)] = 30.0
    # fmt: on

    given: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    """names of the options that the user set"""

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> SinkOptions:
        """Parse the options that a user or Spark gives. Raises `OptionError` with every problem at once."""
        parsed, problems = cls.parse(options)
        if problems:
            raise OptionError(problems)
        return parsed

    @classmethod
    def of_model(cls, options: Mapping[str, Any]) -> SinkOptions:
        """Parse the options of `embed()`, which has no columns, no store and no collection. Raises `OptionError` with
        every problem at once."""
        table = option_table()
        foreign = [
            name
            for name in options
            if name.lower() in table and table[name.lower()].doc.group not in (MODEL, LONG_TEXT)
        ]
        parsed, problems = cls.parse(
            {name: value for name, value in options.items() if name not in foreign}, place=False
        )
        problems += [
            f"option '{name}' has no effect in embed(), which writes nothing; leave it out" for name in foreign
        ]
        if problems:
            raise OptionError(problems)
        return parsed

    @classmethod
    def parse(
        cls, options: Mapping[str, Any], place: bool = True, columns: Collection[str] = ()
    ) -> tuple[SinkOptions, list[str]]:
        """Return the options, with the default in place of each wrong value, and every problem as one sentence. place:
        whether the options must say where to write. columns: the table's columns; a column name that begins or ends
        with blanks is recognised only where it is among them."""
        values: dict[str, Any] = {}
        problems: list[str] = []
        for key, text in options.items():
            name = str(key).lower()
            if name in SPARK_KEYS:
                continue
            option = option_table().get(name)
            if option is None:
                problems.append(other_names.unknown(str(key), option_table()))
                continue
            if text is None:
                continue
            try:
                values[name] = option.parse(_as_text(text), columns)
            except ValueError as error:
                problems.append(str(error))
            except TypeError:  # a Python value that JSON has no form for
                problems.append(f"option '{name}' must be {option.words}, got a {type(text).__name__}")
        path = next((_as_text(text) for key, text in options.items() if str(key).lower() == "path"), None)
        if path is not None:
            if values.get("collection", path) != path:
                problems.append(
                    f"save({_shown(path)}) and option 'collection' = {_shown(values['collection'])} name two places; "
                    "give one of them"
                )
            values.setdefault("collection", path)
        parsed = cls(**values, given=frozenset(values))
        return parsed, problems + (
            place_problems(parsed) + _rejects_problems(parsed) if place else []
        ) + _problems_together(parsed)

    @property
    def is_embedded(self) -> bool:
        """Return whether the store is a directory of this machine."""
        return self.url is None

    @property
    def directory(self) -> Path:
        """Return the absolute directory of the embedded store."""
        where = self.collection or ""
        if where.lower().startswith("file:"):
            where = unquote(urlsplit(where).path)
        return Path(where).expanduser().absolute()

    @property
    def rejects(self) -> bool:
        """Return whether bad rows are rejected instead of ending the job."""
        return self.rejects_path is not None

    def most_rejects(self, rows: int | None = None) -> int | None:
        """Return how many of `rows` rows may be rejected; None for any number. rows: None where the number is not known
        yet; a share then allows any number."""
        most = self.max_rejects.strip() if self.max_rejects else ""
        if most.endswith("%"):
            return None if rows is None else int(Decimal(most[:-1]) * rows / 100)
        return int(most) if most else None

    def not_in(self, write: Literal["overwrite", "stream"]) -> Iterator[tuple[str, NotIn]]:
        """Yield the options, by name, whose values this kind of write cannot follow."""
        for option in option_table().values():
            for refused in option.not_in:
                if refused.write == write and getattr(self, option.name) == refused.value:
                    yield option.name, refused

    @property
    def content_key(self) -> bool:
        """Return whether the text itself is the document's key."""
        return self.id_column == (CONTENT_KEY,)


@dataclass(frozen=True)
class Option:
    """Row of the option table, read from a field of `SinkOptions`."""

    name: str
    type: Any
    default: Any
    doc: Doc
    checks: tuple[Check, ...]
    marks: tuple[Mark, ...]
    not_in: tuple[NotIn, ...]

    def parse(self, text: str, columns: Collection[str] = ()) -> Any:
        """Return the value that `text` stands for. columns: as for `SinkOptions.parse`. Raises ValueError with a whole
        sentence."""
        shown = "***" if self.type == Secret | None else repr(shorten(text))
        if HALF_CHARACTER.search(text):
            raise ValueError(
                f"option '{self.name}' must be {self.words}, got {shown} (half a character of UTF-16, which is no text)"
            )
        try:
            value = _parse(self.type, text, columns)
        except ValueError as error:
            reason = f" ({error})" if str(error) else ""
            raise ValueError(f"option '{self.name}' must be {self.words}, got {shown}{reason}") from None
        if not all(check.holds(value) for check in self.checks):
            raise ValueError(f"option '{self.name}' must be {self.words}, got {shown}")
        return value

    @property
    def words(self) -> str:
        """Return the description of a valid value, which completes the sentence "must be …"."""
        return " ".join([_type_words(self.type), *(check.words for check in self.checks)])

    @property
    def default_text(self) -> str:
        value = self.default
        if value is None or value == () or value == {} or value == "":
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        return ",".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


@cache
def option_table() -> dict[str, Option]:
    """Return every option by its name, in the order of declaration."""
    hints = typing.get_type_hints(SinkOptions, include_extras=True)
    table = {}
    for f in fields(SinkOptions):
        if f.name == "given":
            continue
        declared, doc, *more = typing.get_args(hints[f.name])
        table[f.name] = Option(
            f.name,
            declared,
            _default(f),
            doc,
            _of(Check, more),
            _of(Mark, more),
            _of(NotIn, more),
        )
    return table


def to_markdown() -> str:
    """Return the options as Markdown: a heading and a table for each group."""
    lines, group = [], None
    for option in option_table().values():
        if option.doc.group != group:
            group = option.doc.group
            lines += ["", f"## {group.capitalize()}", "", "| option | value | default | meaning |", "|---|---|---|---|"]
        default = f"`{option.default_text}`" if option.default_text else ""
        lines.append(f"| `{option.name}` | {option.words} | {default} | {option.doc.help} |")
    return "\n".join(lines).strip() + "\n"


def _of(kind: type[T], declared: Iterable[Any]) -> tuple[T, ...]:
    return tuple(one for one in declared if isinstance(one, kind))


def _default(f: Field[Any]) -> Any:
    return f.default if f.default_factory is MISSING else f.default_factory()


def _as_text(value: Any) -> str:
    """Return the text of an option that was given as a Python value, as `write(df, name, batch_points=256)` allows."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, (list, tuple)):
        return json.dumps(value)
    return str(value)


def _parse(declared: Any, text: str, columns: Collection[str] = ()) -> Any:
    """Convert `text` to a value of the declared type. Raises ValueError where `text` is not of that type."""
    arguments = typing.get_args(declared)
    origin = typing.get_origin(declared)
    if declared == Mapping[str, str]:
        return _parse_pairs(text, columns)
    if declared == Mapping[str, Any]:
        return _parse_object(text)
    if origin is tuple:
        return _parse_names(text, columns)
    if origin is Literal:
        if text.strip().lower() not in arguments:
            raise ValueError
        return text.strip().lower()
    if arguments:  # a union: X | None, or X | Literal["auto"]
        if Auto in arguments and text.strip().lower() == AUTO:
            return AUTO
        return _parse(arguments[0], text, columns)
    if declared is bool:
        if text.strip().lower() not in ("true", "false"):
            raise ValueError
        return text.strip().lower() == "true"
    if declared is str:
        return text
    if declared is Secret:
        return Secret(text)
    try:
        return declared(text.strip())
    except ValueError:
        raise ValueError from None


def _parse_names(text: str, columns: Collection[str]) -> tuple[str, ...]:
    """Parse `a, b`, or a JSON array of names, in which each name is taken exactly, with commas, quotes and blanks."""
    if text.lstrip().startswith("["):
        try:
            names = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            raise ValueError("what begins with [ is a JSON array of names, and this is none") from None
        if not all(isinstance(name, str) for name in names):
            raise ValueError("each item of the array must be a text")
        return tuple(names)
    return tuple(name for name in (_trimmed(part, columns) for part in text.split(",")) if name)


def _parse_pairs(text: str, columns: Collection[str]) -> dict[str, str]:
    """Parse `a:b, c:d`, or a JSON object, which allows names with commas or colons."""
    if text.lstrip().startswith("{"):
        return {str(key): str(value) for key, value in _parse_object(text).items()}
    pairs = {}
    for part in filter(str.strip, text.split(",")):
        left, colon, right = part.partition(":")
        if not (left.strip() and colon and right.strip()):
            raise ValueError(f"{part.strip()!r} has no ':' between two names")
        pairs[_trimmed(left, columns)] = right.strip()
    return pairs


def _trimmed(name: str, columns: Collection[str]) -> str:
    """Strip the blanks around a name, unless only the name with its blanks is a column."""
    return name if name in columns and name.strip() not in columns else name.strip()


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


def _type_words(declared: Any) -> str:
    if declared == Mapping[str, str]:
        return "pairs `a:b, c:d`"
    if declared == Mapping[str, Any]:
        return "a JSON object"
    arguments = tuple(a for a in typing.get_args(declared) if a is not type(None))
    if typing.get_origin(declared) is tuple:
        return "names separated by commas, or a JSON array of names"
    if typing.get_origin(declared) is Literal:
        quoted = [f"'{a}'" for a in arguments]
        return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " or " + quoted[-1]
    if arguments:
        return " or ".join(_type_words(a) for a in arguments[::-1])
    return {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "a text",
        Secret: "a text",
        uuid.UUID: "a UUID",
    }[declared]


def marked(mark: Mark) -> list[str]:
    """Return the names of the options with this mark, in the order of declaration."""
    return [option.name for option in option_table().values() if mark in option.marks]


def _problems_together(options: SinkOptions) -> list[str]:
    """Return the problems between options that are valid one by one."""
    problems: list[str] = []

    def without_effect(names: Iterable[str], reason: str) -> None:
        problems.extend(
            f"option '{name}' has no effect {reason}; leave it out" for name in names if name in options.given
        )

    if options.is_embedded:
        without_effect(marked(ON_SERVER), "on an embedded store (no 'url')")
    if options.vector_column is not None:
        without_effect(marked(ENCODING), "together with 'vector_column'")
    elif options.encoder is not None:
        without_effect(marked(OWN_MODEL), "together with 'encoder'")
        if options.long_text == "chunk":
            problems.append(
                "option 'long_text' = 'chunk' needs the tokenizer of a Sentence Transformers model, and "
                "'encoder' shows none"
            )
    if options.sparse_model is None:
        without_effect(("sparse_vector_name",), "without 'sparse_model'")
        if options.model == NO_MODEL:
            problems.append("option 'model' = 'none' leaves nothing to encode with; give option 'sparse_model' too")
    elif options.sparse_vector_name == options.vector_name and options.model != NO_MODEL:
        problems.append(
            f"options 'vector_name' and 'sparse_vector_name' are both {options.vector_name!r}; give the sparse vector "
            "another name"
        )
    if options.model == NO_MODEL:
        without_effect(marked(DENSE), "with model=none")
        if options.long_text == "chunk":
            problems.append("option 'long_text' = 'chunk' needs a dense model, whose tokens it counts")
    if options.long_text != "chunk":
        without_effect(marked(CHUNKS), "without long_text=chunk")
    elif options.chunk_tokens is not None and options.chunk_overlap_tokens >= options.chunk_tokens:
        problems.append(
            f"option 'chunk_overlap_tokens' = {options.chunk_overlap_tokens} must be less than 'chunk_tokens' = "
            f"{options.chunk_tokens}"
        )
    if options.existing == "merge" and options.long_text == "chunk":
        problems.append(
            "options 'existing' = 'merge' and 'long_text' = 'chunk' exclude each other: every job cuts chunks "
            "elsewhere, so their points are not the same; "
            "leave one of them out"
        )
    if options.delete_missing:
        if options.source is None:
            problems.append(
                "option 'delete_missing' needs option 'source', the name of the table whose documents this "
                "job may delete"
            )
        if options.op_column is not None:
            problems.append(
                "options 'delete_missing' and 'op_column' exclude each other: a change feed is no full load"
            )
    else:
        without_effect(("max_delete_share",), "without delete_missing=true")
    if options.version_column is None or options.op_column is None:
        without_effect(("tombstone_days",), "without 'version_column' and 'op_column'")
    if not options.rejects:
        without_effect(("max_rejects",), "without 'rejects_path'")
    if options.url is not None and "https:" not in options.url.lower():
        without_effect(("tls_ca_file",), "without an https 'url'")
    if not options.create_collection:
        without_effect(("collection_config", "versioned"), "with create_collection=false")
    key = [*options.id_column, *([options.tenant_column] if options.tenant_column else [])]
    problems.extend(
        f"options 'id_column' and 'tenant_column' name '{name}' twice"
        for name in dict.fromkeys(key)
        if key.count(name) > 1
    )
    problems.extend(
        f"option 'payload_rename' gives '{old}' an empty name" for old, new in options.payload_rename.items() if not new
    )
    for option in ("vector_name", "sparse_vector_name"):
        name = getattr(options, option)
        if UNUSABLE_IN_NAMES.search(name) or name == "..":
            problems.append(f"option '{option}' cannot be {shorten(name)!r}: one of its characters is not allowed")
        if len(name.encode()) > LONGEST_VECTOR_NAME:
            problems.append(
                f"option '{option}' = {shorten(name)!r} has {len(name.encode())} bytes, and the name of a vector at "
                f"most {LONGEST_VECTOR_NAME}"
            )
    for one, other in (("prompt", "prompt_name"), ("payload_columns", "payload_exclude")):
        if {one, other} <= options.given:
            problems.append(f"options '{one}' and '{other}' exclude each other; give one of them")
    asked = options.payload_columns or ()
    if options.vector_column in asked:
        problems.append(
            f"option 'payload_columns' names the column '{options.vector_column}' of option 'vector_column', which is "
            "stored as the vector; leave it out there, "
            "or give a copy of the column another name"
        )
    if not options.store_text and options.vector_column is None:
        left_out = [name for name in options.text_column if name in asked and name not in key]
        problems.extend(
            f"option 'payload_columns' names the text column '{name}', and store_text=false leaves it out; "
            "give one of them"
            for name in left_out
        )
    if options.vector_column is None:
        without_effect(("dimension",), "without 'vector_column': the model tells it")
    if options.encoder is not None and not re.fullmatch(r"[\w.]+:[\w.]+", options.encoder):
        problems.append(f"option 'encoder' must be package.module:factory, got {options.encoder!r}")
    problems.extend(
        f"option '{name}' must not be empty" for name in marked(FILLED) if getattr(options, name) in ("", ())
    )
    return problems


def _rejects_problems(options: SinkOptions) -> list[str]:
    if options.rejects or options.long_text != "reject":
        return []
    return ["option 'long_text' = 'reject' needs option 'rejects_path', a directory for the rejected rows"]


def place_problems(options: SinkOptions) -> list[str]:
    """Return the problems with the place where the points should go."""
    where = options.collection
    if not where:
        return [
            "no collection is named: end with .save(\"articles\"), or give option 'collection'; Spark does not hand "
            "on the options of a catalog's table, "
            "but those of CREATE TEMPORARY VIEW … USING vectorsink OPTIONS (…)"
        ]
    if HALF_CHARACTER.search(where):
        return [
            "half a character of UTF-16 is no text, and cannot be in the name of a collection or directory: "
            f"{_shown(where)}"
        ]
    looks_like_path = "/" in where or where.lower().startswith("file:") or where in (".", "..")
    if options.url is None:
        scheme = re.match(r"^([A-Za-z][A-Za-z0-9+.-]*):", where)
        if scheme and scheme[1].lower() != "file":
            return [
                f"an embedded store is a local directory, got {_shown(where)}; for a server give its address as "
                "option 'url' and a collection's name to save()"
            ]
        if not looks_like_path:
            return [
                f"{_shown(where)} is a bare name: for a collection on a server give option 'url' (e.g. "
                "http://localhost:6333); "
                f'for an embedded store in a directory of this machine write "./{where}"'
            ]
        return list(_directory_problems(options))
    if looks_like_path:
        return [f"with option 'url' the collection is a plain name, got {_shown(where)}"]
    if unusable := UNUSABLE_IN_NAMES.search(where):
        return [f"a collection's name cannot hold {unusable[0]!r}, got {_shown(where)}"]
    if (size := len(where.encode())) > LONGEST_NAME:
        return [f"a collection's name has at most {LONGEST_NAME} bytes, this one has {size}: {_shown(where)}"]
    return []


def _directory_problems(options: SinkOptions) -> Iterator[str]:
    where = options.collection or ""
    if where.lower().startswith("file:") and urlsplit(where).netloc not in ("", "localhost"):
        yield (
            f"an embedded store is a directory of this machine, got {_shown(where)}; write file:///path, or "
            "the path alone"
        )
        return
    try:
        options.directory.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # the store itself looks at what is there
    except (OSError, ValueError, RuntimeError) as error:
        yield (
            f"{_shown(where)} cannot be the directory of an embedded store: {getattr(error, 'strerror', None) or error}"
        )


def _shown(place: str) -> str:
    """Return a place for a message: on one line, and without the part before an @, which may be a password."""
    return repr(shorten(place.rpartition("@")[2]))


MARKS = ("<!-- options: made by `python -m spark_vector_sink.options docs/options.md` -->", "<!-- end of options -->")


def with_tables(page: str) -> str:
    """Return a page with the current tables of options between its two marks."""
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{to_markdown()}\n{MARKS[1]}{after}"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_tables(file.read_text(encoding="utf-8")), encoding="utf-8")
