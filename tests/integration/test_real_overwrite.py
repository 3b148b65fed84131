"""Overwrites on a real Qdrant: what a reader sees meanwhile, two at once, killed between any two steps, plain
collections, rights."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from spark_vector_sink import job, rollback
from spark_vector_sink.driver import committer
from spark_vector_sink.driver import plan as planning
from spark_vector_sink.errors import CollectionError
from spark_vector_sink.report import WriteReport
from spark_vector_sink.store import collection_versions
from spark_vector_sink.store.qdrant import heartbeat as hearts
from spark_vector_sink.store.qdrant import wait_for_index
from spark_vector_sink.store.qdrant.collections import QdrantCollections
from spark_vector_sink.task import partition_writer
from spark_vector_sink.task.context import TaskContext
from tests.hangs import HANGS_AFTER_SECONDS
from tests.jobs import Place, server_place
from tests.killed import STEPS, edition, killed_at

pytestmark = pytest.mark.qdrant


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small index is there at once; three looks at it need not take a second and a half."""
    monkeypatch.setattr(wait_for_index, "LOOK_SECONDS", 0.02)


@pytest.fixture
def place(qdrant_server: Any) -> Place:
    """A name of its own; jobs write ready-made vectors."""
    return server_place(qdrant_server, vector_column="v")


def name_of(place: Place) -> str:
    return str(place.options["path"])


def there(client: QdrantClient, place: Place) -> dict[str, str]:
    """The versions that exist, by their ending, with what their metadata says."""
    name = name_of(place)
    names = sorted(c.name for c in client.get_collections().collections if c.name.startswith(f"{name}__v"))
    noted = {
        physical: (client.get_collection(physical).config.metadata or {}).get(hearts.STATE_KEY) for physical in names
    }
    return {
        physical.removeprefix(f"{name}__"): (note or {"state": "ready"})["state"] for physical, note in noted.items()
    }


@dataclass
class Poller:
    """Asks the alias 50 times a second, from a thread: a search for everything, and a count; and keeps what was wrong
    with the answers."""

    client: QdrantClient
    name: str
    asked: int = 0
    wrong: list[str] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    longest: float = 0.0
    """seconds"""

    def ask(self) -> None:
        """One search and one count."""
        begun = time.perf_counter()
        try:
            hits = self.client.query_points(self.name, query=[1.0, 0.0, 0.0, 0.0], limit=1000, with_payload=True).points
            count = self.client.count(self.name, exact=True).count
        except Exception as error:  # any failure is one that a reader would see
            self.wrong.append(f"failed: {error}")
            return
        finally:
            self.longest = max(self.longest, time.perf_counter() - begun)
            self.asked += 2
        editions = {(hit.payload or {}).get("edition") for hit in hits}
        if len(editions) != 1:
            self.wrong.append(f"editions {editions} in one answer of {len(hits)}")
            return
        number = int(editions.pop() or 0)
        if len(hits) != 200 + number or not 200 <= count - number <= 201:  # the switch may come between the two
            self.wrong.append(f"edition {number}: {len(hits)} points found, {count} counted")
        if self.seen[-1:] != [number]:
            self.seen.append(number)

    def poll(self, until: threading.Event) -> None:
        """50 times a second, until told to end."""
        following = time.monotonic()
        while not until.is_set():
            self.ask()
            following = max(following + 0.02, time.monotonic() - 0.1)
            until.wait(max(0.0, following - time.monotonic()))

    def wait_for(self, number: int) -> None:
        """Return when an edition was seen, or when something was wrong."""
        end = time.monotonic() + HANGS_AFTER_SECONDS
        while number not in self.seen and not self.wrong:
            assert time.monotonic() < end, f"edition {number} was never seen, but {self.seen}"
            time.sleep(0.01)


