"""EdgeCollections: makes embedded stores, brings in what tasks have staged, and searches."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from spark_vector_sink.errors import CollectionError, PermanentStoreError, StoreError, shorten
from spark_vector_sink.store.edge import purge, staging, state
from spark_vector_sink.store.edge import shard as edge
from spark_vector_sink.store.edge.fit import facts_problems, missing_problem, new_indexes, place_problems
from spark_vector_sink.store.edge.ingest import Older, ingest
from spark_vector_sink.store.edge.layout import FIRST_VERSION, StoreDirectory, StoreFacts, read_facts, write_atomically, write_facts
from spark_vector_sink.store.edge.lock import busy, locked
from spark_vector_sink.store.question import SparseQuery, check_question
from spark_vector_sink.store.store import CollectionSpec, Finished, Hit, Target

_TRY_LATER = "try again when it is free, or wait longer"
_ROWS_ARE_SAFE = "the rows of this run are safe in the directory, and the next job or search that opens the store brings them in"


class EdgeCollections:
    """The embedded stores of this machine, by directory. Holds nothing open between calls."""

    def __init__(self, timeout_seconds: float) -> None:
        self._seconds = timeout_seconds

    def resolve(self, name: str, spec: CollectionSpec) -> Target:
        """Look, change nothing: whether there is a store, whether it fits, and what would be made."""
        edge.qdrant_edge()
        directory = StoreDirectory(Path(name))
        problems = place_problems(directory)
        physical = None if problems else directory.current()
        if physical is not None:
            return _resolve_existing(directory, physical, spec)
        if not spec.create:
            problems.append(missing_problem(directory))
        plan = () if problems else (_creation(name, spec), *_index_plan(spec.payload_indexes))
        return Target(name, FIRST_VERSION, exists=False, dimension=spec.dimension if spec.dense else None, problems=tuple(problems), plan=plan)

    def prepare(self, target: Target, spec: CollectionSpec, run: str) -> Target:
        """Create what `resolve` announced, bring in what earlier runs have left pending, and open the run's staging folder."""
        if target.problems:
            raise CollectionError(target.problems)
        directory = StoreDirectory(Path(target.name))
        _make_root(directory)
        with self._locked(directory, _TRY_LATER) as deadline:
            physical = directory.current()
            if physical is None:
                physical = _create(directory, spec)
            facts = self._update(directory, physical, spec, deadline)
            staging.begin_run(directory, run)
            if spec.reads:
                _export(directory, physical, run, deadline)
            staging.sweep(directory)
        return replace(target, physical=physical, exists=True, dimension=facts.dimension, plan=(), points=facts.points)

    def finish(self, target: Target, run: str, receipts: Sequence[str]) -> Finished:
        """Bring in the run's staged files, and those of other runs that are pending; the number of points afterwards.

        When it fails after the manifest is written, the rows are not lost: whoever opens the store next brings them in.
        """
        directory = StoreDirectory(Path(target.name))
        if receipts:
            staging.write_manifest(directory, run, target.physical, receipts)
        with self._locked(directory, _ROWS_ARE_SAFE) as deadline, edge.opened(directory.shard(target.physical), deadline) as shard:
            older = _roll_forward(directory, target.physical, shard)
            staging.drop_staging(directory, run)
            # Nothing to do: 0.1 ms. Over the threshold it builds the graph, which holds the GIL for seconds; nothing else of the job runs by now.
            shard.optimize()
            mine = older.get(run, Older())
            return Finished(edge.count(shard), mine.documents, mine.deletions)

    def missing(self, target: Target, source: str, run: str) -> tuple[int, int]:
        """How many documents of this source another run than `run` was the last to see; and how many documents of it there are."""
        with self._opened(target) as shard:
            return purge.missing(shard, source, run)

    def purge(self, target: Target, source: str, run: str) -> None:
        """Remove the documents that `missing` counts, with all their chunks."""
        with self._opened(target) as shard:
            purge.purge(shard, source, run)
            _remember_points(StoreDirectory(Path(target.name)), target.physical, shard)

    def purge_tombstones(self, target: Target, before: int) -> None:
        """Remove the tombstones of deletions before this moment, in seconds since 1970."""
        with self._opened(target) as shard:
            purge.purge_tombstones(shard, before)
            _remember_points(StoreDirectory(Path(target.name)), target.physical, shard)

    def wait_for_index(self, target: Target) -> float:
        """Nothing to wait for: `finish` builds the index itself, so everything is searchable when it returns."""
        return 0.0

    def abandon(self, target: Target, run: str) -> None:
        """Remove what the failed run has staged, unless it is pending already."""
        staging.drop_staging(StoreDirectory(Path(target.name)), run)

    def metadata(self, name: str) -> Mapping[str, Any]:
        """What the sink remembers in the store; empty where there is none."""
        directory = StoreDirectory(Path(name))
        physical = directory.current()
        return {} if physical is None else read_facts(directory, physical).metadata

    def search(self, name: str, vector: Sequence[float] | None, limit: int, *, sparse: SparseQuery | None = None) -> list[Hit]:
        """The nearest points, best first, after bringing in what is pending."""
        directory = StoreDirectory(Path(name))
        physical = directory.current()
        if physical is None:
            raise CollectionError(f"there is no embedded store at {name}; write to it first, or name the directory of one")
        facts = read_facts(directory, physical)
        check_question(name, vector, sparse, facts.dense, bool(facts.sparse_vector_name))
        if vector is not None and len(vector) not in (0, facts.dimension):
            raise CollectionError(
                f"{name} holds vectors of {facts.dimension} dimensions, but the one to search for has {len(vector)}; use the model that made the store"
            )
        with self._locked(directory, _TRY_LATER) as deadline, edge.opened(directory.shard(physical), deadline) as shard:
            _roll_forward(directory, physical, shard)
            return edge.nearest(shard, facts, vector, limit, sparse)

    def close(self) -> None:
        """Nothing to let go of."""

    @contextmanager
    def _opened(self, target: Target) -> Iterator[Any]:
        """The index of a run's target, after bringing in what is pending."""
        directory = StoreDirectory(Path(target.name))
        with self._locked(directory, _TRY_LATER) as deadline, edge.opened(directory.shard(target.physical), deadline) as shard:
            _roll_forward(directory, target.physical, shard)
            yield shard

    @contextmanager
    def _locked(self, directory: StoreDirectory, advice: str) -> Iterator[float]:
        with locked(directory, self._seconds, advice) as deadline:
            try:
                yield deadline
            except edge.ShardInUseError:
                raise busy(directory, "open in a program that is not this sink", self._seconds, advice) from None

    def _update(self, directory: StoreDirectory, physical: str, spec: CollectionSpec, deadline: float) -> StoreFacts:
        """Bring an existing store up to what the job needs; opens the index only when there is something to do."""
        facts = read_facts(directory, physical)
        if problems := facts_problems(directory, facts, spec):
            raise CollectionError(problems)
        wanted = new_indexes(facts, spec)
        if wanted or staging.manifests(directory):
            with edge.opened(directory.shard(physical), deadline) as shard:
                _roll_forward(directory, physical, shard)
                edge.create_indexes(shard, wanted)
            facts = read_facts(directory, physical)
        metadata = {**facts.metadata, **spec.metadata} if facts.points == 0 else dict(facts.metadata)
        if spec.metadata.get("chunked"):
            metadata["chunked"] = True
        updated = replace(facts, payload_indexes={**facts.payload_indexes, **wanted}, metadata=metadata)
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
    plan = list(_index_plan(new_indexes(facts, spec)))
    if waiting:
        plan.insert(0, f"bring in the rows of {waiting} earlier {'run' if waiting == 1 else 'runs'}")
    plan.insert(0, f"write to the existing embedded store {name}")
    problems = tuple(facts_problems(directory, facts, spec))
    points = None if waiting else facts.points
    return Target(
        name,
        physical,
        exists=True,
        dimension=facts.dimension,
        problems=problems,
        plan=() if problems else tuple(plan),
        points=points,
        remembered=facts.metadata,
    )


