"""An independent bookkeeper finds nothing wrong in random markets, and in markets that are wrong what is wrong.

It follows the events alone (``tests.bookkeeping``), so that a mistake that both engines share cannot be its own.
"""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from engine import COMMAND, Capacity, Engine
from engine.records import EventKind, concatenate
from engine.reference import ReferenceEngine
from notation.parse import parse
from notation.translate import Translator
from tests.bookkeeping import Bookkeeper, Complaint, Rows
from tests.features import meeting_stream
from tests.streams import call_stream, random_stream

CAPACITY = Capacity(orders_max=8_192, ids_max=131_072, instruments_max=8, participants_max=16)
SMALL = Capacity(orders_max=512, ids_max=2_048, instruments_max=8, participants_max=16)
#: ``LOCKSTEP_COMMANDS`` sets another number.
COMMANDS = int(os.environ.get("LOCKSTEP_COMMANDS", "150000"))


def stream(seed: int) -> Rows:
    """Markets in which much rests, in which much is called, and in which features meet, by turns."""
    if seed % 3 == 0:
        return random_stream(seed, 8_000, hostile=0.02, garbage=0.01, control=0.01)
    return call_stream(seed, 6_000) if seed % 3 == 1 else meeting_stream(seed, 8_000)


@pytest.mark.slow
def test_random_markets_add_up() -> None:
    checked: Counter[str] = Counter()
    for seed in range(1, 1 + max(6, COMMANDS // 2_500)):
        rows, engine, books = stream(seed), Engine(CAPACITY), Bookkeeper()
        for start in range(0, len(rows), 250):
            part = rows[start : start + 250]
            books.add(part, engine.apply(part), start + 1)
            books.compare(engine)
        checked.update(books.checked)
    assert all(checked[promise] > 100 for promise in PROMISES), checked


@pytest.mark.slow
@pytest.mark.parametrize("make", [Engine, ReferenceEngine], ids=["kernel", "reference"])
@pytest.mark.parametrize("seed", [31, 32, 33])
def test_markets_add_up_after_every_single_command(seed: int, make: type[Engine] | type[ReferenceEngine]) -> None:
    rows, engine, books = stream(seed)[:1_500], make(SMALL), Bookkeeper()
    for start in range(len(rows)):
        part = rows[start : start + 1]
        books.add(part, engine.apply(part), start + 1)
        books.compare(engine)
    assert books.trades > 20


# Controls: a wrong event or a wrong state, for each promise


MARKET = """instrument XYZ tick=0.01 lot=1 reference=10.00 books=lit,midpoint
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA q1 buy 9 XYZ @ 9.90
enter ALPHA q2 sell 9 XYZ @ 10.10
enter ALPHA m1 sell 3 XYZ @ market book=midpoint
enter ALPHA m2 sell 3 XYZ @ market book=midpoint
enter BETA m3 buy 2 XYZ @ market book=midpoint
enter ALPHA a1 sell 5 XYZ @ 10.00
enter ALPHA a2 sell 5 XYZ @ 10.00
enter ALPHA a3 sell 6 XYZ @ 10.00 display=3
enter BETA b1 buy 4 XYZ @ 10.02
enter BETA b2 buy 9 XYZ @ 10.00
enter BETA b3 buy 2 XYZ @ 9.95
replace ALPHA q2 q3 8 @ 10.10
phase XYZ closing_auction
enter BETA c1 buy 2 XYZ @ 10.05
enter BETA c2 buy 5 XYZ @ 10.05
phase XYZ continuous
"""


class Played(NamedTuple):
    """A day that is right: its commands, events and state."""

    rows: Rows
    events: Rows
    engine: Engine


def played() -> Played:
    engine = Engine(CAPACITY)
    translator = Translator(parse(MARKET, "market"), engine.directory)
    rows, events = [], []
    while (batch := translator.next_batch(engine.directory)) is not None:
        events.append(engine.apply(batch.rows))
        rows.append(batch.rows)
    return Played(concatenate(rows, COMMAND), concatenate(events, events[0].dtype), engine)


def of_kind(events: Rows, kind: EventKind) -> Any:
    return np.flatnonzero(events["kind"] == kind)


def of_other_resting(events: Rows, trade: int, resting: int) -> None:
    """The trade has the order of another trade as its resting one."""
    for name in ("client_order_id", "participant"):
        events[name][trade] = events[name][resting]


def gap_in_trades(events: Rows) -> None:
    events["trade_number"][of_kind(events, EventKind.TRADE)[2]] += 1


def gap_in_orders(events: Rows) -> None:
    events["order_number"][of_kind(events, EventKind.ACCEPTED)[2]] += 1


def accepted_less(events: Rows) -> None:
    events["qty"][of_kind(events, EventKind.ACCEPTED)[3]] -= 1


def replaced_to_more(events: Rows) -> None:
    events["qty"][of_kind(events, EventKind.REPLACED)] += 1


def traded_less(events: Rows) -> None:
    events["qty"][of_kind(events, EventKind.TRADE)[0]] -= 1


def later_first(events: Rows) -> None:
    """a2 trades where a1 was first."""
    of_other_resting(events, of_kind(events, EventKind.TRADE)[1], of_kind(events, EventKind.TRADE)[3])


def worse_price_in_an_uncross(events: Rows) -> None:
    """c2, which is later than c1 at its price, trades first."""
    of_other_resting(events, of_kind(events, EventKind.TRADE)[-2], of_kind(events, EventKind.TRADE)[-1])


def other_price(events: Rows) -> None:
    events["price_e4"][of_kind(events, EventKind.TRADE)[1]] += 100


def beyond_a_limit(events: Rows) -> None:
    events["price_e4"][of_kind(events, EventKind.TRADE)[1]] += 300


def off_the_midpoint(events: Rows) -> None:
    events["price_e4"][of_kind(events, EventKind.TRADE)[0]] += 1


def later_first_at_the_midpoint(events: Rows) -> None:
    accepted = of_kind(events, EventKind.ACCEPTED)
    of_other_resting(events, of_kind(events, EventKind.TRADE)[0], accepted[3])


def shown_too_much(events: Rows) -> None:
    events["qty"][of_kind(events, EventKind.REPLENISHED)[0]] += 1


def a_stranger(events: Rows) -> None:
    events["client_order_id"][of_kind(events, EventKind.TRADE)[1]] += 77


#: Changes of the events, by the promise that the bookkeeper has to find broken.
FORGED: dict[str, list[Callable[[Rows], None]]] = {
    "trade numbers": [gap_in_trades],
    "order numbers": [gap_in_orders],
    "entered": [accepted_less, replaced_to_more],
    "rank": [later_first],
    "rank in an uncross": [worse_price_in_an_uncross],
    "rank at the midpoint": [later_first_at_the_midpoint],
    "price": [other_price],
    "limits": [beyond_a_limit],
    "midpoint": [off_the_midpoint],
    "replenished": [shown_too_much],
    "known": [a_stranger],
    "open orders": [traded_less],
}
#: Promises about the state, and that of the book after a command.
OF_STATE = ("positions", "queue", "crossed")
PROMISES = (*FORGED, *OF_STATE)


def test_the_right_day_adds_up() -> None:
    day, books = played(), Bookkeeper()
    books.add(day.rows, day.events, 1)
    books.compare(day.engine)
    assert books.trades == 7
    assert set(books.checked) == set(PROMISES)


def held_against(books: Bookkeeper, day: Played, events: Rows) -> None:
    books.add(day.rows, events, 1)
    books.compare(day.engine)


@pytest.mark.parametrize(
    ("promise", "forge"), [(promise, each) for promise, all_of in FORGED.items() for each in all_of]
)
def test_a_wrong_event_is_complained_of(promise: str, forge: Callable[[Rows], None]) -> None:
    day, books = played(), Bookkeeper()
    events = day.events.copy()
    forge(events)
    with pytest.raises(Complaint, match=rf"^command \d+, {promise}: "):
        held_against(books, day, events)


class Shown:
    """The state of an engine with a change."""

    def __init__(self, engine: Engine, change: Callable[[Rows, Rows], None]) -> None:
        self._orders, self._positions = engine.open_orders().copy(), engine.positions().copy()
        change(self._orders, self._positions)

    def open_orders(self) -> Rows:
        return self._orders

    def positions(self) -> Rows:
        return self._positions


def lost_position(_: Rows, positions: Rows) -> None:
    positions["position_qty"][0] += 1


def open_qty_counted_wrong(_: Rows, positions: Rows) -> None:
    positions["open_buy_qty"][0] += 1


def queue_in_another_order(orders: Rows, _: Rows) -> None:
    of_side = np.flatnonzero((orders["side"] == 1) & (orders["book"] == 0))
    orders[of_side] = orders[of_side][::-1].copy()


@pytest.mark.parametrize(
    ("promise", "change"),
    [("positions", lost_position), ("positions", open_qty_counted_wrong), ("queue", queue_in_another_order)],
)
def test_a_wrong_state_is_complained_of(promise: str, change: Callable[[Rows, Rows], None]) -> None:
    day, books = played(), Bookkeeper()
    books.add(day.rows, day.events, 1)
    with pytest.raises(Complaint, match=rf"^command \d+, {promise}: "):
        books.compare(Shown(day.engine, change))


def test_orders_that_should_have_traded_are_complained_of() -> None:
    day, books = played(), Bookkeeper()
    kept = np.ones(len(day.events), bool)
    kept[of_kind(day.events, EventKind.TRADE)[1]] = False
    with pytest.raises(Complaint, match=r"^command \d+, crossed: "):
        books.add(day.rows, day.events[kept], 1)
