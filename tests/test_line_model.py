"""Lines of local clients under every interleaving of loads and stores, with every stale value that processors allow.

The kernels run as they are (``tests.explorer``), on rings of two bytes. Each promise has controls: the same kernels,
broken at one place, must be found out.
"""

from typing import Any, Final

import pytest

from tape import line_kernels
from tests.explorer import Explorer, Kernels, Wrong
from tests.test_tape_model import Sparse

LINES: Final = "tape/line_kernels.py"
Edit = tuple[str, str]
SMALL: Final = [
    ("RING_BYTES: Final = 1 << 16", "RING_BYTES: Final = 2"),
    ("LINES_MAX: Final = 16", "LINES_MAX: Final = 1"),
]
IN_PUT: Final = line_kernels.first_word(0) + line_kernels.IN_PUT
IN_TAKEN: Final = line_kernels.first_word(0) + line_kernels.IN_TAKEN
ASLEEP: Final = line_kernels.ASLEEP


def explore_bytes(*edits: Edit, count: int = 3, killed: bool = False) -> int:
    """A client puts the bytes 1, 2 and so on; the market takes them. killed: the client may die at any step."""
    explorer = Explorer()
    kernels = Kernels(explorer, LINES, edits={LINES: [*SMALL, *edits]})
    words = Sparse(explorer, [IN_PUT, IN_TAKEN])
    ring = explorer.words(2)

    def put() -> None:
        counts = [0]
        for value in range(1, count + 1):
            for _ in range(2):
                if kernels.put(words, ring, 0, IN_PUT, counts, 0, [value], 0, 1) == 1:
                    break
            else:
                return

    def dead() -> None:
        return

    def take() -> None:
        counts, got = [0], []
        for _ in range(3):
            room = [0, 0]
            taken = kernels.take(words, ring, 0, IN_PUT, counts, 0, room, 0, 2)
            if taken < 0:
                raise Wrong("the line looks broken")
            got += room[:taken]
        if got != list(range(1, len(got) + 1)):
            raise Wrong(f"bytes are lost, doubled or not written yet: {got}")

    explorer.thread(put, then=dead if killed else None)
    explorer.thread(take)
    return explorer.run()


def test_bytes_of_a_line_arrive_once_and_in_order_in_every_interleaving() -> None:
    assert explore_bytes() > 100


def test_a_client_that_dies_at_any_instruction_has_put_whole_bytes_alone() -> None:
    assert explore_bytes(killed=True) > 100


_WRITE: Final = (
    "    for n in range(count):\n        ring[begin + ((own + n) & _MASK)] = source[start + n]\n"
    "    if count > 0:\n        counts[at] = own + count\n        store_release(words, place, own + count)\n"
)
_COPY: Final = (
    "    for n in range(count):\n        target[start + n] = ring[begin + ((own + n) & _MASK)]\n"
    "    if count > 0:\n        counts[at] = own + count\n        store_release(words, place + LINE, own + count)\n"
)


def _swapped(text: str) -> str:
    """The text with its count stored before its loop."""
    loop, if_, rest = text.partition("    if count > 0:\n")
    return if_ + rest + loop


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param((_WRITE, _swapped(_WRITE)), id="published before the bytes are written"),
        pytest.param((_COPY, _swapped(_COPY)), id="room given back before the bytes are copied"),
        pytest.param((_WRITE, _WRITE.replace("store_release", "store_word")), id="published without release"),
        pytest.param(
            ("    waiting = load_acquire(words, place) - own\n", "    waiting = load_word(words, place) - own\n"),
            id="read without acquire",
        ),
        pytest.param(
            ("    waiting = own - load_acquire(words, place + LINE)\n", "    waiting = 0\n"), id="no look for room"
        ),
    ],
)
def test_a_line_that_is_broken_at_one_place_is_found_out(edit: Edit) -> None:
    with pytest.raises(Wrong):
        explore_bytes(edit)


def explore_sleep(*edits: Edit, woken_late: bool = False) -> int:
    """The market goes to sleep while a client puts a byte; whoever is asleep, and is not woken, has seen it.

    woken_late: the client looks if the market sleeps before it puts.
    """
    explorer = Explorer(barriers=True)
    kernels = Kernels(explorer, LINES, edits={LINES: [*SMALL, *edits]})
    words = Sparse(explorer, [ASLEEP, IN_PUT, IN_TAKEN])
    pipe = explorer.words(1)
    ring = explorer.words(2)

    def client() -> None:
        counts = [0]
        asleep = bool(kernels.is_asleep(words)) if woken_late else False
        kernels.put(words, ring, 0, IN_PUT, counts, 0, [7], 0, 1)
        if asleep or (not woken_late and kernels.is_asleep(words)):
            kernels.store_release(pipe, 0, 1)
            kernels.wake(pipe, 0)

    def market() -> None:
        counts: list[Any] = [0, 0]
        for _ in range(3):
            room = [0, 0]
            if kernels.take(words, ring, 0, IN_PUT, counts, 0, room, 0, 2) > 0:
                return
            if kernels.go_to_sleep(words, counts, [0]):
                kernels.wait_on(pipe, 0, 0)
                kernels.wake_up(words)

    explorer.thread(client)
    explorer.thread(market)
    return explorer.run()


def test_a_market_that_goes_to_sleep_sees_each_byte_or_is_woken() -> None:
    assert explore_sleep() > 30


@pytest.mark.parametrize(
    ("edits", "late"),
    [
        pytest.param(
            [("    store_word(words, ASLEEP, 1)\n    fence_full()\n", "    store_word(words, ASLEEP, 1)\n")],
            False,
            id="no fence as the market goes to sleep",
        ),
        pytest.param(
            [
                (
                    "    fence_full()\n    return load_word(words, ASLEEP) != 0",
                    "    return load_word(words, ASLEEP) != 0",
                )
            ],
            False,
            id="no fence before the client looks",
        ),
        pytest.param(
            [("            store_word(words, ASLEEP, 0)\n            return False\n", "            pass\n")],
            False,
            id="asleep in spite of a byte",
        ),
        pytest.param([], True, id="the client looks before it puts"),
    ],
)
def test_a_sleep_that_is_broken_at_one_place_is_found_out(edits: list[Edit], late: bool) -> None:
    with pytest.raises(Wrong, match="nobody will wake it"):
        explore_sleep(*edits, woken_late=late)
