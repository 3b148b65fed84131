"""Options: what each text means, and what is said where it means nothing."""

from __future__ import annotations

import json
import pickle
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_vector_sink.errors import OptionError
from spark_vector_sink.options import ID_NAMESPACE, SPARK_KEYS, Secret, SinkOptions, option_table, to_markdown

SERVER = {"url": "http://localhost:6333", "path": "articles"}
KEY = "hush-hush-4711"

NAMES = st.sampled_from([*option_table(), *SPARK_KEYS]) | st.text(max_size=12)
VALUES = (
    st.text(max_size=20)
    | st.sampled_from(
        [
            "true",
            "auto",
            "-1",
            "0",
            "1e400",
            "nan",
            "inf",
            "{}",
            "[]",
            "{",
            "a:b",
            ":",
            ",",
            "null",
            "0x10",
            "１２",
            "1_0",
            ".",
        ]
    )
    | st.integers().map(str)
    | st.floats().map(str)
)


def parse(**options: Any) -> SinkOptions:
    return SinkOptions.from_mapping({**SERVER, **options})


def problems(**options: Any) -> tuple[str, ...]:
    with pytest.raises(OptionError) as refused:
        parse(**options)
    return refused.value.problems


def only_problem(**options: Any) -> str:
    (problem,) = problems(**options)
    return problem


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("model", "a/b", "a/b"),
        ("prompt", " kept as it is ", " kept as it is "),
        ("grpc_port", " 6334 ", 6334),
        ("timeout_seconds", "2.5", 2.5),
        ("retry_max_seconds", "0", 0.0),
        ("store_text", "FALSE", False),
        ("store_text", " true ", True),
        ("normalize", "false", False),
        ("token_budget", "auto", "auto"),
        ("token_budget", "Auto", "auto"),
        ("token_budget", "8192", 8192),
        ("max_in_flight", "8", 8),
        ("dtype", "BFloat16", "bfloat16"),
        ("device", "cuda:1", "cuda:1"),
        ("distance", "Dot", "dot"),
        ("text_column", "title, body ,", ("title", "body")),
        ("id_column", "a", ("a",)),
        ("payload_columns", "", ()),
        ("id_namespace", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", uuid.NAMESPACE_DNS),
        ("payload_rename", "a:b, c : d", {"a": "b", "c": "d"}),
        ("payload_rename", '{"a:b": "c,d"}', {"a:b": "c,d"}),
        ("payload_rename", "a:b:c", {"a": "b:c"}),
        (
            "collection_config",
            '{"on_disk_payload": true, "shard_number": 2}',
            {"on_disk_payload": True, "shard_number": 2},
        ),
        ("collection_config", "", {}),
    ],
)
def test_a_text_has_this_value(name: str, text: str, value: Any) -> None:
    """Blanks around names and numbers do not count, nor does the case of words."""
    made = getattr(parse(**{name: text}), name)
    assert (made, type(made)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("batch_points", "many", "option 'batch_points' must be an integer >= 1, got 'many'"),
        ("batch_points", "0", "option 'batch_points' must be an integer >= 1, got '0'"),
        ("batch_points", "1.5", "option 'batch_points' must be an integer >= 1, got '1.5'"),
        ("grpc_port", "65536", "option 'grpc_port' must be an integer from 1 to 65535, got '65536'"),
        ("timeout_seconds", "soon", "option 'timeout_seconds' must be a number from 0.1 to 86400, got 'soon'"),
        ("timeout_seconds", "nan", "option 'timeout_seconds' must be a number from 0.1 to 86400, got 'nan'"),
        ("token_budget", "much", "option 'token_budget' must be 'auto' or an integer >= 1, got 'much'"),
        ("max_in_flight", "9", "option 'max_in_flight' must be 'auto' or an integer from 1 to 8, got '9'"),
        ("store_text", "yes", "option 'store_text' must be true or false, got 'yes'"),
        ("distance", "cos", "option 'distance' must be 'cosine', 'dot', 'euclid' or 'manhattan', got 'cos'"),
        ("id_namespace", "me", "option 'id_namespace' must be a UUID, got 'me'"),
        (
            "payload_rename",
            "a",
            "option 'payload_rename' must be pairs `a:b, c:d`, got 'a' ('a' has no ':' between two names)",
        ),
        (
            "payload_rename",
            "a:",
            "option 'payload_rename' must be pairs `a:b, c:d`, got 'a:' ('a:' has no ':' between two names)",
        ),
        ("collection_config", "[1]", "option 'collection_config' must be a JSON object, got '[1]' (it is no object)"),
        ("device", "gpu", "option 'device' must be a text like auto, cpu, cuda, cuda:1 or mps, got 'gpu'"),
        (
            "collection_config",
            "{a: 1}",
            "option 'collection_config' must be a JSON object, got '{a: 1}' (Expecting property name enclosed in "
            "double quotes at character 2)",
        ),
    ],
)
def test_a_wrong_value_is_explained(name: str, text: str, message: str) -> None:
    """Which option, what it takes, and what it got."""
    assert only_problem(**{name: text}) == message


