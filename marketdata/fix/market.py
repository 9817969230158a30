"""Public data of each instrument, as a projection: blocks in, what each command changed out.

Price levels are those of ``marketdata.ladders``: what is displayed, and no reserve, hidden order, dormant stop or order
that waits for the close. Trades, prices of the day and the indication of a call follow from the same reports. Each
command that changed anything of an instrument counts one in its ``updates``, so that number is a function of the
journal, and goes on after any end of the process, at whichever node.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from checkpoints import Projection
from engine.capacity import Capacity
from engine.digest import part_digest
from engine.names import pack, unpack
from engine.records import Phase, Reason, Side
from marketdata.fix.levels import Levels, Touched
from marketdata.ladders import Ladders
from marketdata.statistics import MAKES_PRICE
from reports import ReportKind, Reports
from reports.rows import Liquidity

Rows = NDArray[Any]

_REPORTS: Final = "reports."
_LADDERS: Final = "ladders."
_TRADE, _PHASE, _HALTED = int(ReportKind.TRADE), int(ReportKind.PHASE), int(ReportKind.HALTED)
_INDICATIVE, _INSTRUMENT = int(ReportKind.INDICATIVE), int(ReportKind.INSTRUMENT)
_DAY: Final = int(ReportKind.TRADING_DAY)
_FACTS: Final = (_TRADE, _PHASE, _HALTED, _INDICATIVE, _INSTRUMENT, _DAY)
_MAKES_PRICE: Final = frozenset(int(each) for each in MAKES_PRICE)
_OPENING, _CLOSING = int(Liquidity.OPENING_CROSS), int(Liquidity.CLOSING_CROSS)
_BUY: Final = int(Side.BUY)
_LEVEL_COLUMNS: Final = ("seq", "time_ns", "instrument", "side", "price_e4", "qty", "orders")
#: Levels that are asked for at once when books are made from an image.
_TOP_LEAST: Final = 1_024

#: Types of entries beside bids, offers and trades: MDEntryType, field 269.
OPENING, CLOSING, HIGH, LOW = b"4", b"5", b"7", b"8"
IMBALANCE, VOLUME, CLEARING = b"A", b"B", b"Q"


class Trade(NamedTuple):
    """A trade. liquidity: of ``reports.rows``."""

    trade_number: int
    price_e4: int
    qty: int
    time_ns: int
    liquidity: int


class Entry(NamedTuple):
    """Entry beside levels and trades. price_e4, qty: None where its type has none. side: of an imbalance.

    earlier: it is of a trading day before.
    """

    price_e4: int | None
    qty: int | None
    time_ns: int
    side: int = 0
    earlier: bool = False


Entries = dict[bytes, Entry]


class _Fact(NamedTuple):
    """The fields that are read of a report which is not about a level."""

    seq: int
    time_ns: int
    kind: int
    instrument: int
    side: int
    liquidity: int
    last_price_e4: int
    last_qty: int
    trade_number: int
    phase: int
    reason: int
    price_e4: int
    paired_qty: int
    imbalance_qty: int
    tick_e4: int
    lot: int
    symbol: int


@dataclass
class Instrument:
    """The public data of an instrument. ``updates``: commands that changed some of it."""

    number: int
    symbol: str
    tick_e4: int = 0
    lot: int = 0
    phase: int = int(Phase.CLOSED)
    reason: int = 0  # of a halt
    updates: int = 0
    day_high_e4: int = 0  # of trades that make prices, today; 0: none
    day_low_e4: int = 0
    last_e4: int = 0
    opened: int = 0  # liquidity of the trade that made the opening price
    closed: bool = False  # a closing auction made today's closing price
    volume_qty: int = 0
    trade: Trade | None = None  # the last
    entries: Entries = field(default_factory=dict)
    bids: Levels = field(default_factory=lambda: Levels(Side.BUY))
    offers: Levels = field(default_factory=lambda: Levels(Side.SELL))

    @property
    def last_price_e4(self) -> int:
        """Price of the last trade that makes prices, today or before; 0: there was none. Crosses and trades in the
        midpoint book make none (rulebook section 3)."""
        closing = self.entries.get(CLOSING)
        return self.last_e4 or (closing.price_e4 or 0 if closing is not None else 0)


class Change(NamedTuple):
    """The effect of a command on an instrument, which stands as after it. entries: each with what it was before.

    phase: True if the phase, or the reason of a halt, is another. defined: True if the instrument is new, or its terms
    are others.
    """

    instrument: Instrument
    seq: int
    time_ns: int
    bids: Touched
    offers: Touched
    trades: list[Trade]
    entries: dict[bytes, Entry | None]
    phase: bool
    defined: bool


@dataclass
class _Under:
    """The effect so far of the command under way on an instrument."""

    entries: Entries
    status: tuple[int, int]
    trades: list[Trade] = field(default_factory=list)
    defined: bool = False


class FixMarket(Projection):
    """Public data of all instruments of a venue."""

    name = "fix-market"
    #: Of reports, ladders and what is here; add to it with any change of the arrays of ``image``.
    version = 1_000 * Reports.version + 10 * Ladders.version + 1

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self.reports = Reports(capacity)
        self.ladders = Ladders(capacity)
        self.instruments: dict[int, Instrument] = {}
        self.by_symbol: dict[str, Instrument] = {}
        self._seq = self._time_ns = 0  # of the command under way
        self._under: dict[int, _Under] = {}

    @property
    def now_ns(self) -> int:
        """The clock in force."""
        return self.reports.now_ns

    def observe(self, first_seq: int, commands: Rows, events: Rows, /) -> None:
        """Take a block."""
        for _ in self.follow(first_seq, commands, events):
            pass

    def follow(self, first_seq: int, commands: Rows, events: Rows) -> Iterator[list[Change]]:
        """Take a block; gives the changes of each command that changed something, as far as it is asked for more.

        All of it is to be taken before the next block, and before an image.
        """
        for batch in self.reports.batches(first_seq, commands, events):
            yield from self._take(batch)
        changes = self._settle()
        if changes:
            yield changes

    def _take(self, batch: Rows) -> Iterator[list[Change]]:
        """Take REPORT rows; the last command of a batch may go on in the next."""
        levels, _ = self.ladders.take(batch)
        facts = batch[np.isin(batch["kind"], _FACTS)]
        level_rows = list(zip(*(levels[name].tolist() for name in _LEVEL_COLUMNS), strict=True))
        fact_rows = [_Fact(*row) for row in zip(*(facts[name].tolist() for name in _Fact._fields), strict=True)]
        at = of = 0
        while at < len(level_rows) or of < len(fact_rows):
            seq = min(
                level_rows[at][0] if at < len(level_rows) else fact_rows[of][0],
                fact_rows[of][0] if of < len(fact_rows) else level_rows[at][0],
            )
            if seq != self._seq:
                changes = self._settle()
                self._seq = seq
                if changes:
                    yield changes
            # Instruments are defined before they have levels.
            while of < len(fact_rows) and fact_rows[of][0] == seq:
                self._take_fact(fact_rows[of])
                of += 1
            while at < len(level_rows) and level_rows[at][0] == seq:
                _, self._time_ns, number, side, price_e4, qty, orders = level_rows[at]
                at += 1
                instrument = self.instruments.get(number)
                if instrument is not None and price_e4 > 0:
                    self._touch(instrument)
                    (instrument.bids if side == _BUY else instrument.offers).put(price_e4, qty, orders)

    def _touch(self, instrument: Instrument) -> _Under:
        under = self._under.get(instrument.number)
        if under is None:
            under = _Under(instrument.entries.copy(), (instrument.phase, instrument.reason))
            self._under[instrument.number] = under
        return under

    def _settle(self) -> list[Change]:
        """End the command under way: what it changed, instrument by instrument."""
        if not self._under:
            return []
        touched, self._under = self._under, {}
        made = []
        for number, under in sorted(touched.items()):
            instrument = self.instruments[number]
            bids, offers = instrument.bids.settle(), instrument.offers.settle()
            now, before = instrument.entries, under.entries
            entries: dict[bytes, Entry | None] = {
                kind: before.get(kind)
                for kind in sorted(now.keys() | before.keys())
                if now.get(kind) != before.get(kind)
            }
            phase = (instrument.phase, instrument.reason) != under.status
            if bids or offers or under.trades or entries or phase or under.defined:
                instrument.updates += 1
                made.append(
                    Change(
                        *(instrument, self._seq, self._time_ns, bids, offers),
                        *(under.trades, entries, phase, under.defined),
                    )
                )
        return made

    def _take_fact(self, fact: _Fact) -> None:
        self._time_ns, kind, number = fact.time_ns, fact.kind, fact.instrument
        if kind == _INSTRUMENT:
            self._define(number, unpack(fact.symbol), fact.tick_e4, fact.lot)
            return
        if kind == _DAY:
            for each in self.instruments.values():
                self._touch(each)
                _begin_day(each)
            return
        found = self.instruments.get(number)
        for each in list(self.instruments.values()) if not number else [] if found is None else [found]:
            under = self._touch(each)
            if kind == _TRADE:
                if fact.side == _BUY:  # of the two reports of a trade one
                    trade = Trade(fact.trade_number, fact.last_price_e4, fact.last_qty, fact.time_ns, fact.liquidity)
                    under.trades.append(trade)
                    _add_trade(each, trade)
            elif kind == _INDICATIVE:
                self._indicate(each, fact)
            else:
                self._change_phase(each, fact.phase, fact.reason if kind == _HALTED else 0)

    def _define(self, number: int, symbol: str, tick_e4: int, lot: int) -> None:
        instrument = self.instruments.get(number)
        if instrument is None:
            instrument = Instrument(number, symbol)
            self.instruments[number] = self.by_symbol[symbol] = instrument
        self._touch(instrument).defined = True
        instrument.tick_e4, instrument.lot = tick_e4 or instrument.tick_e4, lot or instrument.lot

    @staticmethod
    def _indicate(instrument: Instrument, fact: _Fact) -> None:
        entries = instrument.entries
        entries.pop(CLEARING, None)
        entries.pop(IMBALANCE, None)
        if fact.price_e4:
            entries[CLEARING] = Entry(fact.price_e4, fact.paired_qty, fact.time_ns)
        if fact.price_e4 or fact.imbalance_qty:
            entries[IMBALANCE] = Entry(None, fact.imbalance_qty, fact.time_ns, fact.side)

    def _change_phase(self, instrument: Instrument, phase: int, reason: int) -> None:
        entries = instrument.entries
        if phase != instrument.phase:  # each call begins with nothing told
            entries.pop(CLEARING, None)
            entries.pop(IMBALANCE, None)
        if phase == Phase.CLOSED and instrument.phase != Phase.CLOSED and not instrument.closed and instrument.last_e4:
            entries[CLOSING] = Entry(instrument.last_e4, None, self._time_ns)
        instrument.phase, instrument.reason = phase, reason

    # Its state.

    def image(self) -> dict[str, Rows]:
        """Image for ``restore``, between two blocks."""
        each = [self.instruments[number] for number in sorted(self.instruments)]
        rows = [
            (
                *(i.number, pack(i.symbol), i.tick_e4, i.lot, i.phase, i.reason, i.updates, i.day_high_e4),
                *(i.day_low_e4, i.last_e4, i.opened, int(i.closed), i.volume_qty),
            )
            for i in each
        ]
        trades = [(i.number, *i.trade) for i in each if i.trade is not None]
        entries = [
            (i.number, kind[0], _or_none(e.price_e4), _or_none(e.qty), e.time_ns, e.side, int(e.earlier))
            for i in each
            for kind, e in sorted(i.entries.items())
        ]
        return {
            **{f"{_REPORTS}{name}": array for name, array in self.reports.image().items()},
            **{f"{_LADDERS}{name}": array for name, array in self.ladders.image().items()},
            "instruments": _table(rows, 13),
            "trades": _table(trades, 6),
            "entries": _table(entries, 7),
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
        for number, symbol, *terms in arrays["instruments"].tolist():
            made = Instrument(number, unpack(symbol))
            made.tick_e4, made.lot, made.phase, made.reason, made.updates, *day = terms
            made.day_high_e4, made.day_low_e4, made.last_e4, made.opened, closed, made.volume_qty = day
            made.closed = bool(closed)
            self.instruments[number] = self.by_symbol[made.symbol] = made
        for number, *trade in arrays["trades"].tolist():
            self.instruments[number].trade = Trade(*trade)
        for number, kind, price_e4, qty, time_ns, side, earlier in arrays["entries"].tolist():
            entry = Entry(None if price_e4 < 0 else price_e4, None if qty < 0 else qty, time_ns, side, bool(earlier))
            self.instruments[number].entries[bytes([kind])] = entry
        for made in self.instruments.values():
            made.bids.fill(self._levels(made.number, Side.BUY))
            made.offers.fill(self._levels(made.number, Side.SELL))

    def _levels(self, number: int, side: Side) -> list[tuple[int, int, int]]:
        """All levels of a ladder: price_e4, qty, orders. Market orders of a call are left out."""
        depth = _TOP_LEAST
        while len(found := self.ladders.top(number, side, depth)) == depth:
            depth *= 4
        columns = (found[name].tolist() for name in ("price_e4", "qty", "orders"))
        return [level for level in zip(*columns, strict=True) if level[0] > 0]

    def clear(self) -> None:
        """Reset to the state before the first command."""
        self.reports.clear()
        self.ladders = Ladders(self._capacity)
        self.instruments.clear()
        self.by_symbol.clear()
        self._under = {}
        self._seq = self._time_ns = 0


def _begin_day(instrument: Instrument) -> None:
    """Begin another trading day: the closing price stays, as one of a day before."""
    closing = instrument.entries.get(CLOSING)
    if instrument.last_e4 and not instrument.closed and (closing is None or closing.earlier):
        closing = Entry(instrument.last_e4, None, instrument.trade.time_ns if instrument.trade is not None else 0)
    calls = {kind: entry for kind, entry in instrument.entries.items() if kind in (IMBALANCE, CLEARING)}
    instrument.entries = calls if closing is None else {**calls, CLOSING: closing._replace(earlier=True)}
    instrument.day_high_e4 = instrument.day_low_e4 = instrument.last_e4 = instrument.opened = 0
    instrument.volume_qty, instrument.closed = 0, False


def _add_trade(instrument: Instrument, trade: Trade) -> None:
    entries, price_e4, time_ns = instrument.entries, trade.price_e4, trade.time_ns
    instrument.trade = trade
    instrument.volume_qty += trade.qty
    entries[VOLUME] = Entry(None, instrument.volume_qty, time_ns)
    if trade.liquidity not in _MAKES_PRICE:
        return
    instrument.last_e4 = price_e4
    opens = trade.liquidity == _OPENING and instrument.opened != _OPENING
    if OPENING not in entries or opens:
        entries[OPENING], instrument.opened = Entry(price_e4, None, time_ns), trade.liquidity
    if price_e4 > instrument.day_high_e4:
        instrument.day_high_e4, entries[HIGH] = price_e4, Entry(price_e4, None, time_ns)
    if not instrument.day_low_e4 or price_e4 < instrument.day_low_e4:
        instrument.day_low_e4, entries[LOW] = price_e4, Entry(price_e4, None, time_ns)
    if trade.liquidity == _CLOSING:
        entries[CLOSING], instrument.closed = Entry(price_e4, None, time_ns), True


def _or_none(value: int | None) -> int:
    return -1 if value is None else value


def _table(rows: Sequence[tuple[int, ...]], columns: int) -> Rows:
    """Rows of integers: int64[n, columns]."""
    return np.array(rows, np.int64).reshape(len(rows), columns)


def halt_reason(instrument: Instrument) -> str:
    """Word for why an instrument is halted; "": it is not."""
    if instrument.phase != Phase.HALTED or not instrument.reason:
        return ""
    return Reason(instrument.reason).name.lower().replace("_", " ")
