"""`python -m spark_vector_sink`: what is printed, what ends a command, and that keys are not seen."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from spark_vector_sink.cli import parquet
from spark_vector_sink.cli.assumed_columns import assumed_columns
from spark_vector_sink.cli.commands import commands
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.store.edge import versions
from tests.fake_server import FakeServer
from tests.fakes import Four
from tests.jobs import Place, server_place

ROOT = Path(__file__).parents[2]
ENCODER = "encoder=tests.fakes:Four"
DOCUMENTS = pa.table({"id": ["a", "b"], "n": [1, 2], "text": ["how to\nread a file \x1b[31m", "sorting lists"]})
COMMANDS = ("check", "search", "inspect", "rollback")


def typed(*arguments: str, **environment: str) -> Result:
    """What comes of a command; an error that is not ours is raised."""
    done = CliRunner().invoke(commands, arguments, env=environment, prog_name="vectorsink", terminal_width=100)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def lines(*arguments: str) -> list[str]:
    """What a command prints that ends well."""
    done = typed(*arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout.splitlines()


def refused(status: int, *arguments: str, **environment: str) -> str:
    """The last line of the error of a command that ends with this exit status."""
    done = typed(*arguments, **environment)
    assert done.exit_code == status
    return done.stderr.splitlines()[-1]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """An embedded store with two versions, of two documents each."""
    pytest.importorskip("qdrant_edge")
    place = Place({"path": str(tmp_path / "store"), "encoder": "tests.fakes:Four"})
    place.write(DOCUMENTS)
    place.write(DOCUMENTS, mode="overwrite")
    return str(tmp_path / "store")


def test_search_prints_score_key_and_the_beginning_of_the_text(store: str) -> None:
    """On one line each, without what would change a terminal's colours."""
    assert lines("search", store, "sorting lists") == [
        " 1.000  b  sorting lists",
        lines("search", store, "sorting lists")[1],
    ]
    assert re.fullmatch(r" 0\.\d{3}  a  how to read a file �\[31m", lines("search", store, "sorting lists")[1])
    assert len(lines("search", store, "sorting lists", "--limit", "1")) == 1


def test_scripts_that_join_letters_are_printed_as_they_are(tmp_path: Path) -> None:
    """What no terminal minds is no `�`: the joiners of Persian and of emoji. What turns the direction of a line is
    one."""
    pytest.importorskip("qdrant_edge")
    Place({"path": str(tmp_path / "store"), "encoder": "tests.fakes:Four"}).write(
        pa.table({"id": ["a"], "text": ["می\u200cخواهم 👩\u200d💻 \u202eright to left"]})
    )
    (line,) = lines("search", str(tmp_path / "store"), "sorting lists")
    assert line.endswith("می\u200cخواهم 👩\u200d💻 �right to left")


def test_an_address_of_several_nodes_is_refused() -> None:
    """Which part of it would be the collection's is not told."""
    assert refused(1, "search", "http://a:6333,http://b:6333/articles", "question") == (
        "Error: the address of a collection is one node's; give several as option 'url' and the collection's name alone"
    )


def test_an_address_without_its_beginning_is_explained() -> None:
    """What looks like host and port is no embedded store."""
    assert refused(1, "inspect", "localhost:6333/articles") == (
        "Error: the address of a collection begins with http:// or https://, as in http://localhost:6333/articles"
    )


def test_search_for_programs(store: str) -> None:
    """--json gives every field, and the text as it is stored."""
    (first,) = json.loads("\n".join(lines("search", store, "how to\nread a file \x1b[31m", "--limit", "1", "--json")))
    assert (first["key"], first["payload"]) == ("a", {"id": "a", "n": 1, "text": DOCUMENTS["text"][0].as_py()})
    assert first["score"] == pytest.approx(1.0)


def test_search_among_some_documents(store: str) -> None:
    """--filter is Qdrant's own; what is none is refused."""
    few = lines("search", store, "sorting lists", "--filter", '{"must": [{"key": "n", "match": {"value": 1}}]}')
    assert [line.split()[1] for line in few] == ["a"]
    assert refused(2, "search", store, "sorting lists", "--filter", "{n: 1}").startswith("Error: --filter is no JSON: ")
    assert (
        refused(2, "search", store, "sorting lists", "--filter", "[1]")
        == 'Error: --filter must be a JSON object, such as {"must": […]}'
    )
    assert refused(2, "search", store, "sorting lists", "--filter", "[" * 100_000).startswith(
        "Error: --filter is no JSON: "
    )
    assert refused(1, "search", store, "sorting lists", "--filter", '{"wanted": 1}').startswith(
        "Error: the filter is none of Qdrant's: "
    )


