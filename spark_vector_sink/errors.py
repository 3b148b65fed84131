"""Define every exception of this package.

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

Spark shows users the first line of a message and drops the class, so each message is one line, complete by itself,
and says what to do. Every exception survives pickling, because Spark moves exceptions between processes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

_QUOTED = re.compile(r"^spark_vector_sink\.errors\.\w+: (.*)$", re.MULTILINE)
"""Pattern of an error of this package in a traceback, because Spark passes on the error of a task as text."""


class VectorSinkError(Exception):
    """Base class of every error that this package raises on purpose."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # on one line, because Spark shows the first line only


class RefusedError(VectorSinkError):
    """Error of a job that cannot start; nothing was read and nothing was written.

    `problems` holds one sentence for each thing that must be changed.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        given = (problems,) if isinstance(problems, str) else problems
        # a column's name may have line breaks
        self.problems: tuple[str, ...] = tuple(" ".join(problem.splitlines()) for problem in given)
        super().__init__(_one_line(self.problems))

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.problems,)


class OptionError(RefusedError, ValueError):
    """Error of an option that is wrong, unknown, missing, or without effect together with another option."""


class SchemaError(RefusedError, ValueError):
    """Error of a column that is missing or has a type that cannot be used."""


class CollectionError(RefusedError):
    """Error of a collection or a server that does not fit the job or cannot be reached."""


class MissingPackageError(VectorSinkError, ImportError):
    """Error of an optional package that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{package} is not installed: pip install 'spark-vector-sink[{extra}]' (on the driver and on "
            "every executor)"
        )

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.package, self.extra)


class BadRowError(VectorSinkError):
    """Error of a row that cannot become a point. `key`: the row's key as text, or None where the key itself is missing.
    `column`: the column at fault, or "" where the reason does not concern one column alone. `way_out`: a remedy other
    than changing the row, or ""."""

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
    """Error of a model that could not be loaded, or that failed on a text."""


class IncompleteError(VectorSinkError):
    """Error of a job whose tasks ended without an error, but whose result is not complete: a partition did not report,
    rows are in none of the counts, or the new version of an overwrite lacks points."""


class RejectsError(VectorSinkError):
    """Error where more rows were rejected than `max_rejects` allows, or where rejected rows could not be kept at
    `rejects_path`."""


class StoreError(VectorSinkError):
    """Error of a request that the store did not accept."""


class TransientStoreError(StoreError):
    """Store error that a retry may cure. `retry_after`: seconds to wait, where the store named them."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (str(self), self.retry_after)


class PermanentStoreError(StoreError):
    """Store error that a retry cannot cure."""


def shorten(text: str, limit: int = 80) -> str:
    """Return `text` on one line and at most `limit` characters long, for use in a message."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; empty where the message is empty."""
    return next(iter(str(error).strip().splitlines()), "")


def said(error: BaseException) -> str:
    """Return an error's message in one line. The name of its class stands before the message, unless the error is one
    of this package or quotes one in its traceback text, whose message is returned alone."""
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
