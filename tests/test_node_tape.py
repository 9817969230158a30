"""The tape of a running node: the same rows as its journal, whatever happens to its readers, and never too early."""

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journal import Journal
from journal.history import History
from replay.errors import ReplayError
from replay.follow import Follower
from replay.live_tape import LiveTape, TapedRows, Why
from replay.market_rows import MARKET_ROWS, tape_of
from replay.rebuild import played, rebuild, start
from tape.places import SEQUENCE_WORDS, Place
from tape.reader import Result, TapeReader
from tests import nursery
from tests.ouch_messages import cancel, enter
from tests.pair_processes import pair
from tests.running import SMALL_CAPACITY, Client, Running, started, until
from wire.soup import PacketType

ORDERS, SHARES = 300, 60
#: Of the ring of 1 MB.
TAPE_WORDS = 1 << 17


def journal_id(directory: Path) -> bytes:
    with Journal.open(directory, readonly=True) as journal:
        return journal.journal_id


def reader_of(directory: Path) -> TapeReader:
    found = journal_id(directory)
    return TapeReader(tape_of(directory), found, MARKET_ROWS)


def orders(name: str) -> bytes:
    """Orders that nothing executes, and their cancels, share by share."""
    return b"".join(
        enter(f"{name}{number}", "B", SHARES, 90_000)
        + b"".join(cancel(f"{name}{number}", left) for left in reversed(range(SHARES)))
        for number in range(ORDERS)
    )


def send(client: Client, name: str, chunk: int) -> threading.Thread:
    """Send orders in pieces and take the answers, in a thread."""

    def work() -> None:
        data, draw = orders(name), random.Random(name)
        at = 0
        while at < len(data):
            size = draw.randrange(1, chunk)
            client.socket.sendall(data[at : at + size])
            at += size
            time.sleep(draw.random() / 50)

    def take() -> None:
        client.take(1 + ORDERS * (1 + SHARES))

    def both() -> None:
        sender = threading.Thread(target=work, daemon=True)
        sender.start()
        take()
        sender.join()

    thread = threading.Thread(target=both, daemon=True)
    thread.start()
    return thread


Rows = tuple[bytes, bytes]


def by_journal(directory: Path, after_seq: int) -> Rows:
    """COMMAND and EVENT rows after a command, as bytes, by a replay of the journal."""
    commands, events = [], []
    with History.open(directory) as history:
        for part in history.ranges(after_seq + 1, history.last_seq):
            engine = start(part.journal, history.path, after_seq, "kernel", True, [])
            for play in played(part.journal, engine, part.to_seq):
                skip = max(after_seq + 1 - play.first_seq, 0)
                commands.append(play.commands[skip:].tobytes())
                events.append(play.events[int(np.searchsorted(play.events["seq"], after_seq + 1)) :].tobytes())
    return b"".join(commands), b"".join(events)


class Following:
    """A follower of a running node. ``stops``: now and then, until all on the tape is new, as a slow program does."""

    def __init__(self, directory: Path, tape: LiveTape, *, stops: bool) -> None:
        engine = rebuild(directory).engine
        self.after_seq = engine.seq
        self.tape = tape
        self.follower = Follower(directory, engine, tape)
        self.sending: Callable[[], bool] = lambda: False
        self._stops, self._next_stop = stops, 10
        self.commands: list[bytes] = []
        self.events: list[bytes] = []
        self.seq = engine.seq

    def until(self, seq: int) -> None:
        for found in self.follower.blocks(seq):
            if found is None:
                continue
            assert found.play.first_seq == self.seq + 1
            self.seq = found.last_seq
            self.commands.append(found.play.commands.tobytes())
            self.events.append(found.play.events.tobytes())
            if self._stops and self.follower.taped >= self._next_stop:
                self._next_stop = self.follower.taped + 25
                self._stop()

    def _stop(self) -> None:
        reader = self.tape._reader
        assert reader is not None
        while self.sending() and reader.lag_words() <= TAPE_WORDS:
            time.sleep(0.01)

    @property
    def rows(self) -> Rows:
        return b"".join(self.commands), b"".join(self.events)


