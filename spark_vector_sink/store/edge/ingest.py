"""Ingest staged operations into the index, in order. Repeating it, also after it was killed half-way, gives the same
points.

The stored points of every batch are read first: they decide what is done (`decisions`). Qdrant Edge keeps an operation
that fails in its log and repeats it with every opening, so no operation is called that could fail; an operation on a
point that does not exist does fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spark_vector_sink.errors import StoreError, said, shorten
from spark_vector_sink.payload_types import RESERVED, is_spread
from spark_vector_sink.store.edge.cleanup import remove_chunks
from spark_vector_sink.store.edge.decisions import (
    INTO,
    OLDER,
    SHRINK,
    WRITE,
    Decisions,
    Staged,
    There,
    chunks_left,
    decide,
    vectors_made_of,
)
from spark_vector_sink.store.edge.index import is_of_the_machine, qdrant_edge
from spark_vector_sink.store.edge.layout import StoreFacts
from spark_vector_sink.store.edge.snapshot import sink_fields, stored
from spark_vector_sink.store.edge.staged_checks import check_file
from spark_vector_sink.store.edge.staged_file import REMOVE, TOUCH, Operation, UnfitError, read_operations
from spark_vector_sink.store.edge.staged_points import payloads, point_ids, to_edge_points, to_edge_vectors
from spark_vector_sink.store.write_batch import How, PointId, id_of_text, plain_id

_BATCH_POINTS = 500
_FLUSH_POINTS = 10_000
"""Number of points after which the index is flushed. The log is cut only by a flush; without one it would grow by as
much as is ingested."""

_WITHOUT_CONDITION = (How.REPLACE.value, REMOVE)


@dataclass(frozen=True)
class Older:
    """Counts of staged points that were not applied, because the stored version is greater."""

    documents: int = 0
    deletions: int = 0
    points: int = 0
    """number of points of the documents"""

    def __add__(self, other: Older) -> Older:
        return Older(self.documents + other.documents, self.deletions + other.deletions, self.points + other.points)


def ingest(
    shard: Any, files: Sequence[Path], facts: StoreFacts, log: Path, alive: Callable[[], None] = lambda: None
) -> Older:
    """Apply the operations of the files, durably. All files are checked before the first is applied.

    log: file of this run's decisions, existing or to be written. alive: called before each file. Raises UnfitError for
    a file that can never be ingested: then, in nearly every case, nothing was applied. Any other error may be gone on a
    retry.
    """
    for path in files:
        alive()
        check_file(path, facts)
    edge, decisions = qdrant_edge(), Decisions(log)
    unflushed, older = 0, Older()
    for path in files:
        alive()
        for whole in read_operations(path):
            for operation in whole.slices(_BATCH_POINTS):
                with _refusals(path):
                    older += _apply(edge, shard, operation, facts, decisions)
                unflushed += operation.rows.num_rows
                if unflushed >= _FLUSH_POINTS:
                    decisions.sync()
                    shard.flush()
                    unflushed = 0
    decisions.sync()
    shard.flush()
    return older


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Convert errors that Qdrant Edge raises because of rows to an UnfitError that names their file; errors because of
    the machine are raised unchanged."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, UnfitError) and (
            isinstance(error, StoreError | OSError | MemoryError) or is_of_the_machine(error)
        ):
            raise
        raise UnfitError(
            f"a point of {path.name} is refused: {shorten(said(error), 200)}; the points before it are in the store"
        ) from error


def _apply(edge: Any, shard: Any, operation: Operation, facts: StoreFacts, decisions: Decisions) -> Older:
    kind = operation.kind
    unconditional = kind in _WITHOUT_CONDITION and "version" not in operation.rows.schema.names
    if unconditional and kind == How.REPLACE.value and not _has_chunks(shard, point_ids(operation.rows)):
        shard.update(edge.UpdateOperation.upsert_points(to_edge_points(edge, operation.rows, facts)))
        return Older()
    staged, there = _look(shard, operation)
    made = (
        decide(kind, staged, there) if unconditional else decisions.of(len(staged), lambda: decide(kind, staged, there))
    )
    # before the head is written, since it holds the old number of chunks: after a kill in between it still does
    vanishing = [
        (row.id, chunks_left(kind, row) or 1) for row, decision in zip(staged, made, strict=True) if decision & SHRINK
    ]
    remove_chunks(edge, shard, vanishing)
    chosen = [place for place, decision in enumerate(made) if decision & ~SHRINK == WRITE]
    if kind in (How.REPLACE.value, How.TOMBSTONE.value, How.MERGE.value):
        # an upsert replaces the stored point, with its other vectors and payload keys
        _update(shard, edge.UpdateOperation.upsert_points, _some(to_edge_points, edge, operation, facts, chosen))
        # a point that is missing now was removed by this run, before it was killed: it will be removed again
        into = [
            place for place, decision in enumerate(made) if decision & ~SHRINK == INTO and staged[place].id in there
        ]
        _update(shard, edge.UpdateOperation.update_vectors, _some(to_edge_vectors, edge, operation, facts, into))
        _set_payloads(edge, shard, operation, into)
    else:
        chosen = [place for place in chosen if staged[place].id in there]
        _change(edge, shard, operation, chosen, [staged[place].id for place in chosen])
    return _older(kind, [row for row, decision in zip(staged, made, strict=True) if decision == OLDER])


def _older(kind: str, left: Sequence[Staged]) -> Older:
    documents = sum(row.is_head for row in left)
    if kind == How.TOMBSTONE.value:
        return Older(deletions=documents)
    return Older() if kind in (REMOVE, TOUCH) else Older(documents, points=len(left))


def _change(edge: Any, shard: Any, operation: Operation, chosen: Sequence[int], ids: list[PointId]) -> None:
    """Remove existing points, or change them without their vectors."""
    if operation.kind == REMOVE:
        _update(shard, edge.UpdateOperation.delete_points, ids)
    elif operation.kind == TOUCH:
        _update(shard, lambda ids: edge.UpdateOperation.set_payload(ids, dict(operation.fields), RESERVED), ids)
    elif operation.kind == How.PATCH.value:
        _set_payloads(edge, shard, operation, chosen)
    else:
        rows = payloads(operation.rows) if chosen else []
        for place, id in zip(chosen, ids, strict=True):
            shard.update(edge.UpdateOperation.overwrite_payload([id], rows[place]))


def _set_payloads(edge: Any, shard: Any, operation: Operation, chosen: Sequence[int]) -> None:
    """Set the keys of the payload, and the fields within `_sink`, of existing points."""
    ids, rows = (point_ids(operation.rows), payloads(operation.rows)) if chosen else ([], [])
    for place in chosen:
        ours = rows[place].pop(RESERVED, None)
        for payload, key in ((rows[place], None), (ours, RESERVED)):
            if payload:
                shard.update(edge.UpdateOperation.set_payload([ids[place]], payload, key))


def _some(make: Any, edge: Any, operation: Operation, facts: StoreFacts, chosen: Sequence[int]) -> list[Any]:
    """Convert some of the rows to Qdrant Edge's form."""
    made = make(edge, operation.rows, facts) if chosen else []
    return made if len(chosen) == len(made) else [made[place] for place in chosen]


