"""Delete at the end of a full load the documents of a source that the table no longer has, within bounds."""

from __future__ import annotations

from dataclasses import dataclass

from spark_vector_sink.options import SinkOptions
from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.protocols import Collections


@dataclass(frozen=True)
class Missing:
    """Result of a deletion. deleted: number of documents. warnings: why no document was deleted, where too many were
    missing."""

    deleted: int = 0
    warnings: tuple[str, ...] = ()


def delete(options: SinkOptions, collections: Collections, target: Target, run: str) -> Missing:
    """Delete the documents of the source that this run has not seen. Call it only at the end of a job that has read
    every row."""
    if not options.delete_missing or options.source is None:
        return Missing()
    count, total = collections.missing(target, options.source, run)
    if count > options.max_delete_share * total:
        return Missing(
            warnings=(
                f"{count:,} of {total:,} documents of source {options.source!r} are no longer in the table, which is "
                "more than option 'max_delete_share' = "
                f"{options.max_delete_share:g} allows: none was deleted; see whether the table is complete, or allow "
                "more and run the job again",
            )
        )
    if count:
        collections.purge(target, options.source, run)
    return Missing(count)
