"""Count what happened: one `PartitionReport` for each task, added up to the job's `WriteReport`.

Every row that was read is in exactly one of `ROW_COUNTS`. Points are counted separately, because one row can become
several points.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

ROW_COUNTS = ("written", "unchanged", "older", "superseded", "deleted", "ignored", "rejected")
"""Possible outcomes of a row: upserted · already stored unchanged · a newer version is stored · another row of the same
key came later in the same window · deleted · a preimage with nothing to do · could not become a point."""


@dataclass
class Counts:
    """Counts that add up over windows, tasks and jobs. A task reads and tokenises in one thread, encodes in its own,
    and sends to the store in a third, so the seconds of these steps overlap. `task_seconds` is the wall time of all
    tasks; `waiting_seconds` is the part of it that was spent waiting for rows."""

    rows: int = 0
    """rows read"""
    written: int = 0
    unchanged: int = 0
    older: int = 0
    superseded: int = 0
    deleted: int = 0
    ignored: int = 0
    rejected: int = 0
    points: int = 0
    """points sent and acknowledged"""
    tokens: int = 0
    """tokens the model has read"""
    truncated: int = 0
    """rows whose text was longer than the model reads"""
    tokens_cut: int = 0
    """tokens of truncated rows that the model has not read"""
    retries: int = 0
    """requests that were sent again"""
    halvings: int = 0
    """number of times that memory ran out in the model and the token budget was halved"""
    task_seconds: float = 0.0
    waiting_seconds: float = 0.0
    reading_seconds: float = 0.0
    tokenising_seconds: float = 0.0
    encoding_seconds: float = 0.0
    store_seconds: float = 0.0
    """seconds spent sending to the store and waiting for it"""

    def add(self, other: Counts) -> None:
        """Add every count of `other` to this object."""
        for f in fields(Counts):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))

    def missing_rows(self) -> int:
        """Return the number of rows that were read but are in none of the counts; anything but 0 is a defect."""
        counted: int = sum(getattr(self, name) for name in ROW_COUNTS)
        return self.rows - counted


@dataclass
class PartitionReport(Counts):
    """Report of one task."""

    partition: int = 0
    receipts: tuple[str, ...] = ()
    """names of staged files that the driver must bring into the store; empty for a server"""
    rejects: str = ""
    """name of the staged file with the rejected rows; empty without rejected rows"""
    device: str = ""
    dtype: str = ""
    token_budget: int = 0
    """tokens of one forward pass when the task ended; 0 where the encoder has no such bound"""
    first_vector_seconds: float = 0.0
    """from the task's start to its first window of vectors, loading the model included; 0 where nothing was encoded"""
    peak_bytes: int = 0
    """peak resident memory of the task's process, in bytes; 0 where the system does not tell"""
    unindexed: dict[str, int] = field(default_factory=dict)
    """payload index, `path:type` → number of points written with a value that the index does not take; only indexes
    with at least one such point"""

    def add_unindexed(self, more: Mapping[str, int]) -> None:
        _add(self.unindexed, more)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> PartitionReport:
        values = json.loads(text)
        return cls(**{**values, "receipts": tuple(values["receipts"])})


@dataclass
class WriteReport(Counts):
    """Report of a job. `str(report)` is one line for people, `to_json()` the report for machines."""

    collection: str = ""
    run: str = ""
    """id of this run"""
    partitions: int = 0
    seconds: float = 0.0
    """wall time from the plan to the end"""
    device: str = ""
    """devices on which the texts were encoded, e.g. `cpu` or `cuda:0, cuda:1`"""
    dtype: str = ""
    token_budget: int = 0
    """smallest value of all tasks"""
    first_vector_seconds: float = 0.0
    """greatest value of all tasks"""
    peak_bytes: int = 0
    error: str | None = None
    """reason why the job failed; None after success"""
    stored_points: int | None = None
    """points in the collection after the job; None where the store could not tell"""
    missing_deleted: int = 0
    """documents deleted because the table no longer had them (option `delete_missing`)"""
    index_seconds: float = 0.0
    """seconds that the job waited for the index at its end (option `wait_for_index`)"""
    unindexed: dict[str, int] = field(default_factory=dict)
    """payload index, `path:type` → number of points written with a value that the index does not take"""
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, partitions: Iterable[PartitionReport], *, collection: str, run: str, seconds: float) -> WriteReport:
        """Add up the reports of the tasks."""
        report = cls(collection=collection, run=run, seconds=seconds)
        devices, dtypes = set(), set()
        for partition in partitions:
            report.add(partition)
            report.partitions += 1
            _add(report.unindexed, partition.unindexed)
            report.peak_bytes = max(report.peak_bytes, partition.peak_bytes)
            report.first_vector_seconds = max(report.first_vector_seconds, partition.first_vector_seconds)
            report.token_budget = min(filter(None, (report.token_budget, partition.token_budget)), default=0)
            devices.add(partition.device)
            dtypes.add(partition.dtype)
        report.device = ", ".join(sorted(devices - {""}))
        report.dtype = ", ".join(sorted(dtypes - {""}))
        return report

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        parts = [f"{rate(self.rows, self.seconds)} rows/s"]
        if self.tokens:
            parts.append(f"{rate(self.tokens, self.seconds)} tokens/s")
        parts.append(f"{self.rejected:,} rejected")
        parts += [
            f"{getattr(self, name):,} {name}"
            for name in ("unchanged", "older", "superseded", "deleted", "ignored")
            if getattr(self, name)
        ]
        if self.missing_deleted:
            parts.append(f"{self.missing_deleted:,} deleted that the table no longer has")
        parts.append(f"{self.truncated:,} truncated" + (f" ({self.tokens_cut:,} tokens)" if self.truncated else ""))
        parts.append(f"{self.retries:,} retries")
        if self.halvings:
            parts.append(f"memory ran out {self.halvings:,} times, token budget now {self.token_budget:,}")
        if self.index_seconds:
            parts.append(f"waited {duration(self.index_seconds)} for the index")
        if self.device:
            parts.append(f"{self.dtype} on {self.device}")
        if self.error is not None:
            done = (
                f", with {counted(self.points, 'point')} of {counted(self.rows, 'row')} written by tasks "
                "that ended well"
                if self.rows
                else ""
            )
            return f"failed after {duration(self.seconds)} on {self.collection}{done}: {self.error}"
        return (
            f"wrote {counted(self.points, 'point')} from {counted(self.rows, 'row')} to {self.collection} in "
            f"{duration(self.seconds)}: {', '.join(parts)}"
        )


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def say(*lines: str) -> None:
    """Print lines to stderr, where the user sees them. A data source has no other way to tell the user anything at the
    end of a successful job; neither has a stream or a task."""
    for line in lines:
        print(f"vectorsink: {line}", file=sys.stderr, flush=True)


def counted(number: int, what: str) -> str:
    """Return a number with its noun: `1 row`, `63,666 rows`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def duration(seconds: float) -> str:
    """Return a duration for people: `0.4 s`, `12 s`, `5 min 2 s`, `3 h 4 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def rate(count: int, seconds: float) -> str:
    """Return a rate per second for people: `211`, `19.2k`, `1.3M`."""
    rate = count / seconds if seconds > 0 else 0.0
    if rate >= 999_950:
        return f"{rate / 1e6:.1f}M"
    if rate >= 9_999.5:
        return f"{rate / 1e3:.1f}k"
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
