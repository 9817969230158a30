"""Messages of native order entry: what a client writes is the row that the market gets, and nothing else is read."""

import random
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cli.errors import WrongUse
from cli.trading.trade_words import Cancel, Enter, Replace, parse, text
from cli.trading.trade_words import MassCancel as Cancels
from client import messages
from client import native as written
from client.events import Accepted, MassCanceled, OrderChanged, Side
from client.orders import NewOrder
from engine.engine import Engine
from engine.jit import Packed
from engine.names import pack
from engine.records import (
    COMMAND,
    COMMAND_PLACES,
    Book,
    CommandKind,
    EventKind,
    Instruction,
    Peg,
    SelfTrade,
    TimeInForce,
)
from engine.row_bytes import ROW
from gateway.arrivals import BROKEN, FINE, OTHER, STREAM, new_arrivals
from gateway.native.packets import NUMBER, Known, read_streams
from gateway.native.session import NativeSession
from gateway.native.streams import MESSAGE, messages_of
from gateway.ouch.context import order_id, token_words
from gateway.protocol import MassCancel
from gateway.symbols import add_symbol, new_symbols
from notation.parse import command
from notation.table import PLACE_OF
from reports.contexts import protocol_in, user_in
from reports.rows import REPORT, InBook, ReportKind
from tests.nodes import SMALL
from wire import native, soup
from wire.native import FROM_CLIENT, FROM_SERVER, FromClient
from wire.ouch import PRICE_E4_MAX, SHARES_MAX
from wire.ouch_codes import CrossType, Display
from wire.ouch_layout import struct_of
from wire.soup import PacketType

USER, PARTICIPANT, FAR = 7, 3, 2


def packet(payload: bytes) -> bytes:
    return soup.packet(PacketType.UNSEQUENCED, payload)


def read(*sent: bytes) -> tuple[NDArray[Any], list[int], bytes]:
    """(rows, stops, bytes left of the first client) of what clients sent. Instrument 1 is XYZ, 2 is far: its prices
    are above those of OUCH."""
    region = 4_096
    buffer, streams, rows = np.zeros(region * len(sent), np.uint8), np.zeros(len(sent), STREAM), np.zeros(64, COMMAND)
    for at, data in enumerate(sent):
        buffer[region * at : region * at + len(data)] = np.frombuffer(data, np.uint8)
        streams[at]["region"] = streams[at]["begin"] = region * at
        streams[at]["end"] = region * at + len(data)
    streams["user"], streams["participant"] = USER, PARTICIPANT
    symbols, bounds = new_symbols(4), np.full(5, PRICE_E4_MAX, np.int64)
    add_symbol(symbols, pack("XYZ"), 1)
    add_symbol(symbols, pack("FAR"), FAR)
    bounds[FAR] = 0
    arrivals, known = Packed(new_arrivals(buffer, streams, rows)), Packed(Known(symbols, bounds))
    count = read_streams(arrivals.pointers, known.pointers, len(sent), 64, 0, 0)
    left = buffer[streams[0]["begin"] : streams[0]["end"]].tobytes()
    return rows[:count], streams["stop"].tolist(), left


def order(price: str | None = "10.05", terms: str = "", **fields: Any) -> NewOrder:
    return NewOrder(**({"symbol": "XYZ", "side": Side.BUY, "qty": 40, "price": price, "terms": terms} | fields))


