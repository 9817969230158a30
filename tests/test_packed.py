"""Arrays whose addresses kernels know live as long as the addresses do, and cannot be replaced."""

import gc
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.jit import INTERPRETED, Packed
from gateway.ouch.streams import OuchStreams


class Pair(NamedTuple):
    numbers: np.ndarray[Any, Any]
    names: np.ndarray[Any, Any]


def test_the_arrays_live_as_long_as_their_pointers() -> None:
    numbers = np.arange(4)
    alive = weakref.ref(numbers)
    packed = Packed(Pair(numbers, np.zeros(2, "<i8")))
    del numbers
    gc.collect()
    assert alive() is not None
    assert packed.arrays.numbers.tolist() == [0, 1, 2, 3]


def test_neither_arrays_nor_pointers_can_be_replaced() -> None:
    packed = Packed(Pair(np.arange(4), np.zeros(2)))
    with pytest.raises(AttributeError):
        packed.arrays = Pair(np.arange(4), np.zeros(2))  # type: ignore[misc]
    with pytest.raises(AttributeError):
        packed.pointers = np.zeros((2, 2), np.int64)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        packed.arrays.numbers = np.arange(5)  # type: ignore[misc]
    if not INTERPRETED:
        with pytest.raises(ValueError, match="read-only"):
            packed.pointers[0, 0] = 0


def test_an_engine_and_a_fold_keep_the_arrays_that_their_kernels_write_to() -> None:
    capacity = Capacity(orders_max=1, ids_max=1, instruments_max=1, participants_max=1)
    engine = Engine(capacity)
    with pytest.raises(AttributeError):
        engine._state = Engine(capacity)._state  # type: ignore[misc]
    streams = OuchStreams(capacity, lambda _segment: None, lambda _session: None, users_max=1)
    with pytest.raises(AttributeError):
        streams.tables = streams.tables._replace()  # type: ignore[misc]