def test_search_with_a_vector(store: str) -> None:
    """In the place of a question; what is no list, and two questions or none, are refused."""
    (first,) = json.loads("\n".join(lines("search", store, "sorting lists", "-n", "1", "--json")))
    number = first["score"]
    asked = json.dumps(Four().encode(["sorting lists"])[0].tolist())
    (line,) = lines("search", store, "--vector", asked, "--limit", "1")
    assert (line, round(number, 3)) == (" 1.000  b  sorting lists", 1.0)
    for wrong in ((), ("sorting lists", "--vector", "[1, 2, 3, 4]")):
        assert (
            refused(2, "search", store, *wrong)
            == "Error: ask with a QUESTION in words or with --vector; give one of them"
        )
    assert refused(2, "search", store, "--vector", "1, 2").startswith("Error: --vector is no JSON: ")
    assert (
        refused(2, "search", store, "--vector", '{"a": 1}')
        == "Error: --vector must be a JSON list, such as [0.1, -0.2, 0.3]"
    )
    assert refused(1, "search", store, "--vector", "[1, NaN, 3, 4]") == (
        "Error: the vector of search() has nan in it, and a vector is made of finite float32 numbers"
    )
    assert "holds vectors of 4 dimensions, but the one to search for has 2; ask with" in refused(
        1, "search", store, "--vector", "[1, 2]"
    )


def test_inspect_prints_what_is_there(store: str) -> None:
    """A line for each thing; --json gives the same as values."""
    printed = lines("inspect", store)
    assert printed[0] == f"name      {store}, now v2"
    assert printed[-2:] == ["version   v1: ready, 2 points", "version   v2: serves, 2 points"]
    told = json.loads("\n".join(lines("inspect", store, "--json")))
    assert (told["physical"], told["points"], told["documents"], told["metadata"]["key"]) == ("v2", 2, 2, ["id"])


def test_rollback_says_from_where_to_where(store: str) -> None:
    """It asks nothing; where there is nothing earlier it ends with an error."""
    assert lines("rollback", store) == ["v1 serves now; until now it was v2, which the next overwrite drops"]
    assert "there is no earlier version to go back to" in refused(1, "rollback", store)


def test_check_says_what_a_job_would_do(store: str, tmp_path: Path) -> None:
    """With the columns of a file, and without them; nothing is written."""
    pq.write_table(DOCUMENTS, tmp_path / "rows.parquet")
    printed = lines("check", store, "-o", ENCODER, "--input", str(tmp_path / "rows.parquet"))
    assert printed == [
        "reads    text of text",
        "key      id",
        "payload  id, n, text",
        "model    encoder tests.fakes:Four, 4 dimensions",
        f"will     write to the existing embedded store {store}",
    ]
    assert "columns  not checked; give --input" in lines("check", store, "-o", ENCODER)
    assert "will     create" in typed("check", f"{store}_new", "-o", ENCODER).stdout
    assert not Path(f"{store}_new").exists()


def test_check_reads_the_columns_of_a_parquet_dataset(store: str, tmp_path: Path) -> None:
    """A file, or a directory of them with folders that name a column; what is none is refused."""
    folder = tmp_path / "rows" / "day=3"
    folder.mkdir(parents=True)
    pq.write_table(DOCUMENTS, folder / "rows.parquet")
    for path, payload in ((folder / "rows.parquet", "id, n, text"), (tmp_path / "rows", "id, n, text, day")):
        assert f"payload  {payload}" in lines("check", store, "-o", ENCODER, "--input", str(path))
    (tmp_path / "rows.txt").write_text("id,text\n")
    assert "cannot be read as Parquet" in refused(1, "check", store, "--input", str(tmp_path / "rows.txt"))
    assert "nothing': there is no such file or directory" in refused(
        1, "check", store, "--input", str(tmp_path / "nothing")
    )


