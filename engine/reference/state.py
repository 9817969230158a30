"""State of the market: orders, the books in which they rest, instruments and participants.

Orders are objects here, each known in three places: to its participant by number (numbers rise with acceptance, so
this dictionary is always in order of acceptance) and by client order id, and in the queue where it stands. An id that
was used today stays known after its order has gone, with None in the order's place.

The lit book of an instrument has for each side its price levels, best first, and in each level a queue by time. Levels
stand under a *rank*, which is lower for a better price whatever the side: twice minus side times price, and one more
for orders that are not displayed. Market orders rank before every limit (section 3). So buy and sell are one piece of
code, and the level of the lowest rank is always the one that trades next. Levels of displayed orders and of hidden ones
are apart, so that the best displayed price, by which pegs and the midpoint book go, is at hand like the best of all.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace, merge
from itertools import chain
from operator import attrgetter
from typing import Final, NamedTuple

from sortedcontainers import SortedDict

from engine.bounds import BPS_MAX, PRICE_E4_MAX, RATE_ORDERS_MAX
from engine.records import Phase
from engine.reference.codes import BUY, CONTINUOUS, GTC, GTD, SELL
from engine.reference.depth import Depth
from engine.reference.ranked import Ranked
from engine.reference.rows import HIDDEN, PEG, POST_ONLY

_NOT_DISPLAYED: Final = HIDDEN | PEG

#: Lower than the rank of any limit price.
MARKET_RANK: Final = -2 * PRICE_E4_MAX - 2


class Level:
    """The orders at one price (0: market orders), first to trade first, and the sum of what they have open.

    They are a chain: ``first`` and ``last`` are its ends (None: there is no order), and each order knows the ones
    ``before`` and ``behind`` it.

    >>> level = Level(-200, 100)
    >>> list(level)
    []
    """

    __slots__ = ("first", "last", "leaves_qty", "price_e4", "rank")

    def __init__(self, rank: int, price_e4: int) -> None:
        self.rank = rank
        self.price_e4 = price_e4
        self.leaves_qty = 0
        self.first: Order | None = None
        self.last: Order | None = None

    @property
    def hidden(self) -> bool:
        return self.rank % 2 == 1

    def __iter__(self) -> "Iterator[Order]":
        """The orders in the order in which they trade."""
        order = self.first
        while order is not None:
            yield order
            order = order.behind

    def append(self, order: "Order") -> None:
        """Put an order behind all others. Their sum stays."""
        order.before = self.last
        if self.last is None:
            self.first = order
        else:
            self.last.behind = order
        self.last = order

    def take_out(self, order: "Order") -> None:
        """Take an order out of the chain. The sum stays."""
        before, behind = order.before, order.behind
        if before is None:
            self.first = behind
        else:
            before.behind = behind
        if behind is None:
            self.last = before
        else:
            behind.before = before
        order.before = order.behind = None


class LitBook:
    """Both sides of the book: ``displayed[side]`` and ``hidden[side]`` are levels by rank. A level is never empty.

    ``changes`` counts what has been done to it, so that who has looked at it can tell whether to look again. ``depth``
    follows it during a call, and is None outside of one. ``moved``: a best displayed price is another since the
    consequences were last looked after; in a call anything.
    """

    __slots__ = ("changes", "depth", "displayed", "hidden", "moved")

    def __init__(self) -> None:
        self.changes = 0
        self.depth: Depth | None = None
        self.moved = False
        self.displayed: dict[int, Ranked[Level]] = {BUY: Ranked(), SELL: Ranked()}
        self.hidden: dict[int, Ranked[Level]] = {BUY: Ranked(), SELL: Ranked()}

    def add(self, order: "Order") -> None:
        """Add an order behind all others at its price."""
        self.changes += 1
        if self.depth is not None:
            self._count(self.depth, order, order.leaves_qty)
        side, price_e4 = order.side, order.peg_e4 if order.peg else order.price_e4
        hidden = order.instructions & _NOT_DISPLAYED != 0
        levels = (self.hidden if hidden else self.displayed)[side]
        rank = -2 * side * price_e4 + hidden if price_e4 else MARKET_RANK
        level = levels.by_rank.get(rank)
        if level is None:
            level = Level(rank, price_e4)
            levels.put(rank, level)
            if not hidden and levels.first is level:
                self.moved = True
        level.append(order)
        level.leaves_qty += order.leaves_qty
        order.level = level

    def add_by_time(self, orders: "list[Order]") -> None:
        """Add orders behind those of an earlier time at their price, and before the others."""
        for order in orders:
            self.add(order)
        for level in {id(order.level): order.level for order in orders}.values():
            if level is not None:
                for order in sorted(level, key=lambda each: each.priority):
                    level.take_out(order)
                    level.append(order)

    def reduce(self, order: "Order", qty: int) -> None:
        """Reduce a resting order by ``qty``; it keeps its place, or leaves if nothing is left."""
        level = order.level
        if level is None:
            raise ValueError(f"order {order.order_number} does not rest")
        self.changes += 1
        if self.depth is not None:
            self._count(self.depth, order, -qty)
        level.leaves_qty -= qty
        order.leaves_qty -= qty
        if order.leaves_qty == 0:
            self._take_out(order, level)

    def remove(self, order: "Order") -> None:
        """Remove a resting order, which keeps its leaves quantity."""
        level = order.level
        if level is None:
            raise ValueError(f"order {order.order_number} does not rest")
        self.changes += 1
        if self.depth is not None:
            self._count(self.depth, order, -order.leaves_qty)
        level.leaves_qty -= order.leaves_qty
        self._take_out(order, level)

    def _count(self, depth: Depth, order: "Order", qty: int) -> None:
        self.moved = True
        if order.trading_e4:
            depth.count(order.side, order.trading_e4, qty)

    def counted(self) -> Depth:
        """The depth as it is, counted anew where no call keeps it."""
        if self.depth is not None:
            return self.depth
        depth = Depth()
        for side in (BUY, SELL):
            for level in self.levels(side):
                if level.price_e4:
                    depth.count(side, level.price_e4, level.leaves_qty)
        return depth

    def market_qty(self, side: int) -> int:
        """Open quantity of the market orders of a side."""
        level = self.displayed[side].get(MARKET_RANK)
        return level.leaves_qty if level is not None else 0

    def next_price(self, side: int, price_e4: int, direction: int) -> int:
        """The limit price of a side next above another one (``direction`` 1) or below it (-1); 0 for none."""
        rank = -2 * side * price_e4
        both = (self.displayed[side], self.hidden[side])
        if side * direction < 0:
            found = [levels.at_or_above(rank + 2) for levels in both]
        else:
            found = [levels.below(rank) for levels in both]
        prices_e4 = [level.price_e4 for level in found if level is not None and level.price_e4]
        return direction * min((direction * each for each in prices_e4), default=0)

    def replenish(self, order: "Order") -> None:
        """Put a resting order behind all others at its price and visibility."""
        if order.level is None:
            raise ValueError(f"order {order.order_number} does not rest")
        order.level.take_out(order)
        order.level.append(order)

    def _take_out(self, order: "Order", level: Level) -> None:
        level.take_out(order)
        order.level = None
        if level.first is None:
            levels = (self.hidden if level.hidden else self.displayed)[order.side]
            if levels.first is level and not level.hidden:
                self.moved = True
            levels.drop(level.rank)

    def best(self, side: int) -> Level | None:
        """The level of that side that trades next."""
        displayed, hidden = self.displayed[side], self.hidden[side]
        return displayed.first if displayed.first_rank < hidden.first_rank else hidden.first

    def displayed_best_e4(self, side: int) -> int:
        """The best price of displayed limit orders of a side; 0 for none."""
        displayed = self.displayed[side]
        best = displayed.first
        if displayed.first_rank == MARKET_RANK:
            best = displayed.at_or_above(MARKET_RANK + 1)
        return best.price_e4 if best is not None else 0

    def levels(self, side: int) -> Iterator[Level]:
        """The levels of that side in the order in which they trade."""
        displayed, hidden = self.displayed[side].values(), self.hidden[side].values()
        return merge(displayed, hidden, key=lambda level: level.rank)


class StopBook:
    """The dormant stops of an instrument: each side's queues under a rank, which is lower for those elected first."""

    __slots__ = ("_buys", "_sells", "sides")

    def __init__(self) -> None:
        self._buys: Ranked[OrderedDict[int, Order]] = Ranked()
        self._sells: Ranked[OrderedDict[int, Order]] = Ranked()
        self.sides = {BUY: self._buys, SELL: self._sells}

    def __bool__(self) -> bool:
        return any(self.sides.values())

    def elects(self, last_e4: int) -> bool:
        """True if a last trade price elects an order."""
        return self._buys.first_rank <= last_e4 or self._sells.first_rank <= -last_e4

    def add(self, order: "Order") -> None:
        """Add an order behind all others with its stop."""
        queues, rank = self.sides[order.side], order.side * order.stop_e4
        queue = queues.get(rank)
        if queue is None:
            queue = OrderedDict()
            queues.put(rank, queue)
        queue[order.order_number] = order

    def remove(self, order: "Order") -> None:
        """Remove a dormant order, which keeps its stop."""
        queues, rank = self.sides[order.side], order.side * order.stop_e4
        queue = queues.get(rank)
        if queue is None:
            raise ValueError(f"order {order.order_number} is not among the stops")
        del queue[order.order_number]
        if not queue:
            queues.drop(rank)

    def elected(self, last_e4: int) -> "Order | None":
        """The order that a last trade price elects first: of the buys before the sells; None: it elects none."""
        queue = self._buys.first if self._buys.first_rank <= last_e4 else None
        if queue is None and self._sells.first_rank <= -last_e4:
            queue = self._sells.first
        return next(iter(queue.values())) if queue is not None else None

    def orders(self, side: int) -> Iterator["Order"]:
        """The orders of that side in the order of their election."""
        for queue in self.sides[side].values():
            yield from queue.values()


