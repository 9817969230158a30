"""Rings, tape and doorbells under every interleaving of loads and stores, with every stale value that processors allow.

The kernels run as they are (``tests.explorer``), on small sizes. Each promise has controls: the same kernels, broken at
one place, must be found out.
"""

from collections.abc import Callable
from typing import Any, Final

import pytest

from tape import blocks, places
from tests.explorer import Explorer, Kernels, Wrong

Edits = dict[str, list[tuple[str, str]]]
RING: Final = "tape/ring.py"
BLOCKS: Final = "tape/blocks.py"
BELL: Final = "tape/bell.py"
QUIET: Final = {
    BELL: [("    if words[bell + BELL_FENCED] != 0:\n", "    return\n    if words[bell + BELL_FENCED] != 0:\n")]
}


class Sparse:
    """Words at few of many places, so that those that nobody uses cost nothing."""

    def __init__(self, explorer: Explorer, used: list[int]) -> None:
        self._words = explorer.words(len(used))
        self._used = {int(index): n for n, index in enumerate(used)}

    def place(self, index: int) -> int:
        return self._words.place(self._used[int(index)])

    def __getitem__(self, index: int) -> int:
        return self._words[self._used[int(index)]] if int(index) in self._used else 0

    def __setitem__(self, index: int, value: int) -> None:
        self._words[self._used[int(index)]] = value


# A ring of two rows of two words each. Message k has one row, (k, 10 * k).


def note(rows: int) -> int:
    return rows << 32


def explore_ring(edits: Edits, *, killed: bool = False) -> int:
    explorer = Explorer()
    kernels = Kernels(explorer, BELL, RING, edits=QUIET | edits)
    words = Sparse(explorer, [places.RingPlace.TAIL, places.RingPlace.HEAD])
    rows, notes = explorer.words(4), explorer.words(4)
    messages = 2 if killed else 3

    def ring() -> Any:
        return kernels.Ring(words, rows, notes, [2, 2], [0, 0, 0])

    def produce() -> None:
        mine = ring()
        for k in range(1, messages + 1):
            for _ in range(2):
                if kernels.put_rows(mine, [k, 10 * k], [k, note(1)], 1) == 1:
                    break
            else:
                return

    def produce_after_another() -> None:
        mine = ring()
        mine.mine[0] = kernels.load_acquire(words, places.RingPlace.TAIL)
        mine.mine[1] = kernels.load_acquire(words, places.RingPlace.HEAD)
        kernels.put_rows(mine, [9, 90], [9, note(1)], 1)

    def consume() -> None:
        mine = ring()
        got: list[int] = []
        for _ in range(4):
            taken, tags = [0] * 4, [0] * 4
            count = kernels.take_rows(mine, taken, tags, 2)
            if count == -2:
                raise Wrong("the ring looks broken")
            for k in range(count):
                if taken[2 * k + 1] != 10 * taken[2 * k] or tags[2 * k] != taken[2 * k]:
                    raise Wrong(f"a row is torn: {taken}")
                got.append(taken[2 * k])
        whole = [each for each in got if each != 9]
        if whole != list(range(1, len(whole) + 1)) or (9 in got and got[-1] != 9):
            raise Wrong(f"rows are lost, doubled or out of order: {got}")

    explorer.thread(produce, then=produce_after_another if killed else None)
    explorer.thread(consume)
    return explorer.run()


def test_rows_of_a_ring_arrive_whole_once_and_in_order_in_every_interleaving() -> None:
    assert explore_ring({}) > 1_000


def test_a_producer_that_dies_at_any_instruction_hurts_nobody_and_the_next_goes_on() -> None:
    assert explore_ring({}, killed=True) > 1_000


