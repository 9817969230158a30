"""The ladder of a book shows its lit orders, and no others; beside it stands what an operator needs besides."""

import json
from pathlib import Path

import pytest

from engine import Capacity, Engine
from engine.records import EventKind, Phase
from engine.reference import ReferenceEngine
from replay.ladder import book_object
from tests.conftest import Lockstep
from tests.streams import call_stream, random_stream

DAY = """instrument XYZ tick=0.01 lot=1 reference=10.00 books=lit,midpoint
participant ALPHA
participant BETA
phase XYZ continuous
enter BETA m1 buy 10 XYZ @ 9.98
enter BETA m2 sell 10 XYZ @ 10.02
enter BETA b1 sell 50 XYZ @ 10.01 book=midpoint
enter ALPHA a1 buy 60 XYZ @ 9.98 book=midpoint
"""


@pytest.mark.slow
def test_orders_of_the_midpoint_book_are_in_no_level_of_the_lit_one(tmp_path: Path, lockstep: Lockstep) -> None:
    """They were counted to the level of their limit, or as market orders."""
    day = tmp_path / "day.txt"
    day.write_text(DAY)
    status, _, complaint = lockstep("run", day, "--data", tmp_path / "node")
    assert (status, complaint) == (0, "")
    _, said, _ = lockstep("book", tmp_path / "node", "XYZ", "--json")
    book = json.loads(said)
    levels = {
        side: [(each["price_e4"], each["qty"], each["orders"]) for each in book[side]] for side in ("bids", "offers")
    }
    assert levels == {"bids": [(99_800, 10, 1)], "offers": [(100_200, 10, 1)]}


FULL_DAY = """instrument XYZ tick=0.01 lot=1 reference=10.00 books=lit,midpoint band=5%
participant ALPHA
participant BETA
phase XYZ continuous
enter BETA m1 buy 10 XYZ @ 9.98
enter BETA m2 sell 10 XYZ @ 10.02
enter BETA b1 sell 50 XYZ @ 10.01 book=midpoint
enter ALPHA a1 buy 60 XYZ @ 9.98 book=midpoint
enter ALPHA a2 buy 100 XYZ @ 9.97 display=20
enter ALPHA a3 buy 30 XYZ @ 9.97 hidden tif=gtd until=17:00
enter BETA b2 sell 40 XYZ @ market stop=9.90 tif=gtc
enter BETA b3 sell 5 XYZ @ 9.80 stop=9.95
enter ALPHA a4 buy 7 XYZ @ 10.20 stop=10.10
"""
CALL = """phase XYZ closing_auction
enter BETA b4 sell 30 XYZ @ 9.97
"""


WAITING_DAY = """instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
phase XYZ continuous
enter ALPHA a1 buy 10 XYZ @ 9.98
enter ALPHA a2 buy 50 XYZ @ 9.97 tif=closing
enter ALPHA a3 sell 20 XYZ @ market tif=closing
enter ALPHA a4 sell 70 XYZ @ market peg=primary
enter ALPHA a5 sell 5 XYZ @ 10.05 peg=midpoint
"""


def test_the_book_says_which_closing_orders_and_pegs_wait_outside_of_it(tmp_path: Path, lockstep: Lockstep) -> None:
    day = tmp_path / "day.txt"
    day.write_text(WAITING_DAY)
    assert lockstep("run", day, "--data", tmp_path / "node")[0] == 0
    status, said, _ = lockstep("book", tmp_path / "node", "XYZ")
    assert (status, said.splitlines()[2:]) == (
        0,
        [
            "     1       10  9.98",
            "closing orders, kept aside until the closing call: 1 buy, 50; 1 sell, 20",
            "pegs that wait without a price: 0 buys, 0; 2 sells, 75",
        ],
    )
    (tmp_path / "call.txt").write_text("phase XYZ closing_auction\n")
    assert lockstep("run", tmp_path / "call.txt", "--append", "--data", tmp_path / "node")[0] == 0
    book = json.loads(lockstep("book", tmp_path / "node", "XYZ", "--json")[1])
    assert book["closing_orders"] == {"bid_orders": 0, "bid_qty": 0, "offer_orders": 0, "offer_qty": 0}
    assert book["unpriced_pegs"] == {"bid_orders": 0, "bid_qty": 0, "offer_orders": 2, "offer_qty": 75}


