"""The ITCH feed: whoever reads it has the book of the market at every command, and its messages depend on nothing else.

The reader of ``tests/itch_reader.py`` is written from the specification alone, and strict about turns: it refuses an
execution that passes over an order before it. Readers that nobody here wrote judge the feed too.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Capacity, Engine
from engine.bounds import DAY_NS
from engine.records import CommandKind, EventKind, Instruction, TimeInForce
from marketdata.itch import ItchFeed, session_name
from marketdata.itch.fold import ROW_BYTES_MAX
from marketdata.itch.snapshot import Snapshot
from notation.parse import parse
from notation.translate import Translator
from reports import Reports
from tests.itch_reader import FeedError, Reader
from tests.report_streams import CAPACITY, Block, blocks, user_stream
from tests.streams import OPEN_NS
from wire import itch
from wire.itch_layout import PRICE_E4_MAX

#: Framed messages by session, in days since 1970.
Sessions = dict[int, bytes]


class Sink:
    """Messages of a feed by session; each piece must follow the one before."""

    def __init__(self) -> None:
        self.sessions: Sessions = {}
        self.next: dict[int, int] = {}

    def __call__(self, day: int, number: int, count: int, framed: memoryview) -> None:
        assert number == self.next.get(day, 1)
        assert not [later for later in self.sessions if later > day]
        self.sessions[day] = self.sessions.get(day, b"") + bytes(framed)
        assert count == len(list(itch.cut(framed)))
        self.next[day] = number + count


class Market:
    """Engine, reports and feed of a stream of commands."""

    def __init__(self, capacity: Capacity = CAPACITY, *, room_rows: int = 1_024, room_bytes: int = 1 << 16) -> None:
        self.sink = Sink()
        self.reports = Reports(capacity, room_rows=room_rows)
        self.feed = ItchFeed(capacity, self.sink, room_bytes=room_bytes)

    def take(self, block: Block) -> None:
        for batch in self.reports.batches(*block):
            self.feed.take(batch)
        self.feed.end_block()


class Follower:
    """Reader of what a sink has got since it was last asked, a new one for each session."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._day, self._at = sink, -1, 0
        self.reader = Reader()
        self.kinds: set[str] = set()

    def follow(self) -> Reader:
        for day in sorted(self._sink.sessions):
            if day < self._day:
                continue
            if day > self._day:
                self._day, self._at, self.reader = day, 0, Reader()
            for behind, message in itch.cut(self._sink.sessions[day], self._at):
                self._at = behind
                self.reader.take(message)
            self.kinds |= set(self.reader.kinds)
        return self.reader


def shown(engine: Engine, instrument: int) -> dict[int, list[tuple[int, int]]]:
    """(price_e4, shares) that the lit book shows, by side, in the order in which it would trade them.

    Without what ITCH cannot show: market orders of a call, and prices above its own; closing orders are in no book.
    """
    orders = engine.open_orders(instrument)
    told = (orders["shown_qty"] > 0) & (orders["price_e4"] > 0) & (orders["price_e4"] <= PRICE_E4_MAX)
    orders = orders[told & (orders["time_in_force"] != TimeInForce.CLOSING)]
    return {
        side: list(zip(own["price_e4"].tolist(), own["shown_qty"].tolist(), strict=True))
        for side in (1, -1)
        for own in (orders[orders["side"] == side],)
    }


def differences(engine: Engine, reader: Reader) -> list[str]:
    found = []
    for number, symbol in enumerate(engine.directory.symbols, 1):
        for side, expected in shown(engine, number).items():
            if (got := reader.side(number, side)) != expected:
                found.append(f"{symbol} {side} at {engine.seq}: the feed has {got[:5]}, the book {expected[:5]}")
    return found


