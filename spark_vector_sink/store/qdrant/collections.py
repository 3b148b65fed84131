"""Manage collections of a Qdrant server, on the driver: look up what a name stands for, check whether it fits the job,
and create what is missing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeVar

from qdrant_client import models

from spark_vector_sink.errors import CollectionError, PermanentStoreError, StoreError
from spark_vector_sink.payload_types import RESERVED
from spark_vector_sink.store import collection_versions
from spark_vector_sink.store.collection import FINGERPRINT, CollectionSpec, Finished, Hit, Left, Probe, Target
from spark_vector_sink.store.collection_metadata import CollectionMetadata
from spark_vector_sink.store.model_guard import guard_problems, key_warnings, left_out, other_model
from spark_vector_sink.store.qdrant.address import answers
from spark_vector_sink.store.qdrant.connection import (
    GUEST_KEY,
    METADATA_KEY,
    DeniedError,
    our_metadata,
    run_of,
)
from spark_vector_sink.store.qdrant.datatypes import problems_to_come, to_be_checked
from spark_vector_sink.store.qdrant.guest_vectors import MovingIn, missing_names, steps
from spark_vector_sink.store.qdrant.heartbeat import STATE_KEY
from spark_vector_sink.store.qdrant.inherited_settings import index_schema, payload_indexes
from spark_vector_sink.store.qdrant.inspect import Inspecting
from spark_vector_sink.store.qdrant.probe import probe
from spark_vector_sink.store.qdrant.queries import query
from spark_vector_sink.store.qdrant.reconcile import Missing
from spark_vector_sink.store.qdrant.scan import Pages
from spark_vector_sink.store.qdrant.schema import (
    announced,
    creation,
    dense_vectors,
    index_problems,
    sparse_vectors,
    vector_problems,
)
from spark_vector_sink.store.qdrant.sharding import sharding_problems
from spark_vector_sink.store.qdrant.strict_mode import most_points, slow_ones, wants_indexes
from spark_vector_sink.store.qdrant.versions import state_of
from spark_vector_sink.store.qdrant.wait_for_index import IndexState, wait_until_indexed
from spark_vector_sink.store.retry import retrying
from spark_vector_sink.store.search_query import Filter, SparseQuery
from spark_vector_sink.store.vector_owners import fingerprint_field
from spark_vector_sink.store.write_batch import plain_id

T = TypeVar("T")

log = logging.getLogger("spark_vector_sink")

PAYLOAD_INDEX_SECONDS = 600.0
"""Seconds after which creating a payload index is no longer retried."""


class QdrantCollections(MovingIn, Pages, Missing, Inspecting):
    """Collections of a Qdrant server. `Collections` describes the methods."""

    def resolve(self, name: str, spec: CollectionSpec) -> Target:
        if spec.overwrite:
            return self._resolve_overwrite(name, spec)
        problems = [*self._config_problems(spec), *self._merge_problems(spec)]
        found = self._info(name)
        if found is not None:
            return self._existing(Target(name, self._behind(name), True, problems=tuple(problems)), found, spec)
        physical = name
        if spec.versioned:
            there = self._versions(name)
            physical = f"{name}__v{collection_versions.next_number(there)}"
            left_over = collection_versions.latest_whole(there)
            info = self._info(left_over) if left_over is not None else None
            if left_over is not None and info is not None:  # an earlier job ended between the collection and its alias
                target = self._existing(Target(name, left_over, True, problems=tuple(problems)), info, spec)
                return replace(target, plan=(*target.plan, f"point the alias '{name}' at '{left_over}'"))
        problems += [*sharding_problems(name, None, spec), *problems_to_come(spec)]
        if not spec.create:
            problems.append(
                f"the collection '{name}' does not exist on {self._address}, and create_collection=false; create it, "
                "or leave that option out"
            )
        return Target(
            name,
            physical,
            False,
            spec.dimension if spec.dense else None,
            tuple(problems),
            tuple(announced(name, physical, spec)),
            points=0,
        )

    def prepare(self, target: Target, spec: CollectionSpec, run: str) -> Target:
        if not target.overwrites:
            return self._prepare(target, spec, run)
        spec = self._following(target, spec)
        target = self._create_aside(target, spec, run)
        try:
            self._copy_shard_keys(target, spec)
            return self._prepare(target, spec, run)
        except BaseException:
            self._abandon_version(target, run)
            raise

    def _prepare(self, target: Target, spec: CollectionSpec, run: str) -> Target:
        if target.overwrites:
            pass
        elif not target.exists:
            target = self._create(target, spec, run)
        elif spec.merge:
            target = self._merge_into(target, spec, run)
        elif not target.points or target.remembered is None:
            self._remember(target, spec.metadata, run)
        elif spec.metadata.chunked and not target.remembered.chunked:
            self._remember(target, replace(target.remembered, chunked=True), run)
        self._make_indexes(target, spec)
        if not target.overwrites and target.physical != target.name and self._info(target.name) is None:
            with self._asking(f"pointing the alias '{target.name}' at '{target.physical}'"):
                alias = models.CreateAlias(collection_name=target.physical, alias_name=target.name)
                self._client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
        for address in self._addresses:
            if address != self._address:
                self._same_on(address, target.physical)
        made = self._info(target.physical)
        if made is None:
            return target
        # of two jobs that adopt a collection at once, the later one overwrites the run of the other
        is_adopted = target.exists and (target.remembered is None or not target.remembered.run)
        made_by, datatypes = (
            None if is_adopted else run_of(target.name, made),
            to_be_checked(dense_vectors(made), sparse_vectors(made), spec),
        )
        return replace(target, made_by=made_by, max_batch_points=most_points(made), datatypes=datatypes)

    def _merge_into(self, target: Target, spec: CollectionSpec, run: str) -> Target:
        """Check the collection again, since a job that runs at the same time may have changed it, and add the job's
        vectors that are missing."""
        info = self._info(target.physical)
        if info is None:
            raise CollectionError(f"'{target.name}' was deleted since this job was planned; run the job again")
        target = self._existing(replace(target, problems=()), info, spec)
        if target.problems:
            raise CollectionError(target.problems)
        self._move_in(target, missing_names(info, spec), spec)
        if target.fingerprint == FINGERPRINT and not (target.points and target.remembered):
            guests = () if target.remembered is None else target.remembered.guests
            self._remember(target, replace(spec.metadata, vectors=(*spec.metadata.vectors, *guests)), run)
        return target

    def finish(self, target: Target, run: str, receipts: Sequence[str]) -> Finished:
        """Count the points. The job is done by now: a server that is busy is asked again, and a count that fails is
        only logged."""
        if target.made_by is not None and run_of(target.name, self._info(target.physical)) != target.made_by:
            raise CollectionError(
                f"'{target.name}' was deleted, or made anew, while this job wrote to it; run the job again"
            )
        if not target.overwrites and target.physical != target.name:
            standing = self._patiently(lambda: self._behind(target.name))
            if standing not in (target.physical, target.name):  # the name itself: the key may not list aliases
                raise collection_versions.replaced_meanwhile(target.name, standing, target.physical)
        return Finished(self.count(target))

    def count(self, target: Target) -> int | None:
        try:
            return self._asking_again(
                f"counting '{target.name}'", lambda: int(self._client.count(target.physical, exact=True).count)
            )
        except (CollectionError, StoreError) as error:
            log.warning(f"all points were applied, but {error}")
            return None

    def wait_for_index(self, target: Target) -> float:
        """Wait for status green on each node of the address that answers: a node reports one replica of each shard, its
        own where it has one."""
        seconds = self._wait_for_index_here(target)
        for address in self._addresses:
            if address != self._address and answers(address):
                with closing(QdrantCollections([address], self._patience)) as other:
                    seconds += other.wait_for_index(target)
        return seconds

    def _wait_for_index_here(self, target: Target) -> float:
        """Wait for status green on the connected node. The job is done by now, so a server that is away is asked
        again."""

        def look() -> IndexState:
            if target.overwrites:
                self._beat(target.physical)
            with self._asking(f"reading '{target.name}'"):
                return IndexState.of(self._client.get_collection(target.physical))

        def wake() -> None:
            with self._asking(f"telling the server to optimise '{target.name}'"):
                self._client.update_collection(target.physical, optimizers_config=models.OptimizersConfigDiff())

        def patiently(ask: Callable[[], T]) -> T:
            try:
                return self._patiently(ask)
            except (CollectionError, StoreError) as error:
                raise PermanentStoreError(
                    f"all points are written to '{target.name}', but its index cannot be waited for: {error}"
                ) from error

        return wait_until_indexed(target.name, lambda: patiently(look), lambda: patiently(wake), self._patience)

    def abandon(self, target: Target, run: str) -> Left:
        """Abandon the version of an overwrite. An append needs no cleanup: points that were written are right, and the
        next run writes them again."""
        return Left(self._abandon_version(target, run) if target.overwrites else "")

    def probe(self, target: Target, most: int) -> Sequence[Probe]:
        return self._asking_again(
            f"reading points of '{target.physical}'", lambda: probe(self._client, target.physical, most)
        )

    def metadata(self, name: str) -> CollectionMetadata | None:
        info = self._info(name)
        return None if info is None else our_metadata(name, info)

    def search(
        self,
        name: str,
        vector: Sequence[float] | None,
        limit: int,
        *,
        sparse: SparseQuery | None = None,
        vector_name: str | None = None,
        among: Filter | None = None,
    ) -> list[Hit]:
        asked = query(name, self._info(name), vector_name, vector, limit, sparse, among)
        with self._asking(f"searching '{name}'"):
            found = self._client.query_points(name, **asked, with_payload=True)
        return [Hit(plain_id(point.id), point.score, point.payload or {}) for point in found.points]

    def _existing(self, target: Target, info: models.CollectionInfo, spec: CollectionSpec) -> Target:
        """Build the target of an existing collection, with all problems that keep the job from writing to it."""
        missing, theirs = missing_names(info, spec), our_metadata(target.name, info)
        problems = [
            *target.problems,
            *vector_problems(target.name, info, spec, missing),
            *self._moving_in_problems(target, missing, spec),
            *left_out(target.name, self._others(target.physical, info, spec), spec),
            *guard_problems(
                target.name, theirs, spec, info.points_count or 0, self._unknown(target.physical, info, spec)
            ),
        ]
        problems += [*index_problems(target.name, info, spec), *sharding_problems(target.name, info, spec)]
        unindexed = sorted(set(spec.payload_indexes) - set(info.payload_schema))
        plan = [
            f"write to the existing collection '{target.name}'"
            + (f" (now '{target.physical}')" if target.physical != target.name else "")
        ]
        plan += [
            *steps(missing, spec),
            *(f"create the payload index {field}:{spec.payload_indexes[field]}" for field in unindexed),
        ]
        vector = dense_vectors(info).get(spec.vector_name)
        dimension = (vector.size if vector is not None else spec.dimension) if spec.dense else None
        return replace(
            target,
            dimension=dimension,
            problems=tuple(problems),
            plan=tuple(plan),
            warnings=(*key_warnings(target.name, theirs, spec, info.points_count), *slow_ones(target.name, info)),
            points=info.points_count,
            max_batch_points=most_points(info),
            remembered=theirs,
            fingerprint=fingerprint_field(theirs, spec),
            indexes=payload_indexes(info),
        )

    def _create(self, target: Target, spec: CollectionSpec, run: str) -> Target:
        arguments = creation(spec)
        try:
            with self._asking(f"creating the collection '{target.physical}'"):
                version = {} if target.physical == target.name else {STATE_KEY: {"state": collection_versions.READY}}
                self._client.create_collection(
                    target.physical,
                    metadata={METADATA_KEY: replace(spec.metadata, run=run).to_json(), **version},
                    **arguments,
                )
        except CollectionError:
            # a job that runs at the same time may have been first; its collection is used if it has the same vectors
            theirs = self._info(target.physical)
            if theirs is None:
                raise
            if state_of(theirs) == collection_versions.LOADING:
                raise CollectionError(
                    f"a job in mode('overwrite') is just filling '{target.physical}', the first version of "
                    f"'{target.name}'; run this job again when that one has ended"
                ) from None
            if spec.merge:
                return self._merge_into(target, spec, run)
            wrong = (
                *self._existing(target, theirs, spec).problems,
                other_model(target.name, our_metadata(target.name, theirs), spec),
            )
            if any(wrong):
                raise CollectionError([problem for problem in wrong if problem]) from None
        return target

    def _remember(self, target: Target, metadata: CollectionMetadata, run: str) -> None:
        """Write the sink's metadata into a collection that was not created by this job. An API key that may only write
        points may not do this, and need not. Metadata of other jobs' vectors is left unchanged, or removed where
        `metadata` does not have them."""
        try:
            with self._asking(f"adopting '{target.name}'"):
                there = self.metadata(target.physical)
                made_by = run if there is None or there.run is None else there.run
                former = () if target.remembered is None else target.remembered.guests
                gone = {guest.job for guest in former} - {guest.job for guest in metadata.guests}
                noted = {METADATA_KEY: replace(metadata, vectors=metadata.first, run=made_by).to_json()}
                self._client.update_collection(
                    target.physical, metadata={**noted, **{f"{GUEST_KEY}{job}": None for job in gone}}
                )
        except DeniedError:
            return

    def _make_indexes(self, target: Target, spec: CollectionSpec) -> None:
        info = self._info(target.physical)
        present = info.payload_schema if info is not None else {}
        needed = spec.strict_indexes if info is not None and wants_indexes(info) else {}
        old = self._info(target.replaces) if spec.inherits and target.replaces is not None else None
        for field, kind in {**spec.payload_indexes, **needed}.items():
            if field in present:
                continue
            schema = index_schema(old, field, kind)
            doing = f"creating the payload index {field}:{kind} of '{target.name}'"

            def create(field: str = field, schema: Any = schema, doing: str = doing) -> None:
                with self._asking(doing):
                    self._client.create_payload_index(target.physical, field, schema, wait=True)

            # an index of a large collection takes longer than any other request; on a retry the server waits for the
            # index that it is building
            try:
                retrying(create, PAYLOAD_INDEX_SECONDS, lambda: None)
            except DeniedError as error:
                if not field.startswith(f"{RESERVED}."):
                    raise
                log.warning(f"{error}; without that index the end of the job may take longer")
