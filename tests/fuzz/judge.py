"""Runs a case, and compares what came of it with what the oracle says."""

from __future__ import annotations

import json
import struct
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import BadRowError, RefusedError, RejectsError, VectorSinkError
from spark_vector_sink.report import ROW_COUNTS, WriteReport
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.fuzz import values
from tests.fuzz.arenas import Arena, Found, Points, Stage
from tests.fuzz.case import Case
from tests.fuzz.options import SECRET
from tests.fuzz.oracle import REJECT_COLUMNS, Expected, Row, UnfitError, expect, plain
from tests.fuzz.types import DAY, TICKS

CLOSE = 1e-5
"""How far a number of a vector may be off where somebody has scaled it to length 1."""

LONGEST_MESSAGE = 20_000
"""A message may list many columns, and a column's name may be long."""


@dataclass
class Outcome:
    """What came of a case. end: `stored`, or the class of the error that refused it. surprises: what must not be."""

    end: str
    rows: int
    stored: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """rejected rows, by the kind of their reason"""
    surprises: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """every message that somebody may have seen"""


def judge(case: Case, arena: Arena) -> Outcome:
    """Run a case in a place of its own."""
    with arena.stage(case) as stage:
        options = {**stage.options, **{name: stage.fill(value) for name, value in case.options.items()}}
        expected = expect(case, {name: stage.fill(value) for name, value in case.options.items()})
        outcome = Outcome("stored", case.rows)
        reports: list[WriteReport] = []
        partitions = case.partitions()
        try:
            for _ in range(case.runs):
                reports.append(_write(case, options, partitions))
        except VectorSinkError as error:
            outcome.end = type(error).__name__
            outcome.lines.append(str(error))
            outcome.surprises += _refusal(case, expected, error, len(reports))
        except BaseException as error:  # a panic of the embedded store's is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            outcome.end = type(error).__name__
            outcome.surprises.append(_said(error))
        try:
            points = stage.read()
            if outcome.end == "stored":
                outcome.stored = reports[0].written
                outcome.surprises += _success(case, expected, reports, points, outcome, stage)
            else:
                outcome.surprises += _failure(case, expected, points, reports)
        except Exception as error:
            outcome.surprises.append(f"what was stored, rejected or reported cannot be read: {_said(error)}")
        outcome.surprises += _lines(outcome.lines)
        return outcome


def _said(error: BaseException) -> str:
    """Any error in a line: what, where, and its text."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {' '.join(str(error).split())[:300]}"


def _write(case: Case, options: Mapping[str, Any], partitions: list[list[pa.RecordBatch]]) -> WriteReport:
    """The calls that both of Spark's doors make."""
    plan = planning.plan(options, case.schema)
    for shown in (str(plan), repr(plan)):
        assert SECRET not in shown, f"the plan shows a key: {shown}"
    plan = committer.prepare(plan)
    try:
        reports = [
            partition_writer.write_partition(plan, batches, TaskContext(partition=task))
            for task, batches in enumerate(partitions)
        ]
        return committer.commit(plan, reports, len(partitions))
    except VectorSinkError as error:
        committer.abort(plan, [], len(partitions), str(error))
        raise


# --- refusals ---------------------------------------------------------------------------------------------------------


def _refusal(case: Case, expected: Expected, error: VectorSinkError, done: int) -> Iterator[str]:
    """What is wrong with an error that the job has ended with."""
    said = str(error)
    if done:
        yield f"the same job ran once and was refused the second time: {said}"
    if isinstance(error, RefusedError):
        missing = [names for names in expected.problems if not any(_one_line(name) in said for name in names)]
        if missing:
            yield f"the refusal does not name {missing[0]!r}: {said}"
        if not expected.problems and not any(name and _one_line(name) in said for name in expected.excuses):
            yield f"refused, though nothing is wrong: {said}"
    elif expected.problems:
        yield (
            f"not refused before the first row, though {expected.problems[0]!r} is wrong, but "
            f"{type(error).__name__}: {said}"
        )
    elif isinstance(error, BadRowError):
        yield from _bad_row(case, expected, error)
    elif isinstance(error, RejectsError):
        bad, (_, either) = len(expected.bad), expected.kept()
        most = expected.wishes.most_rejects(case.rows)
        if most is None or bad <= most or not expected.wishes.rejects:
            yield (
                f"{bad} rows can be rejected ({len(either)} of them superseded), and max_rejects allows {most}: {said}"
            )
        elif "max_rejects" not in said:
            yield f"the refusal does not name 'max_rejects': {said}"
    else:
        yield f"{type(error).__name__}, though nothing is wrong: {said}"


