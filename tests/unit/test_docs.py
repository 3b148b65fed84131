"""The documents say what is: their links lead somewhere, and what they copy from the code is the same there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from spark_vector_sink.options import ID_NAMESPACE, option_table
from spark_vector_sink.payload_types import INDEX_TYPES
from spark_vector_sink.report import ROW_COUNTS, WriteReport
from spark_vector_sink.rows import payload, payload_indexes

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for folder in ("docs", "examples", "docker", "benchmarks") for page in sorted((ROOT / folder).glob("*.md"))),
]
SITE = sorted((ROOT / "docs").glob("*.md"))
FENCED = re.compile(r"^ *```.*?^ *```", re.S | re.M)
CODE = re.compile(r"`[^`\n]+`")
NOT_OPTIONS = {"normalize_embeddings", "batch_size"}
"""Names that pages assign and that are others': of Sentence Transformers, and of PySpark's predict_batch_udf."""


def _id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file that is there, and its anchor a heading of that file."""
    missing = []
    for target in _links(page):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        if not there.exists() or (anchor and anchor not in _anchors(there)):
            missing.append(target)
    assert missing == []


@pytest.mark.parametrize("page", SITE, ids=_id)
def test_pages_of_the_site_link_to_each_other_only(page: Path) -> None:
    """A link works on the site and on a Git host alike: other files of the repository are named in code spans."""
    assert [target for target in _links(page) if "/" in target] == []


def test_the_site_has_every_page_and_builds_without_a_warning(tmp_path: Path) -> None:
    """`make docs` in short: the menu names each page of docs/ once, and the strict build finds nothing."""
    pytest.importorskip("zensical", reason="zensical, which builds the site, is not installed")
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert sorted(re.findall(r": (\w+\.md)$", config, re.M)) == [page.name for page in SITE]
    (tmp_path / "mkdocs.yml").write_text(config, encoding="utf-8")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    shown = {page.stem: (tmp_path / "site" / f"{page.stem}.html").read_text(encoding="utf-8") for page in SITE}
    prose = {
        name: re.findall(r"<(p|li)>(.*?)</\1>", re.sub(r"<pre>.*?</pre>", "", html, flags=re.S), re.S)
        for name, html in shown.items()
    }
    misread = [
        (name, text[:80])
        for name, texts in prose.items()
        for _, text in texts
        if re.search(r"\n *([*-] |\d\. |\||```)", text)
    ]
    assert misread == [], "a list, a table or a block that the site takes for text"


def test_the_table_of_types_is_the_one_in_the_code() -> None:
    """docs/rows.md shows the mapping as rows/payload.py describes it."""
    table = [line for line in (payload.__doc__ or "").splitlines() if line.startswith("|")]
    assert len(table) > 10
    assert "\n".join(table) in (ROOT / "docs" / "rows.md").read_text(encoding="utf-8")


def test_the_table_of_indexes_is_the_one_in_the_code() -> None:
    """docs/rows.md shows which index holds what, as rows/indexes.py has it."""
    shown = _tables(ROOT / "docs" / "rows.md")[f"| stored | {' | '.join(INDEX_TYPES)} |"]
    words = {payload_indexes.ALWAYS: "yes", payload_indexes.VALUES: "by value"}
    assert shown == [
        [stored, *(words.get(takes.get(kind, ""), "") for kind in INDEX_TYPES)]
        for stored, takes in payload_indexes.TABLE.items()
    ]


def test_the_page_of_the_report_has_every_field_of_it() -> None:
    """Once each, and the rows' ends in the table of their own."""
    tables = _tables(ROOT / "docs" / "report.md")
    named = {
        header: [name for field, _ in rows for name in re.findall(r"`(\w+)`", field)] for header, rows in tables.items()
    }
    assert tuple(named["| field | rows that |"]) == ROW_COUNTS
    assert sorted(name for names in named.values() for name in names) == sorted(
        field.name for field in fields(WriteReport)
    )


