"""The short way of plain FIX messages, by kernels into the ring and from the tape: the long way, in Python, is the
judge."""

import os
import random
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Engine
from engine.records import COMMAND, TimeInForce
from gateway.fix import marks
from gateway.fix.alone import BYTES, MISSED, MORE, SPENT, TAKEN, Client, Stay, Stays
from gateway.fix.marks import Mark
from gateway.fix.session import FixSession
from gateway.fix.short_way import ShortWay
from gateway.fix.streams import FixStreams
from gateway.streams import Segment
from node.gateways.ring_notes import notes_of
from notation.parse import parse
from notation.translate import Translator
from replay.market_rows import MARKET_ROWS
from reports.rows import REPORT
from tape.inbound import Inbound, Producer
from tape.places import Place
from tape.reader import TapeReader
from tape.ring import NOTE_WORDS
from tape.writer import TapeWriter
from tests import fix_sessions, test_fix_batches
from tests.fix_sessions import NOW_NS, live_session
from tests.test_fix_batches import arrived, enter_row, state_of
from tests.test_fix_messages import CAPACITY
from wire.fix_codec import body
from wire.fix_table import VERSIONS

_REGION = 1 << 16
_RING = 1 << 12
_DEFINED = """at 2026-01-05T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant P1
user UA participant=P1
participant P2
user UB participant=P2
phase * continuous
"""
_ORDER = [(11, b"o1"), (38, b"100"), (40, b"2"), (44, b"10.05"), (54, b"1"), (55, b"XYZ"), (60, b"20260921-14:13:20")]


