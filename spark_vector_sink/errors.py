"""Every exception of this package.

VectorSinkError
├── RefusedError                 the job cannot start; `.problems` holds every reason          (driver)
│   ├── OptionError                  an option is wrong, unknown, missing or without effect
│   ├── SchemaError                  a column is missing or of a type that cannot be used
│   └── CollectionError              the collection, or the server, does not fit the job
├── MissingPackageError          an optional package is not installed; says what to type
├── BadRowError                  a row cannot become a point; carries key, column and reason   (task)
├── EncodingError                the model could not be loaded or failed                       (task)
├── IncompleteError              the job ended, but not every partition reported               (driver)
├── RejectsError                 too many rows were rejected, or rejects could not be kept
└── StoreError                   the store did not take something
    ├── TransientStoreError          worth trying again; `.retry_after` seconds if the store said so
    └── PermanentStoreError          trying again cannot help

Spark shows users the first line of a message and forgets the class, so each message is one line, complete by itself,
and says what to do. All of them survive pickling, because Spark moves them between processes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

_QUOTED = re.compile(r"^spark_vector_sink\.errors\.\w+: (.*)$", re.MULTILINE)
"""One of our errors in a traceback: Spark hands over the error of a task as text."""


class VectorSinkError(Exception):
    """Base of every error that this package raises on purpose."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # whatever went into it: Spark shows the first line only


class RefusedError(VectorSinkError):
    """The job cannot start. Nothing was read and nothing was written.

    `problems` holds one sentence for each thing that must be changed.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        given = (problems,) if isinstance(problems, str) else problems
        self.problems: tuple[str, ...] = tuple(
            " ".join(problem.splitlines()) for problem in given
        )  # a column's name may have line breaks
        super().__init__(_one_line(self.problems))

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.problems,)


class OptionError(RefusedError, ValueError):
    """An option is wrong, unknown, missing, or has no effect together with another."""


class SchemaError(RefusedError, ValueError):
    """A column is missing or has a type that cannot be used."""


class CollectionError(RefusedError):
    """The collection or the server does not fit the job, or cannot be reached."""


class MissingPackageError(VectorSinkError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{package} is not installed: pip install 'spark-vector-sink[{extra}]' (on the driver and on "
            "every executor)"
        )

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.package, self.extra)


class BadRowError(VectorSinkError):
    """A row cannot become a point. `key` is the row's key as text, or None where the key itself is missing. `column` is
    "" where the reason is no matter of one column. `way_out`: what else than mending the row would help, or ""."""

    def __init__(self, key: str | None, column: str, reason: str, way_out: str = "") -> None:
        self.key, self.column, self.reason, self.way_out = key, column, reason, way_out
        row = "a row" if key is None else f"the row with key {shorten(key)!r}"
        super().__init__(
            f"{row} cannot be written: "
            + (f"column '{column}' {reason}" if column else reason)
            + (way_out and f"; {way_out}")
        )

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.key, self.column, self.reason, self.way_out)


class EncodingError(VectorSinkError):
    """The model could not be loaded, or it failed on a text."""


class IncompleteError(VectorSinkError):
    """The job ended without an error, but not every partition reported what it wrote."""


class RejectsError(VectorSinkError):
    """More rows were rejected than `max_rejects` allows, or those that were could not be kept at `rejects_path`."""


class StoreError(VectorSinkError):
    """The store did not take something."""


class TransientStoreError(StoreError):
    """Worth trying again. `retry_after`: seconds to wait, where the store named them."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (str(self), self.retry_after)


class PermanentStoreError(StoreError):
    """Trying again cannot help."""


def shorten(text: str, limit: int = 80) -> str:
    """`text` on one line and at most `limit` characters long, for use in a message."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def first_line(error: BaseException) -> str:
    """The first line of what an error says; empty where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "")


def said(error: BaseException) -> str:
    """What an error says, in one line; with the name of its class where it neither is nor quotes one of ours."""
    if isinstance(error, VectorSinkError):
        return str(error)
    if quoted := _QUOTED.findall(str(error)):
        return str(quoted[-1]).strip()
    return f"{type(error).__name__}: {first_line(error)}".removesuffix(": ")


def _one_line(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems: " + " ".join(
        f"({n}) {problem}" + ("" if n == len(problems) else ";") for n, problem in enumerate(problems, 1)
    )
