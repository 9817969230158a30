"""Coverage of pairs: which features of the market met in the consequences of one command, and how often.

    python -m tests.features [COMMANDS]      measure it on random streams, and print the pairs that met least

A feature is a kind of order that an event names, a kind of command that was not refused, or a thing that follows by
itself. Two of them *meet* in a command when its events have both. ``NEVER`` says which pairs cannot meet, and why.
"""

import sys
from collections import Counter, deque
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine import COMMAND, Capacity, Engine
from engine.bounds import DAY_NS
from engine.names import EVERY, pack
from engine.records import (
    Book,
    CommandKind,
    EventKind,
    Instruction,
    InstrumentSetting,
    Limit,
    Peg,
    Phase,
    Reason,
    SelfTrade,
    TimeInForce,
)
from engine.reference import ReferenceEngine
from notation.parse import parse
from notation.translate import Translator
from tests.streams import (
    OPEN_NS,
    REFERENCE_E4,
    TICK_E4,
    call_stream,
    definitions,
    delays,
    index_rows,
    orders,
    random_stream,
)

#: Kinds of orders.
RESTING: Final = (
    *("stop", "stop_limit", "iceberg", "hidden", "post_only", "gtc", "gtd", "midpoint", "opening", "closing"),
    *("peg_primary", "peg_midpoint", "peg_market"),
)
AT_ONCE: Final = ("ioc", "fok", "min_qty")
ORDERS: Final = ("market", *RESTING, *AT_ONCE)
#: Kinds of commands.
COMMANDS: Final = {
    CommandKind.REPLACE: "replace",
    CommandKind.CROSS: "cross",
    CommandKind.MASS_CANCEL: "mass_cancel",
    CommandKind.KILL: "kill",
    CommandKind.EMERGENCY_CLOSE: "emergency_close",
    CommandKind.CLOCK: "clock",
}
#: Things that follow by themselves.
FOLLOWING: Final = (
    *("election", "replenishment", "self_trade", "decrement", "uncross", "indicative", "expiry", "end_of_day"),
    *("halt", "volatility", "market_wide", "cancel_on_halt", "collar", "limits", "repricing", "delay"),
)
FEATURES: Final = (*ORDERS, *COMMANDS.values(), "partial_cancel", *FOLLOWING)

_OF_CANCEL: Final = {
    Reason.SELF_TRADE: "self_trade",
    Reason.EXPIRED: "expiry",
    Reason.END_OF_DAY: "end_of_day",
    Reason.HALT: "cancel_on_halt",
    Reason.PRICE_BAND: "collar",
}
_OF_EVENT: Final = {
    EventKind.TRIGGERED: "election",
    EventKind.REPLENISHED: "replenishment",
    EventKind.INDICATIVE: "indicative",
    EventKind.REPRICED: "repricing",
}
_OF_HALT: Final = {Reason.COMMAND: "halt", Reason.VOLATILITY: "volatility", Reason.MARKET_WIDE: "market_wide"}
_OF_TERM: Final = {
    Instruction.POST_ONLY: "post_only",
    Instruction.HIDDEN: "hidden",
    Instruction.DISPLAY: "iceberg",
    Instruction.MIN_QTY: "min_qty",
}
_OF_TIME: Final = {
    TimeInForce.GTC: "gtc",
    TimeInForce.GTD: "gtd",
    TimeInForce.IOC: "ioc",
    TimeInForce.FOK: "fok",
    TimeInForce.OPENING: "opening",
    TimeInForce.CLOSING: "closing",
}
_DELAYED: Final = (CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE)
_REFUSED: Final = (EventKind.REJECTED, EventKind.CANCEL_REJECTED)

SCENARIOS: Final = Path(__file__).parent / "scenarios"

Pair = frozenset[str]