class Side:
    """A gateway with one client, user 1, from its bytes to the ring, and from the tape to what it is sent."""

    def __init__(self, folder: Path, version: str, *, short: bool, alone: bool = False) -> None:
        folder.mkdir()
        self.short, self.alone = short, alone
        self.disk_s: float | None = None
        self.meanwhile: Callable[[], object] = lambda: None  # called while a block waits for the disk
        #: Longest waits of a stay for an answer, and for one that waits for a disk.
        self.waits_ns = (10**10, 10**10)
        self.engine, self.seq = Engine(CAPACITY), 1
        self.segments: list[Segment] = []
        self.streams = FixStreams(CAPACITY, self._deliver, lambda *_: None, lambda *_: None)
        self.writer = TapeWriter(folder / "tape", bytes(16), MARKET_ROWS)
        self.reader = TapeReader(folder / "tape", bytes(16), MARKET_ROWS)
        self.inbound = Inbound(folder / "ring", bytes(16), MARKET_ROWS, size=_RING)
        self.producer = Producer(folder / "ring", bytes(16), MARKET_ROWS)
        self.buffer = bytearray(_REGION)
        self.way = ShortWay(
            *(self.buffer, self.producer, self.streams.symbols, self.streams.price_max_e4),
            *(self.streams.telling, self.streams.taking),
        )
        self.loop = os.eventfd(0, os.EFD_CLOEXEC)
        self.stays = Stays(self.way, self.streams, self.buffer, self.reader.release_place, self.loop)
        self.ends: list[int] = []  # of stays
        self.socket, self.client = socket.socketpair()
        self.stays.begin(self.socket.fileno())
        self.client.setblocking(False)
        self.session, self.writer_of_client = live_session(version, self.streams)
        self.taken_rows = 0
        self.region, self.told, self.sends = b"", b"", True
        self.is_told = False
        self.put, self.answered = 0, 0
        translator = Translator(parse(_DEFINED, "market"), self.engine.directory)
        while (found := translator.next_batch(self.engine.directory)) is not None:
            self.core(found.rows)
        for user in (1, 2):
            self.core(_rows(marks.mark_rows(marks.context_of(user, 2, Mark.SESSION), user, 1)))
        self.take_blocks()
        self.told = b""

    def close(self) -> None:
        os.close(self.loop)
        for each in (self.stays, self.socket, self.client, self.producer, self.inbound, self.reader, self.writer):
            each.close()

    def _deliver(self, segment: Segment) -> None:
        self.segments.append(segment)
        if segment.user != 1 or not hasattr(self, "session"):
            return
        if self.is_told:
            self.is_told = False
        else:
            self.told += self.session.outgoing(segment.data)[1]

    # The core.

    def core(self, rows: "np.ndarray[Any, Any]") -> None:
        """Apply rows as one block, and release it, ``disk_s`` later where it is to wait for a disk."""
        events = self.engine.apply(rows)
        self.writer.write(self.seq, 1, 0, rows, events, np.zeros(0, REPORT))
        self.seq += len(rows)
        if self.disk_s is not None:
            self.meanwhile()
            time.sleep(self.disk_s)
            self.writer.store(Place.JOURNALED, self.seq - 1)
        self.writer.store(Place.RELEASED, self.seq - 1)

    def from_ring(self) -> bytes:
        """Rows and notes that came into the ring, as the core finds them."""
        ring, count = self.producer.ring.arrays, self.inbound.published_rows()
        begin, end = self.taken_rows, count
        self.taken_rows = end
        assert end <= _RING, "a ring of a test goes round"
        rows = ring.rows[8 * begin : 8 * end].tobytes()
        if end > begin:
            self.core(np.frombuffer(rows, COMMAND).copy())
        return rows + ring.notes[NOTE_WORDS * begin : NOTE_WORDS * end].tobytes()

    # The gateway.

    def receive(self, data: bytes, more: "np.ndarray[Any, Any] | None") -> bytes:
        """Take bytes of the client; ``more``: rows of others, which the core takes first. Gives what came into the
        ring."""
        if self.alone and self._may_stay(data):
            return self._stay(data, more)
        return self._receive(data, more)

    def _receive(self, data: bytes, more: "np.ndarray[Any, Any] | None") -> bytes:
        self.region += data
        size = len(self.region)
        self.buffer[100 : 100 + size] = self.region
        seq = self.seen_seq
        messages = 0
        if self.short and size:
            messages = self.session.put(self.way, 100, 100 + size, NOW_NS + size, self.streams, 1, 1)
        if messages:
            self.put += messages
            self.region = b""
        else:
            self._read(NOW_NS + size)
        if more is not None:
            self.core(more)
        came = self.from_ring()
        pointers = self.streams.taking_pointers(self.reader.tape)
        if messages and pointers is not None and self.reader_stands(seq):
            fd = self.socket.fileno() if self.sends else -1
            sent = self.session.answer(self.way, pointers, seq, self.streams.highest_e4, fd, 1_000)
            self.session.note_answer(sent)
            assert not sent.rest
            if sent.written:
                self.is_told = True
                self.told += self.client.recv(1 << 20)
                self.answered += 1
            self.seen_seq += self.streams.took_taped(sent.taken, seq)
            assert not self.is_told
        self.take_blocks()
        return came

    def reader_stands(self, seq: int) -> bool:
        return seq == self.seen_seq

    def _may_stay(self, data: bytes) -> bool:
        open_to_it = self.sends and data and not self.region and self.seen_seq == self.seq - 1
        pointers = self.streams.taking_pointers(self.reader.tape)
        return bool(open_to_it and pointers and self.session.may_stay(self.streams, 1, 1))

    def _stay(self, data: bytes, more: "np.ndarray[Any, Any] | None") -> bytes:
        """Have a kernel serve the client once, beside a core in a thread of its own."""
        came, over = [b""], threading.Event()

        def core() -> None:
            ended = False
            while not ended:
                ended = over.is_set()  # what was put before that is taken
                if self.inbound.published_rows() > self.taken_rows:
                    if more is not None:
                        self.core(more)
                    came[0] = self.from_ring()
                    return

        thread = threading.Thread(target=core)
        thread.start()
        self.client.sendall(data)
        fd, pointers = self.socket.fileno(), self.streams.taking_pointers(self.reader.tape)
        assert pointers is not None
        try:
            stay = self.session.stay(
                *(self.stays, Client(fd, 100, _REGION, 100, 1, 1), pointers, self.seen_seq, self.streams.highest_e4),
                *(*self.waits_ns, 1_000, 0),
            )
        finally:
            over.set()
            thread.join()
        self.session.note_stay(stay)
        self.ends.append(stay.why)
        assert not stay.rest
        if stay.told:
            self.is_told = True
            self.told += self.client.recv(1 << 20)
            self.answered += 1
            self.streams.told_alone(1, stay.records, stay.told, stay.kind)
            self.seen_seq = stay.seq
        assert not self.is_told
        if stay.why == TAKEN:
            self.seen_seq += self.streams.took_taped(stay.taken, self.seen_seq)
        self.put += stay.messages
        if stay.why == BYTES:
            return self._receive(bytes(self.buffer[100 : stay.end]), more)
        self.take_blocks()
        return came[0]

    def _read(self, received_ns: int) -> None:
        while self.region or self.session.asks:
            taken, rows, _ = self.session.read(memoryview(self.region), 256, self.streams, 1, 1)
            if rows:
                packed = bytearray(b"".join(rows))
                assert self.producer.put_packed(packed, notes_of(packed, lambda users: [received_ns] * len(users)))
            self.region = self.region[taken:]
            if not taken and not rows:
                break

    seen_seq = 0

    def take_blocks(self) -> None:
        """Take all blocks that are on the tape."""
        while self.seen_seq < self.seq - 1:
            taken = self.streams.take_taped(self.reader.tape, self.seen_seq) if self.short else 0
            if not taken:
                block = self.reader.read()[1]
                assert block is not None
                self.streams(block.first_seq, block.commands.copy(), block.events.copy())
                taken = len(block.commands)
            self.seen_seq += taken


