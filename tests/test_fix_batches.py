"""FIX messages of many records, and commands of many messages, at once: what Python makes one by one is the judge."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Engine
from engine.records import COMMAND, Book, CommandKind, Instruction, Reason, SelfTrade, TimeInForce
from engine.row_bytes import extend_row
from gateway.fix import marks, names, records
from gateway.fix.answers import Answers
from gateway.fix.entering import Entering
from gateway.fix.kept_orders import CLOSED_MAX, ROW_BYTES, KeptOrders
from gateway.fix.marks import Mark
from gateway.fix.session import FixSession
from gateway.fix.streams import FixStreams
from gateway.streams import Segment
from notation.parse import parse
from notation.translate import Translator
from replay.market_rows import MARKET_ROWS
from reports.rows import REPORT, Liquidity, ReportKind
from tape.places import Place
from tape.reader import TapeReader
from tape.writer import TapeWriter
from tests.fix_sessions import NOW_NS, live_session
from tests.test_fix_messages import CAPACITY, Market
from wire.fix_codec import Times, body, checksum
from wire.fix_table import VERSIONS

_KINDS = [kind for kind in ReportKind if kind <= ReportKind.REPRICED]
_USUAL = (ReportKind.NEW, ReportKind.TRADE, ReportKind.CANCELED, ReportKind.REPLACED)
_BITS = (0, *Instruction, Instruction.STOP | Instruction.MARKET, Instruction.POST_ONLY | Instruction.DISPLAY)


def reported(draw: random.Random, number: int, *, usual: float = 0.8) -> bytes:
    """A record of a report with places of all sizes."""
    row = np.zeros(1, REPORT)[0]
    row["kind"] = draw.choice(_USUAL if draw.random() < usual else _KINDS)
    row["command_kind"] = draw.choice([CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE])
    row["seq"], row["number"] = draw.randrange(1 << draw.randrange(1, 50)), draw.randrange(1, 3_000)
    row["time_ns"] = NOW_NS - draw.randrange(1 << draw.randrange(1, 60))
    row["symbol"] = int.from_bytes(draw.choice([b"XYZ", b"A", b"ABCDEFGH", b"a.b-9", b"A B"]), "big")
    row["side"] = draw.choice([1, -1])
    row["time_in_force"] = draw.choice([0, *TimeInForce])
    row["instructions"] = draw.choice(_BITS)
    row["peg"] = draw.choice([1, 2, 3])
    row["qty"], row["order_number"] = draw.randrange(1 << draw.randrange(1, 27)), draw.randrange(3) * 12_345_678
    row["cum_qty"] = draw.choice([0, 1, 3, 7, draw.randrange(1 << 26)])
    row["leaves_qty"] = draw.choice([0, 100, draw.randrange(1 << 26)])
    row["notional_e4"] = int(row["cum_qty"]) * draw.randrange(10**10) + draw.randrange(int(row["cum_qty"]) + 1)
    for place in ("price_e4", "stop_price_e4", "last_price_e4"):
        row[place] = draw.choice([0, 100_000, 100_100, -5, draw.randrange(10**10)])
    for place in ("last_qty", "min_qty", "display_qty"):
        row[place] = draw.choice([0, 1, draw.randrange(1 << 26)])
    row["trade_number"] = draw.randrange(1 << draw.randrange(1, 40))
    row["until_ns"] = draw.choice([0, 0, NOW_NS + draw.randrange(1 << 60)])
    row["reason"] = draw.choice([0, *Reason] if row["kind"] in _USUAL else [*Reason])
    row["liquidity"] = draw.choice([0, *Liquidity])
    text = draw.choice([b"a1", b"x" * 64, b"order-%d" % number])
    return records.record_of(number, records.REPORT, row.tobytes(), text, draw.choice([b"", b"old", b"y" * 64]))


def stream(draw: random.Random, count: int) -> bytes:
    """Records from number 2 on, some of which are no reports."""
    made = []
    for number in range(2, count + 2):
        if draw.random() < 0.1:
            made.append(records.record_of(number, records.MARK, records.OF_MARK.pack(7, 8, marks.Mark.SESSION)))
        else:
            made.append(reported(draw, number))
    return b"".join(made)


def state_of(session: FixSession) -> tuple[Any, ...]:
    """Numbers of a session."""
    core = session._core
    assert core is not None
    return session.next_seq, session._high, session._fills_from, core.store.out_seq, core.store.in_seq


@pytest.mark.slow_after(14)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(20))
def test_frames_of_many_records_are_those_of_each(version: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(f"{version} {seed}")
    both = [live_session(version)[0] for _ in range(2)]
    stored = stream(draw, 60)
    said = [both[0].outgoing(stored)]
    with monkeypatch.context() as patch:
        patch.setattr(Answers, "has_kernel", False)
        said.append(both[1].outgoing(stored))
    assert said[0] == said[1]
    assert said[0][0] == len(stored)
    assert state_of(both[0]) == state_of(both[1])
    begin = draw.randrange(1, 60)
    end = draw.choice([0, begin, draw.randrange(begin, 62)])
    for session in both:
        session.resend(begin, end or 61)
        assert session.take_resend() == begin
    assert state_of(both[0]) == state_of(both[1])
    parts = next(stored[place:] for place, number in _places(stored) if number >= max(begin, 2))
    again = [both[0].outgoing(parts)]
    monkeypatch.setattr(Answers, "has_kernel", False)
    again.append(both[1].outgoing(parts))
    assert again[0] == again[1]
    assert again[0][1].count(b"\x0143=Y\x01")
    assert state_of(both[0]) == state_of(both[1])


def _places(stored: bytes) -> list[tuple[int, int]]:
    """Place and number of each record."""
    found, at = [], 0
    while size := records.record_bytes(stored, at):
        found.append((at, records.record_at(stored, at, size).number))
        at += size
    return found


def test_most_of_the_usual_records_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above compares Python with itself."""
    seen = []
    before = FixSession._next
    monkeypatch.setattr(FixSession, "_next", lambda self, *rest: (seen.append(1), before(self, *rest))[1])
    draw = random.Random(1)
    session, _ = live_session(VERSIONS[1])
    seen.clear()
    session.outgoing(b"".join(reported(draw, number, usual=1.0) for number in range(2, 1_002)))
    assert len(seen) < 750