def with_days(rows: NDArray[Any], seed: int) -> NDArray[Any]:
    """The stream with one clock value in four of another day, so that it has some days."""
    rows = rows.copy()
    clocks = np.flatnonzero((rows["kind"] == CommandKind.CLOCK) & (rows["time_ns"] > OPEN_NS))
    later = np.random.default_rng(seed).choice(clocks, min(3, len(clocks)), replace=False)
    for at in later.tolist():
        behind = clocks[clocks >= at]
        rows["time_ns"][behind] += DAY_NS
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 40))])
def test_the_feed_has_the_book_of_the_market_after_every_command(seed: int) -> None:
    engine, market = Engine(CAPACITY), Market()
    follower = Follower(market.sink)
    rows = user_stream(seed, 1_500)
    for at in range(len(rows)):
        commands = rows[at : at + 1]
        market.take(Block(at + 1, commands, engine.apply(commands)))
        found = differences(engine, follower.follow())
        assert not found, f"seed {seed}: {found[0]}"


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("seed", [0, 3, 5])
def test_each_day_is_complete_by_itself_and_no_share_is_lost(seed: int) -> None:
    engine, market = Engine(CAPACITY), Market()
    follower, traded_qty = Follower(market.sink), 0
    rows, volume = with_days(user_stream(seed, 3_000), seed), 0
    days = 1
    for at in range(0, len(rows), 7):
        commands = rows[at : at + 7]
        events = engine.apply(commands)
        traded_qty += int(events["qty"][events["kind"] == EventKind.TRADE].sum())
        before = follower.reader
        market.take(Block(at + 1, commands, events))
        if follower.follow() is not before:
            days += 1
        assert not differences(engine, follower.reader)
    for octets in market.sink.sessions.values():
        reader = Reader()
        for _, message in itch.cut(octets):
            reader.take(message)
        volume += sum(reader.volume.values())
        ended = octets is not market.sink.sessions[max(market.sink.sessions)]
        assert reader.events.startswith("OS")
        assert reader.events.endswith("EC") is ended
    assert volume == traded_qty
    assert len(market.sink.sessions) >= 4
    assert days >= 4


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_blocks_rooms_and_capacity_change_no_message(seed: int) -> None:
    rows = with_days(user_stream(seed, 1_500), seed)
    whole = Market()
    for block in blocks(rows, seed, largest=0):
        whole.take(block)
    larger = Capacity(orders_max=5_000, ids_max=20_000, instruments_max=9, participants_max=20)
    for capacity, room_rows, room_bytes in ((CAPACITY, 3, 2 * ROW_BYTES_MAX), (larger, 64, 4_000)):
        other = Market(capacity, room_rows=room_rows, room_bytes=room_bytes)
        for block in blocks(rows, seed):
            other.take(block)
        assert other.sink.sessions == whole.sink.sessions
        assert other.feed.digest() == whole.feed.digest()


@pytest.mark.parametrize("seed", [0, 3])
def test_a_feed_goes_on_from_an_image_with_the_same_bytes(seed: int) -> None:
    rows = with_days(user_stream(seed, 1_500), seed)
    straight = Market()
    every = list(blocks(rows, seed))
    for block in every:
        straight.take(block)
    for cut in range(1, len(every), 3):
        first = Market()
        for block in every[:cut]:
            first.take(block)
        after = Market()
        image = {name: array.copy() for name, array in first.feed.image().items()}
        after.reports.restore(first.reports.image(), first.reports.seq)
        after.feed.restore(image, first.reports.seq)
        after.sink = first.sink
        after.feed._on_messages = first.sink
        assert after.feed.digest() == first.feed.digest()
        for block in every[cut:]:
            after.take(block)
        assert first.sink.sessions == straight.sink.sessions, cut
        assert after.feed.digest() == straight.feed.digest()


def test_a_snapshot_is_the_book_and_leaves_the_feed_alone() -> None:
    engine, market = Engine(CAPACITY), Market()
    commands = user_stream(0, 1_500)
    market.take(Block(1, commands, engine.apply(commands)))
    before = market.feed.digest()
    reader = Reader()
    for _, message in itch.cut(b"".join(Snapshot(market.feed).framed(engine.now_ns))):
        reader.take(message)
    assert not differences(engine, reader)
    assert market.feed.digest() == before
    assert Snapshot(ItchFeed(CAPACITY)).framed(0) == []


