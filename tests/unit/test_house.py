"""The plan of the house: which room may know which, how long a file may be, and that the tables of options are
current."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from inspect import ismodule
from pathlib import Path

import pytest

from spark_vector_sink import options

ROOT = Path(__file__).parents[2]
PACKAGE = "spark_vector_sink"

COMMON = {"errors", "options", "other_names", "report", "payload_types", "files"}
WINGS = {"rows", "encode", "store"}
JOB = COMMON | WINGS | {"job", "rejects", "readable_rejects"}
MAY_KNOW = {
    **dict.fromkeys(COMMON, COMMON),
    "rows": COMMON | {"rows"},
    "encode": COMMON | {"encode"},
    "store": COMMON | {"store"},
    "job": COMMON | WINGS,
    "rejects": COMMON | {"rows", "readable_rejects"},
    "readable_rejects": COMMON | {"rows"},
    "driver": JOB | {"driver"},
    "task": JOB | {"task"},
    "admin": JOB | {"driver", "task", "spark.reembed"},
    "spark": COMMON | {"spark", "job", "driver", "task", "store.scan"},
    "cli": COMMON | {"cli", "driver", "admin"},
    "__init__": COMMON | {"admin", "store.inspection"},
    "__main__": {"cli"},
}
"""Of each room of the package, the others that it may import. Wings do not know each other, nor do the driver and a
task: they share the job."""

OUTSIDERS = {
    "pyspark": {"spark"},
    "qdrant_client": {"store.qdrant"},
    "grpc": {"store.qdrant"},
    "qdrant_edge": {"store.edge"},
    "click": {"cli"},
    **{
        name: {"encode"} for name in ("torch", "sentence_transformers", "transformers", "tokenizers", "huggingface_hub")
    },
}
"""Of each package that not everybody has, the only rooms that know it."""

SLOW_TO_IMPORT = {name for name, rooms in OUTSIDERS.items() if rooms == {"encode"}}
LONGEST_FILE = 350
LONG_FOR_A_REASON = {
    "spark_vector_sink/options.py": "it is a table: one line for each option, and a reader looks for one of them",
}

MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / PACKAGE)))
def test_a_room_knows_only_its_neighbours(path: Path) -> None:
    """Every import of a module, at its top or inside a function, is one that its room may have."""
    here = _name(path)
    wrong = []
    for imported, lazy in _imports(path):
        first = imported.partition(".")[0]
        if first == PACKAGE:
            wrong += [imported] * (not _may_know(here, imported.removeprefix(PACKAGE).lstrip(".")))
        elif first in OUTSIDERS:
            known = any(_is_within(here, room) for room in OUTSIDERS[first])
            wrong += [imported] * (not known or (first in SLOW_TO_IMPORT and not lazy))
    assert not wrong, (
        f"{here or PACKAGE} must not import {', '.join(wrong)}"
        + " (torch and its friends: inside functions only)" * here.startswith("encode")
    )


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports go one way, those inside functions too: whoever reads a module need not read one that reads it."""
    known = {_name(path): {_module(name) for name, _ in _imports(path)} - {None, _name(path)} for path in MODULES}
    rest = dict(known)
    while leaves := [name for name, imported in rest.items() if not imported & rest.keys()]:
        for name in leaves:
            del rest[name]
    assert not rest, f"a circle of imports goes through some of {', '.join(sorted(rest))}"


def test_the_module_that_spark_finds_knows_only_the_spark_rooms() -> None:
    """`pyspark_vectorsink` is a signpost: it leads to spark_vector_sink.spark and nowhere else."""
    for path in (ROOT / "pyspark_vectorsink").rglob("*.py"):
        assert all(
            _is_within(imported, f"{PACKAGE}.spark") for imported, _ in _imports(path) if imported != "__future__"
        )


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [(PACKAGE, SLOW_TO_IMPORT | {"pyspark", "click", "numpy", "pyarrow"}), ("pyspark_vectorsink", SLOW_TO_IMPORT)],
)
def test_importing_loads_nothing_heavy(module: str, unwanted: set[str]) -> None:
    """Spark imports every `pyspark_*` module at an unknown format, and a driver may have neither torch nor, for search,
    Spark; the package itself takes milliseconds."""
    script = (
        f"import json, sys; import {module}; print(json.dumps(sorted(name.partition('.')[0] for name in sys.modules)))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert not unwanted & set(json.loads(printed))


@pytest.mark.parametrize("module", [PACKAGE, f"{PACKAGE}.spark"])
def test_all_is_what_can_be_imported(module: str) -> None:
    """`__all__` names everything public of the two faces, and nothing that is not there."""
    face = import_module(module)
    assert [name for name in face.__all__ if not hasattr(face, name)] == []
    public = {
        name
        for name, value in vars(face).items()
        if not name.startswith("_") and not ismodule(value) and name != "annotations"
    }
    assert public - set(face.__all__) == set()


def test_no_file_is_longer_than_one_reads_at_a_sitting() -> None:
    """A file of more than 350 lines holds more than one idea; tests are lists of cases and may go on."""
    sources = [
        path
        for folder in (PACKAGE, "pyspark_vectorsink", "examples", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    ]
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in sources
    }
    assert {
        path: lines for path, lines in lengths.items() if lines > LONGEST_FILE and path not in LONG_FOR_A_REASON
    } == {}
    assert set(LONG_FOR_A_REASON) <= lengths.keys()


def test_the_page_of_options_has_the_tables_as_they_are() -> None:
    """`make docs-options` writes the tables; this fails when somebody forgot."""
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert options.MARKS[0] in page
    assert options.with_tables(page) == page, "the tables in docs/options.md are stale: run `make docs-options`"


def _may_know(here: str, imported: str) -> bool:
    """Whether module `here` may import `imported`; both without the package's name."""
    room = here.partition(".")[0] or "__init__"
    assert room in MAY_KNOW, (
        f"{room} is a new room: say in MAY_KNOW whom it may know, and draw it in docs/architecture.md"
    )
    for store in ("store.qdrant", "store.edge"):
        if (
            _is_within(here, "store")
            and here != "store.registry"
            and not _is_within(here, store)
            and _is_within(imported, store)
        ):
            return False  # neither store knows the other, and of what they share only the registry knows them
    return imported == "" or any(_is_within(imported, known) for known in MAY_KNOW[room])


def _module(imported: str) -> str | None:
    """The module of this package that a dotted name leads to: itself, or what the name is in."""
    name = imported.removeprefix(PACKAGE).lstrip(".") if _is_within(imported, PACKAGE) else None
    return name if name is None or name in NAMES else name.rpartition(".")[0]


def _is_within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def _name(path: Path) -> str:
    """`store.qdrant.address`; a package's own `__init__` is the package, and the top one is empty."""
    return ".".join(path.relative_to(ROOT / PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that `path` imports, and whether it does so only when a function runs (or never, for types
    alone)."""
    yield from _imports_within(ast.parse(path.read_text(encoding="utf-8")), lazy=False)


def _imports_within(node: ast.AST, lazy: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute, so that they can be read and checked"
            yield from ((f"{child.module}.{alias.name}", lazy) for alias in child.names)
        else:
            for_types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            yield from _imports_within(
                child, lazy or for_types or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            )


NAMES = {_name(path) for path in MODULES}