# Messages as rows.

_IDS = [
    b"a1",
    b"12345678",
    b"123456789",
    b"ABCDEFGHIJKLMN",
    b"ABCDEFGHIJKLMNO",
    b"x" * 64,
    b"x" * 65,
    b"a b",
    b"\xe9",
    b"~",
]
_PRICES = [
    b"10",
    b"10.05",
    b"10.0500",
    b"10.",
    b".5",
    b"-1",
    b"10.00001",
    b"10.00000",
    b"0",
    b"199999.99",
    b"9999999999",
]
_TIMES = [
    *(b"20260921-14:13:20", b"20260921-14:13:20.123", b"20260921-14:13:20.123456789", b"20260921-14:13:20."),
    *(
        b"20260230-14:13:20",
        b"20260921-14:13:60",
        b"20260921 14:13:20",
        b"20261321-14:13:20",
        b"x",
        b"20260931-14:13:20",
    ),
    *(b"20240229-00:00:00", b"20260921-24:00:00", b"20260921-14:13:20.1234567890", b"20260921-14:13:20,5"),
]
#: Values of fields, the usual ones first.
_VALUES = {
    1: [b"acc", b""],
    11: _IDS,
    18: [b"6", b"1"],
    21: [b"1", b"2", b"4", b"11"],
    38: [b"100", b"1", b"0100", b"10.5", b"10.0", b"-1", b"+1", b"99999999999", b"1000000", b"0", b""],
    40: [b"2", b"1", b"3", b"P", b"22", b"Z"],
    41: _IDS,
    44: _PRICES,
    54: [b"1", b"2", b"5", b"11"],
    55: [b"XYZ", b"NONE", b"ABCDEFGHI", b"X Z", b""],
    58: [b"a text"],
    59: [b"0", b"1", b"3", b"6", b"7", b"8", b"33"],
    60: _TIMES,
    100: [b"MIDPOINT"],
}
_OF_TYPE = {
    b"D": (11, 21, 38, 40, 44, 54, 55, 59, 60),
    b"G": (11, 21, 38, 40, 41, 44, 54, 55, 60),
    b"F": (11, 41, 54, 55, 60),
}

