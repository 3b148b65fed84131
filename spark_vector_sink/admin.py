"""Look after collections between jobs: search, inspect, roll back, and encode again with another model."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from spark_vector_sink.driver import model_spec
from spark_vector_sink.encode import loader
from spark_vector_sink.errors import CollectionError, OptionError
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.payload_types import at
from spark_vector_sink.report import WriteReport
from spark_vector_sink.rows import vectors
from spark_vector_sink.store import registry
from spark_vector_sink.store.collection_metadata import DENSE, of_kind, of_vector
from spark_vector_sink.store.inspection import Inspection
from spark_vector_sink.store.protocols import Collections
from spark_vector_sink.task.context import TaskContext

MOST_ANSWERS = 10_000

log = logging.getLogger("spark_vector_sink")


@dataclass(frozen=True)
class Answer:
    """A document found by a search. key: the document's key, a tuple for several key columns; the point's id where the
    payload has no key. score: as the collection's distance defines it. text: the chunk's own text for a chunk; None
    where the payload has no text (`store_text=false`)."""

    key: Any
    score: float
    payload: Mapping[str, Any]
    id: int | str
    text: str | None = None


def search(
    where: str,
    question: str | None = None,
    limit: int = 5,
    filter: Mapping[str, Any] | None = None,
    *,
    vector: Sequence[float] | None = None,
    **options: Any,
) -> list[Answer]:
    """Return the documents nearest to a question, best first: a check for people, not a search framework.

    where: a directory (`./articles_store`), a collection's address (`http://localhost:6333/articles`), or a
    collection's name together with `url=`. The question is encoded with the model that the collection remembers;
    `model=` says where that model is now, when it has moved. `vector_name=` searches one of several vectors, with that
    vector's own model; by default the first vector. vector: any list or array of numbers to search with instead of a
    question in words, which a store of ready-made vectors needs. filter: Qdrant's own JSON, such as `{"must": [{"key":
    "city", "match": {"value": "Oslo"}}]}`: only documents that match are searched. Other options are those of a job:
    `api_key_env`, `grpc_port`, `device`, …
    """
    if not isinstance(limit, int) or not 1 <= limit <= MOST_ANSWERS:
        raise OptionError(f"limit must be from 1 to {MOST_ANSWERS}, got {limit!r}")
    among, numbers = registry.checked_filter(filter), _numbers(question, vector)
    with _opened(where, options) as (collections, name, parsed):
        remembered = collections.metadata(name)
        if remembered is None:
            raise CollectionError(
                f"'{name}' does not exist, or was not written by this sink: it does not say which vectors it was "
                "filled with; write to it first, or name another one"
            )
        vector_name, sparse = parsed.vector_name if "vector_name" in parsed.given else None, None
        asked_vectors = of_vector(name, remembered, vector_name)
        dense = of_kind(DENSE, asked_vectors)
        if numbers is None:
            asked = loader.load(model_spec.remembered(asked_vectors, parsed, name)).encode_query(str(question))
            sparse = None if asked.sparse is None else (asked.sparse.indices.tolist(), asked.sparse.values.tolist())
            numbers = asked.vectors
        elif dense is None:
            raise CollectionError(
                f"'{name}' has sparse vectors only, which no list of numbers can be compared with; ask in words"
            )
        elif dense.distance == "cosine":
            numbers = vectors.comparable(numbers)
        hits = collections.search(name, numbers[0].tolist(), limit, sparse=sparse, vector_name=vector_name, among=among)
    key, text = remembered.key or (), remembered.text
    return [
        Answer(_key(hit.payload, key, hit.id), hit.score, hit.payload, hit.id, at(hit.payload, text) if text else None)
        for hit in hits
    ]


def _numbers(question: str | None, vector: Sequence[float] | None) -> npt.NDArray[np.float32] | None:
    """Return the vector to search with, as one row; None where a question is given in words. Raises OptionError where
    neither or both are given, or where the vector is not a list of finite float32 numbers."""
    if (question is None) == (vector is None):
        raise OptionError(
            "search() asks in words or with a vector: give "
            + ("one of the two" if vector is None else "only one of the two")
        )
    if question is not None and not isinstance(question, str):
        raise OptionError(
            f"the question of search() is a text, got {type(question).__name__}; give numbers as vector=[…]"
        )
    if vector is None:
        return None
    try:
        given = np.asarray(vector)
        with np.errstate(over="ignore"):
            numbers = given.astype(np.float32)
    except (TypeError, ValueError):
        given = numbers = np.empty(0, object)
    if given.dtype.kind not in "iuf" or given.ndim != 1 or not len(given):
        raise OptionError("the vector of search() must be a list of numbers, such as [0.1, -0.2, 0.3]")
    if not np.isfinite(numbers).all():
        raise OptionError(
            f"the vector of search() has {given[~np.isfinite(numbers)][0]:g} in it, and a vector is made of finite "
            "float32 numbers"
        )
    return numbers[np.newaxis]


def inspect(where: str, **options: Any) -> Inspection:
    """Return a description of a collection: its vectors with their models, the number of points and documents, its
    versions and its payload indexes. `print` it.

    where, options: as for `search`. Changes nothing: what a killed job has left pending in an embedded store is
    mentioned, and not counted. Raises CollectionError where no collection has that name.
    """
    with _opened(where, options) as (collections, name, _):
        return collections.inspect(name)


def rollback(where: str, **options: Any) -> str:
    """Switch a collection back to the version that served before the last overwrite, in one step, and return that
    version's name.

    where, options: as for `search`. The next overwrite drops the version that served until now. A second rollback goes
    one version further back, as far as `keep_versions` has kept versions. Raises CollectionError where no earlier
    version exists.
    """
    return go_back(where, **options)[1]


def go_back(where: str, **options: Any) -> tuple[str | None, str]:
    """Do what `rollback` does, and return two versions: the one that served until now (None where the name stood for
    nothing), and the one that serves now."""
    with _opened(where, options) as (collections, name, _):
        return collections.rollback(name)


def reembed(where: str, model: str | None = None, *, spark: Any = None, **options: Any) -> WriteReport:
    """Encode the stored text of every point with another model, into a fresh version of the collection, and switch the
    name to that version.

    where: as for `search`. model, options: the options of a job that say how texts are encoded and points are sent. No
    table is needed: ids and payloads stay unchanged, and so does what the sink keeps in each point, except
    fingerprints. Readers see the old version until the new one is complete, and `rollback` goes back to the old
    version; what others write to the old version meanwhile is not in the new one. spark: a SparkSession whose tasks do
    the work; without one this process does the work. Raises RefusedError before anything is written.
    """
    from spark_vector_sink.driver import reembed as job

    given = {**place_of(where), **options, **({} if model is None else {"model": model})}
    if spark is None:
        from spark_vector_sink.task.stored_windows import write_pages

        return job.run(job.plan(given), lambda plan, pages: [write_pages(plan, pages, TaskContext())])
    from spark_vector_sink.spark import reembed as tasks

    return job.run(job.plan(given, tasks.shipped_files()), tasks.writing(spark))


@contextmanager
def _opened(where: str, options: Mapping[str, Any]) -> Iterator[tuple[Collections, str, SinkOptions]]:
    """Open the store, and yield it with the collection's name there and all options."""
    parsed = SinkOptions.from_mapping({**place_of(where), **options})
    place, warnings = registry.find(parsed)
    for warning in warnings:
        log.warning(warning)
    with registry.collections(parsed, place) as collections:
        yield collections, place.name(parsed), parsed


def place_of(where: str) -> dict[str, str]:
    """Return the options `url` and `collection` of a place that is given in one text."""
    if re.match(r"[\w.-]+:[0-9]+/", where):
        raise OptionError(
            "the address of a collection begins with http:// or https://, as in http://localhost:6333/articles"
        )
    if "://" not in where or where.startswith("file:"):
        return {"collection": where}
    try:
        url = urlsplit(where)
    except ValueError:
        raise OptionError("the address of the collection is no URL; write http://host:6333/collection") from None
    if "," in url.netloc or "," in url.path:
        raise OptionError(
            "the address of a collection is one node's; give several as option 'url' and the collection's name alone"
        )
    server, _, collection = url.path.strip("/").rpartition("/")
    if not collection:
        raise OptionError(
            f"{url.scheme}://{url.netloc.rpartition('@')[2]} names no collection; end the address with it, as in "
            "http://localhost:6333/articles"
        )
    return {"url": f"{url.scheme}://{url.netloc}/{server}".rstrip("/"), "collection": collection}


def _key(payload: Mapping[str, Any], names: Sequence[str], identifier: int | str) -> Any:
    values = tuple(at(payload, name) for name in names)
    if not values:
        return identifier
    return values[0] if len(values) == 1 else values