@pytest.mark.parametrize(
    ("kind", "inside", "way_out"),
    [
        (pa.float16(), "halffloat", "write it as float32"),
        (pa.time32("ms"), "time32[ms]", "write it as a string"),
        (pa.time64("us"), "time64[us]", "read it with spark.sql.timeType.enabled=true, or write it as a string"),
        (pa.timestamp("ns"), "timestamp[ns]", "write it in microseconds"),
        (pa.timestamp("ns", "UTC"), "timestamp[ns, tz=UTC]", "write it in microseconds"),
        (pa.decimal256(50, 2), "decimal256(50, 2)", "write it with at most 38 digits"),
        (pa.list_(pa.struct({"a": pa.timestamp("ns")})), "timestamp[ns]", "write it in microseconds"),
        (pa.map_(pa.string(), pa.float16()), "halffloat", "write it as float32"),
        *([(pa.uuid(), "extension<arrow.uuid>", "write it as a string")] if hasattr(pa, "uuid") else []),
    ],
    ids=str,
)
def test_check_names_what_spark_refuses_in_a_file(
    store: str, tmp_path: Path, kind: pa.DataType, inside: str, way_out: str
) -> None:
    """Spark 4.3 does not read any column of it then."""
    pq.write_table(pa.table({"id": ["a"], "text": ["b"], "odd": pa.array([None], kind)}), tmp_path / "rows.parquet")
    done = typed("check", store, "-o", ENCODER, "--input", str(tmp_path / "rows.parquet"))
    problems = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert (done.exit_code, problems) == (
        1,
        [f"problem  column 'odd' holds {inside}, and Spark refuses a file with such a column; {way_out}"],
    )


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        (pa.uint8(), pa.int16()),
        (pa.uint16(), pa.int32()),
        (pa.uint32(), pa.int64()),
        (pa.uint64(), pa.decimal128(20, 0)),
        (pa.duration("us"), pa.int64()),
        (pa.null(), pa.int32()),
        (pa.list_(pa.uint64()), pa.list_(pa.decimal128(20, 0))),
    ],
    ids=str,
)
def test_check_says_what_spark_reads_as_another_type(
    store: str, tmp_path: Path, kind: pa.DataType, read: pa.DataType
) -> None:
    """As Spark 4.3 does, and the plan is made for that type."""
    pq.write_table(pa.table({"id": ["a"], "text": ["b"], "odd": pa.array([None], kind)}), tmp_path / "rows.parquet")
    first, *_ = lines("check", store, "-o", ENCODER, "--input", str(tmp_path / "rows.parquet"))
    assert first.startswith("columns  Spark reads 'odd', ")
    assert first.endswith(f" as {read}")
    assert parquet.of_dataset(str(tmp_path / "rows.parquet")).schema.field("odd").type == read


def test_check_takes_a_file_as_spark_reads_it(tmp_path: Path) -> None:
    """What differs in Arrow alone is nothing to speak of."""
    kinds = {
        "dictionary": (pa.dictionary(pa.int32(), pa.string()), pa.string()),
        "large": (pa.large_string(), pa.string()),
        "bytes": (pa.binary(4), pa.binary()),
        "lists": (pa.list_(pa.float32(), 2), pa.list_(pa.float32())),
        "seconds": (pa.timestamp("s"), pa.timestamp("us")),
        "zone": (pa.timestamp("us", "Europe/Oslo"), pa.timestamp("us", "UTC")),
        "map": (pa.map_(pa.string(), pa.large_string()), pa.map_(pa.string(), pa.string())),
        "object": (pa.struct({"a": pa.large_binary()}), pa.struct({"a": pa.binary()})),
        "wide": (pa.decimal256(20, 2), pa.decimal128(20, 2)),
    }
    pq.write_table(
        pa.table({name: pa.array([None], kind) for name, (kind, _) in kinds.items()}), tmp_path / "rows.parquet"
    )
    pq.write_table(
        pa.table({"old": pa.array([1], pa.timestamp("ns"))}),
        tmp_path / "old.parquet",
        use_deprecated_int96_timestamps=True,
    )
    found, old = parquet.of_dataset(str(tmp_path / "rows.parquet")), parquet.of_dataset(str(tmp_path / "old.parquet"))
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == {
        name: kind for name, (_, kind) in kinds.items()
    }
    assert (found.unreadable, found.otherwise, old.unreadable, old.schema.types) == ({}, [], {}, [pa.timestamp("us")])


