"""Long texts in chunks, and sparse vectors alone and beside dense ones, from rows to answers: on the embedded store, on
the in-test server and on a real Qdrant."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from spark_vector_sink import search
from spark_vector_sink.errors import BadRowError, RefusedError
from spark_vector_sink.options import ID_NAMESPACE
from spark_vector_sink.store.search_query import RRF_K
from tests.jobs import Place, place
from tests.tiny_model import DIMENSION, MAX_TOKENS

__all__ = ["place"]

Folder = Callable[[str], Path]
Matrix = npt.NDArray[np.float32]

CLOSE = 1e-5
EXACT = {"device": "cpu", "dtype": "float32"}
TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a vector database stores points",
    "dogs run after a ball",
    "snow",
    "red, green, blue",
]


@pytest.fixture
def texts_place(place: Place) -> Place:
    """Every store in turn, for jobs that encode."""
    return Place({name: value for name, value in place.options.items() if name != "vector_column"} | EXACT)


def table(texts: list[str], **columns: Any) -> pa.Table:
    return pa.table({"id": pa.array(range(len(texts)), pa.int64()), "text": texts, **columns})


def by_id(points: Iterable[Any], vectors: Matrix) -> dict[Any, Matrix]:
    return dict(zip(points, vectors, strict=True))


def payloads(place: Place) -> dict[Any, dict[str, Any]]:
    return {hit.id: dict(hit.payload) for hit in place.nearest([1.0] + [0.0] * (DIMENSION - 1))}


def answers(place: Place, question: str, limit: int = 5) -> list[Any]:
    """The keys that `search()` gives."""
    options = {name: value for name, value in place.options.items() if name not in ("path", "dtype")}
    return [answer.key for answer in search(place.options["path"], question, limit, dtype="float32", **options)]


def dense(folder: Path, texts: list[str]) -> Matrix:
    """The library's own vectors, each text on its own."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return np.stack([model.encode_document(text, show_progress_bar=False, convert_to_numpy=True) for text in texts])


def weights(folder: Path, texts: list[str]) -> Matrix:
    """The library's own sparse vectors as rows over the vocabulary."""
    from sentence_transformers import SparseEncoder

    model = SparseEncoder(str(folder), device="cpu")
    made = [
        model.encode_document([text], show_progress_bar=False, convert_to_sparse_tensor=False)[0].numpy()
        for text in texts
    ]
    return np.stack(made)


# --- chunks -----------------------------------------------------------------------------------------------------------

LONG = " ".join(f"the dog number {number} and the cat number {number + 1} sleep in the sun." for number in range(160))
"""More than 50 chunks of 64 tokens."""
CHUNKED = [
    LONG[:1500],
    "short",
    "  the fish  ",
    " ".join(["bread and butter"] * 40) + "\n\n" + " ".join(["cheese"] * 50),
]


def chunk_id(document: int, number: int) -> int | str:
    return document if number == 0 else str(uuid.uuid5(ID_NAMESPACE, f"{document}#{number}"))


def test_long_texts_become_chunks(texts_place: Place, tiny_model: Path) -> None:
    """Each chunk is a point with an id from its document's, the document's columns, its own slice of the text, and the
    vector of just that slice."""
    report = texts_place.write(table(CHUNKED, n=[10, 11, 12, 13]), model=tiny_model, long_text="chunk")
    points = payloads(texts_place)
    assert (report.rows, report.written, report.points, report.stored_points) == (4, 4, len(points), len(points))
    assert (report.truncated, report.tokens_cut) == (0, 0)
    seen: dict[int, int] = {}
    for point, payload in points.items():
        told = payload["_sink"]
        document, (start, stop) = int(told["document"]), told["span"]
        assert set(payload) == {"id", "text", "n", "_sink"}
        assert set(told) == {"document", "chunk", "chunks", "span"}
        assert point == chunk_id(document, told["chunk"])
        assert (payload["id"], payload["n"]) == (document, 10 + document)
        assert payload["text"] == CHUNKED[document][start:stop]
        seen[document] = seen.get(document, 0) + 1
    assert all(payload["_sink"]["chunks"] == seen[payload["id"]] for payload in points.values())
    assert (seen[0] > 5, seen[1], seen[2], seen[3] > 1) == (True, 1, 1, True)
    assert (
        texts_place.apart(by_id(points, dense(tiny_model, [payload["text"] for payload in points.values()]))) <= CLOSE
    )


