"""Real text that every machine with Python has: the docstrings of the standard library.

`rows()` returns the public, documented modules, classes, functions and methods as (module, name, kind, text), about
3,000 of them. The sources are parsed, never imported. `module` and `name` together are unique; a module itself has an
empty name. Run this file to see the first rows.
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LEFT_OUT = frozenset(
    {
        # no part of the library
        "__pycache__",
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        # large, and of interest to few
        "tkinter",
        "turtle.py",
        "turtledemo",
        "idlelib",
        "lib2to3",
        "curses",
        "xml",
        "xmlrpc",
        "wsgiref",
        "encodings",
        # Python's own workshop
        "bdb.py",
        "dis.py",
        "ensurepip",
        "importlib",
        "pdb.py",
        "pickletools.py",
        "pydoc.py",
        "pydoc_data",
        "symtable.py",
        "unittest",
        # gone from newer Pythons
        "aifc.py",
        "asynchat.py",
        "asyncore.py",
        "cgi.py",
        "cgitb.py",
        "chunk.py",
        "distutils",
        "imghdr.py",
        "imp.py",
        "mailcap.py",
        "msilib",
        "nntplib.py",
        "pipes.py",
        "smtpd.py",
        "sndhdr.py",
        "sunau.py",
        "telnetlib.py",
        "uu.py",
        "xdrlib.py",
    }
)
"""Files and folders that are not read, so that a demo on two cores takes a minute and not three."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Row(NamedTuple):
    """One documentation string."""

    module: str
    name: str
    kind: str
    text: str


def rows() -> list[Row]:
    """All rows, in the same order each time."""
    library = Path(sysconfig.get_paths()["stdlib"])
    unique: dict[tuple[str, str], Row] = {}
    for source in sorted(library.rglob("*.py")):
        parts = source.relative_to(library).parts
        if LEFT_OUT.isdisjoint(parts) and all(_is_public(part) for part in parts):
            for row in _rows_of_module(source, ".".join(parts).removesuffix(".py").removesuffix(".__init__")):
                unique.setdefault((row.module, row.name), row)  # of the definitions in an if and its else, the first
    return list(unique.values())


def _rows_of_module(source: Path, module: str) -> Iterator[Row]:
    try:
        tree = ast.parse(source.read_bytes())
    except SyntaxError:  # a file that is broken on purpose, for some tool's tests
        return
    if text := (ast.get_docstring(tree) or "").strip():
        yield Row(module, "", "module", text)
    yield from _rows_within(tree.body, module, owner="")


def _rows_within(body: list[ast.stmt], module: str, owner: str) -> Iterator[Row]:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _rows_within([*node.body, *node.orelse], module, owner)
        if not isinstance(node, Definition) or not _is_public(node.name):
            continue
        name = f"{owner}.{node.name}" if owner else node.name
        is_class = isinstance(node, ast.ClassDef)
        if text := (ast.get_docstring(node) or "").strip():
            yield Row(module, name, "class" if is_class else "method" if owner else "function", text)
        if is_class:
            yield from _rows_within(node.body, module, owner=name)


def _is_public(name: str) -> bool:
    return name == "__init__.py" or not name.startswith("_")


if __name__ == "__main__":
    found = rows()
    print(f"{len(found):,} documentation strings; the first ones:")
    for row in found[:10]:
        print(f"  {row.kind:8}  {row.module}.{row.name}".rstrip("."), "-", row.text.splitlines()[0])
