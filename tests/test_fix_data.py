"""Market data by FIX without a socket: who rebuilds a book from W and X has the engine's after each command."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Capacity, Engine
from marketdata.fix import encoding, session
from marketdata.fix.market import FixMarket
from marketdata.fix.session import COMP_ID, PER_INSTRUMENT_MAX, DataSession, Subscribers
from notation.parse import parse
from notation.translate import Translator
from tests.fix_book import FixBook, entries_of
from tests.test_ladders import CASES, levels_of_engine, stream
from tests.test_ladders import Levels as Truth
from wire.fix_codec import Cutter, FrameWriter, Message, Times, body
from wire.fix_data_table import market_data
from wire.fix_dictionary import ADMIN_TYPES, joined, read_xml
from wire.fix_table import VERSIONS
from wire.fix_validation import Validator

CAPACITY = Capacity(orders_max=4_000, ids_max=60_000, instruments_max=16, participants_max=16)
SECOND_NS = 1_000_000_000
ALL_TYPES = {
    "FIX.4.2": "0124578",
    "FIX.4.4": "0124578AB",
    "FIXT.1.1": "0124578ABQ",
}


class Subscriber:
    """One session, spoken to without a socket."""

    def __init__(self, subscribers: Subscribers, version: str = "FIXT.1.1", name: str = "SUB") -> None:
        self.version = version
        self.now_ns = time.time_ns()
        self.subscribers = subscribers
        self.session = DataSession(subscribers, self.now_ns)
        self.out_seq = 1
        self.writer = FrameWriter(version, name, COMP_ID, Times())
        self.cutter = Cutter()
        self.all: list[Message] = []

    def send(self, kind: bytes, fields: list[tuple[int, Any]], seq: int | None = None) -> None:
        frame = self.writer.frame(kind, self.out_seq if seq is None else seq, self.now_ns, body(fields))
        self.out_seq += 1
        self.session.receive(frame, self.now_ns)

    def log_on(self, *more: tuple[int, Any]) -> list[Message]:
        fields: list[tuple[int, Any]] = [(98, 0), (108, 30), (141, "Y"), *more]
        if self.version == "FIXT.1.1":
            fields.append((1137, "9"))
        self.send(b"A", fields)
        return self.got()

    def request(
        self, request_id: str, symbols: list[str], types: str = "", *, kind: str = "1", depth: Any = 0, **more: Any
    ) -> None:
        types = types or ALL_TYPES[self.version]
        fields: list[tuple[int, Any]] = [(262, request_id), (263, kind), (264, depth)]
        fields += [(int(tag[1:]), value) for tag, value in more.items()]
        fields += [(267, len(types)), *((269, each) for each in types)]
        fields += [(146, len(symbols)), *((55, each) for each in symbols)]
        self.send(b"V", fields)

    def pump(self) -> None:
        while self.subscribers.refresh(self.now_ns):
            pass
        while self.session.has_more:
            self.session.go_on(self.now_ns)

    def got(self) -> list[Message]:
        """Messages that came since the last call; numbers go on without a gap."""
        self.pump()
        self.cutter.feed(self.session.take())
        found = []
        while (cut := self.cutter.next()) is not None:
            assert cut[1]
            found.append(Message(cut[0]))
        self.all += found
        return found


class Venue:
    """An engine whose market is told to subscribers."""

    def __init__(self) -> None:
        self.engine = Engine(CAPACITY)
        self.market = FixMarket(CAPACITY)
        self.subscribers = Subscribers(self.market)
        self.seq = 0

    def take(self, commands: Any) -> None:
        events = self.engine.apply(commands)
        for changes in self.market.follow(self.seq + 1, commands, events):
            self.subscribers.tell(changes, time.time_ns())
        self.seq += len(commands)

    def symbols(self) -> list[str]:
        return [each.symbol for each in self.market.instruments.values()]


def told_levels(truth: Truth, number: int, depth: int) -> dict[tuple[bytes, bytes], tuple[int, int]]:
    """The best levels of an instrument by the engine's orders, as a subscriber names them."""
    found = {}
    for side, kind in ((1, b"0"), (-1, b"1")):
        prices = sorted((price for of, s, price in truth if (of, s) == (number, side) and price > 0), reverse=side > 0)
        for price in prices[:depth]:
            found[kind, encoding.price_text(price)] = truth[number, side, price]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_a_book_rebuilt_from_messages_is_the_engines_after_each_command(kind: str, seed: int, depth: int) -> None:
    venue, rows = Venue(), stream(kind, seed, 900)
    version = VERSIONS[(seed + depth) % 3]
    subscriber = Subscriber(venue.subscribers, version)
    subscriber.log_on()
    books: dict[str, FixBook] = {}
    for at in range(len(rows)):
        venue.take(rows[at : at + 1])
        for symbol in venue.symbols():
            if symbol not in books:
                books[symbol] = FixBook()
                subscriber.request(symbol, [symbol], depth=depth)
        for message in subscriber.got():
            books[message.fields[b"262"].decode()].take(message)
        truth = levels_of_engine(venue.engine)
        for symbol, book in books.items():
            instrument = venue.market.by_symbol[symbol]
            assert book.levels == told_levels(truth, instrument.number, depth or 10_000), f"{symbol}, command {at + 1}"
            shown = {kind: entry for kind, entry in instrument.entries.items() if kind.decode() in ALL_TYPES[version]}
            assert book.others.keys() == shown.keys(), f"{symbol}, command {at + 1}"
            for other, entry in shown.items():
                told = book.others[other]
                assert told.get(b"271") == (None if entry.qty is None else b"%d" % entry.qty)
    assert {book.snapshots for book in books.values()} == {1}, "one W each, and the rest by increments"


