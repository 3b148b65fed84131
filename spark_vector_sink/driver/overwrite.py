"""End an overwrite: check that the fresh version is complete, then move the name to it. The steps are the same for
every store:

bring in → count → read some points back → wait for the index → rejects → move the name → drop old versions

Until the move readers see the old version, and a job that fails or dies leaves the old version unchanged.
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
"""Number of points read back before the name moves."""


@dataclass(frozen=True)
class Ended:
    """Result of a job at the store. waited: seconds of waiting for the index. missing_deleted: documents that were
    deleted because the table no longer had them."""

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
    """Verify the version that the tasks have filled, and move the name to it. meanwhile: context that is entered right
    before the name moves, and undone where the name does not move.

    Raises IncompleteError where something is missing, CollectionError where the name stands for another version by now.
    The old version then still serves.
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
    """Compare the number of stored points with the number that the tasks have written, and return warnings. There may
    be fewer points stored than written, because ids are distinct only within a window."""
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
    """Read some points back: each must have its vector and its key, at least one must have the sparse vector, and a
    search by a point's own vector must find something. Raises IncompleteError."""
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