class MidpointBook:
    """The midpoint book of an instrument: each side's queues by limit.

    They stand under a rank, which is lower for a limit that more midpoints are within (none: all of them).
    """

    __slots__ = ("sides",)

    def __init__(self) -> None:
        self.sides: dict[int, SortedDict[int, OrderedDict[int, Order]]] = {
            BUY: SortedDict(),
            SELL: SortedDict(),
        }

    def add(self, order: "Order") -> None:
        """Add an order behind all others with its limit."""
        self.sides[order.side].setdefault(_limit_rank(order), OrderedDict())[order.order_number] = order

    def remove(self, order: "Order") -> None:
        """Remove an order, which keeps its leaves quantity."""
        queues, rank = self.sides[order.side], _limit_rank(order)
        del queues[rank][order.order_number]
        if not queues[rank]:
            del queues[rank]

    def __contains__(self, order: "Order") -> bool:
        return order.order_number in self.sides[order.side].get(_limit_rank(order), ())

    def orders(self, side: int) -> Iterator["Order"]:
        """The orders of a side by limit, those without one first, and then by time."""
        for queue in self.sides[side].values():
            yield from queue.values()

    def takes_part(self, side: int, price_e4: int) -> bool:
        """True if an order of a side has a limit that a midpoint is within."""
        queues = self.sides[side]
        return bool(queues) and queues.peekitem(0)[0] <= -side * price_e4

    def taking_part(self, side: int, price_e4: int) -> "TakingPart":
        """The orders of a side that a midpoint is within the limit of."""
        return TakingPart(self.sides[side], -side * price_e4)


