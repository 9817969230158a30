"""Seeded streams of COMMAND rows: orders as traders send them, hostile ones at the edge of every rule, and garbage.

The same arguments give the same bytes. Rows are made by column, a stream of a million takes about a second. What a
command asks for is often refused when it comes (its order has traded, the phase forbids it): that is meant.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.limits import DAY_NS, PRICE_E4_MAX, QTY_MAX, TIME_NS_MAX
from engine.names import EVERY, pack
from engine.records import COMMAND, CommandKind, Instruction, Phase, Reason

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


def random_stream(
    seed: int,
    n: int,
    *,
    instruments: int = 2,
    participants: int = 5,
    hostile: float = 0.05,
    garbage: float = 0.02,
    control: float = 0.003,
) -> NDArray[Any]:
    """``n`` COMMAND rows: definitions and openings first, then a market.

    ``hostile``, ``garbage``: shares of rows with a value at the edge of a rule, and of rows that may be anything at
    all. ``control``: share of phase changes, halts, kills, mass cancels, definitions and users. CLOCK rows are about
    one in twenty, EXTEND rows with a token one in fifty.
    """
    rng = np.random.default_rng(seed)
    rows = orders(rng, n, instruments, participants)
    _clocks(rng, rows)
    _tokens(rng, rows)
    _controls(rng, rows, control, instruments, participants)
    _hostile(rng, rows, hostile)
    _garbage(rng, rows, garbage)
    opening = definitions(instruments, participants)
    return np.concatenate((opening.view(np.uint8), rows.view(np.uint8)))[: n * COMMAND.itemsize].view(COMMAND)


def definitions(instruments: int, participants: int) -> NDArray[Any]:
    """The clock, the instruments I1, I2 … and participants P1, P2 …, and every instrument opened."""
    rows = np.zeros(2 + instruments + participants, COMMAND)
    rows[0]["kind"], rows[0]["time_ns"] = CommandKind.CLOCK, OPEN_NS
    for number in range(instruments):
        row = rows[1 + number]
        row["kind"], row["name"] = CommandKind.INSTRUMENT, pack(f"I{number + 1}")
        row["reference_e4"], row["lot"], row["tick_e4"] = REFERENCE_E4, 1 if number % 2 == 0 else LOT, TICK_E4
    for number in range(participants):
        row = rows[1 + instruments + number]
        row["kind"], row["name"] = CommandKind.PARTICIPANT, pack(f"P{number + 1}")
        row["permissions"] = number % 4 if number else 3
        # Every third shares a group with its neighbour, so that self-trade prevention has something to prevent.
        row["group"] = pack(f"G{number // 3}") if number % 3 else 0
    rows[-1]["kind"], rows[-1]["name"], rows[-1]["phase"] = CommandKind.PHASE, EVERY, Phase.CONTINUOUS
    return rows


def orders(rng: np.random.Generator, n: int, instruments: int, participants: int) -> NDArray[Any]:
    """``n`` rows of enter, cancel and replace around a drifting mid; cancels and replaces aim at recent ids.

    One cancel in three leaves a quantity, and every second row has a memo.
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
    rows["time_in_force"] = np.where(enter, rng.choice([1, 2, 4, 5], n, p=[0.7, 0.15, 0.1, 0.05]), 0)
    rows["self_trade"] = np.where(enter, rng.integers(1, 6, n), 0)
    ioc = enter & (rows["time_in_force"] == 4)
    market = enter & (rng.random(n) < 0.05) & (rows["time_in_force"] != 2)
    post = enter & ~market & (rows["time_in_force"] <= 2) & (rng.random(n) < 0.1)
    least = ioc & (rng.random(n) < 0.3)
    rows["instructions"] = market * Instruction.MARKET + post * Instruction.POST_ONLY + least * Instruction.MIN_QTY
    rows["price_e4"][market] = 0
    rows["min_qty"][least] = (rows["qty"][least] + 1) // 2
    part = (rows["kind"] == CommandKind.CANCEL) & (rng.random(n) < 0.33)
    rows["qty"][part] = rng.integers(1, 51, int(part.sum())) * LOT - (rng.random(int(part.sum())) < 0.05)
    memo = np.where(rng.random(n) < 0.5, rng.integers(-(2**63), 2**63 - 1, n), 0)
    rows["memo"][~replace], rows["new_memo"][replace] = memo[~replace], memo[replace]
    return rows


