"""A day of the ITCH feed, message by message and field by field: each kind that the feed sends, with all that it says.

What is expected was held against the specification of TotalView-ITCH 5.0 by hand. Readers of others judge the books
that the messages make (``test_itch_feed.py``), and pass over most of these fields.
"""

import re
from pathlib import Path

from client.book import AuctionState, Books
from engine import Engine
from marketdata.itch import session_name
from marketdata.itch.snapshot import Snapshot
from notation.parse import parse
from notation.translate import Translator
from tests.report_streams import CAPACITY, Block
from tests.test_itch_feed import Market
from wire import itch

DAY = """\
at 2024-01-15T09:00:00
instrument XYZ tick=0.01 lot=10 reference=10.00 books=lit,midpoint
instrument ABC tick=0.01 lot=1 reference=20.00 volatility=5%/5m/1m
participant ALPHA allow=market,stp_none
participant BETA allow=market,stp_none
index IDX members=XYZ:4,ABC:3 levels=7%/15m,13%/15m,20%/close
phase XYZ opening_auction
enter ALPHA o1 sell 100 XYZ @ 10.00
enter BETA o2 buy 60 XYZ @ 10.00
enter BETA o3 buy 40 XYZ @ 10.00
enter BETA o4 buy 30 XYZ @ 10.00
cancel ALPHA o1
enter ALPHA o5 sell 100 XYZ @ 10.00
at 2024-01-15T09:30:00
phase XYZ continuous
phase ABC continuous
at 2024-01-15T09:31:00
enter ALPHA a1 sell 200 XYZ @ 10.10 display=50
enter BETA b1 buy 60 XYZ @ 10.10
cancel BETA o4 qty=10
replace ALPHA a1 a2 200 @ 10.20
enter ALPHA h1 sell 20 XYZ @ 10.15 hidden
enter BETA b2 buy 10 XYZ @ 10.15
cancel BETA o4
at 2024-01-15T09:32:00
enter ALPHA v1 sell 5 ABC @ 20.00
enter BETA v2 buy 5 ABC @ 20.00
at 2024-01-15T09:33:00
enter ALPHA v3 sell 5 ABC @ 21.50
enter BETA v4 buy 5 ABC @ 21.50
at 2024-01-15T09:34:00
enter ALPHA v5 sell 7 ABC @ 20.00
enter BETA v6 buy 7 ABC @ 20.00
at 2024-01-15T09:35:00
halt XYZ
resume XYZ
at 2024-01-15T09:40:00
enter ALPHA c1 sell 10 ABC @ 19.00
phase ABC closing_auction
enter BETA c2 buy 10 ABC @ 19.00
phase ABC continuous
enter ALPHA c3 sell 10 ABC @ 18.50
enter BETA c4 buy 10 ABC @ 17.00
enter ALPHA c5 sell 10 ABC @ 17.00
at 2024-01-15T16:30:00
emergency_close
at 2024-01-16T09:00:00
phase XYZ pre_open
"""

#: Messages with which each of the days begins.
BEGIN = [
    "SYSTEM_EVENT time_ns=32400000000000 event=O",
    "SYSTEM_EVENT time_ns=32400000000000 event=S",
    "STOCK_DIRECTORY stock_locate=1 time_ns=32400000000000 stock=XYZ round_lot=10 round_lots_only=Y "
    "issue_classification=C issue_subtype=Z authenticity=P inverse=N",
    "TRADING_ACTION stock_locate=1 time_ns=32400000000000 stock=XYZ state=H",
    "STOCK_DIRECTORY stock_locate=2 time_ns=32400000000000 stock=ABC round_lot=1 round_lots_only=N "
    "issue_classification=C issue_subtype=Z authenticity=P inverse=N",
    "TRADING_ACTION stock_locate=2 time_ns=32400000000000 stock=ABC state=H",
]


