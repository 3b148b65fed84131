"""Every error: one line that is complete by itself, and the same after a journey between processes."""

from __future__ import annotations

import pickle
import re

import pytest

from spark_vector_sink import errors
from spark_vector_sink.errors import (
    BadRowError,
    CollectionError,
    EncodingError,
    IncompleteError,
    MissingPackageError,
    OptionError,
    PermanentStoreError,
    RefusedError,
    RejectsError,
    SchemaError,
    StoreError,
    TransientStoreError,
    VectorSinkError,
    first_line,
    said,
    shorten,
)

EXAMPLES: list[VectorSinkError] = [
    VectorSinkError("something"),
    RefusedError(("one thing", "another thing")),
    OptionError("unknown option 'x'"),
    OptionError(("unknown option 'x'", "option 'y' must be an integer")),
    SchemaError(["column 'a' is missing"]),
    CollectionError("no server answers"),
    MissingPackageError("torch", "encode"),
    BadRowError("k1", "text", "is null"),
    BadRowError(None, "id", "is null", "put it aside"),
    EncodingError("the model failed"),
    IncompleteError("partition 3 did not report"),
    RejectsError("5 of 10 rows are rejected"),
    StoreError("not taken"),
    TransientStoreError("try again", 2.5),
    TransientStoreError("try again"),
    PermanentStoreError("never"),
]

LINES = "first\nsecond\r\nthird"

HOSTILE: list[VectorSinkError] = [
    RefusedError(LINES),
    OptionError((LINES, LINES)),
    SchemaError(LINES),
    CollectionError(LINES),
    BadRowError(LINES, LINES, LINES, LINES),
    EncodingError(LINES),
    IncompleteError(LINES),
    RejectsError(LINES),
    StoreError(LINES),
    TransientStoreError(LINES, 1.0),
    PermanentStoreError(LINES),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(error: VectorSinkError) -> None:
    """Class, message and attributes are the same on the other side."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("error", HOSTILE, ids=lambda error: type(error).__name__)
def test_a_message_is_one_line(error: VectorSinkError) -> None:
    """Spark shows only the first line, so whatever went into a message, it has no second one."""
    assert len(str(error).splitlines()) == 1


def test_every_class_has_an_example() -> None:
    """The cases above leave no class out."""
    assert {type(error) for error in EXAMPLES} == set(_classes())


def test_the_drawn_tree_is_the_tree() -> None:
    """The picture at the top of errors.py shows exactly the classes, each below its parent."""
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([│├└─ ]*)(\w+Error)\b", line)
        if match is None:
            continue
        while above and above[-1][0] >= len(match[1]):
            above.pop()
        drawn[match[2]] = above[-1][1] if above else None
        above.append((len(match[1]), match[2]))
    assert drawn == {
        cls.__name__: next((base.__name__ for base in cls.__bases__ if base in _classes()), None) for cls in _classes()
    }


def test_several_problems_are_numbered() -> None:
    """Two problems share one line, each with its number."""
    assert str(RefusedError(("the first", "the second"))) == "2 problems: (1) the first; (2) the second"


def test_one_problem_is_said_as_it_is() -> None:
    """A lone problem has no number, and is still listed."""
    error = OptionError("the first")
    assert (str(error), error.problems) == ("the first", ("the first",))


def test_a_bad_row_names_key_and_column() -> None:
    """The message tells which row and which column, and why."""
    assert str(BadRowError("k1", "body", "is null")) == "the row with key 'k1' cannot be written: column 'body' is null"


def test_a_bad_row_says_what_else_would_help() -> None:
    """The way out is the last thing in the line, and no part of the reason."""
    error = BadRowError("k1", "body", "is null", "put it aside")
    assert str(error) == "the row with key 'k1' cannot be written: column 'body' is null; put it aside"
    assert (error.reason, error.way_out) == ("is null", "put it aside")


def test_a_row_without_key_says_so() -> None:
    """Where the key itself is missing there is none to name."""
    assert str(BadRowError(None, "id", "is null")) == "a row cannot be written: column 'id' is null"


def test_a_long_key_is_shortened() -> None:
    """A key of many lines and characters does not drown the message."""
    assert "'" + "k" * 79 + "…'" in str(BadRowError("k" * 500, "body", "is null"))


def test_a_missing_package_says_what_to_type() -> None:
    """The command to type is in the message."""
    expected = "torch is not installed: pip install 'spark-vector-sink[encode]' (on the driver and on every executor)"
    assert str(MissingPackageError("torch", "encode")) == expected


def test_python_habits_work() -> None:
    """Wrong options and schemas are ValueErrors, a missing package an ImportError."""
    assert issubclass(OptionError, ValueError)
    assert issubclass(SchemaError, ValueError)
    assert issubclass(MissingPackageError, ImportError)


def test_shorten_makes_one_line() -> None:
    """Line breaks and runs of blanks become one blank; a text of just the limit stays whole."""
    assert shorten("a\n b\t\tc") == "a b c"
    assert shorten("x" * 80) == "x" * 80
    assert shorten("x" * 81) == "x" * 79 + "…"


TASK = """An exception was thrown from the Python worker.
Traceback (most recent call last):
  File "sink.py", line 1, in write_partition
spark_vector_sink.errors.StoreError: the first
During handling of the above exception, another exception occurred:
spark_vector_sink.errors.BadRowError: the row with key '1' cannot be written
    at org.apache.spark"""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (BadRowError("1", "text", "is null"), "the row with key '1' cannot be written: column 'text' is null"),
        (RuntimeError(TASK), "the row with key '1' cannot be written"),
        (OSError("disk full\nand more"), "OSError: disk full"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_what_an_error_says(error: BaseException, line: str) -> None:
    """Our own words, also where Spark hands them over in a traceback of a task; else the class, with what it says."""
    assert said(error) == line


@pytest.mark.parametrize(("words", "line"), [("\n  one\ntwo", "one"), ("one", "one"), (" \n", ""), ("", "")])
def test_the_first_line_of_an_error(words: str, line: str) -> None:
    """Blank lines before it do not count; an error that says nothing has an empty one."""
    assert first_line(ValueError(words)) == line


def _classes() -> list[type[VectorSinkError]]:
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, VectorSinkError)]