TERMS = [
    "",
    "tif=gtc",
    "tif=gtd until=2024-01-15T16:00:00",
    "tif=ioc min_qty=10",
    "tif=fok",
    "tif=opening",
    "tif=closing",
    "stop=9.90 tif=gtc",
    "peg=primary offset=0.02",
    "peg=midpoint tif=gtc",
    "peg=market",
    "display=20",
    "hidden",
    "post_only",
    "book=midpoint tif=ioc",
    "stp=decrement",
    "stp=none",
]


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("price", ["10.05", None])
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_an_order_is_the_row_that_the_notation_makes_of_the_same_words(
    terms: str, price: str | None, side: Side
) -> None:
    rows, stops, _ = read(packet(written.enter(order(price, terms, side=side), "a1")))
    word = "buy" if side is Side.BUY else "sell"
    asked = list(ROW.unpack(command(f"enter A a1 {word} 40 XYZ @ {price or 'market'} {terms}", 1).row))
    for name, value in (("participant", PARTICIPANT), ("instrument", 1)):
        asked[PLACE_OF[name]] = value
    (row,), stop = rows, stops
    assert stop == [FINE]
    assert user_in(np.int64(row["context"])) == USER
    assert protocol_in(np.int64(row["context"])) == NUMBER
    row["context"] = 0
    assert [int(row[names[0]]) for names in COMMAND_PLACES.values()] == asked


def test_a_cancel_and_a_replace_are_the_rows_of_the_same_words() -> None:
    whole, part = packet(written.cancel("a1")), packet(written.cancel("a1", 7))
    again = packet(written.replace(None, "a1", "a2", 30, 100_600, "display=10"))  # type: ignore[arg-type]
    market = packet(written.replace(None, "a1", "a2", 30, written.PRICE_E4_MARKET, "stop=9.80"))  # type: ignore[arg-type]
    rows, _, _ = read(whole + part + again + market)
    assert rows["kind"].tolist() == [CommandKind.CANCEL] * 2 + [CommandKind.REPLACE] * 2
    assert rows["qty"].tolist() == [0, 7, 30, 30]
    assert rows["client_order_id"].tolist() == [pack("a1")] * 4
    assert rows["new_client_order_id"][2:].tolist() == [pack("a2")] * 2
    assert rows["price_e4"].tolist() == [0, 0, 100_600, 0]
    assert rows["display_qty"].tolist() == [0, 0, 10, 98_000]
    assert rows["instructions"].tolist() == [0, 0, Instruction.DISPLAY, Instruction.STOP | Instruction.MARKET]
    assert {int(user_in(np.int64(each))) for each in rows["new_context"][2:]} == {USER}


def test_a_long_token_and_an_unknown_symbol_stand_in_a_row_before_the_order() -> None:
    token = "ABCDEFGHIJKLMN"
    rows, _, _ = read(packet(written.enter(order(symbol="NONE"), token)), packet(written.cancel(token)))
    extend, entered, _, canceled = rows
    assert rows["kind"].tolist() == [CommandKind.EXTEND, CommandKind.ENTER, CommandKind.EXTEND, CommandKind.CANCEL]
    assert (extend["token_head"], extend["token_tail"]) == token_words(token.encode())
    assert (extend["symbol"], entered["instrument"]) == (pack("NONE"), 0)
    assert entered["client_order_id"] == canceled["client_order_id"] == order_id(token.encode())


def test_what_no_message_of_ouch_could_tell_is_a_row_that_the_market_rejects() -> None:
    price, qty = PRICE_E4_MAX + 100, 1_000_000
    enter = list(struct_of(FROM_CLIENT[FromClient.ENTER]).unpack(written.enter(order(), "a1")))
    names = [name for name, _ in FROM_CLIENT[FromClient.ENTER]]
    sent = []
    for name, value in (("price_e4", price), ("qty", qty), ("symbol", b"FAR     ")):
        values = list(enter)
        values[names.index(name)] = value
        sent.append(packet(struct_of(FROM_CLIENT[FromClient.ENTER]).pack(*values)))
    rows, _, _ = read(b"".join(sent))
    assert rows["price_e4"][0] == -price
    assert rows["qty"][1] == -qty
    assert (rows["symbol"][2], rows["instrument"][3]) == (pack("FAR"), 0)


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"", "a message of a byte came"),
        (b"E", "a message of a byte came"),
        (b"E\x02" + bytes(61), "a message of version 2 came; this exchange takes version 1"),
        (b"Q\x01", "a message of kind 'Q' came"),
        (b"E\x01" + bytes(3), r"a enter with 5 bytes came; it has \d+"),
        (b"X\x01" + bytes(99), r"a cancel with 101 bytes came; it has 24"),
    ],
)
def test_what_is_no_message_stops_its_connection_with_a_sentence_and_no_other(payload: bytes, sentence: str) -> None:
    good = packet(written.enter(order(), "b1"))
    rows, stops, left = read(packet(payload) + good, good)
    assert (len(rows), stops, left) == (1, [BROKEN, FINE], packet(payload) + good)
    taken = live().take(memoryview(bytearray(left)), BROKEN, 0)
    assert taken.size == 0
    assert re.match(sentence, taken.closes), taken.closes


