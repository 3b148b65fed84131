"""Chunks that a document no longer has are gone, and only those: the same on every store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_vector_sink.encode import loader
from spark_vector_sink.errors import BadRowError
from spark_vector_sink.options import ID_NAMESPACE
from spark_vector_sink.report import WriteReport
from spark_vector_sink.rows.keys import chunk_id, point_ids
from spark_vector_sink.store.edge import ingest as edge_ingest
from spark_vector_sink.store.qdrant.writer import QdrantStore
from spark_vector_sink.store.write_batch import How, PointBatch
from spark_vector_sink.task.stale_chunks import Shards, StaleChunks
from tests.fake_server import FakeServer
from tests.jobs import Place, place, server_place
from tests.tiny_model import DIMENSION

__all__ = ["place"]

VERSIONED = {"op_column": "op", "version_column": "version", "payload_exclude": "op,version"}
PLAIN = {"op_column": "op", "payload_exclude": "op,version"}


def text(sentences: int, word: str = "dog") -> str:
    """Some 14 tokens for each sentence, of which a chunk has at most 64."""
    return " ".join(
        f"the {word} number {number} and the cat number {number + 1} sleep in the sun." for number in range(sentences)
    )


def rows(**by_key: str | None) -> pa.Table:
    return pa.table({"id": pa.array(list(by_key), pa.string()), "text": pa.array(list(by_key.values()), pa.string())})


def change(key: str, what: str | None, version: int, op: str = "upsert") -> pa.Table:
    """One row of a change feed."""
    return (
        rows(**{key: what})
        .append_column("op", pa.array([op]))
        .append_column("version", pa.array([version], pa.int64()))
    )


@pytest.fixture
def chunking(place: Place, tiny_model: Path) -> Place:
    """Every store in turn, for jobs that cut long texts into chunks."""
    options = {name: value for name, value in place.options.items() if name != "vector_column"}
    return Place({**options, "model": str(tiny_model), "long_text": "chunk", "device": "cpu", "dtype": "float32"})


def ours(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `_sink` says; nothing of a document in one piece."""
    found: Mapping[str, Any] = payload.get("_sink", {})
    return found


def chunks(place: Place) -> dict[str, list[dict[str, Any]]]:
    """Of every document that a search finds, the payloads of its chunks in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for hit in place.nearest([1.0] + [0.0] * (DIMENSION - 1)):
        found.setdefault(hit.payload["id"], []).append(dict(hit.payload))
    return {key: sorted(payloads, key=lambda one: int(ours(one).get("chunk", 0))) for key, payloads in found.items()}


def are_whole(place: Place, **wanted: str) -> bool:
    """Whether there are just these documents, and of each just the chunks of this text."""
    found = chunks(place)
    for key, payloads in found.items():
        numbers = [ours(payload).get("chunk", 0) for payload in payloads]
        counts = {ours(payload).get("chunks", 1) for payload in payloads}
        assert (numbers, counts) == (list(range(len(payloads))), {len(payloads)}), key
        for payload in payloads:
            start, stop = ours(payload).get("span", (0, len(wanted[key])))
            assert payload["text"] == wanted[key][int(start) : int(stop)], key
        assert {word for payload in payloads for word in payload["text"].split()} == set(wanted[key].split()), key
    return found.keys() == wanted.keys()


def counted(place: Place, *tables: pa.Table, **options: Any) -> tuple[int, WriteReport]:
    """Write; how many points the store has then, and the report."""
    loader.unload()
    report = place.write(*tables, **options)
    assert report.stored_points is not None
    return report.stored_points, report


class TestShorter:
    def test_a_document_that_shrank(self, chunking: Place) -> None:
        """Has as many points as its text asks for; its neighbours keep theirs."""
        before, _ = counted(chunking, rows(a=text(30), b=text(20)))
        after, _ = counted(chunking, rows(a=text(10)))
        assert 4 <= after < before - 3
        assert are_whole(chunking, a=text(10), b=text(20))

    def test_a_document_that_shrank_to_one_piece_and_grew_again(self, chunking: Place) -> None:
        """Chunk 0 is the document's own point, so it is never among those that go."""
        counted(chunking, rows(a=text(30)))
        assert counted(chunking, rows(a="short"))[0] == 1
        assert are_whole(chunking, a="short")
        counted(chunking, rows(a=text(15)))
        assert are_whole(chunking, a=text(15))

    def test_a_document_that_shrank_within_a_job(self, chunking: Place) -> None:
        """Its rows are windows apart, so both are written, one after the other."""
        counted(chunking, rows(a=text(30)), long_text="chunk")
        both = pa.concat_tables([rows(a=text(40)), rows(b="b"), rows(a=text(8))])
        counted(chunking, both, window_rows=1)
        assert are_whole(chunking, a=text(8), b="b")

    def test_a_document_of_which_only_the_beginning_was_not_written(
        self, tiny_model: Path, fake_server: FakeServer
    ) -> None:
        """The first chunk says how many there are, so no other is there without it: else nobody would find those to
        remove them."""
        place = server_place(fake_server, model=str(tiny_model), long_text="chunk", device="cpu", dtype="float32")
        counted(place, rows(b="b"))
        (head,) = point_ids([("a",)], ID_NAMESPACE)
        fake_server.fault("Points/Upsert", "invalid", times=None, ids=[head, chunk_id(head, 1, ID_NAMESPACE)])
        with pytest.raises(BadRowError):
            counted(place, rows(a=text(30)), batch_points=2)
        fake_server.clear_faults()
        counted(place, rows(a="short"))
        assert are_whole(place, a="short", b="b")

    def test_under_versions(self, chunking: Place) -> None:
        """A newer text that is shorter takes the chunks with it, a late one that is longer leaves none."""
        counted(chunking, change("a", text(30), 1), **VERSIONED)
        counted(chunking, change("a", text(10), 3), **VERSIONED)
        assert are_whole(chunking, a=text(10))
        _, report = counted(chunking, change("a", text(40), 2), **VERSIONED)
        assert report.older == 1
        assert are_whole(chunking, a=text(10))

    @pytest.mark.parametrize("long_text", ["truncate", "fail"])
    def test_a_later_job_without_chunks(self, chunking: Place, long_text: str) -> None:
        """The collection remembers that documents may have several."""
        counted(chunking, rows(a=text(30), b=text(20)))
        counted(chunking, rows(a="in one piece"), long_text=long_text)
        assert are_whole(chunking, a="in one piece", b=text(20))
        counted(chunking, rows(b="so is this"), long_text=long_text)
        assert are_whole(chunking, a="in one piece", b="so is this")