@pytest.mark.parametrize(("kind", "seed"), CASES[:2])
def test_blocks_a_restart_and_conflation_give_the_same_books_and_updates(kind: str, seed: int) -> None:
    rows = stream(kind, seed, 900)
    one, other = Venue(), Venue()
    one.take(rows)
    at = 0
    rng = np.random.default_rng(seed)
    while at < len(rows):
        size = int(rng.integers(1, 60))
        other.take(rows[at : at + size])
        at += size
        if rng.integers(4) == 0:
            before, image = other.market, other.market.image()
            other.market = FixMarket(CAPACITY)
            other.market.restore({name: np.array(array) for name, array in image.items()}, other.seq)
            assert other.market.digest() == before.digest()
    assert one.market.digest() == other.market.digest()
    for number, instrument in one.market.instruments.items():
        mine = other.market.instruments[number]
        assert (mine.updates, mine.entries, mine.trade) == (instrument.updates, instrument.entries, instrument.trade)
        for side, its in ((mine.bids, instrument.bids), (mine.offers, instrument.offers)):
            assert side.top(10_000) == its.top(10_000)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("kind", "seed"), CASES[:2])
def test_a_subscriber_that_reads_slowly_gets_whole_books_and_is_never_wrong(kind: str, seed: int) -> None:
    venue, rows = Venue(), stream(kind, seed, 900)
    subscriber = Subscriber(venue.subscribers)
    subscriber.log_on()
    books: dict[str, FixBook] = {}
    rng = np.random.default_rng(seed)
    for at in range(len(rows)):
        venue.take(rows[at : at + 1])
        for symbol in venue.symbols():
            if symbol not in books:
                books[symbol] = FixBook()
                subscriber.request(symbol, [symbol])
        if at % 10 == 0:
            subscriber.session.paused = bool(rng.integers(2))
        for message in subscriber.got():
            books[message.fields[b"262"].decode()].take(message)
        if subscriber.session.paused:
            continue
        truth = levels_of_engine(venue.engine)
        for symbol, book in books.items():
            instrument = venue.market.by_symbol[symbol]
            assert book.levels == told_levels(truth, instrument.number, 10_000), f"{symbol}, command {at + 1}"
    assert venue.subscribers.conflated
    assert any(book.snapshots > 3 for book in books.values())
    numbers = [message.number(b"34") for message in subscriber.all]
    assert numbers == list(range(1, len(numbers) + 1))


def quoted() -> Venue:
    """A venue with two instruments: XYZ has orders, an iceberg and a hidden order among them."""
    return scripted("""
at 2024-01-15T09:29:58
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument ABC tick=0.05 lot=10 reference=20.00
participant A
participant B
phase XYZ continuous
enter A a1 buy 100 XYZ @ 10.00
enter A a2 buy 500 XYZ @ 9.99 display=100
enter B b1 sell 70 XYZ @ 10.02 hidden
enter B b2 sell 30 XYZ @ 10.03
""")