def test_the_default_namespace_is_documented() -> None:
    """Anyone can compute an id again from the page alone."""
    assert str(ID_NAMESPACE) in (ROOT / "docs" / "rows.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    """A promise is as good as the test that is named for it; several of one folder are named by the first one's."""
    assert [reference for reference in _references(page) if not _exists(reference)] == []


def test_every_promise_names_what_holds_it() -> None:
    """Each row of the table of docs/delivery.md has a test, or the command that shows it."""
    rows = _tables(ROOT / "docs" / "delivery.md")["| promise | held by |"]
    assert len(rows) > 30
    assert [promise for promise, held_by in rows if not re.search(r"`(tests/|sink\.|python -m|make )", held_by)] == []


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_options_that_a_page_assigns_exist(page: Path) -> None:
    """`name=value` in a code span names an option of ours, or something else that is known by name."""
    spans = [span.strip("`") for span in CODE.findall(FENCED.sub("", page.read_text(encoding="utf-8")))]
    named = {match[1] for span in spans if (match := re.fullmatch(r"([a-z]+_[a-z_]+)=[^=].*", span))}
    assert named - set(option_table()) - NOT_OPTIONS == set()


def test_the_messages_of_the_page_of_errors_are_those_of_the_code() -> None:
    """Each first column of docs/errors.md can be found in the source: its words between what differs from case to
    case."""
    source = _said_by_the_package()
    rows = _tables(ROOT / "docs" / "errors.md")["| message | cause | way out |"]
    assert len(rows) > 60
    ours = [message for message, cause, _ in rows if "Spark's own" not in cause]
    assert [
        message for message in ours if not _pieces(message) or not all(piece in source for piece in _pieces(message))
    ] == []


def test_examples_of_python_are_python() -> None:
    """Every block of Python in the pages compiles."""
    blocks = [
        block for page in PAGES for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    ]
    assert blocks
    for block in blocks:
        compile(textwrap.dedent(block), "page", "exec")


def _links(page: Path) -> list[str]:
    """Relative targets of a page's links, those of its code left out."""
    text = CODE.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


@cache
def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Git hosts and the site make them of plain words."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.M)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)).strip().lower().replace(" ", "-")
        for heading in headings
    }


def _references(page: Path) -> list[str]:
    """`tests/…/test_x.py` or `tests/…/test_x.py::name` in a page; a `test_y.py` alone is of the folder that was named
    last."""
    folder, found = "", []
    for span in re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py(?:::\w+)*)`", page.read_text(encoding="utf-8")):
        if "/" in span:
            folder = span.partition(".py")[0].rpartition("/")[0]
        found.append(span if "/" in span else f"{folder}/{span}")
    return found


def _exists(reference: str) -> bool:
    path, *names = reference.split("::")
    return (ROOT / path).is_file() and set(names) <= _names(ROOT / path)


@cache
def _names(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _tables(page: Path) -> dict[str, list[list[str]]]:
    """The rows of each table of a page, by its heading line."""
    tables: dict[str, list[list[str]]] = {}
    heading, rows = "", []
    for line in page.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            heading = ""
        elif not heading:
            heading, rows = line, tables.setdefault(line, [])
        elif not line.startswith("|---"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return tables


def _pieces(message: str) -> list[str]:
    """The words of a message that are the same in each case: names in quotes, addresses, numbers, statuses and … are
    not."""
    varying = r"(?<!\w)'[^']*'|…|\b(?:host|cuda):\d+|\b[\d,.]*\d\b%?|\b[A-Z_]{6,}\b|= "
    return [
        piece for piece in (piece.strip(" ;:,()/") for piece in re.split(varying, message.strip("`"))) if len(piece) > 3
    ]


@cache
def _said_by_the_package() -> str:
    """Every literal text of the package, those that Python joins joined; what is computed leaves a gap."""
    texts = []
    for path in (ROOT / "spark_vector_sink").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)