@pytest.fixture(params=["none", "fsync"])
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    running = started(tmp_path, "--durability", request.param, "--tape-mb", "1")
    yield running
    running.stop()


def _followed(node: Running, tape: LiveTape, *, stops: bool) -> Following:
    """A follower of all that two clients did meanwhile, once the node has ended."""
    clients = [Client(node.port, user) for user in ("UA", "UB")]
    following = Following(node.data, tape, stops=stops)
    threads = [send(client, name, 20_000) for client, name in zip(clients, "ab", strict=True)]
    following.sending = lambda: any(each.is_alive() for each in threads)
    try:
        following.until(following.after_seq + 2 * ORDERS * SHARES)
    finally:
        for each in threads:
            each.join(120)
            assert not each.is_alive()
    seq = node.status()["seq"]
    following.until(seq)
    node.end(signal.SIGTERM)
    return following


@pytest.mark.slow
def test_a_reader_that_is_overrun_again_and_again_has_the_rows_of_the_journal(node: Running) -> None:
    following = _followed(node, LiveTape(node.data, journal_id(node.data)), stops=True)
    commands, events = by_journal(node.data, following.after_seq)
    assert following.tape.lost > 0
    assert following.follower.taped > 0
    assert following.follower.journaled > 0
    got = following.rows
    assert (commands[: len(got[0])], events[: len(got[1])]) == got


class Careless(LiveTape):
    """One that goes on with what is there where it was overrun."""

    def take(self, seq: int) -> TapedRows | Why:
        found = super().take(seq)
        if found is Why.LOST and self._reader is not None and self._reader.join(seq)[0] is Result.OVERRUN:
            self._standing = True
            result, block = self._reader.read()
            if block is not None and result is Result.BLOCK:
                return TapedRows(seq, block.commands.copy(), block.events.copy(), block.time_ns)
        return found


@pytest.mark.slow
@pytest.mark.parametrize("node", ["none"], indirect=True)
def test_a_reader_that_ignores_an_overrun_is_noticed(node: Running) -> None:
    """Control of the test above."""
    with pytest.raises((AssertionError, TypeError, ValueError)):  # noqa: PT012 - where it shows depends on the overrun
        following = _followed(node, Careless(node.data, journal_id(node.data)), stops=True)
        commands, _ = by_journal(node.data, following.after_seq)
        assert commands[: len(following.rows[0])] == following.rows[0]


def _words(reader: TapeReader) -> tuple[int, int, int]:
    """RELEASED, JOURNALED and APPLIED, in the order in which they may not overtake each other."""
    return tuple(reader.load(place) for place in (Place.RELEASED, Place.JOURNALED, Place.APPLIED))  # type: ignore[return-value]


def _looked_at(node: Running) -> list[tuple[int, int, int]]:
    """The words again and again while a client trades."""
    found = []
    with reader_of(node.data) as reader:
        thread = send(Client(node.port, "UA"), "a", 4_000)
        while thread.is_alive():
            found.append(_words(reader))
        thread.join()
        seq = node.status()["seq"]
        until(lambda: _words(reader) == (seq, seq, seq))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("node", ["fsync"], indirect=True)
def test_nothing_is_released_that_is_not_in_the_journal(node: Running) -> None:
    found = _looked_at(node)
    assert found[-1] > found[0]
    assert all(released <= journaled for released, journaled, _ in found)
    assert all(released <= applied for released, _, applied in found)


@pytest.mark.slow
@pytest.mark.parametrize("node", ["none"], indirect=True)
def test_without_durability_what_is_released_is_ahead_of_the_journal(node: Running) -> None:
    """Control of the test above."""
    assert any(released > journaled for released, journaled, _ in _looked_at(node))