def _limit_rank(order: "Order") -> int:
    return -order.side * order.price_e4 if order.price_e4 else -PRICE_E4_MAX - 1


class TakingPart:
    """Orders of queues with a rank up to a highest one, in order of time. None joins as long as this is in use.

    Finding the first looks at the head of each queue once, and each after it at few of them.
    """

    def __init__(self, queues: "SortedDict[int, OrderedDict[int, Order]]", highest: int) -> None:
        self._queues = [queues[rank] for rank in queues.irange(maximum=highest)]
        self._heads = [(next(iter(queue.values())).priority, at) for at, queue in enumerate(self._queues)]
        heapify(self._heads)

    def first(self) -> "Order | None":
        """The oldest of those that are still there, or None."""
        while self._heads:
            priority, at = self._heads[0]
            order: Order | None = next(iter(self._queues[at].values()), None)
            if order is None:
                heappop(self._heads)
            elif order.priority == priority:
                return order
            else:
                heapreplace(self._heads, (order.priority, at))
        return None

    def __iter__(self) -> Iterator["Order"]:
        """All of them; none is removed meanwhile."""
        return merge(*(queue.values() for queue in self._queues), key=lambda each: each.priority)


def accepts(side: int, limit_e4: int, price_e4: int) -> bool:
    """True if an order of that side and limit (0: market) may trade at a price."""
    return limit_e4 == 0 or side * (limit_e4 - price_e4) >= 0


def within_band(instrument: "Instrument", side: int, price_e4: int, from_e4: int) -> bool:
    """True if a price is no further than the instrument's band from another on the aggressive side."""
    if instrument.band_bps is None:
        return True
    return side * (price_e4 - from_e4) * BPS_MAX <= from_e4 * instrument.band_bps


