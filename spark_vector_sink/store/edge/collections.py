"""Manage embedded stores on the driver: create them, ingest the files that tasks have staged, and search."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from spark_vector_sink.errors import CollectionError, StoreError
from spark_vector_sink.store.collection import CollectionSpec, Finished, Hit, Left, Probe, Target
from spark_vector_sink.store.collection_metadata import CollectionMetadata
from spark_vector_sink.store.collection_versions import moved_already
from spark_vector_sink.store.edge import cleanup, failed_runs, pending_runs, scan, snapshot, staging, versions
from spark_vector_sink.store.edge import index as edge
from spark_vector_sink.store.edge.creation import (
    create,
    create_current,
    creation,
    index_plan,
    inherited,
    make_root,
    resolve_overwrite,
)
from spark_vector_sink.store.edge.guest_vectors import asked_by, dimension_for, move_in, new_vectors, remembering, steps
from spark_vector_sink.store.edge.inspect import inspect
from spark_vector_sink.store.edge.layout import FIRST_VERSION, StoreDirectory, StoreFacts, read_facts, write_facts
from spark_vector_sink.store.edge.probe import probe
from spark_vector_sink.store.edge.schema import facts_problems, missing_problem, new_indexes, place_problems
from spark_vector_sink.store.inspection import Inspection
from spark_vector_sink.store.model_guard import key_warnings
from spark_vector_sink.store.scan import Page
from spark_vector_sink.store.search_query import Filter, SparseQuery, check_question
from spark_vector_sink.store.vector_owners import fingerprint_field

_ROWS_ARE_SAFE = (
    "the rows of this run are safe in the directory, and the next job or search that opens the store brings them in"
)


class EdgeCollections:
    """Embedded stores of this machine, by directory. Keeps nothing open between calls."""

    def __init__(self, timeout_seconds: float) -> None:
        self._seconds = timeout_seconds

    def resolve(self, name: str, spec: CollectionSpec) -> Target:
        """Look up, without any change, whether there is a store, whether it fits the job, and what would be created."""
        edge.qdrant_edge()
        directory = StoreDirectory(Path(name))
        problems = place_problems(directory)
        if spec.overwrite:
            return resolve_overwrite(directory, inherited(directory, spec, directory.current()), tuple(problems))
        physical = None if problems else directory.current()
        if physical is not None:
            return _resolve_existing(directory, physical, spec)
        if not spec.create:
            problems.append(missing_problem(directory))
        plan = () if problems else (creation(name, spec), *index_plan(spec.payload_indexes))
        return Target(
            name,
            FIRST_VERSION,
            exists=False,
            dimension=spec.dimension if spec.dense else None,
            problems=tuple(problems),
            plan=plan,
        )

    def prepare(self, target: Target, spec: CollectionSpec, run: str) -> Target:
        """Create what `resolve` announced, ingest the pending rows of earlier runs, and open the run's staging
        folder."""
        if target.problems:
            raise CollectionError(target.problems)
        directory = StoreDirectory(Path(target.name))
        spec = inherited(directory, spec, target.replaces)
        make_root(directory)
        with self._locked(directory) as deadline:
            if target.overwrites:
                physical = versions.begin(directory, run, target.replaces)
                create(directory, spec, physical)
            else:
                physical = directory.current() or create_current(directory, spec)
            facts = self._update(directory, physical, spec, deadline)
            staging.begin_run(directory, run)
            fingerprint = fingerprint_field(facts.metadata, spec)
            if spec.reads:
                snapshot.export_for(directory, physical, run, deadline, fingerprint)
            staging.sweep(directory)
        dimension = dimension_for(facts, spec)
        return replace(
            target,
            physical=physical,
            exists=True,
            dimension=dimension,
            plan=(),
            points=facts.points,
            fingerprint=fingerprint,
        )

    def finish(self, target: Target, run: str, receipts: Sequence[str]) -> Finished:
        """Ingest the run's staged files, and those of other pending runs; return the number of points afterwards.

        When it fails after the manifest is written, the rows are not lost: the next job or search that opens the store
        ingests them. Rows that can never be ingested are set aside (see `failed_runs`), and PermanentStoreError says
        which and why.
        """
        directory = StoreDirectory(Path(target.name))
        if target.overwrites:
            return versions.fill(directory, target.physical, run, receipts, time.monotonic() + self._seconds)
        versions.check_serves(directory, target)
        failed_runs.check(directory, run)
        if receipts:
            staging.write_manifest(directory, run, target.physical, receipts)
        with self._locked(directory, _ROWS_ARE_SAFE) as deadline:
            if directory.current() not in (
                None,
                target.physical,
            ):  # replaced since the check before: no version can take those rows any more
                staging.end_run(directory, run)
                versions.check_serves(directory, target)
            return self._bring_in(directory, target, run, deadline)

    def _bring_in(self, directory: StoreDirectory, target: Target, run: str, deadline: float) -> Finished:
        with edge.opened(directory.shard(target.physical), deadline) as shard:
            mine = pending_runs.roll_forward(directory, target.physical, shard, run) or pending_runs.told(
                directory, run
            )
            staging.drop_staging(directory, run)
            # Where nothing is to be done: 0.1 ms. Over the threshold it builds the graph, which holds the GIL for
            # seconds; no other part of the job runs by now.
            shard.optimize()
            return Finished(edge.count(shard), mine.documents, mine.deletions, mine.points)

    def count(self, target: Target) -> int | None:
        return read_facts(StoreDirectory(Path(target.name)), target.physical).points

    def missing(self, target: Target, source: str, run: str) -> tuple[int, int]:
        """Count the documents of this source that were last seen by another run than `run`, and all documents of this
        source."""
        with self._opened(target) as shard:
            return cleanup.missing(shard, source, run)

    def purge(self, target: Target, source: str, run: str) -> None:
        """Remove the documents that `missing` counts, with all their chunks."""
        with self._opened(target) as shard:
            cleanup.purge(shard, source, run)
            pending_runs.remember_points(StoreDirectory(Path(target.name)), target.physical, shard)

    def purge_tombstones(self, target: Target, until: int) -> None:
        """Remove the tombstones of deletions up to this moment, in seconds since 1970."""
        with self._opened(target) as shard:
            cleanup.purge_tombstones(shard, until)
            pending_runs.remember_points(StoreDirectory(Path(target.name)), target.physical, shard)

    def wait_for_index(self, target: Target) -> float:
        """Return at once: `finish` builds the index itself, so everything is searchable when it returns."""
        return 0.0

    def abandon(self, target: Target, run: str) -> Left:
        """Remove the files that the failed run has staged, unless the run is pending already, and the version that it
        was filling."""
        directory = StoreDirectory(Path(target.name))
        moved = target.overwrites and versions.abandon(directory, target.physical, run)
        staging.drop_staging(directory, run)
        if failed_runs.reason(directory, run):
            return Left("run the job again", none_written=True)
        return Left(moved_already(target.name) if moved else "")

    def probe(self, target: Target, most: int) -> Sequence[Probe]:
        directory = StoreDirectory(Path(target.name))
        with edge.opened(directory.shard(target.physical), time.monotonic() + self._seconds) as shard:
            return probe(shard, most)

    def pages(self, target: Target, run: str, size: int) -> Sequence[Page]:
        with self._opened(replace(target, physical=target.replaces or target.physical)) as shard:
            return scan.export(shard, StoreDirectory(Path(target.name)).staging(run) / "POINTS", size)

    def read(self, page: Page) -> Iterator[pa.RecordBatch]:
        return scan.read(page)

    def publish(self, target: Target, run: str, keep: int) -> Sequence[str]:
        directory = StoreDirectory(Path(target.name))
        with self._locked(directory) as deadline:
            versions.switch(
                directory,
                target.physical,
                run,
                target.replaces,
                keep,
                lambda current: pending_runs.settle(directory, current, deadline),
            )
            staging.drop_staging(directory, run)
        return []

    def rollback(self, name: str) -> tuple[str | None, str]:
        directory = StoreDirectory(Path(name))
        if directory.current() is None:  # checked first, so that no LOCK file is left behind
            raise CollectionError(f"there is no embedded store at {name}; name the directory of one")
        with self._locked(directory) as deadline:
            return versions.roll_back(directory, lambda current: pending_runs.settle(directory, current, deadline))

    def metadata(self, name: str) -> CollectionMetadata | None:
        """Return the metadata that the sink has stored in the store; None where there is none."""
        there = versions.serving(StoreDirectory(Path(name)))
        return None if there is None else there[1].metadata

    def inspect(self, name: str) -> Inspection:
        return inspect(name, self._seconds)

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
        """Ingest pending rows, then return the nearest points, best first."""
        directory = StoreDirectory(Path(name))
        if directory.current() is None:
            raise CollectionError(
                f"there is no embedded store at {name}; write to it first, or name the directory of one"
            )
        with self._locked(directory) as deadline:
            return self._search(directory, vector, limit, sparse, vector_name, among, deadline)

    def _search(
        self,
        directory: StoreDirectory,
        vector: Sequence[float] | None,
        limit: int,
        sparse: SparseQuery | None,
        asked: str | None,
        among: Filter | None,
        deadline: float,
    ) -> list[Hit]:
        name, physical = directory.root, directory.current() or FIRST_VERSION
        facts = asked_by(name, read_facts(directory, physical), asked)
        check_question(str(name), vector, sparse, facts.dense, bool(facts.sparse_vector_name), facts.dimension)
        with edge.opened(directory.shard(physical), deadline) as shard:
            pending_runs.roll_forward(directory, physical, shard)
            return edge.nearest(shard, facts, vector, limit, sparse, among)

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    @contextmanager
    def _opened(self, target: Target) -> Iterator[Any]:
        """Open the index of a run's target, and ingest pending rows."""
        directory = StoreDirectory(Path(target.name))
        with self._locked(directory) as deadline, edge.opened(directory.shard(target.physical), deadline) as shard:
            pending_runs.roll_forward(directory, target.physical, shard)
            yield shard

    def _locked(self, directory: StoreDirectory, advice: str = edge.TRY_LATER) -> AbstractContextManager[float]:
        return edge.reserved(directory, self._seconds, advice)

    def _update(self, directory: StoreDirectory, physical: str, spec: CollectionSpec, deadline: float) -> StoreFacts:
        """Add to an existing store what the job needs; opens the index only when there is something to do."""
        facts = read_facts(directory, physical)
        if problems := facts_problems(directory, facts, spec):
            raise CollectionError(problems)
        wanted, new = new_indexes(facts, spec), new_vectors(facts, spec)
        if wanted or new or staging.manifests(directory):
            with edge.opened(directory.shard(physical), deadline) as shard:
                pending_runs.roll_forward(directory, physical, shard)
                edge.create_indexes(shard, wanted)
                move_in(shard, new)
            facts = read_facts(directory, physical)
        indexes, metadata = {**facts.payload_indexes, **wanted}, remembering(facts, spec)
        updated = replace(facts, payload_indexes=indexes, metadata=metadata, others={**facts.others, **new})
        if updated != facts:
            write_facts(directory, physical, updated)
        return updated


def _resolve_existing(directory: StoreDirectory, physical: str, spec: CollectionSpec) -> Target:
    name = str(directory.root)
    try:
        facts = read_facts(directory, physical)
        waiting = len(staging.manifests(directory))
    except StoreError as error:
        return Target(name, physical, exists=True, problems=(str(error),))
    plan = [*steps(new_vectors(facts, spec)), *index_plan(new_indexes(facts, spec))]
    if waiting:
        plan.insert(0, f"bring in the rows of {waiting} earlier {'run' if waiting == 1 else 'runs'}")
    plan.insert(0, f"write to the existing embedded store {name}")
    problems = tuple(facts_problems(directory, facts, spec))
    points = None if waiting else facts.points
    return Target(
        name,
        physical,
        exists=True,
        dimension=dimension_for(facts, spec),
        problems=problems,
        plan=() if problems else tuple(plan),
        warnings=tuple(key_warnings(name, facts.metadata, spec, points)),
        points=points,
        remembered=facts.metadata,
        indexes=facts.payload_indexes,
    )
