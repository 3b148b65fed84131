"""The judges of `make chaos` see what it is there to see: a campaign that cannot fail proves nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from tests.chaos.__main__ import DECK_NAMES, line, table
from tests.chaos.oracle import Content, Id, compare, compare_unfinished
from tests.chaos.proxy import Proxy, Replies
from tests.chaos.rows import COLUMNS, KEYS, draw, earlier
from tests.chaos.run import Outcome, our_line
from tests.chaos.scenario import DECK, make


def contents(word: str, keys: range = range(5)) -> dict[Id, Content]:
    """Points whose vectors and payloads come from the word."""
    return {key: Content.of(np.full(3, len(word) + key, np.float32), {"word": word}) for key in keys}


# --- the oracle -------------------------------------------------------------------------------------------------------


def test_the_same_points_are_right() -> None:
    """Points that are what they must be are in no list, whatever was there before."""
    assert compare(contents("new"), contents("new"), contents("old")).is_clean


def test_a_document_without_a_point_is_lost() -> None:
    """A document without a point is lost."""
    stored = contents("new")
    del stored[3]
    verdict = compare(stored, contents("new"), contents("old"))
    assert (verdict.lost, verdict.extra, verdict.stale, verdict.wrong) == ([3], [], [], [])


def test_a_point_that_no_document_has_is_extra() -> None:
    """A point that no document has is extra: what a second attempt with ids of its own would leave."""
    verdict = compare(contents("new") | {"b0c7": contents("new")[0]}, contents("new"))
    assert (verdict.lost, verdict.extra, verdict.stale, verdict.wrong) == ([], ["b0c7"], [], [])


def test_a_stale_point_is_found() -> None:
    """A point of the earlier rows is stale, and so is one with only their vector or only their payload."""
    new, old = contents("new"), contents("earlier")
    mixed: dict[Id, Content] = {
        1: old[1],
        2: Content(old[2].vector, new[2].payload),
        3: Content(new[3].vector, old[3].payload),
    }
    verdict = compare(new | mixed, new, old)
    assert (verdict.lost, verdict.extra, sorted(map(str, verdict.stale)), verdict.wrong) == (
        [],
        [],
        ["1", "2", "3"],
        [],
    )


def test_one_bit_of_a_vector_is_seen() -> None:
    """Vectors are compared bit by bit: a number that is the next float32 is wrong, and so is the zero with a sign."""
    wanted: dict[Id, Content] = {1: Content.of(np.array([0.1, 0.0], np.float32), {})}
    next_float, minus_zero = np.array([np.nextafter(np.float32(0.1), np.float32(1)), 0.0]), np.array([0.1, -0.0])
    for vector in (next_float, minus_zero):
        assert compare({1: Content.of(vector.astype(np.float32), {})}, wanted).wrong == [1]


@pytest.mark.parametrize("value", [1.0, True, "1", None, [1]])
def test_the_type_of_a_payload_value_is_seen(value: object) -> None:
    """A payload value of another type is wrong, also where Python calls it equal."""
    vector = np.zeros(2, np.float32)
    assert compare({7: Content.of(vector, {"n": value})}, {7: Content.of(vector, {"n": 1})}).wrong == [7]


def test_a_job_that_did_not_end_may_leave_either_rows() -> None:
    """After a failed job points are missing or of the earlier rows, but whole, and no earlier one is gone."""
    new, old = contents("new"), contents("earlier", range(3))
    left: dict[Id, Content] = {0: new[0], 1: old[1], 2: old[2], 3: new[3]}
    assert compare_unfinished(left, new, old).is_clean
    assert compare_unfinished({key: point for key, point in left.items() if key != 1}, new, old).lost == [1]
    assert compare_unfinished(left | {9: new[0]}, new, old).extra == [9]
    assert compare_unfinished(left | {1: Content(old[1].vector, new[1].payload)}, new, old).wrong == [1]


# --- what is expected of the rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KEYS)
def test_every_document_has_an_id_of_its_own(kind: str) -> None:
    """Keys of every kind give as many points as there are keys; of two rows of a key, the later one; and the earlier
    rows are of the same keys."""
    documents = draw(Random(1), [60, 1, 40], kind, list(COLUMNS), twice=0.3, stores_text=True)
    points = documents.points()
    again = sum(
        documents.key.id(one) == documents.key.id(other) for file in documents.files for one, other in pairwise(file)
    )
    assert again > 0
    assert len(points) == documents.count - again == 101 - again
    before = earlier(Random(2), documents, 0.5).points()
    assert before.keys() < points.keys()
    assert all(points[key] != point for key, point in before.items())


def test_a_run_is_determined_by_its_seed_and_number() -> None:
    """The same numbers give the same run, other numbers another one, and each deck has every kind of fault."""

    def made(seed: int, number: int) -> object:
        return make(seed, number, real=True, doors=("write", "data source"))

    assert made(5, 3) == made(5, 3)
    assert made(5, 3) != made(5, 4)
    assert made(5, 3) != made(6, 3)
    kinds = {kind for number in range(len(DECK)) for kind in make(5, number, real=True, doors=("write",)).kinds}
    assert kinds == {kind for kinds in DECK for kind in kinds} == {*DECK_NAMES, "statuses"}


# --- errors and the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("the server is gone; start it", "the server is gone; start it"),
        (
            "Job aborted\nspark_vector_sink.errors.PermanentStoreError: it is gone; start it\n\n\tat org.apache.Spark",
            "it is gone; start it",
        ),
        (
            "Job aborted\nspark_vector_sink.errors.PermanentStoreError: it is gone\nstart it\n\n\tat org.apache.Spark",
            None,
        ),
        ("Python worker exited unexpectedly (crashed)\n\tat org.apache.Spark", None),
        ("", None),
    ],
)
def test_the_line_of_an_error(error: str, line: str | None) -> None:
    """An error is one line of the package's, and more than one line, or none, is not accepted."""
    assert our_line(error) == line