@pytest.mark.parametrize("name", ["timeout_seconds", "retry_max_seconds"])
def test_a_time_without_end_is_refused(name: str) -> None:
    """Infinity is no number of seconds that a request can be given."""
    assert only_problem(**{name: "inf"}).startswith(f"option '{name}' must be a number ")


def test_json_that_nests_too_deep_is_refused_like_any_other() -> None:
    """Python's parser gives up by another exception than on wrong JSON; the user sees the same sentence."""
    assert only_problem(collection_config='{"a":' + "[" * 100_000).startswith(
        "option 'collection_config' must be a JSON object, got "
    )


def test_a_python_value_that_is_no_json_is_refused_by_name() -> None:
    """`write(df, collection_config={…})` with something that JSON has no form for names the option."""
    assert only_problem(collection_config={"shard_number": {1}}).startswith(
        "option 'collection_config' must be a JSON object"
    )


@pytest.mark.parametrize("name", ["vector_column", "tenant_column"])
def test_an_empty_column_name_is_refused(name: str) -> None:
    """A template that was left unfilled is a mistake, not a column, and not the absence of one."""
    assert any(name in problem for problem in problems(**{name: ""}))


def test_a_long_value_is_shown_short() -> None:
    """Eighty characters are enough to recognise it."""
    assert (
        only_problem(batch_points="9" * 70 + "x" * 5000)
        == f"option 'batch_points' must be an integer >= 1, got '{'9' * 70}{'x' * 9}…'"
    )


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("batch_points", 256, 256),
        ("timeout_seconds", 5, 5.0),
        ("store_text", False, False),
        ("text_column", ["a", "b"], ("a", "b")),
        ("id_column", ("a", "b"), ("a", "b")),
        ("payload_rename", {"a": "b,c:d"}, {"a": "b,c:d"}),
        ("collection_config", {"on_disk_payload": True}, {"on_disk_payload": True}),
        ("id_namespace", uuid.NAMESPACE_URL, uuid.NAMESPACE_URL),
        ("report_path", Path("report.json"), "report.json"),
        ("grpc_port", None, None),
    ],
)
def test_python_values_mean_what_their_text_means(name: str, value: Any, parsed: Any) -> None:
    """`write()` takes Python's own values."""
    assert getattr(parse(**{name: value}), name) == parsed


def test_none_is_as_if_not_given() -> None:
    """An option of None has its default and counts as not set."""
    assert parse(batch_points=None) == parse()
    assert "batch_points" not in parse(batch_points=None).given


def test_defaults_are_the_promised_ones() -> None:
    """A few that users rely on, among them the namespace that every derived id hangs on."""
    options = parse()
    assert (options.text_column, options.id_column, options.model) == (
        ("text",),
        ("id",),
        "sentence-transformers/all-MiniLM-L6-v2",
    )
    assert (options.window_rows, options.batch_points, options.batch_bytes) == (4096, 512, 4 * 1024 * 1024)
    assert (options.timeout_seconds, options.retry_max_seconds, options.trust_remote_code) == (60.0, 600.0, False)
    assert options.id_namespace == ID_NAMESPACE == uuid.uuid5(uuid.NAMESPACE_DNS, "spark-vector-sink")


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_are_case_insensitive() -> None:
    """Spark lower-cases keys in one door and not in the other."""
    assert parse(Batch_Points="7", TEXT_COLUMN="body").batch_points == 7


