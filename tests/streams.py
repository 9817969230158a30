"""Seeded streams of COMMAND rows: orders as traders send them, hostile ones at the edge of every rule, and garbage.

The same arguments give the same bytes. Rows are made by column, a stream of a million takes about a second. What a
command asks for is often refused when it comes (its order has traded, the phase forbids it): that is meant.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.bounds import DAY_NS, PRICE_E4_MAX, QTY_MAX, TIME_NS_MAX
from engine.names import EVERY, pack
from engine.records import (
    COMMAND,
    CommandKind,
    Instruction,
    InstrumentSetting,
    Limit,
    Peg,
    Phase,
    Reason,
    TimeInForce,
    VenueSetting,
    limit_places,
)

#: 2024-01-15 09:30:00 UTC.
OPEN_NS: Final = 1_705_311_000 * 1_000_000_000
TICK_E4: Final = 100
LOT: Final = 10
REFERENCE_E4: Final = 1_000_000

_EDGES: Final = np.array(
    [
        *(0, 1, -1, 2, 7, TICK_E4, LOT, QTY_MAX, QTY_MAX + 1, -QTY_MAX),
        *(PRICE_E4_MAX, PRICE_E4_MAX + 1, PRICE_E4_MAX - PRICE_E4_MAX % TICK_E4),
        *(2**31, 2**32, 2**53 + 1, TIME_NS_MAX, 2**63 - 1, -(2**63), -(2**63) + 1),
        *(EVERY, pack("A"), pack("a1")),
    ],
    np.int64,
)


#: Places of an EXTEND row with the levels of an index.
LEVEL_PLACES: Final = ("level_1_bps", "level_1_ns", "level_2_bps", "level_2_ns", "level_3_bps", "level_3_ns")


def random_stream(
    seed: int,
    n: int,
    *,
    instruments: int = 2,
    participants: int = 5,
    hostile: float = 0.05,
    garbage: float = 0.02,
    control: float = 0.003,
    delayed: bool = False,
) -> NDArray[Any]:
    """``n`` COMMAND rows: definitions and openings first, then a market.

    ``hostile``, ``garbage``: shares of rows with a value at the edge of a rule, and of rows that may be anything at
    all. ``control``: share of limits, phase changes, halts, kills, mass cancels, definitions and users. CLOCK rows are
    about one in twenty, EXTEND rows with a token one in fifty. ``delayed``: there is an entry delay now and then.
    """
    rng = np.random.default_rng(seed)
    rows = orders(rng, n, instruments, participants)
    _clocks(rng, rows)
    _tokens(rng, rows)
    _controls(rng, rows, control, instruments, participants)
    _epochs(rows)
    if delayed:
        delays(np.random.default_rng((seed, 44)), rows, 0.05)
    _hostile(rng, rows, hostile)
    _garbage(rng, rows, garbage)
    opening = definitions(instruments, participants, band_bps=(0, 30, 60)[seed % 3])
    return np.concatenate((opening.view(np.uint8), rows.view(np.uint8)))[: n * COMMAND.itemsize].view(COMMAND)


def call_stream(
    seed: int, n: int, *, instruments: int = 3, participants: int = 5, far: float = 0.0, delayed: bool = False
) -> NDArray[Any]:
    """``n`` COMMAND rows of a market that is mostly in calls, with crossed books, market orders and many phases.

    ``far``: share of orders whose price is anywhere, so that books are deep.
    """
    rng = np.random.default_rng(seed)
    rows = orders(rng, n, instruments, participants)
    enter, replace = rows["kind"] == CommandKind.ENTER, rows["kind"] == CommandKind.REPLACE
    gtd = (rows["time_in_force"] == TimeInForce.GTD) & (rows["instructions"] & np.uint16(Instruction.UNTIL) != 0)
    pegs = Instruction.PEG | Instruction.OFFSET
    kept = Instruction.STOP | Instruction.DISPLAY | Instruction.HIDDEN | Instruction.UNTIL
    rows["instructions"] &= np.uint16(kept | pegs)
    rows["min_qty"][~gtd] = 0
    rows["time_in_force"][enter & ~gtd] = rng.choice([1, 1, 1, 2, 2, 6, 7], int((enter & ~gtd).sum()))
    stops = rows["instructions"] & np.uint16(Instruction.STOP) != 0
    rows["stop_e4"][stops] = REFERENCE_E4 + TICK_E4 * rng.integers(-8, 9, int(stops.sum()))
    priced = enter | replace
    rows["price_e4"][priced] = REFERENCE_E4 + TICK_E4 * rng.integers(-8, 9, int(priced.sum()))
    wide = priced & (rng.random(n) < far)
    rows["price_e4"][wide] = TICK_E4 * rng.integers(1, 40_000, int(wide.sum()))
    market = (
        enter
        & (rows["time_in_force"] != 2)
        & (rows["display_qty"] == 0)
        & (rows["book"] == 0)
        & (rng.random(n) < rng.choice([0.0, 0.05, 0.3]))
    )
    rows["instructions"][market] |= np.uint16(Instruction.MARKET)
    rows["price_e4"][market] = 0
    _clocks(rng, rows)
    for at in np.flatnonzero(rng.random(n) < 0.03):
        _blank(rows, np.array([at]))
        if rng.random() < 0.6:
            rows[at]["kind"], rows[at]["name"] = CommandKind.PHASE, _symbol(rng, instruments)
            rows[at]["phase"] = rng.choice([*Phase, Phase.OPENING_AUCTION, Phase.AUCTION, Phase.CLOSING_AUCTION])
        elif rng.random() < 0.7:
            _market_control(rng, rows[at], instruments)
        else:
            _other_control(rng, rows[at], instruments, participants)
    _epochs(rows)
    if delayed:
        delays(np.random.default_rng((seed, 44)), rows, 0.1)
    opening = definitions(instruments, participants)
    opening[-1]["phase"] = Phase.OPENING_AUCTION
    opening["permissions"][opening["kind"] == CommandKind.PARTICIPANT] |= 1
    return np.concatenate((opening.view(np.uint8), rows.view(np.uint8))).view(COMMAND)


def definitions(instruments: int, participants: int, *, band_bps: int = 0) -> NDArray[Any]:
    """The clock, the instruments I1, I2 … and participants P1, P2 …, and every instrument opened.

    band_bps: of every second instrument; 0: none.
    """
    rows = np.zeros(2 + 2 * instruments + participants + (3 if band_bps else 0), COMMAND)
    rows[0]["kind"], rows[0]["time_ns"] = CommandKind.CLOCK, OPEN_NS
    for number in range(instruments):
        before, row = rows[1 + 2 * number], rows[2 + 2 * number]
        before["kind"] = CommandKind.EXTEND
        row["kind"], row["name"] = CommandKind.INSTRUMENT, pack(f"I{number + 1}")
        row["reference_e4"], row["lot"], row["tick_e4"] = REFERENCE_E4, 1 if number % 2 == 0 else LOT, TICK_E4
        row["adv_qty"] = number * 10_000
        row["settings"] = InstrumentSetting.CANCEL_ON_HALT if number % 3 == 1 else 0
        row["settings"] |= InstrumentSetting.MIDPOINT if number % 2 == 0 else 0
        if band_bps and number % 3 == 0:
            row["settings"] |= InstrumentSetting.VOLATILITY
            before["volatility_bps"], before["volatility_halt_ns"] = band_bps // 2, 500_000_000
            before["volatility_window_ns"] = 2_000_000_000
        if band_bps and number % 2:
            row["settings"] |= InstrumentSetting.BAND
            before["band_bps"] = band_bps
    for number in range(participants):
        row = rows[1 + 2 * instruments + number]
        row["kind"], row["name"] = CommandKind.PARTICIPANT, pack(f"P{number + 1}")
        row["permissions"] = number % 4 if number else 3
        # Every third shares a group with its neighbour, so that self-trade prevention has something to prevent.
        row["group"] = pack(f"G{number // 3}") if number % 3 else 0
    if band_bps:
        index_rows(rows[-4:-1], instruments, (2 * band_bps, 250_000_000, 4 * band_bps, 500_000_000, 8 * band_bps, 0))
    rows[-1]["kind"], rows[-1]["name"], rows[-1]["phase"] = CommandKind.PHASE, EVERY, Phase.CONTINUOUS
    return rows


def index_rows(rows: NDArray[Any], members: int, levels: tuple[int, ...]) -> None:
    """Three rows that define an index of one or two instruments. levels: fall and halt of each."""
    rows["kind"] = CommandKind.MEMBERS, CommandKind.EXTEND, CommandKind.INDEX
    rows["name"] = pack("INDEX"), 0, pack("INDEX")
    rows[0]["symbol"], rows[0]["weight"] = pack("I1"), 3
    if members > 1:
        rows[0]["further_symbol"], rows[0]["further_weight"] = pack("I2"), 1_000
    for place, number in zip(LEVEL_PLACES, levels, strict=True):
        rows[1][place] = number


def orders(rng: np.random.Generator, n: int, instruments: int, participants: int) -> NDArray[Any]:
    """``n`` rows of enter, cancel and replace around a drifting mid; cancels and replaces aim at recent ids.

    One cancel in three leaves a quantity, and every second row has a context.
    """
    rows = np.zeros(n, COMMAND)
    rows["kind"] = rng.choice([CommandKind.ENTER, CommandKind.CANCEL, CommandKind.REPLACE], n, p=[0.6, 0.25, 0.15])
    enter, replace = rows["kind"] == CommandKind.ENTER, rows["kind"] == CommandKind.REPLACE
    names_one = ~enter
    side = rng.choice([1, -1], n)
    mid = REFERENCE_E4 + TICK_E4 * np.cumsum(rng.integers(-1, 2, n))
    away = np.minimum(rng.exponential(6.0, n).astype(np.int64) + 1, 200) * np.where(rng.random(n) < 0.15, -1, 1)
    price = np.maximum(mid - side * away * TICK_E4, TICK_E4) // TICK_E4 * TICK_E4
    ids = pack("a0") + np.arange(n, dtype=np.int64)
    owner = rng.integers(1, participants + 1, n)
    aim = np.maximum(np.arange(n) - 1 - rng.exponential(25.0, n).astype(np.int64), 0)
    rows["participant"] = np.where(names_one & (rng.random(n) < 0.97), owner[aim], owner)
    owner = rows["participant"].astype(np.int64)
    rows["client_order_id"] = np.where(enter, ids, ids[aim])
    rows["new_client_order_id"] = np.where(replace, ids, 0)
    rows["qty"] = np.where(enter | replace, rng.integers(1, 51, n) * LOT, 0)
    rows["price_e4"] = np.where(enter | replace, price, 0)
    rows["instrument"] = np.where(enter, rng.integers(1, instruments + 1, n), 0)
    rows["side"] = np.where(enter, side, 0)
    rows["time_in_force"] = np.where(enter, rng.choice([1, 2, 4, 5, 6, 7], n, p=[0.64, 0.15, 0.1, 0.05, 0.01, 0.05]), 0)
    rows["self_trade"] = np.where(enter, rng.integers(1, 6, n), 0)
    ioc = enter & (rows["time_in_force"] == 4)
    market = enter & (rng.random(n) < 0.05) & (rows["time_in_force"] != 2)
    post = enter & ~market & (rows["time_in_force"] <= 2) & (rng.random(n) < 0.1)
    least = ioc & (rng.random(n) < 0.3)
    rows["instructions"] = market * Instruction.MARKET + post * Instruction.POST_ONLY + least * Instruction.MIN_QTY
    rows["price_e4"][market] = 0
    rows["min_qty"][least] = (rows["qty"][least] + 1) // 2
    _stops(np.random.default_rng(n), rows, mid)  # of its own, so that all else is as it was without stops
    _dark(np.random.default_rng(n + 1), rows)
    _midpoint(np.random.default_rng(n + 3), rows, mid)
    _pegs(np.random.default_rng(n + 5), rows, mid)
    _ends(np.random.default_rng(n + 2), rows)
    _crosses(np.random.default_rng(n + 4), rows, mid, participants)
    part = (rows["kind"] == CommandKind.CANCEL) & (rng.random(n) < 0.33)
    rows["qty"][part] = rng.integers(1, 51, int(part.sum())) * LOT - (rng.random(int(part.sum())) < 0.05)
    context = np.where(rng.random(n) < 0.5, rng.integers(-(2**63), 2**63 - 1, n), 0)
    rows["context"][~replace], rows["new_context"][replace] = context[~replace], context[replace]
    return rows


def _stops(rng: np.random.Generator, rows: NDArray[Any], mid: NDArray[np.int64]) -> None:
    """Some orders wait for a price first, near the market or beyond it; most with a limit, some as market orders.

    One in twenty has an instruction, a time in force or a price that does not fit. A few replaces name a stop.
    """
    n = len(rows)
    stop = (rows["kind"] == CommandKind.ENTER) & (rng.random(n) < 0.08)
    fits = stop & (rng.random(n) < 0.95)
    rows["instructions"][fits] &= np.uint16(Instruction.MARKET)
    rows["min_qty"][fits] = 0
    rows["time_in_force"][fits] = rng.choice([1, 2], int(fits.sum()))
    market = stop & (rng.random(n) < 0.3)
    rows["price_e4"][market] = 0
    rows["instructions"] |= (stop * int(Instruction.STOP) | market * int(Instruction.MARKET)).astype(np.uint16)
    replaces = (rows["kind"] == CommandKind.REPLACE) & (rng.random(n) < 0.15)
    rows["instructions"][replaces] |= np.uint16(Instruction.STOP)
    rows["price_e4"][replaces & (rng.random(n) < 0.2)] = 0
    rows["instructions"][replaces & (rows["price_e4"] == 0)] |= np.uint16(Instruction.MARKET)
    named = stop | replaces
    away = rng.integers(-6, 20, n) * np.where(rows["side"] == 0, 1, rows["side"])
    rows["stop_e4"][named] = np.maximum(mid + away * TICK_E4, TICK_E4)[named] // TICK_E4 * TICK_E4
    rows["stop_e4"][named & (rng.random(n) < 0.02)] += 1


def _dark(rng: np.random.Generator, rows: NDArray[Any]) -> None:
    """Some orders show a part of their quantity, or nothing; a few in a way that does not fit. So do some replaces."""
    n = len(rows)
    stop = rows["instructions"] & np.uint16(Instruction.STOP) != 0
    plain = (rows["kind"] == CommandKind.ENTER) & ~stop
    fits = (rows["time_in_force"] <= 2) & (
        rows["instructions"] & np.uint16(Instruction.MARKET | Instruction.MIN_QTY) == 0
    )
    chosen = plain & (fits | (rng.random(n) < 0.05))
    what = rng.random(n)
    shows, hides = chosen & (what < 0.15), chosen & (what >= 0.14) & (what < 0.25)
    hides &= ~shows | (rng.random(n) < 0.05)
    shows |= (rows["kind"] == CommandKind.REPLACE) & ~stop & (rng.random(n) < 0.1)
    rows["instructions"][shows] |= np.uint16(Instruction.DISPLAY)
    rows["instructions"][hides] |= np.uint16(Instruction.HIDDEN)
    rows["display_qty"][shows] = rng.choice([1, 2, 3, 5, 60], int(shows.sum())) * LOT
    odd = shows & (rng.random(n) < 0.03)
    rows["display_qty"][odd] = rng.choice([0, 1, -1, 3, QTY_MAX + 1], int(odd.sum()))


def _midpoint(rng: np.random.Generator, rows: NDArray[Any], mid: NDArray[np.int64]) -> None:
    """Some orders are of the midpoint book, with a limit or without; a few in a way that does not fit."""
    n = len(rows)
    dark = np.uint16(Instruction.STOP | Instruction.DISPLAY | Instruction.HIDDEN | Instruction.POST_ONLY)
    chosen = (rows["kind"] == CommandKind.ENTER) & (rng.random(n) < 0.12)
    fits = chosen & (rng.random(n) < 0.97)
    stops = fits & (rows["instructions"] & dark != 0)
    rows["display_qty"][stops] = 0
    rows["instructions"][fits] &= ~dark
    rows["book"][chosen] = 1
    limited = fits & (rng.random(n) < 0.7)
    rows["instructions"][limited] &= ~np.uint16(Instruction.MARKET)
    rows["price_e4"][limited] = (mid + TICK_E4 * rng.integers(-8, 9, n))[limited] // TICK_E4 * TICK_E4
    free = fits & ~limited
    rows["instructions"][free] |= np.uint16(Instruction.MARKET)
    rows["price_e4"][free] = 0


def _pegs(rng: np.random.Generator, rows: NDArray[Any], mid: NDArray[np.int64]) -> None:
    """Some orders are pegs, with a limit or without, at the reference or away from it; a few in a way that does not
    fit."""
    n = len(rows)
    plain = (rows["kind"] == CommandKind.ENTER) & (rows["instructions"] == 0) & (rows["book"] == 0)
    chosen = plain & ((rows["time_in_force"] <= 2) | (rng.random(n) < 0.05)) & (rng.random(n) < 0.25)
    peg = rng.integers(1, 4, n)
    rows["peg"][chosen] = peg[chosen]
    rows["price_e4"][chosen] = (mid + TICK_E4 * rng.integers(-6, 7, n))[chosen] // TICK_E4 * TICK_E4
    free = chosen & (rng.random(n) < 0.5)
    rows["price_e4"][free] = 0
    away = chosen & (rng.random(n) < 0.5) & ((peg != Peg.MIDPOINT) | (rng.random(n) < 0.03))
    rows["offset_e4"][away] = (TICK_E4 * rng.integers(1, 6, n))[away]
    odd = away & (rng.random(n) < 0.1)
    rows["offset_e4"][odd] = rng.choice(
        [0, 1, -TICK_E4, 2 * REFERENCE_E4, 2**63 - 8, 2**62 // 100 * 100], int(odd.sum())
    )
    rows["instructions"] |= (
        chosen * int(Instruction.PEG) | free * int(Instruction.MARKET) | away * int(Instruction.OFFSET)
    ).astype(np.uint16)
    rows["instructions"][chosen & (rng.random(n) < 0.02)] |= np.uint16(Instruction.POST_ONLY)


def _crosses(rng: np.random.Generator, rows: NDArray[Any], mid: NDArray[np.int64], participants: int) -> None:
    """A few plain orders are crosses instead, most of them inside the quotes."""
    n = len(rows)
    plain = (rows["kind"] == CommandKind.ENTER) & (rows["instructions"] == 0) & (rows["book"] == 0)
    at = plain & (rows["time_in_force"] == TimeInForce.DAY) & (rng.random(n) < 0.03)
    rows["kind"][at] = CommandKind.CROSS
    rows["price_e4"][at] = mid[at]
    for name in ("side", "time_in_force", "self_trade"):
        rows[name][at] = 0
    for name in ("buyer", "seller"):
        rows[name][at] = pack("P1") + rng.integers(0, participants + (rng.random(n) < 0.05), n)[at]


def _ends(rng: np.random.Generator, rows: NDArray[Any]) -> None:
    """Some orders are good until a time soon after the opening; a few say so in a way that does not fit."""
    n = len(rows)
    enter = (rows["kind"] == CommandKind.ENTER) & (rows["instructions"] & np.uint16(Instruction.MIN_QTY) == 0)
    ends = enter & (rng.random(n) < 0.12) & ((rows["time_in_force"] <= 2) | (rng.random(n) < 0.02))
    rows["time_in_force"][ends] = TimeInForce.GTD
    rows["instructions"][ends] |= np.uint16(Instruction.UNTIL)
    # A clock value comes every twenty rows, 25 ms later, so that times are met and are met together.
    rows["until_ns"][ends] = OPEN_NS + (np.arange(n)[ends] // 20 + rng.integers(0, 60, int(ends.sum()))) * 25_000_000
    odd = ends & (rng.random(n) < 0.05)
    rows["until_ns"][odd] = rng.choice([0, -1, OPEN_NS, TIME_NS_MAX, TIME_NS_MAX + 1], int(odd.sum()))
    rows["time_in_force"][enter & (rng.random(n) < 0.003)] = TimeInForce.GTD


def _blank(rows: NDArray[Any], at: NDArray[Any]) -> None:
    rows.view(np.uint8).reshape(-1, COMMAND.itemsize)[at] = 0


def _clocks(rng: np.random.Generator, rows: NDArray[Any]) -> None:
    at = np.flatnonzero(rng.random(len(rows)) < 0.05)
    _blank(rows, at)
    steps = rng.integers(0, 50_000_000, len(at))
    steps[rng.random(len(at)) < 0.03] = 61 * 10**9  # the call after a halt is over
    steps[rng.random(len(at)) < 0.02] = DAY_NS // 3  # now and then another trading day begins, with open day orders
    steps[rng.random(len(at)) < 0.01] = -1  # and a clock goes back
    rows["kind"][at] = CommandKind.CLOCK
    rows["time_ns"][at] = OPEN_NS + np.cumsum(steps)


def delays(rng: np.random.Generator, rows: NDArray[Any], share: float) -> None:
    """An entry delay that begins or ends behind some clock values, when nothing or little waits."""
    at = np.flatnonzero(rows["kind"][:-1] == CommandKind.CLOCK) + 1
    at = at[(rng.random(len(at)) < share) & (rows["kind"][at] != CommandKind.CLOCK)]
    _blank(rows, at)
    rows["kind"][at], rows["settings"][at] = CommandKind.VENUE, VenueSetting.SPEED_BUMP
    rows["speed_bump_ns"][at] = rng.choice([0, 1, 350_000, 10**6, 30_000_000], len(at), p=[0.6, 0.1, 0.1, 0.1, 0.1])
    other = at[rng.random(len(at)) < 0.1]
    rows["settings"][other] |= np.uint16(VenueSetting.DAY_START)
    rows["day_start_ns"][other] = rng.choice([0, 6 * 3_600, 17 * 3_600, 86_400, 1, -60], len(other)) * 10**9
    rows["speed_bump_ns"][at[rng.random(len(at)) < 0.02]] = DAY_NS + 1


def _tokens(rng: np.random.Generator, rows: NDArray[Any]) -> None:
    """EXTEND rows with order tokens in place of some rows, whatever comes after them."""
    at = np.flatnonzero(rng.random(len(rows)) < 0.02)
    _blank(rows, at)
    rows["kind"][at] = CommandKind.EXTEND
    rows["token_head"][at] = int.from_bytes(b"TOKEN-00", "big") + at
    rows["token_tail"][at] = int.from_bytes(b"ABCDEF\0\0", "big")
    both = at[rng.random(len(at)) < 0.3]
    rows["new_token_head"][both] = rng.integers(-(2**63), 2**63 - 1, len(both))
    rows["new_token_tail"][both] = rng.integers(-(2**63), 2**63 - 1, len(both))


def _controls(rng: np.random.Generator, rows: NDArray[Any], share: float, instruments: int, participants: int) -> None:
    for at in np.flatnonzero(rng.random(len(rows)) < share):
        _blank(rows, np.array([at]))
        row = rows[at]
        what = rng.random()
        if what < 0.3:
            _limits(rng, rows, int(at), instruments, participants)
        elif what < 0.33:
            _indices(rng, rows, int(at), instruments)
        elif what < 0.7:
            _market_control(rng, row, instruments)
        else:
            _other_control(rng, row, instruments, participants)
        must = row["kind"] in (CommandKind.EMERGENCY_CLOSE, CommandKind.KILL)
        if (rng.random() < 0.5 or must) and at + 30 < len(rows):
            _open_again(rows, at + 30, int(row["kind"]))


def _indices(rng: np.random.Generator, rows: NDArray[Any], at: int, instruments: int) -> None:
    """Members of an index, or one that is defined, with levels that bite and some at and beyond their bounds."""
    row = rows[at]
    name = pack(str(rng.choice(["INDEX", "IDX", "IDX", "TWO"])))
    row["kind"], row["name"] = CommandKind.MEMBERS, name
    for symbol, weight in (("symbol", "weight"), ("further_symbol", "further_weight")):
        if rng.random() < 0.7:
            row[symbol] = pack(f"I{rng.integers(1, instruments + 2)}") if rng.random() < 0.95 else 0
            row[weight] = rng.choice([0, 1, 2, 3, 500, 1_000, 1_001, -1])
    if rng.random() < 0.5 and at > 0:
        row["symbol"] = row["weight"] = row["further_symbol"] = row["further_weight"] = 0
        _blank(rows, np.array([at - 1]))
        row["kind"], rows[at - 1]["kind"] = CommandKind.INDEX, CommandKind.EXTEND
        levels = np.sort(rng.choice([0, 0, 1, 20, 60, 150, 10_000, 10_001], 3))[:: 1 if rng.random() < 0.1 else -1]
        halts = rng.choice([0, 1, 10**6, 10**8, DAY_NS, DAY_NS + 1, -1], 3, p=[0.1, 0.2, 0.3, 0.3, 0.05, 0.03, 0.02])
        levels = [*sorted(each for each in levels if each), 0, 0, 0] if rng.random() < 0.8 else levels
        for number, (fall, lasts) in enumerate(zip(levels[:3], halts, strict=True)):
            rows[at - 1][LEVEL_PLACES[2 * number]] = fall
            rows[at - 1][LEVEL_PLACES[2 * number + 1]] = lasts if fall or rng.random() < 0.05 else 0


def _epochs(rows: NDArray[Any]) -> None:
    """EPOCH rows in place of every second clock jump: most above those before, some again, below or out of bounds."""
    at = np.flatnonzero(rows["kind"] == CommandKind.CLOCK_JUMP)[::2]
    _blank(rows, at)
    rows["kind"][at] = CommandKind.EPOCH
    rows["name"][at] = np.where(np.arange(len(at)) % 3, pack("NODE-A"), pack("B"))
    rows["epoch"][at] = 10 * np.arange(len(at)) + np.resize([1, 2, -8, 3, -(10**6), 4, 2**62], len(at))


def _symbol(rng: np.random.Generator, instruments: int) -> int:
    return EVERY if rng.random() < 0.2 else pack(f"I{rng.integers(1, instruments + 2)}")


def _name(rng: np.random.Generator, participants: int) -> int:
    return pack(f"P{rng.integers(1, participants + 2)}")


def _market_control(rng: np.random.Generator, row: Any, instruments: int) -> None:
    """Phases, halts that end by the clock or not, what ends them, and phases by schedule."""
    row["name"] = _symbol(rng, instruments)
    if rng.random() < 0.25:
        row["kind"], row["phase"] = CommandKind.SCHEDULE, rng.choice([0, 8, *Phase, *(Phase.CONTINUOUS,) * 4])
        row["due_ns"] = rng.choice([0, -1, OPEN_NS, OPEN_NS + DAY_NS, TIME_NS_MAX, TIME_NS_MAX + 1])
        if rng.random() < 0.9:
            row["due_ns"] = OPEN_NS + int(rng.integers(0, 40)) * 250_000_000
        return
    what = int(rng.integers(0, 6))
    if what == 0:
        row["kind"] = CommandKind.HALT
    elif what <= 2:
        row["kind"], row["duration_ns"] = CommandKind.HALT, rng.choice([1, 10**7, 3 * 10**8, 10**11, -1, TIME_NS_MAX])
    elif what == 3:
        row["kind"] = CommandKind.RESUME
    else:
        row["kind"], row["phase"] = CommandKind.PHASE, rng.choice([0, *Phase, Phase.CONTINUOUS, Phase.CONTINUOUS])


def _other_control(rng: np.random.Generator, row: Any, instruments: int, participants: int) -> None:
    """Kill switches, mass cancels, definitions, users, and what is for the record."""
    what = int(rng.integers(0, 9))
    if what == 0:
        row["kind"], row["name"] = CommandKind.MASS_CANCEL, _name(rng, participants)
        row["symbol"] = 0 if rng.random() < 0.5 else pack(f"I{rng.integers(1, instruments + 2)}")
        row["side"] = rng.integers(-1, 2)
        row["reason"] = rng.choice([Reason.MASS_CANCEL, Reason.DISCONNECT])
    elif what == 1:
        row["kind"], row["name"] = CommandKind.INSTRUMENT, pack(f"I{rng.integers(1, instruments + 3)}")
        row["reference_e4"], row["lot"], row["tick_e4"] = rng.integers(0, 3, 3) * 100
        row["adv_qty"] = rng.choice([0, 0, 1, 5_000, -1, (2**63 - 1) // 10_000, (2**63 - 1) // 10_000 + 1])
        row["settings"] = rng.choice([0, 0, 1, 2, 3, 2**15])
    elif what == 2:
        row["kind"], row["name"] = CommandKind.PARTICIPANT, pack(f"P{rng.integers(1, participants + 3)}")
    elif what == 3:
        row["kind"], row["name"] = CommandKind.EXTEND, pack("NOBODY")
    elif what == 4:
        row["kind"] = CommandKind.KILL if rng.random() < 0.6 else CommandKind.UNKILL
        row["name"] = EVERY if rng.random() < 0.2 else _name(rng, participants)
    elif what == 5:
        row["kind"] = CommandKind.EMERGENCY_CLOSE
    elif what == 6:
        row["kind"], row["name"] = CommandKind.USER, pack(str(rng.choice(["USER-1", "u", "USER.22"])))
        row["participant_name"] = _name(rng, participants)
        row["firm"] = rng.choice([0, pack("FIRM"), pack("F-1"), pack("FIRM5")])
        row["permissions"] = rng.integers(0, 9)
    elif what == 7:
        row["kind"], row["name"], row["cost"] = CommandKind.CREDENTIAL, pack("USER-1"), rng.integers(3, 22)
        for place in ("salt_0", "salt_1", "hash_0", "hash_1", "hash_2"):
            row[place] = rng.integers(-(2**63), 2**63 - 1)
    else:
        row["kind"] = CommandKind.CLOCK_JUMP
        row["time_ns"], row["jump_ns"] = rng.integers(-(2**63), 2**63 - 1, 2)


#: Values of limits that bite in these streams, and some at and beyond their bounds.
_LIMIT_VALUES: Final = {
    Limit.MAX_ORDER_QTY: {"max_order_qty": (0, 1, 200, 400, QTY_MAX, QTY_MAX + 1)},
    Limit.MAX_ORDER_VALUE: {"max_order_value_e4": (0, 1, 2 * 10**8, 4 * 10**8, 2**63 - 1)},
    Limit.MAX_POSITION: {"max_position_qty": (-1, 0, 500, 2_000, 5_000, 2**63 - 1)},
    Limit.CREDIT: {"credit_e4": (-1, 0, 10**9, 10**10, 10**11, 2**63 - 1)},
}
_EXTENDED_VALUES: Final = {
    Limit.ORDER_RATE: {
        "rate_orders": (0, 1, 3, 20, 4_096, 4_097),
        "rate_window_ns": (0, 1, 10**7, 10**8, 10**9, DAY_NS, DAY_NS + 1),
    },
    Limit.MARGIN: {"margin_bps": (0, 1, 2_000, 9_999, 10_000, 10_001)},
    Limit.ADV: {"adv_share_bps": (0, 1, 150, 300, 10_000, 10_001)},
    Limit.MAX_OPEN_ORDERS: {"max_open_orders": (0, 1, 2, 10, 100, 2**29, 2**29 + 1)},
    Limit.MAX_IDS: {"max_ids": (0, 1, 20, 200, 2**30, 2**30 + 1)},
}
_OF_ALL_INSTRUMENTS: Final = int(
    Limit.ORDER_RATE | Limit.CREDIT | Limit.MARGIN | Limit.MAX_OPEN_ORDERS | Limit.MAX_IDS,
)


def _limits(rng: np.random.Generator, rows: NDArray[Any], at: int, instruments: int, participants: int) -> None:
    """A LIMITS row, and an EXTEND row before it where it says what that has to say; now and then one too many."""
    row = rows[at]
    row["kind"], row["name"] = CommandKind.LIMITS, _name(rng, participants)
    named = int(rng.integers(0, 1_024)) & int(rng.integers(0, 1_024))
    if rng.random() < 0.5:
        row["symbol"] = pack(f"I{rng.integers(1, instruments + 2)}")
        if rng.random() < 0.95:
            named &= ~_OF_ALL_INSTRUMENTS
    if rng.random() < 0.8:
        named &= ~int(Limit.RESTRICTED)  # it would end most of the trading
    if rng.random() < 0.8:
        named &= ~int(Limit.MAX_IDS)  # for the rest of the day
    off = named & int(rng.integers(0, 1_024))
    if rng.random() < 0.3:  # as it was before
        off = named = int(Limit.RESTRICTED | Limit.MAX_POSITION | Limit.MAX_ORDER_QTY | Limit.MAX_ORDER_VALUE)
    stray = 1 << int(rng.integers(0, 16)) if rng.random() < 0.02 else 0
    for place, bits in limit_places(named, off ^ stray).items():
        row[place] = bits
    _say_values(rng, row, named & ~off, _LIMIT_VALUES)
    extended = np.zeros(1, COMMAND)
    _say_values(rng, extended[0], named & ~off, _EXTENDED_VALUES)
    if (extended.view(np.uint8).any() or rng.random() < 0.1) and at > 0 and rng.random() < 0.95:
        extended["kind"] = CommandKind.EXTEND
        if rng.random() < 0.03:
            extended[str(rng.choice(["new_token_head", "new_token_tail", "symbol"]))] = 7
        rows.view(np.uint8).reshape(-1, COMMAND.itemsize)[at - 1] = extended.view(np.uint8)


def _say_values(rng: np.random.Generator, row: Any, said: int, values: dict[Limit, dict[str, tuple[int, ...]]]) -> None:
    for limit, places in values.items():
        for name, choices in places.items():
            if said & limit or rng.random() < 0.01:
                # Those in the middle are the ones that are good.
                row[name] = rng.choice(choices if rng.random() < 0.15 else choices[2:-1])


def _open_again(rows: NDArray[Any], at: int, closed_by: int) -> None:
    """Some time after a command that stops trading, another lets it go on."""
    if closed_by in (CommandKind.HALT, CommandKind.PHASE, CommandKind.EMERGENCY_CLOSE):
        _blank(rows, np.array([at]))
        rows[at]["kind"], rows[at]["name"], rows[at]["phase"] = CommandKind.PHASE, EVERY, Phase.CONTINUOUS
    elif closed_by == CommandKind.KILL:
        _blank(rows, np.array([at]))
        rows[at]["kind"], rows[at]["name"] = CommandKind.UNKILL, EVERY


def _hostile(rng: np.random.Generator, rows: NDArray[Any], share: float) -> None:
    """One place of a row gets a value at the edge of a bound. Clocks are left alone: a far one would end all time."""
    numbers = rows.view(np.int64).reshape(-1, COMMAND.itemsize // 8)
    octets = rows.view(np.uint8).reshape(-1, COMMAND.itemsize)
    at = np.flatnonzero((rng.random(len(rows)) < share) & (rows["kind"] != CommandKind.CLOCK))
    wide = rng.random(len(at)) < 0.6
    numbers[at[wide], rng.integers(0, 6, int(wide.sum()))] = rng.choice(_EDGES, int(wide.sum()))
    narrow = at[~wide]
    places = rng.integers(48, COMMAND.itemsize, len(narrow))
    places[places == 56] = 60  # the kind stays
    octets[narrow, places] = rng.integers(0, 10, len(narrow))
    # Orders of which a participant can have nine open, and no tenth, for its open notional.
    huge = np.flatnonzero((rng.random(len(rows)) < share / 2) & (rows["kind"] == CommandKind.ENTER))
    rows["side"][huge], rows["time_in_force"][huge] = -1, TimeInForce.GTC
    rows["qty"][huge], rows["price_e4"][huge] = QTY_MAX, PRICE_E4_MAX - PRICE_E4_MAX % TICK_E4
    rows["instrument"][huge] = 1


def _garbage(rng: np.random.Generator, rows: NDArray[Any], share: float) -> None:
    """Half of them random bytes altogether, half with a single random byte."""
    octets = rows.view(np.uint8).reshape(-1, COMMAND.itemsize)
    at = np.flatnonzero((rng.random(len(rows)) < share) & (rows["kind"] != CommandKind.CLOCK))
    half = len(at) // 2
    octets[at[:half]] = rng.integers(0, 256, (half, COMMAND.itemsize))
    octets[at[half:], rng.integers(0, COMMAND.itemsize, len(at) - half)] = rng.integers(0, 256, len(at) - half)