def scripted(text: str, venue: Venue | None = None) -> Venue:
    """A venue after lines in the notation of scenarios."""
    venue = Venue() if venue is None else venue
    reading = Translator(parse(text.strip(), "script"), venue.engine.directory)
    while (batch := reading.next_batch(venue.engine.directory)) is not None:
        venue.take(batch.rows)
    return venue


def rejected(subscriber: Subscriber) -> tuple[str, str]:
    (message,) = subscriber.got()
    assert message.msg_type == b"Y", message.frame
    return message.fields.get(b"281", b"").decode(), message.fields[b"58"].decode()


def test_each_reason_of_a_reject_is_given_and_what_is_followed_goes_on() -> None:
    venue = quoted()
    subscriber = Subscriber(venue.subscribers, "FIX.4.4")
    subscriber.log_on()
    subscriber.request("good", ["XYZ"])
    assert [each.msg_type for each in subscriber.got()] == [b"W"]
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("0", {"symbols": ["XYZ", "NONE"]}, "no symbol NONE"),
        ("0", {"symbols": []}, "name a symbol"),
        ("1", {"request_id": "good"}, "give another"),
        ("", {"request_id": "never", "kind": "2"}, "no request of this MDReqID"),
        ("4", {"kind": "3"}, "0, 1 or 2"),
        ("5", {"depth": 5_001}, "1 to 5000"),
        ("5", {"depth": "-1"}, "1 to 5000"),
        ("6", {"f265": "2"}, "0 or 1"),
        ("7", {"f266": "N"}, "no single orders"),
        ("8", {"types": "016"}, "6 is not served"),
        ("8", {"types": "0Q"}, "Q is not served"),
        ("A", {"f546": "1"}, "one market"),
        ("B", {"f286": "0"}, "leave"),
        ("C", {"f547": "Y"}, "is N"),
    ]
    for reason, changes, words in cases:
        given: dict[str, Any] = {"request_id": "bad", "symbols": ["XYZ"], "types": "01", **changes}
        subscriber.request(given.pop("request_id"), given.pop("symbols"), given.pop("types"), **given)
        got, text = rejected(subscriber)
        assert (got, words in text) == (reason, True), (changes, got, text)
    fields: list[tuple[int, Any]] = [(262, "x"), (263, "1"), (264, 0), (267, 1), (269, "0"), (146, 1), (55, "XYZ")]
    subscriber.send(b"V", [*fields, (386, 1), (336, "DAY")])
    assert rejected(subscriber)[0] == "9"
    subscriber.send(b"V", [(262, "x"), (263, "1"), (264, 0), (267, 0), (146, 1), (55, "XYZ")])
    assert rejected(subscriber) == ("8", "name an MDEntryType (269) in NoMDEntryTypes (267)")
    scripted("enter A a3 buy 5 XYZ @ 9.98", venue)
    (update,) = subscriber.got()
    assert (update.msg_type, update.fields[b"262"]) == (b"X", b"good")


def test_more_subscriptions_than_there_is_room_for_are_refused_until_some_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SUBSCRIPTIONS_MAX", 2 * PER_INSTRUMENT_MAX)
    venue = quoted()
    subscriber = Subscriber(venue.subscribers)
    subscriber.log_on()
    for number in range(PER_INSTRUMENT_MAX):
        subscriber.request(f"r{number}", ["XYZ", "ABC"], "0", depth=1)
    subscriber.got()
    subscriber.request("more", ["XYZ"], "0", kind="0")
    assert rejected(subscriber) == ("2", f"more than {2 * PER_INSTRUMENT_MAX} subscriptions; end some first")
    subscriber.send(b"V", [(262, "r7"), (263, "2"), (264, 0), (267, 1), (269, "0"), (146, 1), (55, "XYZ")])
    assert subscriber.got() == []
    subscriber.request("more", ["XYZ"], "0", kind="0")
    assert [each.msg_type for each in subscriber.got()] == [b"W"]
    subscriber.request("still", ["XYZ", "ABC"], "0")
    assert [each.msg_type for each in subscriber.got()] == [b"W", b"W"], "a snapshot counts until it is given"


