"""The venue: all instruments and participants, client order ids, the clock and the counters, and what moves them."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sortedcontainers import SortedDict

from engine.bounds import DAY_NS
from engine.capacity import Capacity
from engine.records import Peg, Phase
from engine.reference.codes import CLOSING, MIDPOINT
from engine.reference.exposure import add_open
from engine.reference.rows import DISPLAY, OFFSET, PEG, STOP, UNTIL, Row
from engine.reference.state import NOTHING_PAIRED, Holding, Index, Instrument, Member, MidpointBook, Order, Participant

_WITH_TERMS: Final = STOP | UNTIL | DISPLAY | PEG

#: The phases in which orders rest without matching and the indicative event tells what the uncross would give.
CALLS: Final = frozenset({Phase.OPENING_AUCTION, Phase.AUCTION, Phase.CLOSING_AUCTION})


def slices_of(qty: int, display_qty: int) -> int:
    """Number of next parts that an iceberg of a quantity can show; 0 of an order that is none."""
    return (qty - 1) // display_qty if display_qty else 0


def _offset_of(row: Row, instrument: Instrument) -> int:
    """Distance of an entered peg from its reference: from the other side's best one tick, where it does not say."""
    if row.instructions & OFFSET:
        return row.offset_e4
    return instrument.tick_e4 if row.peg == Peg.MARKET else 0


def _midpoint_book(order: Order) -> MidpointBook:
    """The midpoint book of an order that is in one."""
    book = order.instrument.midpoint
    if book is None:
        raise ValueError(f"order {order.order_number} is of a midpoint book that its instrument does not have")
    return book


class Schedule(NamedTuple):
    """A phase that an instrument by number (0: each) takes by the first clock value at or after a time."""

    due_ns: int
    instrument: int
    phase: Phase


class Cause(NamedTuple):
    """Cause of a halt or close by a breaker: ``value_e4`` was more than ``bps`` from ``from_e4``, of an index that or
    more below it.

    ``event``: place of its event in the batch. ``of_index``: its name, 0 for the volatility breaker, whose ``from_e4``
    was in force ``window_s`` before.
    """

    event: int
    of_index: int
    value_e4: int
    from_e4: int
    bps: int
    window_s: int


class Dropped(NamedTuple):
    """A schedule that found an instrument halted, so that it had no effect there. ``instrument``: its number."""

    due_ns: int
    instrument: int
    phase: Phase


@dataclass(slots=True)
class Witness:
    """An account of what happens within commands that are applied, for questions about them.

    ``causes``: of halts and closes by breakers. ``dropped``: schedules without an effect, in order. ``effects``: of
    commands that waited, each with its sequence number and the places of its first event and of the one behind its
    last. ``before_effect``: called with the number of each just before its effect.
    """

    causes: list[Cause] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    effects: list[tuple[int, int, int]] = field(default_factory=list)
    before_effect: Callable[[int, "Venue"], None] | None = None


class Waiting(NamedTuple):
    """A command that waits for its effect until it is due, and its sequence number."""

    seq: int
    due_ns: int
    row: Row