class Meetings:
    """Counts of the commands in which features met, over the blocks that were given."""

    def __init__(self) -> None:
        self.pairs: Counter[Pair] = Counter()
        self.commands = 0
        self._terms: dict[tuple[int, int], frozenset[str]] = {}
        self._leaves: Counter[tuple[int, int]] = Counter()  # open quantity of each order
        self._limited: set[int] = set()
        self._waiting: deque[Any] = deque()  # commands that wait for their effect

    def add(self, rows: NDArray[Any], events: NDArray[Any], first_seq: int, names: tuple[str, ...]) -> None:
        """Add a block: its commands from ``first_seq`` on, and what they caused. names: of the participants."""
        self.commands += len(rows)
        starts = np.searchsorted(events["seq"], np.arange(first_seq, first_seq + len(rows) + 1))
        for at in range(len(rows)):
            caused = events[starts[at] : starts[at + 1]]
            row = rows[at]
            if row["kind"] == CommandKind.LIMITS and not len(caused):
                self._limited |= {names.index(each) + 1 for each in names if _packed(each) == row["name"]}
            if row["kind"] in _DELAYED and not len(caused):
                self._waiting.append(row.copy())
            for cause, events_of, features in self._parts(row, caused):
                if len(events_of) and events_of[0]["kind"] not in _REFUSED:
                    met = self._met(cause, events_of) | features
                    self.pairs.update(frozenset(pair) for pair in combinations(sorted(met), 2))

    def forget(self) -> None:
        """Begin with another market."""
        self._terms, self._limited = {}, set()
        self._leaves.clear()
        self._waiting.clear()

    def _parts(self, row: Any, caused: NDArray[Any]) -> Iterator[tuple[Any, NDArray[Any], set[str]]]:
        """A command with its events; of a clock value also each command that waited for it, as one of its own."""
        if row["kind"] != CommandKind.CLOCK or not self._waiting or _is_refused_clock(row, caused):
            yield row, caused, set()
            return
        begins = list(_beginnings(caused))
        for begin, end in pairwise([0, *[at for at in begins if at], len(caused)]):
            if begin < end and _is_answer(caused[begin]) and self._waiting:
                yield self._waiting.popleft(), caused[begin:end], {"delay"}
            else:
                yield row, caused[begin:end], set()

    def _met(self, row: Any, caused: NDArray[Any]) -> set[str]:
        """Features that a command has together."""
        met = {COMMANDS[CommandKind(int(row["kind"]))]} if int(row["kind"]) in COMMANDS else set[str]()
        if row["kind"] == CommandKind.CROSS:
            named = {int(each[name]) for each in caused for name in ("participant", "contra_participant")}
            return met | ({"limits"} if named & self._limited else set())
        for event in caused:
            kind, who = int(event["kind"]), int(event["participant"])
            order = who, int(event["client_order_id"])
            if kind == EventKind.ACCEPTED:
                self._terms[order], self._leaves[order] = _terms(row), int(event["qty"])
            elif kind == EventKind.REPLACED:
                new = who, int(event["contra_client_order_id"])
                self._terms[new], self._leaves[new] = self._terms[order], int(event["qty"])
            elif kind == EventKind.TRADE:
                contra = int(event["contra_participant"]), int(event["contra_client_order_id"])
                self._leaves.subtract({order: int(event["qty"]), contra: int(event["qty"])})
                met |= self._terms.get(contra, frozenset())
                met |= {"uncross"} if not event["side"] else set()
            elif kind == EventKind.CANCELED:
                self._leaves[order] -= int(event["qty"])
                met |= {_OF_CANCEL[Reason(int(event["reason"]))]} if event["reason"] in _OF_CANCEL else set()
                # A cancel to no more than what was executed cancels the order whole.
                met |= {"partial_cancel"} if row["kind"] == CommandKind.CANCEL and self._leaves[order] > 0 else set()
            elif kind == EventKind.HALTED:
                met.add(_OF_HALT[Reason(int(event["reason"]))])
            if kind in _OF_EVENT:
                met.add(_OF_EVENT[EventKind(kind)])
            met |= self._terms.get(order, frozenset())
            met |= {"limits"} if who in self._limited else set()
        if "self_trade" in met and _is_decrement(caused):
            met.add("decrement")
        return met


def _is_refused_clock(row: Any, caused: NDArray[Any]) -> bool:
    return (
        len(caused) == 1 and caused[0]["kind"] == EventKind.REJECTED and caused[0]["client_order_id"] == row["time_ns"]
    )