@dataclass(slots=True, eq=False)
class Holding:
    """Of one participant in one instrument. ``position_qty``: bought less sold in every trade, whoever is opposite.

    ``open_buy_qty`` and ``open_sell_qty``: the sums over its open orders of a side of what they have open.
    """

    participant: "Participant"
    instrument: "Instrument"
    position_qty: int = 0
    open_buy_qty: int = 0
    open_sell_qty: int = 0

    def open_qty(self, side: int) -> int:
        """The sum of a side."""
        return self.open_buy_qty if side == BUY else self.open_sell_qty


class Indicative(NamedTuple):
    """Result of an uncross: its price (0: none), the paired quantity, and buys less sells that accept the price."""

    price_e4: int
    paired_qty: int
    imbalance_qty: int


NOTHING_PAIRED: Final = Indicative(0, 0, 0)


#: The best displayed bid and offer; 0 for none.
Quotes = tuple[int, int]
NO_QUOTES: Final = (0, 0)


class Breaker(NamedTuple):
    """A trade more than ``bps`` from the price in force ``window_s`` earlier halts the instrument for ``halt_ns``."""

    bps: int
    window_s: int
    halt_ns: int


class Member(NamedTuple):
    """A member of an index."""

    symbol: int
    weight: int


@dataclass(slots=True)
class Index:
    """``levels``: (fall in hundredths of a percent, how long it halts, 0: it closes). ``opening_e4``: its value when
    the trading day began, or when it was defined. ``reached``: the deepest level that was reached today, from 1; 0:
    none.
    """

    name: int
    members: list[Member]
    levels: list[tuple[int, int]]
    opening_e4: int = 0
    reached: int = 0


@dataclass(slots=True)
class Instrument:
    """``number`` is its place in order of definition, from 1. ``last_trade_e4`` is 0 before the first trade.

    ``adv_qty``: average daily volume, 0 where none is known. ``band_bps``: how far limit prices and the collar of
    market orders may be from the reference price; None: anywhere. ``cancel_on_halt``: a halt cancels its orders.
    ``due_ns``: when a clock value ends the halt, or the call after it; 0 where none does. ``published`` is what the
    last indicative event of the present call said, and ``told_at_change`` the state of the book that it was looked for
    in (-1: not yet in this call). ``aside``: closing orders that wait, in order of time. ``pegs``: by side and
    reference, in order of acceptance; ``peg_references``: the price by which those are priced, 0 for none, and
    ``peg_quotes``: what they were looked at with (None: not yet); ``fresh_peg``: the one that the command entered or
    replaced. ``stirred``: a trade, a stop, a peg, an order of the midpoint book or the phase is new since its
    consequences were last looked after; only then, or when the book moved, it has any. ``unseen_trade``: its volatility
    breaker has not looked at the last trade; ``unweighed_trade``: indices have not. ``trade_seconds``: second to its
    last trade price, as far back as the breaker looks and after the uncross at ``last_uncross_e4`` (0: none).
    ``reference_e4``: the reference price of section 2, the last trade price, before the first trade the one as defined.
    """

    number: int
    symbol: int
    tick_e4: int
    lot: int
    defined_reference_e4: int
    adv_qty: int = 0
    band_bps: int | None = None
    cancel_on_halt: bool = False
    phase: Phase = Phase.CLOSED
    due_ns: int = 0
    published: Indicative = NOTHING_PAIRED
    told_at_change: int = -1
    last_trade_e4: int = 0
    reference_e4: int = 0
    book: LitBook = field(default_factory=LitBook)
    stops: StopBook = field(default_factory=StopBook)
    midpoint: MidpointBook | None = None
    breaker: Breaker | None = None
    stirred: bool = True
    unseen_trade: bool = False
    unweighed_trade: bool = False
    last_uncross_e4: int = 0
    trade_seconds: dict[int, int] = field(default_factory=dict)
    aside: "dict[int, Order]" = field(default_factory=dict)
    pegs: "dict[tuple[int, int], dict[int, Order]]" = field(default_factory=dict)
    peg_references: dict[tuple[int, int], int] = field(default_factory=dict)
    peg_quotes: Quotes | None = None
    fresh_peg: "Order | None" = None

    def __post_init__(self) -> None:
        self.reference_e4 = self.last_trade_e4 or self.defined_reference_e4

    def traded_at(self, price_e4: int) -> None:
        """A trade makes its price the last one, and the reference price."""
        self.last_trade_e4 = self.reference_e4 = price_e4

    def open_orders(self) -> "list[Order]":
        """Its open orders, in order of acceptance: those of the books, those that wait, and pegs wherever they are."""
        places: list[Iterable[Order]] = [self.aside.values(), *(pegs.values() for pegs in self.pegs.values())]
        for side in (BUY, SELL):
            places += [(order for order in level if not order.peg) for level in self.book.levels(side)]
            places.append(self.stops.orders(side))
            if self.midpoint is not None:
                places.append(self.midpoint.orders(side))
        return sorted(chain.from_iterable(places), key=attrgetter("order_number"))

    def add_peg(self, order: "Order") -> None:
        """Know a peg, which was accepted after all that are known or is one of an image."""
        of = order.side, order.peg
        self.pegs.setdefault(of, {})[order.order_number] = order
        self.peg_references.setdefault(of, 0)

    def remove_peg(self, order: "Order") -> None:
        """Forget a peg that is gone. Where it was the last of its side and reference, nothing is left of them."""
        of = order.side, order.peg
        del self.pegs[of][order.order_number]
        if self.fresh_peg is order:
            self.fresh_peg = None
        if not self.pegs[of]:
            del self.pegs[of], self.peg_references[of]

    @property
    def quotes(self) -> Quotes:
        """The best displayed prices in continuous trading, by which pegs and the midpoint book go; else none."""
        if self.phase is not CONTINUOUS:
            return NO_QUOTES
        # No market order rests in that phase, so the first level of a side has a limit.
        displayed = self.book.displayed
        bid, offer = displayed[BUY].first, displayed[SELL].first
        return bid.price_e4 if bid is not None else 0, offer.price_e4 if offer is not None else 0

    @property
    def midpoint_e4(self) -> int:
        """Midpoint of the best displayed bid and offer, rounded down; 0 without both, and outside of ``continuous``."""
        bid_e4, offer_e4 = self.quotes
        return (bid_e4 + offer_e4) // 2 if bid_e4 and offer_e4 else 0


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
            holding = self.holdings[instrument.number] = Holding(self, instrument)
        return holding