@dataclass(slots=True)
class Venue:
    """The whole state. The counters hold the last value given out.

    ``trading_day``: the UTC date of the clock less ``day_start_ns``, as days since 1970-01-01. ``waiting``: commands
    that wait for their effect, since there is an entry delay, ``speed_bump_ns`` (0: none). ``calls``: the instruments
    in a call, by number. ``gathered``: members that wait for the index ``gathered_name``. ``continuation``: the
    continuation row (EXTEND) that the next row uses up. ``slices``: those of all open icebergs. ``expiries``: orders
    that end at a time, by it and their number. ``epoch``: of the primary that reigns; 0 before the first. ``witness``:
    where somebody asks what happens within commands. ``peg_count``: open pegs; ``peg_prices``: how many prices pegs
    took in command ``peg_seq``.
    """

    capacity: Capacity
    now_ns: int = 0
    trading_day: int = 0
    instruments: list[Instrument] = field(default_factory=list)
    participants: list[Participant] = field(default_factory=list)
    instrument_by_symbol: dict[int, Instrument] = field(default_factory=dict)
    instrument_by_number: dict[int, Instrument] = field(default_factory=dict)
    participant_by_name: dict[int, Participant] = field(default_factory=dict)
    participant_by_number: dict[int, Participant] = field(default_factory=dict)
    open_order_count: int = 0
    slices: int = 0
    expiries: SortedDict[tuple[int, int], Order] = field(default_factory=SortedDict)
    id_count: int = 0
    last_order_number: int = 0
    last_trade_number: int = 0
    priority: int = 0
    calls: "SortedDict[int, Instrument]" = field(default_factory=SortedDict)
    continuation: Row | None = None
    schedules: list[Schedule] = field(default_factory=list)
    indices: list[Index] = field(default_factory=list)
    gathered: list[Member] = field(default_factory=list)
    gathered_name: int = 0
    epoch: int = 0
    witness: Witness | None = None
    peg_count: int = 0
    peg_prices: int = 0
    peg_seq: int = 0
    day_start_ns: int = 0
    speed_bump_ns: int = 0
    waiting: deque[Waiting] = field(default_factory=deque)

    def begin_part(self) -> None:
        """Part of a command that is many begins: pegs may take as many prices as in a command of its own."""
        self.peg_seq = 0

    def day_of(self, time_ns: int) -> int:
        """The trading day that a time is in."""
        return (time_ns - self.day_start_ns) // DAY_NS

    def add_instrument(self, instrument: Instrument) -> None:
        """Know an instrument that is defined after all others."""
        self.instruments.append(instrument)
        self.instrument_by_symbol[instrument.symbol] = self.instrument_by_number[instrument.number] = instrument

    def add_participant(self, participant: Participant) -> None:
        """Know a participant that is defined after all others."""
        self.participants.append(participant)
        self.participant_by_name[participant.name] = self.participant_by_number[participant.number] = participant

    def instrument(self, number: int) -> Instrument | None:
        return self.instrument_by_number.get(number)

    def participant(self, number: int) -> Participant | None:
        return self.participant_by_number.get(number)

    def held_value_e4(self, participant: Participant) -> int:
        """The sum over instruments of absolute position times reference price."""
        return sum(
            abs(holding.position_qty) * self.instruments[number - 1].reference_e4
            for number, holding in participant.holdings.items()
        )

    def set_clock(self, now_ns: int) -> None:
        """Move the clock. On another trading day, ids without an open order are free again (section 13, 6)."""
        self.now_ns = now_ns
        if self.trading_day == self.day_of(now_ns):
            return
        self.trading_day = self.day_of(now_ns)
        for participant in self.participants:
            participant.ids = {order.client_order_id: order for order in participant.open_orders.values()}
        self.id_count = self.open_order_count

    def set_phase(self, instrument: Instrument, phase: Phase, due_ns: int = 0) -> None:
        """Put the instrument in a phase, which a clock value at or after ``due_ns`` ends (0: none does).

        A phase that is a call begins a new one, in which no indicative event has told anything.
        """
        instrument.phase, instrument.stirred = phase, True
        instrument.due_ns = due_ns
        instrument.book.depth = instrument.book.counted() if phase in CALLS else None
        if phase in CALLS:
            instrument.published, instrument.told_at_change = NOTHING_PAIRED, -1
            self.calls[instrument.number] = instrument
        else:
            self.calls.pop(instrument.number, None)

    def accept(self, row: Row, holding: Holding) -> Order:
        """A new open order out of an ``enter``, with the next order number. It does not rest yet."""
        participant, instrument = holding.participant, holding.instrument
        number = self.last_order_number = self.last_order_number + 1
        client_order_id, _, price_e4, qty, min_qty, _, _, _, _, side, time, self_trade, instructions, book, _ = row
        order = Order(
            number,
            client_order_id,
            self.trading_day,
            participant,
            instrument,
            side,
            price_e4,
            qty,
            qty,  # all of it is open
            time,
            self_trade,
            instructions,
            min_qty,
            instrument.reference_e4,
            holding,
        )
        if book == MIDPOINT:
            order.in_midpoint = True
        if time == CLOSING and instrument.phase != Phase.CLOSING_AUCTION:
            order.aside = True
        if instructions & _WITH_TERMS:
            self._set_terms(order, row)
        add_open(order, qty)
        participant.ids[client_order_id] = order
        participant.open_orders[number] = order
        self.open_order_count += 1
        self.id_count += 1
        return order

    def _set_terms(self, order: Order, row: Row) -> None:
        """Set the terms that only some orders have."""
        if row.instructions & STOP:
            order.stop_e4 = order.value_stop_e4 = row.stop_e4
        if row.instructions & UNTIL:
            order.until_ns = row.until_ns
            self.note_expiry(order)
        if row.instructions & DISPLAY:
            self.set_display(order, row.display_qty)
        if row.instructions & PEG:
            order.peg, order.offset_e4 = row.peg, _offset_of(row, order.instrument)
            order.instrument.add_peg(order)
            self.peg_count += 1

    def note_expiry(self, order: Order) -> None:
        """Remember when an open order ends, if it ends at a time of its own."""
        if order.until_ns:
            self.expiries[order.until_ns, order.order_number] = order

    def expired(self) -> Order | None:
        """The order that the clock in force ends next: by its time, then in order of acceptance."""
        first: Order | None = self.expiries.peekitem(0)[1] if self.expiries else None
        return first if first is not None and first.until_ns <= self.now_ns else None

    def set_display(self, order: Order, display_qty: int) -> None:
        """Set how much an iceberg shows at most (0: it is none), and the room that its quantity then takes."""
        order.display_qty = display_qty
        self.slices -= order.slices
        order.slices = slices_of(order.qty, display_qty)
        self.slices += order.slices

    def replenish(self, order: Order) -> None:
        """Show the next part of an iceberg, behind all others at its price."""
        self.priority += 1
        order.priority = self.priority
        order.instrument.book.replenish(order)
        order.show()

    def rest(self, order: Order) -> None:
        """Put the order at the back of the queue at its price; a dormant one, of those with its stop; or aside.

        A peg without a price is in no queue.
        """
        if order.peg and not order.peg_e4:
            return
        self.priority += 1
        order.priority = self.priority
        if order.aside:
            order.instrument.aside[order.order_number] = order
        elif order.in_midpoint:
            _midpoint_book(order).add(order)
            order.instrument.stirred = True
        elif order.stop_e4:
            order.instrument.stops.add(order)
            order.instrument.stirred = True
        else:
            if order.display_qty:
                order.show()
            order.instrument.book.add(order)

    def withdraw(self, order: Order) -> None:
        """Take the order out of its queue, if it is in one."""
        if order.level is not None:
            order.instrument.book.remove(order)
            order.peg_e4 = 0
        elif order.aside:
            del order.instrument.aside[order.order_number]
        elif order.in_midpoint:
            if order in _midpoint_book(order):
                _midpoint_book(order).remove(order)
        elif order.dormant:
            order.instrument.stops.remove(order)

    def rename(self, order: Order, new_client_order_id: int) -> None:
        """Give the order the id of a ``replace``. The old id stays used, if it was taken today."""
        self._give_up_id(order)
        order.client_order_id = new_client_order_id
        order.id_day = self.trading_day
        order.participant.ids[new_client_order_id] = order
        self.id_count += 1

    def close(self, order: Order) -> None:
        """Remove an order that is in no queue, with any open quantity."""
        if order.leaves_qty:
            add_open(order, -order.leaves_qty)
        self._give_up_id(order)
        number = order.order_number
        del order.participant.open_orders[number]
        self.open_order_count -= 1
        self.slices -= order.slices
        if order.peg:
            order.instrument.remove_peg(order)
            self.peg_count -= 1
        if order.until_ns:
            del self.expiries[order.until_ns, number]

    def _give_up_id(self, order: Order) -> None:
        ids = order.participant.ids
        if order.id_day == self.trading_day:
            ids[order.client_order_id] = None
        else:
            del ids[order.client_order_id]
            self.id_count -= 1
