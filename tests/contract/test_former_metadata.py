"""Collections whose metadata a version before the first format wrote: whatever is done with them, it is as if this one
had; the same on every store.

`former_metadata.json` holds what that version wrote for each of the JOBS, word for word but for models, places, the
library's version and the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
from qdrant_client import QdrantClient, models

import spark_vector_sink
from spark_vector_sink.driver.collection_spec import library
from spark_vector_sink.encode import loader, model_files
from spark_vector_sink.errors import CollectionError, RefusedError
from spark_vector_sink.options import SinkOptions
from spark_vector_sink.store import registry
from spark_vector_sink.store.collection_metadata import CollectionMetadata
from spark_vector_sink.store.edge.layout import StoreDirectory, write_atomically
from spark_vector_sink.store.qdrant.connection import METADATA_KEY, our_metadata
from tests.contract.conftest import SERVERS
from tests.jobs import Place, place, server_place, vectors

__all__ = ["place"]

FORMER: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("former_metadata.json").read_text(encoding="utf-8")
)
ROWS = pa.table({"id": ["a", "b"], "text": ["read a file", "sort the list"]})
LONG = pa.table({"id": ["a", "b"], "text": ["read a file", " ".join(["read the file and sort the list"] * 20)]})
CHUNKS = {"model": "TINY-PLACE", "long_text": "chunk", "chunk_tokens": 16, "chunk_overlap_tokens": 4}
JOBS: dict[str, list[dict[str, Any]]] = {
    "dense": [{"model": "TINY-PLACE"}],
    "hybrid": [{"model": "TINY-PLACE", "sparse_model": "SPLADE-PLACE", "prompt": "one + two + "}],
    "sparse": [{"model": "none", "sparse_model": "SPLADE-PLACE"}],
    "encoder": [{"encoder": "tests.fakes:Four"}],
    "ready": [{"vector_column": "v"}],
    "chunked": [CHUNKS],
    "guest": [
        {"model": "TINY-PLACE", "max_tokens": 32, "normalize": "true"},
        {"encoder": "tests.fakes:Five", "vector_name": "second", "distance": "dot", "existing": "merge"},
        {"model": "none", "sparse_model": "SPLADE-PLACE", "sparse_vector_name": "third", "existing": "merge"},
    ],
    "hybrid guest": [
        {"encoder": "tests.fakes:Four", "vector_name": "first"},
        {
            "model": "TINY-PLACE", "sparse_model": "SPLADE-PLACE", "vector_name": "d", "sparse_vector_name": "s",
            "text_template": "about {text}", "truncate_dim": 16, "existing": "merge",
        },
    ],
}  # fmt: skip
"""Of each collection the jobs that filled it, in their order."""


def filled_in(job: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """The options of a job, with the places of its models."""
    return {"vector_column": None, **{name: words.get(str(value), value) for name, value in job.items()}}


def literally(store: str, kind: str, words: Mapping[str, str]) -> dict[str, Any]:
    """What a former version wrote for the jobs of this kind."""
    text = json.dumps(FORMER[store][kind])
    for placeholder, word in {**words, "LIBRARY": library()}.items():
        text = text.replace(placeholder, word)
    return dict(json.loads(text))


@dataclass(frozen=True)
class Former:
    """A collection, with what is remembered in it. words: what stands for each placeholder."""

    place: Place
    words: Mapping[str, str]

    @property
    def is_embedded(self) -> bool:
        return "url" not in self.place.options

    @property
    def where(self) -> dict[str, Any]:
        return {name: value for name, value in self.place.options.items() if name not in ("path", "vector_column")}

    @property
    def sink_json(self) -> Path:
        directory = StoreDirectory(Path(self.place.options["path"]))
        return directory.facts_file(directory.current() or "")

    def run(self, kind: str, **options: Any) -> list[int]:
        """All jobs of a kind; how many rows each of them did not have to encode."""
        return [self.write(LONG if kind == "chunked" else ROWS, job, **options).unchanged for job in JOBS[kind]]

    def write(self, rows: pa.Table, job: Mapping[str, Any], **options: Any) -> Any:
        return self.place.write(
            vectors(2) if "vector_column" in job else rows,
            **{"unchanged": "skip", **filled_in(job, self.words), **options},
        )

    def remembered(self) -> CollectionMetadata:
        options = SinkOptions.from_mapping(self.place.options)
        found, _ = registry.find(options)
        with registry.collections(options, found) as collections:
            remembered = collections.metadata(found.name(options))
        assert remembered is not None
        return remembered

    def noted(self) -> dict[str, Any]:
        """What stands in the collection: of an embedded store the one value, of a server that of each key of ours."""
        if self.is_embedded:
            return dict(json.loads(self.sink_json.read_text())["metadata"])
        with self._client() as client:
            return dict(client.get_collection(self.place.options["path"]).config.metadata or {})

    def note(self, metadata: Mapping[str, Any]) -> None:
        """Let that stand there."""
        if self.is_embedded:
            write_atomically(
                self.sink_json, json.dumps({**json.loads(self.sink_json.read_text()), "metadata": metadata})
            )
            return
        with self._client() as client:
            client.update_collection(self.place.options["path"], metadata=dict(metadata))

    def as_it_was(self, kind: str) -> dict[str, Any]:
        """What a former version wrote for the jobs of this kind."""
        return literally(
            "embedded" if self.is_embedded else "server", kind, {**self.words, "RUN": str(self.remembered().run)}
        )

    def inspected(self) -> str:
        return str(spark_vector_sink.inspect(self.place.options["path"], **self.where))

    def asked(self) -> list[set[tuple[str, float]]]:
        """Keys and scores of one question, by the first vector and by each that has a name."""
        names = [vector.name for vector in self.remembered().vectors if vector.name]
        found = []
        for named in ({}, *({"vector_name": name} for name in names)):
            loader.unload()
            answers = spark_vector_sink.search(self.place.options["path"], "read a file", 5, **self.where, **named)
            found.append({(answer.key, round(answer.score, 5)) for answer in answers})
        return found

    def _client(self) -> Any:
        options = self.place.options
        port = int(options["url"].rpartition(":")[2])
        return closing(
            QdrantClient(
                "localhost", port=port, grpc_port=options["grpc_port"], prefer_grpc=True, check_compatibility=False
            )
        )


@pytest.fixture
def words(tiny_model: Path, model_of: Callable[[str], Path]) -> dict[str, str]:
    """What stands for each placeholder but RUN."""
    found = {}
    for placeholder, folder in (("TINY", tiny_model), ("SPLADE", model_of("splade"))):
        found |= {
            f"{placeholder}-PLACE": str(folder),
            f"{placeholder}-IDENTITY": model_files.read(str(folder), None, None).name,
        }
    return found


@pytest.fixture
def former(place: Place, words: dict[str, str]) -> Iterator[Former]:
    yield Former(place, words)
    loader.unload()


@pytest.fixture(params=SERVERS)
def former_on_server(request: pytest.FixtureRequest, words: dict[str, str]) -> Iterator[Former]:
    yield Former(server_place(request.getfixturevalue(request.param)), words)
    loader.unload()


@pytest.mark.parametrize("store", FORMER)
@pytest.mark.parametrize("kind", JOBS)
def test_it_is_read_as_what_this_version_writes(words: dict[str, str], tmp_path: Path, kind: str, store: str) -> None:
    """Models, places and settings of each vector, and all that is known of the collection."""
    place = Place({"path": str(tmp_path / "new")})
    first, *guests = (
        place.check(vectors(1) if kind == "ready" else ROWS, **filled_in(job, words)).spec.metadata
        for job in JOBS[kind]
    )
    now = reduce(lambda theirs, guest: theirs.joined_by(guest.vectors), guests, first)
    noted = literally(store, kind, words)
    if store == "embedded":
        assert CollectionMetadata.from_json("x", noted) == now
    else:
        info = cast("models.CollectionInfo", SimpleNamespace(config=SimpleNamespace(metadata=noted)))
        assert our_metadata("x", info) == replace(now, run="RUN")


@pytest.mark.parametrize("kind", ["hybrid", "chunked", "guest"])
def test_the_same_jobs_go_on(former: Former, kind: str) -> None:
    """They know their documents again, each vector answers in words as before, and is looked at as before."""
    former.run(kind)
    now, answers, text = former.remembered(), former.asked(), former.inspected()
    former.note(former.as_it_was(kind))
    assert "format" not in str(former.noted())
    assert (former.remembered(), former.asked(), former.inspected()) == (now, answers, text)
    beside = {"existing": "merge"} if len(JOBS[kind]) > 1 else {}
    assert former.run(kind, **beside) == [2] * len(JOBS[kind])
    for job in JOBS[kind]:
        assert former.write(ROWS.slice(1), job, **beside, unchanged="encode").written == 1
    assert former.remembered() == now


def test_ready_made_vectors_have_no_model(former: Former) -> None:
    """Others like them may come, a model's may not."""
    former.run("ready")
    former.note(former.as_it_was("ready"))
    assert former.write(ROWS, JOBS["ready"][0]).unchanged == 2
    with pytest.raises(CollectionError, match="was filled with ready-made vectors"):
        former.asked()
    with pytest.raises(RefusedError, match="was filled with vectors of unknown origin"):
        former.write(ROWS, {"encoder": "tests.fakes:Four"})