@pytest.mark.parametrize("key", ["checkpointLocation", "queryName"])
def test_sparks_own_keys_are_ignored(key: str) -> None:
    """Spark puts them among the options by itself."""
    assert parse(**{key: "x"}) == parse()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text_colum", "unknown option 'text_colum'; did you mean 'text_column'?"),
        ("Batchpoints", "unknown option 'Batchpoints'; did you mean 'batch_points'?"),
        ("zzz", "unknown option 'zzz'; docs/options.md lists the options"),
        (
            "replaceWhere",
            "option 'replaceWhere' cannot be followed: mode('overwrite') replaces all documents; write those that "
            "have changed with mode('append')",
        ),
        (
            "on_bad_row",
            "option 'on_bad_row' is gone: 'rejects_path' alone means that bad rows are rejected; leave it out",
        ),
        ("given", "unknown option 'given'; docs/options.md lists the options"),
    ],
)
def test_a_name_that_is_none_is_explained(name: str, message: str) -> None:
    """A typo gets a hint."""
    assert only_problem(**{name: "1"}) == message


# --- where ------------------------------------------------------------------------------------------------------------


def test_a_bare_name_without_url_gets_both_ways_out() -> None:
    """Nobody fills a local directory by mistake."""
    with pytest.raises(OptionError) as refused:
        SinkOptions.from_mapping({"path": "articles"})
    assert str(refused.value) == (
        "'articles' is a bare name: for a collection on a server give option 'url' (e.g. http://localhost:6333); "
        'for an embedded store in a directory of this machine write "./articles"'
    )


@pytest.mark.parametrize("path", ["./articles", "/tmp/articles", "a/b", "file:/tmp/a", "file:///tmp/a", "~/a", "."])
def test_a_path_is_an_embedded_store(path: str) -> None:
    """A slash, or `file:`, makes it a directory of this machine."""
    options = SinkOptions.from_mapping({"path": path})
    assert options.is_embedded
    assert options.directory.is_absolute()


def test_a_file_url_and_its_path_are_one_directory() -> None:
    """`file:/x`, `file:///x` and `/x` are the same place."""
    assert {
        SinkOptions.from_mapping({"path": path}).directory for path in ("file:/tmp/a", "file:///tmp/a", "/tmp/a")
    } == {Path("/tmp/a")}


@pytest.mark.parametrize("path", ["s3://bucket/articles", "hdfs://host/articles", "http://host:6333/articles"])
def test_another_filesystem_is_no_embedded_store(path: str) -> None:
    """The index needs a local directory; who meant a server is told how to name it."""
    with pytest.raises(
        OptionError,
        match=r"^an embedded store is a local directory, got .*; for a server give its address as option 'url'",
    ):
        SinkOptions.from_mapping({"path": path})


def test_no_place_at_all_is_explained() -> None:
    """`save()` without a name, and a table of a catalog, end here."""
    with pytest.raises(
        OptionError, match=r"^no collection is named: end with \.save\(\"articles\"\), or give option 'collection'"
    ):
        SinkOptions.from_mapping({"url": "http://localhost:6333"})


def test_two_places_are_refused() -> None:
    """`save(name)` and option `collection` may agree, but not differ."""
    assert parse(collection="articles").collection == "articles"
    assert (
        only_problem(collection="books")
        == "save('articles') and option 'collection' = 'books' name two places; give one of them"
    )


def test_a_path_together_with_url_is_refused() -> None:
    """A collection on a server has a plain name."""
    assert only_problem(path="./articles") == "with option 'url' the collection is a plain name, got './articles'"