def _bad_row(case: Case, expected: Expected, error: BadRowError) -> Iterator[str]:
    said = str(error)
    if expected.wishes.rejects:
        yield f"a bad row ends the job, though there is a rejects_path: {said}"
    fitting = [row for row in expected.bad if _is_said(row, error.key, error.column)]
    if not fitting:
        yield (
            f"no row is bad in this way (key {error.key!r}, column {error.column!r}); there are "
            f"{[(row.key, row.faults) for row in expected.bad][:5]}: {said}"
        )
    if _one_line(error.column) not in said:
        yield f"the column {error.column!r} is not in the message: {said}"
    if error.key is not None and repr(" ".join(error.key.split()))[1:30] not in said:
        yield f"the key {error.key!r} is not in the message: {said}"


def _is_said(row: Row, key: str | None, column: str) -> bool:
    """Whether a row is bad, and may be spoken of in this way: a key with a fault in it, or one that is the bad text
    itself, cannot be shown."""
    return (
        column in {name for _, name in row.faults}
        and key in (row.key, None)
        and (key is not None or _may_hide_key(row))
    )


def _may_hide_key(row: Row) -> bool:
    return row.key is None or any(kind in ("null key", "bad bytes", "blank text") for kind, _ in row.faults)


def _failure(case: Case, expected: Expected, points: Points, reports: list[WriteReport]) -> Iterator[str]:
    """A failed job has written nothing wrong, and an embedded store shows nothing of it."""
    if reports:
        return
    if case.store == "embedded" and points:
        yield f"{len(points)} points of a failed job are visible in an embedded store"
    if expected.problems and points:
        yield f"{len(points)} points of a refused job are stored"
        return
    possible: dict[int | str, list[Row]] = {}
    for row in expected.rows:
        if not row.faults and row.id is not None:
            possible.setdefault(row.id, []).append(row)
    for point, found in points.items():
        if point not in possible:
            yield f"the failed job left a point that no row makes: {point!r}"
        elif all(list(_differences(row, found, expected)) for row in possible[point]):
            yield (
                f"the failed job left a point unlike its row: {point!r}: "
                f"{next(_differences(possible[point][-1], found, expected))}"
            )


