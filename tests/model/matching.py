"""Orders that run as incoming, and self-trade prevention (sections 3 to 5)."""

import copy

from tests.model.book import Books
from tests.model.records import PRICE_E4_MAX, Instrument, Order, Participant
from tests.model.words import printed_price


class Matching(Books):
    """Matching in continuous trading, in the lit and in the midpoint book."""

    @staticmethod
    def furthest_e4(order: Order) -> int:
        """Furthest price that an incoming order of the lit book accepts: its own, else the collar's end (section 8)."""
        if order.queue_e4 is not None:
            return order.queue_e4
        instrument = order.instrument
        if instrument.band_bp is None:
            return PRICE_E4_MAX if order.side == 1 else 1
        reference_e4 = instrument.reference_e4
        return reference_e4 + order.side * (reference_e4 * instrument.band_bp // 10_000)

    def run(self, order: Order) -> None:
        """Run an order as incoming: `fok` and `min_qty` first, then trades, then what is left."""
        order.place = "running"
        furthest_e4 = self.furthest_e4(order)
        if order.tif == "fok" or order.min_qty:
            would_trade = self.would_trade(order, furthest_e4)
            if order.tif == "fok" and would_trade < order.open:
                return self.cancel_order(order, "fok")
            if order.min_qty and would_trade < order.min_qty:
                return self.cancel_order(order, "min_qty")
        self.match(order, furthest_e4)
        if not order.open:
            return None
        if order.price_e4 is None and not order.peg and not order.is_midpoint:
            left = self.placed(order.instrument, "lit", -order.side)
            return self.cancel_order(order, "price_band" if left else "no_liquidity")
        if order.tif == "ioc":
            return self.cancel_order(order, "ioc")
        order.place = "midpoint" if order.is_midpoint else "lit"
        return order.show()

    def would_trade(self, order: Order, furthest_e4: int) -> int:
        """Quantity that would really trade now, tried on a copy of the market."""
        trial = copy.deepcopy(self)
        tried = trial.orders[self.orders.index(order)]
        trial.match(tried, furthest_e4)
        return tried.executed - order.executed

    def acceptable(self, order: Order, furthest_e4: int) -> list[Order]:
        """Orders of the other side at a price that an incoming order accepts, in the order in which they trade."""
        instrument = order.instrument
        if order.is_midpoint:
            takes_part = self.takes_part(order, self.midpoint_e4(instrument))
            return self.midpoint_queue(instrument, -order.side) if takes_part else []
        queue = self.queue(instrument, -order.side)
        return [each for each in queue if (each.queue_e4 - furthest_e4) * order.side <= 0]

    def match(self, order: Order, furthest_e4: int) -> None:
        while order.open and (queue := self.acceptable(order, furthest_e4)):
            self.meet(queue[0], order)

    def meet(self, resting: Order, incoming: Order) -> None:
        """A resting and an incoming order trade, unless self-trade prevention acts."""
        if self.is_self_trade(resting.owner, incoming.owner) and incoming.stp != "none":
            return self.prevent(resting, incoming)
        instrument, qty = resting.instrument, min(incoming.open, resting.meets)
        price_e4 = self.midpoint_e4(instrument) if incoming.is_midpoint else resting.queue_e4
        self.trade(resting, incoming, qty, price_e4)
        if resting.display and resting.open:
            resting.shown -= qty
            if resting.shown == 0:
                resting.show()
                resting.priority = self.next_priority()
                self.tell(f"replenished {resting.id} qty={resting.shown}")
        return None

    @staticmethod
    def is_self_trade(one: Participant, other: Participant) -> bool:
        """True for one participant, or two of a group (section 5)."""
        return one is other or (one.group is not None and one.group == other.group)

    def prevent(self, resting: Order, incoming: Order) -> None:
        """Self-trade prevention by the choice of the incoming order (section 5)."""
        match incoming.stp:
            case "cancel_newest":
                self.cancel_order(incoming, "self_trade")
            case "cancel_oldest":
                self.cancel_order(resting, "self_trade")
            case "cancel_both":
                self.cancel_order(resting, "self_trade")
                self.cancel_order(incoming, "self_trade")
            case "decrement":
                smaller = min(resting.open, incoming.open)
                self.cancel_part(resting, smaller, "self_trade")
                self.cancel_part(incoming, smaller, "self_trade")

    def trade(self, resting: Order, incoming: Order, qty: int, price_e4: int) -> None:
        instrument = resting.instrument
        self.tell_trade(instrument, qty, price_e4, f"resting={resting.id} incoming={incoming.id}")
        for order in (resting, incoming):
            self.execute(order, qty)
        self.touched.add(instrument)
        if not incoming.is_midpoint:
            instrument.last_e4 = price_e4
            instrument.has_new_trade = True

    def tell_trade(self, instrument: Instrument, qty: int, price_e4: int, parties: str) -> None:
        self.tell(f"trade {instrument.symbol} {qty} @ {printed_price(price_e4)} {parties}")

    def execute(self, order: Order, qty: int) -> None:
        """Take an executed quantity off an order, and into its owner's position."""
        order.open -= qty
        order.executed += qty
        self.move_position(order.owner, order.instrument, order.side * qty)
        self.remove_if_done(order)

    @staticmethod
    def move_position(owner: Participant, instrument: Instrument, qty: int) -> None:
        owner.positions[instrument.symbol] = owner.positions.get(instrument.symbol, 0) + qty
