"""Overwrite on a server: fill a collection of its own, then move the alias. The state of each collection `name__v<n>`
is in its metadata."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from qdrant_client import models

from spark_vector_sink.errors import CollectionError, StoreError, TransientStoreError
from spark_vector_sink.store import collection_versions
from spark_vector_sink.store.collection import CollectionSpec, Target
from spark_vector_sink.store.collection_versions import (
    ABANDONED,
    CHECKED,
    FOREIGN,
    LOADING,
    READY,
    ROLLED_BACK,
    Version,
)
from spark_vector_sink.store.qdrant.connection import (
    METADATA_KEY,
    Connection,
    DeniedError,
    NotFoundError,
    our_metadata,
    run_of,
)
from spark_vector_sink.store.qdrant.datatypes import problems_to_come
from spark_vector_sink.store.qdrant.heartbeat import HEARTBEAT_KEY, STATE_KEY
from spark_vector_sink.store.qdrant.inherited_settings import following, other_vectors
from spark_vector_sink.store.qdrant.schema import announced, creation, dense_vectors
from spark_vector_sink.store.qdrant.sharding import copy_keys, sharding_problems

T = TypeVar("T")

GUARD = "__switch"
"""Suffix of the alias that guards a switch and is renamed by it. Of several switches that begin at one version only one
finds this alias."""

log = logging.getLogger("spark_vector_sink")


class Versions(Connection):
    """Versions behind a name, and the switch between them."""

    _beaten = float("-inf")
    """time when the driver wrote its last heartbeat"""

    def publish(self, target: Target, run: str, keep: int) -> Sequence[str]:
        self._patiently(lambda: self._publish(target, run))
        try:  # the alias has moved: an error from here on is not a failure of the job
            self._patiently(lambda: self._note(target.physical, READY))
            self._drop(
                collection_versions.outlived(self._versions(target.name), target.physical, keep, time.time()),
                target.name,
            )
        except (CollectionError, StoreError) as error:
            return [
                f"'{target.name}' is replaced, but earlier versions could not be tidied away, the next overwrite "
                f"tries again: {error}"
            ]
        return []

    def rollback(self, name: str) -> tuple[str | None, str]:
        standing = self._standing(name)
        if standing == name:
            raise CollectionError(f"'{name}' is a plain collection, no alias, so there is no version to go back to")
        there = self._versions(name)
        goal = (
            collection_versions.latest_whole(there)
            if standing is None
            else collection_versions.earlier(there, standing)
        )
        if goal is None:
            raise collection_versions.nothing_earlier(name, standing)
        self._patiently(lambda: self._switch(name, standing, goal))
        if standing is not None and self._is_version(standing, name):
            self._patiently(lambda: self._note(standing, ROLLED_BACK, serves=True))
        return standing, goal

    def _resolve_overwrite(self, name: str, spec: CollectionSpec) -> Target:
        """Return the target of an overwrite: a version with the next free number. What exists now does not keep the job
        from writing, whatever it holds."""
        standing, there = self._standing(name), self._versions(name)
        old = None if standing is None else self._info(standing)
        problems, warnings = [*self._config_problems(spec)], []
        if not problems:
            spec = following(spec, old)
            problems += [*sharding_problems(name, None, spec), *problems_to_come(spec, name)]
        if spec.inherits and old is not None:
            problems += other_vectors(name, old, our_metadata(name, old))
        physical = f"{name}__v{collection_versions.next_number(there)}"
        steps = [
            *announced(name, physical, spec),
            f"count and look at what was written, wait for its index, then point the alias '{name}' at it",
        ]
        if standing == name:
            steps[-1] = (
                f"count and look at what was written, wait for its index, then drop the collection '{name}' and "
                f"create the alias '{name}'"
            )
            warnings.append(
                f"'{name}' is a plain collection: between dropping it and creating the alias it is missing for a moment"
            )
            if not spec.replace_plain:
                problems.append(
                    f"'{name}' is a plain collection, which mode('overwrite') replaces only with "
                    "replace_collection=true (it is dropped, and missing for a moment)"
                )
        if old is not None and (lost := sorted(set(old.payload_schema) - set(spec.payload_indexes))):
            warnings.append(
                f"'{name}' has payload indexes that the new version will not have, because option 'payload_indexes' "
                f"does not name them: {', '.join(lost)}"
            )
        dimension = spec.dimension
        if (
            dimension is None
            and spec.dense
            and old is not None
            and (vector := dense_vectors(old).get(spec.vector_name)) is not None
        ):
            dimension = vector.size
        return Target(
            name, physical, False, dimension if spec.dense else None, tuple(problems), tuple(steps), points=0,
            overwrites=True, replaces=standing, warnings=tuple(warnings),
        )  # fmt: skip

    def _following(self, target: Target, spec: CollectionSpec) -> CollectionSpec:
        return following(spec, None if target.replaces is None else self._info(target.replaces))

    def _copy_shard_keys(self, target: Target, spec: CollectionSpec) -> None:
        if spec.sharded and target.replaces is not None:
            with self._asking(f"creating the shard keys of '{target.physical}'"):
                copy_keys(self._client, target.replaces, target.physical)

    def _create_aside(self, target: Target, spec: CollectionSpec, run: str) -> Target:
        """Create the collection that no search sees yet; with another number where a job that runs at the same time has
        just taken this one."""
        there = self._versions(target.name)
        self._drop(collection_versions.left_overs(there, target.replaces, time.time()), target.name)
        number = max(collection_versions.next_number(there), int(target.physical.rpartition("__v")[2]))
        note = {STATE_KEY: {"state": LOADING, "replaced": target.replaces}, HEARTBEAT_KEY: time.time()}
        metadata = {METADATA_KEY: replace(spec.metadata, run=run).to_json(), **note}
        while True:
            physical = f"{target.name}__v{number}"
            try:
                with self._asking(f"creating the collection '{physical}'"):
                    self._client.create_collection(physical, metadata=metadata, **creation(spec))
            except (CollectionError, TransientStoreError):
                made = self._info(physical)
                if made is None:
                    raise
                if run_of(physical, made) != run:  # otherwise only the reply was lost
                    number += 1
                    continue
            return replace(target, physical=physical)

    def _publish(self, target: Target, run: str) -> None:
        state = self._state_of_ours(target, run)
        standing = self._standing(target.name)
        if standing != target.physical:
            if standing != target.replaces and not _between(target, standing, state):
                raise collection_versions.overtaken(target.name, standing, target.replaces)
            self._note(target.physical, CHECKED)
            if standing == target.name:
                with self._asking(f"dropping the plain collection '{target.name}'"):
                    self._client.delete_collection(target.name)
                standing = None
            elif standing is not None and self._is_version(standing, target.name):
                self._note(standing, READY, serves=True)  # a job that was killed between two steps may have noted less
            self._switch(target.name, standing, target.physical)

    def _beat(self, physical: str) -> None:
        """Write a heartbeat from the driver, at most once a minute."""
        if time.monotonic() - self._beaten > collection_versions.BEAT_SECONDS:
            self._beaten = time.monotonic()
            with self._asking(f"giving a sign of life of '{physical}'"):
                self._client.update_collection(physical, metadata={HEARTBEAT_KEY: time.time()})

    def _state_of_ours(self, target: Target, run: str) -> str:
        found = self._info(target.physical)
        if found is None or run_of(target.physical, found) != run:
            raise CollectionError(
                f"'{target.physical}', which this job has filled, was deleted, or made anew, meanwhile; run "
                "the job again"
            )
        return state_of(found)

    def _switch(self, name: str, standing: str | None, goal: str) -> None:
        """Point the alias at `goal`, if it stands for `standing`. The server checks and moves in one request: it
        refuses to rename an alias that does not exist, and the first switch uses up the guard. (Of three jobs within a
        millisecond two could succeed; the last one serves.)"""
        now = self._standing(name)
        if now == goal:
            return
        if now != standing:
            raise collection_versions.overtaken(name, now, standing)
        guard = f"{standing or name}{GUARD}"
        self._alias(_created(standing or goal, guard))
        if self._standing(name) != standing:
            raise collection_versions.overtaken(name, self._standing(name), standing)
        rename = models.RenameAliasOperation(rename_alias=models.RenameAlias(old_alias_name=guard, new_alias_name=name))
        try:
            self._alias(rename, _created(goal, name))
        except NotFoundError as error:  # another job was first: the retry finds out which
            raise TransientStoreError(str(error)) from None

    def _alias(self, *actions: Any) -> None:
        with self._asking("changing aliases"):
            self._client.update_collection_aliases(list(actions))

    def _abandon_version(self, target: Target, run: str) -> str:
        """Mark the version as abandoned; a later job drops it, because tasks of this job may still be writing. Returns
        a sentence about what the name stands for now, where that has changed; the version is kept where nothing else is
        left."""
        try:
            found, standing = self._info(target.physical), self._standing(target.name)
            if standing == target.physical:
                return collection_versions.moved_already(target.name)
            if found is None or run_of(target.physical, found) != run:
                return ""
            if _between(target, standing, state_of(found)):
                return collection_versions.dropped_already(target.name)
            self._note(target.physical, ABANDONED)
        except (CollectionError, StoreError) as error:
            hour = round(collection_versions.STALE_SECONDS / 60)
            log.warning(
                f"'{target.physical}' is left behind, and dropped by an overwrite that begins {hour} minutes from now "
                f"or later: {error}"
            )
            return collection_versions.unknown(target.name) if target.replaces == target.name else ""
        return ""

    def _note(self, physical: str, state: str, serves: bool = False) -> None:
        """Write the state of a version into its metadata. A collection that was not created by this sink is left
        unchanged. serves: the collection is behind the alias, so a collection that the sink has written to is a
        version."""
        found = self._info(physical)
        if (
            found is None
            or state_of(found) == state
            or (state_of(found) == FOREIGN and not (serves and our_metadata(physical, found)))
        ):
            return
        with self._asking(f"noting that '{physical}' is {state}"):
            self._client.update_collection(physical, metadata={STATE_KEY: {**_noted(found), "state": state}})

    def _drop(self, names: Sequence[str], name: str) -> None:
        """Drop these versions, except for versions that any alias other than a guard stands for."""
        for physical in names:
            in_use = {alias.collection_name for alias in self._aliases() if not alias.alias_name.endswith(GUARD)}
            if physical not in in_use and self._is_version(physical, name):
                with self._asking(f"dropping '{physical}'"):
                    self._client.delete_collection(physical)

    def _versions(self, name: str) -> list[Version]:
        """Return the collections `name__v<n>`, and other collections that one of them has replaced."""
        with self._asking("listing collections"):
            listed = [collection.name for collection in self._client.get_collections().collections]
        found = []
        for physical in listed:
            number = re.fullmatch(rf"{re.escape(name)}__v([0-9]{{1,9}})", physical)
            info = self._info(physical) if number else None
            if number and info is not None:
                found.append(_version(physical, int(number[1]), info))
        others = {v.replaced for v in found if v.replaced in listed} - {name} - {v.name for v in found}
        found += (Version(other, 0, FOREIGN) for other in others if other is not None)
        return sorted(found, key=lambda version: version.number)

    def _is_version(self, physical: str, name: str) -> bool:
        return re.fullmatch(rf"{re.escape(name)}__v[0-9]{{1,9}}", physical) is not None

    def _standing(self, name: str) -> str | None:
        """Return what the name stands for: a collection behind the alias, the name itself where it is a plain
        collection, None where there is nothing."""

        def look() -> str | None:
            behind = next((alias.collection_name for alias in self._aliases() if alias.alias_name == name), None)
            return behind if behind is not None else name if self._info(name) is not None else None

        return self._patiently(look)

    def _aliases(self) -> list[models.AliasDescription]:
        try:
            with self._asking("listing aliases"):
                return list(self._client.get_aliases().aliases)
        except DeniedError as error:
            raise CollectionError(
                f"{error}; mode('overwrite') and rollback() need an API key that may manage collections and aliases"
            ) from None


def _created(collection: str, alias: str) -> models.CreateAliasOperation:
    return models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=collection, alias_name=alias))


def _between(target: Target, standing: str | None, state: str) -> bool:
    """Return whether the plain collection of that name is dropped, and the alias is not created yet: only this job's
    version is left."""
    return standing is None and target.replaces == target.name and state == CHECKED


def state_of(info: models.CollectionInfo) -> str:
    """Return the state of a version. A collection without a state is not a version, whatever its name looks like."""
    return str(_noted(info).get("state", FOREIGN))


def _noted(info: models.CollectionInfo) -> dict[str, Any]:
    noted = (info.config.metadata or {}).get(STATE_KEY)
    return noted if isinstance(noted, dict) else {}


def _version(name: str, number: int, info: models.CollectionInfo) -> Version:
    beat = (info.config.metadata or {}).get(HEARTBEAT_KEY)
    return Version(
        name,
        number,
        state_of(info),
        float(beat) if isinstance(beat, int | float) else 0.0,
        _noted(info).get("replaced"),
    )