class TestDeleted:
    def test_all_its_chunks_go(self, chunking: Place) -> None:
        """Without versions nothing at all is left."""
        counted(chunking, rows(a=text(30), b="short"))
        points, report = counted(chunking, change("a", None, 1, "delete"), **PLAIN)
        assert (points, report.deleted) == (1, 1)
        assert are_whole(chunking, b="short")

    def test_under_versions_one_tombstone_is_left(self, chunking: Place) -> None:
        """No search finds it, and a late long text does not come back beside it."""
        counted(chunking, change("a", text(30), 1), **VERSIONED)
        assert counted(chunking, change("a", None, 5, "delete"), **VERSIONED)[0] == 1
        assert counted(chunking, change("a", text(20), 4), **VERSIONED)[0] == 1
        assert are_whole(chunking)
        counted(chunking, change("a", text(20), 6), **VERSIONED)
        assert are_whole(chunking, a=text(20))

    def test_a_late_deletion_takes_no_chunk(self, chunking: Place) -> None:
        """Neither the first nor another."""
        counted(chunking, change("a", text(30), 5), **VERSIONED)
        assert counted(chunking, change("a", None, 4, "delete"), **VERSIONED)[1].older == 1
        assert are_whole(chunking, a=text(30))

    def test_by_a_job_without_chunks(self, chunking: Place) -> None:
        """The collection remembers that documents may have several."""
        counted(chunking, rows(a=text(30)))
        assert counted(chunking, change("a", None, 1, "delete"), long_text="truncate", **PLAIN)[0] == 0

    def test_missing_from_a_full_load(self, chunking: Place) -> None:
        """With all its chunks, counted as one document; those of unchanged documents are seen, each of them."""
        load = {"delete_missing": True, "source": "table", "max_delete_share": 0.5, "unchanged": "skip"}
        counted(chunking, rows(a=text(30), b=text(20), c="short"), **load)
        _, report = counted(chunking, rows(b=text(20), c="short"), **load)
        assert (report.missing_deleted, report.unchanged, report.device) == (1, 2, "")
        assert are_whole(chunking, b=text(20), c="short")
        _, report = counted(chunking, rows(b=text(6), c="short"), **load)
        assert report.missing_deleted == 0
        assert are_whole(chunking, b=text(6), c="short")


class TestUnchanged:
    def test_nothing_is_encoded(self, chunking: Place) -> None:
        """Where every chunk is as it was."""
        before, _ = counted(chunking, rows(a=text(30), b="short"), unchanged="skip")
        after, report = counted(chunking, rows(a=text(30), b="short"), unchanged="skip")
        assert (after, report.unchanged, report.points, report.device) == (before, 2, 0, "")

    def test_a_payload_reaches_every_chunk(self, chunking: Place) -> None:
        """Without encoding; the text of each and its place in the document stay its own."""
        table = rows(a=text(30), b="short")
        counted(chunking, table.append_column("n", pa.array([1, 1])), unchanged="skip")
        _, report = counted(chunking, table.append_column("n", pa.array([2, 1])), unchanged="skip")
        assert (report.written, report.unchanged, report.device) == (1, 1, "")
        assert {payload["n"] for payload in chunks(chunking)["a"]} == {2}
        assert are_whole(chunking, a=text(30), b="short")
        assert counted(chunking, table.append_column("n", pa.array([2, 1])), unchanged="skip")[1].unchanged == 2

    def test_a_missing_chunk_is_noticed(self, chunking: Place) -> None:
        """And the document is written again."""
        counted(chunking, rows(a=text(30)), unchanged="skip")
        (document,) = point_ids([("a",)], ID_NAMESPACE)
        chunking.write(
            change(str(chunk_id(document, 3, ID_NAMESPACE)), None, 1, "delete"), long_text="truncate", **PLAIN
        )
        assert [payload["_sink"]["chunk"] for payload in chunks(chunking)["a"]][2:4] == [2, 4]
        assert counted(chunking, rows(a=text(30)), unchanged="skip")[1].written == 1
        assert are_whole(chunking, a=text(30))

    def test_a_chunk_too_many_is_noticed(self, chunking: Place) -> None:
        """As a task leaves it that was killed beside another writer: the document is written again, and the chunk
        goes."""
        points, _ = counted(chunking, rows(a=text(12)), unchanged="skip")
        (document,) = point_ids([("a",)], ID_NAMESPACE)
        beyond = pa.table({"id": [chunk_id(document, points, ID_NAMESPACE)], "text": ["left over"]})
        assert counted(chunking, beyond, long_text="truncate")[0] == points + 1
        after, report = counted(chunking, rows(a=text(12)), unchanged="skip")
        assert (after, report.written) == (points, 1)
        assert are_whole(chunking, a=text(12))


