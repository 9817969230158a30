"""Items of an iterator that are made in a thread of their own, while those before are used.

Kernels hold no interpreter lock: where there is a second core, one makes the events of the next blocks while another
takes those of the last.
"""

import threading
from collections.abc import Generator, Iterator
from queue import Empty, Full, Queue
from typing import Any, Final, TypeVar

Item = TypeVar("Item")

#: Time between two looks whether the items are still wanted, in seconds.
_LOOK_S: Final = 0.1


def ahead(source: Iterator[Item], items_max: int = 4) -> Generator[Item, None, None]:
    """Give the items of ``source`` in their order, up to ``items_max`` of them made ahead, from this call on.

    What the source raises is raised here, behind the items before it. A source that is a generator is closed in its
    thread, before this generator ends. Close it, whether items were taken or not.

    >>> list(ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    items = _items(source, items_max)
    next(items)  # a generator that has not begun would leave the thread when it is closed
    return items


def _items(source: Iterator[Any], items_max: int) -> Generator[Any, None, None]:
    """None, once the thread has begun, and then the items."""
    waiting: Queue[tuple[Any, BaseException | None]] = Queue(items_max)
    unwanted = threading.Event()

    def put(item: Any, fault: BaseException | None = None) -> bool:
        while not unwanted.is_set():
            try:
                waiting.put((item, fault), timeout=_LOOK_S)
            except Full:
                continue
            return True
        return False

    def make() -> None:
        fault: BaseException | None = None
        try:
            for item in source:
                if not put(item):
                    break
        except BaseException as error:
            fault = error
        finally:
            if isinstance(source, Generator):
                source.close()
        put(None, fault or StopIteration())

    thread = threading.Thread(target=make, name="items ahead", daemon=True)
    thread.start()
    try:
        yield None
        while True:
            item, fault = waiting.get()
            if isinstance(fault, StopIteration):
                return
            if fault is not None:
                raise fault
            yield item
    finally:
        unwanted.set()
        while not waiting.empty():
            try:
                waiting.get_nowait()
            except Empty:
                break
        thread.join()
