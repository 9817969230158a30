"""Uncrosses: one price for all (section 6)."""

from typing import NamedTuple

from tests.model.matching import Matching
from tests.model.records import CALLS, Instrument, Order
from tests.model.words import printed_price


class Outcome(NamedTuple):
    """Result of an uncross at a price: quantity and imbalance (buys less sells) there."""

    price_e4: int | None
    qty: int
    imbalance: int


class Auctions(Matching):
    """The price of an uncross, its trades, and the indicative events of a call."""

    @staticmethod
    def accepts(order: Order, price_e4: int) -> bool:
        return order.price_e4 is None or (order.price_e4 - price_e4) * order.side >= 0

    def outcome_at(self, orders: list[Order], price_e4: int) -> Outcome:
        """Executable quantity and imbalance at a price, hidden and reserve counted in full."""
        buys, sells = (
            sum(order.open for order in orders if order.side == side and self.accepts(order, price_e4))
            for side in (1, -1)
        )
        return Outcome(price_e4, min(buys, sells), buys - sells)

    def uncross_outcome(self, instrument: Instrument) -> Outcome:
        """The one price, by the four rules of section 6 in turn; no price where nothing is executable."""
        tick_e4 = instrument.tick_e4
        rounded_e4 = max(instrument.reference_e4 // tick_e4 * tick_e4, tick_e4)
        orders = self.placed(instrument, "lit")
        prices = {rounded_e4} | {order.price_e4 for order in orders if order.price_e4 is not None}
        outcomes = [self.outcome_at(orders, price_e4) for price_e4 in prices]
        most = max(each.qty for each in outcomes)
        if most == 0:
            return Outcome(None, 0, 0)
        outcomes = [each for each in outcomes if each.qty == most]
        least = min(abs(each.imbalance) for each in outcomes)
        outcomes = [each for each in outcomes if abs(each.imbalance) == least]
        if all(each.imbalance > 0 for each in outcomes):
            return max(outcomes)
        if all(each.imbalance < 0 for each in outcomes):
            return min(outcomes)
        nearest = min(abs(each.price_e4 - rounded_e4) for each in outcomes)
        (outcome,) = (each for each in outcomes if abs(each.price_e4 - rounded_e4) == nearest)
        return outcome

    def uncross(self, instrument: Instrument) -> None:
        """Trade at the one price, and cancel what is left of market and auction-only orders."""
        price_e4 = self.uncross_outcome(instrument).price_e4
        if price_e4 is not None:
            self.trade_at(instrument, price_e4)
            instrument.last_e4 = instrument.uncrossed_e4 = price_e4
            instrument.traded_e4 = {}
            instrument.has_new_uncross = True
        for order in self.by_acceptance(self.placed(instrument, "lit")):
            if (order.price_e4 is None and not order.peg) or order.tif in ("opening", "closing"):
                self.cancel_order(order, "auction")

    def trade_at(self, instrument: Instrument, price_e4: int) -> None:
        """The first buy and the first sell trade, until a side has none; then icebergs that traded show anew."""
        traded: list[Order] = []
        buys, sells = (
            [order for order in self.queue(instrument, side) if self.accepts(order, price_e4)] for side in (1, -1)
        )
        while buys and sells:
            buy, sell = buys[0], sells[0]
            qty = min(buy.open, sell.open)
            self.tell_trade(instrument, qty, price_e4, f"buy={buy.id} sell={sell.id}")
            for order in (buy, sell):
                self.execute(order, qty)
                if order not in traded:
                    traded.append(order)
            buys, sells = ([order for order in orders if order.open] for orders in (buys, sells))
        for order in sorted(traded, key=lambda order: -order.side):
            if order.open and order.display:
                order.show()
                self.tell(f"replenished {order.id} qty={order.shown}")

    def tell_indicative(self, instrument: Instrument) -> None:
        """Tell a call's outcome where it changed (section 13, 25)."""
        if instrument.phase not in CALLS:
            return
        outcome = self.uncross_outcome(instrument)
        if outcome == instrument.told:
            return
        instrument.told = outcome
        side = "buy" if outcome.imbalance > 0 else "sell" if outcome.imbalance < 0 else "none"
        self.tell(
            f"indicative {instrument.symbol} {outcome.qty} @ {printed_price(outcome.price_e4)}"
            f" imbalance={abs(outcome.imbalance)} side={side}"
        )
