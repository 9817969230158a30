"""Images whose ids an engine adopts: the same market, without a copy of what is most of a busy day's image."""

from dataclasses import replace

import numpy as np
import pytest

from engine import Capacity, Engine
from engine.parts import Arrays
from tests.streams import random_stream

ROOM = Capacity(orders_max=256, ids_max=1_024, instruments_max=4, participants_max=8)
ROWS = random_stream(5, 1_500)


def image_of(engine: Engine, *, whole: bool) -> dict[str, Arrays]:
    """A copy of the state; ``whole``: with all pages of the ids."""
    parts = {part: {name: each.copy() for name, each in arrays.items()} for part, arrays in engine.parts().items()}
    if whole:
        pages = engine._state.ids.view(np.uint8).view(np.int64).reshape(-1, parts["ids"]["ids_pages"].shape[1])
        parts["ids"] |= {"ids_places": np.arange(len(pages)), "ids_pages": in_lines(pages)}
    return parts


def in_lines(pages: np.ndarray) -> np.ndarray:
    """A copy that begins with a cache line, as an array of a checkpoint does."""
    octets = np.zeros(pages.nbytes + 64, np.uint8)
    begin = -octets.ctypes.data % 64
    found = octets[begin : begin + pages.nbytes].view(np.int64).reshape(pages.shape)
    found[:] = pages
    return found


@pytest.mark.parametrize("whole", [True, False])
def test_an_engine_that_adopts_an_image_goes_on_as_one_that_copies_it(whole: bool) -> None:
    half, room = len(ROWS) // 2, ROOM if whole else replace(ROOM, ids_max=65_536)  # few of its pages are in use
    engine = Engine(room)
    engine.apply(ROWS[:half])
    given, kept = image_of(engine, whole=whole), image_of(engine, whole=whole)
    adopting = Engine.restore(room, engine.seq, engine.event_digest, given, adopts=True)
    copying = Engine.restore(room, engine.seq, engine.event_digest, kept)
    assert np.may_share_memory(adopting._state.ids, given["ids"]["ids_pages"]) == whole
    assert not np.may_share_memory(copying._state.ids, kept["ids"]["ids_pages"])
    for each in (engine, adopting, copying):
        each.check()
    expected = engine.apply(ROWS[half:]).tobytes()
    assert expected
    for each in (adopting, copying):
        assert each.apply(ROWS[half:]).tobytes() == expected
        assert each.part_digests() == engine.part_digests()
        each.check()


def test_ids_that_do_not_begin_with_a_cache_line_are_copied() -> None:
    engine = Engine(ROOM)
    engine.apply(ROWS)
    parts = image_of(engine, whole=True)
    pages = parts["ids"]["ids_pages"]
    octets = np.zeros(pages.nbytes + 128, np.uint8)
    begin = 8 - octets.ctypes.data % 64 + 64
    shifted = octets[begin : begin + pages.nbytes].view(np.int64).reshape(pages.shape)
    shifted[:] = pages
    parts["ids"]["ids_pages"] = shifted
    again = Engine.restore(ROOM, engine.seq, engine.event_digest, parts, adopts=True)
    assert not np.may_share_memory(again._state.ids, shifted)
    assert again.part_digests() == engine.part_digests()