_NO_FRAMES = [b"garbage", b"8=", b"8=FIX.4.1\x019=5\x0135=0\x0110=161\x01", b"8=FIX.4.4\x019=x\x01"]


def framed(
    version: str, kind: bytes, seq: bytes, fields: list[tuple[int, bytes]], draw: random.Random, *, hostile: bool
) -> bytes:
    """A frame whose parts are odd now and then, if it is hostile such that a session ends or asks again."""

    def odd() -> float:
        return draw.random() if hostile else 1.0

    header = [(34, seq), (49, b"UA" if odd() > 0.01 else b"UB"), (52, Times().text(NOW_NS))]
    header.append((56, b"LOCKSTEP" if odd() > 0.01 else b"LOCK"))
    if odd() < 0.05:
        header[2] = (52, draw.choice([*_TIMES, Times().text(NOW_NS - 119 * 10**9), Times().text(NOW_NS - 121 * 10**9)]))
    if draw.random() < 0.3:
        draw.shuffle(header)
    if draw.random() < 0.05:
        header.append(draw.choice([(50, b"sub"), (43, b"N"), (97, b"Y"), (115, b"third"), (34, seq)]))
    if draw.random() < 0.02:
        fields = [fields[0], *header, *fields[1:]]
        header = []
    text = b"35=%b\x01" % kind + body([*header, *fields])
    if odd() < 0.02:
        text = text.replace(b"=", draw.choice([b"", b"==", b" ="]), draw.randrange(1, 4))
    if draw.random() < 0.02:
        text = text.replace(b"11=", draw.choice([b"011=", b"-11=", b"11111=", b"11a=", b"=", b"64="]), 1)
    data = b"8=%b\x019=%d\x01%b" % (version.encode(), len(text) + (odd() < 0.02), text)
    return data + b"10=%03d\x01" % ((checksum(data) + (odd() < 0.02)) % 256)


def arrived(draw: random.Random, version: str, count: int) -> bytes:
    """Messages of a client, most of them plain."""
    made, seq, hostile = [], 2, draw.random() < 0.4
    for _ in range(count):
        kind = draw.choice([b"D", b"D", b"D", b"F", b"F", b"G"])
        values = {tag: _VALUES[tag][0] for tag in _OF_TYPE[kind]}
        values[11] = b"o%d" % draw.randrange(10**6)
        values[60] = _TIMES[draw.randrange(3)]
        if kind == b"D" and draw.random() < 0.2:
            values[40] = b"1"
            del values[44]
        if draw.random() < 0.3:
            tag = draw.choice(list(_VALUES))
            values[tag] = draw.choice(_VALUES[tag])
        if draw.random() < 0.1:
            del values[draw.choice(list(values))]
        fields = list(values.items())
        if draw.random() < 0.3:
            draw.shuffle(fields)
        if draw.random() < 0.03:
            fields.append(draw.choice(fields))
        number = seq if draw.random() > 0.01 or not hostile else seq + draw.choice([-1, 1, 5])
        made.append(framed(version, kind, b"%d" % number, fields, draw, hostile=hostile))
        seq += 1
        if hostile and draw.random() < 0.03:
            made.append(draw.choice(_NO_FRAMES))
        if draw.random() < 0.03:
            made.append(
                framed(
                    version, draw.choice([b"0", b"1", b"H", b"B"]), b"%d" % seq, [(112, b"t")], draw, hostile=hostile
                )
            )
            seq += 1
    return b"".join(made)


def read_all(session: FixSession, market: Market, parts: list[bytes], rows_max: int) -> bytes:
    """Rows of what came in parts."""
    rows: list[bytes] = []
    region = b""
    for part in parts:
        region += part
        while region or session.asks:
            taken, some, _ = session.read(memoryview(region), rows_max, market.streams, 1, 1)
            rows += some
            assert sum(map(len, some)) <= 64 * rows_max
            if not taken and not some:
                break
            region = region[taken:]
    return b"".join(rows)