def test_an_image_that_does_not_fit_is_refused() -> None:
    market = Market()
    for block in blocks(user_stream(0, 400), 0):
        market.take(block)
    image = market.feed.image()
    with pytest.raises(ValueError, match="other tables"):
        ItchFeed(CAPACITY).restore({**image, "layout": image["layout"][::-1]}, 400)
    with pytest.raises(ValueError, match="more than there is room for"):
        ItchFeed(Capacity(1, 1, 1, 1)).restore(image, 400)
    with pytest.raises(ValueError, match="damaged"):
        ItchFeed(CAPACITY).restore({**image, "shown": image["shown"].view(np.uint8)}, 400)
    with pytest.raises(ValueError, match="not of 3"):
        ItchFeed(CAPACITY).restore(image, 3)
    with pytest.raises(ValueError, match="less than a report may need"):
        ItchFeed(CAPACITY, room_bytes=100)


MARKET = """
instrument XYZ tick=0.01 lot=1 reference=10.00 books=lit,midpoint
participant ALPHA allow=market,stp_none
participant BETA allow=market,stp_none
at 09:30:00
phase XYZ continuous
"""


def told(lines: str) -> list[str]:
    """Messages of a scenario behind those of ``MARKET``, in words without head and stock."""
    return told_with_market(lines)[1]


def told_with_market(lines: str) -> tuple[Market, list[str]]:
    """The same, and the market."""
    engine, market = Engine(CAPACITY), Market()
    translator = Translator(parse(MARKET + lines, "lines"), engine.directory, "lines")
    skip = 0
    while (batch := translator.next_batch(engine.directory)) is not None:
        for n in range(len(batch.rows)):
            row = batch.rows[n : n + 1]
            market.take(Block(engine.seq + 1, row, engine.apply(row)))
            if row["kind"][0] == CommandKind.PHASE and not skip:
                skip = len(market.sink.sessions[max(market.sink.sessions)])
    (session,) = list(market.sink.sessions.values())[-1:]
    reader = Reader()
    said = []
    for behind, message in itch.cut(session):
        reader.take(message)
        if behind > skip:
            words = itch.text_of(message).split()
            left_out = ("stock_locate", "time_ns", "stock=", "variation")
            said.append(" ".join(word for word in words if not word.startswith(left_out)))
    assert not differences(engine, reader)
    return market, said


FURTHER = 1 << 35


def test_an_order_is_added_executed_canceled_in_part_and_deleted() -> None:
    assert told(
        """
enter ALPHA a1 sell 100 XYZ @ 10.00
enter BETA b1 buy 30 XYZ @ 10.00
cancel ALPHA a1 qty=50
cancel ALPHA a1
enter BETA b2 buy 10 XYZ @ market
"""
    ) == [
        "ADD reference=1 side=S shares=100 price_e4=100000",
        "EXECUTED reference=1 shares=30 match_number=1",
        "CANCEL reference=1 shares=50",
        "DELETE reference=1",
    ]


def test_what_is_left_of_an_aggressor_is_added_with_its_own_number() -> None:
    assert told("enter ALPHA a1 sell 100 XYZ @ 10.00\nenter BETA b1 buy 130 XYZ @ 10.05\n") == [
        "ADD reference=1 side=S shares=100 price_e4=100000",
        "EXECUTED reference=1 shares=100 match_number=1",
        "ADD reference=2 side=B shares=30 price_e4=100500",
    ]


