"""Lines of code that somebody writes and keeps for each arm of `patterns`: without blank ones, comments and
documentation.

    python -m benchmarks.lines

An arm's lines are those of its function in `arms.py` and of every function there that it uses. What the benchmark does
for all arms alike (the class `Job`, loading a model, making the collection, imports) is counted for none: that favours
the hand-written ones.
"""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
"""Tokens that make no line of code."""


def lines_of(source: str, name: str) -> int:
    """How many lines the function of that name has in a module's source, together with all functions there that it
    uses, and that those use."""
    written = lines_with_code(source)
    return sum(len(lines_within(each) & written) for each in functions_of(ast.parse(source), name))


def functions_of(module: ast.Module, name: str) -> list[ast.FunctionDef]:
    """The function of that name and those that it uses, by themselves or through a method; methods and classes
    themselves are left out."""
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    methods = {
        node.name: node
        for each in module.body
        if isinstance(each, ast.ClassDef)
        for node in each.body
        if isinstance(node, ast.FunctionDef)
    }
    wanted, seen = [functions[name]], list[ast.FunctionDef]()
    while wanted:
        here = wanted.pop()
        if here not in seen:
            seen.append(here)
            wanted += [
                functions[node.id] for node in ast.walk(here) if isinstance(node, ast.Name) and node.id in functions
            ]
            wanted += [
                methods[node.attr]
                for node in ast.walk(here)
                if isinstance(node, ast.Attribute) and node.attr in methods
            ]
    return [each for each in seen if each in functions.values()]


def lines_with_code(source: str) -> set[int]:
    """The numbers of all lines that are neither blank nor a comment alone."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {line for token in tokens if token.type not in SILENT for line in range(token.start[0], token.end[0] + 1)}


def lines_within(function: ast.FunctionDef) -> set[int]:
    """The numbers of a function's lines, decorators included, without documentation, also of functions in it."""
    first = min([function.lineno, *(each.lineno for each in function.decorator_list)])
    lines = set(range(first, (function.end_lineno or first) + 1))
    for node in ast.walk(function):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return lines


def of_arms() -> dict[str, int]:
    """Of each arm, and of the sink."""
    from benchmarks import arms

    source = Path(arms.__file__).read_text(encoding="utf-8")
    return {name: lines_of(source, arm.__name__) for name, arm in {**arms.ARMS, "sink": arms.sink}.items()}


def main() -> None:
    for name, lines in of_arms().items():
        print(f"{lines:3}  {name}")


if __name__ == "__main__":
    main()