# --- together ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"vector_column": "v", "model": "m"},
            "option 'model' has no effect together with 'vector_column'; leave it out",
        ),
        (
            {"vector_column": "v", "max_tokens": "9"},
            "option 'max_tokens' has no effect together with 'vector_column'; leave it out",
        ),
        (
            {"vector_column": "v", "text_column": "body"},
            "option 'text_column' has no effect together with 'vector_column'; leave it out",
        ),
        (
            {"vector_column": "v", "store_text": "false"},
            "option 'store_text' has no effect together with 'vector_column'; leave it out",
        ),
        ({"encoder": "a.b:c", "model": "m"}, "option 'model' has no effect together with 'encoder'; leave it out"),
        ({"encoder": "a.b:c", "prompt": "p"}, "option 'prompt' has no effect together with 'encoder'; leave it out"),
        (
            {"encoder": "a.b:c", "normalize": "true"},
            "option 'normalize' has no effect together with 'encoder'; leave it out",
        ),
        ({"tls_ca_file": "ca.pem"}, "option 'tls_ca_file' has no effect without an https 'url'; leave it out"),
        (
            {"create_collection": "false", "collection_config": "{}"},
            "option 'collection_config' has no effect with create_collection=false; leave it out",
        ),
        (
            {"dimension": "8"},
            "option 'dimension' has no effect without 'vector_column': the model tells it; leave it out",
        ),
        (
            {"prompt": "a", "prompt_name": "b"},
            "options 'prompt' and 'prompt_name' exclude each other; give one of them",
        ),
        (
            {"payload_columns": "a", "payload_exclude": "b"},
            "options 'payload_columns' and 'payload_exclude' exclude each other; give one of them",
        ),
        (
            {"payload_columns": "text,v", "vector_column": "v"},
            "option 'payload_columns' names the column 'v' of option 'vector_column', which is stored as the vector; "
            "leave it out there, or give a copy of the "
            "column another name",
        ),
        (
            {"payload_columns": "text,a", "store_text": "false"},
            "option 'payload_columns' names the text column 'text', and store_text=false leaves it out; "
            "give one of them",
        ),
        ({"encoder": "nonsense"}, "option 'encoder' must be package.module:factory, got 'nonsense'"),
        ({"text_column": " , "}, "option 'text_column' must not be empty"),
        ({"id_column": ""}, "option 'id_column' must not be empty"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, str], message: str) -> None:
    """An option that would change nothing is a misunderstanding, so it is said."""
    assert only_problem(**options) == message


@pytest.mark.parametrize(
    "name", ["grpc_port", "api_key", "batch_points", "max_in_flight", "ordering", "retry_max_seconds", "versioned"]
)
def test_a_servers_options_have_no_effect_on_a_directory(name: str) -> None:
    """The embedded store has neither requests nor keys."""
    value = {"ordering": "weak", "versioned": "true"}.get(name, "5")
    with pytest.raises(OptionError) as refused:
        SinkOptions.from_mapping({"path": "./a", name: value})
    assert str(refused.value) == f"option '{name}' has no effect on an embedded store (no 'url'); leave it out"


def test_every_problem_is_in_the_one_message() -> None:
    """Nobody has to run a job five times to find five typos."""
    with pytest.raises(OptionError) as refused:
        SinkOptions.from_mapping({"path": "articles", "batch_points": "x", "text_colum": "t", "long_text": "reject"})
    assert len(refused.value.problems) == 4
    assert str(refused.value).startswith(
        "4 problems: (1) option 'batch_points' must be an integer >= 1, got 'x'; (2) unknown option 'text_colum'; "
    )


def test_a_place_for_rejects_is_all_that_rejecting_needs() -> None:
    """Whoever rejects says where to, and whoever says where to rejects; a limit alone would change nothing."""
    assert not parse().rejects
    assert parse(rejects_path="r", max_rejects="1%", long_text="reject").rejects
    assert (
        only_problem(long_text="reject")
        == "option 'long_text' = 'reject' needs option 'rejects_path', a directory for the rejected rows"
    )
    assert only_problem(max_rejects="5") == "option 'max_rejects' has no effect without 'rejects_path'; leave it out"
    assert only_problem(long_text="reject", rejects_path="") == "option 'rejects_path' must not be empty"