def test_chunks_leave_nothing_out(texts_place: Place, tiny_model: Path) -> None:
    """In order, their spans cover every word of the text, and overlap where that was asked for."""
    texts_place.write(table(CHUNKED), model=tiny_model, long_text="chunk", chunk_tokens=32, chunk_overlap_tokens=8)
    spans: dict[int, dict[int, tuple[int, int]]] = {}
    for payload in payloads(texts_place).values():
        told = payload["_sink"]
        spans.setdefault(payload["id"], {})[told["chunk"]] = tuple(told["span"])
    for document, text in enumerate(CHUNKED):
        ordered = [spans[document][number] for number in range(len(spans[document]))]
        assert text[: ordered[0][0]].strip() == text[ordered[-1][1] :].strip() == ""
        for (before, end), (start, after) in pairwise(ordered):
            assert before < start
            assert end < after
            assert text[end:start].strip() == ""
            assert start < end


def test_chunking_again_changes_nothing(texts_place: Place, tiny_model: Path) -> None:
    """The same chunks get the same ids."""
    options: dict[str, Any] = {"model": tiny_model, "long_text": "chunk"}
    first = texts_place.write(table(CHUNKED), **options)
    before = payloads(texts_place)
    second = texts_place.write(table(CHUNKED), **options, window_rows=16)
    assert first.stored_points == second.stored_points == first.points == second.points
    assert payloads(texts_place) == before


def test_chunks_spread_over_windows(texts_place: Place, tiny_model: Path) -> None:
    """A document of more chunks than a window has rows is one row in the report all the same, and so are those beside
    it."""
    rows = table(["snow", LONG, "dogs run", "a", "b", LONG[:4000], "c"])
    report = texts_place.write(rows, rows.slice(0, 0), model=tiny_model, long_text="chunk", window_rows=4)
    assert (report.rows, report.written, report.superseded, report.missing_rows()) == (7, 7, 0, 0)
    assert report.points == report.stored_points == len(payloads(texts_place))
    assert max(payload["_sink"]["chunks"] for payload in payloads(texts_place).values()) >= 50


def test_a_long_row_that_is_superseded_leaves_no_chunks(texts_place: Place, tiny_model: Path) -> None:
    """The last row of a key wins before it is cut."""
    rows = pa.table({"id": [1, 2, 1], "text": [LONG, "dog", "snow"]})
    report = texts_place.write(rows, model=tiny_model, long_text="chunk")
    assert (report.rows, report.written, report.superseded, report.points, report.stored_points) == (3, 2, 1, 2, 2)
    assert payloads(texts_place)[1]["text"] == "snow"


def test_chunks_without_their_text(texts_place: Place, tiny_model: Path) -> None:
    """The span alone says where a chunk is."""
    texts_place.write(table(CHUNKED), model=tiny_model, long_text="chunk", store_text="false")
    assert {frozenset(payload) for payload in payloads(texts_place).values()} == {frozenset({"id", "_sink"})}


def test_a_chunk_can_be_found(texts_place: Place, tiny_model: Path) -> None:
    """Its key is the document's."""
    texts_place.write(table(CHUNKED), model=tiny_model, long_text="chunk")
    assert answers(texts_place, "the dog number 7 and the cat number 8 sleep in the sun.", 1) == [0]


# --- sparse -----------------------------------------------------------------------------------------------------------


def question_of(folder: Path, text: str) -> Matrix:
    """The library's vector of a question."""
    from sentence_transformers import SentenceTransformer

    made: Matrix = SentenceTransformer(str(folder), device="cpu").encode_query(
        text, show_progress_bar=False, convert_to_numpy=True
    )
    return made