def test_a_reader_never_sees_less_than_a_whole_version(
    place: Place, client: QdrantClient, record_property: Any
) -> None:
    """Ten overwrites while a poller asks: every answer is wholly one version, the versions come in order, none is
    empty, partial or an error."""
    place.write(edition(0), mode="overwrite")
    poller, over = Poller(client, name_of(place)), threading.Event()
    thread = threading.Thread(target=poller.poll, args=[over])
    thread.start()
    begun = time.monotonic()
    try:
        for number in range(1, 11):
            rows = edition(number)
            place.write(rows.slice(0, 100), rows.slice(100), mode="overwrite")
            poller.wait_for(number)  # on a busy machine the reader may be slower than the writer
    finally:
        over.set()
        thread.join()
    figures = (
        f"{poller.asked} questions in {time.monotonic() - begun:.1f} s, {len(poller.wrong)} wrong, longest pair "
        f"{poller.longest * 1000:.0f} ms"
    )
    record_property("poller", figures)
    print(figures)
    assert poller.wrong == []
    assert poller.seen == list(range(11)), figures
    assert there(client, place) == {"v10": "ready", "v11": "ready"}
    assert [
        alias.alias_name for alias in client.get_aliases().aliases if alias.alias_name.startswith(name_of(place))
    ] == [name_of(place)]


def test_two_that_end_in_the_same_moment(place: Place, client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have looked where the name stands before either moves it: the server lets one of them through, and the other
    says so."""
    place.write(edition(0))
    for round_ in range(1, 11):
        plans = [committer.prepare(planning.plan(place.options, edition(0).schema, "overwrite")) for _ in range(2)]
        reports = [
            partition_writer.write_partition(plan, edition(round_).to_batches(), TaskContext()) for plan in plans
        ]
        meeting = threading.Barrier(2)
        switch = QdrantCollections._alias

        def together(
            self: QdrantCollections, *actions: Any, _meeting: threading.Barrier = meeting, _switch: Any = switch
        ) -> None:
            if len(actions) == 2:
                _meeting.wait(HANGS_AFTER_SECONDS)
            _switch(self, *actions)

        def end(plan: job.Plan, report: Any) -> WriteReport | CollectionError:
            try:
                return committer.commit(plan, [report])
            except CollectionError as error:
                committer.abort(plan, [report], 1, str(error))
                return error

        with monkeypatch.context() as patched, ThreadPoolExecutor(2) as pool:
            patched.setattr(QdrantCollections, "_alias", together)
            ends = list(pool.map(end, plans, reports))
        won = [plan for plan, one in zip(plans, ends, strict=True) if isinstance(one, WriteReport)]
        lost = [one for one in ends if isinstance(one, CollectionError)]
        assert len(won) == len(lost) == 1, ends
        assert "another job has replaced" in str(lost[0])
        stands = {alias.alias_name: alias.collection_name for alias in client.get_aliases().aliases}
        assert won[0].target is not None
        assert stands[name_of(place)] == won[0].target.physical
    assert list(there(client, place).values()).count("ready") == 2


def editions(place: Place) -> set[int]:
    return {payload["edition"] for payload in place.stored().values()}


@pytest.mark.parametrize("step", STEPS)
def test_killed_between_two_steps(
    step: str, place: Place, client: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name stands for all of the old rows or all of the new ones; the next overwrite serves, and in the end nothing
    is left over."""
    place.write(edition(0))
    assert killed_at(place, step) == -9
    serves, states = STEPS[step]
    assert len(place.stored()) == 200 + serves
    assert editions(place) == {serves}
    assert there(client, place) == states
    monkeypatch.setattr(collection_versions, "STALE_SECONDS", -1.0)  # the hour has gone by
    place.write(edition(2), mode="overwrite")
    assert editions(place) == {2}
    left = there(client, place)
    assert len(left) == 2
    assert set(left.values()) == {"ready"}
    assert [a.alias_name for a in client.get_aliases().aliases if a.alias_name.startswith(name_of(place))] == [
        name_of(place)
    ]
    rollback(name_of(place), url=place.options["url"], grpc_port=place.options["grpc_port"])
    assert editions(place) == {serves}


def test_a_plain_collection_is_only_replaced_when_told(place: Place, client: QdrantClient) -> None:
    """It is refused in the plan; with replace_collection=true it goes, and the plan warns of the moment between."""
    name = name_of(place)
    place.write(edition(0), versioned=False)
    with pytest.raises(
        CollectionError,
        match=rf"'{name}' is a plain collection, which mode\('overwrite'\) replaces only with replace_collection=true",
    ):
        place.write(edition(1), mode="overwrite")
    report = place.write(edition(1), mode="overwrite", replace_collection=True)
    assert (
        f"'{name}' is a plain collection: between dropping it and creating the alias it is missing for a moment"
        in report.warnings
    )
    assert editions(place) == {1}
    assert there(client, place) == {"v1": "ready"}


def test_killed_while_a_plain_collection_is_replaced(place: Place, client: QdrantClient) -> None:
    """The one gap: the plain collection is gone and the alias not made. `rollback` lets the new version, which was
    complete, serve."""
    place.write(edition(0), versioned=False)
    options = Place({**place.options, "replace_collection": True})
    assert killed_at(options, "_switch 1") == -9
    assert not client.collection_exists(name_of(place))
    assert (
        rollback(name_of(place), url=place.options["url"], grpc_port=place.options["grpc_port"])
        == f"{name_of(place)}__v1"
    )
    assert editions(place) == {1}


def test_an_alias_that_somebody_else_made(place: Place, client: QdrantClient) -> None:
    """What it stands for is replaced and not dropped, and a rollback finds it, whatever it is called."""
    name = name_of(place)
    client.create_collection(
        f"{name}_by_hand", vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE)
    )
    client.update_collection_aliases(
        [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=f"{name}_by_hand", alias_name=name)
            )
        ]
    )
    place.write(edition(1), mode="overwrite", keep_versions=0)
    place.write(edition(2), mode="overwrite", keep_versions=0)
    assert there(client, place) == {"v2": "ready"}
    assert client.collection_exists(f"{name}_by_hand")