@pytest.mark.parametrize(
    ("text", "rows", "most"),
    [
        ("5", 10, 5),
        (" 0 ", 10, 0),
        ("1%", 250, 2),
        ("0.1%", 999, 0),
        ("0.1%", 1000, 1),
        ("100%", 7, 7),
        ("29%", 100, 29),
        (None, 10, None),
    ],
)
def test_how_many_rejects_are_allowed(text: str | None, rows: int, most: int | None) -> None:
    """A count, or a share of the rows read, rounded down and without the errors of floating point."""
    options = parse(rejects_path="r", max_rejects=text)
    assert options.most_rejects(rows) == most
    assert options.most_rejects() == (None if text is None or "%" in text else most)


@pytest.mark.parametrize("text", ["-1", "0.5", "101%", "%", "1 %", "many", "", "1e3"])
def test_a_limit_of_rejects_is_a_count_or_a_share(text: str) -> None:
    """Anything else is refused; half a row, too."""
    expected = f"option 'max_rejects' must be a text like 100 (rows) or 1% (of the rows read), got '{text}'"
    assert only_problem(rejects_path="r", max_rejects=text) == expected


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [{}, {"batch_points": "x"}, {"path": "./a"}, {"api_keys": KEY}, {"url": f"http://user:{KEY}@host:6333"}]
)
def test_a_key_is_in_no_text(more: dict[str, str]) -> None:
    """Neither repr nor str of the options shows it, nor the message of whatever else is wrong."""
    given_options = {**SERVER, "api_key": KEY, **more}
    parsed, found = SinkOptions.parse(given_options)
    assert parsed.api_key is not None
    assert parsed.api_key.reveal() == KEY
    assert KEY not in f"{parsed!r} {parsed} {parsed.api_key!r} {parsed.api_key} {found}"


def test_a_password_in_a_place_is_in_no_message() -> None:
    """Who writes the whole address into save() is refused without seeing the password again."""
    with pytest.raises(OptionError) as refused:
        SinkOptions.from_mapping({"path": f"http://user:{KEY}@host:6333/articles"})
    assert KEY not in str(refused.value)


def test_a_secret_is_passed_on_as_such() -> None:
    """`write(api_key=Secret(…))` works, and Secret survives pickling without showing itself."""
    parsed = parse(api_key=Secret(KEY))
    assert parsed.api_key is not None
    assert pickle.loads(pickle.dumps(parsed)).api_key.reveal() == KEY
    assert repr(parsed.api_key) == "Secret('***')"


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", option_table())
def test_every_option_is_explained_in_a_sentence(name: str) -> None:
    """One, not two, on one line, and it ends in a full stop."""
    text = option_table()[name].doc.help
    assert re.fullmatch(r".*[^.]\.", text)
    assert not re.search(r"\. [A-Z]", text)


@pytest.mark.parametrize("name", option_table())
def test_every_default_passes_its_own_check(name: str) -> None:
    """What the table shows as default can be written down as an option, and is the default again."""
    option = option_table()[name]
    if option.default_text:
        assert option.parse(option.default_text) == option.default


def test_the_markdown_table_has_every_option_once() -> None:
    """The tables of docs/options.md leave none out, and have four columns on each line."""
    lines = [line for line in to_markdown().splitlines() if line.startswith("| `")]
    assert [re.match(r"\| `(\w+)`", line)[1] for line in lines] == list(option_table())  # type: ignore[index]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in lines)


# --- properties -------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_mapping_parses_or_is_explained(options: dict[str, str]) -> None:
    """No text makes an exception; the one line names every option that is unknown, and what could be parsed survives
    pickling."""
    parsed, found = SinkOptions.parse(options)
    assert len(str(OptionError(found)).splitlines()) == 1
    for name in options:
        known = name.lower() in option_table() or name.lower() in SPARK_KEYS
        assert known or any(f"option '{name.lower()}'" in problem.lower() for problem in found)
    assert pickle.loads(pickle.dumps(parsed)).given == parsed.given