def test_a_replace_keeps_its_reference_only_with_its_priority() -> None:
    assert told(
        """
enter ALPHA a1 sell 100 XYZ @ 10.00
replace ALPHA a1 a2 60 @ 10.00
replace ALPHA a2 a3 60 @ 10.00
replace ALPHA a3 a4 80 @ 10.00
enter BETA b1 buy 50 XYZ @ 9.90
replace ALPHA a4 a5 80 @ 9.90
"""
    ) == [
        "ADD reference=1 side=S shares=100 price_e4=100000",
        "CANCEL reference=1 shares=40",
        f"REPLACE reference=1 new_reference={FURTHER + 2} shares=80 price_e4=100000",
        "ADD reference=2 side=B shares=50 price_e4=99000",
        f"DELETE reference={FURTHER + 2}",
        "EXECUTED reference=2 shares=50 match_number=1",
        f"ADD reference={FURTHER + 4} side=S shares=30 price_e4=99000",
    ]


def test_an_iceberg_shows_its_part_and_the_next_part_is_another_order() -> None:
    assert told(
        """
enter ALPHA a1 sell 250 XYZ @ 10.00 display=100
enter BETA b1 buy 120 XYZ @ 10.00
"""
    ) == [
        "ADD reference=1 side=S shares=100 price_e4=100000",
        "EXECUTED reference=1 shares=100 match_number=1",
        f"ADD reference={FURTHER + 2} side=S shares=100 price_e4=100000",
        f"EXECUTED reference={FURTHER + 2} shares=20 match_number=2",
    ]


def test_what_is_not_displayed_is_told_as_a_trade_alone() -> None:
    assert told(
        """
enter ALPHA a1 sell 100 XYZ @ 10.00 hidden
enter BETA b1 buy 30 XYZ @ 10.00
enter ALPHA a2 sell 10 XYZ @ 10.10
enter BETA b2 buy 10 XYZ @ 9.90
enter ALPHA a3 sell 10 XYZ @ market book=midpoint
enter BETA b3 buy 10 XYZ @ market book=midpoint
cross ALPHA c1 500 XYZ @ 10.01 buyer=ALPHA seller=BETA
"""
    ) == [
        "TRADE side=B shares=30 price_e4=100000 match_number=1",
        "ADD reference=3 side=S shares=10 price_e4=101000",
        "ADD reference=4 side=B shares=10 price_e4=99000",
        "TRADE side=B shares=10 price_e4=100000 match_number=2",
        "TRADE side=B shares=500 price_e4=100100 match_number=3",
    ]


def test_an_uncross_is_an_execution_of_each_order_and_one_cross_trade() -> None:
    assert told(
        """
phase XYZ closing_auction
enter ALPHA a1 sell 100 XYZ @ 10.00
enter BETA b1 buy 60 XYZ @ market
enter BETA b2 buy 30 XYZ @ 10.00 hidden
enter BETA b3 buy 30 XYZ @ 10.00
phase XYZ closed
"""
    ) == [
        "TRADING_ACTION state=Q",
        "ADD reference=1 side=S shares=100 price_e4=100000",
        "NOII paired_shares=60 imbalance_shares=40 direction=S near_e4=100000 reference_e4=100000 cross=C",
        "NOII paired_shares=90 imbalance_shares=10 direction=S near_e4=100000 reference_e4=100000 cross=C",
        "ADD reference=4 side=B shares=30 price_e4=100000",
        "NOII paired_shares=100 imbalance_shares=20 direction=B near_e4=100000 reference_e4=100000 cross=C",
        "TRADING_ACTION state=H",
        "SYSTEM_EVENT event=M",
        "EXECUTED_WITH_PRICE reference=1 shares=60 match_number=1 printable=N price_e4=100000",
        "EXECUTED_WITH_PRICE reference=4 shares=30 match_number=2 printable=N price_e4=100000",
        "EXECUTED_WITH_PRICE reference=1 shares=30 match_number=2 printable=N price_e4=100000",
        "EXECUTED_WITH_PRICE reference=1 shares=10 match_number=3 printable=N price_e4=100000",
        "CROSS_TRADE shares=100 price_e4=100000 match_number=1 cross=C",
    ]


