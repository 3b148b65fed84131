"""The versions of a collection: what each is worth, which may go, and which one a rollback takes. Nothing here asks a
store.

An overwrite fills a version of its own beside the one that serves. The name is moved last; whatever a job that failed
has left is dropped by a later one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from spark_vector_sink.errors import CollectionError

LOADING = "loading"
"""a job fills it, or has died over it: its heartbeat tells"""
CHECKED = "checked"
"""complete and verified, and the name is about to move to it"""
READY = "ready"
"""it serves, or has served"""
ABANDONED = "abandoned"
"""its job has failed"""
ROLLED_BACK = "rolled back"
"""it has served, and a rollback went away from it"""
FOREIGN = "foreign"
"""a collection of such a name that this sink has not made: it is never dropped"""

BEAT_SECONDS = 60.0
"""Between two signs of life of a job that fills a version."""

STALE_SECONDS = 3600.0
"""After so long without one, the job is dead."""


@dataclass(frozen=True)
class Version:
    """One version of a collection. `beat`: its last sign of life, in seconds since 1970. `replaced`: what the name
    stood for before it."""

    name: str
    number: int
    state: str = READY
    beat: float = 0.0
    replaced: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether everything of some job is in it, and nothing speaks against it."""
        return self.state in (READY, CHECKED)

    def is_left_over(self, now: float) -> bool:
        """Whether nobody will finish it."""
        return self.state == ABANDONED or (self.state in (LOADING, CHECKED) and now - self.beat > STALE_SECONDS)


def next_number(versions: Iterable[Version]) -> int:
    return max((version.number for version in versions), default=0) + 1


def left_overs(versions: Iterable[Version], serving: str | None, now: float) -> list[str]:
    """Versions of jobs that failed or died. Where nothing serves, one that was complete when its job died is kept:
    `rollback` lets it serve."""
    return [
        v.name
        for v in versions
        if v.name != serving and v.is_left_over(now) and (serving is not None or v.state != CHECKED)
    ]


def latest_whole(versions: Iterable[Version]) -> str | None:
    """What can serve where the name is gone: its job died after dropping a plain collection, or between a collection
    and its alias."""
    whole = [version for version in versions if version.is_whole]
    return max(whole, key=lambda version: version.number).name if whole else None


def outlived(versions: Sequence[Version], serving: str, keep: int, now: float) -> list[str]:
    """What may go now that `serving` serves: all but the `keep` versions that served last, and those that others are
    filling."""
    kept = set([version.name for version in _earlier(versions, serving)][:keep])
    gone = [v.name for v in versions if v.name != serving and v.name not in kept and v.state in (READY, ROLLED_BACK)]
    return sorted({*gone, *left_overs(versions, serving, now)})


def earlier(versions: Sequence[Version], serving: str) -> str | None:
    """What a rollback goes to: the version that served before `serving`."""
    return next((version.name for version in _earlier(versions, serving)), None)


def _earlier(versions: Sequence[Version], serving: str) -> Iterator[Version]:
    """The versions that served before, the last first: what each replaced, as long as that is told, then by number."""
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
        ):  # it has served, whatever a job that died between two steps has noted
            yield at
    for version in sorted(versions, key=lambda v: v.number, reverse=True):
        if version.name not in seen and version.number < number and version.state == READY:
            yield version


def overtaken(name: str, standing: str | None, planned: str | None) -> CollectionError:
    """The error of an overwrite that comes too late: its own version must not serve."""
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
    """What an overwrite says that failed behind its last step but one."""
    return f"'{name}' stands for the new version already"


def dropped_already(name: str) -> str:
    """What an overwrite says that failed in the one gap there is."""
    return (
        f"the plain collection '{name}' is dropped already, and its new version is whole: rollback('{name}') lets "
        "that one serve"
    )


def unknown(name: str) -> str:
    """What an overwrite says that cannot see whether it failed in that gap."""
    return (
        f"whether '{name}' is as it was cannot be seen now; where it is gone, rollback('{name}') lets its new "
        "version serve"
    )


def replaced_meanwhile(name: str, standing: str, physical: str) -> CollectionError:
    """The error of an append that wrote to a version which no longer serves."""
    return CollectionError(
        f"'{name}' was replaced while this job wrote to the version before (it stands for {standing} now, not for "
        f"{physical}); run the job again"
    )


def nothing_earlier(name: str, serving: str | None) -> CollectionError:
    """The error of a rollback that has nowhere to go."""
    if serving is None:
        return CollectionError(f"there is no '{name}', and no version of it that is whole")
    return CollectionError(
        f"'{name}' stands for {serving}, and there is no earlier version to go back to; option 'keep_versions' of an "
        "overwrite says how many stay"
    )