def test_sparse_vectors_alone(texts_place: Place, model_of: Folder) -> None:
    """Points have the weights that the library gives, and are searched by them."""
    folder = model_of("splade")
    report = texts_place.write(table(TEXTS), model="none", sparse_model=folder)
    assert (report.rows, report.written, report.points, report.stored_points) == (5, 5, 5, 5)
    assert report.tokens > 0
    wanted = weights(folder, TEXTS)
    assert texts_place.apart(by_id(range(5), wanted), sparse=True) <= CLOSE
    question = weights(folder, ["a vector database"])[0]
    assert answers(texts_place, "a vector database") == np.argsort(-wanted @ question, kind="stable").tolist()


def test_sparse_vectors_beside_dense_ones(texts_place: Place, tiny_model: Path, model_of: Folder) -> None:
    """Both of a text are in one point, each as its own library makes it; a question asks with both."""
    folder = model_of("splade")
    report = texts_place.write(table(TEXTS), model=tiny_model, sparse_model=folder, sparse_vector_name="words")
    assert (report.rows, report.written, report.points, report.stored_points) == (5, 5, 5, 5)
    both = dense(tiny_model, TEXTS), weights(folder, TEXTS)
    assert texts_place.apart(by_id(range(5), both[0])) <= CLOSE
    assert texts_place.apart(by_id(range(5), both[1]), sparse=True) <= CLOSE
    asked = question_of(tiny_model, "dogs run"), weights(folder, ["dogs run"])[0]
    ranks = [np.argsort(np.argsort(-vectors @ question)) for vectors, question in zip(both, asked, strict=True)]
    fused = 1 / (RRF_K + ranks[0]) + 1 / (RRF_K + ranks[1])
    found = answers(texts_place, "dogs run")
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert [round(float(fused[row]), 6) for row in found] == sorted(
        (round(float(score), 6) for score in fused), reverse=True
    )


def test_questions_have_a_way_of_their_own(texts_place: Place, model_of: Folder) -> None:
    """A sparse model may look questions up in a table; documents are not made by it."""
    from sentence_transformers import SparseEncoder

    folder = model_of("splade-static-query")
    texts_place.write(table(TEXTS), model="none", sparse_model=folder)
    wanted = weights(folder, TEXTS)
    assert texts_place.apart(by_id(range(5), wanted), sparse=True) <= CLOSE
    question = (
        SparseEncoder(str(folder), device="cpu")
        .encode_query(["red dog"], show_progress_bar=False, convert_to_sparse_tensor=False)[0]
        .numpy()
    )
    scores = wanted @ question
    expected = [int(row) for row in np.argsort(-scores, kind="stable") if scores[row] > 0]
    assert answers(texts_place, "red dog") == expected


def test_a_table_of_weights(texts_place: Place, model_of: Folder) -> None:
    """A sparse model that has learnt nothing but a weight for each word: documents are found by their words, and what
    it does not read is counted."""
    folder = model_of("sparse-static")
    report = texts_place.write(table([*TEXTS, "dog " * 70 + "snow"]), model="none", sparse_model=folder)
    assert (report.written, report.truncated, report.tokens_cut) == (6, 1, 71 - MAX_TOKENS)
    assert texts_place.apart(by_id(range(6), weights(folder, [*TEXTS, "dog"])), sparse=True) <= CLOSE
    assert answers(texts_place, "snow") == [3]


def test_chunks_have_both_vectors(texts_place: Place, tiny_model: Path, model_of: Folder) -> None:
    """Cut by the dense model's tokens; each chunk has the sparse vector of its own text."""
    folder = model_of("splade")
    report = texts_place.write(
        table(["snow", LONG[:900]]), model=tiny_model, sparse_model=folder, long_text="chunk", window_rows=2
    )
    points = payloads(texts_place)
    assert (report.written, report.points) == (2, len(points))
    assert len(points) > 3
    assert (
        texts_place.apart(by_id(points, weights(folder, [payload["text"] for payload in points.values()])), sparse=True)
        <= CLOSE
    )


