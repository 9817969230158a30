"""Changes of phase, halts and their ends (sections 6 and 9)."""

from tests.model.auctions import Auctions
from tests.model.records import Instrument
from tests.model.words import MINUTE_NS


class Phases(Auctions):
    """Phases of the instruments."""

    def change_phase(
        self, instrument: Instrument, phase: str, event: str | None = None, *, uncross: bool = True
    ) -> None:
        """Change a phase: the event, the uncross, cancels, then pegs lose their price. The present one is answered."""
        before = instrument.phase
        self.touched.add(instrument)
        self.tell(event or f"phase {instrument.symbol} {phase}")
        if phase == before:
            return
        instrument.phase = phase
        instrument.timer_ns = None
        instrument.told = (None, 0, 0)
        if phase == "closing_auction":
            for order in self.placed(instrument, "aside"):
                order.place = "lit"
        if uncross and (phase == "continuous" or (before, phase) == ("closing_auction", "closed")):
            self.uncross(instrument)
        if phase == "closed":
            for order in self.orders_of(instrument):
                if order.tif in ("day", "opening", "closing"):
                    self.cancel_order(order, "end_of_day")
        if phase == "halted":
            self.cancel_on_halt(instrument)
        if before == "continuous":
            for order in self.orders_of(instrument):
                if order.peg_e4 is not None:
                    order.peg_e4 = None
                    order.place = "unpriced"
                    self.tell(f"repriced {order.id} @ none")

    def halt(self, instrument: Instrument, halt_ns: int | None, reason: str) -> None:
        """Halt an instrument for a time, None for no end; of two halts the later end counts."""
        ends_ns = None if halt_ns is None else self.now_ns + halt_ns
        was_halted, before = instrument.phase == "halted", instrument.timer_ns
        self.change_phase(instrument, "halted", f"halted {instrument.symbol} reason={reason}")
        if was_halted:
            ends_ns = None if ends_ns is None or before is None else max(ends_ns, before)
            self.cancel_on_halt(instrument)
        instrument.timer_ns = ends_ns

    def cancel_on_halt(self, instrument: Instrument) -> None:
        if instrument.cancel_on_halt:
            for order in self.orders_of(instrument):
                self.cancel_order(order, "halt")

    def end_halt(self, instrument: Instrument) -> None:
        """Begin the call after a halt; one minute later it ends."""
        self.change_phase(instrument, "auction")
        instrument.timer_ns = self.now_ns + MINUTE_NS
