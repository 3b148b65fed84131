"""The end of an overwrite: is the fresh version whole? Then the name moves to it. The steps, in their order, whatever
the store is.

bring in → count → look at some points → wait for the index → rejects → move the name → drop what nobody needs

Up to the move readers see the old version, and a job that fails or dies leaves it as it was.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass

from spark_vector_sink.errors import IncompleteError
from spark_vector_sink.payload_types import is_below
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.store.collection import CollectionSpec, Finished, Probe, Target
from spark_vector_sink.store.protocols import Collections

PROBES = 20
"""Points read back before the name moves."""


@dataclass(frozen=True)
class Ended:
    """How a job ended at the store. waited: seconds, for the index. missing_deleted: documents that the table no longer
    had."""

    finished: Finished
    waited: float
    warnings: tuple[str, ...] = ()
    missing_deleted: int = 0


def replace(
    collections: Collections,
    target: Target,
    spec: CollectionSpec,
    run: str,
    reports: Sequence[PartitionReport],
    keep: int,
    meanwhile: AbstractContextManager[None],
) -> Ended:
    """Verify the version that the tasks have filled, and let the name stand for it. meanwhile: what is done right
    before, and undone where the name does not move.

    Raises IncompleteError where something is missing, CollectionError where the name stands for something else by now.
    Then the old one serves.
    """
    finished = collections.finish(target, run, [receipt for report in reports for receipt in report.receipts])
    written = sum(report.points for report in reports) - finished.older_points
    warnings = [*_count(target, finished.points, sum(report.rows for report in reports), written)]
    if finished.points:
        _look(collections, target, spec, finished.points)
    waited = collections.wait_for_index(target)
    with meanwhile:
        warnings += collections.publish(target, run, keep)
    return Ended(finished, waited, tuple(warnings))


def _count(target: Target, points: int | None, rows: int, written: int) -> Sequence[str]:
    """Compare what is there with what the tasks have written; warnings. Ids are distinct within a window only, so there
    may be fewer."""
    old = f"; '{target.name}' is as it was: run the job again"
    if points is None:
        raise IncompleteError(f"the points of '{target.physical}' could not be counted{old}")
    if rows and not written:
        raise IncompleteError(
            f"none of {rows:,} rows became a point, so '{target.name}' would be empty{old}, when its input is put right"
        )
    if written and not points:
        raise IncompleteError(f"{written:,} points were written to '{target.physical}', and it holds none{old}")
    if points > written:
        raise IncompleteError(
            f"'{target.physical}' holds {points:,} points, and the tasks that counted have written {written:,}: "
            f"another attempt of a task has read other rows{old}, "
            "with an input that is the same each time it is read"
        )
    if not rows:
        return [f"there were no rows, so '{target.name}' is empty now; rollback() brings the version before back"]
    if points < written:
        return [
            f"{written:,} points were written and {points:,} are there: {written - points:,} times a key came again, "
            "in another window or partition"
        ]
    return []


def _look(collections: Collections, target: Target, spec: CollectionSpec, points: int) -> None:
    """Read some points back: each must have its vector and its key, some the sparse one, and the version must answer
    searches."""
    seen = collections.probe(target, PROBES)
    documents = [point for point in seen if not point.deleted]
    if len(seen) < min(points, PROBES):
        wrong = f"of {points:,} points {len(seen)} come back where {min(points, PROBES)} should"
    elif (
        spec.sparse_vector_name
        and documents
        and not any(spec.sparse_vector_name in point.vectors for point in documents)
    ):
        wrong = f"none of {len(documents)} points has its vector '{spec.sparse_vector_name}'"
    else:
        length = spec.dimension or target.dimension
        key = set(spec.metadata.key or ())
        wrong = next(
            (f"point {point.id} {what}" for point in documents if (what := _fault(point, spec, length, key))), ""
        )
    if wrong:
        raise IncompleteError(
            f"what was written to '{target.physical}' does not come back as it should: {wrong}; '{target.name}' "
            "is as it was: "
            "see whether the server is well, and run the job again"
        )


def _fault(point: Probe, spec: CollectionSpec, length: int | None, key: Set[str]) -> str:
    there = point.vectors.get(spec.vector_name, 0)
    if spec.dense and (not there or there != (length or there)):
        return f"has a vector of {there} numbers" + (f" instead of {length}" if length else "")
    if missing := [name for name in key if not is_below(name, point.fields)]:
        return f"has no {', '.join(sorted(missing))} in its payload"
    return "" if point.found else "is not found: a search by its own vector gives nothing"
