"""Consequences of a command: breakers, stops, pegs and the midpoint book (sections 7 and 9)."""

from tests.model.phases import Phases
from tests.model.records import PRICE_E4_MAX, Instrument, Order
from tests.model.words import SECOND_NS, printed_price


class Consequences(Phases):
    """Section 7, in its own order."""

    def finish(self) -> None:
        """Complete a command, or one of several that a line or a clock value stands for."""
        for instrument in self.instruments:
            if instrument in self.touched:
                self.look_at_trades(instrument)
                while self.elect(instrument) or self.price_pegs(instrument):
                    self.look_at_trades(instrument)
                self.meet_at_midpoint(instrument)
            self.tell_indicative(instrument)
        self.touched = set()

    def look_at_trades(self, instrument: Instrument) -> None:
        """(a) Breakers look at the last trade, if there was one since they last did."""
        is_new = instrument.has_new_trade or instrument.has_new_uncross
        if instrument.has_new_trade:
            instrument.has_new_trade = False
            self.look_at_volatility(instrument)
        instrument.has_new_uncross = False
        if is_new:
            self.look_at_indices(instrument)

    def look_at_volatility(self, instrument: Instrument) -> None:
        """Halt after a trade too far from the price in force a window earlier, and remember the trade."""
        second, last_e4 = self.now_ns // SECOND_NS, instrument.last_e4
        if instrument.volatility:
            move_bp, window_ns, halt_ns = instrument.volatility
            earlier = [each for each in instrument.traded_e4 if each <= second - window_ns // SECOND_NS]
            in_force_e4 = instrument.traded_e4[max(earlier)] if earlier else instrument.uncrossed_e4
            is_far = abs(last_e4 - in_force_e4) * 10_000 > in_force_e4 * move_bp
            if is_far and instrument.phase == "continuous":
                self.halt(instrument, halt_ns, "volatility")
        instrument.traded_e4[second] = last_e4

    def look_at_indices(self, instrument: Instrument) -> None:
        """Halt or close the market where an index of the instrument has fallen to a deeper level."""
        for index in self.indices:
            if instrument.symbol not in index.members:
                continue
            fall_e4 = index.opening_e4 - self.index_value_e4(index.members)
            reached = [
                number
                for number, (fall_bp, _) in enumerate(index.levels)
                if fall_e4 * 10_000 >= index.opening_e4 * fall_bp
            ]
            if not reached or max(reached) <= index.deepest:
                continue
            index.deepest = max(reached)
            halt_ns = index.levels[index.deepest][1]
            for each in self.instruments:
                if each.phase == "closed":
                    continue
                if halt_ns is None:
                    self.change_phase(each, "closed", uncross=False)
                else:
                    self.halt(each, halt_ns, "market_wide")

    def elect(self, instrument: Instrument) -> bool:
        """(b) Elect one stop whose price is reached, if there is one; it runs as incoming to its end."""
        last_e4 = instrument.last_e4
        if instrument.phase != "continuous" or last_e4 is None:
            return False
        reached = [order for order in self.placed(instrument, "dormant") if (last_e4 - order.stop_e4) * order.side >= 0]
        if not reached:
            return False
        order = min(reached, key=lambda order: (-order.side, order.side * order.stop_e4, order.priority))
        self.tell(f"triggered {order.id}")
        order.stop_e4 = None
        order.priority = self.next_priority()
        self.run(order)
        return True

    def price_pegs(self, instrument: Instrument) -> bool:
        """(c) Price pegs anew, then run each that has a price; True if any traded."""
        if instrument.phase != "continuous":
            return False
        bid_e4, offer_e4 = (self.best_displayed_e4(instrument, side) for side in (1, -1))
        pegs = [
            (order, self.peg_price_e4(order, bid_e4, offer_e4)) for order in self.orders_of(instrument) if order.peg
        ]
        changed = [(order, price_e4) for order, price_e4 in pegs if price_e4 != order.peg_e4]
        for order, price_e4 in changed:
            order.place = "unpriced"
            order.peg_e4 = price_e4
            self.tell(f"repriced {order.id} @ {printed_price(price_e4)}")
            if price_e4 is not None:
                order.priority = self.next_priority()
        for order, price_e4 in changed:
            if price_e4 is not None:
                self.run(order)
        return instrument.has_new_trade

    @staticmethod
    def peg_price_e4(order: Order, bid_e4: int | None, offer_e4: int | None) -> int | None:
        """Price that a peg's reference gives now (section 4); None without a reference or out of bounds."""
        side = order.side
        own_e4, opposite_e4 = (bid_e4, offer_e4) if side == 1 else (offer_e4, bid_e4)
        reference_e4 = own_e4 if order.peg == "primary" else opposite_e4
        if reference_e4 is None or (order.peg == "midpoint" and own_e4 is None):
            return None
        if order.peg == "midpoint":
            price_e4 = side * (side * (own_e4 + opposite_e4) // 2)
        else:
            price_e4 = reference_e4 - side * order.offset_e4
        if order.price_e4 is not None:
            price_e4 = min(price_e4 * side, order.price_e4 * side) * side
        return price_e4 if 1 <= price_e4 <= PRICE_E4_MAX else None

    def meet_at_midpoint(self, instrument: Instrument) -> None:
        """(d) The oldest buy and sell of the midpoint book meet while both take part, the later one as incoming."""
        if instrument.phase != "continuous":
            return
        while (buys := self.midpoint_queue(instrument, 1)) and (sells := self.midpoint_queue(instrument, -1)):
            self.meet(*sorted((buys[0], sells[0]), key=lambda order: order.priority))