def test_another_model_is_refused(former: Former) -> None:
    """With both names of two models, as they always stood in that line."""
    former.run("hybrid")
    former.note(former.as_it_was("hybrid"))
    tiny, splade = (former.words[f"{name}-IDENTITY"] for name in ("TINY", "SPLADE"))
    with pytest.raises(RefusedError) as refused:
        former.write(ROWS, {**JOBS["hybrid"][0], "prompt": "three"})
    assert (
        f"was filled with the model {tiny} prompt='one + two + ' + {splade}, this job would write vectors of {tiny} "
        f"prompt='three' + {splade}" in str(refused.value)
    )


@pytest.mark.parametrize("kind", ["hybrid", "chunked"])
def test_it_is_encoded_again(former: Former, kind: str) -> None:
    """Names, key and how texts were cut are as they were; the fresh version is written as this one writes."""
    former.run(kind)
    former.note(former.as_it_was(kind))
    before = former.remembered()
    loader.unload()
    given = {name: former.words[value] for name, value in JOBS[kind][0].items() if name.endswith("model")}
    spark_vector_sink.reembed(former.place.options["path"], **former.where, **given, max_tokens=32)
    after = former.remembered()
    assert [(vector.name, vector.kind, vector.job) for vector in after.vectors] == [
        (vector.name, vector.kind, vector.job) for vector in before.vectors
    ]
    assert (after.key, after.text, after.chunked) == (before.key, before.text, before.chunked)
    assert after.vectors[0].settings["long_text"] == before.vectors[0].settings["long_text"]
    assert "max_tokens=32" in str(after.vectors[0].model)
    assert '"format": 1' in json.dumps(former.noted())