def test_a_version_under_another_alias_is_not_dropped(place: Place, client: QdrantClient) -> None:
    """Somebody still reads it."""
    name = name_of(place)
    place.write(edition(1), mode="overwrite")
    client.update_collection_aliases(
        [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=f"{name}__v1", alias_name=f"{name}_pinned")
            )
        ]
    )
    place.write(edition(2), mode="overwrite", keep_versions=0)
    assert client.count(f"{name}_pinned").count == 201


def test_indexes_that_would_be_lost_are_said(place: Place, client: QdrantClient) -> None:
    """A payload index made by hand is not on the new version: filters would be slow, or refused."""
    place.write(edition(0))
    client.create_payload_index(name_of(place), "edition", models.PayloadSchemaType.INTEGER, wait=True)
    report = place.write(edition(1), mode="overwrite")
    assert any(
        "has payload indexes that the new version will not have" in line and line.endswith(": edition")
        for line in report.warnings
    )
    report = place.write(edition(2), mode="overwrite", payload_indexes="edition:integer")
    assert report.warnings == []
    assert "edition" in client.get_collection(name_of(place)).payload_schema


def test_tasks_give_signs_of_life(place: Place, client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """While points are sent the version's heartbeat goes on; an append has none."""
    monkeypatch.setattr(hearts, "BEAT_SECONDS", 0.0)
    plan = committer.prepare(planning.plan(place.options, edition(1).schema, "overwrite"))
    assert plan.target is not None

    def beat() -> float:
        return float((client.get_collection(plan.target.physical).config.metadata or {})[hearts.HEARTBEAT_KEY])  # type: ignore[union-attr]

    first = beat()
    partition_writer.write_partition(plan, edition(1).to_batches(), TaskContext())
    assert beat() > first
    committer.abort(plan, [], 1)
    place.write(edition(0))
    assert hearts.HEARTBEAT_KEY not in (client.get_collection(name_of(place)).config.metadata or {})
