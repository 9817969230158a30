"""Simulated traders: market makers that quote around a drifting price, and takers that hit them.

`lockstep demo` and `lockstep simulate` send their orders by OUCH (``load.actions``), which has market orders
in a cross only; so who wants to trade at once goes deep into the book by a limit. Batches are made with NumPy, a few
microseconds a row, from one seed. The traders do not listen: a cancel of an order that has traded meanwhile is
refused, as it is on any venue.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.records import COMMAND, CommandKind, SelfTrade, TimeInForce

SYMBOLS: Final = (("ACME", 100_0000), ("BOLT", 25_0000), ("CORE", 410_0000))
PARTICIPANTS: Final = ("ALPHA", "BETA", "GAMMA", "DELTA", "OMEGA")
_TICK_E4: Final = 100
_DEEP_TICKS: Final = 25
#: Orders that the makers keep in the books; beyond it the oldest are canceled.
_QUOTES_MAX: Final = 900
_ENTER, _REPLACE, _CANCEL, _TAKE, _DEEP = range(5)
_SHARES: Final = (0.50, 0.15, 0.25, 0.08, 0.02)
_QUOTE: Final = np.dtype([("id", "<i8"), ("participant", "<u4"), ("instrument", "<u4"), ("side", "i1")])


class Traders:
    """A source of COMMAND rows that never ends. The same seed gives the same rows."""

    def __init__(
        self,
        seed: int,
        symbols: Sequence[tuple[str, int]],
        traders: int,
        ids: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    ) -> None:
        """symbols: with their reference prices (e4). traders: participants 1 to so many, three in five make markets.

        ids: of numbers that count up.
        """
        self._random = np.random.default_rng(seed)
        self._mid_e4 = np.array([reference_e4 for _, reference_e4 in symbols], np.float64)
        self._makers = max(traders * 3 // 5, 1)
        self._traders = traders
        self._ids_of = ids
        self._quotes = np.zeros(0, _QUOTE)  # oldest first
        self._ids = 0

    def batch(self, rows: int) -> NDArray[Any]:
        """The next ``rows`` COMMAND rows."""
        random = self._random
        self._mid_e4 *= np.exp(random.normal(0.0, 0.0001, len(self._mid_e4)))
        kinds = random.choice(5, rows, p=_SHARES)
        surplus = len(self._quotes) - _QUOTES_MAX
        if surplus > 0:
            entries = np.flatnonzero(kinds == _ENTER)
            kinds[entries[: min(surplus, len(entries) // 2)]] = _CANCEL
        out = np.zeros(rows, COMMAND)
        at_quotes = np.flatnonzero((kinds == _CANCEL) | (kinds == _REPLACE))[: len(self._quotes)]
        entering = np.setdiff1d(np.arange(rows), at_quotes)
        kinds[entering[np.isin(kinds[entering], (_CANCEL, _REPLACE))]] = _ENTER
        fresh = self._enter(out, entering, kinds[entering])
        moved = self._touch(out, at_quotes, kinds[at_quotes])
        self._quotes = np.concatenate((self._quotes, moved, fresh))
        return out

    def _enter(self, out: NDArray[Any], at: NDArray[np.intp], kinds: NDArray[np.int64]) -> NDArray[Any]:
        """New orders: quotes, and IOC or market orders of the takers. Returns the quotes."""
        random, count = self._random, len(at)
        quotes = kinds == _ENTER
        rows = np.zeros(count, COMMAND)
        rows["kind"] = CommandKind.ENTER
        rows["client_order_id"] = self._new_ids(count)
        makers = random.integers(1, self._makers + 1, count)
        takers = random.integers(min(self._makers, self._traders - 1) + 1, self._traders + 1, count)
        rows["participant"] = np.where(quotes, makers, takers)
        rows["instrument"] = random.integers(1, len(self._mid_e4) + 1, count)
        rows["side"] = random.choice((1, -1), count)
        rows["qty"] = np.where(quotes, random.integers(5, 80, count), random.integers(1, 40, count)) * 10
        rows["time_in_force"] = np.where(quotes, TimeInForce.DAY, TimeInForce.IOC)
        rows["self_trade"] = SelfTrade.CANCEL_OLDEST
        away = np.where(quotes, 1 + random.exponential(4.0, count).astype(np.int64), -random.integers(2, 9, count))
        away[kinds == _DEEP] = -_DEEP_TICKS
        rows["price_e4"] = self._price_e4(rows["instrument"], rows["side"], away)
        out[at] = rows
        fresh = np.zeros(int(quotes.sum()), _QUOTE)
        fresh["id"] = rows["client_order_id"][quotes]
        for name in ("participant", "instrument", "side"):
            fresh[name] = rows[name][quotes]
        return fresh

    def _touch(self, out: NDArray[Any], at: NDArray[np.intp], kinds: NDArray[np.int64]) -> NDArray[Any]:
        """Cancels and replaces of quotes, the older the likelier. Returns the replaced ones, with their new ids."""
        places = np.unique((len(self._quotes) * self._random.random(len(at)) ** 2).astype(np.int64))
        unused = np.setdiff1d(np.arange(len(self._quotes)), places)[: len(at) - len(places)]
        places = np.concatenate((places, unused))
        chosen = self._quotes[places]
        self._quotes = np.delete(self._quotes, places)
        rows = np.zeros(len(at), COMMAND)
        rows["client_order_id"] = chosen["id"]
        rows["participant"] = chosen["participant"]
        moves = kinds == _REPLACE
        rows["kind"] = np.where(moves, CommandKind.REPLACE, CommandKind.CANCEL)
        moved: NDArray[Any] = chosen[moves]
        moved["id"] = self._new_ids(len(moved))
        rows["new_client_order_id"][moves] = moved["id"]
        rows["qty"][moves] = self._random.integers(1, 50, len(moved)) * 10
        away = 1 + self._random.exponential(4.0, len(moved)).astype(np.int64)
        rows["price_e4"][moves] = self._price_e4(moved["instrument"], moved["side"], away)
        out[at] = rows
        return moved

    def _price_e4(
        self, instruments: NDArray[Any], sides: NDArray[Any], away_ticks: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        mid_ticks = np.rint(self._mid_e4[instruments.astype(np.int64) - 1] / _TICK_E4).astype(np.int64)
        prices: NDArray[np.int64] = np.maximum(mid_ticks - sides.astype(np.int64) * away_ticks, 1) * _TICK_E4
        return prices

    def _new_ids(self, count: int) -> NDArray[np.int64]:
        """The next client order ids."""
        numbers = np.arange(self._ids, self._ids + count, dtype=np.int64)
        self._ids += count
        return self._ids_of(numbers)