def _creation(name: str, spec: CollectionSpec) -> str:
    vectors = [f"vectors of {spec.dimension or 'unknown'} dimensions, {spec.distance}"] if spec.dense else []
    vectors += [f"sparse vector '{spec.sparse_vector_name}'"] if spec.sparse_vector_name else []
    return f"create the embedded store {name}: {'; '.join(vectors)}"


def _index_plan(indexes: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"create the payload index {field}:{kind}" for field, kind in indexes.items())


def _make_root(directory: StoreDirectory) -> None:
    """Make the directory, after looking once more that nobody else's things lie there."""
    if problems := place_problems(directory):
        raise CollectionError(problems)
    try:
        directory.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CollectionError(f"{directory.root} cannot be made: {error.strerror}; name another path") from error


def _create(directory: StoreDirectory, spec: CollectionSpec) -> str:
    """Make an empty store. CURRENT comes last: without it the store does not exist, and is made anew."""
    if not spec.create:
        raise CollectionError(missing_problem(directory))
    if spec.dense and spec.dimension is None:
        raise CollectionError(
            f"the embedded store {directory.root} cannot be made, because the length of its vectors is not known; give option 'dimension'"
        )
    facts = StoreFacts(
        spec.vector_name,
        spec.dimension if spec.dense else None,
        spec.distance,
        points=0,
        metadata=spec.metadata,
        sparse_vector_name=spec.sparse_vector_name,
    )
    shutil.rmtree(directory.version(FIRST_VERSION), ignore_errors=True)
    edge.create_shard(directory.shard(FIRST_VERSION), facts)
    write_facts(directory, FIRST_VERSION, facts)
    directory.pending.mkdir(exist_ok=True)
    directory.all_staging.mkdir(exist_ok=True)
    write_atomically(directory.current_file, f"{FIRST_VERSION}\n")
    return FIRST_VERSION


def _export(directory: StoreDirectory, physical: str, run: str, deadline: float) -> None:
    """Write down what is there, for the tasks of the run."""
    path, module = directory.state_file(run), edge.qdrant_edge()
    if read_facts(directory, physical).points == 0:
        state.export(module, None, path)
    else:
        with edge.opened(directory.shard(physical), deadline) as shard:
            state.export(module, shard, path)


def _roll_forward(directory: StoreDirectory, physical: str, shard: Any) -> dict[str, Older]:
    """Bring in every pending run, the earliest first: of each, how many of its points were older than what is there.

    Killed anywhere in it, the next one does it again.
    """
    older = {}
    for manifest in staging.manifests(directory):
        if manifest.version != physical:
            continue
        facts = read_facts(directory, physical)
        try:
            older[manifest.run] = ingest(shard, staging.staged_files(directory, manifest), facts, directory.decisions_file(manifest.run))
        except Exception as error:
            path = directory.manifest(manifest.run)
            raise PermanentStoreError(
                f"the staged rows of run {manifest.run} cannot be brought into {directory.root}: {shorten(str(error), 200)}; "
                f"put right what is wrong there, or remove {path} to give up those rows and write them again"
            ) from error
        _remember_points(directory, physical, shard)
        staging.end_run(directory, manifest.run)
    return older


def _remember_points(directory: StoreDirectory, physical: str, shard: Any) -> None:
    write_facts(directory, physical, replace(read_facts(directory, physical), points=edge.count(shard)))
