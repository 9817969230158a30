"""Entries, cancels, replaces and crosses (sections 3, 4 and 8)."""

from types import SimpleNamespace

from tests.model.checks import Checks
from tests.model.records import Instrument, Order, Participant


class Entry(Checks):
    """The commands of participants. Of those that may be delayed, the owner and the instrument are named on arrival."""

    def take_enter(self, command: SimpleNamespace, owner: Participant | None, instrument: Instrument | None) -> None:
        reason = self.entry_refuses(command, owner, instrument)
        if owner and reason != "order_rate":
            owner.counted_ns.append(self.now_ns)
        if reason:
            return self.tell(f"rejected {command.id} reason={reason}")
        self.accepted += 1
        order = Order(
            owner=owner,
            instrument=instrument,
            id=command.id,
            side=command.side,
            open=command.qty,
            price_e4=command.price,
            value_e4=self.value_price_e4(instrument, command.price, command.stop),
            accepted=self.accepted,
            priority=self.next_priority(),
            tif=command.tif or "day",
            stp=command.stp or "cancel_newest",
            is_midpoint=command.book == "midpoint",
            hidden=bool(command.hidden),
            post_only=bool(command.post_only),
            stop_e4=command.stop,
            display=command.display,
            min_qty=command.min_qty,
            until_ns=command.until,
            peg=command.peg,
            offset_e4=(instrument.tick_e4 if command.peg == "market" else 0)
            if command.offset is None
            else command.offset,
        )
        order.show()
        owner.ids.add(order.id)
        self.orders.append(order)
        self.touched.add(instrument)
        self.tell(f"accepted {order.id}")
        return self.place(order)

    def place(self, order: Order) -> None:
        """Put an order that has a new time where it belongs; it runs as incoming if it may trade now."""
        phase = order.instrument.phase
        if order.stop_e4 is not None:
            order.place = "dormant"
        elif order.peg:
            order.place = "unpriced"
        elif order.place == "aside" or (order.place == "new" and order.tif == "closing" and phase != "closing_auction"):
            order.place = "aside"
        elif phase == "continuous":
            self.run(order)
        else:
            order.place = "lit"

    def entry_refuses(
        self, command: SimpleNamespace, owner: Participant | None, instrument: Instrument | None
    ) -> str | None:
        """The first reason of section 8, in a row as written."""
        if not owner:
            return "unknown_participant"
        if not instrument:
            return "unknown_instrument"
        if owner.is_killed:
            return "killed"
        price_e4, stop_e4, is_midpoint = command.price, command.stop, command.book == "midpoint"
        needs_continuous = bool(command.post_only) or is_midpoint
        reason = self.phase_refuses(
            instrument, command.tif or "day", needs_continuous=needs_continuous
        ) or self.numbers_refuse(instrument, command.qty, price_e4, stop_e4)
        if reason:
            return reason
        if not self.fits(command, instrument):
            return "invalid_instruction"
        if command.id in self.ids_in_use(owner):
            return "duplicate_id"
        if self.is_restricted(owner, instrument):
            return "restricted"
        if price_e4 is None and not command.peg and not is_midpoint and not owner.may_market:
            return "market_not_permitted"
        if command.stp == "none" and not owner.may_trade_itself:
            return "stp_not_permitted"
        value_e4 = self.value_price_e4(instrument, price_e4, stop_e4)
        reason = self.limits_refuse(owner, instrument, command.side, command.qty, price_e4, stop_e4, value_e4)
        if reason:
            return reason
        if command.post_only and self.would_cross(instrument, command.side, price_e4):
            return "would_cross"
        return "capacity" if self.room_refuses(owner, is_order=True) else None

    def take_cancel(self, command: SimpleNamespace, owner: Participant | None, _: Instrument | None) -> None:
        order = owner and self.open_order(owner, command.id)
        if not order:
            return self.tell(f"cancel_rejected {command.id} reason=unknown_order")
        if not command.qty:
            return self.cancel_order(order, "user")
        left = command.qty - order.executed
        if command.qty < 0 or left >= order.open:
            return self.tell(f"cancel_rejected {command.id} reason=invalid_qty")
        if command.qty % order.instrument.lot:
            return self.tell(f"cancel_rejected {command.id} reason=invalid_lot")
        return self.cancel_part(order, order.open - max(left, 0), "user")

    def take_replace(self, command: SimpleNamespace, owner: Participant | None, _: Instrument | None) -> None:
        order = owner and self.open_order(owner, command.id)
        reason = self.replace_refuses(command, order) if order else None
        if owner and reason != "order_rate":
            owner.counted_ns.append(self.now_ns)
        if not order:
            return self.tell(f"cancel_rejected {command.id} reason=unknown_order")
        if reason == "replaced":
            return self.cancel_order(order, "replaced")
        if reason:
            return self.tell(f"rejected {command.new_id} reason={reason}")
        keeps_priority = self.keeps_priority(command, order)
        qty = command.qty - order.executed
        self.tell(f"replaced {order.id} {command.new_id} qty={qty}")
        self.touched.add(order.instrument)
        owner.ids.add(command.new_id)
        order.value_e4 = self.value_after_e4(command, order)
        order.id, order.open, order.price_e4 = command.new_id, qty, command.price
        order.display, order.stop_e4 = command.display or order.display, command.stop or order.stop_e4
        if keeps_priority:
            order.shown = min(order.shown, order.open)
            return None
        order.priority = self.next_priority()
        order.show()
        order.peg_e4 = None
        return self.place(order)

    def value_after_e4(self, command: SimpleNamespace, order: Order) -> int:
        """Price by which an order counts once it is replaced: without a price the one that it has, for its life."""
        stop_e4 = command.stop or order.stop_e4
        if command.price is None and stop_e4 is None:
            return order.value_e4
        return self.value_price_e4(order.instrument, command.price, stop_e4)

    @staticmethod
    def keeps_priority(command: SimpleNamespace, order: Order) -> bool:
        """True if price, display and stop stay and the open quantity does not grow."""
        return (
            command.price == order.price_e4
            and command.display in (None, order.display)
            and command.stop in (None, order.stop_e4)
            and command.qty - order.executed <= order.open
        )

    def replace_refuses(self, command: SimpleNamespace, order: Order) -> str | None:
        """The first reason of a refusal; ``replaced`` where nothing is left open, which is none."""
        owner, instrument = order.owner, order.instrument
        reason = self.phase_refuses(
            instrument, order.tif, needs_continuous=order.post_only or order.is_midpoint
        ) or self.numbers_refuse(instrument, command.qty, command.price, command.stop)
        if reason:
            return reason
        if (command.price is None) != (order.price_e4 is None):
            return "invalid_instruction"
        if (command.display is not None and not order.display) or (command.stop is not None and order.stop_e4 is None):
            return "invalid_instruction"
        display = order.display if command.display is None else command.display
        if display is not None and not self.display_fits(instrument, display, command.qty):
            return "invalid_instruction"
        if command.new_id in self.ids_in_use(owner):
            return "duplicate_id"
        if command.qty <= order.executed:
            return "replaced"
        if self.is_restricted(owner, instrument):
            return "restricted"
        stop_e4, value_e4 = command.stop or order.stop_e4, self.value_after_e4(command, order)
        reason = self.limits_refuse(
            owner, instrument, order.side, command.qty, command.price, stop_e4, value_e4, replaced=order
        )
        if reason:
            return reason
        is_judged_again = order.post_only and not self.keeps_priority(command, order)
        if is_judged_again and self.would_cross(instrument, order.side, command.price):
            return "would_cross"
        return "capacity" if self.room_refuses(owner, is_order=False) else None

    def take_cross(self, command: SimpleNamespace) -> None:
        """A trade agreed outside the books: positions move, the last trade price does not."""
        reason = self.cross_refuses(command)
        if reason:
            return self.tell(f"rejected {command.id} reason={reason}")
        instrument = self.instrument(command.symbol)
        self.participant(command.name).ids.add(command.id)
        self.accepted += 1
        self.tell(f"accepted {command.id}")
        self.tell_trade(instrument, command.qty, command.price, f"buy={command.buyer} sell={command.seller}")
        self.move_position(self.participant(command.buyer), instrument, command.qty)
        self.move_position(self.participant(command.seller), instrument, -command.qty)
        return self.touched.add(instrument)

    def cross_refuses(self, command: SimpleNamespace) -> str | None:
        """The first reason in the order of section 13, 35."""
        parties = [self.participant(name) for name in (command.name, command.buyer, command.seller)]
        instrument = self.instrument(command.symbol)
        if not all(parties):
            return "unknown_participant"
        if not instrument:
            return "unknown_instrument"
        if any(party.is_killed for party in parties):
            return "killed"
        reason = self.phase_refuses(instrument, "day", needs_continuous=True) or self.numbers_refuse(
            instrument, command.qty, command.price
        )
        if reason:
            return reason
        reporter, buyer, seller = parties
        if buyer is seller:
            return "invalid_instruction"
        if command.id in self.ids_in_use(reporter):
            return "duplicate_id"
        if any(self.is_restricted(party, instrument) for party in (buyer, seller)):
            return "restricted"
        quotes = ((side, self.best_displayed_e4(instrument, side)) for side in (1, -1))
        if any(quote_e4 is not None and (command.price - quote_e4) * side < 0 for side, quote_e4 in quotes):
            return "price_band"
        if any(
            self.is_position_passed(party, instrument, side, command.qty) for party, side in ((buyer, 1), (seller, -1))
        ):
            return "position_limit"
        if any(self.is_credit_passed(party, command.qty * command.price) for party in (buyer, seller)):
            return "credit"
        return "capacity" if self.room_refuses(reporter, is_order=False) else None