def _lines(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if len(line.splitlines()) > 1:
            yield f"a message of several lines: {line!r}"
        if SECRET in line:
            yield f"a message shows a key: {line}"
        if len(line) > LONGEST_MESSAGE:
            yield f"a message of {len(line):,} characters begins with {line[:200]}"
        if not line.strip():
            yield "a message without words"


def _one_line(text: str) -> str:
    """As a message shows a name, or its beginning."""
    line = " ".join(text.splitlines())
    return line if len(line) <= 70 else line[:70]


# --- success ----------------------------------------------------------------------------------------------------------


def _success(
    case: Case, expected: Expected, reports: list[WriteReport], points: Points, outcome: Outcome, stage: Stage
) -> Iterator[str]:
    if expected.problems:
        yield f"not refused, though {expected.problems[0]!r} is wrong"
        return
    written, either = expected.kept()
    must = {row.number for row in expected.bad} - either
    if must and not expected.wishes.rejects:
        row = expected.rows[min(must)]
        yield f"the job ended well, though row {row.number} is bad: {row.faults}"
        return
    yield from compare(expected, points)
    for report in reports:
        outcome.lines += [str(report), *report.warnings]
        yield from _counts(case, report, len(written), len(must), len(expected.bad), len(points))
        if SECRET in report.to_json():
            yield "the report shows a key"
        json.loads(report.to_json())
    if "report_path" in expected.wishes.given and not any("report" in warning for warning in reports[-1].warnings):
        path = expected.wishes.given["report_path"].removeprefix("file://")
        if not Path(path).is_file() or json.loads(Path(path).read_text(encoding="utf-8"))["rows"] != case.rows:
            yield f"the report is not in {path}"
    if expected.wishes.rejects:
        yield from _rejects(case, expected, must, either, outcome, stage, len(reports))


def compare(expected: Expected, points: Points) -> Iterator[str]:
    """What is not as it must be in a store that holds the points of one job and nothing else."""
    wanted = expected.points()
    lost, extra = wanted.keys() - points.keys(), points.keys() - wanted.keys()
    if lost:
        yield f"{len(lost)} of {len(wanted)} points are not there, such as {sorted(lost, key=str)[0]!r}"
    if extra:
        yield f"{len(extra)} points are there that no row makes, such as {sorted(extra, key=str)[0]!r}"
    wrong = 0
    for point in wanted.keys() & points.keys():
        found = [next(_differences(row, points[point], expected), None) for row in wanted[point]]
        if None not in found:
            wrong += 1
            if wrong <= 3:
                yield f"point {point!r}: {found[-1]}"
    if wrong > 3:
        yield f"{wrong} points differ in all"


def _differences(row: Row, found: Found, expected: Expected) -> Iterator[str]:
    for name in row.payload.keys() | found.payload.keys():
        if name not in found.payload:
            yield f"payload {name!r} is missing; it must be {_short(row.payload[name])}"
        elif name not in row.payload:
            yield f"payload {name!r} must not be there; it is {_short(found.payload[name])}"
        elif not same(row.payload[name], found.payload[name], ulps=expected.ulps):
            yield f"payload {name!r} is {_short(found.payload[name])}, it must be {_short(row.payload[name])}"
    name = expected.wishes.vector_name
    if set(found.vectors) != {name}:
        yield f"the vectors are {sorted(found.vectors)}, they must be {[name]}"
        return
    assert row.vector is not None
    if not _same_vector(row.vector, found.vectors[name], expected):
        yield f"the vector is {found.vectors[name].tolist()}, it must be {row.vector.tolist()}"


def same(wanted: Any, found: Any, ulps: int = 0) -> bool:
    """Whether two plain values are the same, in their types and to the last bit; ulps: how far off a float may be, in
    units of its last bit."""
    if type(wanted) is not type(found):
        return False
    if isinstance(wanted, float):
        bits = [int.from_bytes(struct.pack("<d", number), "little", signed=True) for number in (wanted, found)]
        return abs(bits[0] - bits[1]) <= ulps
    if isinstance(wanted, list):
        return len(wanted) == len(found) and all(same(*pair, ulps) for pair in zip(wanted, found, strict=True))
    if isinstance(wanted, dict):
        return wanted.keys() == found.keys() and all(same(wanted[key], found[key], ulps) for key in wanted)
    return bool(wanted == found)


def _same_vector(wanted: npt.NDArray[np.float32], found: npt.NDArray[np.float32], expected: Expected) -> bool:
    if wanted.shape != found.shape:
        return False
    if expected.wishes.distance == "cosine":  # a server scales them to length 1
        if expected.ulps and abs(np.linalg.norm(found) - 1) > CLOSE:
            return False
        wanted, found = _scaled(wanted), _scaled(found)
    elif not expected.wishes.normalize:
        return wanted.tobytes() == found.tobytes()
    return bool(np.abs(wanted - found).max() <= CLOSE)


def _scaled(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    wide = vector.astype(np.float64)
    length = np.sqrt(np.square(wide).sum())
    return (wide / length if length > 0 else wide).astype(np.float32)


def _counts(case: Case, report: WriteReport, written: int, must: int, may: int, points: int) -> Iterator[str]:
    counts = {name: getattr(report, name) for name in ROW_COUNTS}
    if report.rows != case.rows or sum(counts.values()) != case.rows:
        yield f"{case.rows} rows were there, the report says {report.rows} and counts {counts}"
    if counts["written"] != written or report.points != written or not must <= counts["rejected"] <= may:
        yield (
            f"{written} rows must be written and {must} to {may} rejected, the report counts {counts} and "
            f"{report.points} points"
        )
    if report.stored_points != points:
        yield f"the report says {report.stored_points} points, the store has {points}"
    if report.partitions != len(case.cuts()):
        yield f"there were {len(case.cuts())} tasks, the report says {report.partitions}"


# --- rejects ----------------------------------------------------------------------------------------------------------


def _rejects(
    case: Case, expected: Expected, must: set[int], either: set[int], outcome: Outcome, stage: Stage, runs: int
) -> Iterator[str]:
    """The dataset at rejects_path: the rows that are bad, as they came, each with its key and reason."""
    folder = Path(expected.wishes.given["rejects_path"].removeprefix("file://"))
    files = sorted(folder.glob("*.parquet"))
    others = [path.name for path in folder.iterdir() if path not in files] if folder.is_dir() else []
    if others:
        yield f"beside the rejects lies {others}"
    seen: Counter[int] = Counter()
    for path in files:
        table = pq.read_table(path)
        read = {
            name: [raw for chunk in table.column(place).chunks for raw in values.raws(chunk)]
            for place, name in enumerate(table.column_names)
        }
        for place in range(len(table)):
            key, kind, message = (
                None if (raw := read[name][place]) is None else raw.decode() for name in REJECT_COLUMNS
            )
            outcome.lines.append(str(message))
            outcome.rejected[str(kind)] += 1
            row = _find(case, expected, table.schema, read, place, key, str(kind))
            if row is None:
                yield (
                    f"a rejected row is none of those that came, or is not bad in this way: {kind}, {message}; "
                    f"columns {table.column_names}"
                )
            else:
                seen[row.number] += 1
    rejected = set(seen)
    if not must <= rejected <= must | either and not _twins(case, seen):
        yield (
            f"rejected are the rows {sorted(rejected)[:9]}, bad are {sorted(must)[:9]}, and perhaps "
            f"{sorted(either)[:9]}"
        )


def _find(
    case: Case,
    expected: Expected,
    schema: pa.Schema,
    read: Mapping[str, list[Any]],
    place: int,
    key: str | None,
    kind: str,
) -> Row | None:
    """The bad row that a reject is: with the same values in every column that the file has."""
    columns = [column for column in case.columns if column.name in read and column.name not in REJECT_COLUMNS]
    for row in expected.bad:
        if (
            kind not in {fault for fault, _ in row.faults}
            or key not in (row.key, None)
            or (key is None and not _may_hide_key(row))
        ):
            continue
        if all(
            canonical(column.kind, column.values[row.number])
            == canonical(schema.field(column.name).type, read[column.name][place])
            for column in columns
        ):
            return row
    return None


def _twins(case: Case, seen: Counter[int]) -> bool:
    """Whether rows were taken for others that are alike."""
    return any(count > case.runs for count in seen.values())


def canonical(kind: pa.DataType, raw: Any) -> Any:
    """A raw value in a form that a change of its type in Parquet leaves alone."""
    if raw is None or pat.is_null(kind):
        return None
    if pat.is_dictionary(kind):
        return canonical(kind.value_type, raw)
    if pat.is_struct(kind) and not kind.num_fields:
        return []
    if pat.is_struct(kind):
        return tuple(canonical(kind.field(i).type, raw[i]) for i in range(kind.num_fields))
    if pat.is_map(kind):
        return [(canonical(kind.key_type, key), canonical(kind.item_type, item)) for key, item in raw]
    if pat.is_list(kind) or pat.is_large_list(kind) or pat.is_fixed_size_list(kind):
        return [canonical(kind.value_type, item) for item in raw]
    if pat.is_floating(kind):
        return struct.pack("<d", raw)
    if pat.is_date64(kind):
        return raw // (DAY * 1000)
    if (
        pat.is_time(kind)
        or (pat.is_timestamp(kind) and kind.unit == "ns")
        or (pat.is_decimal(kind) and max(kind.precision - min(0, kind.scale), kind.scale) > 38)
    ):
        return _as_text(kind, raw)
    if pat.is_decimal(kind):
        return raw * 10 ** -min(0, kind.scale)
    if pat.is_timestamp(kind):
        return raw * 10**9 // TICKS[kind.unit]
    if pat.is_duration(kind):
        return raw * 10**6 // TICKS[kind.unit]
    return raw


def _as_text(kind: pa.DataType, raw: Any) -> bytes:
    """Of a type that Spark reads from no Parquet file: what a payload has of it, or its ticks where that has
    nothing."""
    try:
        return str(plain(kind, raw)).encode()
    except UnfitError:
        return str(raw).encode()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