def sessions() -> dict[str, list[bytes]]:
    """Messages of the day, and of the beginning of the next, by session."""
    engine, market = Engine(CAPACITY), Market()
    translator = Translator(parse(DAY, "lines"), engine.directory, "lines")
    while (batch := translator.next_batch(engine.directory)) is not None:
        for n in range(len(batch.rows)):
            market.take(Block(engine.seq + 1, batch.rows[n : n + 1], engine.apply(batch.rows[n : n + 1])))
    return {
        session_name(day): [message for _, message in itch.cut(framed)]
        for day, framed in sorted(market.sink.sessions.items())
    }


def test_a_day_has_these_messages() -> None:
    # The index begins with 4 x 10.00 + 3 x 20.00 = 100.00; 4 x 10.15 + 3 x 17.00 = 91.60 is below its level 1.
    assert [itch.text_of(message) for message in sessions()["20240115"]] == [
        *BEGIN,
        "MWCB_LEVELS time_ns=32400000000000 level_1_e8=9300000000 level_2_e8=8700000000 level_3_e8=8000000000",
        "TRADING_ACTION stock_locate=1 time_ns=32400000000000 stock=XYZ state=Q",
        "ADD stock_locate=1 time_ns=32400000000000 reference=1 side=S shares=100 stock=XYZ price_e4=100000",
        "ADD stock_locate=1 time_ns=32400000000000 reference=2 side=B shares=60 stock=XYZ price_e4=100000",
        "NOII stock_locate=1 time_ns=32400000000000 paired_shares=60 imbalance_shares=40 direction=S "
        "stock=XYZ near_e4=100000 reference_e4=100000 cross=O",
        "ADD stock_locate=1 time_ns=32400000000000 reference=3 side=B shares=40 stock=XYZ price_e4=100000",
        "NOII stock_locate=1 time_ns=32400000000000 paired_shares=100 direction=N stock=XYZ near_e4=100000 "
        "reference_e4=100000 cross=O",
        "ADD stock_locate=1 time_ns=32400000000000 reference=4 side=B shares=30 stock=XYZ price_e4=100000",
        "NOII stock_locate=1 time_ns=32400000000000 paired_shares=100 imbalance_shares=30 direction=B "
        "stock=XYZ near_e4=100000 reference_e4=100000 cross=O",
        "DELETE stock_locate=1 time_ns=32400000000000 reference=1",
        "NOII stock_locate=1 time_ns=32400000000000 direction=O stock=XYZ cross=O",
        "ADD stock_locate=1 time_ns=32400000000000 reference=5 side=S shares=100 stock=XYZ price_e4=100000",
        "NOII stock_locate=1 time_ns=32400000000000 paired_shares=100 imbalance_shares=30 direction=B "
        "stock=XYZ near_e4=100000 reference_e4=100000 cross=O",
        "SYSTEM_EVENT time_ns=34200000000000 event=Q",
        "TRADING_ACTION stock_locate=1 time_ns=34200000000000 stock=XYZ state=T",
        "EXECUTED_WITH_PRICE stock_locate=1 time_ns=34200000000000 reference=2 shares=60 match_number=1 "
        "printable=N price_e4=100000",
        "EXECUTED_WITH_PRICE stock_locate=1 time_ns=34200000000000 reference=5 shares=60 match_number=1 "
        "printable=N price_e4=100000",
        "EXECUTED_WITH_PRICE stock_locate=1 time_ns=34200000000000 reference=3 shares=40 match_number=2 "
        "printable=N price_e4=100000",
        "EXECUTED_WITH_PRICE stock_locate=1 time_ns=34200000000000 reference=5 shares=40 match_number=2 "
        "printable=N price_e4=100000",
        "CROSS_TRADE stock_locate=1 time_ns=34200000000000 shares=100 stock=XYZ price_e4=100000 match_number=1 cross=O",
        "TRADING_ACTION stock_locate=2 time_ns=34200000000000 stock=ABC state=T",
        "ADD stock_locate=1 time_ns=34260000000000 reference=6 side=S shares=50 stock=XYZ price_e4=101000",
        "EXECUTED stock_locate=1 time_ns=34260000000000 reference=6 shares=50 match_number=3",
        "ADD stock_locate=1 time_ns=34260000000000 reference=34359738375 side=S shares=50 stock=XYZ price_e4=101000",
        "EXECUTED stock_locate=1 time_ns=34260000000000 reference=34359738375 shares=10 match_number=4",
        "CANCEL stock_locate=1 time_ns=34260000000000 reference=4 shares=20",
        "REPLACE stock_locate=1 time_ns=34260000000000 reference=34359738375 new_reference=34359738376 "
        "shares=50 price_e4=102000",
        "TRADE stock_locate=1 time_ns=34260000000000 side=B shares=10 stock=XYZ price_e4=101500 match_number=5",
        "DELETE stock_locate=1 time_ns=34260000000000 reference=4",
        "ADD stock_locate=2 time_ns=34320000000000 reference=10 side=S shares=5 stock=ABC price_e4=200000",
        "EXECUTED stock_locate=2 time_ns=34320000000000 reference=10 shares=5 match_number=6",
        "ADD stock_locate=2 time_ns=34380000000000 reference=12 side=S shares=5 stock=ABC price_e4=215000",
        "EXECUTED stock_locate=2 time_ns=34380000000000 reference=12 shares=5 match_number=7",
        "TRADING_ACTION stock_locate=2 time_ns=34380000000000 stock=ABC state=P reason=LUDP",
        "TRADING_ACTION stock_locate=2 time_ns=34440000000000 stock=ABC state=Q",
        "ADD stock_locate=2 time_ns=34440000000000 reference=14 side=S shares=7 stock=ABC price_e4=200000",
        "ADD stock_locate=2 time_ns=34440000000000 reference=15 side=B shares=7 stock=ABC price_e4=200000",
        "NOII stock_locate=2 time_ns=34440000000000 paired_shares=7 direction=N stock=ABC near_e4=200000 "
        "reference_e4=200000 cross=H",
        "TRADING_ACTION stock_locate=2 time_ns=34500000000000 stock=ABC state=T",
        "EXECUTED_WITH_PRICE stock_locate=2 time_ns=34500000000000 reference=15 shares=7 match_number=8 "
        "printable=N price_e4=200000",
        "EXECUTED_WITH_PRICE stock_locate=2 time_ns=34500000000000 reference=14 shares=7 match_number=8 "
        "printable=N price_e4=200000",
        "CROSS_TRADE stock_locate=2 time_ns=34500000000000 shares=7 stock=ABC price_e4=200000 match_number=8 cross=H",
        "TRADING_ACTION stock_locate=1 time_ns=34500000000000 stock=XYZ state=H reason=O1",
        "TRADING_ACTION stock_locate=1 time_ns=34500000000000 stock=XYZ state=Q",
        "TRADING_ACTION stock_locate=1 time_ns=34800000000000 stock=XYZ state=T",
        "ADD stock_locate=2 time_ns=34800000000000 reference=16 side=S shares=10 stock=ABC price_e4=190000",
        "TRADING_ACTION stock_locate=2 time_ns=34800000000000 stock=ABC state=Q",
        "ADD stock_locate=2 time_ns=34800000000000 reference=17 side=B shares=10 stock=ABC price_e4=190000",
        "NOII stock_locate=2 time_ns=34800000000000 paired_shares=10 direction=N stock=ABC near_e4=190000 "
        "reference_e4=190000 cross=C",
        "TRADING_ACTION stock_locate=2 time_ns=34800000000000 stock=ABC state=T",
        "EXECUTED_WITH_PRICE stock_locate=2 time_ns=34800000000000 reference=17 shares=10 match_number=9 "
        "printable=N price_e4=190000",
        "EXECUTED_WITH_PRICE stock_locate=2 time_ns=34800000000000 reference=16 shares=10 match_number=9 "
        "printable=N price_e4=190000",
        "CROSS_TRADE stock_locate=2 time_ns=34800000000000 shares=10 stock=ABC price_e4=190000 match_number=9 cross=C",
        "ADD stock_locate=2 time_ns=34800000000000 reference=18 side=S shares=10 stock=ABC price_e4=185000",
        "ADD stock_locate=2 time_ns=34800000000000 reference=19 side=B shares=10 stock=ABC price_e4=170000",
        "EXECUTED stock_locate=2 time_ns=34800000000000 reference=19 shares=10 match_number=10",
        "TRADING_ACTION stock_locate=2 time_ns=34800000000000 stock=ABC state=P reason=LUDP",
        "MWCB_STATUS time_ns=34800000000000 level=1",
        "TRADING_ACTION stock_locate=1 time_ns=34800000000000 stock=XYZ state=H reason=MWC1",
        "TRADING_ACTION stock_locate=2 time_ns=34800000000000 stock=ABC state=H reason=MWC1",
        "TRADING_ACTION stock_locate=1 time_ns=59400000000000 stock=XYZ state=Q",
        "TRADING_ACTION stock_locate=2 time_ns=59400000000000 stock=ABC state=Q",
        "TRADING_ACTION stock_locate=1 time_ns=59400000000000 stock=XYZ state=H",
        "DELETE stock_locate=1 time_ns=59400000000000 reference=34359738376",
        "TRADING_ACTION stock_locate=2 time_ns=59400000000000 stock=ABC state=H",
        "SYSTEM_EVENT time_ns=59400000000000 event=M",
        "DELETE stock_locate=2 time_ns=59400000000000 reference=18",
        "SYSTEM_EVENT time_ns=86399999999999 event=E",
        "SYSTEM_EVENT time_ns=86399999999999 event=C",
    ]


