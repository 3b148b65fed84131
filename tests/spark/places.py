"""The places that the Spark tests write to, read back in one form, and the one line of an error that is ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyspark
import qdrant_edge
from pyspark.sql import DataFrame
from qdrant_client import grpc as q

from spark_vector_sink.store.edge.layout import StoreDirectory
from tests.fake_server import FakeServer
from tests.spark.encoders import HASH, HashEncoder

SPARK = tuple(int(part) for part in pyspark.__version__.split(".")[:2])
HAS_DATA_SOURCES = SPARK >= (4, 0)
NO_DATA_SOURCES = f"Spark {pyspark.__version__} has no Python data sources, they came with 4.0"

Points = dict[Any, tuple[list[float], dict[str, Any]]]
"""id → vector and payload"""


@dataclass(frozen=True)
class Embedded:
    """An embedded store."""

    name: str

    @property
    def options(self) -> Mapping[str, str]:
        return {"distance": "dot"}  # other than cosine: Qdrant scales the vectors of that one

    def points(self) -> Points:
        """Everything in the store, read with Qdrant Edge itself."""
        directory = StoreDirectory(Path(self.name))
        assert list(directory.pending.glob("*")) == []
        shard = qdrant_edge.EdgeShard.load(str(directory.shard(directory.current() or "")))
        try:
            found, _ = shard.scroll(qdrant_edge.ScrollRequest(limit=1_000_000, with_payload=True, with_vector=True))
            return {
                record.id if isinstance(record.id, int) else str(record.id): (list(record.vector), record.payload or {})
                for record in found
            }
        finally:
            shard.close()

    def versions(self) -> list[str]:
        """The versions that are there."""
        return sorted(path.name for path in Path(self.name).glob("v*"))


@dataclass(frozen=True)
class Server:
    """A collection of a fake server."""

    server: FakeServer
    name: str = "articles"

    @property
    def options(self) -> Mapping[str, str]:
        return {"url": self.server.url, "distance": "dot"}

    def points(self) -> Points:
        return {
            key: (point.vectors[""].tolist(), point.payload) for key, point in self.server.points(self.name).items()
        }

    def versions(self) -> list[str]:
        """The versions that are there."""
        listed = q.CollectionsStub(self.server.channel).List(q.ListCollectionsRequest()).collections
        return sorted(one.name.removeprefix(f"{self.name}__") for one in listed)


Place = Embedded | Server


def save(df: DataFrame, place: Place, mode: str | None = "append", **options: str) -> None:
    """The user's line: `df.write.format("vectorsink")…save(name)`, with the hash encoder unless there are vectors."""
    encoder = {} if "vector_column" in options or "model" in options else {"encoder": HASH}
    writer = df.write.format("vectorsink").options(**{**place.options, **encoder, **options})
    (writer if mode is None else writer.mode(mode)).save(place.name)


def hashed(text: str) -> list[float]:
    """The vector that the hash encoder gives a text, computed here."""
    numbers: list[float] = HashEncoder().encode([text])[0].astype(np.float32).tolist()
    return numbers


def our_line(error: BaseException) -> str:
    """The last line of an error as Spark shows it that comes from this package, without the name of its class."""
    lines = re.findall(r"^spark_vector_sink\.errors\.\w+: (.*)$", str(error), re.MULTILINE)
    assert lines, f"no line of this package in: {error}"
    return str(lines[-1]).strip()