def test_the_book_says_what_is_not_in_its_ladder(tmp_path: Path, lockstep: Lockstep) -> None:
    day = tmp_path / "day.txt"
    day.write_text(FULL_DAY)
    assert lockstep("run", day, "--data", tmp_path / "node")[0] == 0
    status, said, _ = lockstep("book", tmp_path / "node", "XYZ", "--orders")
    assert (status, said.splitlines()[1:]) == (
        0,
        """\
orders  bid qty   bid  offer  offer qty  offers
     1       10  9.98  10.02         10       1
     2      130  9.97
not displayed at the bid 9.97: 80 in reserve, 30 hidden
band of 5% around 10.00: buys up to 10.50, sells down to 9.50
midpoint book: 1 buy, 60; 1 sell, 50; midpoint 10.00
buy stop at 10.10: 7 of 1 order
sell stop at 9.95: 5 of 1 order
sell stop at 9.90: 40 of 1 order
participant  order  side   price  open  shown  executed  kind
BETA         m1     buy     9.98    10     10         0  day
ALPHA        a2     buy     9.97   100     20         0  day display=20
ALPHA        a3     buy     9.97    30      0         0  gtd until=2024-01-15T17:00:00 hidden
ALPHA        a4     buy    10.20     7      0         0  day stop=10.10
ALPHA        a1     buy     9.98    60      0         0  day book=midpoint
BETA         m2     sell   10.02    10     10         0  day
BETA         b3     sell    9.80     5      0         0  day stop=9.95
BETA         b2     sell  market    40      0         0  gtc stop=9.90
BETA         b1     sell   10.01    50      0         0  day book=midpoint""".splitlines(),
    )
    (tmp_path / "call.txt").write_text(CALL)
    assert lockstep("run", tmp_path / "call.txt", "--append", "--data", tmp_path / "node")[0] == 0
    _, said, _ = lockstep("book", tmp_path / "node", "XYZ")
    assert "the uncross would trade 30 @ 9.97, 110 more to buy" in said.splitlines()
    assert "midpoint book: 1 buy, 60; 1 sell, 50; midpoint none now" in said.splitlines()
    book = json.loads(lockstep("book", tmp_path / "node", "XYZ", "--json")[1])
    assert book["indicative"] == {
        "price_e4": 99_700,
        "paired_qty": 30,
        "imbalance_qty": 110,
        "imbalance_side": "buy",
    }
    assert (book["open_orders"], book["orders"]) == (10, None)


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["market", "calls"])
def test_both_engines_show_the_same_books_and_the_indicative_that_was_told_last(stream: str) -> None:
    rows = random_stream(31, 3_000, control=0.02) if stream == "market" else call_stream(32, 1_500)
    capacity = Capacity(orders_max=4_096, ids_max=65_536, instruments_max=8, participants_max=16)
    kernel, reference = Engine(capacity), ReferenceEngine(capacity)
    told: dict[int, tuple[int, int]] = {}
    seen = 0
    for start in range(0, len(rows), 100):
        part = rows[start : start + 100]
        events = kernel.apply(part)
        reference.apply(part)
        for event in events:
            if event["kind"] in (EventKind.PHASE, EventKind.HALTED):
                told.pop(int(event["instrument"]), None)
            elif event["kind"] == EventKind.INDICATIVE:
                told[int(event["instrument"])] = int(event["price_e4"]), int(event["qty"])
        for number, state in enumerate(kernel.instruments(), 1):
            book = book_object(kernel, number, 5, orders_max=None)
            assert book == book_object(reference, number, 5, orders_max=None)
            assert (book["indicative"] is not None) == (
                state["phase"] in (Phase.OPENING_AUCTION, Phase.AUCTION, Phase.CLOSING_AUCTION)
            )
            if book["indicative"] is not None and number in told:
                shown = book["indicative"]["price_e4"] or 0, book["indicative"]["paired_qty"]
                assert shown == told[number]
                seen += 1
    assert seen or stream == "market"