def test_an_iceberg_that_shows_more_after_an_uncross_keeps_its_place_before_the_others() -> None:
    assert told(
        """
enter ALPHA a1 sell 300 XYZ @ 10.00 display=100
enter ALPHA a2 sell 40 XYZ @ 10.00
enter ALPHA a3 sell 20 XYZ @ 10.00
enter BETA b1 buy 70 XYZ @ 10.00
phase XYZ auction
enter BETA b2 buy 80 XYZ @ 10.00
phase XYZ continuous
enter BETA b3 buy 110 XYZ @ 10.00
"""
    ) == [
        "ADD reference=1 side=S shares=100 price_e4=100000",
        "ADD reference=2 side=S shares=40 price_e4=100000",
        "ADD reference=3 side=S shares=20 price_e4=100000",
        "EXECUTED reference=1 shares=70 match_number=1",
        "TRADING_ACTION state=Q",
        "ADD reference=5 side=B shares=80 price_e4=100000",
        "NOII paired_shares=80 imbalance_shares=210 direction=S near_e4=100000 reference_e4=100000 cross=H",
        "TRADING_ACTION state=T",
        "EXECUTED_WITH_PRICE reference=5 shares=80 match_number=2 printable=N price_e4=100000",
        "CROSS_TRADE shares=80 price_e4=100000 match_number=2 cross=H",
        f"REPLACE reference=1 new_reference={FURTHER + 5} shares=100 price_e4=100000",
        f"REPLACE reference=2 new_reference={FURTHER + 6} shares=40 price_e4=100000",
        f"REPLACE reference=3 new_reference={FURTHER + 7} shares=20 price_e4=100000",
        f"EXECUTED reference={FURTHER + 5} shares=100 match_number=3",
        f"ADD reference={FURTHER + 8} side=S shares=50 price_e4=100000",
        f"EXECUTED reference={FURTHER + 6} shares=10 match_number=4",
    ]


def test_halts_are_told_with_their_reason() -> None:
    assert told("halt XYZ for=5m\nresume XYZ\nphase XYZ pre_open\nemergency_close\n") == [
        "TRADING_ACTION state=H reason=O1",
        "TRADING_ACTION state=Q",
        "TRADING_ACTION state=Q",
        "TRADING_ACTION state=H",
        "SYSTEM_EVENT event=M",
    ]


def test_a_price_that_itch_cannot_carry_is_shown_nowhere_and_never_cut() -> None:
    assert told(
        """
enter ALPHA a1 sell 10 XYZ @ 429496.73
enter ALPHA a2 sell 10 XYZ @ 429496.72
replace ALPHA a1 a3 10 @ 10.00
replace ALPHA a3 a4 10 @ 500000.00
replace ALPHA a4 a5 10 @ 11.00
"""
    ) == [
        "ADD reference=2 side=S shares=10 price_e4=4294967200",
        f"ADD reference={FURTHER + 2} side=S shares=10 price_e4=100000",
        f"DELETE reference={FURTHER + 2}",
        f"ADD reference={FURTHER + 3} side=S shares=10 price_e4=110000",
    ]


def test_trades_and_calls_above_what_itch_can_carry_are_left_out_and_counted() -> None:
    """A trade, what a call would give, and the uncross: orders that are shown and trade in it are deleted."""
    market, said = told_with_market(
        """
enter ALPHA a1 sell 10 XYZ @ 430000.00
enter BETA b1 buy 10 XYZ @ 430000.00
phase XYZ auction
enter ALPHA a2 sell 30 XYZ @ 10.00
enter ALPHA a3 sell 10 XYZ @ 10.01
enter BETA b2 buy 60 XYZ @ 500000.00
phase XYZ continuous
"""
    )
    assert said == [
        "TRADING_ACTION state=Q",
        "ADD reference=3 side=S shares=30 price_e4=100000",
        "ADD reference=4 side=S shares=10 price_e4=100100",
        "TRADING_ACTION state=T",
        "DELETE reference=3",
        "DELETE reference=4",
    ]
    assert market.feed.left_out == 3