def _update(shard: Any, operation: Any, items: list[Any]) -> None:
    if items:
        shard.update(operation(items))


def _has_chunks(shard: Any, ids: list[PointId]) -> bool:
    """Return whether one of these points belongs to a document of several chunks. Most stores have no such document,
    and need no further reading."""
    return any(
        sink_fields(record.payload).get("chunks", 1) != 1
        for record in shard.retrieve(ids, [f"{RESERVED}.chunks"], False)
    )


def _look(shard: Any, operation: Operation) -> tuple[list[Staged], dict[PointId, There]]:
    """Return the staged rows, and the stored points of the rows and their documents."""
    rows, ids = operation.rows, point_ids(operation.rows)
    ours = _sink_column(operation)
    documents = {id_of_text(fields["document"]) for fields in ours if fields.get("document")}
    there = _retrieve(shard, list({*ids, *documents}))
    there |= _retrieve(shard, list({point.document for point in there.values()} - there.keys()))
    versions = rows.column("version").to_pylist() if "version" in rows.schema.names else [None] * len(ids)
    staged = []
    for id, fields, version in zip(ids, ours, versions, strict=True):
        document = (
            id_of_text(fields["document"])
            if fields.get("document")
            else there[id].document
            if _is_partial(operation) and id in there
            else id
        )
        staged.append(Staged(id, document, version, fields.get("chunks"), vectors_made_of(fields)))
    return staged, there


def _is_partial(operation: Operation) -> bool:
    """Return whether a point stays the chunk that it is where the operation does not name its document."""
    return operation.kind not in (How.REPLACE.value, How.TOMBSTONE.value)


def _sink_column(operation: Operation) -> list[Mapping[str, Any]]:
    """Return the fields of `_sink` of each row, which the decisions depend on."""
    rows = operation.rows
    kind = rows.schema.field("payload").type if "payload" in rows.schema.names else None
    if kind is not None and any(map(is_spread, kind)):
        return [sink_fields(payload) for payload in payloads(rows)]
    if kind is None or kind.get_field_index(RESERVED) < 0:
        return [{} for _ in range(rows.num_rows)]
    return [fields or {} for fields in rows.column("payload").field(RESERVED).to_pylist()]


def _retrieve(shard: Any, ids: list[PointId]) -> dict[PointId, There]:
    found = {}
    for record in shard.retrieve(ids, [RESERVED], False) if ids else []:
        fields, id = sink_fields(record.payload), plain_id(record.id)
        ours = stored(fields)
        document = id_of_text(fields["document"]) if fields.get("document") else id
        found[id] = There(document, ours.version, ours.chunks, ours.deleted, vectors_made_of(fields))
    return found
