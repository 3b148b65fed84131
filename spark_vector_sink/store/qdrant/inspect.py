"""Inspect a collection of a server."""

from __future__ import annotations

from qdrant_client import models

from spark_vector_sink.errors import CollectionError, TransientStoreError
from spark_vector_sink.store.collection_versions import Version
from spark_vector_sink.store.inspection import InspectedVersion, Inspection, inspected_vectors, points_are_documents
from spark_vector_sink.store.qdrant.connection import DeniedError, NotFoundError, our_metadata
from spark_vector_sink.store.qdrant.inherited_settings import payload_indexes
from spark_vector_sink.store.qdrant.reconcile import count_documents
from spark_vector_sink.store.qdrant.schema import dense_vectors, sparse_vectors
from spark_vector_sink.store.qdrant.strict_mode import counts_by_any_field
from spark_vector_sink.store.qdrant.versions import Versions


class Inspecting(Versions):
    """Inspect collections without any change."""

    def inspect(self, name: str) -> Inspection:
        physical = self._behind(name)
        info = self._info(physical)
        if info is None:
            raise CollectionError(
                f"there is no collection '{name}' on {self._address}; write to it first, or name another one"
            )
        metadata = our_metadata(name, info)
        indexes = payload_indexes(info)
        dense = {vector: (kind.size, kind.distance.value.lower()) for vector, kind in dense_vectors(info).items()}
        points = self._points(physical)
        return Inspection(
            name,
            physical,
            points,
            documents=points if points_are_documents(metadata, indexes) else self._documents(physical, info),
            vectors=inspected_vectors({**dense, **dict.fromkeys(sparse_vectors(info))}, metadata),
            versions=self._inspected(name, physical),
            payload_indexes=indexes,
            metadata=metadata,
        )

    def _points(self, physical: str) -> int:
        return self._asking_again(f"counting '{physical}'", lambda: int(self._client.count(physical, exact=True).count))

    def _documents(self, physical: str, info: models.CollectionInfo) -> int | None:
        """Count the documents; None where the server counts by indexed fields only (strict mode), or is too slow
        without an index."""
        if not counts_by_any_field(info):
            return None
        try:
            with self._asking(f"counting the documents of '{physical}'"):
                return count_documents(self._client, physical)
        except TransientStoreError:
            return None

    def _inspected(self, name: str, serving: str) -> tuple[InspectedVersion, ...]:
        try:
            there = self._versions(name)
        except DeniedError:
            return ()
        return tuple(
            InspectedVersion(version.name, version.state, version.name == serving, self._points_of(version))
            for version in there
        )

    def _points_of(self, version: Version) -> int | None:
        try:
            return self._points(version.name)
        except NotFoundError:  # dropped since it was listed
            return None
