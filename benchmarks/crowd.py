"""Many tasks that write to one server, in a model: does the server stay busy with useful work, and does every task get
its share?

No task knows of another, so all that keeps a thousand of them from drowning the server are the rules of each one: how
many requests it has on their way (`Limit`), and how long a failed one waits (`retry`). See `crowd_model` for what is
modelled and what is real.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.common import Line, Section, Settings, say
from benchmarks.crowd_model import DEADLINE, GIVE_UP, POINTS, Crowd, Outcome, Server

SECONDS = 1_800.0
SERVERS: dict[str, tuple[float, float | None]] = {
    "20,000 points/s": (20_000, None),
    "5,600 points/s": (5_600, None),
    "20,000 points/s, limited to 500,000 a minute": (20_000, 500_000),
}
"""Points/s and points a minute: two cores without an index; what Qdrant tells of a node of 14 cores that builds one;
strict mode's write_rate_limit."""
USEFUL, FAIR = 0.9, 0.5
"""The least share of what the server could do that is useful, and the least of the mean that the slowest task may
get."""


def run(settings: Settings) -> Section:
    found: dict[str, list[Outcome]] = {}
    for name, (rate, per_minute) in SERVERS.items():
        found[name] = [Crowd(tasks, Server(rate, per_minute), SECONDS).run() for tasks in settings.crowd_tasks]
        say(*(f"  {name}: {each.tasks:,} tasks: {each.useful:.1%} useful" for each in found[name]))
    return section(found)


def section(found: Mapping[str, Sequence[Outcome]]) -> Section:
    """The worst of each server over all numbers of tasks, and below it every run."""
    lines: list[Line] = []
    for name, outcomes in found.items():
        useful, share = min(each.useful for each in outcomes), min(each.shares[0] for each in outcomes)
        failed = sum(each.given_up for each in outcomes)
        lines.append(Line(f"{name}: useful work, at least", f"≥ {USEFUL:.0%}", f"{useful:.1%}", useful >= USEFUL))
        lines.append(
            Line(f"{name}: the slowest task over the mean, at least", f"≥ {FAIR:g}", f"{share:.2f}", share >= FAIR)
        )
        lines.append(Line(f"{name}: requests given up", "none", f"{failed:,}", failed == 0))
    table = [
        "| server | tasks | useful work | slowest task | fastest task | requests applied in time | deadlines missed | "
        "refused | longest way of a request |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, outcomes in found.items():
        table += [
            f"| {name} | {each.tasks:,} | {each.useful:.1%} | {each.shares[0]:.2f} | {each.shares[-1]:.2f} | "
            f"{each.requests:,} | {each.missed:,} "
            f"| {each.refused:,} | {each.slowest:,.0f} s |"
            for each in outcomes
        ]
    note = (
        f"A model of {SECONDS / 60:.0f} minutes, with a fixed seed: no machine has a part in it. Tasks always have a "
        f"request of {POINTS[0]} to {POINTS[1]} points "
        f"ready, wait {DEADLINE:.0f} s for each, and give one up after {GIVE_UP:.0f} s. The server applies one "
        "request after the other, also those that nobody "
        "waits for any more; a task's share is over the mean of all."
    )
    return Section("A crowd of tasks at one server", lines, ["\n".join(table), note])
