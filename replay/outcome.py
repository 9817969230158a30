"""Outcome of a market: trades, positions, money, halts and refusals that its events come to.

Money is exact: a trade's notional fits int64, a day's may not, so sums are kept in two words.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.market_time import ClockPosition, clock_after, clock_at_each
from engine.names import Directory
from engine.records import EventKind, Phase, Reason, Side
from notation.words import iso_time

Facts = dict[str, Any]

#: Bits of the low word of a sum of money.
_LOW_BITS = 32
_LOW = (1 << _LOW_BITS) - 1


@dataclass
class _Sums:
    """Sums of a participant, or of an instrument, by number; grows as numbers come."""

    values: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), np.int64))

    def add(self, numbers: NDArray[Any], qty: NDArray[np.int64], notional_e4: NDArray[np.int64]) -> None:
        """Add quantities and money to rows: quantity, and money in a low and a high word."""
        if not len(numbers):
            return
        rows = int(numbers.max()) + 1
        if rows > len(self.values):
            self.values = np.concatenate((self.values, np.zeros((rows - len(self.values), 3), np.int64)))
        for column, addend in enumerate((qty, notional_e4 & _LOW, notional_e4 >> _LOW_BITS)):
            np.add.at(self.values[:, column], numbers, addend)

    def money_e4(self, number: int) -> int:
        """Money of a number."""
        if number >= len(self.values):
            return 0
        return (int(self.values[number, 2]) << _LOW_BITS) + int(self.values[number, 1])

    def qty(self, number: int) -> int:
        """Quantity of a number."""
        return int(self.values[number, 0]) if number < len(self.values) else 0


class Outcome:
    """Fold of COMMAND and EVENT rows into what they come to.

    ``now_ns``: the clock in force before the first command.
    """

    def __init__(self, now_ns: int = 0) -> None:
        self._clock = ClockPosition(now_ns)
        self.trades = self.shares = 0
        self._traded = _Sums()  # by instrument
        # By participant (high bits) and instrument (low 16): shares held, and money paid for them.
        self._pairs: dict[int, list[int]] = {}
        self._last_e4: dict[int, int] = {}
        self._refused: dict[int, int] = {}
        self._halts: list[tuple[int, int, int]] = []  # time (ns), instrument, reason

    def take(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> None:
        """Take a block, as a publisher of a pump."""
        kinds = events["kind"]
        refusals = events["reason"][(kinds == EventKind.REJECTED) | (kinds == EventKind.CANCEL_REJECTED)]
        for reason, count in zip(*np.unique(refusals, return_counts=True), strict=True):
            self._refused[int(reason)] = self._refused.get(int(reason), 0) + int(count)
        halted = events[(kinds == EventKind.HALTED) & (events["phase"] == Phase.HALTED)]
        if len(halted):
            times_ns = clock_at_each(commands, self._clock)[halted["seq"] - first_seq]
            columns = (times_ns, halted["instrument"], halted["reason"])
            self._halts += zip(*(column.tolist() for column in columns), strict=True)
        self._clock = clock_after(commands, self._clock)
        trades = kinds == EventKind.TRADE
        if not trades.any():
            return
        qty, price_e4 = events["qty"][trades], events["price_e4"][trades]
        instruments = events["instrument"][trades].astype(np.int64)
        notional_e4 = qty * price_e4
        self.trades += len(qty)
        self.shares += int(qty.sum())
        self._traded.add(instruments, qty, notional_e4)
        # The first order of a trade rests, on the other side; in an uncross it is the buy.
        side = events["side"][trades].astype(np.int64)
        first = np.where(side == 0, int(Side.BUY), -side)
        for place, sign in (("participant", first), ("contra_participant", -first)):
            pairs = events[place][trades].astype(np.int64) << 16 | instruments
            self._add_held(pairs, sign * qty, sign * notional_e4)
        for instrument, last_e4 in zip(instruments.tolist(), price_e4.tolist(), strict=True):
            self._last_e4[instrument] = last_e4

    def _add_held(self, pairs: NDArray[np.int64], qty: NDArray[np.int64], paid_e4: NDArray[np.int64]) -> None:
        distinct, inverse = np.unique(pairs, return_inverse=True)
        sums = _Sums()
        sums.add(inverse.reshape(-1), qty, paid_e4)
        for at, pair in enumerate(distinct.tolist()):
            held = self._pairs.setdefault(pair, [0, 0])
            held[0] += sums.qty(at)
            held[1] += sums.money_e4(at)

    def facts(self, names: Directory) -> Facts:
        """The outcome by names: totals, by instrument, by participant, halts in order, refusals by reason."""
        halts = [
            {"symbol": names.symbols[instrument - 1], "time": iso_time(time_ns), "reason": Reason(reason).name.lower()}
            for time_ns, instrument, reason in self._halts
        ]
        halts_by_symbol = Counter(halt["symbol"] for halt in halts)
        participants: dict[str, Facts] = {name: {"profit_e4": 0, "positions": {}} for name in names.participants}
        for pair, (qty, paid_e4) in sorted(self._pairs.items()):
            number, instrument = pair >> 16, pair & 0xFFFF
            facts = participants[names.participants[number - 1]]
            if qty:
                facts["positions"][names.symbols[instrument - 1]] = qty
            facts["profit_e4"] += qty * self._last_e4[instrument] - paid_e4
        return {
            "trades": self.trades,
            "shares": self.shares,
            "instruments": {
                symbol: {
                    "shares": self._traded.qty(number),
                    "notional_e4": self._traded.money_e4(number),
                    "last_price_e4": self._last_e4.get(number),
                    "halts": halts_by_symbol[symbol],
                }
                for number, symbol in enumerate(names.symbols, 1)
            },
            "participants": participants,
            "halts": halts,
            "refused": {Reason(reason).name.lower(): count for reason, count in sorted(self._refused.items())},
        }
