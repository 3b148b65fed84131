"""Keep rejects: rows that cannot become points, as a Parquet dataset that Spark reads, so that users can correct the
rows and write them again.

rejects_path/<run>-<partition>-<attempt>-<random>.parquet   the rows of a task, of a job that ended well
rejects_path/_staging-<run>/                                of running tasks; Spark reads no folder that begins with _
rejects_path/_failed/<run>/                                 of a job that failed by more than `max_rejects`

Only the files that tasks have reported become visible, at the end of the job; files of attempts that lost or failed
never do.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from spark_vector_sink.errors import RejectsError
from spark_vector_sink.files import located, shown
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.readable_rejects import METADATA, readable
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.rows.bad_rows import LONG_TEXT, BadRow
from spark_vector_sink.rows.columns import REJECT_COLUMNS

_AGAIN = "mend such rows, or allow more, and run the job again"


def refuse(options: SinkOptions, found: Sequence[BadRow]) -> None:
    """Raise BadRowError for the first row of a window that ends the job instead of being rejected."""
    ends = [bad for bad in found if (options.long_text == "fail" if bad.kind == LONG_TEXT else not options.rejects)]
    if ends:
        raise min(ends, key=lambda bad: bad.row).ending()


class Rejects:
    """Writer for the rejected rows of one attempt of one task. Creates no file before the first rejected row. Used by
    one thread at a time."""

    def __init__(self, options: SinkOptions, run: str, partition: int, attempt: int) -> None:
        self._options, self._run = options, run
        # a stage that runs again numbers its attempts from 0 again, so the name ends with random letters
        self._name = f"{run}-{partition}-{attempt}-{uuid.uuid4().hex[:8]}.parquet"
        self._count = 0
        self._stream: pa.NativeFile | None = None
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pa.RecordBatch, bad: Mapping[int, BadRow]) -> None:
        """Write the bad rows of a window as one row group. bad: the bad rows by their place in the window. Raises
        RejectsError."""
        if not bad:
            return
        self._count += len(bad)
        most = self._options.most_rejects()
        if most is not None and self._count > most:
            raise RejectsError(
                f"{self._count:,} rows of one partition are rejected, and option 'max_rejects' = "
                f"{self._options.max_rejects!r} allows {most:,} in all; "
                f"the last: {bad[max(bad)].error()}; {_AGAIN}"
            )
        made = _batch(rows, [bad[row] for row in sorted(bad)])
        with _errors(self._options):
            if self._writer is None:
                filesystem, root = located(self._options.rejects_path or "")
                filesystem.create_dir(_staging(root, self._run), recursive=True)
                self._stream = filesystem.open_output_stream(f"{_staging(root, self._run)}/{self._name}")
                self._writer = pq.ParquetWriter(self._stream, made.schema)
            self._writer.write_batch(made)

    def flush(self) -> str:
        """Complete the file and return its name for the report; empty without rejected rows. Raises RejectsError."""
        if self._writer is None:
            return ""
        with _errors(self._options):
            self._end()
        return self._name

    def close(self) -> None:
        """Close a file that was not flushed."""
        with suppress(
            OSError, pa.ArrowException
        ):  # the file is not reported, and the error that ended the task must stay the one that is raised
            self._end()

    def _end(self) -> None:
        writer, stream, self._writer, self._stream = self._writer, self._stream, None, None
        try:
            if writer is not None:
                writer.close()
        finally:
            if stream is not None:
                stream.close()


def problems(options: SinkOptions) -> Iterator[str]:
    """Yield the reasons why rejected rows cannot be written to `rejects_path`, as far as they show before the job.
    Changes nothing."""
    if not options.rejects_path:
        return
    option = f"option 'rejects_path' = {shown(options.rejects_path)}"
    try:
        filesystem, root = located(options.rejects_path)
        if filesystem.get_file_info(root).type == pyarrow.fs.FileType.File:
            yield f"{option} is a file; rejected rows go to a directory"
        elif (
            filesystem.type_name == "local"
            and options.is_embedded
            and options.collection
            and options.directory in (Path(root), *Path(root).parents)
        ):
            yield f"{option} is within the embedded store itself; name a directory beside it"
        elif filesystem.type_name == "local":
            nearest = next(place for place in (Path(root), *Path(root).parents) if place.exists())
            if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
                yield f"{option} cannot be written; name a directory that you may write to"
    except (OSError, pa.ArrowException) as error:
        yield (
            f"{option} is no place that Arrow can write to ({_reason(error)}); name a directory, or a URL such as "
            "s3://bucket/folder"
        )


def check(options: SinkOptions, run: str, reports: Sequence[PartitionReport]) -> None:
    """Raise RejectsError where more rows were rejected than `max_rejects` allows; their files are moved to
    `_failed/<run>` first, so that people can look at them."""
    rows, rejected = (sum(getattr(report, name) for report in reports) for name in ("rows", "rejected"))
    most = options.most_rejects(rows)
    if most is None or rejected <= most:
        return
    _move(options, run, reports, f"_failed/{run}")
    raise RejectsError(
        f"{rejected:,} of {rows:,} rows are rejected, and option 'max_rejects' = {options.max_rejects!r} "
        f"allows {most:,}; "
        f"they are in {shown(f'{options.rejects_path}/_failed/{run}')}, each with its reason; {_AGAIN}"
    )


def publish(options: SinkOptions, run: str, reports: Sequence[PartitionReport]) -> None:
    """Make all reported files of rejected rows visible, or none of them. Raises RejectsError."""
    _move(options, run, reports, "")


@contextmanager
def published(options: SinkOptions, run: str, reports: Sequence[PartitionReport]) -> Iterator[None]:
    """Publish the rejects before a block runs, and hide them again where the block fails. Raises RejectsError."""
    publish(options, run, reports)
    try:
        yield
    except BaseException:
        with suppress(OSError, pa.ArrowException):  # the error that ended the job must stay the one that is raised
            filesystem, root = located(options.rejects_path or "")
            for name in [report.rejects for report in reports if report.rejects]:
                filesystem.delete_file(f"{root}/{name}")
        raise


def discard(options: SinkOptions, run: str) -> None:
    """Delete the run's staging folder, with the files of attempts that lost or failed. Raises RejectsError."""
    if options.rejects:
        with _errors(options):
            filesystem, root = located(options.rejects_path or "")
            if filesystem.get_file_info(_staging(root, run)).type == pyarrow.fs.FileType.Directory:
                filesystem.delete_dir(_staging(root, run))


