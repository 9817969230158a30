"""A market followed by its commands and events alone, and complaints about what does not add up.

It knows no engine: it keeps the orders that the events speak of, each with a time of its own, and says what is wrong:

- order numbers and trade numbers are dense, from 1,
- what was entered of an order is what was executed, canceled and is still open,
- of orders of equal rank none trades before an earlier one, nor before one of a better rank: in continuous trading, in
  an uncross and in the midpoint book,
- a continuous trade is at the resting order's price, one of the midpoint book at the midpoint of the displayed quotes,
  and each within the limits of both orders,
- the book of an instrument in continuous trading is not crossed after any command,
- positions are the sum of trades and come to zero, and the engine has the same open orders, in the same order.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from engine.records import Book, CommandKind, EventKind, Instruction, Phase, Side, TimeInForce

Rows = NDArray[Any]

#: Places of an order. Those that wait for an election, for the closing call or for a price are in no book, nor are pegs
#: with a new price until it is their turn to run.
LIT, MIDPOINT, DORMANT, ASIDE, UNPRICED, COMING = "lit", "midpoint", "dormant", "aside", "unpriced", "coming"

#: Events of orders that run.
_OF_RUNS = (EventKind.TRADE, EventKind.CANCELED, EventKind.REPLENISHED)


class Complaint(Exception):
    """A promise that is broken, with the number of the command."""


class Views(Protocol):
    """State of either engine as it is shown."""

    def open_orders(self) -> Rows: ...

    def positions(self) -> Rows: ...


@dataclass(slots=True)
class Order:
    """An order as the events told it. ``price_e4`` 0: any; of a peg it moves. A greater ``time`` trades later."""

    number: int
    order_id: int
    participant: int
    instrument: int
    side: int
    price_e4: int
    limit_e4: int
    pegged: bool
    display_qty: int
    stop_e4: int
    hidden: bool
    where: str
    time: int
    open_qty: int
    executed_qty: int = 0

    @property
    def rank(self) -> tuple[bool, int, bool, int]:
        """The lower, the earlier it trades in the lit book."""
        return self.price_e4 != 0, -self.side * self.price_e4, self.hidden, self.time

    def accepts(self, price_e4: int) -> bool:
        """True if it may trade at a price."""
        return self.price_e4 == 0 or self.side * (self.price_e4 - price_e4) >= 0


class Bookkeeper:
    """The books of a market, out of its commands and events. Any method raises Complaint."""

    def __init__(self) -> None:
        self.trades = 0
        self.checked: dict[str, int] = defaultdict(int)
        self._orders = 0
        self._time = 0
        self._by_id: dict[tuple[int, int], Order] = {}
        self._of: dict[tuple[int, int], dict[int, Order]] = defaultdict(dict)
        self._phases: dict[int, int] = {}
        self._positions: dict[tuple[int, int], int] = defaultdict(int)
        self._seq = 0
        self._uncrossed = 0
        self._coming: list[Order] = []
        self._running: Order | None = None
        self._kind = 0

    def add(self, rows: Rows, events: Rows, first_seq: int) -> None:
        """Follow a block of commands, numbered from ``first_seq``, with all events that it caused."""
        names = ("client_order_id", "contra_client_order_id", "price_e4", "qty", "order_number", "participant")
        names += ("contra_participant", "instrument", "kind", "side", "phase")
        columns = [events[name].tolist() for name in names]
        touched: set[int] = set()
        for seq, *values in zip(events["seq"].tolist(), *columns, strict=True):
            if seq != self._seq:
                self._settle(touched)
                self._seq = seq
            self._event(rows[seq - first_seq], *values)
            touched.add(values[7])
        self._settle(touched)

    def compare(self, engine: Views) -> None:
        """Hold the state of an engine against the books."""
        shown = engine.open_orders()
        names = ("participant", "client_order_id", "order_number", "leaves_qty", "cum_qty", "side", "price_e4")
        queues: dict[tuple[int, int], list[int]] = defaultdict(list)
        for *key, number, open_qty, executed_qty, side, price_e4, instrument in zip(
            *(shown[name].tolist() for name in (*names, "instrument")), strict=True
        ):
            order = self._by_id.get((key[0], key[1]))
            told = None if order is None else (order.number, order.open_qty, order.executed_qty, order.limit_e4)
            state = number, open_qty, executed_qty, price_e4
            self._check(told == state, "open orders", f"{order} is {state} in the engine")
            if order is not None and order.where == LIT:
                queues[instrument, side].append(number)
        self._check(len(shown) == len(self._by_id), "open orders", f"{len(shown)} are open, {len(self._by_id)} told of")
        for key, orders in self._of.items():
            mine = [each.number for each in sorted(orders.values(), key=lambda each: each.rank) if each.where == LIT]
            theirs = queues[key]
            self._check(mine == theirs, "queue", f"instrument, side {key}: {theirs}, by the events {mine}")
        self._compare_positions(engine.positions())

    def _compare_positions(self, shown: Rows) -> None:
        wanted: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
        for key, position_qty in self._positions.items():
            wanted[key][0] = position_qty
        for order in self._by_id.values():
            wanted[order.participant, order.instrument][1 if order.side == Side.BUY else 2] += order.open_qty
        names = ("position_qty", "open_buy_qty", "open_sell_qty")
        keys = zip(shown["participant"].tolist(), shown["instrument"].tolist(), strict=True)
        got = dict(zip(keys, map(list, zip(*(shown[name].tolist() for name in names), strict=True)), strict=True))
        self._check({key: each for key, each in wanted.items() if any(each)} == got, "positions", "they differ")
        for instrument in set(shown["instrument"].tolist()):
            total_qty = int(shown["position_qty"][shown["instrument"] == instrument].sum())
            self._check(total_qty == 0, "positions", f"those of instrument {instrument} sum to {total_qty}")

    def _check(self, kept: bool, promise: str, broken: str) -> None:
        self.checked[promise] += 1
        if not kept:
            raise Complaint(f"command {self._seq}, {promise}: {broken}")

    def _settle(self, touched: set[int]) -> None:
        """Look at the books of the instruments that a command touched."""
        self._uncrossed = 0
        self._have_run()
        for instrument in touched:
            if self._phases.get(instrument) == Phase.CONTINUOUS:
                bid, offer = (self._first(self._lit(instrument, side)) for side in Side)
                if bid is not None and offer is not None:
                    crossed = not bid.price_e4 or not offer.price_e4 or bid.price_e4 >= offer.price_e4
                    self._check(not crossed, "crossed", f"{bid} and {offer} rest in continuous trading")
        touched.clear()

    def _lit(self, instrument: int, side: int) -> Iterator[Order]:
        return (each for each in self._of[instrument, side].values() if each.where == LIT)

    def _first(self, orders: Iterable[Order]) -> Order | None:
        return min(orders, key=lambda each: each.rank, default=None)

    def _next_time(self) -> int:
        self._time += 1
        return self._time

    def _find(self, participant: int, order_id: int) -> Order:
        order = self._by_id.get((participant, order_id))
        self._check(order is not None, "known", f"participant {participant} has no open order {order_id}")
        assert order is not None
        return order

    def _event(
        self,
        row: Any,
        order_id: int,
        contra_id: int,
        price_e4: int,
        qty: int,
        number: int,
        participant: int,
        contra: int,
        instrument: int,
        kind: int,
        side: int,
        phase: int,
    ) -> None:
        if kind not in _OF_RUNS and not kind == self._kind == EventKind.REPRICED:
            self._have_run()
        self._kind = kind
        match kind:
            case EventKind.ACCEPTED:
                self._accepted(row, order_id, qty, number, participant, instrument, side)
            case EventKind.TRADE:
                self.trades += 1
                self._check(number == self.trades, "trade numbers", f"{number} follows {self.trades - 1}")
                buyer, seller = (participant, contra) if side <= 0 else (contra, participant)
                self._positions[buyer, instrument] += qty
                self._positions[seller, instrument] -= qty
                if row["kind"] != CommandKind.CROSS:
                    pair = self._find(participant, order_id), self._find(contra, contra_id)
                    self._traded(pair, price_e4, qty, side)
            case EventKind.CANCELED:
                self._take(self._find(participant, order_id), qty)
            case EventKind.REPLACED:
                self._replaced(row, self._find(participant, order_id), contra_id, qty)
            case EventKind.TRIGGERED:
                order = self._find(participant, order_id)
                self._check(order.where == DORMANT, "known", f"{order} was elected and is not dormant")
                order.where, order.time, order.stop_e4 = LIT, self._next_time(), 0
            case EventKind.REPLENISHED:
                order = self._find(participant, order_id)
                shown_qty = min(order.display_qty, order.open_qty)
                self._check(qty == shown_qty, "replenished", f"{order} shows {qty}")
                if self._uncrossed != instrument:
                    order.time = self._next_time()
            case EventKind.REPRICED:
                order = self._find(participant, order_id)
                self._check(order.pegged, "known", f"{order} is no peg")
                order.price_e4, order.time = price_e4, self._next_time()
                order.where = COMING if price_e4 else UNPRICED
                self._coming += [order] if price_e4 else []
            case EventKind.PHASE | EventKind.HALTED:
                self._phases[instrument] = phase if kind == EventKind.PHASE else Phase.HALTED
                for order in [*self._of[instrument, 1].values(), *self._of[instrument, -1].values()]:
                    if order.where == ASIDE and self._phases[instrument] == Phase.CLOSING_AUCTION:
                        order.where = LIT
                    elif order.pegged and self._phases[instrument] != Phase.CONTINUOUS:
                        order.where = UNPRICED

    def _accepted(
        self, row: Any, order_id: int, qty: int, number: int, participant: int, instrument: int, side: int
    ) -> None:
        self._orders += 1
        self._check(number == self._orders, "order numbers", f"{number} follows {self._orders - 1}")
        if row["kind"] == CommandKind.CROSS:
            return
        bits = int(row["instructions"])
        where = MIDPOINT if row["book"] == Book.MIDPOINT else DORMANT if bits & Instruction.STOP else LIT
        if row["time_in_force"] == TimeInForce.CLOSING and self._phases.get(instrument) != Phase.CLOSING_AUCTION:
            where = ASIDE
        if bits & Instruction.PEG:
            where = UNPRICED
        order = Order(
            number,
            order_id,
            participant,
            instrument,
            side,
            int(row["price_e4"]),
            int(row["price_e4"]),
            bool(bits & Instruction.PEG),
            int(row["display_qty"]) if bits & Instruction.DISPLAY else 0,
            int(row["stop_e4"]) if bits & Instruction.STOP else 0,
            bool(bits & (Instruction.HIDDEN | Instruction.PEG)),
            where,
            self._next_time(),
            qty,
        )
        self._check((participant, order_id) not in self._by_id, "known", f"{order_id} is borne by an open order")
        self._check(qty == row["qty"], "entered", f"{qty} of {row['qty']} were accepted")
        self._by_id[participant, order_id] = self._of[instrument, side][number] = order

    def _replaced(self, row: Any, order: Order, new_id: int, open_qty: int) -> None:
        wanted_qty = int(row["qty"]) - order.executed_qty
        self._check(open_qty == wanted_qty, "entered", f"{order} is replaced to {open_qty}, not {wanted_qty}")
        bits = int(row["instructions"])
        display_qty = int(row["display_qty"]) if bits & Instruction.DISPLAY else order.display_qty
        stop_e4 = int(row["stop_e4"]) if bits & Instruction.STOP else order.stop_e4
        terms = int(row["price_e4"]), display_qty, stop_e4
        kept = terms == (order.limit_e4, order.display_qty, order.stop_e4) and open_qty <= order.open_qty
        order.limit_e4, order.display_qty, order.stop_e4 = terms
        order.open_qty = open_qty
        if not order.pegged:
            order.price_e4 = order.limit_e4
        if not kept:
            order.time = self._next_time()
            order.where = UNPRICED if order.pegged else order.where
        del self._by_id[order.participant, order.order_id]
        order.order_id = new_id
        self._by_id[order.participant, new_id] = order

    def _have_run(self, last: Order | None = None) -> None:
        """Pegs with a new price ran in their order, up to this one (None: all), and rest where anything is left."""
        if last is not None and last is self._running:
            return
        self._running = last if last in self._coming else None
        count = len(self._coming) if self._running is None else self._coming.index(self._running) + 1
        for order in self._coming[:count]:
            order.where = LIT
        del self._coming[:count]

    def _take(self, order: Order, qty: int) -> None:
        """Some of an order is gone."""
        order.open_qty -= qty
        self._check(qty > 0 and order.open_qty >= 0, "entered", f"{order} lost {qty}")
        if not order.open_qty:
            del self._by_id[order.participant, order.order_id]
            del self._of[order.instrument, order.side][order.number]

    def _traded(self, pair: tuple[Order, Order], price_e4: int, qty: int, side: int) -> None:
        """A trade between a resting and an incoming order, or (side 0) a buy and a sell of an uncross."""
        for order in pair:
            self._check(order.accepts(price_e4), "limits", f"{order} trades at {price_e4}")
        resting, instrument = pair[0], pair[0].instrument
        self._have_run(pair[1])
        if side == 0:
            self._uncrossed = instrument
            for order in pair:
                first = self._first(self._lit(instrument, order.side))
                self._check(first is order, "rank in an uncross", f"{order} trades before {first}")
        elif resting.where == LIT:
            self._uncrossed = 0
            first = self._first(self._lit(instrument, resting.side))
            self._check(first is resting, "rank", f"{resting} trades before {first}")
            self._check(price_e4 == resting.price_e4, "price", f"{resting} trades at {price_e4}")
        else:
            self._uncrossed = 0
            quotes = [self._first(each for each in self._lit(instrument, side) if not each.hidden) for side in Side]
            middle_e4 = sum(each.price_e4 for each in quotes if each is not None) // 2
            met = None not in quotes and price_e4 == middle_e4
            self._check(met, "midpoint", f"a trade at {price_e4}, between {quotes[0]} and {quotes[1]}")
            waits = self._of[instrument, resting.side].values()
            takes_part = (each for each in waits if each.where == MIDPOINT and each.accepts(price_e4))
            first = min(takes_part, key=lambda each: each.time, default=None)
            self._check(first is resting, "rank at the midpoint", f"{resting} trades before {first}")
        for order in pair:
            order.executed_qty += qty
            self._take(order, qty)
