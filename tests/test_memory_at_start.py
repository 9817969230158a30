"""Memory of a node before its first order: what orders touch is there, so that a sudden load does not wait for it."""

import ctypes
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.capacity import Capacity
from gateway.ouch.outbox import OuchOutbox
from node.core.opening import open_directory

CAPACITY = Capacity(orders_max=1 << 18, ids_max=1 << 18, instruments_max=4, participants_max=4)


def resident(array: NDArray[Any]) -> float:
    """Share of an array's pages that are in memory."""
    address = array.ctypes.data
    begin = address - address % mmap.PAGESIZE
    pages = -(-(address + array.nbytes - begin) // mmap.PAGESIZE)
    states = np.zeros(pages, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_size_t(pages * mmap.PAGESIZE)
    assert libc.mincore(ctypes.c_void_p(begin), size, states.ctypes.data_as(ctypes.c_void_p)) == 0
    return float((states & 1).mean())


def tables_of(outbox: OuchOutbox) -> list[NDArray[Any]]:
    """Tables of the messages to users that a block of orders touches at any place."""
    tables = outbox.streams.tables
    return [tables.open, tables.rest, tables.out, tables.grouped, tables.messages]


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2], ids=["a new directory", "one that is opened again"])
def test_a_node_that_opens_its_directory_has_the_memory_that_its_first_orders_touch(tmp_path: Path, times: int) -> None:
    for _ in range(times):
        opened = open_directory(tmp_path / "node", CAPACITY, "none")
        opened.journal.close()
    state = opened.engine._state  # type: ignore[attr-defined]
    # An array seldom begins with a page: its last one may be missing.
    assert min(resident(each) for each in (*tables_of(opened.outbox), state.orders, state.ids)) > 0.99
