"""Statistics of a market: volumes, prices, average prices, bars, spreads and shares of participants, all exact.

They are a fold over REPORT rows and the QUOTE rows of their ladders. Sums are integers of any size, so a mean is one
division at the end. Every trade counts for volume. Trades of the midpoint book and agreed crosses have prices that the
displayed book did not make: they make no open, high, low or last, and no bar gets a price from them.
"""

import json
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import SECOND_NS
from engine.digest import ByteHash
from engine.names import unpack
from engine.records import Phase, Side
from reports.rows import Liquidity, ReportKind

Rows = NDArray[Any]

#: Liquidity of trades whose price the displayed book or its auction made.
MAKES_PRICE: Final = (
    *(Liquidity.ADDED, Liquidity.REMOVED),
    *(Liquidity.OPENING_CROSS, Liquidity.CLOSING_CROSS, Liquidity.HALT_CROSS),
)
_ADDED: Final = (Liquidity.ADDED, Liquidity.MIDPOINT_ADDED)
_REMOVED: Final = (Liquidity.REMOVED, Liquidity.MIDPOINT_REMOVED)
#: Above every price, for an offer that is not there.
_NO_OFFER: Final = 2**62
_LIMB_BITS: Final = 20


def exact_sums(places: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64], n: int) -> list[int]:
    """Sums of ``one * other`` by place (0 to n - 1), exact. Both are at least 0; up to 2^43 rows of 2^60 each."""
    sums = [0] * n
    for i in range(3):
        part = (one >> (i * _LIMB_BITS)) & (2**_LIMB_BITS - 1)
        for j in range(3):
            limb = part * ((other >> (j * _LIMB_BITS)) & (2**_LIMB_BITS - 1))
            if limb.any():
                added = np.zeros(n, np.int64)
                np.add.at(added, places, limb)
                for place in np.flatnonzero(added).tolist():
                    sums[place] += int(added[place]) << ((i + j) * _LIMB_BITS)
    return sums


@dataclass
class Bar:
    """Trades of an instrument within one width of market time. Prices 0: no trade in it made a price."""

    open_e4: int = 0
    high_e4: int = 0
    low_e4: int = 0
    close_e4: int = 0
    qty: int = 0
    notional_e4: int = 0
    trades: int = 0

    def add_prices(self, first_e4: int, high_e4: int, low_e4: int, last_e4: int) -> None:
        """Add trades that make prices, later than those before."""
        self.low_e4 = min(self.low_e4, low_e4) if self.open_e4 else low_e4
        self.open_e4 = self.open_e4 or first_e4
        self.high_e4 = max(self.high_e4, high_e4)
        self.close_e4 = last_e4

    @property
    def vwap_e4(self) -> Fraction | None:
        """Average price by volume, exact; None without a trade."""
        return Fraction(self.notional_e4, self.qty) if self.qty else None


@dataclass
class Totals(Bar):
    """Totals of an instrument.

    auction_qty, midpoint_qty, cross_qty: volume of uncrosses, of the midpoint book and of agreed crosses.
    official_open_e4, official_close_e4: price of the first opening and the last closing uncross, 0 without one.
    continuous_ns: time in continuous trading. quoted_ns: of that, with both a bid and an offer. spread_e4_ns: spread
    times time, over that. flow_imbalance_qty: order flow imbalance of Cont, Kukanov and Stoikov (2014): what came to
    the best bid and went from the best offer, less what went from the bid and came to the offer.
    """

    auction_qty: int = 0
    midpoint_qty: int = 0
    cross_qty: int = 0
    official_open_e4: int = 0
    official_close_e4: int = 0
    continuous_ns: int = 0
    quoted_ns: int = 0
    spread_e4_ns: int = 0
    flow_imbalance_qty: int = 0

    @property
    def spread_e4(self) -> Fraction | None:
        """Mean spread by time, exact; None while there never was one."""
        return Fraction(self.spread_e4_ns, self.quoted_ns) if self.quoted_ns else None

    @property
    def opened_e4(self) -> int:
        """Official open: that of the opening auction, else the first price; 0 for none."""
        return self.official_open_e4 or self.open_e4

    @property
    def closed_e4(self) -> int:
        """Official close: that of the closing auction, else the last price; 0 for none."""
        return self.official_close_e4 or self.close_e4


@dataclass
class Share:
    """Trades of a participant in an instrument. ``added_qty``, ``removed_qty``: as the order at rest, as aggressor."""

    bought_qty: int = 0
    sold_qty: int = 0
    bought_e4: int = 0
    sold_e4: int = 0
    added_qty: int = 0
    removed_qty: int = 0
    trades: int = 0


