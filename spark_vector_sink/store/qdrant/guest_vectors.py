"""Add the vectors of a job beside the vectors of other jobs, on a live collection (option `existing=merge`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

from qdrant_client import QdrantClient, models

from spark_vector_sink.errors import CollectionError
from spark_vector_sink.store.collection import CollectionSpec, Target
from spark_vector_sink.store.collection_metadata import CollectionMetadata
from spark_vector_sink.store.qdrant.connection import GUEST_KEY, Connection, DeniedError, our_metadata
from spark_vector_sink.store.qdrant.schema import DISTANCES, dense_vectors, sparse_vectors
from spark_vector_sink.store.qdrant.wait_for_index import IndexState
from spark_vector_sink.store.vector_owners import is_guest, job_name, names_of, owners

FIRST_SERVER = (1, 18)
"""First server version that can add a vector to a collection."""

FIRST_TO_INSERT_ONLY = (1, 17)
"""First server version that knows the insert-only mode of an upsert. An older server ignores that mode, and replaces
existing points as a whole."""

QUIET_SECONDS = 60.0
"""Seconds for which a job waits for a server that optimises, before it adds a vector to the collection."""

LOOK_SECONDS = 0.2

log = logging.getLogger("spark_vector_sink")


def missing_names(info: models.CollectionInfo, spec: CollectionSpec) -> list[str]:
    """Return the vectors of a job that merges which the collection does not have yet. The unnamed vector cannot be
    added."""
    there = {*dense_vectors(info), *sparse_vectors(info)}
    return sorted(name for name in names_of(spec) if name and name not in there) if spec.merge else []


def steps(missing: Collection[str], spec: CollectionSpec) -> Iterator[str]:
    """Describe in words the steps that `_move_in` will do."""
    for name in missing:
        is_sparse = name == spec.sparse_vector_name
        yield f"create the {'sparse vector' if is_sparse else 'vector'} '{name}'" + (
            "" if is_sparse else f" of {spec.dimension or 'unknown'} dimensions, {spec.distance}"
        )


def with_any(client: QdrantClient, collection: str, names: Sequence[str]) -> list[str]:
    """Return those of the vectors that any point has."""
    found = []
    for name in names:
        has = models.Filter(must=[models.HasVectorCondition(has_vector=name)])
        if client.scroll(collection, has, limit=1, with_payload=False, with_vectors=False)[0]:
            found.append(name)
    return found


class MovingIn(Connection):
    """Check whether a job's vectors can be stored beside others, and create them."""

    def _others(self, physical: str, info: models.CollectionInfo, spec: CollectionSpec) -> list[str]:
        """Return the vectors that points have and the job does not write; looked up only where the job would remove
        them."""
        names = sorted({*dense_vectors(info), *sparse_vectors(info)} - names_of(spec))
        return [] if spec.merge or not info.points_count or not names else self._with_any(physical, names)

    def _unknown(self, physical: str, info: models.CollectionInfo, spec: CollectionSpec) -> list[str]:
        """Return the vectors of a job that merges which points have already, although the metadata does not name
        them."""
        names = sorted(names_of(spec) & {*dense_vectors(info), *sparse_vectors(info)})
        if (
            not spec.merge
            or spec.adopt
            or not info.points_count
            or not names
            or owners(our_metadata(physical, info), spec)
        ):
            return []
        return self._with_any(physical, names)

    def _with_any(self, physical: str, names: Sequence[str]) -> list[str]:
        return self._asking_again(
            f"looking for vectors in '{physical}'", lambda: with_any(self._client, physical, names)
        )

    def _moving_in_problems(self, target: Target, missing: Sequence[str], spec: CollectionSpec) -> Iterator[str]:
        if not missing:
            return
        names = " and ".join(repr(name) for name in missing)
        if not spec.create:
            yield (
                f"the collection '{target.name}' has no vector {names}, and create_collection=false; create it, or "
                "leave that option out"
            )
            return
        if not hasattr(self._client, "create_vector_name"):
            yield (
                f"the collection '{target.name}' has no vector {names}, and this qdrant-client cannot add one; "
                "install qdrant-client 1.18 or newer"
            )
            return
        if version := self._version_older_than(FIRST_SERVER):
            yield (
                f"the collection '{target.name}' has no vector {names}, and the server at {self._address} is Qdrant "
                f"{version}, which cannot add one to a collection; "
                f"update it to {'.'.join(map(str, FIRST_SERVER))}, or write to another collection"
            )

    def _merge_problems(self, spec: CollectionSpec) -> Iterator[str]:
        if spec.merge and (version := self._version_older_than(FIRST_TO_INSERT_ONLY)):
            yield (
                f"option 'existing' = 'merge' needs Qdrant {'.'.join(map(str, FIRST_TO_INSERT_ONLY))} or newer, and "
                f"the server at {self._address} is Qdrant "
                f"{version}, which would replace what other jobs have written; update it"
            )

    def _move_in(self, target: Target, missing: Sequence[str], spec: CollectionSpec) -> None:
        """Create the vectors, and store in the metadata which job they belong to. Two jobs may do this at once: the
        second changes nothing, or is refused."""
        for name in missing:
            self._wait_until_quiet(target, name)
            with self._asking(f"creating the vector '{name}' of '{target.name}'"):
                self._client.create_vector_name(target.physical, name, _config(name, spec))
        if not is_guest(target.remembered, spec) or owners(target.remembered, spec) == [spec.metadata.vectors]:
            return
        noted = {f"{GUEST_KEY}{job_name(spec)}": CollectionMetadata(spec.metadata.vectors).to_json()}
        with (
            suppress(DeniedError),
            self._asking(f"adopting '{target.name}'"),
        ):  # a key that may only write points may not do this, and need not
            self._client.update_collection(target.physical, metadata=noted)

    def _wait_until_quiet(self, target: Target, name: str) -> None:
        """Wait until the server does not optimise: a new vector stops an optimisation, and Qdrant 1.18 then forgets
        which points were deleted from the collection in the meantime. Seeing it idle once is enough: an optimisation
        that began between two looks has little to forget."""
        end = time.monotonic() + QUIET_SECONDS
        while (info := self._info(target.physical)) is not None and IndexState.of(info).status == "yellow":
            if time.monotonic() > end:
                log.warning(
                    f"'{target.name}' gets the vector '{name}' while the server still optimises it, after "
                    f"{QUIET_SECONDS:g} s of waiting: "
                    f"points that were deleted since that began may come back; delete them again"
                )
                return
            time.sleep(LOOK_SECONDS)


def _config(name: str, spec: CollectionSpec) -> Any:
    if name == spec.sparse_vector_name:
        return models.SparseVectorNameConfig(sparse=models.SparseVectorConfig())
    if spec.dimension is None:
        raise CollectionError(
            f"the vector '{name}' cannot be created, because the length of its vectors is not known; give "
            "option 'dimension'"
        )
    return models.DenseVectorNameConfig(
        dense=models.DenseVectorConfig(size=spec.dimension, distance=models.Distance(DISTANCES[spec.distance]))
    )