class Killed(BaseException):
    """Stands for the end of a process, which nothing catches."""


def test_killed_between_the_removal_and_the_write(chunking: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """And run again, it leaves nothing behind: the document's own point still says how many chunks there were."""
    counted(chunking, rows(a=text(30), b="b"))
    with monkeypatch.context() as patched:
        if "url" in chunking.options:

            def killed(self: QdrantStore, points: PointBatch) -> None:
                assert points.how is How.REPLACE
                self.flush()
                raise Killed

            patched.setattr(QdrantStore, "submit", killed)
        else:
            original = edge_ingest.remove_chunks

            def removed(*arguments: Any) -> None:
                original(*arguments)
                raise Killed

            patched.setattr(edge_ingest, "remove_chunks", removed)
        with pytest.raises(Killed):
            counted(chunking, rows(a=text(10)))
    counted(chunking, rows(a=text(10)))
    assert are_whole(chunking, a=text(10), b="b")


@pytest.mark.parametrize("place", ["fake", pytest.param("real", marks=pytest.mark.qdrant)], indirect=True)
class TestTwoWriters:
    """On a server, where jobs write at the same time. Each is stopped at its worst moment, and the other one's whole
    job comes in between."""

    @pytest.mark.parametrize("newer", [text(4), None], ids=["shorter", "deleted"])
    def test_an_older_long_text_between_the_look_and_the_write(
        self, chunking: Place, monkeypatch: pytest.MonkeyPatch, newer: str | None
    ) -> None:
        """Leaves no chunk beside the newer document, which did not see it when it looked for chunks to remove."""
        counted(chunking, change("a", "short", 1), **VERSIONED)
        interrupt(monkeypatch, "_remove", lambda: chunking.write(change("a", text(30), 2), **VERSIONED))
        chunking.write(change("a", newer, 3, "upsert" if newer else "delete"), **VERSIONED)
        assert are_whole(chunking, **({"a": newer} if newer else {}))
        assert counted(chunking, change("z", "z", 1), **VERSIONED)[0] == 1 + (
            len(chunks(chunking)["a"]) if newer else 1
        )

    def test_a_newer_short_text_between_the_look_and_the_write(
        self, chunking: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The older job takes its own chunks back."""
        counted(chunking, change("a", "short", 1), **VERSIONED)
        interrupt(monkeypatch, "_remove", lambda: chunking.write(change("a", text(4), 3), **VERSIONED))
        assert chunking.write(change("a", text(30), 2), **VERSIONED).older == 1
        assert are_whole(chunking, a=text(4))

    def test_an_older_job_that_was_killed_before_it_looked(
        self, chunking: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Has left chunks; it is run again, finds its row older than what is there, and takes them back."""
        counted(chunking, change("a", "short", 1), **VERSIONED)
        with monkeypatch.context() as patched:
            interrupt(patched, "_remove", lambda: chunking.write(change("a", text(4), 3), **VERSIONED))

            sweeps = [StaleChunks.sweep]  # of the newer job, which is the first to come to it

            def killed(self: StaleChunks, documents: Shards) -> None:
                if not sweeps:
                    raise Killed
                sweeps.pop()(self, documents)

            patched.setattr(StaleChunks, "sweep", killed)
            with pytest.raises(Killed):
                chunking.write(change("a", text(30), 2), **VERSIONED)
        assert len(chunks(chunking)["a"]) > chunks(chunking)["a"][0]["_sink"]["chunks"]
        assert chunking.write(change("a", text(30), 2), **VERSIONED).older == 1
        assert are_whole(chunking, a=text(4))


def interrupt(monkeypatch: pytest.MonkeyPatch, method: str, between: Callable[[], object]) -> None:
    """Have something done once, after this method of the next task that looks for chunks to remove."""
    original, todo = getattr(StaleChunks, method), [between]

    def interrupted(self: StaleChunks, *arguments: Any) -> Any:
        result = original(self, *arguments)
        while todo:
            todo.pop()()
        return result

    monkeypatch.setattr(StaleChunks, method, interrupted)