def test_the_same_job_again_changes_nothing(texts_place: Place, tiny_model: Path, model_of: Folder) -> None:
    """Both models are those that the collection remembers."""
    for _ in range(2):
        report = texts_place.write(table(TEXTS), model=tiny_model, sparse_model=model_of("splade"))
        assert report.stored_points == 5


# --- what is refused --------------------------------------------------------------------------------------------------


def refusal(place: Place, **options: Any) -> str:
    """What a job is refused with, in one line, before anything is written."""
    with pytest.raises(RefusedError) as refused:
        place.write(table(TEXTS), **options)
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_another_sparse_model_is_refused(texts_place: Place, tiny_model: Path, model_of: Folder) -> None:
    """Its weights would be compared with those of the first one; so would they if it came to stand alone, or went."""
    first, second = model_of("splade"), model_of("splade-static-query")
    texts_place.write(table(TEXTS), model=tiny_model, sparse_model=first)
    assert "this job would write vectors of" in refusal(texts_place, model=tiny_model, sparse_model=second)
    assert "this job would write vectors of" in refusal(
        texts_place, model=model_of("bert-cls-normalize"), sparse_model=first
    )
    assert refusal(texts_place, model="none", sparse_model=first)
    assert refusal(texts_place, model=tiny_model)


def test_a_sparse_model_is_no_model_for_dense_vectors(texts_place: Place, model_of: Folder) -> None:
    """The line says where it belongs."""
    folder = model_of("splade")
    assert refusal(texts_place, model=folder) == (
        f"option 'model' = {str(folder)!r} is a sparse encoder; give it as option 'sparse_model', with model=none if "
        "it is the only one"
    )


def test_a_dense_model_is_no_sparse_one(texts_place: Place, tiny_model: Path) -> None:
    """Nor the other way round."""
    line = f"option 'sparse_model' = {str(tiny_model)!r} is no sparse encoder of Sentence Transformers"
    assert refusal(texts_place, model="none", sparse_model=tiny_model) == line
    assert refusal(texts_place, model=tiny_model, sparse_model=tiny_model) == line


def test_a_sparse_model_alone_cuts_no_chunks(texts_place: Place, model_of: Folder) -> None:
    """A dense model's tokens are what chunks are made of."""
    assert refusal(texts_place, model="none", sparse_model=model_of("splade"), long_text="chunk") == (
        "option 'long_text' = 'chunk' needs a dense model, whose tokens it counts"
    )


# --- what is remembered, and counted ----------------------------------------------------------------------------------


def test_a_prompt_may_hold_what_stands_between_two_models(
    texts_place: Place, tiny_model: Path, model_of: Folder
) -> None:
    """The collection finds its models again by their names, whatever is in the prompt of the first."""
    for more in ({}, {"sparse_model": model_of("splade")}):
        where = Place(texts_place.options | {"path": f"{texts_place.options['path']}{len(more)}"})
        where.write(table(TEXTS), model=tiny_model, prompt="one + two + ", **more)
        assert len(answers(where, "a dog")) == 5


def test_a_model_whose_length_is_not_in_its_files(texts_place: Place, model_of: Folder) -> None:
    """It is loaded on the driver; beside a sparse one the collection remembers each of them by itself."""
    models = {"model": model_of("static-limited"), "sparse_model": model_of("splade")}
    checked = texts_place.check(table(TEXTS), **models)
    assert [(vector.kind, str(vector.model).count(" + ")) for vector in checked.spec.metadata.vectors] == [
        ("dense", 0),
        ("sparse", 0),
    ]
    texts_place.write(table(TEXTS), **models)
    assert len(answers(texts_place, "a dog")) == 5


def test_both_models_read_the_same_text(texts_place: Place, tiny_model: Path, model_of: Folder) -> None:
    """Tokens are counted once for each text, so that the line about a text that is too long is true."""
    with pytest.raises(BadRowError) as refused:
        texts_place.write(
            table(["dog", "dog " * 70]), model=tiny_model, sparse_model=model_of("splade"), long_text="fail"
        )
    assert str(refused.value) == (
        f"the row with key '1' cannot be written: column 'text' has 72 tokens, the model reads {MAX_TOKENS} (option "
        "'long_text' = 'fail')"
    )
