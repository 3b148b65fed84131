"""The speech example: from audio files to segments, and what its step does with files that are long, short or
broken."""

from __future__ import annotations

import importlib
import io
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyspark.sql import SparkSession

from tests.spark.conftest import ROOT, Show

RATE = 16_000


@pytest.fixture
def transcribe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example's step, as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("transcribe")


def audio(sound: Any, rate: int = RATE, kind: str = "FLAC") -> bytes:
    """A file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=kind)
    return file.getvalue()


def noise(seconds: float) -> Any:
    return np.random.default_rng(0).normal(scale=0.1, size=int(seconds * RATE)).astype(np.float32)


def files(**contents: bytes) -> pa.RecordBatch:
    """As Spark's `binaryFile` gives them."""
    return pa.RecordBatch.from_pydict({"path": list(contents), "content": list(contents.values())})


@pytest.mark.spark
@pytest.mark.model
def test_audio_files_become_segments(shown: Show, spark: SparkSession) -> None:
    """With times within their files, and the broken file is a reject with its reason."""
    try:
        said = shown("seed_speech")
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert "13 segments were written, broken files: 1," in said
    assert "broken.wav: LibsndfileError: Format not recognised." in said
    assert said.count("checked: ") == 5


def test_windows_fill_the_models_batches(transcribe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever files they are of, and however many files come at once; segments are numbered through each file."""
    sizes = list[int]()

    def transcripts(sounds: list[Any], model: str) -> list[list[tuple[float, float, str]]]:
        sizes.append(len(sounds))
        return [[(0.0, 1.0, "so"), (1.0, len(sound) / RATE, "on")] for sound in sounds]

    monkeypatch.setattr(transcribe, "transcripts", transcripts)
    short = audio(noise(2))
    found = transcribe.segments(iter([files(long=audio(noise(70)), first=short), files(second=short)]), "any", 2)
    numbers = [(row["file"], row["segment"]) for batch in found for row in batch.to_pylist()]
    assert sizes == [2, 2, 1]
    assert numbers == [
        *(("long", number) for number in range(6)),
        ("first", 0),
        ("first", 1),
        ("second", 0),
        ("second", 1),
    ]


def test_a_broken_file_is_one_row(transcribe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason and without text, and the files around it are heard."""
    monkeypatch.setattr(transcribe, "transcripts", lambda sounds, model: [[(0.0, 1.0, "heard")] for _ in sounds])
    whole = audio(noise(2))
    batch = files(one=whole, cut=whole[: len(whole) // 2], empty=b"", two=whole)
    (found,) = transcribe.segments(iter([batch]), "any", 16)
    rows = {row["file"]: (row["text"], row["error"]) for row in found.to_pylist()}
    assert rows["one"] == rows["two"] == ("heard", None)
    assert rows["cut"][0] is None
    assert "flac decoder lost sync" in rows["cut"][1]
    assert rows["empty"] == (None, "LibsndfileError: Format not recognised.")
    assert found.schema == transcribe.SEGMENTS


def test_windows_are_the_whole_file(transcribe: ModuleType) -> None:
    """One after the other, none longer than 30 seconds, each beginning where the one before ends, in the pause."""
    sound = noise(65)
    sound[28 * RATE : int(28.4 * RATE)] = 0
    found = list(transcribe.windows([files(long=audio(sound, kind="WAV"))]))
    np.testing.assert_allclose(np.concatenate([window.sound for window in found]), sound, atol=1e-3)
    assert all(len(window.sound) <= 30 * RATE for window in found)
    assert [window.start for window in found] == pytest.approx(
        np.cumsum([0, *(len(window.sound) / RATE for window in found[:-1])])
    )
    assert 28 <= found[1].start <= 28.4


def test_any_rate_and_number_of_channels(transcribe: ModuleType) -> None:
    """Sounds as it did: of the same length, at the same pitch."""
    tone = np.sin(2 * np.pi * 440 * np.arange(int(2.5 * 44_100)) / 44_100)
    heard = transcribe.decoded(audio(np.stack([tone, tone], axis=1), 44_100))
    assert len(heard) == pytest.approx(2.5 * RATE, abs=2)
    assert np.argmax(np.abs(np.fft.rfft(heard))) / 2.5 == pytest.approx(440, abs=1)


def test_a_file_without_sound_is_a_row_with_the_reason(transcribe: ModuleType) -> None:
    """And not a file of which nothing is heard again."""
    (rows,) = transcribe.segments([files(empty=audio(np.zeros(0, np.float32), kind="WAV"))], "no model is loaded", 4)
    assert [(row["file"], row["text"], row["error"]) for row in rows.to_pylist()] == [
        ("empty", None, "it holds no sound")
    ]
