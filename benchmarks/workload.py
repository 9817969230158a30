"""The standard workloads: W1, W2 and W3, over any number of symbols and participants, from a seed.

W1 is 50% limit, 40% cancel, 6% IOC and 4% market orders; W2 is 20% limit, 10% cancel, 4% IOC, 1% market and 65%
replace. W3 is W1, but of all commands 5% are icebergs, 3% hidden orders, 3% pegs (two in three primary, the others
midpoint) and 2% stops that become market orders, in place of limit orders. Sizes are 1 to 500. Limit prices lie
exponentially around a drifting mid, 6 ticks away in the mean, one in ten on the other side of it. Cancels and replaces
aim at live orders, mostly recent ones: which are live is known since the stream is made while an engine runs it, some
commands ahead.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engine import Capacity, Engine
from engine.names import pack
from engine.records import (
    COMMAND,
    CommandKind,
    EventKind,
    Instruction,
    Limit,
    Peg,
    Phase,
    SelfTrade,
    TimeInForce,
    concatenate,
)

Rows = np.ndarray[Any, Any]

PARTICIPANTS: Final = 50
#: So many that their positions in 100 symbols are more than the caches of a core hold.
MANY_PARTICIPANTS: Final = 999
TICK_E4: Final = 100
MID_TICKS: Final = 10_000
STEP: Final = 256  # commands made at a time: what the stream knows of the book is at most that old


@dataclass(frozen=True)
class Mix:
    """Shares of a workload; they add up to 1."""

    name: str
    limit: float
    cancel: float
    ioc: float
    market: float
    replace: float
    #: Of the limit orders, those that are icebergs, hidden, pegs and stops.
    iceberg: float = 0.0
    hidden: float = 0.0
    peg: float = 0.0
    stop: float = 0.0


W1: Final = Mix("W1", 0.50, 0.40, 0.06, 0.04, 0.0)
W2: Final = Mix("W2", 0.20, 0.10, 0.04, 0.01, 0.65)
W3: Final = Mix("W3", 0.50, 0.40, 0.06, 0.04, 0.0, iceberg=0.05, hidden=0.03, peg=0.03, stop=0.02)

#: An iceberg shows a fifth of its quantity; a peg goes at most so far beyond the mid, and a stop waits so far from it.
_SHOWN: Final = 5
_PEG_TICKS: Final = 20
_STOP_TICKS: Final = 10


def definitions(symbols: int, participants: int = PARTICIPANTS) -> Rows:
    """COMMAND rows that define the venue and open every instrument."""
    rows = np.zeros(participants + 2 * symbols, COMMAND)
    for n in range(participants):
        rows[n]["kind"] = CommandKind.PARTICIPANT
        rows[n]["name"] = pack(f"P{n}")
        rows[n]["permissions"] = 1
    for n in range(symbols):
        row = rows[participants + n]
        row["kind"] = CommandKind.INSTRUMENT
        row["name"] = pack(f"S{n}")
        row["tick_e4"], row["lot"], row["reference_e4"] = TICK_E4, 1, TICK_E4 * MID_TICKS
        row = rows[participants + symbols + n]
        row["kind"], row["name"], row["phase"] = CommandKind.PHASE, pack(f"S{n}"), Phase.CONTINUOUS
    return rows


def limits(participants: int) -> Rows:
    """COMMAND rows that set limits of size, value and position for each participant, none of which any order meets."""
    rows = np.zeros(participants, COMMAND)
    rows["kind"] = CommandKind.LIMITS
    rows["name"] = [pack(f"P{n}") for n in range(participants)]
    rows["limits"] = Limit.MAX_ORDER_QTY | Limit.MAX_ORDER_VALUE | Limit.MAX_POSITION
    rows["max_order_qty"], rows["max_order_value_e4"], rows["max_position_qty"] = 10_000, 10**15, 10**9
    return rows


class Stream:
    """Source of a workload's commands, running an engine beside to know what is live."""

    def __init__(self, mix: Mix, symbols: int, seed: int, commands_max: int, participants: int = PARTICIPANTS) -> None:
        self.mix, self.symbols, self.participants = mix, symbols, participants
        self.draw = np.random.default_rng(seed)
        self.engine = Engine(Capacity(ids_max=max(2 << 20, commands_max)))
        self.engine.apply(definitions(symbols, participants))
        self.mid = np.full(symbols, MID_TICKS, np.int64)
        self.next_id = 1
        size = commands_max + 1
        self.leaves_qty = np.zeros(size, np.int64)
        self.qty = np.zeros(size, np.int64)
        self.price_e4 = np.zeros(size, np.int64)
        self.owner = np.zeros(size, np.int64)
        self.symbol = np.zeros(size, np.int64)
        self.side = np.zeros(size, np.int64)
        self.live = np.zeros(0, np.int64)

    def _prices(self, symbol: Rows, side: Rows) -> Rows:
        away = np.ceil(self.draw.exponential(6.0, len(symbol))).astype(np.int64)
        crossing = self.draw.random(len(symbol)) < 0.1
        ticks = self.mid[symbol] - side * np.where(crossing, -away, away)
        prices: Rows = np.maximum(ticks, 1) * TICK_E4
        return prices

    def _targets(self, count: int) -> Rows:
        """Ids of live orders, mostly recent ones, none twice."""
        back = self.draw.exponential(2_000.0, count).astype(np.int64)
        some = self.draw.random(count) < 0.1
        back[some] = self.draw.integers(0, max(len(self.live), 1), int(some.sum()))
        back = np.unique(back[back < len(self.live)])
        targets = self.live[len(self.live) - 1 - back]
        self.draw.shuffle(targets)
        return targets

    def step(self, count: int) -> Rows:
        """The next ``count`` commands."""
        mix, draw = self.mix, self.draw
        self.mid += draw.integers(-1, 2, self.symbols) * (draw.random(self.symbols) < 0.3)
        what = draw.choice(5, count, p=[mix.limit, mix.cancel, mix.ioc, mix.market, mix.replace])
        aimed = np.flatnonzero((what == 1) | (what == 4))
        targets = self._targets(len(aimed))
        what[aimed[len(targets) :]] = 0
        aimed = aimed[: len(targets)]
        rows = np.zeros(count, COMMAND)
        ids = np.zeros(count, np.int64)
        ids[aimed] = targets
        fresh = what != 1
        new = self.next_id + np.arange(int(fresh.sum()))
        self.next_id += len(new)
        enters = np.flatnonzero((what != 1) & (what != 4))
        symbol = draw.integers(0, self.symbols, count)
        symbol[aimed] = self.symbol[targets]
        owner = draw.integers(0, self.participants, count)
        owner[aimed] = self.owner[targets]
        side = draw.choice(np.array([1, -1]), count)
        side[aimed] = self.side[targets]
        qty = draw.integers(1, 501, count)
        price_e4 = self._prices(symbol, side)
        new_ids = np.zeros(count, np.int64)
        new_ids[fresh] = new
        rows["participant"] = owner + 1
        rows["kind"] = np.where(
            what == 1, CommandKind.CANCEL, np.where(what == 4, CommandKind.REPLACE, CommandKind.ENTER)
        )
        rows["client_order_id"] = np.where((what == 1) | (what == 4), ids, new_ids)
        replaces = what == 4
        # Half of the replaces keep their price.
        same = replaces & (draw.random(count) < 0.5)
        price_e4[same] = self.price_e4[ids[same]]
        rows["new_client_order_id"][replaces] = new_ids[replaces]
        rows["qty"][fresh], rows["price_e4"][fresh] = qty[fresh], price_e4[fresh]
        rows["instrument"][enters] = symbol[enters] + 1
        rows["side"][enters] = side[enters]
        rows["self_trade"][enters] = SelfTrade.CANCEL_NEWEST
        rows["time_in_force"][enters] = np.where(what[enters] == 2, TimeInForce.IOC, TimeInForce.DAY)
        market = what == 3
        rows["instructions"][market] = Instruction.MARKET
        rows["price_e4"][market] = 0
        if mix.iceberg + mix.hidden + mix.peg + mix.stop:
            self._set_terms(rows, np.flatnonzero(what == 0), symbol, side)
        for table, values in (
            (self.qty, qty),
            (self.price_e4, price_e4),
            (self.owner, owner),
            (self.symbol, symbol),
            (self.side, side),
        ):
            table[new] = values[fresh]
        self._follow(self.engine.apply(rows, copy=False), new)
        return rows

    def _set_terms(self, rows: Rows, limit: Rows, symbol: Rows, side: Rows) -> None:
        """Make some of the limit orders icebergs, hidden orders, pegs and stops."""
        mix = self.mix
        shares = np.cumsum([mix.iceberg, mix.hidden, mix.peg, mix.stop]) / mix.limit
        iceberg, hidden, peg, stop = (
            limit[which]
            for which in np.searchsorted(shares, self.draw.random(len(limit)), "right") == np.arange(4)[:, None]
        )
        rows["instructions"][iceberg] = Instruction.DISPLAY
        rows["display_qty"][iceberg] = -(-rows["qty"][iceberg] // _SHOWN)
        rows["instructions"][hidden] = Instruction.HIDDEN
        rows["instructions"][peg] = Instruction.PEG
        rows["peg"][peg] = self.draw.choice(np.array([Peg.PRIMARY, Peg.PRIMARY, Peg.MIDPOINT]), len(peg))
        rows["price_e4"][peg] = (self.mid[symbol[peg]] + _PEG_TICKS * side[peg]) * TICK_E4
        rows["instructions"][stop] = Instruction.STOP | Instruction.MARKET
        rows["price_e4"][stop] = 0
        rows["stop_e4"][stop] = (self.mid[symbol[stop]] + _STOP_TICKS * side[stop]) * TICK_E4

    def _follow(self, events: Rows, new: Rows) -> None:
        kind = events["kind"]
        leaves_qty = self.leaves_qty
        accepted = events[kind == EventKind.ACCEPTED]
        leaves_qty[accepted["client_order_id"]] = accepted["qty"]
        for event in events[kind == EventKind.REPLACED]:
            leaves_qty[event["client_order_id"]] = 0
            leaves_qty[event["contra_client_order_id"]] = event["qty"]
        trades = events[kind == EventKind.TRADE]
        np.subtract.at(leaves_qty, trades["client_order_id"], trades["qty"])
        np.subtract.at(leaves_qty, trades["contra_client_order_id"], trades["qty"])
        canceled = events[kind == EventKind.CANCELED]
        np.subtract.at(leaves_qty, canceled["client_order_id"], canceled["qty"])
        live = np.concatenate([self.live, new])
        self.live = live[leaves_qty[live] > 0]


def workload(
    mix: Mix, symbols: int, commands: int = 1_000_000, seed: int = 1, participants: int = PARTICIPANTS
) -> tuple[Rows, Rows]:
    """Definitions, and ``commands`` COMMAND rows after them."""
    stream = Stream(mix, symbols, seed, commands + STEP, participants)
    steps = [stream.step(min(STEP, commands - start)) for start in range(0, commands, STEP)]
    return definitions(symbols, participants), concatenate(steps)