def test_the_next_day_begins_with_directory_states_and_levels() -> None:
    assert [itch.text_of(message) for message in sessions()["20240116"]] == [
        *BEGIN,
        "MWCB_LEVELS time_ns=32400000000000 level_1_e8=8518800000 level_2_e8=7969200000 level_3_e8=7328000000",
        "TRADING_ACTION stock_locate=1 time_ns=32400000000000 stock=XYZ state=Q",
    ]


def test_a_snapshot_has_the_events_of_the_day_up_to_its_moment() -> None:
    engine, market = Engine(CAPACITY), Market()
    translator = Translator(parse(DAY.partition("at 2024-01-16")[0], "lines"), engine.directory, "lines")
    events = []
    while (batch := translator.next_batch(engine.directory)) is not None:
        for n in range(len(batch.rows)):
            market.take(Block(engine.seq + 1, batch.rows[n : n + 1], engine.apply(batch.rows[n : n + 1])))
            framed = b"".join(Snapshot(market.feed).framed(engine.now_ns))
            events.append("".join(chr(message[11]) for _, message in itch.cut(framed) if message[:1] == b"S"))
    assert [each for each in dict.fromkeys(events) if each] == ["OS", "OSQ", "OSQM"]


def test_the_day_has_each_kind_that_the_protocol_names() -> None:
    text = (Path(__file__).parents[1] / "docs" / "PROTOCOL.md").read_text()
    table = text.partition("## Market data: ITCH 5.0")[2].partition("Volume is the sum")[0]
    named = set(re.findall(r"^\| `(.)` ", table, re.MULTILINE))
    assert {chr(message[0]) for messages in sessions().values() for message in messages} == named
    assert len(named) == 14


def test_the_book_of_a_client_has_the_state_and_the_call_of_each_moment() -> None:
    """The call is gone once it is over."""
    books, calls = Books(), 0
    for message in sessions()["20240115"]:
        book, told = books.take(message), itch.fields(message)
        match chr(message[0]):
            case "H":
                assert book is not None
                assert (book.state, book.auction) == (ord(str(told["state"])), None)
            case "I":
                assert book is not None
                calls += 1
                assert book.auction == AuctionState(
                    *(told[name] for name in ("near_e4", "paired_shares", "imbalance_shares", "direction"))  # type: ignore[arg-type]
                )
    assert calls == 7
