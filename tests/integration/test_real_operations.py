"""Tasks that write the same points of a real Qdrant at the same time: the greatest version stays, deletions
included."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from qdrant_client import models

from spark_vector_sink.errors import PermanentStoreError
from spark_vector_sink.store.qdrant import conditions
from spark_vector_sink.store.write_batch import How, PointBatch, Removal
from tests.qdrant_tasks import INDEXES_OF_A_FULL_LOAD, Place, batch, place_on

pytestmark = pytest.mark.qdrant

WRITERS, KEYS, EVENTS = 4, 200, 4_000

Event = tuple[int, int, bool]
"""Key, version, whether it is a deletion."""


def feed(seed: int) -> list[Event]:
    """Events of all keys with different versions, in any order."""
    chance = random.Random(seed)
    events = [(chance.randrange(KEYS), version, chance.random() < 0.3) for version in range(1, EVENTS + 1)]
    chance.shuffle(events)
    return events


def replay(place: Place, events: list[Event], how: How) -> None:
    """One task: requests as its own windows make them, each key once, with the greatest version of a window."""
    with place.task(batch_points=40, max_in_flight="2") as task:
        for start in range(0, len(events), 60):
            window = sorted(events[start : start + 60], key=lambda event: event[1])
            last = {key: (version, deleted) for key, version, deleted in window}
            live = [key for key, (_, deleted) in last.items() if not deleted]
            dead = [key for key, (_, deleted) in last.items() if deleted]
            if live:
                versions = [last[key][0] for key in live]
                columns = [
                    batch(place, [key], how=how, versions=[version], value=float(version), n=version)
                    for key, version in zip(live, versions, strict=True)
                ]
                task.submit(joined(columns))
            if dead:
                task.submit(
                    batch(place, dead, how=How.TOMBSTONE, versions=[last[key][0] for key in dead], sink={"deleted": 1})
                )
        task.flush()


def joined(batches: list[PointBatch]) -> PointBatch:
    """The points of batches of one point each in one."""
    table = pa.Table.from_batches([one.payload for one in batches]).combine_chunks()
    vectors = {name: np.concatenate([one.vectors[name] for one in batches]) for name in batches[0].vectors}
    versions = np.concatenate([one.versions for one in batches])
    return PointBatch([one.ids[0] for one in batches], vectors, table.to_batches()[0], versions, batches[0].how)


@pytest.mark.parametrize("how", [How.REPLACE, How.MERGE], ids=["replace", "merge"])
@pytest.mark.parametrize("optimised", [False, True], ids=["fresh", "optimised"])
def test_four_writers_at_once(qdrant_server: Any, how: How, optimised: bool) -> None:
    """Each has events of all keys in an order of its own, and some have the same ones: in the end each key is what its
    greatest version made it, with the vector and the payload of that version; a key whose last event is a deletion is
    found by no search."""
    place = place_on(qdrant_server)
    if optimised:
        with place.task() as task:
            task.submit(batch(place, range(1_000), versions=[0] * 1_000, n=0))
            task.flush()
        place.optimise()
    events = feed(7)
    shares = [events[n::WRITERS] + events[n :: 2 * WRITERS] for n in range(WRITERS)]
    for n, share in enumerate(shares):
        random.Random(n).shuffle(share)
    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(lambda share: replay(place, share, how), shares))
    last = {key: (version, deleted) for key, version, deleted in sorted(events, key=lambda event: event[1])}
    points = place.points()
    wrong = {}
    for key, (version, deleted) in last.items():
        point = points[key]
        is_ours = point.payload["_sink"]["version"] == version and ("deleted" in point.payload["_sink"]) == deleted
        whole = (
            not point.vectors
            if deleted
            else (float(point.vectors.get("", [0])[0]), point.payload["n"]) == (float(version), version)
        )
        if not (is_ours and whole):
            wrong[key] = (version, deleted, point)
    assert wrong == {}
    assert place.found(list(last)) == {key for key, (_, deleted) in last.items() if not deleted}


STRICT = models.StrictModeConfig(enabled=True, unindexed_filtering_update=False, unindexed_filtering_retrieve=False)


def test_strict_mode_takes_everything_where_the_fields_have_indexes(qdrant_server: Any) -> None:
    """Those of a full load, and `_sink.version`; a conditional upsert needs none."""
    place = place_on(qdrant_server, strict_mode_config=STRICT)
    with place.task() as task:
        task.submit(batch(place, range(10), versions=[10] * 10, sink={"source": "s", "run": "1"}, text="old"))
        task.submit(batch(place, [0], versions=[11], sink={"source": "s", "run": "1"}))
        task.touch([0, 1], {"run": "2"})
        task.flush()
        task.submit(batch(place, [2], how=How.TOMBSTONE, versions=[12], sink={"deleted": 5}))
        with pytest.raises(
            PermanentStoreError, match=r'Index required but not found for "_sink\.\w+" .*; create that payload index'
        ):
            task.flush()
    with place.client() as client:
        for field, kind in {**INDEXES_OF_A_FULL_LOAD, conditions.VERSION: "integer"}.items():
            client.create_payload_index(place.name, field, models.PayloadSchemaType(kind), wait=True)
    with place.task() as task, place.driver() as driver:
        for how in (How.MERGE, How.PAYLOAD, How.PATCH):
            task.submit(batch(place, [3], how=how, versions=[13], sink={"source": "s", "run": "2"}, text=how.value))
        task.submit(batch(place, [2], how=How.TOMBSTONE, versions=[12], sink={"deleted": 5, "source": "s", "run": "1"}))
        task.delete(Removal([4], np.array([12], np.int64)))
        task.flush()
        assert driver.missing(place.target, "s", "2") == (5, 8)
        driver.purge(place.target, "s", "2")
        driver.purge_tombstones(place.target, 6)
    assert place.points().keys() == {0, 1, 3}