def test_a_stop_is_shown_once_it_is_elected_and_rests() -> None:
    assert told(
        """
enter ALPHA s1 sell 10 XYZ @ 9.00 stop=10.00
enter ALPHA a1 sell 10 XYZ @ 10.00
enter BETA b1 buy 10 XYZ @ 10.00
"""
    ) == [
        "ADD reference=2 side=S shares=10 price_e4=100000",
        "EXECUTED reference=2 shares=10 match_number=1",
        "ADD reference=1 side=S shares=10 price_e4=90000",
    ]


def faulty(messages: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """The messages with a fault of each kind."""
    kinds = [chr(message[0]) for message in messages]
    last = len(messages) - 1
    for kind in "AEDU":
        at = last - kinds[::-1].index(kind) if kind != "A" else kinds.index("A")
        yield f"a lost {kind}", messages[:at] + messages[at + 1 :]
    at = kinds.index("A")
    yield "an order twice", [*messages[: at + 1], *messages[at:]]
    at = kinds.index("E")
    more = bytearray(messages[at])
    more[19:23] = (2**31).to_bytes(4, "big")
    yield "too many shares", [*messages[:at], bytes(more), *messages[at + 1 :]]


def test_the_reader_of_the_tests_finds_a_feed_that_is_wrong() -> None:
    engine, market = Engine(CAPACITY), Market()
    commands = user_stream(0, 1_500)
    market.take(Block(1, commands, engine.apply(commands)))
    (session,) = market.sink.sessions.values()
    messages = [message for _, message in itch.cut(session)]
    for fault, changed in faulty(messages):
        reader = Reader()
        try:
            for message in changed:
                reader.take(message)
        except FeedError:
            continue
        assert differences(engine, reader), f"{fault} was not found"


class PlainDay(NamedTuple):
    """Engine, day and messages of a day of every order type, in which the market does not close for good.

    crosses: shares and price of each cross that was reported in it, by match number.
    """

    engine: Engine
    day: int
    session: bytes
    crosses: dict[int, tuple[int, int]]


#: Streams whose longest day the judges get: of every order type in the first, of calls alone in the last.
DAYS = (2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, 1, 3)))


def beginnings(rows: Any) -> list[int]:
    """Places of the commands with which sessions begin."""
    engine, market, found = Engine(CAPACITY), Market(), list[int]()
    for at in range(len(rows)):
        sessions = len(market.sink.sessions)
        market.take(Block(at + 1, rows[at : at + 1], engine.apply(rows[at : at + 1])))
        found += [at] * (len(market.sink.sessions) > sessions)
    return found


def plain_day(seed: int) -> PlainDay:
    """The longest day of a stream, up to its last command."""
    rows = user_stream(seed, 6_000)
    begins = [*beginnings(rows), len(rows)]
    begin, end = max(pairwise(begins), key=lambda day: day[1] - day[0])
    engine, market = Engine(CAPACITY), Market()
    crosses: dict[int, tuple[int, int]] = {}
    for from_at, to_at in pairwise([*range(0, begin, 500), *range(begin, end, 500), end]):
        commands = rows[from_at:to_at]
        events = engine.apply(commands)
        market.take(Block(from_at + 1, commands, events))
        of_crosses = commands["kind"][events["seq"] - from_at - 1] == CommandKind.CROSS
        trades = events[of_crosses & (events["kind"] == EventKind.TRADE)] if from_at >= begin else events[:0]
        crosses |= {int(each["trade_number"]): (int(each["qty"]), int(each["price_e4"])) for each in trades}
    entered = rows[begin:end][rows["kind"][begin:end] == CommandKind.ENTER]
    if seed == DAYS[0]:
        assert set(TimeInForce) <= set(entered["time_in_force"].tolist())
        assert not sum(Instruction) & ~int(np.bitwise_or.reduce(entered["instructions"])), "every order type is entered"
        assert crosses, "the judges are given some"
    day = max(market.sink.sessions)
    return PlainDay(engine, day, market.sink.sessions[day], crosses)


