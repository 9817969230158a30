"""Checks of an order before the book is touched, in their order (section 8)."""

from types import SimpleNamespace
from typing import Any, Final

from tests.model.consequences import Consequences
from tests.model.records import INT64_MAX, PRICE_E4_MAX, QTY_MAX, Instrument, Order, Participant

PER_PARTICIPANT: Final = ("order_rate", "credit", "margin", "max_open_orders", "max_ids")


class Checks(Consequences):
    """Checks; each gives the reason of a refusal, or None."""

    @staticmethod
    def phase_refuses(instrument: Instrument, tif: str, *, needs_continuous: bool) -> str | None:
        phase = instrument.phase
        if phase in ("halted", "closed"):
            return phase
        if phase != "continuous" and (needs_continuous or tif in ("ioc", "fok")):
            return "not_continuous"
        if tif == "opening" and phase not in ("pre_open", "opening_auction"):
            return "not_auction"
        return None

    @staticmethod
    def numbers_refuse(instrument: Instrument, qty: int, *prices_e4: int | None) -> str | None:
        """Bounds of all numbers come before the tick of any (section 13, 30)."""
        named = [price_e4 for price_e4 in prices_e4 if price_e4 is not None]
        if not 1 <= qty <= QTY_MAX:
            return "invalid_qty"
        if qty % instrument.lot:
            return "invalid_lot"
        if not all(1 <= price_e4 <= PRICE_E4_MAX for price_e4 in named):
            return "invalid_price"
        if any(price_e4 % instrument.tick_e4 for price_e4 in named):
            return "invalid_tick"
        return None

    def fits(self, command: SimpleNamespace, instrument: Instrument) -> bool:
        """True if the instructions of an entry fit together: the tables of section 4."""
        tif = command.tif or "day"
        instructions = {key for key in ("display", "hidden", "post_only", "stop", "peg") if key in command.given}
        may_rest = tif in ("day", "gtc", "gtd")
        if (command.until is not None) != (tif == "gtd"):
            return False
        if command.until is not None and command.until <= self.now_ns:
            return False
        if command.min_qty is not None and (tif != "ioc" or not 1 <= command.min_qty <= command.qty):
            return False
        if command.offset is not None:
            least_e4 = {"primary": 0, "market": instrument.tick_e4}.get(command.peg)
            if least_e4 is None or command.offset % instrument.tick_e4 or command.offset < least_e4:
                return False
        if command.book == "midpoint":
            return instrument.has_midpoint and not instructions and (may_rest or tif in ("ioc", "fok"))
        if command.price is None and not instructions & {"stop", "peg"}:
            return not instructions and tif in ("day", "ioc", "fok", "opening", "closing")
        if instructions and not may_rest:
            return False
        if instructions & {"stop", "peg"}:
            return len(instructions) == 1
        if {"display", "hidden"} <= instructions:
            return False
        return command.display is None or self.display_fits(instrument, command.display, command.qty)

    @staticmethod
    def display_fits(instrument: Instrument, display: int, qty: int) -> bool:
        """Whole lots, and a hundredth of the quantity at least (section 13, 32)."""
        return display >= 1 and display % instrument.lot == 0 and display * 100 >= qty

    def ids_in_use(self, owner: Participant) -> set[str]:
        """Ids of the day, and those that open orders bear."""
        return owner.ids | {order.id for order in self.orders if order.owner is owner}

    @staticmethod
    def limit(owner: Participant, instrument: Instrument, name: str) -> Any:
        """A limit, the instrument's before the participant's; None where none is set."""
        own = None if name in PER_PARTICIPANT else owner.limits.get(instrument.symbol, {}).get(name)
        return owner.limits[None].get(name) if own is None else own

    @staticmethod
    def is_restricted(owner: Participant, instrument: Instrument) -> bool:
        """True if either limit restricts."""
        return any("restricted" in owner.limits.get(key, {}) for key in (None, instrument.symbol))

    @staticmethod
    def value_price_e4(instrument: Instrument, price_e4: int | None, stop_e4: int | None) -> int:
        """Price by which an order counts: its limit, else its stop, else the reference price."""
        return next(each for each in (price_e4, stop_e4, instrument.reference_e4) if each is not None)

    def limits_refuse(
        self,
        owner: Participant,
        instrument: Instrument,
        side: int,
        total: int,
        price_e4: int | None,
        stop_e4: int | None,
        value_e4: int,
        replaced: Order | None = None,
    ) -> str | None:
        """From the band to the credit. replaced: the order that a replace takes out of position and credit."""
        if self.is_outside_band(instrument, side, price_e4, stop_e4):
            return "price_band"
        for name, amount in (("max_order_qty", total), ("max_order_value", total * value_e4)):
            most = self.limit(owner, instrument, name)
            if most is not None and amount > most:
                return name
        if self.is_rate_reached(owner):
            return "order_rate"
        share_bp = self.limit(owner, instrument, "adv")
        if share_bp is not None and instrument.adv and total * 10_000 > share_bp * instrument.adv:
            return "adv"
        qty = total - (replaced.executed if replaced else 0)
        if not (replaced and qty <= replaced.open) and self.is_position_passed(
            owner, instrument, side, qty - (replaced.open if replaced else 0)
        ):
            return "position_limit"
        more_e4 = qty * value_e4 - (replaced.open * replaced.value_e4 if replaced else 0)
        if self.is_credit_passed(owner, more_e4, is_raised=not (replaced and more_e4 <= 0)):
            return "credit"
        return None

    @staticmethod
    def is_outside_band(instrument: Instrument, side: int, price_e4: int | None, stop_e4: int | None) -> bool:
        """True for a limit price too far on the aggressive side of the reference price, or of its stop."""
        if instrument.band_bp is None or price_e4 is None:
            return False
        from_e4 = instrument.reference_e4 if stop_e4 is None else stop_e4
        return (price_e4 - from_e4) * side * 10_000 > from_e4 * instrument.band_bp

    def is_rate_reached(self, owner: Participant) -> bool:
        if "order_rate" not in owner.limits[None]:
            return False
        most, window_ns = owner.limits[None]["order_rate"]
        return sum(time_ns > self.now_ns - window_ns for time_ns in owner.counted_ns) >= most

    def is_position_passed(self, owner: Participant, instrument: Instrument, side: int, more: int) -> bool:
        """True if position and open quantity of a side would pass the limit with so much more."""
        most = self.limit(owner, instrument, "max_position")
        orders = (order for order in self.orders_of(instrument) if order.owner is owner and order.side == side)
        held = owner.positions.get(instrument.symbol, 0) * side + sum(order.open for order in orders)
        return most is not None and held + more > most

    def is_credit_passed(self, owner: Participant, more_e4: int, *, is_raised: bool = True) -> bool:
        """True if open notional with so much more, and the margin, would pass the credit, or any sum 64 bits."""
        notional_e4 = more_e4 + sum(order.open * order.value_e4 for order in self.orders if order.owner is owner)
        if notional_e4 > INT64_MAX:
            return True
        credit_e4 = owner.limits[None].get("credit")
        if credit_e4 is None or not is_raised:
            return False
        rate_bp = owner.limits[None].get("margin", 10_000)
        references = {each.symbol: each.reference_e4 for each in self.instruments}
        worth_e4 = sum(abs(qty) * references[symbol] for symbol, qty in owner.positions.items())
        if max(worth_e4, rate_bp * worth_e4) > INT64_MAX:
            return True
        return notional_e4 + rate_bp * worth_e4 // 10_000 > credit_e4

    def would_cross(self, instrument: Instrument, side: int, price_e4: int) -> bool:
        """True if the other side of the lit book has any order at a price or better."""
        prices = (order.queue_e4 for order in self.placed(instrument, "lit", -side))
        return any((each - price_e4) * side <= 0 for each in prices if each is not None)

    def room_refuses(self, owner: Participant, *, is_order: bool) -> bool:
        """True if the participant's share of the room is full (section 13, 28)."""
        orders_max, ids_max = (owner.limits[None].get(name) for name in ("max_open_orders", "max_ids"))
        if is_order and orders_max is not None and sum(order.owner is owner for order in self.orders) >= orders_max:
            return True
        return ids_max is not None and len(self.ids_in_use(owner)) >= ids_max