def test_a_session_follows_an_instrument_and_the_day_a_few_times_and_no_more() -> None:
    venue = quoted()
    subscriber, other = Subscriber(venue.subscribers), Subscriber(venue.subscribers, name="OTHER")
    subscriber.log_on()
    other.log_on()
    for number in range(PER_INSTRUMENT_MAX - 1):
        subscriber.request(f"r{number}", ["XYZ"], "0", depth=1)
        subscriber.send(b"g", [(335, f"g{number}"), (263, "1")])
    subscriber.send(b"e", [(324, "status"), (55, "XYZ"), (263, "1")])
    subscriber.send(b"g", [(335, "last"), (263, "1")])
    subscriber.got()
    subscriber.request("more", ["ABC", "XYZ"], "0")
    assert rejected(subscriber) == ("2", "more than 8 subscriptions that follow the same; end some first")
    subscriber.send(b"e", [(324, "again"), (55, "XYZ"), (263, "1")])
    subscriber.send(b"g", [(335, "again"), (263, "1")])
    assert [each.msg_type for each in subscriber.got()] == [b"j", b"j"]
    subscriber.request("once", ["XYZ"], "0", kind="0")
    subscriber.request("abc", ["ABC"], "0")
    assert [each.msg_type for each in subscriber.got()] == [b"W", b"W"], "one answer, and another symbol"
    other.request("mine", ["XYZ"], "0")
    assert [each.msg_type for each in other.got()] == [b"W"], "each session has its own"
    subscriber.send(b"e", [(324, "status"), (55, "XYZ"), (263, "2")])
    subscriber.request("more", ["XYZ"], "0")
    assert [each.msg_type for each in subscriber.got()] == [b"W"]


def test_all_sessions_share_a_bound_and_who_leaves_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ALL_SUBSCRIPTIONS_MAX", 4, raising=False)
    venue = quoted()
    first, second = Subscriber(venue.subscribers), Subscriber(venue.subscribers, name="OTHER")
    for each in (first, second):
        each.log_on()
        each.request("a", ["XYZ"], "0")
        each.send(b"g", [(335, "g"), (263, "1")])
        each.got()
    second.request("b", ["XYZ"], "0")
    assert rejected(second) == ("2", "more than 4 subscriptions of all sessions; ask again later")
    second.send(b"e", [(324, "e"), (55, "XYZ"), (263, "1")])
    assert [each.msg_type for each in second.got()] == [b"j"]
    first.send(b"5", [])
    venue.subscribers.leave(first.session)
    for name, kinds in (("b", [b"W"]), ("c", [b"W"]), ("d", [b"Y"])):
        second.request(name, ["XYZ"], "0")
        assert [each.msg_type for each in second.got()] == kinds, name
    venue.subscribers.leave(second.session)
    assert venue.subscribers.count == 0


def test_what_is_due_to_who_reads_slowly_is_not_looked_at_until_it_reads() -> None:
    venue = quoted()
    slow, other = Subscriber(venue.subscribers), Subscriber(venue.subscribers, name="OTHER")
    slow.log_on()
    other.log_on()
    for number in range(5):
        slow.request(f"r{number}", ["XYZ", "ABC"], "0")
    slow.session.paused = True
    slow.request("late", ["XYZ"], "0", kind="0")
    other.request("mine", ["XYZ"], "0")
    scripted("enter A a3 buy 5 XYZ @ 9.98", venue)
    assert {each.session for each in venue.subscribers.due} == {other.session}
    assert slow.got() == []
    assert [each.msg_type for each in other.got()] == [b"W"]
    assert not venue.subscribers.due
    slow.session.paused = False
    got = slow.got()
    assert [each.msg_type for each in got] == [b"W"] * 11
    slow.session.paused = True
    slow.session.paused = False
    assert not venue.subscribers.due


