"""What a window of rows is made into: documents to be written, and documents to be removed; everything column by
column."""

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

    keys: the key's text, for messages. ids: see `keys`. texts: empty where vectors exist already, then `vectors` is the
    column. rows: the place of each in its window. versions: None where rows have none. ours: the fields of `_sink`, by
    name. heads: where these are chunks, the id of each one's document; else None. shard_keys: None where rows have
    none.
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
        """Which of these points are the first of their documents, the one that says how many there are."""
        if self.heads is None:
            return np.ones(len(self), np.bool_)
        return np.array([point == head for point, head in zip(self.ids, self.heads, strict=True)], np.bool_)

    @property
    def shards(self) -> dict[int | str, int | str | None]:
        """The points with their shard keys."""
        return dict(zip(self.ids, self._shard_keys, strict=True))

    @property
    def shards_of_heads(self) -> dict[int | str, int | str | None]:
        """The documents that these are, or are chunks of, with their shard keys."""
        return dict(zip(self.ids if self.heads is None else self.heads, self._shard_keys, strict=True))

    @property
    def _shard_keys(self) -> Sequence[int | str | None]:
        return [None] * len(self) if self.shard_keys is None else self.shard_keys

    def slice(self, start: int, stop: int) -> Documents:
        """The documents start … stop-1."""
        return self.take(np.arange(start, min(stop, len(self))))

    def take(self, places: Integers) -> Documents:
        """Some of the documents, in this order."""
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
        """The same with more fields of `_sink`."""
        return replace(self, ours={**self.ours, **ours})

    @property
    def whole_payload(self) -> pa.RecordBatch:
        """The payload with `_sink`, where it has any field."""
        if not self.ours:
            return self.payload
        ours = pa.StructArray.from_arrays(list(self.ours.values()), names=list(self.ours))
        schema = self.payload.schema.append(pa.field(RESERVED, ours.type))
        return pa.RecordBatch.from_arrays([*self.payload.columns, ours], schema=schema)


@dataclass(frozen=True)
class Sifted:
    """What became of the rows of a window; each is in one of these.

    documents: to be written. deletions: to be removed; their payload is the key alone, and there is neither text nor
    vector. superseded, ignored: places of rows that another row of the same key takes the place of, and of rows that
    say nothing (preimages). bad: rows that cannot be documents.
    """

    documents: Documents
    deletions: Documents
    superseded: Integers
    ignored: Integers
    bad: Sequence[BadRow] = ()


def no_columns(rows: int) -> pa.RecordBatch:
    """A batch of `rows` rows without columns; Arrow keeps the length only through a struct."""
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