def test_check_goes_by_the_schema_that_spark_has_written(tmp_path: Path) -> None:
    """As Spark does itself: an interval is a number in the file, a variant two binaries, and a vector of Spark ML a
    struct."""
    ml = {
        "type": "udt",
        "class": "VectorUDT",
        "sqlType": {"type": "struct", "fields": [{"name": "a`b", "type": "byte", "nullable": True, "metadata": {}}]},
    }
    kinds = {
        "long": ("long", pa.int64(), pa.int64()),
        "day": ("interval day to second", pa.int64(), pa.duration("us")),
        "month": ("interval year to month", pa.int32(), pa.month_day_nano_interval()),
        "variant": ("variant", pa.struct({"value": pa.binary(), "metadata": pa.binary()}), pa.string()),
        "ml": (ml, pa.struct({"a`b": pa.int8()}), pa.struct({"a`b": pa.int8()})),
        "list": (
            {"type": "array", "elementType": "decimal(4,2)", "containsNull": True},
            pa.list_(pa.decimal128(4, 2)),
            pa.list_(pa.decimal128(4, 2)),
        ),
    }
    described = {
        "type": "struct",
        "fields": [
            {"name": name, "type": kind, "nullable": True, "metadata": {}} for name, (kind, _, _) in kinds.items()
        ],
    }
    stored = pa.schema(
        [(name, kind) for name, (_, kind, _) in kinds.items()], metadata={parquet.SPARKS_OWN: json.dumps(described)}
    )
    pq.write_table(stored.empty_table(), tmp_path / "rows.parquet")
    found = parquet.of_dataset(str(tmp_path / "rows.parquet"))
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == {
        name: kind for name, (_, _, kind) in kinds.items()
    }
    assert found.unreadable == {
        "month": "column 'month' has the type interval year to month, which Spark cannot hand to Python; drop it, or "
        "cast it to string"
    }


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("void", pa.null()),
        ({"type": "array", "elementType": "void"}, pa.list_(pa.null())),
        ({"type": "map", "keyType": "void", "valueType": "void"}, pa.map_(pa.string(), pa.null())),
        ({"type": "struct", "fields": []}, pa.struct([])),
    ],
    ids=str,
)
def test_types_of_nothing_are_types(kind: Any, read: pa.DataType) -> None:
    """Spark has them, for a column of empty lists, maps or structs."""
    described = json.dumps({"type": "struct", "fields": [{"name": "x", "type": kind}]})
    assert (
        parquet.as_read(pa.schema([("x", pa.string())], metadata={parquet.SPARKS_OWN: described}))
        .schema.field("x")
        .type
        == read
    )


def test_check_ends_with_every_problem(store: str, tmp_path: Path) -> None:
    """The plan and the problems are printed, and the exit status is 1."""
    pq.write_table(pa.table({"id": [1.5], "text": ["a"]}), tmp_path / "rows.parquet")
    done = typed(
        "check",
        store,
        "-o",
        "encoder=tests.fakes:Five",
        "-o",
        "batch_point=3",
        "--input",
        str(tmp_path / "rows.parquet"),
    )
    assert done.exit_code == 1
    assert [line.split(" ", 1)[0] for line in done.stdout.splitlines()].count("problem") == 3
    assert "did you mean 'batch_points'?" in done.stdout
    assert done.stderr == "Error: a job with these options would not start: 3 problems\n"


def test_check_of_an_overwrite(store: str) -> None:
    """--mode says how the job will write."""
    assert (
        "mode('overwrite')"
        in typed("check", store, "-o", ENCODER, "-o", "unchanged=skip", "--mode", "overwrite").stdout
    )


def test_a_server(fake_server: FakeServer) -> None:
    """The same commands, by an address or by a name with its url."""
    place = server_place(fake_server, "articles", encoder="tests.fakes:Four")
    place.write(DOCUMENTS)
    port = ("-o", f"grpc_port={fake_server.grpc_port}")
    address = f"{fake_server.url}/articles"
    assert lines("inspect", address, *port)[0] == "name      articles, now articles__v1"
    assert lines("search", "articles", "sorting lists", "-n", "1", "-o", f"url={fake_server.url}", *port) == [
        " 1.000  b  sorting lists"
    ]
    assert "no earlier version" in refused(1, "rollback", address, *port)
    assert "there is no collection 'nothing'" in refused(1, "inspect", f"{fake_server.url}/nothing", *port)
    assert (
        lines("check", address, *port, "-o", ENCODER)[-1]
        == "will     write to the existing collection 'articles' (now 'articles__v1')"
    )


@pytest.mark.parametrize("way", ["environment", "another variable", "file"])
def test_the_api_key_comes_from_environment_or_file(tmp_path: Path, way: str) -> None:
    """And is never printed."""
    (tmp_path / "key").write_text("hush-1234\n")
    arguments, environment = {
        "environment": ((), {"QDRANT_API_KEY": "hush-1234"}),
        "another variable": (("--api-key-env", "OTHER_KEY"), {"OTHER_KEY": "hush-1234"}),
        "file": (("--api-key-file", str(tmp_path / "key")), {}),
    }[way]
    with FakeServer(api_key="hush-1234") as server:
        here = (f"{server.url}/articles", "-o", f"grpc_port={server.grpc_port}")
        assert "check the API key" in refused(1, "inspect", *here)
        done = typed("inspect", *here, *arguments, **environment)
        assert "there is no collection 'articles'" in done.stderr
        assert "hush" not in done.output


