"""Ladders made of reports are the book: levels 1 and 2 of market data never part from the orders that the engine has.

The truth is ``open_orders`` of the engine, summed in plain Python after each command; the ladders see reports alone.
"""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Capacity, Engine
from engine.records import Phase, Side, TimeInForce
from marketdata import LEVEL_CHANGE, QUOTE, Ladders
from reports import Reports
from reports.rows import joined
from tests import features
from tests.report_streams import CAPACITY, user_stream

#: (instrument, side, price_e4): displayed quantity and number of orders.
Levels = dict[tuple[int, int, int], tuple[int, int]]


def stream(kind: str, seed: int, count: int) -> NDArray[Any]:
    return user_stream(seed, count) if kind == "users" else features.meeting_stream(seed, count)


def levels_of_engine(engine: Engine) -> Levels:
    """Displayed levels by price, out of the orders of an engine one by one."""
    qty: Counter[tuple[int, int, int]] = Counter()
    orders: Counter[tuple[int, int, int]] = Counter()
    for number in range(1, len(engine.instruments()) + 1):
        rows = engine.open_orders(number)
        # Market data shows no closing orders: they are of the closing auction alone, and its imbalance tells them.
        shows = (rows["shown_qty"] > 0) & (rows["stop_e4"] == 0) & (rows["time_in_force"] != TimeInForce.CLOSING)
        for row in rows[shows]:
            key = number, int(row["side"]), int(row["price_e4"])
            qty[key] += int(row["shown_qty"])
            orders[key] += 1
    return {key: (qty[key], orders[key]) for key in qty}


def best(levels: Levels, instrument: int, side: int) -> tuple[int, int, int]:
    """Price, quantity and number of orders of the best level; market orders stand before all prices."""
    prices = [price for number, of, price in levels if (number, of) == (instrument, side)]
    if not prices:
        return 0, 0, 0
    price = 0 if 0 in prices else max(prices) if side > 0 else min(prices)
    return price, *levels[instrument, side, price]


def apply_changes(levels: Levels, changes: NDArray[Any]) -> None:
    for row in changes:
        key = int(row["instrument"]), int(row["side"]), int(row["price_e4"])
        levels.pop(key, None)
        if row["orders"]:
            levels[key] = int(row["qty"]), int(row["orders"])


def quote_of(row: Any) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    bid, offer = (tuple(int(row[f"{side}_{what}"]) for what in ("e4", "qty", "orders")) for side in ("bid", "offer"))
    return bid, offer  # type: ignore[return-value]


CASES = [("users", 0), ("users", 1), ("users", 3), ("users", 4), ("features", 7), ("features", 8)]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_levels_and_quotes_are_those_of_the_engine_after_each_command(kind: str, seed: int) -> None:
    rows = stream(kind, seed, 1_200)
    capacity = Capacity(orders_max=4_000, ids_max=60_000, instruments_max=16, participants_max=16)
    engine, fold, ladders = Engine(capacity), Reports(capacity), Ladders(capacity)
    levels: Levels = {}
    quotes: dict[int, Any] = {}
    for at in range(len(rows)):
        commands = rows[at : at + 1]
        changes, told = ladders.take(fold.make(at + 1, commands, engine.apply(commands)))
        apply_changes(levels, changes)
        truth = levels_of_engine(engine)
        assert levels == truth, f"after command {at + 1}"
        for quote in told:
            number = int(quote["instrument"])
            before = quotes.get(number)
            was = (0, 0, 0, 0) if before is None else tuple(int(before[name]) for name in _SHOWN)
            assert tuple(int(quote[f"before_{name}"]) for name in _SHOWN) == was
            assert int(quote["since_ns"]) == (0 if before is None else int(before["time_ns"]))
            assert int(quote["time_ns"]) == engine.now_ns
            quotes[number] = quote.copy()
        for number, instrument in enumerate(engine.instruments(), 1):
            bid, offer = best(truth, number, 1), best(truth, number, -1)
            if number not in quotes:
                assert (bid, offer) == ((0, 0, 0), (0, 0, 0))
                assert instrument["phase"] == Phase.CLOSED
                continue
            assert ladders.quote(number)["instrument"] == number
            assert quote_of(ladders.quote(number))[0][:2] == bid[:2]
            told_bid, told_offer = quote_of(quotes[number])
            # The number of orders alone makes no quote.
            assert (told_bid[:2], told_offer[:2]) == (bid[:2], offer[:2]), f"after command {at + 1}"
            assert int(quotes[number]["phase"]) == int(instrument["phase"])