def _blank(rows: NDArray[Any], at: NDArray[Any]) -> None:
    rows.view(np.uint8).reshape(-1, COMMAND.itemsize)[at] = 0


def _clocks(rng: np.random.Generator, rows: NDArray[Any]) -> None:
    at = np.flatnonzero(rng.random(len(rows)) < 0.05)
    _blank(rows, at)
    steps = rng.integers(0, 50_000_000, len(at))
    steps[rng.random(len(at)) < 0.01] = DAY_NS // 3  # now and then another trading day begins
    steps[rng.random(len(at)) < 0.01] = -1  # and a clock goes back
    rows["kind"][at] = CommandKind.CLOCK
    rows["time_ns"][at] = OPEN_NS + np.cumsum(steps)


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
        symbol = EVERY if rng.random() < 0.2 else pack(f"I{rng.integers(1, instruments + 2)}")
        what = int(rng.integers(0, 11))
        if what == 0:
            row["kind"], row["name"], row["duration_ns"] = CommandKind.HALT, symbol, int(rng.random() < 0.1)
        elif what == 1:
            row["kind"], row["name"] = CommandKind.MASS_CANCEL, pack(f"P{rng.integers(1, participants + 2)}")
            row["symbol"] = 0 if rng.random() < 0.5 or symbol == EVERY else symbol
            row["side"] = rng.integers(-1, 2)
            row["reason"] = rng.choice([Reason.MASS_CANCEL, Reason.DISCONNECT])
        elif what == 2:
            row["kind"], row["name"] = CommandKind.INSTRUMENT, pack(f"I{rng.integers(1, instruments + 3)}")
            row["reference_e4"], row["lot"], row["tick_e4"] = rng.integers(0, 3, 3) * 100
        elif what == 3:
            row["kind"], row["name"] = CommandKind.PARTICIPANT, pack(f"P{rng.integers(1, participants + 3)}")
        elif what == 4:
            row["kind"], row["name"] = CommandKind.EXTEND, pack("NOBODY")
        elif what == 5:
            row["kind"] = CommandKind.KILL if rng.random() < 0.6 else CommandKind.UNKILL
            row["name"] = EVERY if rng.random() < 0.2 else pack(f"P{rng.integers(1, participants + 2)}")
        elif what == 6:
            row["kind"] = CommandKind.EMERGENCY_CLOSE
        elif what == 7:
            row["kind"], row["name"] = CommandKind.USER, pack(str(rng.choice(["USER-1", "u", "USER.22"])))
            row["participant_name"] = pack(f"P{rng.integers(1, participants + 2)}")
            row["firm"] = rng.choice([0, pack("FIRM"), pack("F-1"), pack("FIRM5")])
            row["permissions"] = rng.integers(0, 9)
        elif what == 8:
            row["kind"], row["name"], row["cost"] = CommandKind.CREDENTIAL, pack("USER-1"), rng.integers(3, 22)
            for place in ("salt_0", "salt_1", "hash_0", "hash_1", "hash_2"):
                row[place] = rng.integers(-(2**63), 2**63 - 1)
        else:
            row["kind"], row["name"] = CommandKind.PHASE, symbol
            row["phase"] = rng.choice([Phase.CLOSED, Phase.PRE_OPEN, Phase.HALTED, Phase.AUCTION, 0])
        if (int(rng.integers(0, 3)) < 2 or what == 6) and at + 30 < len(rows):
            _open_again(rows, at + 30, int(row["kind"]))


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


def _garbage(rng: np.random.Generator, rows: NDArray[Any], share: float) -> None:
    """Half of them random bytes altogether, half with a single random byte."""
    octets = rows.view(np.uint8).reshape(-1, COMMAND.itemsize)
    at = np.flatnonzero((rng.random(len(rows)) < share) & (rows["kind"] != CommandKind.CLOCK))
    half = len(at) // 2
    octets[at[:half]] = rng.integers(0, 256, (half, COMMAND.itemsize))
    octets[at[half:], rng.integers(0, COMMAND.itemsize, len(at) - half)] = rng.integers(0, 256, len(at) - half)