def _move(options: SinkOptions, run: str, reports: Sequence[PartitionReport], folder: str) -> None:
    """Move the reported files out of the staging folder."""
    names = [report.rejects for report in reports if report.rejects]
    if not names:
        return
    with _errors(options):
        filesystem, root = located(options.rejects_path or "")
        staged = [f"{_staging(root, run)}/{name}" for name in names]
        missing = sum(info.type != pyarrow.fs.FileType.File for info in filesystem.get_file_info(staged))
        if missing:
            raise RejectsError(
                f"{missing} of {len(names)} files with rejected rows are not visible to the driver; option "
                "'rejects_path' = "
                f"{shown(options.rejects_path or '')} must be a place that all machines see: name another, and run "
                "the job again"
            )
        target = f"{root}/{folder}".rstrip("/")
        filesystem.create_dir(target, recursive=True)
        moved: list[str] = []
        try:
            for source, name in zip(staged, names, strict=True):
                filesystem.move(source, f"{target}/{name}")
                moved.append(name)
        except BaseException:
            for name in moved:
                filesystem.delete_file(f"{target}/{name}")
            raise


def _staging(root: str, run: str) -> str:
    return f"{root}/_staging-{run}"


def _batch(rows: pa.RecordBatch, bad: Sequence[BadRow]) -> pa.RecordBatch:
    """Return the rejected rows in a form that Spark reads, with the reason of each."""
    names, columns = readable(rows, pa.array([one.row for one in bad], pa.int64()), REJECT_COLUMNS)
    said = ([one.key for one in bad], [one.kind for one in bad], [str(one.error()) for one in bad])
    columns += [pa.array(texts, pa.string()) for texts in said]
    return pa.RecordBatch.from_arrays(columns, names=[*names, *REJECT_COLUMNS]).replace_schema_metadata(METADATA)


@contextmanager
def _errors(options: SinkOptions) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise RejectsError(
            f"rejected rows cannot be kept at option 'rejects_path' = {shown(options.rejects_path or '')} "
            f"({_reason(error)}); "
            "name a place that every task may write to, and run the job again"
        ) from error


def _reason(error: Exception) -> str:
    """Return the reason of an error without the error's text, which may repeat a URL with its password."""
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