class Statistics:
    """Statistics of the reports and quotes that it took.

    ``totals``: by number of instrument. ``bars``: by instrument and begin, ns since 1970, where ``width_ns`` is given.
    ``shares``: by number of participant and of instrument. ``symbols``, ``participants``: their names.
    begin_ns: quotes count from then on.
    """

    def __init__(self, *, width_ns: int | None = None, begin_ns: int = 0) -> None:
        if width_ns is not None and (width_ns < SECOND_NS or width_ns % SECOND_NS):
            raise ValueError(f"a bar of {width_ns} ns is no whole number of seconds")
        self.totals: dict[int, Totals] = {}
        self.bars: dict[tuple[int, int], Bar] = {}
        self.shares: dict[tuple[int, int], Share] = {}
        self.symbols: dict[int, str] = {}
        self.participants: dict[int, str] = {}
        self._width_ns = width_ns
        self._begin_ns = begin_ns

    def learn(self, reports: Rows) -> None:
        """Learn the names that REPORT rows define; nothing is counted."""
        for row in reports[reports["kind"] == ReportKind.INSTRUMENT]:
            self.symbols[int(row["instrument"])] = unpack(int(row["symbol"]))
        for row in reports[reports["kind"] == ReportKind.PARTICIPANT]:
            self.participants[int(row["participant"])] = unpack(int(row["participant_name"]))

    def take(self, reports: Rows, quotes: Rows) -> None:
        """Count REPORT rows and the QUOTE rows that their ladders gave."""
        trades = reports[reports["kind"] == ReportKind.TRADE]
        if len(trades):
            self._take_shares(trades)
            self._take_trades(trades[trades["side"] == Side.BUY])
        if len(quotes):
            self._take_quotes(quotes)

    def end(self, quotes: Rows, now_ns: int) -> None:
        """Count the quotes in force up to a time: a QUOTE row of each instrument, once, at the end."""
        last = quotes[quotes["seq"] > 0].copy()
        for name in ("bid_e4", "bid_qty", "offer_e4", "offer_qty", "phase"):
            last[f"before_{name}"] = last[name]
        last["since_ns"], last["time_ns"] = last["time_ns"], now_ns
        self._take_times(last)

    def _take_trades(self, trades: Rows) -> None:
        """Count trades, each by the report of its buyer."""
        instruments = trades["instrument"].astype(np.int64)
        prices, qty = trades["last_price_e4"], trades["last_qty"].astype(np.int64)
        liquidity = trades["liquidity"]
        made = np.isin(liquidity, MAKES_PRICE)
        numbers, places = np.unique(instruments, return_inverse=True)
        totals = [self.totals.setdefault(number, Totals()) for number in numbers.tolist()]
        _add(totals, places, prices, qty)
        _add_prices(totals, places[made], prices[made])
        crossed = np.isin(liquidity, (Liquidity.OPENING_CROSS, Liquidity.CLOSING_CROSS, Liquidity.HALT_CROSS))
        for name, of in (
            ("auction_qty", crossed),
            ("midpoint_qty", np.isin(liquidity, (Liquidity.MIDPOINT_ADDED, Liquidity.MIDPOINT_REMOVED))),
            ("cross_qty", liquidity == Liquidity.AGREED_CROSS),
        ):
            for total, more in zip(totals, _sums(places, qty * of, len(totals)), strict=True):
                setattr(total, name, getattr(total, name) + more)
        for row in trades[liquidity == Liquidity.OPENING_CROSS]:
            total = self.totals[int(row["instrument"])]
            total.official_open_e4 = total.official_open_e4 or int(row["last_price_e4"])
        for row in trades[liquidity == Liquidity.CLOSING_CROSS]:
            self.totals[int(row["instrument"])].official_close_e4 = int(row["last_price_e4"])
        if self._width_ns is not None:
            # A width is a second at least, so its number and an instrument fit into one word.
            keys, places = np.unique(trades["time_ns"] // self._width_ns << 16 | instruments, return_inverse=True)
            bars = [self.bars.setdefault((key & 0xFFFF, (key >> 16) * self._width_ns), Bar()) for key in keys.tolist()]
            _add(bars, places, prices, qty)
            _add_prices(bars, places[made], prices[made])

    def _take_shares(self, trades: Rows) -> None:
        pairs = trades["participant"].astype(np.int64) << 16 | trades["instrument"]
        keys, places = np.unique(pairs, return_inverse=True)
        shares = [self.shares.setdefault((key >> 16, key & 0xFFFF), Share()) for key in keys.tolist()]
        prices, qty = trades["last_price_e4"], trades["last_qty"].astype(np.int64)
        buys = (trades["side"] == Side.BUY).astype(np.int64)
        columns = (
            ("bought_qty", _sums(places, qty * buys, len(shares))),
            ("sold_qty", _sums(places, qty * (1 - buys), len(shares))),
            ("bought_e4", exact_sums(places, prices, qty * buys, len(shares))),
            ("sold_e4", exact_sums(places, prices, qty * (1 - buys), len(shares))),
            ("added_qty", _sums(places, qty * np.isin(trades["liquidity"], _ADDED), len(shares))),
            ("removed_qty", _sums(places, qty * np.isin(trades["liquidity"], _REMOVED), len(shares))),
            ("trades", _sums(places, np.ones(len(places), np.int64), len(shares))),
        )
        for name, sums in columns:
            for share, more in zip(shares, sums, strict=True):
                setattr(share, name, getattr(share, name) + more)

    def _take_quotes(self, quotes: Rows) -> None:
        self._take_times(quotes)
        both = quotes[(quotes["phase"] == Phase.CONTINUOUS) & (quotes["before_phase"] == Phase.CONTINUOUS)]
        bid, bid_qty, was_bid, was_bid_qty = (
            both[name] for name in ("bid_e4", "bid_qty", "before_bid_e4", "before_bid_qty")
        )
        offer, was_offer = (
            np.where(both[name] == 0, _NO_OFFER, both[name]) for name in ("offer_e4", "before_offer_e4")
        )
        flow = (bid >= was_bid) * bid_qty - (bid <= was_bid) * was_bid_qty
        flow += (offer >= was_offer) * both["before_offer_qty"] - (offer <= was_offer) * both["offer_qty"]
        numbers, places = np.unique(both["instrument"].astype(np.int64), return_inverse=True)
        for number, more in zip(numbers.tolist(), _sums(places, flow, len(numbers)), strict=True):
            self.totals.setdefault(number, Totals()).flow_imbalance_qty += more

    def _take_times(self, quotes: Rows) -> None:
        """Count how long the quotes before stood, and their spreads."""
        stood = quotes[(quotes["before_phase"] == Phase.CONTINUOUS) & (quotes["since_ns"] > 0)]
        lasted_ns = stood["time_ns"] - np.maximum(stood["since_ns"], self._begin_ns)
        stood, lasted_ns = stood[lasted_ns > 0], lasted_ns[lasted_ns > 0]
        if not len(stood):
            return
        numbers, places = np.unique(stood["instrument"].astype(np.int64), return_inverse=True)
        quoted = (stood["before_bid_e4"] > 0) & (stood["before_offer_e4"] > 0)
        spread_e4 = np.where(quoted, np.maximum(stood["before_offer_e4"] - stood["before_bid_e4"], 0), 0)
        columns = (
            _sums(places, lasted_ns, len(numbers)),
            _sums(places, lasted_ns * quoted, len(numbers)),
            exact_sums(places, spread_e4, lasted_ns, len(numbers)),
        )
        for number, continuous_ns, quoted_ns, spread in zip(numbers.tolist(), *columns, strict=True):
            total = self.totals.setdefault(number, Totals())
            total.continuous_ns += continuous_ns
            total.quoted_ns += quoted_ns
            total.spread_e4_ns += spread

    def digest(self) -> str:
        """Digest of all figures (16 hexadecimal digits): equal for the same reports, however they came in batches."""
        hasher = ByteHash()
        for tables in (self.totals, self.bars, self.shares):
            rows = sorted(
                (key if isinstance(key, tuple) else (key,), [getattr(row, each.name) for each in fields(row)])
                for key, row in tables.items()
            )
            hasher.update(json.dumps(rows).encode() + b"\n")
        return str(hasher.hexdigest())


def _sums(places: NDArray[np.int64], values: NDArray[Any], n: int) -> list[int]:
    added = np.zeros(n, np.int64)
    np.add.at(added, places, values.astype(np.int64, copy=False))
    return [int(each) for each in added]


def _add(bars: list[Any], places: NDArray[np.int64], prices: NDArray[np.int64], qty: NDArray[np.int64]) -> None:
    counts = np.bincount(places, minlength=len(bars))
    notional = exact_sums(places, prices, qty, len(bars))
    for bar, more, value_e4, trades in zip(bars, _sums(places, qty, len(bars)), notional, counts, strict=True):
        bar.qty += more
        bar.notional_e4 += value_e4
        bar.trades += int(trades)


def _add_prices(bars: list[Any], places: NDArray[np.int64], prices: NDArray[np.int64]) -> None:
    if not len(places):
        return
    order = np.argsort(places, kind="stable")
    of, sorted_prices = places[order], prices[order]
    starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
    ends = np.r_[starts[1:], len(of)] - 1
    highs, lows = np.maximum.reduceat(sorted_prices, starts), np.minimum.reduceat(sorted_prices, starts)
    for start, end, high, low in zip(starts, ends, highs, lows, strict=True):
        bars[of[start]].add_prices(int(sorted_prices[start]), int(high), int(low), int(sorted_prices[end]))
