"""The market that web clients see, as a projection: blocks in, messages of channels out.

Price levels are those of ``marketdata.ladders``; orders, trades and numbers of messages follow from the same reports.
It restarts as all projections do, from an image and the blocks behind it: so a product's numbers never go back.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkpoints import Projection
from engine.capacity import Capacity
from engine.digest import part_digest
from engine.names import pack, unpack
from engine.records import Phase, Side
from marketdata.ladders import Ladders
from marketdata.web import order_messages
from marketdata.web.order_messages import COLUMNS, Row
from marketdata.web.product import Bar, Bars, Call, Message, Product, Shown, Trade
from reports import ReportKind, Reports

Rows = NDArray[Any]
#: Callback for what a command told: the product, messages of channel full, and those of channel matches.
OnMessages = Callable[[Product, list[Message], list[Message]], None]

#: Age from which on a market is stale, in seconds. A core tells four times a second that it goes on.
STALE_S: Final = 1.25
_REPORTS: Final = "reports."
_LADDERS: Final = "ladders."
_LAST_OF_ORDERS: Final = int(ReportKind.REPRICED)
_REFUSED: Final = (int(ReportKind.REJECTED), int(ReportKind.CANCEL_REJECTED))
_TRADE: Final = int(ReportKind.TRADE)
_PHASES: Final = (int(ReportKind.PHASE), int(ReportKind.HALTED))
_CALLS: Final = (int(Phase.OPENING_AUCTION), int(Phase.AUCTION), int(Phase.CLOSING_AUCTION))
_INDICATIVE: Final = int(ReportKind.INDICATIVE)
_PARTICIPANTS: Final = (int(ReportKind.PARTICIPANT), int(ReportKind.KILLED), int(ReportKind.UNKILLED))
_KILLED: Final = int(ReportKind.KILLED)
_INSTRUMENT: Final = int(ReportKind.INSTRUMENT)
_USER: Final = int(ReportKind.USER)
_DEFINED: Final = int(ReportKind.PARTICIPANT)
_MARKET: Final = (*_PHASES, _INDICATIVE, _INSTRUMENT, _USER, *_PARTICIPANTS)


class WebMarket(Projection):
    """Products of a venue. ``on_messages`` is called for each report that tells something, in order."""

    name = "web-market"
    #: Of reports, ladders and what is here; add to it with any change of the arrays of ``image``.
    version = 1_000 * Reports.version + 10 * Ladders.version + 4

    def __init__(self, capacity: Capacity, on_messages: OnMessages = lambda _product, _full, _matches: None) -> None:
        self.on_messages = on_messages
        self._capacity = capacity
        self.reports = Reports(capacity)
        self.ladders = Ladders(capacity)
        #: Time for which the market was not seen to go on, in seconds, as the program that shows it has looked last.
        #: No part of the state: none follows from commands.
        self.age_s = 0.0
        self.products: dict[int, Product] = {}
        self.by_id: dict[str, Product] = {}
        #: Participant of each user by name, and what it has of each instrument by all its trades; under instrument 0
        #: dollars, price_e4 times quantity.
        self.users: dict[str, int] = {}
        self.positions: dict[tuple[int, int], int] = {}
        #: True for a participant that is killed, by name. For the operator alone.
        self.participants: dict[str, bool] = {}
        self._half: Row | None = None  # first report of a trade whose second comes next

    @property
    def now_ns(self) -> int:
        """The clock in force."""
        return self.reports.now_ns

    @property
    def is_stale(self) -> bool:
        """True if the market was not seen to go on for ``STALE_S``: what is known of it may be old."""
        return self.age_s > STALE_S

    def observe(self, first_seq: int, commands: Rows, events: Rows, /) -> None:
        """Take a block."""
        for batch in self.reports.batches(first_seq, commands, events):
            self.take(batch)

    def take(self, batch: Rows) -> None:
        """Take REPORT rows, in order."""
        changes, _ = self.ladders.take(batch)
        kinds = batch["kind"]
        if (kinds > _LAST_OF_ORDERS).any():
            for row in batch[np.isin(kinds, _MARKET)]:
                self._define(row)
        if (kinds == _TRADE).any():
            self._settle(batch[kinds == _TRADE])
        about = batch[(kinds <= _LAST_OF_ORDERS) & ~np.isin(kinds, _REFUSED)]
        for values in zip(*(about[name].tolist() for name in COLUMNS), strict=True):
            self._take_order(Row(*values))
        for number, side, price_e4, qty in zip(
            *(changes[name].tolist() for name in ("instrument", "side", "price_e4", "qty")), strict=True
        ):
            product = self.products.get(number)
            if product is not None and price_e4 > 0:
                product.levels[side, price_e4] = qty

    def _define(self, row: Any) -> None:
        """Take the report of a user, a participant, an instrument, its phase or its call."""
        kind = int(row["kind"])
        if kind == _USER:
            if int(row["user"]):
                self.users[unpack(int(row["user_name"]))] = int(row["participant"])
            return
        if kind in _PARTICIPANTS:
            name = unpack(int(row["participant_name"]))
            self.participants[name] = kind == _KILLED or (kind == _DEFINED and self.participants.get(name, False))
            return
        number = int(row["instrument"])
        if kind == _INSTRUMENT:
            product = self.products.get(number)
            if product is None:
                product = Product(number, unpack(int(row["symbol"])))
                self.products[number] = self.by_id[product.id] = product
            product.tick_e4 = int(row["tick_e4"]) or product.tick_e4
            product.lot = int(row["lot"]) or product.lot
        elif kind == _INDICATIVE:
            self.products[number].call = Call(
                *(int(row[name]) for name in ("time_ns", "price_e4", "paired_qty", "imbalance_qty", "side"))
            )
        else:
            for each in [self.products[number]] if number else self.products.values():
                each.phase = int(row["phase"])
                each.halt_reason = int(row["reason"]) if each.phase == Phase.HALTED else 0
                each.call = Call(int(row["time_ns"])) if each.phase in _CALLS else None

    def _settle(self, trades: Rows) -> None:
        """Add trades to what the participants have."""
        columns = ("participant", "instrument", "side", "last_qty", "last_price_e4")
        for participant, instrument, side, qty, price_e4 in zip(
            *(trades[name].tolist() for name in columns), strict=True
        ):
            of = self.positions
            of[participant, instrument] = of.get((participant, instrument), 0) + side * qty
            of[participant, 0] = of.get((participant, 0), 0) - side * qty * price_e4

    def _take_order(self, row: Row) -> None:
        product = self.products.get(row.instrument)
        if product is None or row.order_number <= 0:
            return
        full: list[Message] = []
        matches: list[Message] = []
        if row.kind != _TRADE:
            order_messages.of_order(product, row, full)
        elif self._half is None:
            self._half = row
            return
        else:
            one, self._half = self._half, None
            matches.append(order_messages.of_trade(product, one, row, full))
        if full or matches:
            self.on_messages(product, full, matches)

    def top(self, product: Product, side: Side, depth: int) -> list[tuple[int, int, int]]:
        """Best levels of a side, best first: price_e4, quantity, orders. Market orders of a call are left out."""
        found = self.ladders.top(product.number, side, depth + 1)
        columns = (found[name].tolist() for name in ("price_e4", "qty", "orders"))
        return [level for level in zip(*columns, strict=True) if level[0] > 0][:depth]

    # Its state.

    def image(self) -> dict[str, Rows]:
        """Image for ``restore``, between two commands."""
        each = sorted(self.products.values(), key=lambda product: product.number)
        return {
            **{f"{_REPORTS}{name}": array for name, array in self.reports.image().items()},
            **{f"{_LADDERS}{name}": array for name, array in self.ladders.image().items()},
            "products": _table(
                [(p.number, pack(p.symbol), p.tick_e4, p.lot, p.phase, p.sequence, p.halt_reason) for p in each], 7
            ),
            "calls": _table([(p.number, *p.call) for p in each if p.call is not None], 6),
            "orders": _table([(p.number, number, *shown) for p in each for number, shown in p.orders.items()], 5),
            "trades": _table([(p.number, *trade) for p in each for trade in p.trades], 7),
            "minutes": _table([(p.number, begin, *bar) for p in each for begin, bar in p.minutes.items()], 7),
            "users": _table([(pack(name), participant) for name, participant in sorted(self.users.items())], 2),
            "positions": _table([(*key, amount) for key, amount in sorted(self.positions.items())], 3),
            "participants": _table(
                [(pack(name), is_killed) for name, is_killed in sorted(self.participants.items())], 2
            ),
            "hours": _table([(p.number, begin, *bar) for p in each for begin, bar in p.hours.items()], 7),
        }

    def digest(self) -> bytes:
        """Digest (16 bytes) of the state."""
        return part_digest(self.image())

    def restore(self, arrays: Mapping[str, Rows], seq: int, /) -> None:
        """Continue after command ``seq`` from an image. Raises ValueError, KeyError."""
        self.clear()
        named = {name.removeprefix(_REPORTS): rows for name, rows in arrays.items() if name.startswith(_REPORTS)}
        self.reports.restore(named, seq)
        self.ladders.restore(
            {name.removeprefix(_LADDERS): rows for name, rows in arrays.items() if name.startswith(_LADDERS)}
        )
        for number, symbol, tick_e4, lot, phase, sequence, halt_reason in arrays["products"].tolist():
            product = Product(number, unpack(symbol), tick_e4, lot, phase, sequence, halt_reason=halt_reason)
            self.products[number] = self.by_id[product.id] = product
        for number, *call in arrays["calls"].tolist():
            self.products[number].call = Call(*call)
        for number, order_number, *shown in arrays["orders"].tolist():
            self.products[number].orders[order_number] = Shown(*shown)
        for number, *trade in arrays["trades"].tolist():
            self.products[number].trades.append(Trade(*trade))
        self.users = {unpack(name): participant for name, participant in arrays["users"].tolist()}
        self.participants = {unpack(name): bool(is_killed) for name, is_killed in arrays["participants"].tolist()}
        self.positions = {(participant, number): amount for participant, number, amount in arrays["positions"].tolist()}
        for name in ("minutes", "hours"):
            for number, begin_ns, *bar in arrays[name].tolist():
                bars: Bars = getattr(self.products[number], name)
                bars[begin_ns] = Bar(*bar)

    def clear(self) -> None:
        """Reset to the state before the first command."""
        self.reports.clear()
        self.ladders = Ladders(self._capacity)
        self.products.clear()
        self.by_id.clear()
        self.users.clear()
        self.positions.clear()
        self.participants.clear()
        self._half = None

    def flush(self) -> None:
        """Nothing: it has no files."""

    sync = flush
    close = flush


def _table(rows: list[tuple[int, ...]], columns: int) -> Rows:
    """Rows of integers: int64[n, columns]."""
    return np.array(rows, np.int64).reshape(len(rows), columns)
