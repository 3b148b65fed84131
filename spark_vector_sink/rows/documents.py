"""Hold what a window of rows is converted to: documents to write and documents to remove, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from spark_vector_sink.payload_types import RESERVED
from spark_vector_sink.rows.bad_rows import BadRow

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Documents:
    """Documents of one window; everything has the same length.

    keys: the text of each key, for messages. ids: point ids, see `keys`. texts: empty where vectors exist already, then
    `vectors` is the column. rows: the place of each document in its window. versions: None where rows have none. ours:
    the fields of `_sink`, by name. heads: for chunks, the id of each chunk's document; else None. shard_keys: None
    where rows have none.
    """

    keys: list[str]
    ids: list[int | str]
    texts: list[str]
    payload: pa.RecordBatch
    vectors: pa.Array | None
    rows: Integers
    versions: Integers | None = None
    ours: Mapping[str, pa.Array] = field(default_factory=dict)
    heads: Sequence[int | str] | None = None
    shard_keys: Sequence[int | str] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def are_first(self) -> npt.NDArray[np.bool_]:
        """Return a mask of the points that are the first of their documents, which say how many chunks there are."""
        if self.heads is None:
            return np.ones(len(self), np.bool_)
        return np.array([point == head for point, head in zip(self.ids, self.heads, strict=True)], np.bool_)

    @property
    def shards(self) -> dict[int | str, int | str | None]:
        """Return the shard key of each point, by point id."""
        return dict(zip(self.ids, self._shard_keys, strict=True))

    @property
    def shards_of_heads(self) -> dict[int | str, int | str | None]:
        """Return the shard key of each document, by document id; the documents are these points, or the points are
        their chunks."""
        return dict(zip(self.ids if self.heads is None else self.heads, self._shard_keys, strict=True))

    @property
    def _shard_keys(self) -> Sequence[int | str | None]:
        return [None] * len(self) if self.shard_keys is None else self.shard_keys

    def slice(self, start: int, stop: int) -> Documents:
        """Return the documents from `start` to `stop` - 1."""
        return self.take(np.arange(start, min(stop, len(self))))

    def take(self, places: Integers) -> Documents:
        """Return the documents at these places, in this order."""
        if len(places) == len(self) and (places == np.arange(len(self))).all():
            return self
        keys, ids, texts = ([of[i] for i in places] if of else [] for of in (self.keys, self.ids, self.texts))
        taken = pa.array(places)
        return Documents(
            keys,
            ids,
            texts,
            self.payload.take(taken) if self.payload.num_columns else no_columns(len(places)),
            None if self.vectors is None else self.vectors.take(taken),
            self.rows[places],
            None if self.versions is None else self.versions[places],
            {name: values.take(taken) for name, values in self.ours.items()},
            None if self.heads is None else [self.heads[i] for i in places],
            None if self.shard_keys is None else [self.shard_keys[i] for i in places],
        )

    def stamped(self, **ours: pa.Array) -> Documents:
        """Return the documents with more fields of `_sink`."""
        return replace(self, ours={**self.ours, **ours})

    @property
    def whole_payload(self) -> pa.RecordBatch:
        """Return the payload, with a column `_sink` where it has any field."""
        if not self.ours:
            return self.payload
        ours = pa.StructArray.from_arrays(list(self.ours.values()), names=list(self.ours))
        schema = self.payload.schema.append(pa.field(RESERVED, ours.type))
        return pa.RecordBatch.from_arrays([*self.payload.columns, ours], schema=schema)


@dataclass(frozen=True)
class Sifted:
    """The result of a window's conversion; each of its rows is in exactly one of the fields.

    documents: to be written. deletions: to be removed; their payload is the key alone, and they have neither text nor
    vector. superseded: places of rows that another row of the same key replaces. ignored: places of rows that the feed
    says to ignore (preimages). bad: rows that cannot be documents.
    """

    documents: Documents
    deletions: Documents
    superseded: Integers
    ignored: Integers
    bad: Sequence[BadRow] = ()


def no_columns(rows: int) -> pa.RecordBatch:
    """Return a batch of `rows` rows without columns; Arrow keeps the length only through a struct."""
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