@dataclass(slots=True, eq=False)
class Order:
    """An accepted order. ``price_e4`` is 0 for a market order; ``level`` is where it rests, None while it does not.

    ``before`` and ``behind``: its neighbors at its level.

    ``order_number``: order of acceptance in the venue, from 1. ``priority``: the venue's counter when it last went to
    the back of a queue. ``id_day``: the trading day on which its client order id was taken. ``entry_reference_e4``: the
    reference price of the instrument when the order was entered. ``holding``: the participant's in the instrument.
    ``stop_e4``: the price that elects it while it is dormant, else 0. ``value_stop_e4``: the stop by which an order
    without a limit counts for its life; 0 for none. ``display_qty``: the most that an iceberg shows, 0 for no iceberg;
    ``shown_qty``: what it shows now. ``slices``: how often it may show a next part, by its quantity as entered or
    replaced. ``until_ns``: the first clock value at or after it ends the order; 0: none does. ``aside``: it waits for
    the closing auction. ``peg``: the reference (``Peg``) that the price of a peg follows, 0 for no peg; ``offset_e4``:
    how far from it; ``peg_e4``: that price, 0 while it has none.
    """

    order_number: int
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
    stop_e4: int = 0
    value_stop_e4: int = 0
    display_qty: int = 0
    shown_qty: int = 0
    slices: int = 0
    until_ns: int = 0
    in_midpoint: bool = False
    aside: bool = False
    peg: int = 0
    offset_e4: int = 0
    peg_e4: int = 0
    cum_qty: int = 0
    priority: int = 0
    level: Level | None = None
    before: "Order | None" = None
    behind: "Order | None" = None

    @property
    def is_good_for_day(self) -> bool:
        """True of an order that ends as its instrument closes, or with the trading day (section 4)."""
        return self.time_in_force not in (GTC, GTD)

    @property
    def post_only(self) -> bool:
        return bool(self.instructions & POST_ONLY)

    @property
    def notional_price_e4(self) -> int:
        """Price for value and notional: its limit, else its stop, else the reference price on entry."""
        return self.price_e4 or self.value_stop_e4 or self.entry_reference_e4

    @property
    def trading_e4(self) -> int:
        """The price by which it trades: its limit, 0 for none; of a peg the one that it has now."""
        return self.peg_e4 if self.peg else self.price_e4

    @property
    def hidden(self) -> bool:
        return bool(self.instructions & _NOT_DISPLAYED)

    @property
    def visible_qty(self) -> int:
        """Quantity that an incoming order meets of it at once: of an iceberg its shown part, else all."""
        return self.shown_qty if self.display_qty else self.leaves_qty

    def show(self) -> None:
        """Show the next part of an iceberg."""
        self.shown_qty = min(self.display_qty, self.leaves_qty)

    @property
    def dormant(self) -> bool:
        return self.stop_e4 != 0
