"""What may come in, and what comes of it: a stored point that is exactly right, or one line that says what is wrong and
where."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from spark_vector_sink.errors import BadRowError, EncodingError, RefusedError, VectorSinkError
from spark_vector_sink.rows.bad_rows import SET_ASIDE
from spark_vector_sink.store.edge import EdgeStore
from tests.fakes import Four
from tests.jobs import Place

pytest.importorskip("qdrant_edge")

ROOT = Path(__file__).parents[2]
Folder = Callable[[str], Path]
Matrix = npt.NDArray[np.float32]
CLOSE = 1e-5


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """An embedded store for jobs that encode exactly."""
    return Place({"path": str(tmp_path / "store"), "device": "cpu", "dtype": "float32"})


@pytest.fixture
def tiny(here: Place, tiny_model: Path) -> Place:
    """The same, with the tiny model."""
    return Place(here.options | {"model": str(tiny_model)})


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Matrix]:
    """The vectors that the store got, window by window."""
    vectors: list[Matrix] = []
    submit = EdgeStore.submit

    def noting(store: EdgeStore, points: Any) -> Any:
        vectors.append(points.vectors[""])
        return submit(store, points)

    monkeypatch.setattr(EdgeStore, "submit", noting)
    return vectors


def table(texts: Sequence[str | None]) -> pa.Table:
    return pa.table({"id": pa.array(range(len(texts)), pa.int64()), "text": pa.array(texts, pa.string())})


def library(folder: str | Path, texts: Sequence[str]) -> Matrix:
    """The library's own vectors, each text on its own."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return np.stack([model.encode_document(text, show_progress_bar=False, convert_to_numpy=True) for text in texts])


def line_of(job: Callable[[], Any], kind: type[VectorSinkError]) -> str:
    """The one line that a job ends with."""
    with pytest.raises(kind) as failed:
        job()
    line = str(failed.value)
    assert "\n" not in line
    return line


# --- texts that are texts ---------------------------------------------------------------------------------------------