def _is_answer(event: Any) -> bool:
    """True of the answer to an enter, cancel or replace."""
    by_owner = event["kind"] == EventKind.CANCELED and event["reason"] in (Reason.USER, Reason.REPLACED)
    return bool(by_owner or event["kind"] in (*_REFUSED, EventKind.ACCEPTED, EventKind.REPLACED))


def _beginnings(caused: NDArray[Any]) -> Iterator[int]:
    """Places where a command that waited begins to cause events, or the clock value does again.

    A close is by a breaker only where the command has traded. A close by schedule behind one that traded is counted
    with it all the same: the events do not tell them apart.
    """
    traded = False
    for at, event in enumerate(caused):
        expires = event["kind"] == EventKind.CANCELED and event["reason"] == Reason.EXPIRED
        changes = event["kind"] == EventKind.PHASE and not (event["phase"] == Phase.CLOSED and traded)
        if _is_answer(event) or expires or changes:
            traded = False
            yield at
        traded = traded or event["kind"] == EventKind.TRADE


def _packed(name: str) -> int:
    return int.from_bytes(name.encode("ascii"), "big")


def _terms(row: Any) -> frozenset[str]:
    """Features of the order that a row enters."""
    instructions = int(row["instructions"])
    found = {word for bit, word in _OF_TERM.items() if instructions & bit}
    found |= {_OF_TIME[TimeInForce(int(row["time_in_force"]))]} if int(row["time_in_force"]) in _OF_TIME else set()
    if instructions & Instruction.PEG:
        found.add(f"peg_{Peg(int(row['peg'])).name.lower()}")
    elif row["book"] == Book.MIDPOINT:
        found.add("midpoint")
    elif instructions & Instruction.STOP:
        found.add("stop" if instructions & Instruction.MARKET else "stop_limit")
    elif instructions & Instruction.MARKET:
        found.add("market")
    return frozenset(found)


def _is_decrement(caused: NDArray[Any]) -> bool:
    """True if two cancels in a row took the same quantity off two orders by self-trade prevention."""
    off = caused[(caused["kind"] == EventKind.CANCELED) & (caused["reason"] == Reason.SELF_TRADE)]
    return bool((off["qty"][1:] == off["qty"][:-1]).any())


def _pairs(one: tuple[str, ...], other: tuple[str, ...]) -> Iterator[Pair]:
    return (frozenset((a, b)) for a in one for b in other if a != b)


_ALONE: Final = (*COMMANDS.values(), "partial_cancel")


def _never() -> dict[Pair, str]:
    found: dict[Pair, str] = {}

    def add(one: tuple[str, ...], other: tuple[str, ...], why: str) -> None:
        found.update(dict.fromkeys(_pairs(one, other), why))

    add(_ALONE, _ALONE, "a command is of one kind")
    others = tuple(each for each in FEATURES if each != "limits")
    add(("cross",), others, "a cross trades by itself: it meets no order and moves no quote and no last trade")
    add(("fok",), AT_ONCE, "an order that trades at once or goes never rests, so that no two meet")
    # What trades may take an index to a level that closes the market: orders of every instrument end then.
    by_clock_or_phase = ("uncross", "expiry", "halt")
    add(AT_ONCE, (*_ALONE, "indicative", *by_clock_or_phase), "likewise")
    by_breaker = ("volatility", "market_wide", "cancel_on_halt")
    add(("mass_cancel", "kill"), by_clock_or_phase, "a cancel is due at no time and ends no call")
    by_trade = ("end_of_day", "election", "replenishment", "collar", "self_trade", "decrement", "repricing")
    add(("partial_cancel",), (*by_clock_or_phase, *by_breaker, *by_trade), "a part that is canceled moves no quote")
    add(("replace",), by_clock_or_phase, "a replace is due at no time and ends no call")
    add(
        ("emergency_close",),
        (*by_clock_or_phase, *by_breaker, *by_trade, "indicative"),
        "an emergency close cancels, and nothing trades or is called after it",
    )
    add(
        ("halt",),
        (
            "volatility",
            "market_wide",
            "election",
            "replenishment",
            "collar",
            "self_trade",
            "decrement",
            "indicative",
            "uncross",
            "expiry",
            "end_of_day",
        ),
        "a halt by command does nothing else",
    )
    add(("clock",), ("halt",), "likewise")
    add(
        ("delay",),
        (*(each for each in _ALONE if each not in ("replace", "partial_cancel")), *by_clock_or_phase),
        "only enters, cancels and replaces wait, each like a command of its own",
    )
    return found