_SHOWN = ("bid_e4", "bid_qty", "offer_e4", "offer_qty")


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_blocks_and_batches_change_nothing(kind: str, seed: int) -> None:
    rows = stream(kind, seed, 4_000)
    engine, fold = Engine(CAPACITY), Reports(CAPACITY)
    reports = fold.make(1, rows, engine.apply(rows))
    whole = Ladders(CAPACITY)
    changes, quotes = whole.take(reports)
    assert len(changes) > 50
    assert len(quotes) > 30
    parts = Ladders(CAPACITY)
    rng = np.random.default_rng(seed)
    found: list[list[NDArray[Any]]] = [[], []]
    at = 0
    while at < len(reports):
        end = min(at + int(rng.integers(1, 40)), len(reports))
        # A batch may end within a command.
        ends = end == len(reports) or reports["seq"][end] != reports["seq"][end - 1]
        for kept, given in zip(found, parts.take(reports[at:end], whole=bool(ends)), strict=True):
            kept.append(given)
        at = end
        if ends and rng.random() < 0.05:  # go on from the image
            image, digest = parts.image(), parts.digest()
            parts = Ladders(Capacity(orders_max=3_000, ids_max=3_000, instruments_max=9, participants_max=1))
            parts.restore(image)
            assert parts.digest() == digest
    assert np.concatenate(found[0]).tobytes() == changes.tobytes()
    assert np.concatenate(found[1]).tobytes() == quotes.tobytes()
    assert parts.digest() == whole.digest()


def test_top_levels_are_the_best_ones_in_order() -> None:
    rows = user_stream(1, 6_000)
    engine, fold, ladders = Engine(CAPACITY), Reports(CAPACITY), Ladders(CAPACITY)
    ladders.take(fold.make(1, rows, engine.apply(rows)))
    truth = levels_of_engine(engine)
    several = 0
    for number in range(1, len(engine.instruments()) + 1):
        for side in Side:
            prices = [price for instrument, of, price in truth if (instrument, of) == (number, int(side))]
            prices.sort(key=lambda price: (price != 0, -price * int(side)))
            for depth in (0, 1, 5, len(prices), len(prices) + 3):
                shown = ladders.top(number, side, depth)
                assert shown["price_e4"].tolist() == prices[:depth]
                assert [(int(row["qty"]), int(row["orders"])) for row in shown] == [
                    truth[number, int(side), price] for price in prices[:depth]
                ]
            several += len(prices) > 3
    assert several


def test_a_lost_report_is_seen_in_the_digest() -> None:
    """The control: ladders that miss a report which changes a level are other ladders."""
    rows = user_stream(0, 1_000)
    engine, fold = Engine(CAPACITY), Reports(CAPACITY)
    reports = fold.make(1, rows, engine.apply(rows))
    whole = Ladders(CAPACITY)
    whole.take(reports)
    open_numbers = engine.open_orders()["order_number"]
    resting = next(
        at
        for at in np.flatnonzero(reports["displayed_qty"] > 0)
        if reports["order_number"][at] in open_numbers
        and (reports["order_number"] == reports["order_number"][at]).sum() == 1
    )
    lossy = Ladders(CAPACITY)
    lossy.take(joined([reports[:resting], reports[resting + 1 :]]))
    assert lossy.digest() != whole.digest()


def test_an_image_of_another_kind_or_without_room_is_refused() -> None:
    rows = user_stream(0, 1_000)
    engine, fold, ladders = Engine(CAPACITY), Reports(CAPACITY), Ladders(CAPACITY)
    ladders.take(fold.make(1, rows, engine.apply(rows)))
    image = ladders.image()
    with pytest.raises(ValueError, match="other tables"):
        Ladders(CAPACITY).restore(image | {"layout": np.zeros(16, np.uint8)})
    with pytest.raises(ValueError, match="room"):
        Ladders(Capacity(1, 1, 1, 1)).restore(image)
    with pytest.raises(ValueError, match="damaged"):
        Ladders(CAPACITY).restore(image | {"orders": np.zeros(1, QUOTE)})


def test_rows_have_no_holes() -> None:
    assert (LEVEL_CHANGE.itemsize, QUOTE.itemsize) == (40, 104)
    for dtype in (LEVEL_CHANGE, QUOTE):
        assert sum(dtype[name].itemsize for name in dtype.names or ()) == dtype.itemsize
