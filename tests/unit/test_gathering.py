"""A request never lets a filter choose among points of which the server may hold older copies: right before stands an
operation that names them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qdrant_client import grpc as messages

from spark_vector_sink.store.qdrant.operations import Operation, removing, writing
from spark_vector_sink.store.write_batch import How, Removal
from tests.qdrant_tasks import Place, batch

IDS = [3, 5, 8, 13]
PLACE = Place(None, "c", ("title", "body"))


def operations(operation: Operation) -> list[tuple[str, Any]]:
    """Of a request for all points: the name of each operation, and itself."""
    request = messages.UpdateBatchPoints.FromString(operation.make(0, len(IDS)))
    return [
        (name, getattr(change, name)) for change in request.operations if (name := str(change.WhichOneof("operation")))
    ]


def filter_of(name: str, operation: Any) -> Any:
    if name == "update_vectors":
        return operation.update_filter
    return (operation.points if name == "delete_points" else operation.points_selector).filter


WRITES = [
    (how, versions) for how in (How.MERGE, How.PAYLOAD, How.PATCH, How.TOMBSTONE) for versions in (None, [7, 7, 8, 9])
]


@pytest.mark.parametrize(("how", "versions"), WRITES)
def test_points_are_named_before_a_filter_chooses_among_them(how: How, versions: list[int] | None) -> None:
    """All that the filter is about, by an operation that sets nothing."""
    made = operations(
        writing(
            "c",
            batch(PLACE, IDS, how=how, versions=versions, text="new", sink={"fingerprint": "f"}),
            "weak",
            lambda: ["title"],
        )
    )
    filters = 0
    for (before, earlier), (name, operation) in zip([("", None), *made], made, strict=False):
        if name == "upsert":
            continue
        conditions = filter_of(name, operation).must
        if conditions:
            filters += 1
            assert before == "set_payload"
            assert earlier is not None
            assert not earlier.payload
            assert list(earlier.points_selector.points.ids) == list(conditions[0].has_id.has_id)
        else:
            assert name == "update_vectors" or operation.points_selector.points.ids
    assert (filters > 0) == (versions is not None or how is How.TOMBSTONE)


def test_points_are_named_before_older_ones_are_removed() -> None:
    """And only then the versions are compared."""
    (first, named), (second, removed) = operations(
        removing("c", Removal(IDS, np.array([7, 7, 8, 9], np.int64)), "weak")
    )
    assert (first, second) == ("set_payload", "delete_points")
    assert not named.payload
    assert [point.num for point in named.points_selector.points.ids] == IDS
    assert removed.points.filter.should


def test_a_plain_removal_has_no_filter() -> None:
    """It names its points, and nothing else is needed."""
    request = messages.DeletePoints.FromString(removing("c", Removal(IDS), "weak").make(0, len(IDS)))
    assert [point.num for point in request.points.points.ids] == IDS