_COPY_IN: Final = "    _copy_in(ring, tail, rows, notes, np.int64(0), first)\n"
_TAIL: Final = "    store_release(ring.words, TAIL, tail + count)\n"
_WAITING: Final = "    there = waiting(ring)\n"
_GIVE: Final = "    store_release(ring.words, HEAD, ring.mine[OWN] + there)\n"


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param((_COPY_IN, _TAIL + _COPY_IN), id="published before the rows are written"),
        pytest.param((_TAIL, "    ring.words[TAIL] = tail + count\n"), id="published without release"),
        pytest.param(("tail = load_acquire(ring.words, TAIL)", "tail = ring.words[TAIL]"), id="read without acquire"),
        pytest.param((_WAITING, _WAITING + _GIVE), id="room given back before the rows are copied"),
        pytest.param(
            ("if size[ROWS] - (tail - mine[SEEN]) < count:", "if size[ROWS] + 1 - (tail - mine[SEEN]) < count:"),
            id="one row more than there is room for",
        ),
    ],
)
def test_a_ring_that_is_broken_at_one_place_is_found_out(edit: tuple[str, str]) -> None:
    with pytest.raises(Wrong):
        explore_ring({RING: [edit]})


# A tape of 32 words with rows of one word: three blocks of nine words and a gap of five. Block k has the row 10 * k.

_TAPE_WORDS: Final = [blocks.PUBLISHED, blocks.INTENT, blocks.OLDEST]


def explore_tape(edits: Edits, *, written: int = 4, joins: bool = False) -> int:
    explorer = Explorer()
    kernels = Kernels(explorer, BELL, BLOCKS, edits=QUIET | edits)
    words = Sparse(explorer, _TAPE_WORDS)
    data = explorer.words(32)
    size = [32, 16, 0, 1, 1, 1]

    def write() -> None:
        mine = kernels.Tape(words, data, size, [0] * 8, [0] * 8)
        for k in range(1, written + 1):
            kernels.write_block(mine, k, 7, 0, [10 * k], [], [], [1, 0, 0])

    def read() -> None:
        mine = kernels.Tape(words, data, size, [0] * 8, [0] * 8)
        expected = 1
        if joins:
            result, first = kernels.join(mine, 2)
            if result == blocks.DAMAGED:
                raise Wrong("a block looks damaged")
            expected = {blocks.BLOCK: 2, blocks.OVERRUN: first}.get(result, 0)
        for _ in range(2):
            rows = [0]
            result = kernels.read_block(mine, rows)
            if result == blocks.DAMAGED:
                raise Wrong("a block looks damaged")
            if result == blocks.BLOCK:
                if (expected and mine.head[blocks.FIRST_SEQ] != expected) or rows[0] != 10 * mine.head[
                    blocks.FIRST_SEQ
                ]:
                    raise Wrong(f"block {mine.head[blocks.FIRST_SEQ]} has row {rows[0]}, and {expected} was due")
                expected = mine.head[blocks.FIRST_SEQ] + 1

    explorer.thread(write)
    explorer.thread(read)
    return explorer.run()


@pytest.mark.slow
def test_a_reader_of_the_tape_sees_whole_blocks_or_is_told_that_it_was_overrun() -> None:
    assert explore_tape({}) > 1_000


@pytest.mark.slow
def test_a_reader_that_joins_while_the_writer_writes_stands_at_a_whole_block() -> None:
    assert explore_tape({}, joins=True) > 1_000


_COPY: Final = "    copy_words(rows, np.int64(0), tape.data, begin, length - HEAD_WORDS)\n"
_CHECK: Final = "    if is_overrun(tape, position):\n        return OVERRUN\n"


