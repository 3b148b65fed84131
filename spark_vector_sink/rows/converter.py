"""Convert a window of Arrow rows to documents with key, id, text and payload, each checked and each key once; and
collect the rows that cannot be documents."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.rows import change_feed, keys, payload, row_checks, row_version
from spark_vector_sink.rows.bad_rows import BadRow
from spark_vector_sink.rows.column_roles import Part
from spark_vector_sink.rows.columns import Columns
from spark_vector_sink.rows.documents import Documents, Integers, Sifted, no_columns
from spark_vector_sink.rows.projection import nested, project
from spark_vector_sink.rows.row_checks import Left
from spark_vector_sink.rows.text_template import texts_of
from spark_vector_sink.rows.vectors import Wanted


def read(rows: pa.RecordBatch, columns: Columns, namespace: uuid.UUID, wanted: Wanted | None = None) -> Sifted:
    """Convert the rows of a window. Raises BadRowError for the first row that cannot become a point. wanted: as for
    `sift`."""
    left, ignored, refused = _begin(rows, columns)
    made = _sifted(left, namespace, wanted)
    if isinstance(made, Sifted) and not refused:
        return replace(made, ignored=ignored)
    refused += [] if isinstance(made, Sifted) else made
    raise min(refused, key=lambda found: found.row).ending()


def sift(rows: pa.RecordBatch, columns: Columns, namespace: uuid.UUID, wanted: Wanted | None = None) -> Sifted:
    """Convert the rows of a window as if the rows that cannot become points were not in it; these are listed in `bad`.

    wanted: the requirements on ready-made vectors; None where there are none.
    """
    left, ignored, refused = _begin(rows, columns)
    while not isinstance(made := _sifted(left, namespace, wanted), Sifted):
        refused += made  # one row at least, so this ends; a window without bad rows is gone through once
        left = left.where(~np.isin(left.places, [found.row for found in made]))
    return replace(made, ignored=ignored, bad=refused)


def known_ids(rows: pa.RecordBatch, columns: Columns, namespace: uuid.UUID) -> dict[int | str, int | str | None]:
    """Return the point ids, each with its shard key, of the rows that have a key and, where there is a shard key
    column, a usable shard key, whatever else is wrong with them."""
    if not len(rows):
        return {}
    projected = project(rows, columns)
    left = Left(
        projected.parts, projected.payload, columns, np.arange(len(rows)), len(rows), np.zeros(len(rows), np.int8)
    )
    found, shard_keys = [], list[int | str | None]()
    for row in range(len(rows)):
        try:
            key = [left.key_values(name, row)[0] for name in columns.key]
            if columns.content_key:
                one = left.take(np.array([row]))
                key += [text if text and text.strip() else None for text in texts_of(one)]
            shard_key = (
                left.key_values(columns.shard_key, row, Part.SHARD_KEY)[0] if columns.shard_key is not None else None
            )
        except (ValueError, UnicodeDecodeError):
            continue
        if key and None not in key and not (columns.shard_key is not None and not _is_shard_key(shard_key)):
            found.append(tuple(key))
            shard_keys.append(shard_key)
    return dict(zip(keys.point_ids(found, namespace), shard_keys, strict=True))


def _is_shard_key(value: int | str | None) -> bool:
    return isinstance(value, str) or (value is not None and value >= 0)


def _begin(rows: pa.RecordBatch, columns: Columns) -> tuple[Left, Integers, list[BadRow]]:
    """Return the rows with an operation to carry out, the places of the ignored rows, and the rows with a variant whose
    value cannot play its part."""
    every = np.arange(len(rows))
    projected = project(rows, columns)
    left = Left(projected.parts, projected.payload, columns, every, len(rows), np.zeros(len(rows), np.int8))
    first = {one.row: one for one in reversed(projected.misplaced)}
    refused = [
        replace(one, key=None if columns.content_key else row_checks.key_of(left, one.row)) for one in first.values()
    ]
    if columns.operation is None:
        return left.where(~np.isin(every, [one.row for one in refused])), every[:0], refused
    what = change_feed.operations(left.of(Part.OPERATION, columns.operation))
    ignored = what == change_feed.IGNORE
    refused = [one for one in refused if not ignored[one.row]]
    left = replace(left, operations=what)
    return left.where(~ignored & ~np.isin(every, [one.row for one in refused])), np.flatnonzero(ignored), refused


def _sifted(left: Left, namespace: uuid.UUID, wanted: Wanted | None) -> Sifted | list[BadRow]:
    """Return the documents, or all rows that fail the first check that any row fails."""
    columns = left.columns
    if found := row_checks.unknown_words(left) or row_checks.bad_bytes(left, _read_as(left, Part.KEY, Part.SHARD_KEY)):
        return found
    try:
        key_columns = [left.key_values(name) for name in columns.key]
    except ValueError:
        return row_checks.unwritten_keys(left)
    if found := row_checks.null_keys(left, key_columns):
        return found
    writes = left.where(left.operations == change_feed.UPSERT)
    if found := row_checks.bad_bytes(
        writes, [*_read_as(writes, Part.TEXT), *zip(writes.payload.schema.names, writes.payload.columns, strict=True)]
    ):
        return found
    texts = texts_of(writes)
    if columns.content_key:  # a change feed cannot have this key, so there are no deletes
        key_columns.append([text if text is not None else "" for text in texts])
    tuples: list[tuple[Any, ...]] = list(zip(*key_columns, strict=True))
    shown = [keys.key_text(key) for key in tuples]
    places_of_writes = np.flatnonzero(left.operations == change_feed.UPSERT)
    shown_writes = shown if len(writes.places) == len(shown) else [shown[i] for i in places_of_writes]
    if (
        found := row_checks.blank_texts(writes, texts, shown_writes)
        or row_checks.misfits(writes, shown_writes, wanted)
        or row_checks.unversioned(left, shown)
    ):
        return found
    if found := row_checks.unsharded(left, shown):
        return found

    ids = keys.point_ids(tuples, namespace)
    if found := row_checks.one_id_of_two_keys(left, tuples, ids, shown):
        return found
    order = row_version.versions(left.of(Part.VERSION, columns.version)) if columns.version is not None else None
    kept = _kept(ids, order, left.operations)
    text_of = dict(zip(places_of_writes.tolist(), texts, strict=True)) if texts else {}

    def documents(chosen: Integers, with_payload: bool) -> Documents | list[BadRow]:
        part = left if len(chosen) == len(left.places) else left.take(chosen)
        mine = [shown[i] for i in chosen]
        made = _payload(part, mine, all_of_it=with_payload)
        if isinstance(made, list):
            return made
        vectors = part.of(Part.VECTOR, columns.vector) if columns.vector is not None and with_payload else None
        texts = [text_of[i] for i in chosen.tolist()] if text_of and with_payload else []
        shard_keys = part.key_values(columns.shard_key, part=Part.SHARD_KEY) if columns.shard_key is not None else None
        versions = None if order is None else order[chosen]
        return Documents(
            mine, [ids[i] for i in chosen], texts, made, vectors, part.places, versions, shard_keys=shard_keys
        )

    is_write = left.operations[kept] == change_feed.UPSERT
    written, deleted = documents(kept[is_write], True), documents(kept[~is_write], False)
    if isinstance(written, list) or isinstance(deleted, list):
        return [bad for found in (written, deleted) if isinstance(found, list) for bad in found]
    superseded = np.delete(left.places, kept)
    return Sifted(written, deleted, superseded, left.places[:0])


def _kept(ids: list[int | str], order: Integers | None, what: npt.NDArray[np.int8]) -> Integers:
    """Return the places of the rows that win, in order, one for each id: the row of the greatest version, else the
    last. At one version an upsert wins over a delete, whichever comes first, because a document that was deleted and
    inserted again in one commit exists afterwards."""
    last: dict[int | str, int] = {}
    for row, point in enumerate(ids):
        before = last.get(point)
        if before is None or order is None or (order[row], -what[row]) >= (order[before], -what[before]):
            last[point] = row
    return np.array(sorted(last.values()), np.int64)


def _read_as(left: Left, *parts: Part) -> list[tuple[str, pa.Array]]:
    """Return the values of these parts, each with the name of its column."""
    return [(source.name, left.of(source.part, source.name)) for source in left.columns.sources if source.part in parts]


def _payload(left: Left, shown: list[str], all_of_it: bool) -> pa.RecordBatch | list[BadRow]:
    """Return the payload of each row, as plain types under the payload's names; or the rows that have a value without a
    plain form. all_of_it: all columns; False for the key columns alone."""
    names = dict(left.columns.payload)
    source = list(zip(left.columns.fields, left.payload.columns, strict=True)) if all_of_it else list(_keys_alone(left))
    arrays, fields = [], []
    found: dict[int, BadRow] = {}
    for field, column in source:
        plain = payload.plain_field(field)
        fields.append(pa.field(names.get(field.name, field.name), plain.type, metadata=plain.metadata))
        try:
            arrays.append(payload.to_plain(column, field))
        except ValueError:
            found = {**row_checks.unmapped(left, column, field, shown), **found}
    if found:
        return list(found.values())
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)) if arrays else no_columns(len(left.rows))


def _keys_alone(left: Left) -> Iterator[tuple[pa.Field, pa.Array]]:
    """Return the key columns as the payload has them, for rows without other payload: in a row that deletes, a key may
    come from the state before."""
    leaves = {}
    for source in left.columns.sources:
        if source.part is Part.KEY:
            place = left.rows.schema.get_field_index(source.label)
            field = left.rows.schema.field(place)
            leaves[source.steps] = (field.with_name(source.steps[-1]), left.rows.column(place))
    order = {field.name: place for place, field in enumerate(left.columns.fields)}
    return iter(sorted(nested(leaves), key=lambda made: order.get(made[0].name, 0)))
