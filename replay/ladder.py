"""Book of an instrument as reports show it: its ladder, and what stands beside it."""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import BPS_MAX, SECOND_NS
from engine.interface import MarketEngine
from engine.names import unpack
from engine.records import Book, Instruction, Peg, Phase, Side, TimeInForce
from notation.objects import Object
from notation.table import word
from notation.words import iso_time

#: Phases in which a book has an indicative.
_CALLS: Final = (Phase.OPENING_AUCTION, Phase.AUCTION, Phase.CLOSING_AUCTION)


@dataclass(frozen=True)
class Level:
    """Price level of a side: total leaves_qty and number of its orders. price_e4 0: market orders.

    Of the total, ``reserve_qty`` is what icebergs do not show, and ``hidden_qty`` is of hidden orders and pegs.
    """

    price_e4: int
    qty: int
    reserve_qty: int
    hidden_qty: int
    orders: int


def trading_prices(orders: NDArray[Any]) -> NDArray[np.int64]:
    """Prices by which OPEN_ORDER rows trade: limits, 0 for none; of pegs what they have now, -1 while that is none."""
    of_peg = np.where(orders["peg_e4"] != 0, orders["peg_e4"], -1)
    prices: NDArray[np.int64] = np.where(orders["peg"] != 0, of_peg, orders["price_e4"])
    return prices


def in_no_queue(orders: NDArray[Any]) -> NDArray[np.bool_]:
    """True for OPEN_ORDER rows that wait outside of the books: dormant stops, closing orders aside, which show nothing,
    and pegs without a price."""
    waits: NDArray[np.bool_] = (orders["stop_e4"] != 0) | _kept_aside(orders) | _unpriced(orders)
    return waits


def _kept_aside(orders: NDArray[Any]) -> NDArray[np.bool_]:
    """True for closing orders that wait for the closing call."""
    aside: NDArray[np.bool_] = (orders["time_in_force"] == TimeInForce.CLOSING) & (orders["shown_qty"] == 0)
    return aside


def _unpriced(orders: NDArray[Any]) -> NDArray[np.bool_]:
    """True for pegs that have no price."""
    unpriced: NDArray[np.bool_] = trading_prices(orders) < 0
    return unpriced


def levels(orders: NDArray[Any], side: Side) -> list[Level]:
    """Levels of one side of the lit book, from OPEN_ORDER rows of one instrument, best first.

    Orders that wait outside of the books, and those of the midpoint book, are in none.
    """
    elsewhere = in_no_queue(orders) | (orders["book"] != Book.LIT)
    chosen = orders[(orders["side"] == int(side)) & ~elsewhere]
    prices, first, inverse = np.unique(trading_prices(chosen), return_index=True, return_inverse=True)
    hidden = chosen["instructions"] & np.uint16(Instruction.HIDDEN | Instruction.PEG) != 0

    def summed(of: NDArray[Any]) -> NDArray[np.int64]:
        sums = np.zeros(len(prices), np.int64)
        np.add.at(sums, inverse, of)
        return sums

    qty, hidden_qty = summed(chosen["leaves_qty"]), summed(chosen["leaves_qty"] * hidden)
    reserve_qty = summed((chosen["leaves_qty"] - chosen["shown_qty"]) * ~hidden)
    counts = np.bincount(inverse, minlength=len(prices))
    # open_orders() is in the order in which the book would trade, so the first row of a price says its rank.
    return [
        Level(int(prices[at]), int(qty[at]), int(reserve_qty[at]), int(hidden_qty[at]), int(counts[at]))
        for at in np.argsort(first)
    ]


def book_object(
    engine: MarketEngine, number: int, depth: int, *, stops_max: int | None = None, orders_max: int | None = 0
) -> Object:
    """Book of an instrument by its number, from 1, as a JSON object: ``depth`` levels a side.

    A level with price_e4 None has market orders that wait for an auction. stops_max: prices of stops a side (None: as
    many as levels). orders_max: open orders one by one, as they would trade (None: all, 0: "orders" is None).
    """
    instrument = engine.instruments()[number - 1]
    orders = engine.open_orders(number)
    phase = Phase(int(instrument["phase"]))
    values = {
        "symbol": unpack(int(instrument["symbol"])),
        "seq": int(engine.seq),
        "time": iso_time(int(engine.now_ns)),
        "speed_bump_ns": int(engine.speed_bump_ns),
        "phase": word(Phase, phase),
        "until": iso_time(int(instrument["due_ns"])),
        "halt": None,  # its cause is history, which the state does not have (``cli.questions.halts``)
        "last_price_e4": int(instrument["last_trade_e4"]) or None,
        "band": _band(instrument),
        "volatility": _volatility(instrument),
        "indicative": _indicative(instrument) if phase in _CALLS else None,
    }
    for name, side in (("bids", Side.BUY), ("offers", Side.SELL)):
        shown = levels(orders, side)[:depth]
        values[name] = [asdict(each) | {"price_e4": each.price_e4 or None} for each in shown]
    values["midpoint"] = _midpoint(orders, phase) if instrument["midpoint"] else None
    values["buy_stops"] = _stops(orders, Side.BUY)[: stops_max or depth]
    values["sell_stops"] = _stops(orders, Side.SELL)[: stops_max or depth]
    values["closing_orders"] = _counted(orders[_kept_aside(orders)])
    values["unpriced_pegs"] = _counted(orders[_unpriced(orders)])
    values["open_orders"] = len(orders)
    names = engine.directory.participants
    values["orders"] = [_order(each, names) for each in orders[:orders_max]] if orders_max != 0 else None
    return values