_PUBLISH: Final = "    store_release(words, PUBLISHED, position + length)\n"
_FIRST_WORD: Final = "    data[at + LENGTH] = length\n"
_INTENT: Final = "    store_release(words, INTENT, intent)\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "edit",
    [
        pytest.param((_FIRST_WORD, _PUBLISH + _FIRST_WORD), id="published before the head is written"),
        pytest.param((_PUBLISH, _PUBLISH.replace("store_release", "store_word")), id="published without release"),
        pytest.param((_COPY + _CHECK, _CHECK + _COPY), id="looked for an overrun before the copy"),
        pytest.param((_INTENT + "    fence_release()\n", _INTENT), id="no fence between intent and rows"),
        pytest.param(("    fence_acquire()\n", ""), id="no fence between the copy and the look"),
        pytest.param((_INTENT, "    pass\n"), id="no intent"),
    ],
)
def test_a_tape_that_is_broken_at_one_place_is_found_out(edit: tuple[str, str]) -> None:
    with pytest.raises(Wrong):
        explore_tape({BLOCKS: [edit]})


# A doorbell: ringers publish a word each and ring; sleepers see all words before they end, or sleep.


def explore_bell(
    edits: Edits, sleepers: int, ringers: int, *, rounds: int = 1, barrier: bool = True, armed_late: bool = False
) -> int:
    explorer = Explorer(barriers=True)
    kernels = Kernels(explorer, BELL, edits=edits)
    bell = explorer.words(3)
    news = explorer.words(ringers)

    def ring(which: int) -> Callable[[], None]:
        def run() -> None:
            for k in range(1, rounds + 1):
                kernels.store_release(news, which, k)
                kernels.ring_bell(bell, 0)

        return run

    def all_is_seen() -> bool:
        return all(kernels.load_acquire(news, n) == rounds for n in range(ringers))

    def sleep() -> None:
        for _ in range(2 * rounds * ringers + 2):
            if armed_late:
                if all_is_seen():
                    return
                rings = kernels.arm_bell(bell, 0)
            else:
                rings = kernels.arm_bell(bell, 0)
                if barrier:
                    kernels.barrier_everywhere()
                if all_is_seen():
                    return
            kernels.wait_on(bell, 1, rings)

    for n in range(ringers):
        explorer.thread(ring(n))
    for _ in range(sleepers):
        explorer.thread(sleep)
    return explorer.run()


@pytest.mark.slow
@pytest.mark.parametrize(("sleepers", "ringers", "rounds"), [(1, 1, 2), (2, 1, 1), (1, 2, 1)])
def test_no_wakeup_is_lost(sleepers: int, ringers: int, rounds: int) -> None:
    assert explore_bell({}, sleepers, ringers, rounds=rounds) > 100


def test_a_bell_without_barriers_of_others_needs_the_fence_of_the_ringer() -> None:
    fenced = {BELL: [("    if words[bell + BELL_FENCED] != 0:\n        fence_full()\n", "    fence_full()\n")]}
    assert explore_bell(fenced, 1, 1, rounds=2, barrier=False) > 100
    with pytest.raises(Wrong, match="nobody will wake it"):
        explore_bell({}, 1, 1, barrier=False)


_DISARM: Final = "        store_word(words, bell + BELL_ARMED, 0)\n"
_COUNT: Final = "        add_word(words, bell + BELL_RINGS, 1)\n"


@pytest.mark.parametrize(
    ("edits", "late"),
    [
        pytest.param([], True, id="armed after the look for work"),
        pytest.param([(_DISARM + _COUNT, _COUNT + _DISARM)], False, id="counted before it was disarmed"),
        pytest.param([(_COUNT, "")], False, id="not counted"),
        pytest.param([("        wake(words, bell + BELL_RINGS)\n", "")], False, id="nobody woken"),
    ],
)  # fmt: skip
def test_a_doorbell_that_is_broken_at_one_place_is_found_out(edits: list[tuple[str, str]], late: bool) -> None:
    def explore_all() -> None:
        for sleepers, ringers, rounds in ((1, 1, 2), (2, 1, 1), (1, 2, 1)):
            explore_bell({BELL: edits}, sleepers, ringers, rounds=rounds, armed_late=late)

    with pytest.raises(Wrong, match="nobody will wake it"):
        explore_all()