@settings(max_examples=60, deadline=None, derandomize=True)
@given(name=st.sampled_from([n for n in option_table() if n not in ("collection", "api_key")]), text=VALUES)
def test_one_wrong_option_does_not_hide_another(name: str, text: str) -> None:
    """A problem of one option does not change what is said of another."""
    alone = SinkOptions.parse({**SERVER, name: text})[1]
    together = SinkOptions.parse({**SERVER, name: text, "window_rows": "none"})[1]
    assert (
        set(together) == {*alone, "option 'window_rows' must be an integer >= 1, got 'none'"} or name == "window_rows"
    )


def test_options_survive_pickling() -> None:
    """Every task gets them by pickle."""
    options = parse(
        text_column="a,b",
        payload_rename="a:b",
        collection_config=json.dumps({"on_disk_payload": True}),
        normalize="true",
    )
    again = pickle.loads(pickle.dumps(options))
    assert (again, again.given) == (options, options.given)


@pytest.mark.parametrize(
    ("where", "directory"),
    [
        ("file:/data/store", "/data/store"),
        ("file:///data/a%20b", "/data/a b"),
        ("FILE://localhost/data/store", "/data/store"),
        ("/data/a%20b", "/data/a%20b"),
    ],
)
def test_a_directory_by_its_url(where: str, directory: str) -> None:
    """A file: URL is the path that it stands for; a plain path is taken as it is."""
    assert str(SinkOptions.from_mapping({"path": where}).directory) == directory


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("file://host/data", "directory of this machine"),
        ("./a\0b", "cannot be the directory"),
        ("./" + "x" * 300, "too long"),
    ],
)
def test_a_directory_that_cannot_be(where: str, words: str) -> None:
    """Another machine's directory, and a path that no system takes, are refused in one line."""
    with pytest.raises(OptionError, match=words):
        SinkOptions.from_mapping({"path": where})


@pytest.mark.parametrize("name", ["a*b", "a:b", "a?b", "a\\b", "a<b", 'a"b', "a\nb", "x" * 241])
def test_a_collections_name_that_a_server_refuses(name: str) -> None:
    """Known before the server is asked, so that it is said with the other problems."""
    with pytest.raises(OptionError, match="a collection's name"):
        SinkOptions.from_mapping({"path": name, "url": "http://localhost"})


@pytest.mark.parametrize(
    "options",
    [
        {"id_column": "id,id"},
        {"id_column": "a,t", "tenant_column": "t"},
        {"payload_rename": '{"a": ""}'},
        {"vector_name": "a/b"},
    ],
)
def test_names_that_cannot_be(options: dict[str, str]) -> None:
    """A key column named twice, an empty payload name, a vector name that the server refuses."""
    with pytest.raises(OptionError):
        SinkOptions.from_mapping({"path": "./x", **options})


@pytest.mark.parametrize("name", ["..", "x" * 201, "🙂" * 51, "a/b", "\n"])
def test_a_vector_has_a_name_that_a_server_takes(name: str) -> None:
    """A server takes 200 bytes, and an embedded store makes a directory of it."""
    _, problems = SinkOptions.parse({"path": "./a", "vector_name": name})
    assert [problem.startswith("option 'vector_name' ") for problem in problems] == [True]
    assert SinkOptions.parse({"path": "./a", "vector_name": "🙂" * 50})[1] == []


def test_half_a_character_is_no_text() -> None:
    """Python lets a text hold one, and nothing can send or write it."""
    assert SinkOptions.parse({"path": "./a", "vector_name": "\ud800"})[1] == [
        "option 'vector_name' must be a text, got '\\ud800' (half a character of UTF-16, which is no text)"
    ]
    (problem,) = SinkOptions.parse({"path": "./a\ud800"})[1]
    assert problem.startswith("half a character of UTF-16 is no text")


def test_the_bytes_of_a_collections_name_count() -> None:
    """It becomes the name of a directory."""
    (problem,) = SinkOptions.parse({"path": "é" * 121, "url": "http://x"})[1]
    assert problem.startswith("a collection's name has at most 240 bytes, this one has 242: ")
    assert SinkOptions.parse({"path": "é" * 120, "url": "http://x"})[1] == []
