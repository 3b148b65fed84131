"""Decide about the versions of a collection: the state of each, which versions may be dropped, and which version a
rollback uses. This module sends no requests to a store.

An overwrite fills a version of its own beside the version that serves. The name is moved last; a version that a failed
job has left is dropped by a later job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from spark_vector_sink.errors import CollectionError

LOADING = "loading"
"""state: a job fills the version, or died while filling it; its heartbeat tells"""
CHECKED = "checked"
"""state: complete and verified, and the name is about to move to it"""
READY = "ready"
"""state: the version serves, or has served"""
ABANDONED = "abandoned"
"""state: the job of the version has failed"""
ROLLED_BACK = "rolled back"
"""state: the version has served, and a rollback has moved the name away from it"""
FOREIGN = "foreign"
"""state: a collection with the name of a version that this sink has not created; it is never dropped"""

BEAT_SECONDS = 60.0
"""Seconds between two heartbeats of a job that fills a version."""

STALE_SECONDS = 3600.0
"""Seconds without a heartbeat after which the job counts as dead."""


@dataclass(frozen=True)
class Version:
    """Version of a collection. `beat`: its last heartbeat, in seconds since 1970. `replaced`: the collection or version
    that the name stood for before this version."""

    name: str
    number: int
    state: str = READY
    beat: float = 0.0
    replaced: str | None = None

    @property
    def is_whole(self) -> bool:
        """Return whether the version holds all points of a job, and has not been abandoned or rolled back."""
        return self.state in (READY, CHECKED)

    def is_left_over(self, now: float) -> bool:
        """Return whether no job will finish this version."""
        return self.state == ABANDONED or (self.state in (LOADING, CHECKED) and now - self.beat > STALE_SECONDS)


def next_number(versions: Iterable[Version]) -> int:
    return max((version.number for version in versions), default=0) + 1


def left_overs(versions: Iterable[Version], serving: str | None, now: float) -> list[str]:
    """Return the versions of jobs that failed or died. Where no version serves, a version that was complete when its
    job died is kept: `rollback` can let it serve."""
    return [
        v.name
        for v in versions
        if v.name != serving and v.is_left_over(now) and (serving is not None or v.state != CHECKED)
    ]


def latest_whole(versions: Iterable[Version]) -> str | None:
    """Return the newest version that can serve where the name is gone: its job died after dropping a plain collection,
    or between creating a collection and its alias. None where there is no whole version."""
    whole = [version for version in versions if version.is_whole]
    return max(whole, key=lambda version: version.number).name if whole else None


def outlived(versions: Sequence[Version], serving: str, keep: int, now: float) -> list[str]:
    """Return the versions that may be dropped now that `serving` serves: all but `serving`, the `keep` versions that
    served last, and versions that other jobs are filling."""
    kept = set([version.name for version in _earlier(versions, serving)][:keep])
    gone = [v.name for v in versions if v.name != serving and v.name not in kept and v.state in (READY, ROLLED_BACK)]
    return sorted({*gone, *left_overs(versions, serving, now)})


def earlier(versions: Sequence[Version], serving: str) -> str | None:
    """Return the target of a rollback: the version that served before `serving`; None where there is none."""
    return next((version.name for version in _earlier(versions, serving)), None)


def _earlier(versions: Sequence[Version], serving: str) -> Iterator[Version]:
    """Yield the versions that served before, the last first: follow `replaced` as long as it is known, then go by
    number."""
    by_name = {version.name: version for version in versions}
    seen = {serving}
    at = by_name.get(serving)
    number = at.number if at is not None else next_number(versions)
    while at is not None:
        at = by_name.get(at.replaced or "")
        if at is None or at.name in seen:
            break
        seen.add(at.name)
        number = min(number, at.number)
        if at.state in (
            READY,
            LOADING,
            CHECKED,
            FOREIGN,
        ):  # it has served, whatever state was noted by a job that died between two steps
            yield at
    for version in sorted(versions, key=lambda v: v.number, reverse=True):
        if version.name not in seen and version.number < number and version.state == READY:
            yield version


def overtaken(name: str, standing: str | None, planned: str | None) -> CollectionError:
    """Return the error of an overwrite that comes too late: its own version must not serve."""
    then = (
        f"not for {planned} as it did when this one began"
        if planned
        else "and there was nothing of that name when this one began"
    )
    now = (
        f"it stands for {standing} now, {then}"
        if standing
        else f"there is nothing of that name now, and it stood for {planned} when this one began"
    )
    return CollectionError(
        f"another job has replaced '{name}' meanwhile ({now}); its version serves, and this job's is dropped: run the "
        "job again if its rows are the newer ones"
    )


def moved_already(name: str) -> str:
    """Return the message of an overwrite that failed after the name had moved."""
    return f"'{name}' stands for the new version already"


def dropped_already(name: str) -> str:
    """Return the message of an overwrite that failed between dropping a plain collection and creating the alias."""
    return (
        f"the plain collection '{name}' is dropped already, and its new version is whole: rollback('{name}') lets "
        "that one serve"
    )


def unknown(name: str) -> str:
    """Return the message of an overwrite that cannot find out whether it failed between dropping a plain collection and
    creating the alias."""
    return (
        f"whether '{name}' is as it was cannot be seen now; where it is gone, rollback('{name}') lets its new "
        "version serve"
    )


def replaced_meanwhile(name: str, standing: str, physical: str) -> CollectionError:
    """Return the error of an append that wrote to a version which no longer serves."""
    return CollectionError(
        f"'{name}' was replaced while this job wrote to the version before (it stands for {standing} now, not for "
        f"{physical}); run the job again"
    )


def nothing_earlier(name: str, serving: str | None) -> CollectionError:
    """Return the error of a rollback where there is no earlier version."""
    if serving is None:
        return CollectionError(f"there is no '{name}', and no version of it that is whole")
    return CollectionError(
        f"'{name}' stands for {serving}, and there is no earlier version to go back to; option 'keep_versions' of an "
        "overwrite says how many stay"
    )
