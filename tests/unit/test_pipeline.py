"""The threads of a task: one ahead, one behind, and the first error ends all."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from spark_vector_sink.task.pipeline import Pipeline
from tests.hangs import HANGS_AFTER_SECONDS


def helpers() -> list[threading.Thread]:
    return [
        thread for thread in threading.enumerate() if thread.name.startswith(("vectorsink-ahead", "vectorsink-behind"))
    ]


def test_items_keep_their_order() -> None:
    """Whatever is made ahead, and whatever is done behind."""
    done: list[int] = []
    with Pipeline() as pipeline:
        for item in pipeline.ahead(iter(range(50))):
            pipeline.behind(lambda item=item: done.append(item))  # type: ignore[misc]
        pipeline.wait()
        assert done == list(range(50))


def test_one_item_is_made_ahead_and_no_more() -> None:
    """While the first is in use the second is made, and the third is not begun: memory is bounded."""
    begun: list[int] = []
    second, third = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        for number, event in enumerate((threading.Event(), second, third)):
            begun.append(number)
            event.set()
            yield number

    with Pipeline() as pipeline:
        items = pipeline.ahead(source())
        assert next(items) == 0
        assert second.wait(HANGS_AFTER_SECONDS)
        assert not third.is_set()
        assert begun == [0, 1]
        assert list(items) == [1, 2]


def test_the_first_item_is_begun_at_once() -> None:
    """Before anybody asks for it, so that a model can be loaded meanwhile."""
    begun = threading.Event()

    def source() -> Iterator[int]:
        begun.set()
        yield 1

    with Pipeline() as pipeline:
        items = pipeline.ahead(source())
        assert begun.wait(HANGS_AFTER_SECONDS)
        assert list(items) == [1]


def test_one_piece_of_work_waits_behind_and_no_more() -> None:
    """The caller goes on while one is done, and waits when it has the next."""
    go_on, handed_over = threading.Event(), threading.Event()

    def hand_over_the_second() -> None:
        pipeline.behind(lambda: None)
        handed_over.set()

    with Pipeline() as pipeline:
        pipeline.behind(lambda: bool(go_on.wait(HANGS_AFTER_SECONDS)) and None)
        other = threading.Thread(target=hand_over_the_second)
        other.start()
        assert not handed_over.wait(0.05)
        go_on.set()
        other.join(HANGS_AFTER_SECONDS)
        assert handed_over.is_set()


def test_an_error_ahead_is_raised_where_the_item_is_asked_for() -> None:
    """As the same object, so that its class and its message stay."""
    error = ValueError("ahead")

    def source() -> Iterator[int]:
        yield 1
        raise error

    with pytest.raises(ValueError, match="ahead") as raised, Pipeline() as pipeline:
        assert list(pipeline.ahead(source()))
    assert raised.value is error
    assert not helpers()


def test_an_error_behind_is_raised_at_the_next_hand_over() -> None:
    """And nothing more is done after it."""
    done: list[int] = []

    def fail() -> None:
        raise ValueError("behind")

    def job() -> None:
        with Pipeline() as pipeline:
            pipeline.behind(fail)
            pipeline.behind(lambda: done.append(1))

    with pytest.raises(ValueError, match="behind"):
        job()
    assert not done
    assert not helpers()


def test_the_first_error_is_the_one_raised() -> None:
    """An error that follows from it, or comes later by itself, does not take its place."""
    failed = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        failed.wait(HANGS_AFTER_SECONDS)
        raise KeyError("second")

    def fail() -> None:
        try:
            raise ValueError("first")
        finally:
            failed.set()

    def job() -> None:
        with Pipeline() as pipeline:
            items = pipeline.ahead(source())
            next(items)
            pipeline.behind(fail)
            next(items)

    with pytest.raises(ValueError, match="first"):
        job()


def test_an_error_of_the_caller_stops_what_is_waited_for() -> None:
    """`stop` ends the waiting of a helper, whose own error then is not the one that is raised."""
    closed, waiting = threading.Event(), threading.Event()

    def send() -> None:
        waiting.set()
        closed.wait(HANGS_AFTER_SECONDS)
        raise OSError("closed")

    def job() -> None:
        with Pipeline(closed.set) as pipeline:
            pipeline.behind(send)
            assert waiting.wait(HANGS_AFTER_SECONDS)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        job()
    assert not helpers()


def test_an_error_keeps_its_cause() -> None:
    """The message of some says only the kind of it."""

    def fail() -> None:
        raise ValueError("ours") from OSError("theirs")

    def job() -> None:
        with Pipeline() as pipeline:
            pipeline.behind(fail)
            pipeline.wait()

    with pytest.raises(ValueError, match="ours") as raised:
        job()
    assert isinstance(raised.value.__cause__, OSError)


def test_a_slow_source_is_not_read_on_after_an_error() -> None:
    """A window of thousands of rows that come one by one would take an hour, in vain."""
    failed, read = threading.Event(), []

    def source() -> Iterator[int]:
        for number in range(1000):
            if number == 2:
                assert failed.wait(HANGS_AFTER_SECONDS)
            read.append(number)
            yield number

    def job() -> None:
        with Pipeline(failed.set) as pipeline:
            pipeline.ahead(list(pipeline.until_error(source())) for _ in range(1))
            raise ValueError("model")

    with pytest.raises(ValueError, match="model"):
        job()
    assert read == [0, 1, 2]


@pytest.mark.parametrize("fails", [False, True])
def test_stop_is_called_once_and_no_thread_is_left(fails: bool) -> None:
    """After success and after failure alike."""
    stops: list[int] = []
    try:
        with Pipeline(lambda: stops.append(1)) as pipeline:
            list(pipeline.ahead(iter([1, 2])))
            pipeline.behind(lambda: None)
            if fails:
                raise ValueError
    except ValueError:
        pass
    assert stops == [1]
    assert not helpers()
