"""The price of an uncross: as every candidate priced by the words of section 6, in steps that more levels do not add.

The brute force knows nothing of either engine: it has a list of orders.
"""

import os
import subprocess
import sys
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import COMMAND, Capacity, Engine
from engine.interface import MarketEngine
from engine.names import pack
from engine.records import CommandKind, EventKind, Instruction, Phase, SelfTrade, TimeInForce
from engine.reference import ReferenceEngine

BOOKS: Final = int(os.environ.get("LOCKSTEP_BOOKS", "30000"))
#: Commands of a book before it is emptied.
ORDERS: Final = 15
INSTRUMENTS: Final = 40
TICK_E4: Final = 100
CAPACITY: Final = Capacity(orders_max=4_096, ids_max=1 << 17, instruments_max=INSTRUMENTS, participants_max=2)


class Told(NamedTuple):
    """Price, paired quantity, and buys less sells."""

    price_e4: int = 0
    paired_qty: int = 0
    imbalance_qty: int = 0


class Order(NamedTuple):
    """``tick`` 0: market."""

    side: int
    tick: int
    qty: int


def by_the_words(orders: list[Order], reference_e4: int) -> Told:
    """Rules 1 to 4, each candidate asked of each order."""
    reference = max(reference_e4 // TICK_E4, 1)
    outcomes = []
    for tick in {reference, *(order.tick for order in orders if order.tick)}:
        buys = sum(order.qty for order in orders if order.side > 0 and (not order.tick or order.tick >= tick))
        sells = sum(order.qty for order in orders if order.side < 0 and (not order.tick or order.tick <= tick))
        outcomes.append((tick, min(buys, sells), buys - sells))
    most = max(paired for _, paired, _ in outcomes)
    if not most:
        return Told()
    least = min(abs(imbalance) for _, paired, imbalance in outcomes if paired == most)
    left = {tick: imbalance for tick, paired, imbalance in outcomes if paired == most and abs(imbalance) == least}
    if all(imbalance > 0 for imbalance in left.values()):
        best = max(left)
    elif all(imbalance < 0 for imbalance in left.values()):
        best = min(left)
    else:
        best = min(left, key=lambda tick: abs(tick - reference))
    return Told(best * TICK_E4, most, left[best])


def references_e4() -> NDArray[np.int64]:
    """Reference price of each instrument: off the tick, below one tick, and at both ends."""
    drawn = np.random.default_rng(1).integers(1, 4_000_000, INSTRUMENTS)
    drawn[:4] = (1, 99, 9_999_999_999, 100)
    return drawn


def opening() -> NDArray[Any]:
    """Instruments in a call, and a participant."""
    rows = np.zeros(2 * INSTRUMENTS + 1, COMMAND)
    names = [pack(f"I{number}") for number in range(INSTRUMENTS)]
    rows["kind"] = (
        [CommandKind.INSTRUMENT] * INSTRUMENTS + [CommandKind.PHASE] * INSTRUMENTS + [CommandKind.PARTICIPANT]
    )
    rows["name"] = [*names, *names, pack("P")]
    rows["reference_e4"][:INSTRUMENTS], rows["tick_e4"][:INSTRUMENTS] = references_e4(), TICK_E4
    rows["lot"][:INSTRUMENTS] = 1
    rows["phase"][INSTRUMENTS:-1], rows["permissions"][-1] = Phase.OPENING_AUCTION, 1
    return rows


class Books:
    """Random commands on many books in calls, and the list of orders that each has after each command."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._id = 0

    def book(self, instrument: int, reference_e4: int) -> tuple[NDArray[Any], list[list[Order]]]:
        """Commands of one book, which empties it at last, and its orders after each."""
        rng, rows = self._rng, np.zeros(ORDERS + 1, COMMAND)
        middle, spread = self._around(reference_e4)
        open_orders: dict[int, Order] = {}
        after = []
        for row in rows[:-1]:
            row["participant"] = 1
            if open_orders and rng.random() < 0.2:
                gone = int(rng.choice(list(open_orders)))
                row["kind"], row["client_order_id"] = CommandKind.CANCEL, gone
                del open_orders[gone]
            else:
                self._id += 1
                tick = max(int(middle + rng.integers(-spread, spread + 1)), 1) if rng.random() < 0.9 else 0
                order = Order(int(rng.choice([1, -1])), tick, int(rng.integers(1, 6)))
                row["kind"], row["client_order_id"], row["instrument"] = CommandKind.ENTER, self._id, instrument
                row["side"], row["qty"], row["price_e4"] = order.side, order.qty, order.tick * TICK_E4
                row["instructions"] = 0 if tick else Instruction.MARKET
                row["time_in_force"], row["self_trade"] = TimeInForce.DAY, SelfTrade.CANCEL_NEWEST
                open_orders[self._id] = order
            after.append(list(open_orders.values()))
        rows[-1]["kind"], rows[-1]["name"], rows[-1]["reason"] = CommandKind.MASS_CANCEL, pack("P"), 41
        return rows, [*after, []]

    def _around(self, reference_e4: int) -> tuple[int, int]:
        """Middle and half width of the prices of a book: near the reference price or far, narrow or wide."""
        middle = reference_e4 // TICK_E4 + int(self._rng.choice([0, 0, 1, -2, 40, 5_000, 1_000_000]))
        return min(max(middle, 1), 99_000_000), int(self._rng.choice([0, 1, 3, 10, 100, 3_000, 900_000]))


def told_after(engine: MarketEngine, rows: NDArray[Any], told: Told) -> list[Told]:
    """Outcome that the indicative events say after each command; ``told``: before the first."""
    first = engine.seq + 1
    events = engine.apply(rows)
    events = events[events["kind"] == EventKind.INDICATIVE]
    news = {
        int(event["seq"]) - first: Told(
            int(event["price_e4"]), int(event["qty"]), int(event["imbalance_qty"]) * (int(event["side"]) or 1)
        )
        for event in events
    }
    after = []
    for at in range(len(rows)):
        told = news.get(at, told)
        after.append(told)
    return after


@pytest.mark.slow
@pytest.mark.parametrize("engine_class", [Engine, ReferenceEngine])
def test_an_indicative_is_what_each_candidate_priced_anew_gives(engine_class: Any) -> None:
    engine = engine_class(CAPACITY)
    engine.apply(opening())
    books, references = Books(7), references_e4().tolist()
    crossed = 0
    for number in range(BOOKS // ORDERS):
        instrument = number % INSTRUMENTS + 1
        rows, after = books.book(instrument, references[instrument - 1])
        for at, (told, orders) in enumerate(zip(told_after(engine, rows, Told()), after, strict=True)):
            assert told == by_the_words(orders, references[instrument - 1]), (number, at, orders)
            crossed += told.paired_qty > 0
    assert crossed > BOOKS // 4


def test_the_brute_force_tells_a_wrong_price() -> None:
    orders = [Order(1, 12, 5), Order(-1, 10, 5)]
    assert by_the_words(orders, 11 * TICK_E4) == Told(11 * TICK_E4, 5, 0)
    assert by_the_words(orders, 20 * TICK_E4) == Told(12 * TICK_E4, 5, 0)
    assert by_the_words([*orders, Order(1, 0, 1)], 20 * TICK_E4) == Told(12 * TICK_E4, 5, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kernel", "reference"])
def test_an_order_in_a_call_takes_no_more_steps_for_more_levels(kind: str) -> None:
    counts = [
        int(
            subprocess.run(
                [sys.executable, "-m", "tests.call_steps", kind, str(levels)],
                check=True,
                capture_output=True,
                text=True,
                timeout=300,
            ).stdout
        )
        for levels in (64, 512, 4_096)
    ]
    # Three doublings of the levels add a few steps each way down a tree; levels gone through would multiply them by 8.
    assert all(more < 1.5 * fewer + 200 for fewer, more in pairwise(counts)), counts
