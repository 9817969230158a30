"""Rings of commands: each row arrives once and in order, and a full ring refuses.

``tests/test_rings_in_turns`` has several of them in the turns of a node.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from engine.records import COMMAND, EVENT
from tape.errors import TapeBusy, TapeError
from tape.form import Rows, ring_path, tape_path
from tape.inbound import Inbound, Producer
from tape.ring import HEAD, NOTE, TAIL, take_rows

ID = bytes(range(16))
ROWS = Rows(COMMAND, EVENT, np.dtype("V192"))
SIZE = 8


def message(first: int, rows: int) -> np.ndarray[Any, Any]:
    """A message of rows numbered from ``first`` on."""
    made = np.zeros(rows, COMMAND)
    made["client_order_id"] = np.arange(first, first + rows)
    made["qty"] = 3 * made["client_order_id"] + 1
    return made


class Taken(NamedTuple):
    """Rows that were taken, with their notes."""

    commands: np.ndarray[Any, Any]
    notes: np.ndarray[Any, Any]


def take(inbound: Inbound, rows_max: int = 64) -> Taken:
    """Take messages of a ring, up to so many rows."""
    commands, notes = np.zeros(rows_max, COMMAND), np.zeros(rows_max, NOTE)
    count = max(int(take_rows(inbound.ring.pointers, commands.view(np.int64), notes.view(np.int64), rows_max)), 0)
    return Taken(commands[:count], notes[:count])


class Pair:
    """Both ends of a ring."""

    def __init__(self, folder: Path, source: str, size: int = SIZE) -> None:
        self.inbound = Inbound(ring_path(folder, source), ID, ROWS, size=size)
        self.producer = Producer(self.inbound.path, ID, ROWS)

    def close(self) -> None:
        self.producer.close()
        self.inbound.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path, "gateway")
    yield made
    made.close()


def test_rows_and_notes_arrive_in_order_with_source_and_tag(pair: Pair) -> None:
    assert pair.producer.put(message(1, 2), source=4, tag=2**40 + 1)
    assert pair.producer.put(message(3, 1), source=5, tag=-1)
    taken = take(pair.inbound)
    assert taken.commands.tobytes() == message(1, 3).tobytes()
    assert taken.notes.tolist() == [(2**40 + 1, 4, 2), (2**40 + 1, 4, 0), (-1, 5, 1)]


def test_a_full_ring_takes_nothing_of_a_message_and_an_empty_one_gives_nothing(pair: Pair) -> None:
    assert len(take(pair.inbound).commands) == 0
    assert all(pair.producer.put(message(k, 1)) for k in range(SIZE - 1))
    assert not pair.producer.put(message(50, 2)), "one row of room is none for two"
    assert pair.producer.put(message(SIZE - 1, 1))
    assert not pair.producer.put(message(60, 1))
    assert pair.producer.untaken_rows() == SIZE
    assert take(pair.inbound).commands["client_order_id"].tolist() == list(range(SIZE))
    assert pair.producer.put(message(60, 1))
    assert pair.inbound.waiting_rows() == 1


def test_a_message_that_can_never_fit_is_told(pair: Pair) -> None:
    notes = np.zeros(SIZE + 1, NOTE)
    notes["rows"] = 1
    with pytest.raises(TapeError, match="9 rows do not fit into a ring of 8 rows"):
        pair.producer.put_all(message(1, SIZE + 1), notes)
    for rows in (0, 5):
        with pytest.raises(TapeError, match=f"a message has {rows} rows; it must have 1 to 4"):
            pair.producer.put(message(1, rows))
    with pytest.raises(TapeError, match="must be of its types, and as many"):
        pair.producer.put_all(message(1, 2), notes)


def test_a_ring_has_one_producer_and_the_next_goes_on_from_what_was_published(pair: Pair) -> None:
    with pytest.raises(TapeBusy, match="another process sends commands"):
        Producer(pair.inbound.path, ID, ROWS)
    assert pair.inbound.has_producer()
    pair.producer.put(message(1, 3))
    pair.inbound.ring.arrays.rows[3 * 8 : 5 * 8] = -1  # what a producer leaves that dies before it publishes
    pair.producer.close()
    assert not pair.inbound.has_producer()
    with Producer(pair.inbound.path, ID, ROWS) as successor:
        assert successor.consumer_lives()
        successor.put(message(4, 1))
    assert take(pair.inbound).commands.tobytes() == message(1, 4).tobytes()


@pytest.mark.parametrize("tail", [-1, SIZE + 1, 2**62, -(2**63)])
def test_a_producer_that_writes_impossible_positions_is_cut_off_and_hurts_nobody(tmp_path: Path, tail: int) -> None:
    """A ring may be that of another's program."""
    bad, good = Pair(tmp_path, "bad"), Pair(tmp_path, "good")
    bad.inbound.ring.arrays.words[TAIL] = tail
    good.producer.put(message(1, 2))
    assert len(take(bad.inbound).commands) == 0
    assert take(good.inbound).commands.tobytes() == message(1, 2).tobytes()
    assert bad.inbound.broken
    assert not good.inbound.broken
    bad.inbound.ring.arrays.words[TAIL] = 1
    assert len(take(bad.inbound).commands) == 0, "a broken ring stays broken"
    bad.close()
    good.close()


