"""State of the market: instruments, participants, open orders, client order ids, the clock and the counters.

Orders are objects here, each known in three places: to its participant and its instrument by number (numbers rise
with acceptance, so these dictionaries are always in order of acceptance), and to its participant by client order
id. An id that was used today stays known after its order has gone, with None in the order's place.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sortedcontainers import SortedDict

from engine.limits import DAY_NS, RATE_ORDERS_MAX, Capacity
from engine.records import Phase
from engine.reference.book import Level, LitBook
from engine.reference.exposure import Holding, add_open
from engine.reference.rows import POST_ONLY, Row

#: The phases in which orders rest without matching and the indicative event tells what the uncross would give.
CALLS: Final = frozenset({Phase.OPENING_AUCTION, Phase.AUCTION, Phase.CLOSING_AUCTION})


class Indicative(NamedTuple):
    """Result of an uncross: its price (0: none), quantity, and buys less sells that accept the price."""

    price_e4: int
    qty: int
    surplus_qty: int


NOTHING_EXECUTABLE: Final = Indicative(0, 0, 0)


@dataclass(slots=True)
class Instrument:
    """``number`` is its place in order of definition, from 1. ``last_trade_e4`` is 0 before the first trade.

    ``adv_qty``: average daily volume, 0 where none is known. ``due_ns``: when a clock value ends the halt, or the call
    after it; 0 where none does. ``told`` is what the last indicative event of the present call said, and
    ``told_at_change`` the state of the book that it was looked for in (-1: not yet in this call).
    """

    number: int
    symbol: int
    tick_e4: int
    lot: int
    defined_reference_e4: int
    adv_qty: int = 0
    phase: Phase = Phase.CLOSED
    due_ns: int = 0
    told: Indicative = NOTHING_EXECUTABLE
    told_at_change: int = -1
    last_trade_e4: int = 0
    book: LitBook = field(default_factory=LitBook)
    open_orders: "dict[int, Order]" = field(default_factory=dict)

    @property
    def reference_e4(self) -> int:
        """The reference price of section 2: the last trade price, before the first trade the one as defined."""
        return self.last_trade_e4 or self.defined_reference_e4


@dataclass(slots=True)
class Limits:
    """Limits of a participant, in all or in one instrument. None: not set.

    ``order_rate``: entries, and the window in ns. It, credit, margin and the last two are per participant only.
    """

    max_order_qty: int | None = None
    max_order_value_e4: int | None = None
    max_position_qty: int | None = None
    adv_share_bps: int | None = None
    order_rate: tuple[int, int] | None = None
    credit_e4: int | None = None
    margin_bps: int | None = None
    restricted: bool = False
    max_open_orders: int | None = None
    max_ids: int | None = None


@dataclass(slots=True)
class Participant:
    """``group`` is a packed name, or minus the participant's number: a group of its own, which no name can equal.

    ``killed``: its entries are refused. Killing canceled its orders, so that it has none open then. ``limits_in`` and
    ``holdings`` are by number of the instrument. ``counted_ns``: times of the newest entries that its order rate
    counts, as many as a rate may ask for.
    """

    number: int
    name: int
    group: int
    permissions: int
    killed: bool = False
    open_notional_e4: int = 0
    limits: Limits = field(default_factory=Limits)
    limits_in: dict[int, Limits] = field(default_factory=dict)
    holdings: dict[int, Holding] = field(default_factory=dict)
    counted_ns: deque[int] = field(default_factory=lambda: deque(maxlen=RATE_ORDERS_MAX))
    open_orders: "dict[int, Order]" = field(default_factory=dict)
    ids: "dict[int, Order | None]" = field(default_factory=dict)

    def open_order(self, client_order_id: int) -> "Order | None":
        return self.ids.get(client_order_id)

    def holding(self, instrument: Instrument) -> Holding:
        """Position and open quantities in the instrument."""
        holding = self.holdings.get(instrument.number)
        if holding is None:
            holding = self.holdings[instrument.number] = Holding()
        return holding


@dataclass(slots=True, eq=False)
class Order:
    """An accepted order. ``price_e4`` is 0 for a market order; ``level`` is where it rests, None while it does not.

    ``number``: order of acceptance in the venue, from 1. ``priority``: the venue's counter when it last went to the
    back of a queue. ``id_day``: the trading day on which its client order id was taken. ``entry_reference_e4``: the
    reference price of the instrument when the order was entered. ``holding``: the participant's in the instrument.
    """

    number: int
    client_order_id: int
    id_day: int
    participant: Participant
    instrument: Instrument
    side: int
    price_e4: int
    qty: int
    leaves_qty: int
    time_in_force: int
    self_trade: int
    instructions: int
    min_qty: int
    entry_reference_e4: int
    holding: Holding
    cum_qty: int = 0
    priority: int = 0
    level: Level | None = None

    @property
    def post_only(self) -> bool:
        return bool(self.instructions & POST_ONLY)

    @property
    def notional_price_e4(self) -> int:
        """Price for value and notional: its limit, without one the reference price on entry."""
        return self.price_e4 or self.entry_reference_e4


@dataclass(slots=True)
class Venue:
    """The whole state. The counters hold the last value given out.

    ``trading_day``: the UTC date of the clock, as days since 1970-01-01. ``calls``: the instruments in a call, by
    number. ``extension``: the further row that the next row uses up.
    """

    capacity: Capacity
    now_ns: int = 0
    trading_day: int = 0
    instruments: list[Instrument] = field(default_factory=list)
    participants: list[Participant] = field(default_factory=list)
    instrument_by_symbol: dict[int, Instrument] = field(default_factory=dict)
    participant_by_name: dict[int, Participant] = field(default_factory=dict)
    open_order_count: int = 0
    id_count: int = 0
    order_number: int = 0
    trade_number: int = 0
    priority: int = 0
    calls: "SortedDict[int, Instrument]" = field(default_factory=SortedDict)
    extension: Row | None = None

    def instrument(self, number: int) -> Instrument | None:
        return self.instruments[number - 1] if 0 < number <= len(self.instruments) else None

    def participant(self, number: int) -> Participant | None:
        return self.participants[number - 1] if 0 < number <= len(self.participants) else None

    def held_value_e4(self, participant: Participant) -> int:
        """The sum over instruments of absolute position times reference price."""
        return sum(
            abs(holding.position_qty) * self.instruments[number - 1].reference_e4
            for number, holding in participant.holdings.items()
        )

    def set_clock(self, now_ns: int) -> None:
        """Moves the clock. On another trading day, ids that no open order bears are free again (section 13, 6)."""
        self.now_ns = now_ns
        if self.trading_day == now_ns // DAY_NS:
            return
        self.trading_day = now_ns // DAY_NS
        for participant in self.participants:
            participant.ids = {order.client_order_id: order for order in participant.open_orders.values()}
        self.id_count = self.open_order_count

    def set_phase(self, instrument: Instrument, phase: Phase, due_ns: int = 0) -> None:
        """Puts the instrument in a phase, which a clock value at or after ``due_ns`` ends (0: none does).

        A phase that is a call begins a new one, in which no indicative event has told anything.
        """
        instrument.phase = phase
        instrument.due_ns = due_ns
        if phase in CALLS:
            instrument.told, instrument.told_at_change = NOTHING_EXECUTABLE, -1
            self.calls[instrument.number] = instrument
        else:
            self.calls.pop(instrument.number, None)

    def accept(self, row: Row, participant: Participant, instrument: Instrument) -> Order:
        """A new open order out of an ``enter``, with the next number. It does not rest yet."""
        self.order_number += 1
        order = Order(
            number=self.order_number,
            client_order_id=row.client_order_id,
            id_day=self.trading_day,
            participant=participant,
            instrument=instrument,
            side=row.side,
            price_e4=row.price_e4,
            qty=row.qty,
            leaves_qty=row.qty,
            time_in_force=row.time_in_force,
            self_trade=row.self_trade,
            instructions=row.instructions,
            min_qty=row.min_qty,
            entry_reference_e4=instrument.reference_e4,
            holding=participant.holding(instrument),
        )
        add_open(order, order.leaves_qty)
        participant.ids[order.client_order_id] = order
        participant.open_orders[order.number] = order
        instrument.open_orders[order.number] = order
        self.open_order_count += 1
        self.id_count += 1
        return order

    def rest(self, order: Order) -> None:
        """Puts the order at the back of the queue at its price."""
        self.priority += 1
        order.priority = self.priority
        order.instrument.book.add(order)

    def rename(self, order: Order, new_client_order_id: int) -> None:
        """Gives the order the id that a ``replace`` brought. The old one stays used, if it was taken today."""
        self._give_up_id(order)
        order.client_order_id = new_client_order_id
        order.id_day = self.trading_day
        order.participant.ids[new_client_order_id] = order
        self.id_count += 1

    def close(self, order: Order) -> None:
        """Forgets an order that is in no queue, with what it may still have open."""
        add_open(order, -order.leaves_qty)
        self._give_up_id(order)
        del order.participant.open_orders[order.number]
        del order.instrument.open_orders[order.number]
        self.open_order_count -= 1

    def _give_up_id(self, order: Order) -> None:
        ids = order.participant.ids
        if order.id_day == self.trading_day:
            ids[order.client_order_id] = None
        else:
            del ids[order.client_order_id]
            self.id_count -= 1