@pytest.mark.slow
def test_readers_are_told_of_the_end_of_a_node_and_find_the_tape_of_the_next(node: Running) -> None:
    seqs = []
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        with reader_of(node.data) as reader:
            seqs.append(reader.load(Place.RELEASED))
            assert reader.writer_lives()
            node.end(number)
            assert not reader.writer_lives()
            assert reader.ended() == (number == signal.SIGTERM)
        path = tape_of(node.data)
        assert path.exists() == (number == signal.SIGKILL)
        node.start()
    with reader_of(node.data) as reader:
        seqs.append(reader.load(Place.RELEASED))
    assert seqs == sorted(seqs)
    assert seqs[0] > 0


@pytest.mark.slow
def test_nobody_else_may_enter_the_folder_of_names_and_what_a_dead_node_left_there_goes(node: Running) -> None:
    path = tape_of(node.data)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert path.is_relative_to(node.data)  # in /dev/shm anybody could take the name while no node runs
    node.end(signal.SIGKILL)
    shutil.copy(path, path.parent / "ring-gone")  # with its mode
    left = path.stat().st_ino
    node.start()
    assert path.stat().st_ino != left
    assert not (path.parent / "ring-gone").exists()


@pytest.mark.slow
def test_a_node_without_room_for_its_tape_says_so_and_trades(tmp_path: Path) -> None:
    whole_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    if whole_mb >= 1 << 20:
        pytest.skip("the memory of this machine is larger than any tape")
    running = started(tmp_path, "--tape-mb", str(whole_mb + 1))
    try:
        client = Client(running.port, "UA")
        client.socket.sendall(enter("a1", "B", 5, 90_000))
        client.take(2)
        assert "no tape is written" in running.logged()
        assert "has no room for" in running.logged()
        assert not tape_of(running.data).exists()
    finally:
        running.stop()


@pytest.mark.slow
def test_a_node_without_room_for_its_tape_does_not_start_with_gateways_that_would_read_it(tmp_path: Path) -> None:
    whole_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    if whole_mb >= 1 << 20:
        pytest.skip("the memory of this machine is larger than any tape")
    line = ["serve", "--data", str(tmp_path / "node"), "--port", "0", *map(str, SMALL_CAPACITY)]
    done = nursery.run([*line, "--tape-mb", str(whole_mb + 1), "--gateway", "desks=ouch:0"])
    said = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, "Traceback" in done.stderr, "listening on" in done.stdout) == (75, False, False), said
    assert "has no room for" in said
    assert "without --gateway" in said


@pytest.mark.slow
def test_no_tape_is_written_where_none_is_asked_for(tmp_path: Path) -> None:
    running = started(tmp_path, "--tape-mb", "0")
    try:
        assert not tape_of(running.data).exists()
        assert "tape" not in running.logged()
    finally:
        running.stop()


@pytest.mark.slow
def test_a_reader_of_commands_that_a_crash_undid_is_told_so(tmp_path: Path) -> None:
    """Answers without durability: what was told may be gone after a crash, and other commands come in its place."""
    running = started(tmp_path, "--durability", "none")
    try:
        following = Following(running.data, LiveTape(running.data, journal_id(running.data)), stops=False)
        shown: Any = following.follower
        client = Client(running.port, "UA")
        client.socket.sendall(enter("a1", "B", 5, 90_000))
        client.take(2)
        following.until(running.status()["seq"])
        # As if the node had told of one more.
        shown._seq += 5
        running.end(signal.SIGKILL)
        running.start()
        with pytest.raises(ReplayError, match="has not kept the commands"):
            list(zip(following.follower.blocks(), range(10_000), strict=False))
    finally:
        running.stop()