#: Pairs that cannot meet, with the reason.
NEVER: Final = _never()


def meeting_stream(seed: int, n: int, *, delayed: bool = False) -> NDArray[Any]:
    """``n`` COMMAND rows of a small market in which much is due at once, so that its features meet.

    Prices are within some ticks, the band is narrow, halts are many, and a clock value may meet the ends of halts, of
    the calls after them, of orders and of days together. ``delayed``: there is an entry delay now and then.
    """
    rng = np.random.default_rng(seed)
    rows = orders(rng, n, 2, 3 if seed % 2 else 5)
    around = REFERENCE_E4 + TICK_E4 * rng.integers(-8, 9, (2, n))
    instructions, kind = rows["instructions"], rows["kind"]
    plain = (kind == CommandKind.ENTER) & (instructions & ~np.uint16(Instruction.MIN_QTY) == 0) & (rows["book"] == 0)
    plain &= np.isin(rows["time_in_force"], (TimeInForce.DAY, TimeInForce.IOC, TimeInForce.FOK))
    market = (plain & (rng.random(n) < 0.3)) | (
        (kind == CommandKind.REPLACE) & (instructions == 0) & (rng.random(n) < 0.2)
    )
    instructions[market] |= np.uint16(Instruction.MARKET)
    rows["price_e4"][market] = 0
    rows["qty"][market & (kind == CommandKind.ENTER)] *= 4
    limits = (kind == CommandKind.ENTER) & (instructions == 0) & (rows["book"] == 0) & (rows["time_in_force"] <= 2)
    some = rng.random(n)
    if seed % 2:  # much in the midpoint book
        rows["book"][limits & (some < 0.5)] = Book.MIDPOINT
    else:
        stopped = limits & (some < 0.3)
        instructions[stopped] |= np.uint16(Instruction.MARKET | Instruction.STOP)
        rows["price_e4"][stopped] = 0
    entered = kind == CommandKind.ENTER
    rows["self_trade"][entered & (rng.random(n) < 0.3)] = SelfTrade.DECREMENT
    limited = np.isin(kind, (CommandKind.ENTER, CommandKind.REPLACE)) & (
        instructions & np.uint16(Instruction.MARKET) == 0
    )
    rows["price_e4"][limited | (kind == CommandKind.CROSS)] = around[0][limited | (kind == CommandKind.CROSS)]
    stops = np.isin(kind, (CommandKind.ENTER, CommandKind.REPLACE)) & (instructions & np.uint16(Instruction.STOP) != 0)
    rows["stop_e4"][stops] = around[1][stops]
    _clock_rows(rng, rows)
    if delayed:
        delays(np.random.default_rng((seed, 44)), rows, 0.2)
    for at in np.flatnonzero(rng.random(n) < rng.choice([0.02, 0.04, 0.1])):
        rows.view(np.uint8).reshape(-1, COMMAND.itemsize)[at] = 0
        _control(rng, rows[at])
    if seed % 8 == 4:
        _quote(rng, rows)
    if seed % 4 == 3:
        _fall(rng, rows)
    opening = definitions(2, 5)
    defined = opening["kind"] == CommandKind.INSTRUMENT
    opening["settings"][defined] |= np.uint16(InstrumentSetting.MIDPOINT | InstrumentSetting.BAND)
    opening["band_bps"][np.flatnonzero(defined) - 1] = 4
    opening["settings"][np.flatnonzero(defined)[1]] |= np.uint16(InstrumentSetting.CANCEL_ON_HALT)
    breaking = np.flatnonzero(defined)[: 2 * (seed // 4 % 2)]
    opening["settings"][breaking] |= np.uint16(InstrumentSetting.VOLATILITY)
    opening["volatility_bps"][breaking - 1], opening["volatility_halt_ns"][breaking - 1] = 3, 10**6
    opening["volatility_window_ns"][breaking - 1] = 60 * 10**9
    opening["permissions"][opening["kind"] == CommandKind.PARTICIPANT] = 3
    index = np.zeros(3, COMMAND)
    index_rows(index, 2, (2, 10**6, 4, 10**9, 7, 0))
    parts = (opening[:-1], index, opening[-1:], rows)
    return np.concatenate([each.view(np.uint8) for each in parts]).view(COMMAND)


def _quote(rng: np.random.Generator, rows: NDArray[Any]) -> None:
    """Bursts in which P1 quotes inside P2, and all orders of P1 go at once, in place of every second dozen of rows.

    Others have, behind the quotes of P1, two hidden orders, a peg that will meet them, a stop that this elects, and an
    iceberg for the stop: so much follows a mass cancel or a kill.
    """
    for start in range(0, len(rows) - _BURST, 2 * _BURST):
        burst = rows[start : start + _BURST]
        burst.view(np.uint8)[:] = 0
        side = int(rng.choice([1, -1]))
        burst["kind"][0], burst["name"][0], burst["phase"][0] = CommandKind.PHASE, EVERY, Phase.CONTINUOUS
        entered = burst[1:-2]
        entered["kind"], entered["time_in_force"], entered["qty"] = CommandKind.ENTER, TimeInForce.DAY, 10
        entered["client_order_id"] = pack("q0") + start + np.arange(len(entered))
        entered["instrument"], entered["self_trade"] = rng.integers(1, 3), rng.integers(1, 6, len(entered))
        entered["participant"] = (2, 2, 1, 1, *rng.integers(3, 6, 5).tolist())
        entered["side"] = (-1, 1, -1, 1, side, side, -side, -side, side)
        ticks = np.array([6, -6, 1, -1, -2 * side, -3 * side, 0, 0, -5 * side])
        entered["price_e4"] = REFERENCE_E4 + TICK_E4 * ticks
        entered["instructions"][4:6] = int(Instruction.HIDDEN)
        entered["instructions"][6:8] = (
            int(Instruction.PEG | Instruction.MARKET),
            int(Instruction.STOP | Instruction.MARKET),
        )
        entered["price_e4"][6:8] = 0
        entered["peg"][6], entered["stop_e4"][7] = Peg.MARKET, REFERENCE_E4 - 2 * side * TICK_E4
        entered["instructions"][8], entered["display_qty"][8], entered["qty"][8] = int(Instruction.DISPLAY), 10, 30
        burst["name"][-2:] = pack("P1"), EVERY
        burst["kind"][-2:] = CommandKind.KILL, CommandKind.UNKILL
        if rng.random() < 0.5:
            burst["kind"][-2], burst["reason"][-2] = CommandKind.MASS_CANCEL, Reason.MASS_CANCEL


#: Commands of a burst.
_BURST: Final = 12

#: Orders of a fall: (participant, instrument, side, ticks from the reference price, quantity, instructions). In I2 they
#: are good till canceled but for the quote of P1, behind which a peg meets a hidden bid.
_QUOTED: Final = (
    (1, 1, 1, 0, 10, 0),
    (2, 1, -1, 0, 10, 0),
    (1, 2, 1, -1, 10, 0),
    (2, 2, 1, -6, 10, 0),
    (2, 2, -1, 6, 10, 0),
    (3, 2, 1, -4, 10, Instruction.HIDDEN),
    (4, 2, -1, 5, 20, 0),
    (5, 2, -1, 0, 10, Instruction.PEG | Instruction.MARKET),
)
#: Orders of an opening call in I1: the first is for the opening, the last is a stop that the uncross elects.
_OPENED: Final = (
    (1, 1, 1, 0, 10, 0),
    (2, 1, -1, 0, 10, 0),
    (3, 1, -1, 4, 10, 0),
    (4, 1, 1, 0, 5, Instruction.STOP | Instruction.MARKET),
)
#: Orders of an opening call in I2, of which the first is for the opening and trades at a lower price.
_LOWERED: Final = ((3, 2, 1, -4, 10, 0), (1, 2, -1, -4, 10, 0))
#: Ticks at which I2 trades before, from above or below, since no price may be further than four from the last.
_STEPS: Final = (5, 2, -5, -2, 0)
#: Ticks to which I2 falls in steps, each of which halts, until one more trade closes the market.
_FALLS: Final = (-4, -6)
#: Clock values behind each: the end of the halt, and of the call after it.
_PAUSES_NS: Final = (2 * 10**9, 61 * 10**9)
#: A bid to be met, and an offer to be replaced.
_CLOSED: Final = ((1, 2, 1, -9, 10, 0), (2, 2, -1, -4, 10, 0))
_BEGIN: Final = 3 + 2 * len(_STEPS) + 2
_FALL: Final = _BEGIN + len(_FALLS) * (2 + len(_PAUSES_NS)) + 2 + len(_CLOSED) + 1


def _fall(rng: np.random.Generator, rows: NDArray[Any]) -> None:
    """Bursts in which the index falls, or a breaker halts, by the command in which other things happen too.

    A trading day begins; then I1 is in an opening call. In I2 a bid of P1 goes by a mass cancel or with the next day,
    so that a peg trades four ticks lower; or a replace trades as far down, or an uncross; or that of I1 elects a stop.
    Or I2 falls until the market closes, with an order for the opening of I1.
    """
    for start in range(0, len(rows) - _FALL, 3 * _FALL):
        burst = rows[start : start + _FALL]
        burst.view(np.uint8)[:] = 0
        burst["kind"] = CommandKind.CLOCK_JUMP
        begin = burst[:_BEGIN]
        begin["kind"][:3] = CommandKind.KILL, CommandKind.UNKILL, CommandKind.PHASE
        begin["name"][:3], begin["phase"][2] = EVERY, Phase.CONTINUOUS
        ids = pack("f0") + _FALL * start + np.arange(_FALL)
        for at, ticks in enumerate(_STEPS):
            _enter(begin[3 + 2 * at], ids[3 + 2 * at], (1, 2, 1, ticks, 10, 0))
            _enter(begin[4 + 2 * at], ids[4 + 2 * at], (2, 2, -1, ticks, 10, 0))
        begin["kind"][-2:] = CommandKind.CLOCK, CommandKind.PHASE
        begin["time_ns"][-2] = _later(rows, start, _BEGIN - 2, DAY_NS)
        begin["name"][-1], begin["phase"][-1] = pack("I1"), Phase.OPENING_AUCTION
        how = int(rng.integers(0, 6))
        if how == 5:
            _close(rng, rows, start, ids)
            continue
        entered = _OPENED if how == 3 else _LOWERED if how == 4 else _QUOTED
        for at, terms in enumerate(entered, _BEGIN):
            _enter(burst[at], ids[at], terms)
        last = burst[_BEGIN + len(entered)]
        if how == 0:
            last["kind"], last["name"], last["reason"] = CommandKind.MASS_CANCEL, pack("P1"), Reason.MASS_CANCEL
        elif how == 1:
            last["kind"] = CommandKind.CLOCK
            last["time_ns"] = _later(rows, start, _BEGIN + len(entered), DAY_NS)
        elif how == 2:
            last["kind"], last["participant"], last["qty"] = CommandKind.REPLACE, 4, 20
            last["client_order_id"], last["new_client_order_id"] = ids[_BEGIN + 6], ids[-1]
            last["price_e4"] = REFERENCE_E4 - 4 * TICK_E4
        else:
            burst["time_in_force"][_BEGIN] = TimeInForce.OPENING
            begin["name"][-1] = pack(f"I{entered[0][1]}")
            last["kind"], last["name"], last["phase"] = CommandKind.PHASE, begin["name"][-1], Phase.CONTINUOUS


def _enter(row: Any, order_id: int, terms: tuple[int, int, int, int, int, int]) -> None:
    """Make a row the entry of an order of a fall."""
    row["kind"], row["client_order_id"], row["self_trade"] = CommandKind.ENTER, order_id, SelfTrade.CANCEL_NEWEST
    row["participant"], row["instrument"], row["side"], ticks, row["qty"], row["instructions"] = terms
    of_the_day = terms[1] == 1 or terms[0] == 1
    row["time_in_force"] = TimeInForce.DAY if of_the_day else TimeInForce.GTC
    price_e4 = REFERENCE_E4 + TICK_E4 * ticks
    if terms[5] & Instruction.PEG:
        row["peg"] = Peg.MARKET
    elif terms[5] & Instruction.STOP:
        row["stop_e4"] = price_e4
    else:
        row["price_e4"] = price_e4


def _close(rng: np.random.Generator, rows: NDArray[Any], start: int, ids: NDArray[Any]) -> None:
    """Make the rest of a burst a fall of I2 that closes the market, by an order that never rests or by a replace."""
    burst, at = rows[start : start + _FALL], _BEGIN
    burst["phase"][_BEGIN - 1] = Phase.CONTINUOUS
    for ticks in _FALLS:
        _enter(burst[at], ids[at], (1, 2, 1, ticks, 10, 0))
        _enter(burst[at + 1], ids[at + 1], (2, 2, -1, ticks, 10, 0))
        at += 2
        for pause_ns in _PAUSES_NS:
            burst["kind"][at], burst["time_ns"][at] = CommandKind.CLOCK, _later(rows, start, at, pause_ns)
            at += 1
    burst["kind"][at], burst["name"][at], burst["phase"][at] = CommandKind.PHASE, pack("I1"), Phase.OPENING_AUCTION
    _enter(burst[at + 1], ids[at + 1], _OPENED[0])
    burst["time_in_force"][at + 1] = TimeInForce.OPENING
    at += 2
    for terms in _CLOSED:
        _enter(burst[at], ids[at], terms)
        at += 1
    last = burst[at]
    if rng.random() < 0.25:
        last["kind"], last["participant"], last["qty"], last["price_e4"] = (
            CommandKind.REPLACE,
            2,
            20,
            burst["price_e4"][at - 2],
        )
        last["client_order_id"], last["new_client_order_id"] = ids[at - 1], ids[at]
    else:
        _enter(last, ids[at], (3, 2, -1, -9, 10, 0))
        last["time_in_force"] = rng.choice([TimeInForce.IOC, TimeInForce.FOK])
        if rng.random() < 0.5:
            last["instructions"], last["min_qty"] = Instruction.MIN_QTY, 10
            last["time_in_force"] = TimeInForce.IOC


def _later(rows: NDArray[Any], start: int, at: int, pause_ns: int) -> int:
    """Time of a clock row so long after those before it; all times behind it move as far."""
    before, behind = rows[: start + at], rows[start + at + 1 :]
    clocks = before["kind"] == CommandKind.CLOCK
    last_ns = int(before["time_ns"][clocks].max(initial=OPEN_NS))
    behind["time_ns"][behind["kind"] == CommandKind.CLOCK] += pause_ns
    behind["until_ns"][behind["instructions"] & np.uint16(Instruction.UNTIL) != 0] += pause_ns
    return last_ns + pause_ns


def _clock_rows(rng: np.random.Generator, rows: NDArray[Any]) -> None:
    """Clock values in place of some rows: soon after the one before, behind a call after a halt, or on another day.

    Orders that are good until a time end within the next steps.
    """
    n = len(rows)
    at = np.flatnonzero(rng.random(n) < 0.1)
    rows.view(np.uint8).reshape(-1, COMMAND.itemsize)[at] = 0
    steps = rng.choice([10**6, 10**9, 61 * 10**9, DAY_NS // 3], len(at), p=[0.4, 0.2, 0.35, 0.05])
    rows["kind"][at], rows["time_ns"][at] = CommandKind.CLOCK, OPEN_NS + np.cumsum(steps)
    now_ns = OPEN_NS + np.cumsum(np.bincount(at, steps, n).astype(np.int64))
    ends = rows["instructions"] & np.uint16(Instruction.UNTIL) != 0
    rows["until_ns"][ends] = now_ns[ends] + rng.choice([1, 10**9, 60 * 10**9, 120 * 10**9], int(ends.sum()))


def _control(rng: np.random.Generator, row: Any) -> None:
    """Phases and halts, most of all; mass cancels, kills and limits."""
    what = rng.random()
    row["name"] = rng.choice([EVERY, pack("I1"), pack("I2")])
    if what < 0.4:
        row["kind"], row["duration_ns"] = CommandKind.HALT, rng.choice([1, 10**6, 10**9, 60 * 10**9])
    elif what < 0.7:
        row["kind"] = CommandKind.PHASE
        row["phase"] = rng.choice([each for each in Phase if each != Phase.HALTED] + [Phase.CONTINUOUS] * 6)
    elif what < 0.85:
        row["kind"], row["name"], row["side"] = (
            CommandKind.MASS_CANCEL,
            pack(f"P{rng.integers(1, 6)}"),
            rng.integers(-1, 2),
        )
        row["reason"] = Reason.MASS_CANCEL
    elif what < 0.95:
        row["kind"], row["name"] = CommandKind.UNKILL, EVERY
        if rng.random() < 0.4:
            row["kind"], row["name"] = CommandKind.KILL, pack(f"P{rng.integers(1, 6)}")
    elif what < 0.99:
        row["kind"], row["name"], row["max_position_qty"] = CommandKind.LIMITS, pack(f"P{rng.integers(1, 3)}"), 10**9
        row["limits"] = Limit.MAX_POSITION
    else:
        row["kind"], row["name"] = CommandKind.EMERGENCY_CLOSE, 0


def measured(commands: int, *, seed: int = 0) -> Meetings:
    """Meetings in so many commands of random streams: small markets, those of the tests of the engines, and calls."""
    capacity = Capacity(orders_max=8_192, ids_max=131_072, instruments_max=8, participants_max=16)
    meetings = Meetings()
    for number in range(1, 1 + max(commands // 20_000, 2)):
        _add(meetings, Engine(capacity), meeting_stream(10_000 + seed + number, 4_000, delayed=True))
    meetings.commands = 0
    while meetings.commands < commands:
        seed += 1
        if seed % 4 == 1:
            rows = random_stream(seed, 4_000, hostile=0.01, garbage=0.0, control=0.01)
        else:
            rows = call_stream(seed, 2_000) if seed % 4 == 2 else meeting_stream(seed, 8_000)
        _add(meetings, Engine(capacity), rows)
    return meetings


def _add(meetings: Meetings, engine: Engine, rows: NDArray[Any]) -> None:
    meetings.forget()
    for at in range(0, len(rows), 500):
        events = engine.apply(rows[at : at + 500])
        meetings.add(rows[at : at + 500], events, at + 1, engine.directory.participants)


def of_scenarios() -> Meetings:
    """Meetings in the scenario files."""
    meetings = Meetings()
    for path in sorted(SCENARIOS.glob("*.txt")):
        engine = ReferenceEngine()
        translator = Translator(parse(path.read_text(), path.name), engine.directory, path.name)
        file = Meetings()
        while (batch := translator.next_batch(engine.directory)) is not None:
            first_seq = engine.seq + 1
            events = engine.apply(batch.rows)
            file.add(batch.rows, events, first_seq, engine.directory.participants)
        meetings.pairs += file.pairs
        meetings.commands += file.commands
    return meetings


#: Pairs that can meet.
POSSIBLE: Final = [pair for pair in map(frozenset, combinations(FEATURES, 2)) if pair not in NEVER]


def unmet(meetings: Meetings) -> list[Pair]:
    """The pairs that could have met and did not."""
    return [pair for pair in POSSIBLE if not meetings.pairs[pair]]


def main() -> None:
    """Print how many pairs met, the rarest, and those that never did."""
    meetings = measured(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
    written = of_scenarios()
    missing = unmet(meetings)
    print(f"{meetings.commands:,} commands: {len(POSSIBLE) - len(missing)} of {len(POSSIBLE)} pairs of features met")
    print(f"{written.commands:,} commands of scenario files: {len(POSSIBLE) - len(unmet(written))} of them")
    for pair in sorted(POSSIBLE, key=lambda each: meetings.pairs[each])[: len(missing) + 10]:
        print(f"{meetings.pairs[pair]:8,}  {written.pairs[pair]:4,}  {' and '.join(sorted(pair))}")


if __name__ == "__main__":
    main()
