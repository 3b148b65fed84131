"""What Spark's Python workers do with audio files: `segments()`, a step for `mapInArrow` that turns them into
transcript rows.

`addPyFile` brings this file to every worker, so that a worker keeps its model from task to task. Files → windows of at
most 30 seconds, from whichever files → batches of windows → rows. So an hour-long file is many batches, and many short
files are one.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import soundfile
import soxr

RATE = 16_000  # samples a second, as Whisper hears
LONGEST, LAST = 30 * RATE, 5 * RATE  # a window's length at most, and its end, in which it is cut
TENTH = RATE // 10

SEGMENTS = pa.schema(
    {
        "file": pa.string(),
        "segment": pa.int32(),
        "start": pa.float64(),
        "end": pa.float64(),
        "text": pa.string(),
        "error": pa.string(),
    }
)
"""start, end: seconds from the beginning of the file. A file that cannot be read is one row with an error and no
text."""

SPARK_SCHEMA = "file string, segment int, start double, end double, text string, error string"


class Window(NamedTuple):
    """A piece of a file's sound, 16,000 samples a second, that begins `start` seconds after the file. error: why the
    file cannot be read."""

    file: str
    start: float
    sound: np.ndarray
    error: str = ""


def segments(files: Iterable[pa.RecordBatch], model: str, windows_at_once: int) -> Iterator[pa.RecordBatch]:
    """Rows of `SEGMENTS` for files with columns `path` and `content`. model: a Whisper, by its name or folder."""
    next_number = Counter[str]()
    found = windows(files)
    while batch := list(islice(found, windows_at_once)):
        rows = [{"file": window.file, "segment": 0, "error": window.error} for window in batch if window.error]
        heard = [window for window in batch if not window.error]
        for window, said in zip(heard, transcripts([window.sound for window in heard], model), strict=True):
            for start, end, text in said:
                times = {"start": round(window.start + start, 2), "end": round(window.start + end, 2)}
                rows.append({"file": window.file, "segment": next_number[window.file], **times, "text": text})
                next_number[window.file] += 1
        yield pa.RecordBatch.from_pylist(rows, schema=SEGMENTS)


def windows(files: Iterable[pa.RecordBatch]) -> Iterator[Window]:
    """The sound of one file after the other, cut where the last seconds of each window are quietest, so that hardly a
    word is cut in two."""
    for batch in files:
        for path, content in zip(batch.column("path").to_pylist(), batch.column("content"), strict=True):
            try:
                sound = decoded(content.as_py())
            except (soundfile.LibsndfileError, ValueError) as error:
                yield Window(
                    path, 0, np.zeros(0, np.float32), f"{type(error).__name__}: {getattr(error, 'error_string', error)}"
                )
                continue
            if not len(sound):
                yield Window(path, 0, sound, "it holds no sound")
            start = 0
            while start < len(sound):
                end = start + LONGEST
                if end < len(sound):
                    tenths = sound[end - LAST : end].reshape(-1, TENTH)
                    end += int((tenths**2).mean(axis=1).argmin()) * TENTH + TENTH // 2 - LAST
                yield Window(path, start / RATE, sound[start:end])
                start = end


def decoded(content: bytes) -> np.ndarray:
    """A file's sound in mono, a minute at a time, because what a file holds can be ten times what is wanted of it."""
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        resample = soxr.ResampleStream(file.samplerate, RATE, num_channels=1, dtype="float32").resample_chunk
        minutes = [
            resample(minute.mean(axis=1))
            for minute in file.blocks(60 * file.samplerate, dtype="float32", always_2d=True)
        ]
        return np.concatenate([*minutes, resample(np.zeros(0, np.float32), last=True)])


def transcripts(sounds: list[np.ndarray], model: str) -> list[list[tuple[float, float, str]]]:
    """What is said in each window: start and end in seconds of the window, and text. All windows go through the model
    at once."""
    if not sounds:
        return []
    processor, whisper = loaded(model)
    heard = processor.feature_extractor(sounds, sampling_rate=RATE, return_attention_mask=True, return_tensors="pt").to(
        whisper.device, whisper.dtype
    )
    found = whisper.generate(
        heard.input_features, attention_mask=heard.attention_mask, return_timestamps=True, return_segments=True
    )["segments"]
    said = []
    for sound, segments in zip(sounds, found, strict=True):
        length = len(sound) / RATE  # the rest of 30 seconds is silence that was added, in which some models hear words
        texts = [
            processor.tokenizer.decode(segment["tokens"], skip_special_tokens=True).strip() for segment in segments
        ]
        times = [(float(segment["start"]), min(float(segment["end"]), length)) for segment in segments]
        said.append(
            [(start, end, text) for (start, end), text in zip(times, texts, strict=True) if start < end and text]
        )
    return said


@cache
def loaded(model: str) -> tuple[Any, Any]:
    """The processor and the model, once for each worker."""
    import torch
    from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it warns of its own defaults
    # with several for each executor, the task's: TaskContext.get().resources()["gpu"].addresses[0]
    gpu = torch.cuda.is_available()
    whisper = AutoModelForSpeechSeq2Seq.from_pretrained(model, dtype=torch.float16 if gpu else torch.float32)
    return AutoProcessor.from_pretrained(model), whisper.to("cuda" if gpu else "cpu").eval()