def _rows(parts: list[bytes]) -> "np.ndarray[Any, Any]":
    return np.frombuffer(b"".join(parts), COMMAND).copy()


def pieces(draw: random.Random, data: bytes) -> Iterator[bytes]:
    """Messages as a client sends them: mostly a message, at times a few, or a part of one."""
    frames = re.split(rb"(?<=\x01)(?=8=FIX)", data)
    at = 0
    while at < len(frames):
        count = draw.choice([1, 1, 1, 1, 2, 3, 12])
        piece = b"".join(frames[at : at + count])
        at += count
        if draw.random() < 0.05:
            cut = draw.randrange(1, len(piece))
            yield piece[:cut]
            piece = piece[cut:]
        yield piece


def of_others(draw: random.Random, count: int) -> "np.ndarray[Any, Any] | None":
    """An order of user 2 now and then, which may trade with those of user 1."""
    if draw.random() > 0.15:
        return None
    context = marks.context_of(2, 2 + count)
    side, lasts = draw.choice([1, -1]), draw.choice([TimeInForce.DAY, TimeInForce.IOC])
    return _rows([enter_row(0x7000 + count, context, 100_500, draw.randrange(1, 200), 2, side, lasts)])


@contextmanager
def two_sides(folder: Path, version: str, *, alone: bool = False) -> Iterator[tuple[Side, Side]]:
    both = Side(folder / "short", version, short=True, alone=alone), Side(folder / "long", version, short=False)
    try:
        yield both
    finally:
        for each in both:
            each.close()