TEXTS = {
    "one token": "dog",
    "one sign": ".",
    "300,000 characters": "the dog and the fox " * 15_000,
    "one word of 2 MB": "x" * 2_000_000,
    "1.2 million characters without a blank that is ASCII": "dog\u3000" * 300_000,
    "emoji": "🙂👩‍👩‍👧‍👦🇫🇷",
    "right to left": "שלום עולם, مرحبا بالعالم \u202eabc\u202c",
    "NUL": "zero\0and one\0",
    "only NUL": "\0",
    "nothing to see": "\u200b",
    "a byte order mark": "\ufeffdog",
    "accents that stand alone": "\u0301\u0301\u0301",
    "unknown words": "漢字 仮名",
    "a character that is none": "\uffff \U0010ffff",
    "special tokens": "[CLS] [SEP] [PAD] [MASK] </s>",
    "lines": "one\r\ntwo\rthree\u2028four",
    "blanks around": "  \t dog \n ",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_is_stored_as_it_is(tiny: Place, text: str) -> None:
    """With the vector that the model's own library makes of it, beside others in its window."""
    texts = ["the cat", text, "the dog sleeps in the sun"]
    report = tiny.write(table(texts))
    assert (report.rows, report.written, report.stored_points) == (3, 3, 3)
    assert [
        hit.payload["text"] for hit in sorted(tiny.nearest([1.0] + [0.0] * 31), key=lambda hit: int(hit.id))
    ] == texts
    assert tiny.apart(dict(enumerate(library(tiny.options["model"], texts)))) <= CLOSE


@pytest.mark.parametrize("kind", ["slow-tokenizer", "roberta", "static"])
@pytest.mark.parametrize("text", ["emoji", "right to left", "NUL", "300,000 characters"])
def test_other_tokenizers_take_any_text_too(here: Place, model_of: Folder, kind: str, text: str) -> None:
    """One written in Python, one of bytes, and one without special tokens."""
    texts = ["the cat", TEXTS[text], "the dog sleeps in the sun"]
    wanted = library(model_of(kind), texts)
    report = here.write(table(texts), model=model_of(kind), distance="dot")
    assert report.stored_points == 3
    longest = float(np.linalg.norm(wanted, axis=1).max())
    assert here.apart(dict(enumerate(wanted))) <= CLOSE * max(1.0, longest)


def test_ten_thousand_equal_texts(tiny: Place, sent: list[Matrix]) -> None:
    """All have the same vector, in whichever batch they were."""
    report = tiny.write(table(["the dog sleeps in the sun"] * 10_000), window_rows=3000)
    assert (report.rows, report.written, report.stored_points) == (10_000, 10_000, 10_000)
    made = np.concatenate(sent)
    assert made.shape == (10_000, 32)
    assert np.abs(made - library(tiny.options["model"], ["the dog sleeps in the sun"])).max() <= CLOSE


def test_a_window_of_only_long_texts(tiny: Place, sent: list[Matrix]) -> None:
    """Each is cut at the model's limit, and a budget below one text takes them one by one."""
    texts = [f"{number} " + "the dog and the fox " * 500 for number in range(40)]
    report = tiny.write(table(texts), window_rows=40, token_budget=10)
    assert (report.written, report.truncated, report.tokens, report.halvings) == (40, 40, 40 * 64, 0)
    assert np.abs(np.concatenate(sent) - library(tiny.options["model"], texts)).max() <= CLOSE


def test_very_different_lengths_in_one_window(tiny: Place, sent: list[Matrix]) -> None:
    """Vectors come back in the order of the rows."""
    texts = ["dog " * (1 + number * 37 % 90) + str(number) for number in range(200)]
    tiny.write(table(texts), token_budget=300)
    assert np.abs(np.concatenate(sent) - library(tiny.options["model"], texts)).max() <= CLOSE


# --- texts that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "\t\r\n", "\u00a0\u3000", "\u2028", "\x1c"])
def test_no_text_ends_the_job(tiny: Place, text: str) -> None:
    """With the row's key, since the model would make a vector of nothing."""
    assert line_of(lambda: tiny.write(table(["dog", text])), BadRowError) == (
        "the row with key '1' cannot be written: column 'text' holds only blanks; there is no text to "
        f"encode; {SET_ASIDE}"
    )


def test_null_ends_the_job(tiny: Place) -> None:
    """In its own words."""
    assert line_of(lambda: tiny.write(table(["dog", None])), BadRowError) == (
        f"the row with key '1' cannot be written: column 'text' is null; there is no text to encode; {SET_ASIDE}"
    )


@pytest.mark.parametrize(
    "bad",
    [b"\xed\xa0\x80", b"\xff", b"caf\xe9", b"\xf0\x9f\x99"],
    ids=["lone surrogate", "no byte of UTF-8", "Latin-1", "cut emoji"],
)
@pytest.mark.parametrize("column", ["text", "note"])
def test_bytes_that_are_no_text_end_the_job(tiny: Place, bad: bytes, column: str) -> None:
    """As Spark hands them over, in the text or in any other column."""
    offsets = pa.py_buffer(np.array([0, 3, 3 + len(bad)], np.int32).tobytes())
    broken = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"dog" + bad)])
    rows = pa.table({"id": [7, 8], "text": pa.array(["a", "b"]), "note": pa.array(["c", "d"])})
    rows = rows.set_column(rows.schema.get_field_index(column), column, broken)
    assert line_of(lambda: tiny.write(rows), BadRowError) == (
        f"the row with key '8' cannot be written: column '{column}' holds bytes that are no UTF-8; {SET_ASIDE}"
    )


def test_a_text_without_a_word_for_the_model(here: Place, model_of: Folder) -> None:
    """Word vectors give none for it, and zeros have no direction."""
    job = lambda: here.write(table(["dog", "\u200b"]), model=model_of("static"))  # noqa: E731
    assert (
        line_of(job, BadRowError)
        == f"the row with key '1' cannot be written: column 'text' gives a vector of zeros only; {SET_ASIDE}"
    )


# --- encoders and models that fail ------------------------------------------------------------------------------------


class NotANumber(Four):
    """A model that breaks at one text."""

    bad = float("nan")

    def encode(self, texts: Sequence[str]) -> Matrix:
        made = super().encode(texts)
        made[[number for number, text in enumerate(texts) if text == "poison"], 2] = self.bad
        return made


class Infinite(NotANumber):
    bad = float("-inf")


def raises() -> Four:
    """A factory that fails."""
    raise RuntimeError("no licence\nsecond line")


@pytest.mark.parametrize("encoder", ["NotANumber", "Infinite"])
def test_a_vector_of_no_numbers_ends_the_job(here: Place, encoder: str) -> None:
    """With the key of its row: a store would take it."""
    job = lambda: here.write(table(["a", "b", "poison", "c"]), encoder=f"{__name__}:{encoder}", dtype=None)  # noqa: E731
    assert line_of(job, BadRowError) == (
        "the row with key '2' cannot be written: column 'text' gives a vector with NaN or an infinite "
        f"number; {SET_ASIDE}"
    )


