"""A product as its viewers see it: displayed orders, recent trades, bars, and the number of the last message about it.

All of it is bounded, save the displayed orders, which the venue bounds.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from engine.bounds import SECOND_NS
from engine.records import Phase
from marketdata.web import words

Message = dict[str, Any]

#: Trades that are kept, and bars of each width.
TRADES_MAX: Final = 1_000
BARS_MAX: Final = 1_500
MINUTE_NS: Final = 60 * SECOND_NS
HOUR_NS: Final = 3_600 * SECOND_NS


class Shown(NamedTuple):
    """A displayed order. qty: what is displayed of it, above 0, or 0 until the reports of a trade are complete."""

    side: int
    price_e4: int
    qty: int


class Trade(NamedTuple):
    """A trade. maker_side: of the order that was there first. makes_price: 0 for midpoint trades and agreed crosses."""

    trade_number: int
    time_ns: int
    price_e4: int
    qty: int
    maker_side: int
    makes_price: int


class Bar(NamedTuple):
    """Trades of one width of market time. Prices 0: no trade in it made a price."""

    open_e4: int
    high_e4: int
    low_e4: int
    close_e4: int
    qty: int

    def joined(self, later: "Bar") -> "Bar":
        """This bar and a later one as one."""
        if not (self.open_e4 and later.open_e4):
            one = self if self.open_e4 else later
            return one._replace(qty=self.qty + later.qty)
        return Bar(
            self.open_e4,
            max(self.high_e4, later.high_e4),
            min(self.low_e4, later.low_e4),
            later.close_e4,
            self.qty + later.qty,
        )


class Call(NamedTuple):
    """Result of the uncross of a call as it would be now. price_e4: 0: no trade. imbalance_side: 1, -1, 0: none."""

    time_ns: int
    price_e4: int = 0
    paired_qty: int = 0
    imbalance_qty: int = 0
    imbalance_side: int = 0


Bars = dict[int, Bar]


def add_to_bars(bars: Bars, width_ns: int, trade: Trade) -> None:
    """Add a trade to the bar of its time; the oldest bar leaves where there are too many."""
    begin_ns = trade.time_ns - trade.time_ns % width_ns
    made = trade.price_e4 if trade.makes_price else 0
    one = Bar(made, made, made, made, trade.qty)
    before = bars.get(begin_ns)
    bars[begin_ns] = one if before is None else before.joined(one)
    if len(bars) > BARS_MAX:
        del bars[next(iter(bars))]


def bars_between(bars: Bars, from_ns: int, to_ns: int) -> Bar | None:
    """The bars that begin within [from_ns, to_ns) as one; None without a bar."""
    found: Bar | None = None
    for begin_ns, bar in bars.items():
        if from_ns <= begin_ns < to_ns:
            found = bar if found is None else found.joined(bar)
    return found


@dataclass
class Product:
    """A product. ``sequence``: number of its last message in channel full, from 1, without a gap.

    ``orders``: displayed orders by number, in the order of their places at a price. ``levels``: what has changed of its
    price levels since they were last told, quantities by side and price. ``call``: None outside of calls.
    ``halt_reason``: code of why it is halted, 0 where it is not.
    """

    number: int
    symbol: str
    tick_e4: int = 100
    lot: int = 1
    phase: int = int(Phase.CLOSED)
    sequence: int = 0
    orders: dict[int, Shown] = field(default_factory=dict)
    trades: deque[Trade] = field(default_factory=lambda: deque(maxlen=TRADES_MAX))
    minutes: Bars = field(default_factory=dict)
    hours: Bars = field(default_factory=dict)
    levels: dict[tuple[int, int], int] = field(default_factory=dict)
    call: Call | None = None
    halt_reason: int = 0

    @property
    def id(self) -> str:
        """Product id, such as XYZ-USD."""
        return words.product_id(self.symbol)

    @property
    def last_price_e4(self) -> int:
        """Price of the last trade that made one; 0 before the first that is remembered."""
        return next((bar.close_e4 for bar in reversed(self.hours.values()) if bar.close_e4), 0)

    def add_trade(self, trade: Trade) -> None:
        """Remember a trade."""
        self.trades.append(trade)
        add_to_bars(self.minutes, MINUTE_NS, trade)
        add_to_bars(self.hours, HOUR_NS, trade)

    def message(self, kind: str, time_ns: int, **more: Any) -> Message:
        """A message of channel full, with the next number."""
        self.sequence += 1
        return {
            "type": kind,
            "time": words.moment(time_ns),
            "product_id": self.id,
            "sequence": self.sequence,
            **more,
        }
