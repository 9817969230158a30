"""Items made ahead in a thread: in their order, with what their source raises, and closed where they are not wanted."""

import threading
import time
from collections.abc import Iterator

import pytest

from replay.ahead import ahead


def test_items_come_in_order_and_a_bounded_number_is_made_ahead() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    found = ahead(source(), 3)
    assert next(found) == 0
    time.sleep(0.3)
    assert len(made) <= 6  # the one that was taken, those that wait, one at the door
    assert [0, *found] == list(range(100))


def test_a_fault_of_the_source_comes_behind_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("the journal ends here")

    found = ahead(source())
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(LookupError, match="ends here"):
        next(found)


def test_a_source_that_is_not_wanted_any_more_is_closed_in_its_thread() -> None:
    closed: list[int] = []

    def source() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.append(threading.get_ident())

    found = ahead(source())
    assert next(found) == 0
    found.close()
    assert len(closed) == 1
    assert closed[0] != threading.get_ident()
    assert not [each for each in threading.enumerate() if each.name == "items ahead"]


def test_items_are_made_from_the_call_on_and_who_takes_none_leaves_no_thread() -> None:
    began, ended = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        try:
            began.set()
            yield 1
            yield 2
        finally:
            ended.set()

    items = ahead(source(), 1)
    assert began.wait(30.0)
    items.close()
    assert ended.is_set()
    assert "items ahead" not in [thread.name for thread in threading.enumerate()]