def same_rows(came: list[bytes]) -> bool:
    """True where the same rows and notes came, but for the times of the notes."""
    rows = [np.frombuffer(each, np.int64).copy() for each in came]
    for each in rows:
        each[len(each) // (8 + NOTE_WORDS) * 8 :: NOTE_WORDS] = 0
    return rows[0].tobytes() == rows[1].tobytes()


def facts_of(side: Side) -> dict[str, str | int]:
    """Facts of a session, but for times of bytes, which are those of a clock."""
    return {name: fact for name, fact in side.session.facts.items() if name not in ("heard_ns", "sent_ns")}


def compare(both: tuple[Side, Side], draw: random.Random, data: bytes) -> None:
    """Give both sides the same bytes, and compare what they do after each piece, and all they know at the end."""
    for count, piece in enumerate(pieces(draw, data)):
        more = of_others(draw, count)
        for each in both:  # a client that reads nothing, or has not all before
            each.sends = draw.random() > 0.1 if each.short else True
        came = [each.receive(piece, more) for each in both]
        assert same_rows(came) if both[0].alone else came[0] == came[1]
        assert both[0].told == both[1].told
        assert both[0].segments == both[1].segments
        assert both[0].region == both[1].region
        assert state_of(both[0].session) == state_of(both[1].session)
        assert facts_of(both[0]) == facts_of(both[1])
        assert both[0].alone or both[0].session.facts == both[1].session.facts
        if both[0].session.over:
            break
    images = [each.streams.image() for each in both]
    for name, array in images[0].items():
        assert array.tobytes() == images[1][name].tobytes(), name


@pytest.mark.slow_after(12)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(20))
def test_the_short_way_comes_to_the_same_bytes_as_the_long_one(version: str, seed: int, tmp_path: Path) -> None:
    draw = random.Random(f"short {version} {seed}")
    with two_sides(tmp_path, version) as both:
        compare(both, draw, arrived(draw, version, 80))
        core = both[0].session._core
        assert both[0].answered or core is None or not core.takes_plain or both[0].session.over
        assert both[1].put == both[1].answered == 0


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are of the present: the kernel that stays reads the clock."""
    now_ns = time.time_ns()
    for module in (fix_sessions, test_fix_batches, sys.modules[__name__]):
        monkeypatch.setattr(module, "NOW_NS", now_ns)


@pytest.mark.slow_after(8)
@pytest.mark.usefixtures("present")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(20))
def test_a_stay_comes_to_the_same_bytes_as_the_long_way(version: str, seed: int, tmp_path: Path) -> None:
    draw = random.Random(f"alone {version} {seed}")
    with two_sides(tmp_path, version, alone=True) as both:
        if seed % 3 == 0:
            both[0].disk_s, both[0].waits_ns = 0.001, (100_000, 10**10)
        compare(both, draw, arrived(draw, version, 80))
        core = both[0].session._core
        assert both[0].ends or core is None or not core.takes_plain or both[0].session.over


@pytest.mark.usefixtures("present")
def test_a_client_alone_is_served_by_the_kernel_and_by_no_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_sides(tmp_path, "FIX.4.4", alone=True) as both:
        side = both[0]
        for name in ("read", "outgoing", "put", "answer"):
            monkeypatch.setattr(FixSession, name, None)
        for frame in re.split(rb"(?<=\x01)(?=8=FIX)", plain(side, 30)):
            side.receive(frame, None)
        assert (side.put, side.answered) == (30, 30)
        assert side.ends == [SPENT] * 30
        assert side.told.count(b"\x0135=8\x01") == 30


@pytest.mark.usefixtures("present")
@pytest.mark.parametrize(
    ("disk_s", "meanwhile", "why"),
    [
        (0.03, "nothing", SPENT),
        (0.03, "the client sends more", MORE),
        (0.03, "the loop has work", MISSED),
        (0.2, "nothing", MISSED),
        (None, "nothing", MISSED),
    ],
)
def test_a_kernel_waits_for_the_disk_with_a_client_unless_something_else_comes(
    disk_s: float | None, meanwhile: str, why: int, tmp_path: Path
) -> None:
    with two_sides(tmp_path, "FIX.4.4", alone=True) as (side, _):
        first, second = re.split(rb"(?<=\x01)(?=8=FIX)", plain(side, 2))
        side.waits_ns = (1_000_000, 100_000_000)
        if disk_s is None:  # nothing waits for a disk, and the core is slow
            side.meanwhile = lambda: time.sleep(0.03)
            core = side.core
            side.core = lambda rows: (side.meanwhile(), core(rows))  # type: ignore[method-assign,return-value]
        else:
            side.disk_s = disk_s
            side.writer.store(Place.JOURNALED, side.seq - 1)
            match meanwhile:
                case "the client sends more":
                    side.meanwhile = lambda: side.client.sendall(second)
                case "the loop has work":
                    side.meanwhile = lambda: os.eventfd_write(side.loop, 1)
        side.receive(first, None)
        assert side.ends == [why]
        assert (side.put, side.answered) == (1, why == SPENT)
        assert side.told.count(b"\x0135=8\x01") == 1, "by the kernel, or by Python behind it"
        if why == MORE:
            assert side.socket.recv(1 << 16) == second, "the kernel has left it to the loop"


@pytest.mark.usefixtures("present")
@pytest.mark.parametrize("hole", ["messages", "number", "records"])
def test_the_comparison_finds_a_stay_with_a_fault(hole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_stay = Stays.stay

    def faulty(self: Stays, *given: Any) -> Stay:
        stay = plain_stay(self, *given)
        match hole:
            case "messages":
                return stay._replace(messages=0)
            case "number" if stay.told:
                return stay._replace(out_seq=stay.out_seq - 1)
            case _:
                return stay._replace(records=stay.records[:-1] + b"?")

    monkeypatch.setattr(Stays, "stay", faulty)
    with two_sides(tmp_path, "FIX.4.4", alone=True) as both, pytest.raises(AssertionError):
        compare(both, random.Random(1), plain(both[0], 20))


def plain(side: Side, count: int) -> bytes:
    """Orders that are plain."""
    made = []
    for number in range(count):
        fields = [(tag, value if tag != 11 else b"o%d" % number) for tag, value in _ORDER]
        made.append(side.writer_of_client.frame(b"D", 2 + number, NOW_NS, body(fields)))
    return b"".join(made)


def test_plain_messages_go_the_short_way_and_none_by_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above compares Python with itself."""
    with two_sides(tmp_path, "FIX.4.4") as both:
        side = both[0]
        monkeypatch.setattr(FixSession, "read", None)
        monkeypatch.setattr(FixSession, "outgoing", None)
        for frame in re.split(rb"(?<=\x01)(?=8=FIX)", plain(side, 30)):
            side.receive(frame, None)
        assert (side.put, side.answered) == (30, 30)
        assert side.told.count(b"\x0135=8\x01") == 30


