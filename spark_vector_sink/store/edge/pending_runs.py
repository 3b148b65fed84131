"""Ingest the pending runs of an embedded store: done by the next process that opens it, the run's own job, another job,
or a search."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from typing import Any

from spark_vector_sink.errors import PermanentStoreError, said, shorten
from spark_vector_sink.store.edge import failed_runs, staging
from spark_vector_sink.store.edge import index as edge
from spark_vector_sink.store.edge.ingest import Older, ingest
from spark_vector_sink.store.edge.layout import StoreDirectory, read_facts, write_atomically, write_facts
from spark_vector_sink.store.edge.staged_file import UnfitError
from spark_vector_sink.store.edge.staging import Manifest

log = logging.getLogger("spark_vector_sink")


def settle(directory: StoreDirectory, physical: str, deadline: float) -> None:
    """Ingest pending runs, where there are any."""
    if staging.manifests(directory):
        with edge.opened(directory.shard(physical), deadline) as shard:
            roll_forward(directory, physical, shard)


def roll_forward(directory: StoreDirectory, physical: str, shard: Any, mine: str = "") -> Older | None:
    """Ingest every pending run, the earliest first. Returns the counts of points of the run `mine` that were older than
    the stored ones; None where this run was not pending. For other runs the same counts are written to their folder.

    A run that can never be ingested is set aside: this is logged, and the next run follows; for `mine`,
    PermanentStoreError is raised after all of them. An error that may be gone on a retry is raised at once, and the run
    stays pending. Where the process is killed at any point, the next process does it again.
    """
    ours = None
    for manifest in staging.manifests(directory):
        if not manifest.fault and manifest.version != physical:
            if (
                manifest.version != directory.current()
            ):  # an append that was killed just when its version was replaced: as if it had ended before
                log.warning(
                    f"the rows of run {manifest.run} are dropped: they were for {manifest.version} of "
                    f"{directory.root}, which has been replaced"
                )
                staging.end_run(directory, manifest.run)
            continue
        try:
            older = _bring_in(directory, physical, shard, manifest)
        except UnfitError as error:
            shard.flush()  # otherwise Qdrant Edge would retry a refused operation with every opening
            line = failed_runs.set_aside(directory, manifest.run, str(error))
            if manifest.run != mine:
                log.warning(line)
        else:
            if manifest.run == mine:
                ours = older
            elif older != Older():
                write_atomically(directory.told_file(manifest.run), json.dumps(asdict(older)))
            staging.end_run(directory, manifest.run)
        remember_points(directory, physical, shard)
    if mine:
        failed_runs.check(directory, mine)
    return ours


def _bring_in(directory: StoreDirectory, physical: str, shard: Any, manifest: Manifest) -> Older:
    if manifest.fault:
        raise UnfitError(manifest.fault)
    facts, files = read_facts(directory, physical), staging.staged_files(directory, manifest)
    try:
        return ingest(shard, files, facts, directory.decisions_file(manifest.run))
    except UnfitError:
        raise
    except Exception as error:
        raise PermanentStoreError(
            f"the rows of run {manifest.run} cannot be brought into {directory.root} now: "
            f"{shorten(said(error), 200)}; they are safe there: "
            "put right what is wrong, and open the store again, with a job or a search"
        ) from error


def told(directory: StoreDirectory, run: str) -> Older:
    """Read the counts that another process, which has ingested the run, has written."""
    try:
        return Older(**json.loads(directory.told_file(run).read_text(encoding="utf-8")))
    except FileNotFoundError:  # no point was older, or no point was staged
        return Older()


def remember_points(directory: StoreDirectory, physical: str, shard: Any) -> None:
    write_facts(directory, physical, replace(read_facts(directory, physical), points=edge.count(shard)))