@pytest.mark.parametrize("version", VERSIONS)
def test_a_snapshot_has_what_is_displayed_and_no_more(version: str) -> None:
    venue = quoted()
    subscriber = Subscriber(venue.subscribers, version)
    subscriber.log_on()
    subscriber.request("one", ["XYZ"], kind="0")
    (whole,) = subscriber.got()
    entries = [(each[b"269"], each[b"270"], each[b"271"], each[b"346"], each[b"290"]) for each in entries_of(whole)]
    assert entries == [
        (b"0", b"10", b"100", b"1", b"1"),
        (b"0", b"9.99", b"100", b"1", b"2"),
        (b"1", b"10.03", b"30", b"1", b"1"),
    ]
    scripted("enter B b3 sell 650 XYZ @ 9.99 tif=ioc\nenter A a4 buy 10 XYZ @ 10.02 tif=ioc", venue)
    assert subscriber.got() == [], "it asked once"
    subscriber.request("two", ["XYZ"], "12", kind="0")
    (whole,) = subscriber.got()
    (_, trade) = entries_of(whole)
    assert (trade[b"269"], trade[b"270"], trade[b"271"]) == (b"2", b"10.02", b"10"), "the trade of a hidden order"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_call_an_uncross_a_close_and_a_day_are_told_in_entries(version: str) -> None:
    venue = quoted()
    subscriber = Subscriber(venue.subscribers, version)
    subscriber.log_on()
    book = FixBook()
    subscriber.request("all", ["ABC"])

    def told(text: str) -> FixBook:
        scripted(text, venue)
        for message in subscriber.got():
            book.take(message)
        return book

    told("phase ABC opening_auction\nenter A c1 buy 100 ABC @ 20.10\nenter B c2 sell 40 ABC @ 20.00")
    if version == "FIXT.1.1":
        assert (book.others[b"Q"][b"270"], book.others[b"Q"][b"271"]) == (b"20.1", b"40")
    if version != "FIX.4.2":
        assert (book.others[b"A"][b"271"], book.others[b"A"][b"277"]) == (b"60", b"P"), "more buyers"
    told("phase ABC continuous")
    assert not {b"A", b"Q"} & book.others.keys(), "the call is over"
    assert [(each[b"270"], each[b"271"]) for each in book.trades] == [(b"20.1", b"40")]
    assert book.others[b"4"][b"270"] == b"20.1"
    told("enter B c3 sell 60 ABC @ 20.10\nenter B c4 sell 10 ABC @ 20.05\nenter A c5 buy 10 ABC @ 20.05")
    assert (book.others[b"7"][b"270"], book.others[b"8"][b"270"]) == (b"20.1", b"20.05")
    if version != "FIX.4.2":
        assert book.others[b"B"][b"271"] == b"110"
    assert b"5" not in book.others
    told("phase ABC closed")
    assert (book.others[b"5"][b"270"], b"286" in book.others[b"5"]) == (b"20.05", False)
    told("at 2024-01-16T09:29:58")
    assert book.others.keys() == {b"5"}
    assert book.others[b"5"].get(b"286") == (None if version == "FIX.4.2" else b"4"), "it is of the day before"


def test_phases_and_halts_are_told_to_who_asked_for_them() -> None:
    venue = quoted()
    subscriber = Subscriber(venue.subscribers)
    subscriber.log_on()
    subscriber.send(b"e", [(324, "s1"), (55, "XYZ"), (263, "1")])
    subscriber.send(b"g", [(335, "g1"), (263, "1")])
    status, day = subscriber.got()
    assert (status.msg_type, status.fields[b"326"], status.fields[b"325"]) == (b"f", b"17", b"N")
    assert (day.msg_type, day.fields[b"340"], day.fields[b"336"]) == (b"h", b"2", b"1")
    scripted("halt XYZ for=5m", venue)
    halted, day = subscriber.got()
    assert [halted.fields[tag] for tag in (b"324", b"326", b"325", b"58")] == [b"s1", b"2", b"Y", b"halted: command"]
    assert (day.fields[b"340"], day.fields[b"325"]) == (b"1", b"Y")
    scripted("resume XYZ", venue)
    assert [each.fields[b"326"] for each in subscriber.got() if each.msg_type == b"f"] == [b"24"]
    subscriber.send(b"e", [(324, "s1"), (55, "XYZ"), (263, "2")])
    subscriber.send(b"g", [(335, "g1"), (263, "2")])
    scripted("phase XYZ continuous", venue)
    assert subscriber.got() == []
    subscriber.send(b"e", [(324, "s2"), (55, "NONE"), (263, "0")])
    subscriber.send(b"g", [(335, "g2"), (336, "NIGHT"), (263, "0")])
    subscriber.send(b"e", [(324, "s3"), (55, "XYZ"), (263, "2")])
    unknown, night, never = subscriber.got()
    assert (unknown.msg_type, unknown.fields[b"326"]) == (b"f", b"20")
    assert (night.msg_type, night.fields[b"340"], night.fields[b"567"]) == (b"h", b"6", b"1")
    assert (never.msg_type, never.fields[b"372"]) == (b"j", b"e")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_last_price_of_an_instrument_is_that_of_a_trade_that_makes_prices(version: str) -> None:
    """A cross and a trade in the midpoint book make none: with them it could lie outside of the day's high and low."""
    venue = scripted("""
at 2024-01-15T09:29:58
instrument XYZ tick=0.01 lot=1 reference=10.00 books=lit,midpoint
participant A
participant B
phase XYZ continuous
""")
    subscriber = Subscriber(venue.subscribers, version)
    subscriber.log_on()

    def told(text: str) -> list[bytes | None]:
        scripted(text, venue)
        subscriber.send(b"e", [(324, "s"), (55, "XYZ"), (263, "0")])
        (status,) = subscriber.got()
        return [status.fields.get(tag) for tag in (b"31", b"332", b"333")]

    assert told("cross B x1 100 XYZ @ 12.00 buyer=A seller=B") == [None, None, None]
    assert told("enter A a1 buy 10 XYZ @ 10.00\nenter B b1 sell 10 XYZ @ 10.00") == [b"10", b"10", b"10"]
    assert told("cross B x2 100 XYZ @ 9.00 buyer=A seller=B") == [b"10", b"10", b"10"]
    scripted("enter A a2 buy 10 XYZ @ 9.90\nenter B b2 sell 10 XYZ @ 9.96", venue)
    assert told("enter A a3 buy 5 XYZ @ 9.95 book=midpoint\nenter B b3 sell 5 XYZ @ 9.90 book=midpoint")[0] == b"10"
    assert told("phase XYZ closed") == [b"10", b"10", b"10"]
    assert told("at 2024-01-16T09:29:58") == [b"10", None, None], "the market's last price outlasts the day"


