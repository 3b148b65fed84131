"""Define the commands check, search, inspect and rollback. Each prints for people; search and inspect print for
programs with --json.

Exit status: 0 success, 1 the sink reports an error (one line on stderr), 2 the command was typed wrongly.
"""

from __future__ import annotations

import json
from typing import Any

import click

from spark_vector_sink.cli.arguments import reported, takes_a_place
from spark_vector_sink.errors import shorten

PROGRAM = "vectorsink"
TEXT_SHOWN = 100
"""Characters of a document's text that `search` prints."""
JOINERS = "\u200c\u200d"
"""Characters that are harmless to a terminal, though Python does not call them printable. Persian, Indian scripts and
emoji are wrong without them."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from spark_vector_sink.driver import collection_spec

        click.echo(collection_spec.library())
        ctx.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and end.",
)
def commands() -> None:
    """Look after what spark_vector_sink has written: collections of a Qdrant server, and embedded stores.

    PLACE is a directory (./articles_store), a collection's address (http://localhost:6333/articles), or a collection's
    name with -o url=ADDRESS. An API key comes from QDRANT_API_KEY, or from where --api-key-env or --api-key-file says;
    it is never an argument.
    """


@commands.command()
@takes_a_place
@click.option(
    "--input", "dataset", metavar="PATH", help="A Parquet file, or a directory of them, that has the table's columns."
)
@click.option(
    "--mode",
    type=click.Choice(["append", "overwrite"]),
    default="append",
    show_default=True,
    help="How the job will write.",
)
def check(place: str, options: dict[str, Any], dataset: str | None, mode: str) -> None:
    """Say what a job would do, and what is wrong with it.

    Writes nothing. Looks at the options, the model's files, and the server or the directory; with --input also at the
    columns. The exit status is 1 where there are problems.

    \b
    Example:
      vectorsink check http://localhost:6333/articles -o text_column=body --input articles.parquet
    """
    from spark_vector_sink import admin
    from spark_vector_sink.cli import parquet
    from spark_vector_sink.cli.assumed_columns import assumed_columns
    from spark_vector_sink.driver import plan

    options |= admin.place_of(place)
    with reported():
        read = parquet.of_dataset(dataset) if dataset is not None else parquet.AsRead(assumed_columns(options))
        checked = plan.check(options, read.schema, read.unreadable, mode=mode)
    for line in read.otherwise:
        click.echo(_printable(f"columns  {line}"))
    for line in str(checked).split("\n"):
        if dataset is None and line.startswith("payload "):
            line = "columns  not checked; give --input"
        click.echo(_printable(line))
    if checked.problems:
        count = len(checked.problems)
        raise click.ClickException(
            f"a job with these options would not start: {count} {'problem' if count == 1 else 'problems'}"
        )


@commands.command()
@takes_a_place
@click.argument("question", required=False)
@click.option(
    "--vector", metavar="JSON", help="A list of numbers to ask with, in the place of QUESTION: '[0.1, -0.2, 0.3]'."
)
@click.option("-n", "--limit", type=int, default=5, show_default=True, help="How many documents.")
@click.option(
    "--filter",
    "among",
    metavar="JSON",
    help='Only documents that match, in Qdrant\'s words: \'{"must": [{"key": "lang", "match": {"value": "en"}}]}\'.',
)
@as_json
def search(
    place: str,
    options: dict[str, Any],
    question: str | None,
    vector: str | None,
    limit: int,
    among: str | None,
    as_json: bool,
) -> None:
    """Find the documents nearest to a question, or to a vector.

    Best first, each with its score, its key, and how its text begins. The QUESTION goes through the model that the
    collection was filled with; -o model=PLACE says where that model is now, if it has moved. A collection of ready-made
    vectors is asked with --vector.

    \b
    Example:
      vectorsink search ./articles_store "how do I read a csv file?" --limit 3
    """
    from spark_vector_sink import admin

    if (question is None) == (vector is None):
        raise click.UsageError("ask with a QUESTION in words or with --vector; give one of them")
    asked, filter = (
        _json("--vector", vector, list, "list", "[0.1, -0.2, 0.3]"),
        _json("--filter", among, dict, "object", '{"must": […]}'),
    )
    with reported():
        answers = admin.search(place, question, limit, filter, vector=asked, **options)
    if as_json:
        _print_json(
            [{"score": hit.score, "key": hit.key, "id": hit.id, "payload": dict(hit.payload)} for hit in answers]
        )
        return
    for hit in answers:
        click.echo(
            _printable(f"{hit.score:6.3f}  {_key(hit.key)}  {shorten(str(hit.text or ''), TEXT_SHOWN)}").rstrip()
        )
    if not answers:
        click.echo("nothing is there to be found", err=True)


@commands.command()
@takes_a_place
@as_json
def inspect(place: str, options: dict[str, Any], as_json: bool) -> None:
    """Say what a collection is and holds.

    Its vectors and their models, points and documents, payload indexes, versions. Changes nothing.

    \b
    Example:
      vectorsink inspect http://localhost:6333/articles
    """
    from spark_vector_sink import admin

    with reported():
        found = admin.inspect(place, **options)
    if as_json:
        _print_json(found.as_dict())
    else:
        for line in str(found).split("\n"):
            click.echo(_printable(line))


@commands.command()
@takes_a_place
def rollback(place: str, options: dict[str, Any]) -> None:
    """Go back to the version before the last overwrite.

    Asks nothing, and does it at once. Again goes one version further back, as far as the option keep_versions has kept
    them.

    \b
    Example:
      vectorsink rollback http://localhost:6333/articles
    """
    from spark_vector_sink import admin

    with reported():
        left, serves = admin.go_back(place, **options)
    click.echo(
        f"{serves} serves now; "
        + (f"until now it was {left}, which the next overwrite drops" if left else "until now nothing did")
    )


def main() -> None:
    """Run the program."""
    commands(prog_name=PROGRAM)


def _key(key: Any) -> str:
    return ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _printable(line: str) -> str:
    """Replace characters that could move a terminal's cursor or change its colours, because stored text is not
    trusted."""
    return "".join(letter if letter.isprintable() or letter in JOINERS else "�" for letter in line)


def _json(name: str, text: str | None, kind: type, word: str, example: str) -> Any:
    """Return the value of an option in JSON; None where the option is not given."""
    try:
        value = None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{name} is no JSON: {error}") from None
    if text is not None and not isinstance(value, kind):
        raise click.UsageError(f"{name} must be a JSON {word}, such as {example}")
    return value


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