def test_an_api_key_is_no_argument(store: str) -> None:
    """It is refused before anything is done with it, and not repeated."""
    done = typed("inspect", store, "-o", "API_KEY=hush-1234")
    assert (done.exit_code, "hush" in done.output, "QDRANT_API_KEY" in done.stderr) == (2, False, True)


def test_the_servers_address_is_not_taken_from_the_environment() -> None:
    """A bare name needs its url, whatever QDRANT_URL says."""
    assert "'articles' is a bare name" in refused(1, "inspect", "articles", QDRANT_URL="http://localhost:1")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("inspect",), "Missing argument 'PLACE'"),
        (("search", "./store"), "ask with a QUESTION in words or with --vector; give one of them"),
        (("look", "./store"), "No such command 'look'"),
        (("inspect", "./store", "-o", "text_column"), "write name=value"),
        (("inspect", "./store", "-o", "path=./other"), "'path' is what PLACE says"),
        (
            ("inspect", "http://localhost:1/a", "-o", "url=http://localhost:2"),
            "'url' is given twice: PLACE says it already",
        ),
        (("inspect", "./store", "-o", "device=cpu", "-o", "device=cuda"), "'device' is given twice"),
        (("check", "./store", "--mode", "upsert"), "'upsert' is not one of"),
    ],
)
def test_what_is_typed_wrongly_has_an_exit_status_of_its_own(arguments: tuple[str, ...], reason: str) -> None:
    """2, as every program's; what the sink refuses is 1."""
    assert reason in refused(2, *arguments)


def test_what_the_sink_refuses_is_one_line(tmp_path: Path) -> None:
    """No traceback."""
    done = typed("inspect", str(tmp_path / "nothing"), "-o", "timeout_second=3")
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: unknown option 'timeout_second'; did you mean 'timeout_seconds'?\n",
    )


def test_a_store_that_cannot_be_read(store: str) -> None:
    """What the file system says is one line."""
    (Path(store) / "CURRENT").unlink()
    (Path(store) / "CURRENT").mkdir()
    for command in (("inspect", store), ("rollback", store), ("search", store, "sorting lists")):
        assert (
            refused(1, *command)
            == f"Error: the embedded store {store} cannot be read (Is a directory); correct its path, or "
            "its permissions"
        )


def test_a_directory_that_may_not_be_changed(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of what cannot be written."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", f"{store}/.CURRENT.tmp")

    monkeypatch.setattr(versions, "write_atomically", refuse)
    told = refused(1, "rollback", store)
    assert (
        told
        == f"Error: [Errno 13] Permission denied: '{store}/.CURRENT.tmp'; look at the path, its permissions and the "
        "room on its disk"
    )


def test_without_a_file_every_column_that_is_named_is_there() -> None:
    """So that only options, model and server are looked at."""
    options: dict[str, Any] = {
        "path": "./store",
        "id_column": "a,b",
        "text_column": "title,body",
        "tenant_column": "t",
        "version_column": "v",
        "op_column": "op",
        "payload_rename": "x:y",
        "payload_indexes": json.dumps({"y": "keyword", "z.deep[]": "integer", '"q.r"': "float"}),
    }
    checked = planning.check({**options, "encoder": "tests.fakes:Four"}, assumed_columns(options))
    assert not [problem for problem in checked.problems if "column" in problem or "payload" in problem]
    assert assumed_columns({"vector_column": "v", "id_column": "content"}).names == ["v"]


def test_the_program_starts_without_what_is_heavy() -> None:
    """A real process: --help, and no import of Spark, torch, or numpy."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "spark_vector_sink", "--help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert all(f"  {command} " in done.stdout for command in COMMANDS)
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert {"click", "spark_vector_sink"} <= imported
    assert not imported & {"pyspark", "torch", "sentence_transformers", "numpy", "pyarrow", "qdrant_client"}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_page_has_the_help_texts_as_they_are(command: str) -> None:
    """docs/command_line.md shows what `--help` prints; `python -m tests.unit.test_command_line` writes the page
    again."""
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    assert help_of(command) in page, "docs/command_line.md is stale: run `python -m tests.unit.test_command_line`"


def help_of(command: str) -> str:
    return typed(*filter(None, [command]), "--help").stdout.strip()


def test_the_version() -> None:
    """As installed."""
    assert lines("--version")[0].startswith("spark-vector-sink ")


if __name__ == "__main__":
    path = ROOT / "docs" / "command_line.md"
    shown = re.compile(r"(?<=```text\n)Usage: vectorsink (\w*).*?(?=\n```)", re.S)
    path.write_text(
        shown.sub(lambda block: help_of(block[1] if block[1] in COMMANDS else ""), path.read_text(encoding="utf-8")),
        encoding="utf-8",
    )