def _band(row: Any) -> Object | None:
    """The furthest limit prices that the fat finger check lets pass now; None without a band (rulebook section 8)."""
    if not row["band"]:
        return None
    bps = int(row["band"]) - 1
    reference_e4 = int(row["last_trade_e4"]) or int(row["reference_e4"])
    away_e4 = reference_e4 * bps // BPS_MAX
    return {
        "band_bps": bps,
        "reference_e4": reference_e4,
        "highest_buy_e4": reference_e4 + away_e4,
        "lowest_sell_e4": max(reference_e4 - away_e4, 0),
    }


def _volatility(row: Any) -> Object | None:
    """Bounds of the volatility breaker; None without one (rulebook section 9)."""
    if not row["volatility"]:
        return None
    window_ns = int(row["volatility_window_s"]) * SECOND_NS
    return {
        "volatility_bps": int(row["volatility"]) - 1,
        "window_ns": window_ns,
        "halt_ns": int(row["volatility_halt_ns"]),
    }


def _indicative(row: Any) -> Object:
    """Result of the uncross as the call has published it last; price_e4 None: nothing would trade."""
    imbalance_qty = int(row["imbalance_qty"])
    side = Side.BUY if imbalance_qty > 0 else Side.SELL if imbalance_qty < 0 else 0
    return {
        "price_e4": int(row["indicative_e4"]) or None,
        "paired_qty": int(row["paired_qty"]),
        "imbalance_qty": abs(imbalance_qty),
        "imbalance_side": word(Side, side),
    }


def _midpoint(orders: NDArray[Any], phase: Phase) -> Object:
    """The midpoint book: its price now (None: it does not trade), and open orders and quantity of each side."""
    displayed = orders[(orders["shown_qty"] > 0) & (orders["price_e4"] > 0)]
    bids, offers = (displayed["price_e4"][displayed["side"] == int(side)] for side in (Side.BUY, Side.SELL))
    quoted = phase == Phase.CONTINUOUS and len(bids) and len(offers)
    values: Object = {"price_e4": (int(bids.max()) + int(offers.min())) // 2 if quoted else None}
    return values | _counted(orders[orders["book"] == Book.MIDPOINT])


def _counted(orders: NDArray[Any]) -> Object:
    """Number and open quantity of each side of OPEN_ORDER rows."""
    values: Object = {}
    for name, side in (("bid", Side.BUY), ("offer", Side.SELL)):
        own = orders[orders["side"] == int(side)]
        values |= {f"{name}_orders": len(own), f"{name}_qty": int(own["leaves_qty"].sum())}
    return values


def _stops(orders: NDArray[Any], side: Side) -> list[Object]:
    """Dormant stops of a side by their price, those that are elected first in front."""
    own = orders[(orders["side"] == int(side)) & (orders["stop_e4"] != 0)]
    prices, inverse, counts = np.unique(own["stop_e4"], return_inverse=True, return_counts=True)
    sums = np.zeros(len(prices), np.int64)
    np.add.at(sums, inverse, own["leaves_qty"])
    rows = zip(prices.tolist(), sums.tolist(), counts.tolist(), strict=True)
    found = [{"stop_e4": stop_e4, "qty": qty, "orders": count} for stop_e4, qty, count in rows]
    return found if side == Side.BUY else found[::-1]


def _order(row: Any, names: tuple[str, ...]) -> Object:
    """An open order as a JSON object."""
    instructions = int(row["instructions"])
    return {
        "participant": names[int(row["participant"]) - 1],
        "client_order_id": unpack(int(row["client_order_id"])),
        "order_number": int(row["order_number"]),
        "side": word(Side, int(row["side"])),
        "book": word(Book, int(row["book"])),
        "price_e4": int(row["price_e4"]) or None,
        "stop_e4": int(row["stop_e4"]) or None,
        "leaves_qty": int(row["leaves_qty"]),
        "shown_qty": int(row["shown_qty"]),
        "display_qty": int(row["display_qty"]) or None,
        "cum_qty": int(row["cum_qty"]),
        "time_in_force": word(TimeInForce, int(row["time_in_force"])),
        "until": iso_time(int(row["until_ns"])),
        "hidden": bool(instructions & Instruction.HIDDEN),
        "peg": word(Peg, int(row["peg"])),
        "offset_e4": int(row["offset_e4"]),
        "peg_e4": int(row["peg_e4"]) or None,
        "post_only": bool(instructions & Instruction.POST_ONLY),
    }
