"""Build a search of a Qdrant server: by dense vectors, by sparse vectors, or by both in one request, among all points
or the points that match a filter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from qdrant_client import models
from qdrant_client.conversions.conversion import RestToGrpc

from spark_vector_sink.errors import CollectionError, OptionError, first_line, shorten
from spark_vector_sink.store.collection_metadata import DENSE, SPARSE, of_kind, of_vector
from spark_vector_sink.store.qdrant.connection import our_metadata
from spark_vector_sink.store.qdrant.schema import dense_vectors
from spark_vector_sink.store.search_query import Filter, SparseQuery, candidates, check_question


def query(
    name: str,
    info: models.CollectionInfo | None,
    vector_name: str | None,
    vector: Sequence[float] | None,
    limit: int,
    sparse: SparseQuery | None,
    among: Filter | None,
) -> dict[str, Any]:
    """Return the arguments of `query_points`. info: the collection, whose metadata name its vectors."""
    vectors = of_vector(name, None if info is None else our_metadata(name, info), vector_name)
    dense, beside = of_kind(DENSE, vectors), of_kind(SPARSE, vectors)
    there = None if info is None or dense is None else dense_vectors(info).get(dense.name)
    check_question(
        f"'{name}'", vector, sparse, dense is not None, beside is not None, None if there is None else there.size
    )
    asked = []
    if vector is not None and len(vector) and dense is not None:
        if there is not None and there.datatype == models.Datatype.UINT8:
            _check_bytes(name, vector)
        asked.append({"query": list(vector), "using": dense.name or None})
    if sparse is not None and beside is not None:
        asked.append(
            {"query": models.SparseVector(indices=list(sparse[0]), values=list(sparse[1])), "using": beside.name}
        )
    only = None if among is None else models.Filter.model_validate(among)
    if len(asked) == 1:
        return {**asked[0], "query_filter": only, "limit": limit}
    both = [models.Prefetch(**one, filter=only, limit=candidates(limit)) for one in asked]
    return {"prefetch": both, "query": models.FusionQuery(fusion=models.Fusion.RRF), "limit": limit}


def _check_bytes(name: str, vector: Sequence[float]) -> None:
    """Raise CollectionError for numbers that a server would change before it compares them."""
    if wrong := [number for number in vector if not (0 <= number <= 255 and number == int(number))]:
        raise CollectionError(
            f"'{name}' compares vectors of uint8, and the one to search for has {wrong[0]:g} in it; ask with whole "
            "numbers from 0 to 255, as its points have"
        )


EXAMPLE = (
    'write it as in {"must": [{"key": "city", "match": {"value": "Oslo"}}, {"key": "year", "range": {"gte": 2020}}]}'
)


def checked_filter(given: Mapping[str, Any]) -> Filter:
    """Convert the filter to plain JSON, checked by the client's own model. Raises OptionError, which shows the part
    that is not valid."""
    try:
        filter = models.Filter.model_validate(given)
    except ValidationError as error:
        raise OptionError(f"the filter is none of Qdrant's: {_wrong_part(given, error)}; {EXAMPLE}") from None
    asked = dict(filter.model_dump(mode="json", by_alias=True, exclude_none=True))
    for condition in _conditions(asked):
        if condition.keys() == {"key"}:  # the model lets it pass
            raise OptionError(
                f"the filter is none of Qdrant's: {condition} does not say what '{shorten(str(condition['key']))}' "
                f"must be; {EXAMPLE}"
            )
    try:
        RestToGrpc.convert_filter(filter)  # fails where a number is too large
    except (ValueError, OverflowError) as error:
        raise OptionError(f"the filter cannot be sent: {shorten(first_line(error), 200)}; {EXAMPLE}") from None
    return asked


def _conditions(asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield all conditions of a checked filter, including nested ones."""
    least = asked.get("min_should") or {}
    for some in (*(asked.get(name) or [] for name in ("must", "should", "must_not")), least.get("conditions") or []):
        for condition in some if isinstance(some, list) else [some]:
            yield condition
            yield from _conditions(condition["nested"]["filter"] if "nested" in condition else condition)


def _wrong_part(given: Mapping[str, Any], error: ValidationError) -> str:
    """Return the path of the first error, and the value there."""
    part: Any = given
    steps: Sequence[Any] = error.errors()[0]["loc"]  # the names of models are between those of the JSON
    way = []
    for step in steps:
        if (isinstance(part, dict) and step in part) or (isinstance(part, list) and isinstance(step, int)):
            part = part[step]
            way.append(f"{step}")
    return f"{'.'.join(way) + ': ' if way else ''}{shorten(repr(part), 200)}"