@pytest.mark.parametrize("rows", [0, -1, 5, 3, 2**31 - 1])
def test_a_message_with_an_impossible_number_of_rows_is_not_taken(pair: Pair, rows: int) -> None:
    notes = np.zeros(2, NOTE)
    notes["rows"] = rows
    pair.producer.put_all(message(1, 2), notes)
    assert len(take(pair.inbound).commands) == 0
    assert pair.inbound.broken


@pytest.mark.parametrize("head", [-1, 5])
def test_a_consumer_that_took_what_was_never_put_is_told(pair: Pair, head: int) -> None:
    for k in range(4):
        pair.producer.put(message(k, 1))
    pair.inbound.ring.arrays.words[HEAD] = head
    with pytest.raises(TapeError, match="took what was never put"):
        pair.producer.put_all(message(1, 5), _single(5))


def _single(count: int) -> np.ndarray[Any, Any]:
    notes = np.zeros(count, NOTE)
    notes["rows"] = 1
    return notes


def test_names_of_files_are_safe() -> None:
    folder = Path("memory")
    assert tape_path(folder) == Path("memory/tape")
    assert ring_path(folder, "desk-1") == Path("memory/ring-desk-1")
    for name in ("", "a/b", "..", "a b", "ä"):
        with pytest.raises(TapeError, match="is no name of a source"):
            ring_path(folder, name)


class Rings(RuleBasedStateMachine):
    """Two real rings beside two queues: the same rows in the same order, whoever dies meanwhile."""

    folder: Path
    made = 0

    @initialize()
    def begin(self) -> None:
        Rings.made += 1
        self.pairs = [Pair(self.folder, f"{Rings.made}-{n}") for n in range(2)]
        self.queues: list[deque[list[int]]] = [deque(), deque()]
        self.last = 0

    @rule(which=st.integers(0, 1), rows=st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def put(self, which: int, rows: list[int]) -> None:
        ids = list(range(self.last + 1, self.last + 1 + sum(rows)))
        notes = np.zeros(sum(rows), NOTE)
        at, messages = 0, []
        for count in rows:
            notes["rows"][at] = count
            messages.append(ids[at : at + count])
            at += count
        room = SIZE - sum(len(each) for each in self.queues[which])
        if len(ids) > SIZE:
            with pytest.raises(TapeError):
                self.pairs[which].producer.put_all(message(ids[0], len(ids)), notes)
            return
        went = self.pairs[which].producer.put_all(message(ids[0], len(ids)), notes)
        assert went == (len(ids) <= room)
        if went:
            self.last = ids[-1]
            self.queues[which] += messages

    @rule(which=st.integers(0, 1), rows_max=st.integers(1, 2 * SIZE))
    def take(self, which: int, rows_max: int) -> None:
        expected: list[int] = []
        queue = self.queues[which]
        while queue and len(expected) + len(queue[0]) <= rows_max:
            expected += queue.popleft()
        got = take(self.pairs[which].inbound, rows_max)
        assert got.commands["client_order_id"].tolist() == expected
        assert got.commands["qty"].tolist() == [3 * each + 1 for each in expected]

    @rule(which=st.integers(0, 1), written=st.integers(0, SIZE))
    def producer_dies_while_it_writes(self, which: int, written: int) -> None:
        """Rows that were not published are garbage; the next producer goes on from those that were."""
        pair = self.pairs[which]
        room = SIZE - sum(len(each) for each in self.queues[which])
        tail = int(pair.inbound.ring.arrays.words[TAIL])
        for k in range(min(written, room)):
            at = (tail + k) % SIZE
            pair.inbound.ring.arrays.rows[8 * at : 8 * at + 5] = -7
            pair.inbound.ring.arrays.notes[2 * at] = -7
        pair.producer.close()
        pair.producer = Producer(pair.inbound.path, ID, ROWS)

    @invariant()
    def counts_agree(self) -> None:
        for each, queue in zip(getattr(self, "pairs", []), getattr(self, "queues", []), strict=False):
            waiting = sum(len(one) for one in queue)
            assert each.inbound.waiting_rows() == each.producer.untaken_rows() == waiting
            assert not each.inbound.broken

    def teardown(self) -> None:
        for each in getattr(self, "pairs", []):
            each.close()


@pytest.mark.slow
def test_rings_do_what_queues_do(tmp_path: Path) -> None:
    class Machine(Rings):
        folder = tmp_path

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
