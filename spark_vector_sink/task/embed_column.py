"""Encode a column of texts into a column of vectors: the engine without a store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from spark_vector_sink.encode.encoder import Encoded, EncoderSpec, Tokenised
from spark_vector_sink.errors import EncodingError
from spark_vector_sink.report import PartitionReport
from spark_vector_sink.rows import vectors
from spark_vector_sink.task.context import TaskContext
from spark_vector_sink.task.encoder_runner import EncoderRunner
from spark_vector_sink.task.pipeline import Pipeline
from spark_vector_sink.task.vector_checks import too_long
from spark_vector_sink.task.windows import windows

log = logging.getLogger("spark_vector_sink")


def embed_column(
    spec: EncoderSpec, texts: Iterable[pa.Array], task: TaskContext, *, window_rows: int, fail_on_long: bool = False
) -> Iterator[pa.Array]:
    """Encode columns of texts into columns of vectors: list<float>, in the same order and of the same total length, but
    split at other places. A null or blank text gives null. Raises EncodingError."""
    report = PartitionReport(partition=task.partition)
    encoder = EncoderRunner(spec, task, report)
    with Pipeline(encoder.give_up) as pipeline:
        batches = (pa.RecordBatch.from_arrays([array], names=["text"]) for array in pipeline.until_error(texts))
        ahead = pipeline.ahead(_tokenised(windows(encoder.watched(batches), window_rows), encoder))
        encoder.load_for_rows()
        for there, tokenised in ahead:
            encoded = encoder.encode(tokenised)
            _refuse(encoded, fail_on_long)
            report.truncated += int(np.count_nonzero(encoded.cut))
            report.tokens_cut += int(encoded.cut.sum())
            yield _column(encoded, there)
    if report.truncated:
        log.warning(
            f"embed(): {report.truncated:,} texts are longer than the model reads; {report.tokens_cut:,} tokens of "
            "them were cut"
        )


def _tokenised(rows: Iterator[pa.RecordBatch], encoder: EncoderRunner) -> Iterator[tuple[list[bool], Tokenised]]:
    """Yield for each window a mask of the rows that have a text, and those texts tokenised."""
    for window in rows:
        column = window.column(0)
        if not (pat.is_string(column.type) or pat.is_large_string(column.type) or pat.is_null(column.type)):
            raise EncodingError(
                f"embed() encodes texts, and its column holds values of type {column.type}; cast it to string"
            )
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raise EncodingError("a text holds bytes that are no UTF-8; decode the column first") from None
        texts = column.to_pylist()
        there = [text is not None and not text.isspace() and text != "" for text in texts]
        yield there, encoder.tokenise([text for text, is_there in zip(texts, there, strict=True) if is_there])


def _refuse(encoded: Encoded, fail_on_long: bool) -> None:
    for reason in encoded.failed.values():
        raise EncodingError(f"a text cannot be encoded: it {reason}")
    if fail_on_long and encoded.cut.any():
        raise EncodingError(
            f"a text {too_long(encoded, int(np.argmax(encoded.cut > 0)))} (option 'long_text' = 'fail')"
        )
    unusable = vectors.unusable(encoded.vectors)
    if unusable is not None:
        raise EncodingError(f"the model {unusable[1]} for a text of {int(encoded.tokens[unusable[0]]):,} tokens")


def _column(encoded: Encoded, there: Sequence[bool]) -> pa.Array:
    lengths = np.where(there, encoded.vectors.shape[1], 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = pa.array(encoded.vectors.ravel(), pa.float32())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=pa.array(~np.asarray(there, bool)))