@pytest.mark.parametrize("seed", DAYS)
def test_itch_book_rebuilds_the_best_prices_without_a_fault(tmp_path: Path, seed: int) -> None:
    itch_book = pytest.importorskip("itch_book", reason="itch-book is not installed")
    engine, day, session, crosses = plain_day(seed)
    name = session_name(day)
    path = tmp_path / f"{name[4:6]}{name[6:8]}{name[:4]}.NASDAQ_ITCH50"
    path.write_bytes(session)
    feed = itch_book.open(str(path), price_type="fixed")
    best: dict[int, tuple[int, ...]] = {}
    trades: dict[int, tuple[int, int]] = {}
    for batch in feed.batches(tables=("bbo", "trades")):
        columns = [batch.bbo[column].tolist() for column in ("locate", "bid_px", "bid_sz", "ask_px", "ask_sz")]
        best |= {row[0]: row[1:] for row in zip(*columns, strict=True)}
        sizes = zip(batch.trades["size"].tolist(), batch.trades["price"].tolist(), strict=True)
        trades |= dict(zip(batch.trades["match_number"].tolist(), sizes, strict=True))
    stats = feed.stats
    assert (stats["missing_ref"], stats["dup_ref"], stats["malformed"]) == (0, 0, 0)
    for number in range(1, len(engine.directory.symbols) + 1):
        expected = []
        for side in (1, -1):
            orders = shown(engine, number)[side]
            expected += [orders[0][0], sum(qty for price, qty in orders if price == orders[0][0])] if orders else [0, 0]
        got = [max(int(value), 0) for value in best.get(number, (0, 0, 0, 0))]
        assert got[1::2] == expected[1::2]
        assert [price for price, qty in zip(got[::2], got[1::2], strict=True) if qty] == [
            price for price, qty in zip(expected[::2], expected[1::2], strict=True) if qty
        ]
    assert {number: trades[number] for number in crosses} == crosses


@pytest.mark.parametrize("seed", DAYS)
def test_meatpy_finds_no_order_that_trades_before_its_turn(tmp_path: Path, seed: int) -> None:
    meatpy = pytest.importorskip("meatpy.itch50", reason="meatpy is not installed")
    engine, day, session, crosses = plain_day(seed)
    path = tmp_path / "day.itch"
    path.write_bytes(session)
    told: dict[int, tuple[int, int]] = {}
    executed: Counter[bytes] = Counter()
    for symbol in engine.directory.symbols:
        processor = meatpy.ITCH50MarketProcessor(symbol, datetime(1970, 1, 1) + timedelta(days=day))
        with meatpy.ITCH50MessageReader(path) as reader:
            for message in reader:
                processor.process_message(message)
                book = processor.current_lob
                if message.type in b"EC":
                    executed[message.type] += 1
                    # At each execution: at the next one it forgets those that it takes for no faults.
                    assert book is not None
                    assert not book.execution_errors_buffer, f"execution {executed.total()} of {symbol}"
                if message.type == b"P":
                    told[message.match] = (message.shares, message.price)
        book = processor.current_lob
        assert not book or not book.execution_errors_buffer
        expected = shown(engine, engine.directory.symbols.index(symbol) + 1)
        for side, levels in ((1, book.bid_levels if book else []), (-1, book.ask_levels if book else [])):
            got = [(level.price, order.volume) for level in levels for order in level.queue]
            assert got == expected[side]
    assert executed[b"E"] > 25
    assert executed[b"C"] > 1_000 or seed != 3, "those of an uncross"
    assert {number: told[number] for number in crosses} == crosses


