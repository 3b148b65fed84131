"""What there is to draw of options: values that are right, values that are wrong, and which options go together. From
the README's table."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fuzz.case import Case

SECRET = "hush"
"""Part of every key and password of the campaign; no message may hold it."""

SERVER: dict[str, list[Any]] = {
    "batch_points": [1, 2, 3, 7, 64, "512", 10**30],
    "batch_bytes": [1024, 1500, 5000, "4194304", 10**30],
    "max_in_flight": ["auto", 1, 2, 8, "AUTO"],
    "ordering": ["weak", "medium", "strong", " Strong "],
    "retry_max_seconds": [0, 5, "1e2"],
    "versioned": [False, "true", "FALSE"],
    "api_key": [f"{SECRET}-key", f"  {SECRET} "],
    "api_key_env": ["NO_SUCH_VARIABLE", "no=name", "ü"],
    "api_key_file": ["<tmp>/no such file"],
    "collection_config": [
        '{"on_disk_payload": true}',
        {"vectors": {"on_disk": True}},
        "{}",
        '{"optimizers_config": {"indexing_threshold": 0}}',
    ],
    "url": [f"http://user:{SECRET}@<address>", "<address>", "HTTP://<address>/"],
}
"""Options that only a server has, with values that are right."""

ANYWHERE: dict[str, list[Any]] = {
    "window_rows": [1, 2, 3, 7, 16, 50, "100", 10**30],
    "distance": ["dot", "dot", "dot", "Dot", "cosine", "euclid", "manhattan"],
    "id_namespace": [
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "6BA7B8109DAD11D180B400C04FD430C8",
        "{00000000-0000-0000-0000-000000000000}",
    ],
    "vector_name": ["", "body", "ü", "🙂", "a.b", "a b", "'", "x" * 200, " "],
    "adopt_collection": [True, "false"],
    "create_collection": [True, "TRUE"],
    "timeout_seconds": [30, "60.5"],
    "report_path": ["<tmp>/report.json", "<tmp>/r 🙂#?.json", "file://<tmp>/report.json"],
}

WRONG: dict[str, list[Any]] = {
    "grpc_port": ["0", "65536", "-1", "x", "1.5", ""],
    "timeout_seconds": ["0", "-1", "nan", "inf", "x", "86401", ""],
    "id_namespace": ["x", "", "e6a15eeb-a4bd-56f8-a5c3", "\0"],
    "text_template": ["{", "}", "{nobody}", "{}", "no name", "{text!r}", "{text:>9}", "{text[0]}", ""],
    "id_column": ["", " , ", "nobody", "\0", "id,id"],
    "text_column": ["", ",", "nobody"],
    "tenant_column": ["", "nobody", " "],
    "payload_columns": ["nobody", "a" * 5000],
    "payload_exclude": ["nobody"],
    "payload_rename": ["a", "a:", ":b", "{", "[1]", '{"nobody": "x"}', "nobody:x", "{" * 100_000, '{"a": 1e999}'],
    "payload_indexes": ["x", "nobody:keyword", '{"nobody": "keyword"}', "{]"],
    "vector_column": ["", "nobody"],
    "vector_name": ["a/b", '"', "a\nb", "\0", "a:b", "\x7f", "..", "x" * 201, "🙂" * 51],
    "window_rows": ["0", "-5", "1e3", "x", "", "1.0", "auto", "9" * 5000],
    "normalize": ["yes", "1", ""],
    "store_text": ["yes", "0", ""],
    "create_collection": ["false", "maybe", False],
    "versioned": ["x", ""],
    "distance": ["l2", "", "dot product", "\0"],
    "collection_config": [
        "{",
        "[]",
        "null",
        "1",
        '{"nope": 1}',
        '{"vectors": {"size": 3}}',
        '{"shard_number": "x"}',
        "[" * 100_000,
    ],
    "dimension": ["0", "-1", "x", "65537", "1.5", ""],
    "batch_points": ["0", "-1", "x", "", "1e3"],
    "batch_bytes": ["1023", "0", "x", ""],
    "max_in_flight": ["0", "9", "x", ""],
    "ordering": ["x", "", "weakest"],
    "rejects_path": ["", f"nosuch://KEY:{SECRET}@bucket/r", "<tmp>/a file", "<tmp>/a file/below", "<tmp>/\0"],
    "max_rejects": ["-1", "x", "101%", "1e3", "", "%", "0.5", "1 %", "٣"],
    "retry_max_seconds": ["-1", "nan", "x", "604801"],
    "report_path": ["", "<tmp>/missing/report.json", "<tmp>", "<tmp>/\0"],
    "encoder": ["", "x", "no.such:thing", "tests.fakes:Nope", "os:getcwd", ":", "os:\n", "tests.fakes:Four.dimension"],
    "device": ["", "gpu", "CUDA", "cuda:x", "cuda:", "cpu ", "auto:1"],
    "model": ["", "/no/such/folder", "\0"],
    "long_text": ["x", ""],
    "api_key": [f"{SECRET}\nline", f"{SECRET}\u00fc", f"{SECRET}\0"],
    "url": [
        f"ftp://user:{SECRET}@<address>",
        "http://",
        f"http://<address>/p?api_key={SECRET}",
        f"http://u:{SECRET}@[::1",
        "http://<address>/path",
        "",
    ],
}
"""For each option values that are wrong for every job."""

UNKNOWN = [
    "batch_point",
    "Id_Colum",
    "x",
    "",
    "id-column",
    "\n",
    "🙂",
    "x" * 1000,
    "op_column",
    "version_column",
    "unchanged",
]

ONLY_ENCODING = ("text_column", "text_template", "store_text", "encoder", "device", "max_tokens", "prompt", "long_text")

GOOD_PLACES = [
    "",
    "🙂",
    "ü x",
    ".x",
    "%2F",
    "a'b",
    "#a",
    "x" * 150,
    "é" * 60,
    "A",
    "__v1",
    "\u202e",
    "a;b",
    "$(x)",
    "`",
    "-",
]
BAD_PLACES = {
    "embedded": ["\0", "x" * 300, "\ud800"],
    "server": ["/", ":", '"', "*", "\n", "<", "\x7f", "x" * 300, "🙂" * 60, "é" * 125, "\ud800", "|", "\\"],
}


def as_text(value: Any) -> str:
    """The text of an option, as docs and README have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)