def test_a_factory_that_raises(here: Place) -> None:
    """On the driver, which asks it for the length of its vectors."""
    line = line_of(lambda: here.write(table(["a"]), encoder=f"{__name__}:raises", dtype=None), RefusedError)
    assert line == f"option 'encoder' = '{__name__}:raises' failed: RuntimeError: no licence second line"


@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.999])
def test_weights_that_are_cut_short(here: Place, tiny_model: Path, tmp_path: Path, keep: float) -> None:
    """A copy that was interrupted: the line names the model, and nothing is stored."""
    folder = shutil.copytree(tiny_model, tmp_path / "damaged")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: int(keep * len(weights)) if keep < 1 else int(keep)])
    line = line_of(lambda: here.write(table(["dog"]), model=folder), EncodingError)
    assert line.startswith(f"the model {str(folder)!r} cannot be loaded on this machine: ")


def test_weights_that_are_missing(here: Place, tiny_model: Path, tmp_path: Path) -> None:
    """The same."""
    folder = shutil.copytree(tiny_model, tmp_path / "damaged")
    (folder / "model.safetensors").unlink()
    line = line_of(lambda: here.write(table(["dog"]), model=folder), EncodingError)
    assert line.startswith(f"the model {str(folder)!r} cannot be loaded on this machine: ")


@pytest.mark.parametrize(
    "name",
    [
        "modules.json",
        "config.json",
        "config_sentence_transformers.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
    ],
)
@pytest.mark.parametrize("content", ['{"a": ', "", "[1, 2", "\u0000"])
def test_a_settings_file_that_is_broken(here: Place, tiny_model: Path, tmp_path: Path, name: str, content: str) -> None:
    """Found on the driver, before anything is written; the line names the file."""
    folder = shutil.copytree(tiny_model, tmp_path / "damaged")
    assert (folder / name).is_file()
    (folder / name).write_text(content, encoding="utf-8")
    line = line_of(lambda: here.write(table(["dog"]), model=folder), RefusedError)
    assert line.startswith(f"the model's file {name} ")
    assert not Path(here.options["path"]).exists()


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_tokenizer_that_is_broken(here: Place, tiny_model: Path, tmp_path: Path, name: str) -> None:
    """Found on the driver or where it is loaded, in one line that names the file or the model."""
    folder = shutil.copytree(tiny_model, tmp_path / "damaged")
    (folder / name).write_text('{"a": ', encoding="utf-8")
    line = line_of(lambda: here.write(table(["dog"]), model=folder), VectorSinkError)
    assert name in line or str(folder) in line


def test_a_slow_tokenizer_cuts_no_chunks(here: Place, model_of: Folder) -> None:
    """It does not tell where in the text a token was."""
    line = line_of(
        lambda: here.write(table(["dog " * 100]), model=model_of("slow-tokenizer"), long_text="chunk"), EncodingError
    )
    assert (
        line
        == "option 'long_text' = 'chunk' needs a model with a fast tokenizer, and this model's is written in Python"
    )


# --- partitions -------------------------------------------------------------------------------------------------------


def test_partitions_of_one_row_and_of_none(tiny: Place) -> None:
    """Each is a task that reports."""
    rows = table(["dog", "cat", "fish"])
    report = tiny.write(rows.slice(0, 1), rows.slice(0, 0), rows.slice(1, 1), rows.slice(0, 0), rows.slice(2, 1))
    assert (report.rows, report.partitions, report.stored_points, report.missing_rows()) == (3, 5, 3, 0)
    assert tiny.apart(dict(enumerate(library(tiny.options["model"], ["dog", "cat", "fish"])))) <= CLOSE


@pytest.mark.parametrize("batches", ["[]", "[empty]", "[empty, empty]"])
def test_an_empty_partition_loads_no_model(tmp_path: Path, tiny_model: Path, batches: str) -> None:
    """Spark makes many of them; torch alone would take seconds and hundreds of megabytes."""
    script = textwrap.dedent(
        f"""
        import sys
        import pyarrow as pa
        from spark_vector_sink.driver import committer
        from spark_vector_sink.encode import loader
        from spark_vector_sink.driver.plan import plan
        from spark_vector_sink.task.context import TaskContext
        from spark_vector_sink.task.partition_writer import write_partition
        empty = pa.record_batch({{"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())}})
        made = committer.prepare(plan({{"path": sys.argv[1], "model": sys.argv[2]}}, empty.schema))
        report = committer.commit(made, [write_partition(made, {batches}, TaskContext(cpus=1))])
        print(report.rows, report.stored_points, loader._loaded)
        print({{"torch", "sentence_transformers", "transformers", "tokenizers"}} & set(sys.modules))
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path / "s"), str(tiny_model)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert printed.splitlines() == ["0 0 None", "set()"]