def test_instruments_are_listed_and_defined() -> None:
    venue = quoted()
    for version in VERSIONS:
        subscriber = Subscriber(venue.subscribers, version)
        subscriber.log_on()
        subscriber.send(b"c", [(320, "c1"), (321, 3)])
        subscriber.send(b"c", [(320, "c2"), (321, 0), (55, "ABC")])
        subscriber.send(b"c", [(320, "c3"), (321, 0), (55, "NONE")])
        subscriber.send(b"c", [(320, "c4"), (321, 2)])
        first, second, one, none, unserved = subscriber.got()
        assert [first.fields[b"55"], second.fields[b"55"], one.fields[b"55"]] == [b"XYZ", b"ABC", b"ABC"]
        assert "tick 0.05, lot 10" in one.fields[b"58"].decode()
        assert (none.fields[b"323"], unserved.fields[b"323"]) == (b"6", b"5")
        subscriber.send(b"x", [(320, "x1"), (559, 4)])
        (listed,) = subscriber.got()
        if version == "FIX.4.2":
            assert (listed.msg_type, listed.fields[b"380"]) == (b"j", b"3"), "it has no SecurityListRequest"
            continue
        assert (listed.msg_type, listed.fields[b"393"], listed.fields[b"893"]) == (b"y", b"2", b"Y")
        assert [value for tag, value in listed.in_order() if tag == b"55"] == [b"XYZ", b"ABC"]
        subscriber.send(b"x", [(320, "x2"), (559, 0), (55, "NONE")])
        subscriber.send(b"x", [(320, "x3"), (559, 2)])
        assert [each.fields[b"560"] for each in subscriber.got()] == [b"2", b"1"]


def test_a_logon_that_does_not_begin_at_1_is_told_to_and_a_resend_is_a_gap() -> None:
    venue = quoted()
    late = Subscriber(venue.subscribers)
    late.send(b"A", [(98, 0), (108, 30), (1137, "9")], seq=57)
    (answer,) = late.got()
    assert (answer.msg_type, "ResetSeqNumFlag" in answer.fields[b"58"].decode()) == (b"5", True)
    assert late.session.ends
    subscriber = Subscriber(venue.subscribers)
    (answer,) = subscriber.log_on()
    assert (answer.msg_type, answer.fields[b"34"], answer.fields[b"141"]) == (b"A", b"1", b"Y")
    subscriber.request("one", ["XYZ", "ABC"])
    assert [each.number(b"34") for each in subscriber.got()] == [2, 3]
    subscriber.send(b"2", [(7, 1), (16, 0)])
    (fill,) = subscriber.got()
    assert [fill.fields[tag] for tag in (b"35", b"34", b"36", b"123", b"43")] == [b"4", b"1", b"4", b"Y", b"Y"]
    scripted("enter A a9 buy 5 XYZ @ 9.97", venue)
    assert [each.number(b"34") for each in subscriber.got()] == [4]