class Watch:
    """A thread that looks at the words of a tape all the time. ``falls``: those that fell, with both values."""

    def __init__(self, directory: Path) -> None:
        self._reader = reader_of(directory)
        self._ended = threading.Event()
        self.falls: list[tuple[Place, int, int]] = []
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        known = dict.fromkeys(SEQUENCE_WORDS, 0)
        while not self._ended.is_set():
            for place, before in known.items():
                known[place] = self._reader.load(place)
                if known[place] < before:
                    self.falls.append((place, before, known[place]))
            time.sleep(0.000_1)

    def end(self) -> list[tuple[Place, int, int]]:
        self._ended.set()
        self._thread.join()
        self._reader.close()
        return self.falls


@pytest.mark.slow
def test_no_word_falls_while_copies_come_and_go(tmp_path: Path) -> None:
    """The position that all copies have falls, as one joins that is behind; the word of it does not."""
    with pair(tmp_path, "--tape-mb", "1") as (_, a, b):
        watch = Watch(a.data)
        client = _of_pair(a.port, "UA")
        sent = 0

        def trade_until(condition: Callable[[], bool]) -> None:
            nonlocal sent
            while not condition():
                for _ in range(20):
                    client.socket.sendall(enter(f"o{sent}", "B", 5, 90_000) + cancel(f"o{sent}"))
                    sent += 1
                client.take(1 + 2 * sent)

        for _ in range(2):
            trade_until(lambda: a.is_(can_take_over=1) or b.is_(can_take_over=1))
            b.end(signal.SIGKILL)
            trade_until(lambda: a.is_(state="reigning") and sent > 200)
            b.start()
        trade_until(lambda: b.is_(can_take_over=1))
        assert watch.end() == []


@pytest.mark.slow
def test_the_watch_of_the_words_sees_one_fall(tmp_path: Path) -> None:
    """Control of the test above."""
    running = started(tmp_path, "--tape-mb", "1")
    try:
        watch = Watch(running.data)
        with reader_of(running.data) as reader:
            time.sleep(0.1)
            reader._file.words[Place.APPLIED] -= 1
            until(lambda: watch.falls)
        assert [each[0] for each in watch.end()] == [Place.APPLIED]
    finally:
        running.stop()


def _of_pair(port: int, user: str) -> Client:
    """A client that has read the epoch, which a node of a pair says at a login."""
    client = Client(port, user)
    assert client.packet()[0] == PacketType.DEBUG
    return client


@pytest.mark.slow
def test_both_nodes_of_a_pair_have_a_tape_also_after_a_takeover(tmp_path: Path) -> None:
    """The rows on the standby's tape are those of the primary's. A reader of it goes on as its node takes over."""
    with pair(tmp_path, "--tape-mb", "8") as (_, a, b):
        followings = [Following(each.data, LiveTape(each.data, journal_id(each.data)), stops=False) for each in (a, b)]
        thread = send(_of_pair(a.port, "UA"), "a", 4_000)
        thread.join(120)
        assert not thread.is_alive()
        seq = a.pair()["seq"]
        for each in followings:
            each.until(seq)
            assert each.follower.taped > 0
        assert followings[0].after_seq == followings[1].after_seq
        assert followings[0].rows == followings[1].rows
        with reader_of(a.data) as reader:
            until(lambda: reader.load(Place.REPLICATED) >= seq)
        a.end(signal.SIGKILL)
        b.awaits(role="primary", state="reigning")
        client = _of_pair(b.port, "UB")
        client.socket.sendall(enter("b1", "B", 5, 90_000))
        client.take(2)
        seq = b.pair()["seq"]
        taped = followings[1].follower.taped
        followings[1].until(seq)
        assert followings[1].follower.taped > taped
        with reader_of(b.data) as reader:
            assert reader.load(Place.RELEASED) == seq
        b.end(signal.SIGTERM)
        commands, events = by_journal(b.data, followings[1].after_seq)
        got = followings[1].rows
        assert (commands[: len(got[0])], events[: len(got[1])]) == got
