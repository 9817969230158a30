"""The kernel of a feed: it sends the messages that the stream would send, and leaves the same files."""

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.records import CommandKind, EventKind
from marketdata.itch import session_name
from marketdata.itch.stream import ItchStream
from node.core.market_tape import MarketTape
from node.feeds.compiled_feed import CompiledFeed
from node.feeds.feed_turn import EVENTS_MAX
from node.feeds.multicast import Outlet
from node.feeds.programs import Address
from replay.feed import Feed
from replay.market_rows import MARKET_ROWS, tape_of
from tape.places import Place
from tape.writer import TapeWriter
from tests.report_streams import CAPACITY, Block, blocks, user_stream
from tests.test_itch_feed import with_days
from tests.test_itch_stream import digests
from wire import mold
from wire.mold import packets

JOURNAL = bytes(range(16))


class Tapes:
    """A tape in a directory, its feed, and a socket that has the packets of an outlet."""

    def __init__(self, directory: Path, *, size_bytes: int = 64 << 20) -> None:
        tape_of(directory).parent.mkdir(mode=0o700)
        self.tape = MarketTape(TapeWriter(tape_of(directory), JOURNAL, MARKET_ROWS, size_bytes=size_bytes, seq=0))
        self.feed = Feed(directory, JOURNAL, 0)
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.setblocking(False)
        self.outlet = Outlet([Address("127.0.0.1", self.receiver.getsockname()[1])], "127.0.0.1", 0)

    def write(self, block: Block, *, released: bool = True) -> None:
        self.tape.write(block.first_seq, 0, 0, block.commands, block.events)
        if released:
            self.tape.store(Place.RELEASED, block.first_seq + len(block.commands) - 1)

    def received(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self.receiver.recv(2_048))
            except BlockingIOError:
                return found

    def close(self) -> None:
        for each in (self.feed, self.tape, self.outlet, self.receiver):
            each.close()


@pytest.fixture
def tapes(tmp_path: Path) -> Iterator[Tapes]:
    made = Tapes(tmp_path)
    yield made
    made.close()


def followed(stream: ItchStream, direct: CompiledFeed, feed: Feed) -> int:
    """Take all that is there as a process does; gives the blocks that the kernel left."""
    left = 0
    while True:
        if direct.take(feed, 0):
            continue
        found = feed.take()
        if found is None:
            return left
        stream.observe(found.first_seq, found.commands, found.events)
        left += 1


def numbered(sent: list[bytes]) -> list[tuple[str, int, bytes]]:
    """Messages with session and number: where a packet ends says nothing."""
    read = [mold.read(packet) for packet in sent]
    return [(each.session, each.sequence + n, message) for each in read for n, message in enumerate(each.messages)]


@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_sends_the_messages_of_the_stream_and_keeps_the_same_files(
    tapes: Tapes, tmp_path: Path, seed: int
) -> None:
    expected: list[bytes] = []
    got: list[bytes] = []

    def send(day: int, number: int, _count: int, framed: memoryview) -> None:
        expected.extend(packets(session_name(day), number, framed))

    def by_python(day: int, number: int, _count: int, framed: memoryview) -> None:
        for packet in packets(session_name(day), number, framed):
            tapes.outlet.send(packet)

    plain, stream = ItchStream(tmp_path / "plain", CAPACITY, send), ItchStream(tmp_path / "direct", CAPACITY, by_python)
    direct, left = CompiledFeed(stream, tapes.outlet), 0
    every = list(blocks(with_days(user_stream(seed, 2_000), seed), seed, largest=40))
    for at, block in enumerate(every):
        plain.observe(*block)
        tapes.write(block)
        if at % 3 == 0:  # some blocks one by one, some together
            left += followed(stream, direct, tapes.feed)
            got += tapes.received()
            assert stream.image().keys() == plain.image().keys()
            assert stream.digest() == plain.digest()
            assert direct.carries == (block.commands["kind"][-1] == CommandKind.EXTEND) or not direct.blocks
    followed(stream, direct, tapes.feed)
    got += tapes.received()
    assert numbered(got) == numbered(expected)
    assert tapes.outlet.unsent == 0
    assert digests(tmp_path / "direct") == digests(tmp_path / "plain")
    assert direct.blocks > len(every) // 2
    assert left < len(every) // 2
    assert max(len(packet) for packet in got) > 500


def test_what_is_not_released_is_not_sent_and_a_silent_feed_only_keeps(tapes: Tapes, tmp_path: Path) -> None:
    stream, plain = ItchStream(tmp_path / "direct", CAPACITY), ItchStream(tmp_path / "plain", CAPACITY)
    direct = CompiledFeed(stream, tapes.outlet, lambda: False)
    every = list(blocks(user_stream(5, 300), 5, largest=3))
    for block in every[:-1]:
        tapes.write(block)
        plain.observe(*block)
        followed(stream, direct, tapes.feed)
    assert direct.blocks
    tapes.write(every[-1], released=False)
    tapes.tape.store(Place.RELEASED, every[-1].first_seq - 1)
    assert direct.take(tapes.feed, 1_000_000) == 0
    assert stream.digest() == plain.digest()
    assert digests(tmp_path / "direct") == digests(tmp_path / "plain")
    assert tapes.received() == []


def test_a_block_that_is_long_or_a_new_reign_is_left_to_the_stream(tapes: Tapes, tmp_path: Path) -> None:
    stream = ItchStream(tmp_path / "direct", CAPACITY)
    direct = CompiledFeed(stream, tapes.outlet)
    every = list(blocks(user_stream(6, 1_200), 6, largest=3))
    for block in every[:-1]:
        tapes.write(block)
    followed(stream, direct, tapes.feed)
    before = direct.blocks
    last = every[-1]
    events = np.zeros(EVENTS_MAX + 1, last.events.dtype)
    events["kind"], events["seq"] = EventKind.REJECTED, last.first_seq
    tapes.tape.write(last.first_seq, 0, 0, last.commands, events)
    epoch = np.zeros(1, last.commands.dtype)
    epoch["kind"] = CommandKind.EPOCH
    end = last.first_seq + len(last.commands)
    tapes.tape.write(end, 0, 0, epoch, last.events[:0])
    tapes.tape.store(Place.RELEASED, end)
    for _ in range(2):
        assert direct.take(tapes.feed, 0) is None
        assert tapes.feed.take() is not None
    assert direct.blocks == before
