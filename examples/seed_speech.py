"""Speech: audio files become transcript segments with their times, and those become vectors; a broken file is a reject,
not a dead job.

For archives of calls, lectures or broadcasts, to be searched by what is said. `transcribe.py` is the step in Spark's
workers, an ordinary `mapInArrow`. It needs soundfile, which decodes WAV, FLAC, MP3 and Ogg, and soxr, which resamples a
stream (together 2 MB; scipy is 35 MB and filters whole arrays):

    pip install soundfile soxr
    python examples/seed_speech.py [FOLDER] [--model openai/whisper-tiny] [--audio "/recordings/*.mp3"]        (./demo/speech)

Without --model, a 2 MB Whisper that always says the same shows the path without a network; without --audio, the files
are tones.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile
import tiny_whisper
import transcribe
from common import MODEL, check, new_folder, start_spark

import spark_vector_sink
from spark_vector_sink.spark import write

FILES_AT_ONCE = 8  # files that Spark hands to a worker in one batch: memory of the worker
WINDOWS_AT_ONCE = 16  # 30-second windows, of any files, that go through Whisper together: memory of the GPU
TOKENS_AT_ONCE = 16_384  # tokens of the texts that go through the encoder together; without it the sink finds out

PAUSES = (27.0, 54.0)  # seconds at which the longest file is silent for half a second


def main() -> None:
    parser = argparse.ArgumentParser(usage="%(prog)s [FOLDER] [--model NAME] [--audio GLOB]")
    parser.add_argument("--model", help="a Whisper on the hub, or its folder")
    parser.add_argument("--audio", help="the files to transcribe, as Spark finds them: a folder, a pattern, s3a://…")
    asked, sys.argv[1:] = parser.parse_known_args()  # what is left is the folder
    folder = new_folder("speech")
    whisper = asked.model or tiny_whisper.make(folder / "whisper")
    audio = asked.audio or record(folder / "audio")
    store, rejects = str(folder / "store"), str(folder / "rejects")

    spark = start_spark(spark__sql__execution__arrow__maxRecordsPerBatch=str(FILES_AT_ONCE))
    spark.sparkContext.addPyFile(transcribe.__file__)
    # a row for each file, so 2 GB of each at most
    files = spark.read.format("binaryFile").load(audio).select("path", "content")
    said = files.mapInArrow(
        lambda batches: transcribe.segments(batches, whisper, WINDOWS_AT_ONCE), transcribe.SPARK_SCHEMA
    )
    report = write(
        said,
        store,
        id_column="file,segment",
        model=MODEL,
        token_budget=TOKENS_AT_ONCE,
        rejects_path=rejects,  # a file that cannot be read has no text; its row, with `error`, goes there
        max_rejects="10%",  # more than that is no accident
    )
    print(f"{report.written} segments were written, broken files: {report.rejected}, in {report.seconds:.1f} s")

    hits = spark_vector_sink.search(store, "What is baked?", limit=1000)
    for hit in hits[:3]:
        print(
            f"  {hit.score:.3f}  {Path(hit.key[0]).name}, {hit.payload['start']:.2f} to {hit.payload['end']:.2f} s: "
            f"{hit.payload['text']}"
        )
    broken = (
        [(Path(row.file).name, row.error) for row in spark.read.parquet(rejects).collect()] if report.rejected else []
    )
    print("".join(f"  {name}: {error}\n" for name, error in broken), end="")
    check(all(hit.payload["start"] < hit.payload["end"] for hit in hits), f"{len(hits)} segments end after they begin")
    if not (asked.model or asked.audio):
        check_times(hits, [name for name, _ in broken])
    spark.stop()


def check_times(hits: list[spark_vector_sink.Answer], broken: list[str]) -> None:
    """Each segment is where the tiny model said it in its window, as far as the file goes, and the windows are cut in
    the pauses."""
    times = {
        name: sorted((h.key[1], h.payload["start"], h.payload["end"]) for h in hits if h.key[0].endswith(name))
        for name in ("bell.wav", "call.flac", "lecture.flac")
    }
    check(broken == ["broken.wav"] and len(hits) == 13, "three files make 13 segments, and the broken one none")
    check(times["bell.wav"] == [(0, 0, 3)], "3 seconds are one segment, which ends with the file")
    check(times["call.flac"] == [(0, 0, 4), (1, 4, 9.5), (2, 9.5, 12)], "12 seconds are three segments")
    starts = [start for number, start, _ in times["lecture.flac"] if number % 3 == 0]
    cut = all(pause <= start <= pause + 0.5 for pause, start in zip(PAUSES, starts[1:], strict=True))
    check(
        starts[0] == 0 and cut,
        f"70 seconds are three windows, which begin in the pauses, at {starts[1]} and {starts[2]} s",
    )


def record(folder: Path) -> str:
    """Files of tones, of several lengths, rates and kinds, and one that is none; where they are."""
    folder.mkdir()
    for name, seconds, rate, channels in (
        ("bell.wav", 3, 8_000, 1),
        ("call.flac", 12, 44_100, 2),
        ("lecture.flac", 70, 16_000, 1),
    ):
        time = np.arange(seconds * rate) / rate
        silent = np.any([(pause <= time) & (time < pause + 0.5) for pause in PAUSES], axis=0)
        tone = np.where(silent, 0, 0.3 * np.sin(2 * np.pi * 440 * time))
        soundfile.write(folder / name, np.tile(tone[:, None], channels), rate)
    (folder / "broken.wav").write_bytes(b"This is no sound.")
    return str(folder)


if __name__ == "__main__":
    main()