@pytest.mark.slow_after(21)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(30))
def test_rows_of_many_messages_are_those_of_each(version: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(f"{version} {seed}")
    market = Market()
    data = arrived(draw, version, 60)
    whole = draw.random() < 0.3
    parts, at = [], 0
    while at < len(data):
        size = len(data) if whole else draw.choice([1, 7, 150, 1_000, 10_000])
        parts.append(data[at : at + size])
        at += size
    rows_max = draw.choice([4, 5, 64, 256])
    both = [live_session(version, market.streams)[0] for _ in range(2)]
    made = [read_all(both[0], market, parts, rows_max)]
    monkeypatch.setattr(FixSession, "_reads_plain", lambda *_: False)
    made.append(read_all(both[1], market, parts, rows_max))
    assert [made[0][at : at + 64] for at in range(0, len(made[0]), 64)] == [
        made[1][at : at + 64] for at in range(0, len(made[1]), 64)
    ]
    assert state_of(both[0]) == state_of(both[1])
    assert (both[0].state, both[0].over) == (both[1].state, both[1].over)


def test_most_of_the_plain_messages_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above compares Python with itself."""
    seen = []
    before = Entering._order
    monkeypatch.setattr(Entering, "_order", lambda self, *rest: (seen.append(1), before(self, *rest))[1])
    market = Market()
    session, writer = live_session("FIX.4.4", market.streams)
    fields = [(11, b"o1"), (38, b"100"), (40, b"2"), (44, b"10.05"), (54, b"1"), (55, b"XYZ"), (60, _TIMES[0])]
    data = b"".join(writer.frame(b"D", seq, NOW_NS, body(fields)) for seq in range(2, 102))
    assert len(read_all(session, market, [data[:5_000], data[5_000:]], 256)) == 100 * 64
    assert not seen


# Reports as records.


class _Both:
    """Streams that kernels make of blocks, those that Python makes of them, and those that a kernel takes from a tape
    by itself, where it does."""

    def __init__(self, folder: Path) -> None:
        self.engine, self.seq = Engine(CAPACITY), 1
        self.told: tuple[list[Segment], ...] = [], [], []
        self.streams = [FixStreams(CAPACITY, told.append, lambda *_: None, lambda *_: None) for told in self.told]
        self.streams[1].has_kernel = False
        self.writer = TapeWriter(folder / "tape", bytes(16), MARKET_ROWS)
        self.reader = TapeReader(folder / "tape", bytes(16), MARKET_ROWS)
        self.taped = self.untaped = 0

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def read(self, text: str) -> None:
        """Take a scenario."""
        translator = Translator(parse(text, "market"), self.engine.directory)
        while (found := translator.next_batch(self.engine.directory)) is not None:
            self.take(found.rows)

    def take(self, rows: "np.ndarray[Any, Any]") -> None:
        """Take COMMAND rows as one block, and compare what is told."""
        events = self.engine.apply(rows)
        for streams in self.streams[:2]:
            streams(self.seq, rows, events)
        self._take_taped(rows, events)
        self.seq += len(rows)
        assert self.told[0] == self.told[1] == self.told[2]
        for told in self.told:
            told.clear()

    def _take_taped(self, rows: "np.ndarray[Any, Any]", events: "np.ndarray[Any, Any]") -> None:
        self.writer.write(self.seq, 1, 0, rows, events, np.zeros(0, REPORT))
        assert not self.streams[2].take_taped(self.reader.tape, self.seq - 1)  # it is not released
        self.writer.store(Place.RELEASED, self.seq + len(rows) - 1)
        taken = self.streams[2].take_taped(self.reader.tape, self.seq - 1)
        assert taken in (0, len(rows))
        if taken:
            self.taped += 1
            assert self.streams[2].ends_extended == (rows["kind"][-1] == CommandKind.EXTEND)
            return
        self.untaped += 1
        block = self.reader.read()[1]
        assert block is not None
        self.streams[2](block.first_seq, block.commands.copy(), block.events.copy())

    def compare(self) -> None:
        """Compare all that the streams know, and go on from it."""
        images = [{name: array.copy() for name, array in each.image().items()} for each in self.streams]
        for other in images[1:]:
            assert images[0].keys() == other.keys()
            for name, array in images[0].items():
                assert array.tobytes() == other[name].tobytes(), name
        for streams, told, image in zip(self.streams, self.told, images, strict=True):
            again = FixStreams(CAPACITY, told.append, lambda *_: None, lambda *_: None)
            again.has_kernel = streams.has_kernel
            again.restore(image, self.seq - 1)
            self.streams[self.streams.index(streams)] = again


_NAMES = [b"o%d", b"order-%d", b"%d-and-a-long-name"]


def _command(draw: random.Random, named: dict[int, list[bytes]], user: int, count: int, next_in: int) -> list[bytes]:
    """Rows of a command of a user, whose protocol is FIX for those up to 3."""
    fix = user <= 3
    text = draw.choice(_NAMES if fix else _NAMES[:2]) % count
    own = draw.choice(named[user]) if named[user] and draw.random() < 0.8 else b"none"
    context = marks.context_of(user, next_in) if fix else user
    token = names.words_of(text[:14]) if not fix else names.words_of(text)
    old, new = names.id_of(own), names.id_of(text)
    old_words = names.words_of(own[:14]) if old < 0 else (0, 0)
    kind = draw.choice(["new", "new", "new", "cancel", "replace", "mark", "other"])
    rows: list[bytes] = []
    if fix and names.is_long(text):
        rows += [row for part in marks.name_rows(user, user, text) for row in part]
    if kind == "new":
        if new < 0:
            rows.append(extend_row(0, 0, *names.words_of(text[:14]), 0, 0))
        price, lasts = draw.randrange(95, 106) * 10_000, draw.choice([TimeInForce.DAY, TimeInForce.IOC])
        rows.append(enter_row(new, context, price, draw.randrange(1, 300), user, draw.choice([1, -1]), lasts))
        named[user].append(text)
    elif kind == "cancel":
        rows += [extend_row(0, 0, *old_words, *token), cancel_row(old, context, user)]
    elif kind == "replace":
        rows.append(extend_row(0, 0, *old_words, *(names.words_of(text[:14]) if new < 0 else (0, 0))))
        price, qty = draw.randrange(95, 106) * 10_000, draw.randrange(1, 300)
        rows.append(replace_row(old, new, context, price, qty, user))
        named[user].append(text)
    elif kind == "mark" and fix:
        mark = draw.choice([Mark.SESSION, Mark.STATUS, Mark.BUSINESS_REJECT, Mark.MASS_CANCEL, Mark.RESET])
        words = [old, 0x58595A, *names.words_of(text[:14]), 1, 0]
        if mark == Mark.MASS_CANCEL:
            words = [0, 0, *names.words_of(text[:14]), 0, 0]
        rows += marks.mark_rows(marks.context_of(user, next_in, mark), user, count, words)
    elif kind == "other":
        rows += marks.mark_rows(marks.context_of(user, next_in, Mark.SESSION, 3), user, count)
    return rows


def enter_row(own_id: int, context: int, price_e4: int, qty: int, participant: int, side: int, time: int) -> bytes:
    """Row of an order."""
    row = np.zeros(1, COMMAND)[0]
    row["kind"], row["client_order_id"], row["context"] = CommandKind.ENTER, own_id, context
    row["price_e4"], row["qty"], row["participant"], row["instrument"] = price_e4, qty, participant, 1
    row["side"], row["time_in_force"], row["self_trade"], row["book"] = side, time, SelfTrade.CANCEL_NEWEST, Book.LIT
    return row.tobytes()


def cancel_row(old_id: int, context: int, participant: int) -> bytes:
    """Row of a cancel."""
    row = np.zeros(1, COMMAND)[0]
    row["kind"], row["client_order_id"], row["context"] = CommandKind.CANCEL, old_id, context
    row["participant"] = participant
    return row.tobytes()


def replace_row(old_id: int, new_id: int, context: int, price_e4: int, qty: int, participant: int) -> bytes:
    """Row of a replace."""
    row = np.zeros(1, COMMAND)[0]
    row["kind"], row["client_order_id"], row["new_context"] = CommandKind.REPLACE, old_id, context
    row["new_client_order_id"], row["price_e4"], row["qty"] = new_id, price_e4, qty
    row["participant"] = participant
    return row.tobytes()


def _defined(users: int) -> str:
    lines = ["at 2026-01-05T09:30:00", "instrument XYZ tick=0.01 lot=1 reference=100.00"]
    for number in range(1, users + 1):
        lines += [f"participant P{number}", f"user U{number} participant=P{number}"]
    return "\n".join([*lines, "phase * continuous", ""])


@pytest.mark.slow_after(4)
@pytest.mark.parametrize("seed", range(30))
def test_records_of_many_reports_are_those_of_each(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    both = _Both(tmp_path)
    both.read(_defined(5))
    named: dict[int, list[bytes]] = {user: [] for user in range(1, 6)}
    next_in = dict.fromkeys(named, 1)
    count = 0
    for block in range(25):
        rows: list[bytes] = []
        for _ in range(draw.choice([1, 1, 5, 60])):
            user = draw.randrange(1, 6)
            count, next_in[user] = count + 1, next_in[user] + 1
            rows += _command(draw, named, user, count, next_in[user])
        if rows:
            both.take(np.frombuffer(b"".join(rows), COMMAND).copy())
        if draw.random() < 0.05:
            both.read(f"venue speed_bump={draw.choice(['off', '1s'])}\n")
        if draw.random() < 0.1:
            both.read(f"at 2026-01-05T09:{30 + block:02}:00\n")
        if draw.random() < 0.1:
            both.compare()
    both.read("at 2026-01-06T09:30:00\n")
    both.compare()
    assert both.taped  # not of blocks of many rows, nor while a mass cancel is waited for
    both.close()


def test_a_block_of_one_plain_message_is_taken_from_the_tape_without_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = _Both(tmp_path)
    both.read(_defined(1))
    both.take(np.frombuffer(b"".join(marks.mark_rows(marks.context_of(1, 2, Mark.SESSION), 1, 1)), COMMAND))
    taped, untaped = both.taped, both.untaped
    monkeypatch.setattr(FixStreams, "_go_on", None)
    for count in range(1, 31):
        context = marks.context_of(1, 2 + count)
        both.take(np.frombuffer(enter_row(0x6F00 + count, context, 100_000, 100, 1, 1, TimeInForce.DAY), COMMAND))
    assert (both.taped - taped, both.untaped - untaped) == (30, 0)
    both.compare()
    both.close()


def test_most_of_the_usual_reports_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above compares Python with itself."""
    seen = []
    before = FixStreams._frame_chosen
    market = Market()
    market.mark(Mark.SESSION, 2, [])
    monkeypatch.setattr(FixStreams, "_frame_chosen", lambda self, chosen: (seen.append(1), before(self, chosen))[1])
    told: list[Segment] = []
    market.streams._deliver = told.append
    for count in range(1, 101):
        context = marks.context_of(1, 2 + count)
        market.take(np.frombuffer(enter_row(0x6F00 + count, context, 100_000, 100, 1, 1, TimeInForce.DAY), COMMAND))
    assert len(told) == 100
    assert not seen


def test_orders_that_are_closed_make_room_for_those_that_follow_and_open_ones_stay() -> None:
    kept, row = KeptOrders(), bytes(ROW_BYTES)
    for number in range(1, CLOSED_MAX + 3_001):
        kept.keep(1, number, row)
        kept.keep(1, number, row, closes=True)
        if number % 10 == 0:
            kept.keep(2, number, number.to_bytes(8, "little").ljust(ROW_BYTES, b"x"))
    assert kept.closed_orders().keys[:, 1].tolist() == list(range(3_001, CLOSED_MAX + 3_001))
    assert kept.open_orders().keys[:, 1].tolist() == list(range(10, CLOSED_MAX + 3_001, 10))
    assert kept.row((2, 5_000)) == (5_000).to_bytes(8, "little").ljust(ROW_BYTES, b"x")
    assert kept.row((1, 3_000)) is None
    assert not kept.is_open((1, 3_001))
    kept.keep(1, 3_002, row)
    assert kept.is_open((1, 3_002))
    assert kept.closed_orders().keys[:2, 1].tolist() == [3_001, 3_003]
    kept.forget_closed()
    assert len(kept.closed_orders().keys) == 0
    assert kept.is_open((2, 10))
