"""The documents say what is: their links lead somewhere, and what they copy from the code is the same there."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from spark_vector_sink.options import ID_NAMESPACE
from spark_vector_sink.rows import payload

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file that is there."""
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_the_table_of_types_is_the_one_in_the_code() -> None:
    """docs/rows.md shows the mapping as rows/payload.py describes it."""
    table = [line for line in (payload.__doc__ or "").splitlines() if line.startswith("|")]
    assert len(table) > 10
    assert "\n".join(table) in (ROOT / "docs" / "rows.md").read_text(encoding="utf-8")


def test_the_default_namespace_is_documented() -> None:
    """Anyone can compute an id again from the page alone."""
    assert str(ID_NAMESPACE) in (ROOT / "docs" / "rows.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("reference", re.findall(r"`(tests/[\w/]+\.py(?:::\w+)*)`", (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")))
def test_a_promise_names_a_test_that_exists(reference: str) -> None:
    """docs/delivery.md names, for each promise, the test that holds it."""
    path, *names = reference.split("::")
    assert set(names) <= set(_names(ROOT / path))


def test_examples_of_python_are_python() -> None:
    """Every block of Python in the pages compiles."""
    blocks = [block for page in PAGES for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)]
    assert blocks
    for block in blocks:
        compile(textwrap.dedent(block), "page", "exec")


def _names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