def wrong(case: Case, given: Mapping[str, str]) -> Iterator[str]:
    """The options that must be refused for what they are; what depends on the columns is the oracle's. given: by their
    names in lower case."""
    is_server = case.store != "embedded"
    for name, value in case.options.items():
        lowered = name.lower()
        if name in UNKNOWN or lowered in UNKNOWN:
            yield lowered
        if (
            value is not None
            and (value in WRONG.get(lowered, []) or _has_surrogate(as_text(value)))
            and not _is_column(case, value)
        ):
            yield lowered
    if case.where in BAD_PLACES["server" if is_server else "embedded"]:
        yield ""  # the message shows the name itself, and what is wrong with it
    if not is_server:
        yield from (name for name in given if name in SERVER and name != "url")
    if "max_rejects" in given and "rejects_path" not in given:
        yield "max_rejects"
    if "vector_column" in given:
        yield from (name for name in ONLY_ENCODING if name in given)
    else:
        yield from (name for name in ("dimension", "normalize") if name in given)


def without_effect(case: Case, given: Mapping[str, str]) -> Iterator[str]:
    """Options that may be refused as being without effect."""
    if given.get("create_collection", "true").strip().lower() == "false":
        yield from ("collection_config", "versioned")
    if "payload_columns" in given and "payload_exclude" in given:
        yield "payload_columns"


def draw_wrong(r: random.Random) -> tuple[str, Any]:
    """An option with a value that is wrong, or one that there is not."""
    if r.random() < 0.2:
        return r.choice(UNKNOWN), "x"
    name = r.choice(sorted(WRONG))
    return name, r.choice(WRONG[name])


def _has_surrogate(text: str) -> bool:
    return any(0xD800 <= ord(sign) < 0xE000 for sign in text)


def _is_column(case: Case, value: Any) -> bool:
    """A column may be called like a wrong value; then it is none."""
    return isinstance(value, str) and any(column.name == value for column in case.columns)