def test_a_lost_point_is_in_the_table() -> None:
    """What the oracle has found is counted, and named with the command that shows it again."""
    outcome = Outcome(verdict=compare({}, contents("new")))
    assert not outcome.is_good
    assert "| points lost | 5 |" in table([outcome, Outcome()], 60)
    assert "FAILED" in line(make(1, 2, real=False, doors=("write",)), outcome, 1.0)


# --- the proxy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_replies_are_counted_however_they_are_cut(size: int) -> None:
    """DATA frames that are not empty are replies, in whatever pieces they come; SETTINGS, HEADERS and empty DATA are
    not."""
    settings, headers, reply, empty = (
        bytes([0, 0, length, kind, 0, 0, 0, 0, 1]) + b"x" * length
        for length, kind in [(18, 4), (30, 1), (9, 0), (0, 0)]
    )
    sent = settings + headers + reply + headers + empty + reply
    replies = Replies()
    assert sum(replies.count(sent[start : start + size]) for start in range(0, len(sent), size)) == 2


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A listening socket."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


def test_a_reply_is_lost_after_the_request_went_through(server: socket.socket) -> None:
    """The server has the whole request, its reply does not arrive, and the client's connection ends."""
    with (
        closing(Proxy(server.getsockname()[1])) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), 5) as client,
    ):
        there, _ = server.accept()
        client.sendall(b"a request")
        assert there.recv(100) == b"a request"
        proxy.arm("reply")
        there.sendall(bytes([0, 0, 5, 0, 0, 0, 0, 0, 1]) + b"reply")
        assert client.recv(100) == b""
        assert proxy.disarm() == {"reply": 1}
        there.close()


def test_a_request_is_cut(server: socket.socket) -> None:
    """Half of the next request gets through, then the connection ends on both sides."""
    with (
        closing(Proxy(server.getsockname()[1])) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), 5) as client,
    ):
        there, _ = server.accept()
        proxy.arm("cut")
        client.sendall(b"x" * 1000)
        assert there.recv(1000) == b"x" * 500
        assert (there.recv(1000), client.recv(1000)) == (b"", b"")
        assert proxy.disarm() == {"cut": 1}
        there.close()