def test_meatpy_finds_an_order_that_trades_before_its_turn(tmp_path: Path) -> None:
    meatpy = pytest.importorskip("meatpy.itch50", reason="meatpy is not installed")
    messages = [
        itch.message_of(itch.ItchMessage(ord(kind)), {"stock_locate": 1, **values})
        for kind, values in (
            ("S", {"event": "O"}),
            ("R", {"stock": "I1"}),
            ("A", {"reference": 1, "side": "B", "shares": 10, "stock": "I1", "price_e4": 100}),
            ("A", {"reference": 2, "side": "B", "shares": 10, "stock": "I1", "price_e4": 100}),
            ("E", {"reference": 2, "shares": 10, "match_number": 1}),
        )
    ]
    path = tmp_path / "day.itch"
    path.write_bytes(b"".join(len(message).to_bytes(2, "big") + message for message in messages))
    processor = meatpy.ITCH50MarketProcessor("I1", datetime(2024, 1, 15))
    with meatpy.ITCH50MessageReader(path) as reader:
        for message in reader:
            processor.process_message(message)
    assert [type(each).__name__ for each in processor.current_lob.execution_errors_buffer] == [
        "ExecutionPriorityException"
    ]


def test_a_session_is_a_trading_day_of_the_venue() -> None:
    """It is named by its last moment, and its times go on beyond 24 hours. The last two end in one date."""
    market, engine = Market(), Engine(CAPACITY)
    lines = (
        "venue day_start=17:00\n"
        + MARKET
        + "at 2024-01-15T16:59:59\nenter ALPHA a1 sell 10 XYZ @ 10.00\n"
        + "at 2024-01-15T18:00\nenter ALPHA a2 sell 10 XYZ @ 10.00\n"
        + "at 2024-01-16T09:00\nenter ALPHA a3 sell 10 XYZ @ 10.00\n"
        + "at 2024-01-17T03:00\n"
        + "venue day_start=05:00\n"
        + "at 2024-01-17T05:00\n"
        + "venue day_start=00:00\n"
        + "at 2024-01-18T00:00\n"
    )
    translator = Translator(parse(lines, "lines"), engine.directory, "lines")
    while (batch := translator.next_batch(engine.directory)) is not None:
        market.take(Block(engine.seq + 1, batch.rows, engine.apply(batch.rows)))
    days = [day for day in sorted(market.sink.sessions) if day]
    assert [session_name(day) for day in days] == [*(f"202401{day}" for day in range(15, 20))]
    hour_ns = 3_600 * 10**9
    times_ns = [[itch.fields(message)["time_ns"] for _, message in itch.cut(market.sink.sessions[day])] for day in days]
    assert times_ns[0][-1] == 17 * hour_ns - 1
    assert (times_ns[1][0], times_ns[1][-1], times_ns[1].count(33 * hour_ns)) == (18 * hour_ns, 41 * hour_ns - 1, 1)
    assert (times_ns[2][0], times_ns[2][-1]) == (27 * hour_ns, 29 * hour_ns - 1)
    assert (times_ns[3][0], times_ns[3][-1], times_ns[4][0]) == (5 * hour_ns, 24 * hour_ns - 1, 0)


def test_times_are_of_the_day_and_what_a_day_ends_has_its_last_nanosecond() -> None:
    market, engine = Market(), Engine(CAPACITY)
    lines = MARKET + "enter ALPHA a1 sell 10 XYZ @ 10.00\nat 2024-01-16T08:00:00\n"
    translator = Translator(parse(lines, "lines"), engine.directory, "lines")
    while (batch := translator.next_batch(engine.directory)) is not None:
        market.take(Block(engine.seq + 1, batch.rows, engine.apply(batch.rows)))
    first, second = (market.sink.sessions[day] for day in sorted(market.sink.sessions)[-2:])
    last = [itch.fields(message) for _, message in itch.cut(first)][-4:]
    assert [(each["kind"], each.get("event"), each["time_ns"]) for each in last] == [
        ("D", None, DAY_NS - 1),
        *(("S", event, DAY_NS - 1) for event in "MEC"),
    ]
    assert {itch.fields(message)["time_ns"] for _, message in itch.cut(second)} == {8 * 3_600 * 10**9}
