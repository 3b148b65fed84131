"""Declare what every command takes: a place, options of the sink, and where the API key is; and turn errors into the
end of a command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click

from spark_vector_sink.errors import VectorSinkError, first_line


def pairs(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Split each `NAME=VALUE` into name and value. The sink checks the values, except that an API key is refused here,
    because everybody on a machine sees a command's arguments."""
    found = []
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip().lower()
        if name == "api_key":
            raise click.BadParameter(
                "an API key is no argument: others on this machine can see it; put it into QDRANT_API_KEY, or into a "
                "file (--api-key-file)"
            )
        if not equals or not name:
            raise click.BadParameter("write name=value, as in text_column=body")
        if name in ("collection", "path"):
            raise click.BadParameter(f"'{name}' is what PLACE says; leave it out")
        found.append((name, value))
    return tuple(found)


def takes_a_place(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the argument and the options that say where the collection is. The command gets the place as
    `place`, and the other options of the sink as `options`."""

    @wraps(command)
    def with_options(
        place: str, given: tuple[tuple[str, str], ...], api_key_file: str | None, api_key_env: str | None, **others: Any
    ) -> None:
        keys = {"api_key_file": api_key_file, "api_key_env": api_key_env}
        command(
            place,
            _together(place, [*given, *((name, value) for name, value in keys.items() if value is not None)]),
            **others,
        )

    decorated: Callable[..., None] = with_options
    for decorate in (
        click.option(
            "--api-key-env",
            metavar="NAME",
            help="Environment variable with the server's API key.  [default: QDRANT_API_KEY]",
        ),
        click.option("--api-key-file", metavar="FILE", help="File with the server's API key."),
        click.option(
            "-o",
            "--option",
            "given",
            metavar="NAME=VALUE",
            multiple=True,
            callback=pairs,
            help="An option of the sink, as in a job: text_column=body, grpc_port=6334, … May be given several times.",
        ),
        click.argument("place"),
    ):
        decorated = decorate(decorated)
    return decorated


def _together(place: str, given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return all options. Raises UsageError where one is given twice."""
    from spark_vector_sink import admin

    options: dict[str, Any] = {}
    with reported():
        said = admin.place_of(place)
    for name, value in given:
        if name in options or name in said:
            raise click.UsageError(f"'{name}' is given twice" + (": PLACE says it already" if name in said else ""))
        options[name] = value
    return options


@contextmanager
def reported() -> Iterator[None]:
    """Turn an error of the sink or of the file system into one line for people and exit status 1."""
    try:
        yield
    except VectorSinkError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:  # a directory that may not be changed, a disk that is full
        raise click.ClickException(
            f"{first_line(error)}; look at the path, its permissions and the room on its disk"
        ) from None