def live() -> NativeSession:
    session = NativeSession(0)
    session.ask(soup.LoginRequest("U", "P", "", 1).packet(), 0)
    session.accept_login("20240115", 1, 0, 0)
    return session


def test_a_mass_cancel_is_for_the_session_behind_the_orders_before_it() -> None:
    asked = packet(written.mass_cancel("XYZ", Side.SELL))
    rows, stops, left = read(packet(written.enter(order(), "a1")) + asked + packet(written.cancel("a1")))
    assert (len(rows), stops) == (1, [OTHER])
    taken = live().take(memoryview(bytearray(left)), OTHER, 0)
    assert (taken.size, taken.mass_cancel) == (len(asked), MassCancel("XYZ", -1))
    assert live().take(memoryview(bytearray(packet(written.mass_cancel()))), OTHER, 0).mass_cancel == MassCancel("", 0)
    for payload in (b"M\x01", b"M\x02" + written.mass_cancel()[2:], written.mass_cancel()[:-1] + b"\x05"):
        assert live().take(memoryview(bytearray(packet(payload))), OTHER, 0).closes


@pytest.mark.slow
def test_hostile_fields_make_rows_that_the_engine_answers_and_nothing_else() -> None:
    """Each field of each message at its bounds and at random: a row that both checks of form take, or a stop."""
    chance, engine = random.Random(12), Engine(SMALL)
    define = np.zeros(3, COMMAND)
    define["kind"] = CommandKind.CLOCK, CommandKind.INSTRUMENT, CommandKind.PARTICIPANT
    define["time_ns"][0] = 1_705_311_000_000_000_000
    define["name"][1:] = pack("XYZ"), pack("ALPHA")
    define["reference_e4"][1], define["tick_e4"][1], define["lot"][1] = 100_000, 100, 1
    engine.apply(define)
    answered = dict.fromkeys(FROM_CLIENT, 0)
    for kind in (FromClient.ENTER, FromClient.CANCEL, FromClient.REPLACE):
        layout = struct_of(FROM_CLIENT[kind])
        for _ in range(600):
            octets = bytearray(layout.size)
            base = {
                FromClient.ENTER: written.enter(order(), "a1"),
                FromClient.CANCEL: written.cancel("a1"),
                FromClient.REPLACE: written.replace(None, "a1", "a2", 3, 100_000),  # type: ignore[arg-type]
            }[kind]
            octets[:] = base
            at = chance.randrange(2, layout.size)
            size = chance.choice([1, 2, 8])
            value = chance.choice(
                [bytes(8), b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x80" + bytes(7), chance.randbytes(8)]
            )
            octets[at : at + size] = value[:size]
            rows, stops, _ = read(packet(bytes(octets[: layout.size])))
            assert stops == [FINE]
            rows = rows.copy()
            rows["participant"][rows["kind"] != CommandKind.EXTEND] = 1
            events = engine.apply(rows)
            answered[kind] += bool(len(events))
            assert all(EventKind(int(each)) for each in events["kind"])
            engine.check()
    assert all(answered[kind] for kind in (FromClient.ENTER, FromClient.CANCEL, FromClient.REPLACE))


def test_a_report_says_all_of_its_order_and_nothing_of_the_other_side() -> None:
    reports = np.zeros(4, REPORT)
    reports["kind"] = ReportKind.TRADE, ReportKind.REPLACED, ReportKind.TRIGGERED, ReportKind.MASS_CANCEL
    reports["client_order_id"], reports["symbol"], reports["side"] = pack("a2"), pack("XYZ"), -1
    reports["previous_client_order_id"][1] = pack("a1")
    reports["contra_client_order_id"][0], reports["contra_participant"][0] = pack("secret"), 9
    reports["contra_name"][0], reports["contra_order_number"][0] = pack("OTHER"), 99
    reports["last_qty"][0], reports["last_price_e4"][0], reports["trade_number"][0] = 5, 100_500, 77
    reports["stop_price_e4"], reports["leaves_qty"], reports["qty"] = 99_000, 35, 40
    reports["participant_name"], reports["user_name"], reports["firm"] = pack("ALPHA"), pack("UA"), pack("FIRM")
    reports["time_in_force"], reports["in_book"] = TimeInForce.GTC, InBook.AFTER
    reports["orders"][3], reports["name"][3] = 12, pack("ALPHA")
    data = messages_of(reports).tobytes()
    assert b"secret" not in data
    assert b"OTHER" not in data
    assert len(data) == 4 * MESSAGE.itemsize
    packets = list(soup.packets(data))
    assert {kind for kind, _ in packets} == {PacketType.SEQUENCED}
    told = [written.read_report(payload) for _, payload in packets]
    assert [each.order_token for each in told] == ["a2", "a2", "a2", ""]
    assert [each.previous_token for each in told] == ["", "a1", "", ""]
    assert (told[0].last_qty, told[0].last_price_e4, told[0].trade_number) == (5, 100_500, 77)
    assert (told[1].last_qty, told[1].trade_number, told[3].orders) == (0, 0, 12)
    assert {(each.symbol, each.participant, each.user, each.firm) for each in told} == {("XYZ", "ALPHA", "UA", "FIRM")}
    events = [written.read(n, payload) for n, (_, payload) in enumerate(packets, 1)]
    assert events[2] == OrderChanged(3, 0, "a2", "triggered", 35, written.PRICE_E4_MARKET, 0)
    assert events[3] == MassCanceled(4, 0, "XYZ", Side.SELL, 12, None)


def test_a_refusal_tells_a_number_beyond_the_bounds_as_the_client_has_sent_it() -> None:
    """The market is given it negated (ADR 14). A number that came negative, and one of an order that stands, stay."""
    reports = np.zeros(5, REPORT)
    reports["kind"] = [ReportKind.REJECTED, ReportKind.CANCEL_REJECTED, ReportKind.REJECTED, ReportKind.NEW, 0]
    reports["kind"][4] = ReportKind.MASS_CANCEL
    reports["price_e4"] = [-PRICE_E4_MAX - 100, 100_000, -5, -PRICE_E4_MAX - 1, -PRICE_E4_MAX - 1]
    reports["qty"] = [40, -1_000_000, -SHARES_MAX, 40, 40]
    reports["client_order_id"], reports["symbol"], reports["side"] = pack("a2"), pack("XYZ"), 1
    made = messages_of(reports)
    assert made["price_e4"].tolist() == [PRICE_E4_MAX + 100, 100_000, -5, -PRICE_E4_MAX - 1, -PRICE_E4_MAX - 1]
    assert made["qty"].tolist() == [40, 1_000_000, -SHARES_MAX, 40, 40]


@pytest.mark.parametrize("terms", TERMS)
def test_a_report_tells_the_terms_of_its_order_in_the_words_with_which_it_was_entered(terms: str) -> None:
    reports = np.zeros(1, REPORT)
    reports["kind"], reports["client_order_id"], reports["side"] = ReportKind.NEW, pack("a1"), 1
    reports["symbol"], reports["price_e4"], reports["qty"], reports["leaves_qty"] = pack("XYZ"), 100_500, 40, 40
    entered = ROW.unpack(command(f"enter A a1 buy 40 XYZ @ 10.05 {terms}", 1).row)
    for name in ("time_in_force", "self_trade", "book", "instructions"):
        reports[name] = entered[PLACE_OF[name]]
    for bit, name, place in (
        (Instruction.UNTIL, "until_ns", "until_ns"),
        (Instruction.MIN_QTY, "min_qty", "min_qty"),
        (Instruction.DISPLAY, "display_qty", "display_qty"),
        (Instruction.STOP, "stop_e4", "stop_price_e4"),
        (Instruction.OFFSET, "offset_e4", "offset_e4"),
        (Instruction.PEG, "peg", "peg"),
    ):
        if entered[PLACE_OF["instructions"]] & bit:
            reports[place] = entered[PLACE_OF[name]]
    ((_, payload),) = soup.packets(messages_of(reports).tobytes())
    told = written.read(1, payload)
    assert isinstance(told, Accepted)
    assert sorted(told.terms.split()) == sorted(terms.split())
    assert text(told, {}).startswith("accepted a1: buy 40 XYZ @ 10.05")
    assert ("stop=9.90 gtc" in text(told, {}) or "gtc stop=9.90" in text(told, {})) == (terms == "stop=9.90 tif=gtc")


def test_a_report_of_a_peg_says_its_reference_and_the_price_that_it_has_now() -> None:
    reports = np.zeros(2, REPORT)
    reports["kind"], reports["client_order_id"], reports["side"] = ReportKind.REPRICED, pack("p1"), 1
    reports["instructions"] = Instruction.PEG | Instruction.OFFSET
    reports["peg"], reports["offset_e4"], reports["price_e4"], reports["leaves_qty"] = Peg.MARKET, 200, 100_000, 40
    reports["last_price_e4"], reports["in_book"] = (99_900, 0), (InBook.AFTER, InBook.BEFORE)
    told = [payload for _, payload in soup.packets(messages_of(reports).tobytes())]
    assert {written.words(written.read_report(each)) for each in told} == {"peg=market offset=0.02"}
    priced, unpriced = (written.read(n, payload) for n, payload in enumerate(told, 1))
    assert priced == OrderChanged(1, 0, "p1", "repriced", 40, 99_900, 0)
    assert text(priced, {}) == "repriced p1: 40 open @ 9.99"
    assert (priced.price, unpriced.price) == (Decimal("9.99"), None)
    assert text(unpriced, {}) == "repriced p1: 40 open @ none"


def test_an_order_to_enter_has_the_terms_that_its_report_would_have() -> None:
    """Before its answer, and after a reject, of which no report tells the terms."""
    assert written.terms(order(terms="tif=gtc stop=10.10")) == "tif=gtc stop=10.10"
    assert written.terms(order(terms="offset=0.02 peg=market")) == "peg=market offset=0.02"
    assert written.terms(order(time_in_force_s=0)) == "tif=ioc"
    assert written.terms(order()) == ""
    at_once = NewOrder("XYZ", Side.BUY, 9, "9", time_in_force_s=0, min_qty=3)
    assert messages.terms(at_once) == "tif=ioc min_qty=3"
    assert messages.terms(NewOrder("XYZ", Side.BUY, 9, "9", display=Display.POST_ONLY)) == "post_only"
    assert messages.terms(NewOrder("XYZ", Side.BUY, 9, "9", cross_type=CrossType.OPENING)) == "tif=opening"


def test_the_layouts_of_version_1_never_change() -> None:
    """A golden copy: another field, place or format is another version."""
    sizes = {kind.name: struct_of(layout).size for kind, layout in (*FROM_CLIENT.items(), *FROM_SERVER.items())}
    assert native.VERSION == 1
    assert sizes == {"ENTER": 63, "CANCEL": 24, "REPLACE": 56, "MASS_CANCEL": 11, "REPORT": 200, "DAY": 3}
    assert struct_of(FROM_CLIENT[FromClient.ENTER]).format == ">BB14s8sqqqqHbBBBB"
    assert struct_of(FROM_CLIENT[FromClient.REPLACE]).format == ">BB14s14sqqqH"
    assert [code.value for code in FromClient] == [69, 88, 85, 77]
    assert Book.MIDPOINT == 1
    assert SelfTrade.NONE == 5


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: written.enter(order(terms="context=1"), "a1"), "is no term of an order that a client sends"),
        (lambda: written.enter(order(terms="tif=soon"), "a1"), "tif=soon"),
        (lambda: written.enter(order(terms="until=16:00:00 tif=gtd"), "a1"), "a time needs its date"),
        (lambda: written.enter(order(side=Side.SELL_SHORT), "a1"), "has no short sales"),
        (lambda: written.enter(order(min_qty=3), "a1"), "takes the terms of an order as words"),
        (lambda: written.modify("a1", Side.SELL, 3), "has no modify"),
        (lambda: written.mass_cancel("TOO-LONG-A-NAME"), "is no symbol"),
    ],
)
def test_what_the_protocol_cannot_say_is_told_before_anything_is_sent(made: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        made()


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("buy 5 XYZ @ 9.90 gtc stop=10.10", Enter(order("9.90", "tif=gtc stop=10.10", qty=5), None)),
        (
            "sell 5 XYZ @ market midpoint ioc token=t1",
            Enter(order(None, "book=midpoint tif=ioc", qty=5, side=Side.SELL), "t1"),
        ),
        ("replace t1 7 @ 9.80 display=2", Replace("t1", 7, "9.80", "display=2")),
        ("cancel t1 3", Cancel("t1", 3)),
        ("mass_cancel", Cancels("", None)),
        ("mass_cancel XYZ sell", Cancels("XYZ", Side.SELL)),
    ],
)
def test_a_line_of_trade_has_the_words_of_the_notation(line: str, asked: object) -> None:
    assert parse(line, native=True) == asked


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("short 5 XYZ @ 9", "native order entry has no short sales; write sell"),
        ("mass_cancel buy sell", "takes one symbol and one side"),
        ("replace t1 7", "after replace write TOKEN QTY @ PRICE, then display=N or stop=PRICE"),
        ("buy 5 XYZ", "after buy write QTY SYMBOL @ PRICE, then terms"),
        ("buy 5 XYZ @ 9 frob", "'frob' is no instruction; give gtc, gtd until=TIME, ioc, fok, .* midpoint, .* or none"),
        ("buy 5 XYZ @ 9 context=00", "'context=00' is no instruction"),
        ("buy 5 XYZ @ 9 ioc fok", "ioc and fok exclude each other; give one of them"),
        ("buy 5 XYZ @ 9 gtc gtc", "gtc stands twice; write it once"),
        ("buy 5 XYZ @ 9 hidden hidden", "hidden stands twice"),
        ("buy 5 XYZ @ 9 token=a token=b", "token= stands twice"),
        ("buy 5 XYZ @ 9 gtd", "gtd and until=TIME go together; give both, as gtd until="),
        ("buy 5 XYZ @ 9 until=2030-01-01T00:00:00", "gtd and until=TIME go together"),
        ("buy 5 XYZ @ 9 gtd until=10:00", "XYZ @ 9 gtd until=10:00': until=10:00 is no date and time"),
        ("buy 5 XYZ @ 9 gtd until=2030-01-01", "until=2030-01-01 is no date and time; give both, as until=2024"),
        ("buy 5 XYZ @ 9 gtd until=2030-13-01T00:00", "the time is '2030-13-01T00:00'; there is no such date"),
        ("buy 5 XYZ @ 9 gtd until=+1h", r"until=\+1h is no date and time"),
        ("buy 5 XYZ @ 9 gtc peg=foo", "gtc peg=foo': peg is 'foo'; write one of primary, midpoint, market"),
        ("buy 5 XYZ @ 9 display=", "display= has no value"),
    ],
)
def test_a_line_of_trade_that_is_wrong_is_refused_with_a_sentence(line: str, sentence: str) -> None:
    with pytest.raises(WrongUse, match=sentence) as caught:
        parse(line, native=True)
    assert "tif=" not in str(caught.value), "a trader types `ioc`, and reads it"
    with pytest.raises(WrongUse, match=r"a mass cancel cannot be sent: OUCH 4.2 has no field for it; .* native"):
        parse("mass_cancel XYZ")