def test_it_is_replaced(former: Former) -> None:
    """An overwrite remembers its own job alone."""
    former.run("guest")
    former.note(former.as_it_was("guest"))
    former.place.write(ROWS, mode="overwrite", vector_column=None, encoder="tests.fakes:Four")
    assert [(vector.name, vector.model) for vector in former.remembered().vectors] == [("", "encoder tests.fakes:Four")]


def test_another_vector_moves_in(former: Former) -> None:
    """What was noted before is still known."""
    former.run("dense")
    former.note(former.as_it_was("dense"))
    before = former.remembered()
    former.write(ROWS, JOBS["guest"][1])
    after = former.remembered()
    assert (after.first, [vector.name for vector in after.guests], after.key) == (before.first, ["second"], before.key)


@pytest.mark.parametrize("first_is_former", [True, False])
def test_jobs_of_two_versions_share_a_collection(former_on_server: Former, first_is_former: bool) -> None:
    """On a server each writes a key of its own, in the form of its version, and this one reads both."""
    former = former_on_server
    former.run("guest")
    now, theirs = former.remembered(), former.as_it_was("guest")
    former.note({key: value for key, value in theirs.items() if (key == METADATA_KEY) == first_is_former})
    assert [("format" in value) for key, value in sorted(former.noted().items()) if key in theirs] == [
        not first_is_former,
        *[first_is_former] * 2,
    ]
    assert former.remembered() == now
    assert former.run("guest", existing="merge") == [2, 2, 2]
    assert former.remembered() == now


def test_what_a_newer_version_noted_is_left_alone(former: Former) -> None:
    """No job, search or look reads less than is there; what others keep in the collection is theirs."""
    former.run("dense")
    newer = {**former.remembered().to_json(), "format": 2}
    former.note(newer if former.is_embedded else {METADATA_KEY: newer, "theirs": {"a": 1}})
    name = former.place.options["path"]
    for ask in (
        lambda: former.run("dense"),
        lambda: spark_vector_sink.inspect(name, **former.where),
        lambda: spark_vector_sink.search(name, "read a file", **former.where),
        lambda: spark_vector_sink.reembed(name, **former.where, encoder="tests.fakes:Four"),
    ):
        with pytest.raises(CollectionError) as refused:
            ask()
        assert str(refused.value) == (
            f"what this sink remembers in '{name}' has the format 2, of a newer version of it, and this version reads "
            "formats up to 1; "
            "update spark-vector-sink here, too"
        )
    assert (former.noted() if former.is_embedded else former.noted()[METADATA_KEY]) == newer


def test_what_a_newer_version_noted_can_be_replaced(former: Former) -> None:
    """An overwrite needs nothing of it, and leaves it where it was."""
    former.run("encoder")
    newer = {**former.remembered().to_json(), "format": 2}
    former.note(newer if former.is_embedded else {METADATA_KEY: newer})
    former.place.write(ROWS, mode="overwrite", vector_column=None, encoder="tests.fakes:Five")
    assert [vector.model for vector in former.remembered().vectors] == ["encoder tests.fakes:Five"]
    assert "v1: ready" in former.inspected()