@pytest.mark.parametrize("hole", ["tag", "number", "turn"])
def test_the_comparison_finds_a_short_way_with_a_fault(
    hole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, counted, answer = ShortWay.put, FixSession.put, ShortWay.answer
    if hole == "tag":  # the notes have another time
        monkeypatch.setattr(ShortWay, "put", lambda self, *given: put(self, *given[:8], given[8] + 1, *given[9:]))
    elif hole == "number":  # a message is not counted

        def counts_none(self: FixSession, *given: Any) -> int:
            messages = counted(self, *given)
            self._core.store.in_seq -= messages  # type: ignore[union-attr]
            return messages

        monkeypatch.setattr(FixSession, "put", counts_none)
    else:  # what is sent is not counted

        def uncounted(self: ShortWay, *given: Any) -> tuple[int, int, int, int]:
            result, written, sent, last = answer(self, *given)
            return result, written, sent, last - 1 if written else last

        monkeypatch.setattr(ShortWay, "answer", uncounted)
    with two_sides(tmp_path, "FIX.4.4") as both, pytest.raises(AssertionError):
        compare(both, random.Random(1), plain(both[0], 20))


def test_nothing_is_sent_the_short_way_while_messages_are_sent_again(tmp_path: Path) -> None:
    with two_sides(tmp_path, "FIX.4.4") as both:
        for side in both:
            side.receive(plain(side, 2), None)
            side.session.resend(2, 3)
        assert both[0].answered == 1
        frame = both[0].writer_of_client.frame(
            b"D", 4, NOW_NS, body([(tag, value if tag != 11 else b"last") for tag, value in _ORDER])
        )
        for side in both:
            side.receive(frame, None)
        assert (both[0].put, both[0].answered) == (3, 1)
        assert both[0].told == both[1].told


@pytest.mark.parametrize("why", ["watched", "many", "logout", "full"])
def test_what_is_not_plain_is_left_for_the_long_way(why: str, tmp_path: Path) -> None:
    with two_sides(tmp_path, "FIX.4.4") as both:
        side = both[0]
        data = plain(side, 17 if why == "many" else 1)
        if why == "watched":
            side.session.on_frame = lambda _way, _text: None
        elif why == "logout":
            side.session.leave("the gateway ends")
        elif why == "full":
            packed = bytearray(64 * _RING)
            while side.producer.put_packed(packed, bytearray(len(packed) // 4)):
                pass
        before = side.inbound.published_rows(), state_of(side.session)
        side.buffer[: len(data)] = data
        assert not side.session.put(side.way, 0, len(data), NOW_NS, side.streams, 1, 1)
        assert (side.inbound.published_rows(), state_of(side.session)) == before