def test_what_is_no_request_is_rejected_and_orders_are_not_taken() -> None:
    venue = quoted()
    subscriber = Subscriber(venue.subscribers, "FIX.4.4")
    subscriber.log_on()
    subscriber.send(b"D", [(11, "a"), (55, "XYZ"), (54, "1"), (60, "20240115-09:30:00"), (40, "1"), (38, 1)])
    subscriber.send(b"V", [(262, "x"), (263, "1"), (264, 0), (267, 2), (269, "0"), (146, 1), (55, "XYZ")])
    subscriber.send(b"V", [(262, "x"), (263, "1"), (264, 0), (146, 1), (55, "XYZ")])
    subscriber.send(b"e", [(324, "s"), (55, "XYZ"), (263, "7")])
    order, count, missing, kind = subscriber.got()
    assert (order.msg_type, order.fields[b"380"]) == (b"j", b"3")
    assert (count.msg_type, count.fields[b"373"], count.fields[b"371"]) == (b"3", b"16", b"267")
    assert (missing.msg_type, missing.fields[b"373"], missing.fields[b"371"]) == (b"3", b"1", b"267")
    assert (kind.msg_type, kind.fields[b"372"]) == (b"j", b"e")
    for first, why in (
        (b"GET / HTTP/1.1\r\n\r\n", "no logon"),
        (b"8=FIX.4.4\x019=5\x0135=0\x0110=161\x01", "checksum"),
    ):
        session = DataSession(venue.subscribers, 0)
        session.receive(first, 0)
        assert why in session.ends
    for version, name, why in (("FIX.4.3", COMP_ID, "another version"), ("FIX.4.4", "OTHER", "TargetCompID")):
        session = DataSession(venue.subscribers, 0)
        session.receive(
            FrameWriter(version, "UA", name, Times()).frame(b"A", 1, time.time_ns(), b"98=0\x01108=9\x01"), 0
        )
        assert why in session.ends


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("version", VERSIONS)
def test_dictionaries_of_others_take_every_message_and_have_all_that_a_subscriber_may_send(version: str) -> None:
    fixcore = pytest.importorskip("fixcore", reason="fixcore-engine is not installed: make .venv/.extras")
    folder = Path(fixcore.__file__).parent / "specs"
    files = {"FIX.4.2": "FIX42.xml", "FIX.4.4": "FIX44.xml", "FIXT.1.1": "FIX50SP2.xml"}
    theirs = read_xml(folder / files[version])
    if version == "FIXT.1.1":
        theirs = joined(read_xml(folder / "FIXT11.xml"), theirs)
    # Added to FIX 5.0 SP2 by a later extension pack: QuickFIX's own dictionary refuses it there.
    told = tuple(member for member in theirs.messages["W"] if member.tag != 779)
    judge = Validator(replace(theirs, messages={**theirs.messages, "W": told}))
    venue, rows = Venue(), stream("meeting", 5, 600)
    subscriber = Subscriber(venue.subscribers, version)
    subscriber.log_on()
    kinds = set()
    for at in range(0, len(rows), 5):
        venue.take(rows[at : at + 5])
        if at in (50, 300):
            for symbol in venue.symbols():
                subscriber.request(f"{symbol}{at}", [symbol])
                subscriber.send(b"e", [(324, f"{symbol}{at}"), (55, symbol), (263, "1")])
            subscriber.request(f"bad{at}", ["NONE"])
            subscriber.send(b"c", [(320, "c"), (321, 3)])
            subscriber.send(b"c", [(320, "c"), (321, 2)])
            subscriber.send(b"e", [(324, "none"), (55, "NONE"), (263, "0")])
            subscriber.send(b"g", [(335, f"g{at}"), (263, "1")])
            if version != "FIX.4.2":
                subscriber.send(b"x", [(320, "x"), (559, 4)])
                subscriber.send(b"x", [(320, "x"), (559, 2)])
                subscriber.send(b"g", [(335, f"n{at}"), (336, "2"), (263, "0")])
        for message in subscriber.got():
            assert judge.fault(message) is None, (judge.fault(message), message.frame)
            kinds.add(message.msg_type.decode())
    assert kinds == set("WXYdfh") | (set() if version == "FIX.4.2" else {"y"})
    for kind, members in market_data(version).messages.items():
        if kind in ADMIN_TYPES:
            continue
        known = {member.tag: {each.tag for each in member.members} for member in theirs.messages[kind]}
        for member in members:
            assert member.tag in known, (kind, member.tag)
            assert {each.tag for each in member.members} <= known[member.tag], (kind, member.tag)
